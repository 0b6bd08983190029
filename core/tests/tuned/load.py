"""Loads one TuneD profile with its includes by TuneD's own loader and prints what comes out as JSON.

Usage: load.py DIRECTORY PROFILE [< udev properties of devices as JSON]. DIRECTORY holds PROFILE/tuned.conf; the included
profiles are those that TuneD installed. Changes nothing on the machine: only the loader and the device matcher run,
no plugin does.
"""
import json
import sys

import tuned.consts as consts
import tuned.version
from tuned.hardware.device_matcher_udev import DeviceMatcherUdev
from tuned.profiles.factory import Factory
from tuned.profiles.functions import function_virt_check
from tuned.profiles.loader import Loader
from tuned.profiles.locator import Locator
from tuned.profiles.merger import Merger
from tuned.profiles.variables import Variables
from tuned.utils.global_config import GlobalConfig

# The same answer on every machine: bare metal.
function_virt_check.virt_check.execute = lambda self, args: args[1]


def describe(unit):
    described = {"enabled": unit.enabled}
    if unit.type != unit.name:
        described["type"] = unit.type
    if unit.devices != "*":
        described["devices"] = unit.devices
    if unit.devices_udev_regex is not None:
        described["devices_udev_regex"] = unit.devices_udev_regex
    if unit.cpuinfo_regex is not None or unit.uname_regex is not None:
        described["only_on"] = [unit.cpuinfo_regex, unit.uname_regex]
    described["options"] = dict(unit.options)
    return described


def main():
    directory, name = sys.argv[1:3]
    locator = Locator(list(consts.LOAD_DIRECTORIES) + [directory])
    loader = Loader(locator, Factory(), Merger(), GlobalConfig("/dev/null"), Variables())
    profile = loader.load(name)
    units = {unit: describe(profile.units[unit]) for unit in sorted(profile.units)}
    # What our file itself says, read by the same parser: all of it must stand in the merged result.
    own = loader._load_config_data(locator.get_config(name))
    matched = {}
    devices = json.load(sys.stdin)
    for unit, described in units.items():
        if "devices_udev_regex" in described:
            match = DeviceMatcherUdev().match
            regex = described["devices_udev_regex"]
            matched[unit] = sorted(d["INTERFACE"] for d in devices if match(regex, d))
    version = "%d.%d" % (tuned.version.TUNED_VERSION_MAJOR, tuned.version.TUNED_VERSION_MINOR)
    print(json.dumps({"version": version, "units": units, "own": own, "matched": matched}))


main()
