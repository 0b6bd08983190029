//! What the real OpenShift refuses, drops without a word or hands to a kubelet that then dies, is a problem here; what
//! works is none. It reads the recordings beside the project and says so loudly where they are absent.
#![allow(clippy::unwrap_used, reason = "a test ends at what it does not expect")]

use std::collections::BTreeSet;
use std::io::Write;

use realtime_core::api::RealtimeProfile;
use realtime_core::cluster::{Cluster, Dialect, Served};
use realtime_core::problem::Severity;
use realtime_core::validate::{Validated, validate};
use serde_json::{Value, json};

const RECORDING: &str = "../../shared/fixtures/machine-config-controller/kubeletconfig.json";
const SKIP_LOG: &str = "RT_SKIP_LOG";

/// Accepted and rendered, and the kubelet dies of it: no recording of the controller can say so. From Kubernetes 1.34's
/// own validation, and what CRI-O and cgroups on an OpenShift node are.
const KILLS_THE_KUBELET: [&str; 8] = [
    "bad policy",
    "negative",
    "reservedSystemCPUs out of range",
    "evictionHard bad",
    "enforceNodeAllocatable",
    "cgroupRoot",
    "bad option",
    "tlsCipherSuites",
];
/// Likewise: another container runtime than the host's.
const KILLS_TOO: &str = "containerRuntimeEndpoint";

#[allow(clippy::disallowed_methods, clippy::disallowed_types)]
fn recording() -> Option<Vec<Value>> {
    let path = format!("{}/{RECORDING}", env!("CARGO_MANIFEST_DIR"));
    match std::fs::read_to_string(&path) {
        Ok(text) => Some(serde_json::from_str(&text).unwrap()),
        Err(error) => {
            let reason =
                format!("SKIPPED: core/tests/kubeletconfig_recordings.rs: no recording: {error}");
            #[allow(
                clippy::explicit_write,
                reason = "the harness captures `eprintln!` of a test that passes"
            )]
            writeln!(std::io::stderr(), "{reason}").unwrap();
            if let Ok(log) = std::env::var(SKIP_LOG) {
                let mut log = std::fs::OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(log)
                    .unwrap();
                writeln!(log, "{reason}").unwrap();
            }
            None
        }
    }
}

fn validated(overrides: &Value) -> Validated {
    let profile: RealtimeProfile = serde_json::from_value(json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": "worker-rt"}, "spec": {"kubelet": {"overrides": overrides}},
    }))
    .unwrap();
    validate(
        &profile,
        &Cluster::empty(Served::openshift(Dialect::KernelType)),
    )
}

/// Whether the recording shows a field that was asked for and isn't there, or is there with another value.
fn dropped(case: &Value) -> bool {
    let landed = case["reachesKubelet"].as_object();
    landed
        .into_iter()
        .flatten()
        .any(|(key, value)| case["kubeletConfig"].get(key) != Some(value))
}

#[test]
fn each_recorded_case_is_judged_as_openshift_and_the_kubelet_do() {
    let Some(cases) = recording() else { return };
    assert!(cases.len() >= 30, "{}", cases.len());
    let mut seen = BTreeSet::new();
    for case in &cases {
        let name = case["case"].as_str().unwrap();
        seen.insert(name);
        let refused = case["conditions"][0]["status"] == "False";
        let kills = KILLS_THE_KUBELET.contains(&name) || name == KILLS_TOO;
        let Validated { profile, problems } = validated(&case["kubeletConfig"]);
        // What lands elsewhere than in kubelet.conf (systemReserved) is not dropped, but a bad quantity is.
        let told = refused || kills || dropped(case);
        assert_eq!(!problems.0.is_empty(), told, "{name}: {problems:?}");
        let severe = problems
            .0
            .iter()
            .any(|problem| problem.severity == Severity::Error);
        assert_eq!(profile.is_some(), !severe, "{name}");
        if refused || kills {
            assert!(severe, "{name}: {problems}");
        }
        for problem in &problems.0 {
            assert!(
                problem.field.starts_with("spec.kubelet.overrides"),
                "{name}: {problem}"
            );
            assert!(!problem.remedy.is_empty(), "{name}: {problem}");
        }
    }
    for name in KILLS_THE_KUBELET {
        assert!(seen.contains(name), "{name} is no recorded case any more");
    }
}
