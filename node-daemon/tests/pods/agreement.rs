//! Generated pods, and what `core::rt::request` says of them without anything that only a node knows.

use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use realtime_core::rt::micros::RuntimeMicros;
use realtime_core::rt::pod::{Pod, PodSpec, PodStatus};
use realtime_core::rt::request::{self, Rules};
use serde_json::Value;

use super::counted;

/// Always the same ones, for a test that fails to fail again: keys and values near the border between good and bad.
pub fn generated(count: usize) -> Vec<Value> {
    let key = prop_oneof![
        12 => proptest::sample::select(vec![
            "realtime",
            "realtime.openshift.io/required",
            "realtime.openshift.io/runtime-us",
            "realtime.openshift.io/runtime-us.main",
            "realtime.openshift.io/runtime-us.prepare",
            "realtime.openshift.io/runtime-usage",
            "realtime.openshift.io/scheduler",
            "realtime.openshift.io/scheduler.main",
            "realtime.openshift.io/scheduler.helper",
        ]),
        2 => Just("rt_runtime_us"),
        1 => proptest::sample::select(vec![
            "realtime.openshift.io/runtime-us.nobody",
            "realtime.openshift.io/scheduler.mai",
        ]),
    ];
    let value = prop_oneof![
        6 => proptest::sample::select(vec!["true", "false", "2000", "2000", "25000", "fifo:50", "rr:1", "other"])
            .prop_map(str::to_owned),
        2 => "(fifo|rr|other)(:[0-9]{1,3})?(,reset-on-fork)?(,rttime-us=[0-9]{3,8})?",
        1 => "0?[0-9]{1,8}",
        1 => "[a-z0-9:, =+-]{0,9}",
    ];
    // Most sets are meant: the key says what sort of value it takes.
    let meant = (key, value, 0..8).prop_map(|(key, value, luck)| {
        let value = match key {
            _ if luck == 0 => value,
            "realtime" | "realtime.openshift.io/required" => "true".to_owned(),
            key if key.contains("scheduler") => "fifo:50,reset-on-fork".to_owned(),
            _ => "2000".to_owned(),
        };
        (key.to_owned(), value)
    });
    let annotations = proptest::collection::vec(meant, 0..5);
    let amount = || proptest::sample::select(vec!["", "2000", "2k", "0", "25000"]);
    let amounts = prop_oneof![
        6 => Just(["", "", ""]),
        2 => Just(["2000", "2000", "2k"]),
        1 => Just(["", "2000", ""]),
        1 => [amount(), amount(), amount()],
    ];
    let pod = (annotations, amounts).prop_map(|(set, amounts)| {
        let set: Vec<(&str, &str)> = set.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        counted("a", &set, amounts)
    });
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| pod.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// What the daemon's reading says, on a node that knows no smallest and a profile that knows no largest budget.
pub fn read(pod: &Value) -> Result<(), String> {
    let metadata = serde_json::from_value(pod["metadata"].clone()).unwrap();
    let spec: PodSpec = serde_json::from_value(pod["spec"].clone()).unwrap();
    let rules = Rules {
        smallest: RuntimeMicros::new(1).unwrap(),
        largest: RuntimeMicros::new(1_000_000).unwrap(),
        namespace_allowed: true,
        isolated_domains: false,
    };
    let Some(pod) = Pod::of(&metadata, &spec, &PodStatus::default()) else {
        return Ok(());
    };
    request::read(&pod.contract, &rules)
        .map(drop)
        .map_err(|refused| refused.to_string())
}
