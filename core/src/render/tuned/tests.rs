//! Device patterns and precedence; whole profiles are golden stories, loaded by TuneD's own loader.

use super::devices::devices_udev_regex;
use crate::api::realtime_profile::NetworkDevice;

fn named(name: &str) -> NetworkDevice {
    NetworkDevice {
        interface_name: Some(name.to_owned()),
        ..NetworkDevice::default()
    }
}

fn of_vendor(vendor: &str, device: Option<&str>) -> NetworkDevice {
    NetworkDevice {
        vendor_id: Some(vendor.to_owned()),
        device_id: device.map(str::to_owned),
        ..NetworkDevice::default()
    }
}

#[test]
fn names_are_anchored_and_wildcards_translated() {
    assert_eq!(
        devices_udev_regex(&[named("eth1")]).unwrap(),
        "^INTERFACE=eth1$"
    );
    assert_eq!(
        devices_udev_regex(&[named("ens?f*")]).unwrap(),
        "^INTERFACE=ens.f.*$"
    );
    assert_eq!(
        devices_udev_regex(&[named("bond0.100")]).unwrap(),
        r"^INTERFACE=bond0\.100$"
    );
}

#[test]
fn properties_come_in_the_order_of_udev() {
    let device = NetworkDevice {
        interface_name: Some("ens1".to_owned()),
        ..of_vendor("0x8086", Some("0x15AB"))
    };
    assert_eq!(
        devices_udev_regex(&[device]).unwrap(),
        r"^ID_MODEL_ID=0x15ab$[\s\S]*^ID_VENDOR_ID=0x8086$[\s\S]*^INTERFACE=ens1$"
    );
}

#[test]
fn an_exclusion_holds_for_every_entry() {
    assert_eq!(
        devices_udev_regex(&[named("!eth0")]).unwrap(),
        "^INTERFACE=(?!(?:eth0)$).*$"
    );
    assert_eq!(
        devices_udev_regex(&[named("ens*"), of_vendor("0x1af4", None), named("!ens1")]).unwrap(),
        r"(?:^INTERFACE=(?!(?:ens1)$)ens.*$)|(?:^ID_VENDOR_ID=0x1af4$[\s\S]*^INTERFACE=(?!(?:ens1)$).*$)"
    );
    assert_eq!(devices_udev_regex(&[]), None);
}
