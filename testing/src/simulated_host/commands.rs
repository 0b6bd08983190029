//! The programs of a simulated host: a folder that the daemon takes its commands from. rpm-ostree, ostree and rpm are
//! the stand-in's; systemctl and journalctl are small scripts over files that the machine writes. Nothing is decided here.
//!
//! What isn't in the folder isn't on the host: podman, dnf and grubby on an ostree host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// On the host: there while a reboot is asked for, with how it was asked.
pub const REBOOT_REQUEST: &str = "/run/simulated/reboot";
/// On the host: a file for each unit that failed in this boot.
pub const FAILED_UNITS: &str = "/run/simulated/failed";
/// On the host: a file for each unit, with its journal of the boot before.
pub const JOURNAL_BEFORE: &str = "/var/log/simulated/before";
/// On the host: a file for each unit, with its journal of this boot.
pub const JOURNAL: &str = "/run/simulated/journal";

/// systemd's: `reboot` is answered at once and done a moment later, by the machine.
const SYSTEMCTL: &str = r#"#!/bin/sh
# A simulated host's systemctl: asks the machine for a reboot, and says which units failed.
run=$REALTIME_HOST_ROOT/run/simulated
mkdir -p "$run"
verb=
unit=
property=
for word; do
    case $word in
        --property=*) property=${word#--property=} ;;
        -p*) property=${word#-p} ;;
        --no-wall|--quiet|--value|--no-pager|-q) ;;
        -*) ;;
        *) if [ -z "$verb" ]; then verb=$word; else unit=$word; fi ;;
    esac
done
case $unit in
    ''|*.*) ;;
    *) unit=$unit.service ;;
esac
failed() { [ -e "$run/failed/$unit" ]; }
case $verb in
    reboot)
        echo "$*" >"$run/reboot.new"
        mv "$run/reboot.new" "$run/reboot"
        ;;
    is-failed)
        if failed; then echo failed; else echo inactive; exit 1; fi
        ;;
    is-active)
        if failed; then echo failed; exit 3; else echo active; fi
        ;;
    status)
        if failed; then
            echo "x $unit"
            echo "     Active: failed (Result: exit-code)"
            sed 's/^/simulated ostree[1]: /' "$run/failed/$unit"
            exit 3
        fi
        ;;
    show)
        if failed; then state=failed result=exit-code; else state=inactive result=success; fi
        for one in $(echo "$property" | tr , ' '); do
            case $one in
                ActiveState) echo "ActiveState=$state" ;;
                Result) echo "Result=$result" ;;
            esac
        done
        ;;
    list-units|list-jobs|daemon-reload|start|stop|restart|reset-failed) ;;
    *) echo "Unknown command verb $verb." >&2; exit 1 ;;
esac
"#;

/// journald's: the journal of a unit, of this boot or of the one before.
const JOURNALCTL: &str = r#"#!/bin/sh
# A simulated host's journalctl: prints what the machine wrote down for a unit.
folder=$REALTIME_HOST_ROOT/run/simulated/journal
unit=
previous=
for word; do
    case $previous in
        -u|--unit) unit=$word ;;
        -b|--boot) [ "$word" = -1 ] && folder=$REALTIME_HOST_ROOT/var/log/simulated/before ;;
    esac
    case $word in
        -u?*) unit=${word#-u} ;;
        --unit=*) unit=${word#--unit=} ;;
        -b-1|--boot=-1) folder=$REALTIME_HOST_ROOT/var/log/simulated/before ;;
    esac
    previous=$word
done
case $unit in
    ''|*.*) ;;
    *) unit=$unit.service ;;
esac
if [ -e "$folder/$unit" ]; then cat "$folder/$unit"; else echo "-- No entries --"; fi
"#;

/// Writes the scripts into the folder, which the stand-in's own programs are in already.
pub fn write(folder: &Path) -> io::Result<()> {
    for (name, text) in [("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)] {
        let path = folder.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}
