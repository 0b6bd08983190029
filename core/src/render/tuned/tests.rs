//! Device patterns and precedence; whole profiles are golden stories, loaded by TuneD's own loader.

use proptest::prelude::*;
use serde_json::json;

use super::devices::devices_udev_regex;
use super::{matching, priority};
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

#[test]
fn a_selector_is_matches_inside_each_other() {
    let said = |selector: serde_json::Value| {
        serde_json::to_value(matching(&serde_json::from_value(selector).unwrap())).unwrap()
    };
    assert_eq!(
        said(json!({"matchLabels": {"node-role.kubernetes.io/edge": ""}})),
        json!([{"label": "node-role.kubernetes.io/edge"}])
    );
    assert_eq!(
        said(json!({"matchLabels": {"a": "1", "b": ""},
                    "matchExpressions": [{"key": "c", "operator": "In", "values": ["x", "y"]}, {"key": "d", "operator": "Exists"}]})),
        json!([{"label": "a", "value": "1", "match": [{"label": "b", "match": [
            {"label": "c", "value": "x", "match": [{"label": "d"}]},
            {"label": "c", "value": "y", "match": [{"label": "d"}]},
        ]}]}])
    );
    // What can't be said is not said by half.
    for selector in [
        json!({}),
        json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "DoesNotExist"}]}),
        json!({"matchExpressions": vec![json!({"key": "b", "operator": "In", "values": vec!["x"; 100]}); 9]}),
    ] {
        assert_eq!(said(selector), json!(null));
    }
}

proptest! {
    /// Without a condition the Node Tuning Operator gives the profile to every node of the cluster.
    #[test]
    fn no_profile_goes_to_all_nodes(profile in crate::render::tests::arbitrary::profile()) {
        for recommend in crate::render::tuned::tuned(&profile).iter().flat_map(|tuned| &tuned.spec.recommend) {
            let labels = recommend.machine_config_labels.as_ref().is_some_and(|labels| !labels.is_empty());
            let matches = recommend.match_.as_ref().is_some_and(|matches| !matches.is_empty());
            prop_assert!(labels || matches);
        }
    }
}

/// The pool's name sorts behind `worker`, and so does the Tuned's: only the number can decide.
#[test]
fn on_nodes_of_a_custom_pool_its_own_profile_wins_over_that_of_worker() {
    assert!(priority("worker-rt") < priority("worker"));
    assert_eq!(priority("worker"), priority("master"));
    // The Node Tuning Operator's PerformanceProfiles, and the examples in its documentation.
    assert!(priority("worker") < 20);
}
