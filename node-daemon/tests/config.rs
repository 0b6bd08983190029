//! The configuration file: rt-operator's as it is, our own keys, and everything that is wrong at once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

use proptest::prelude::*;
use realtime_core::api::realtime_profile::{Isolation, KernelProvider};
use realtime_core::rt::modes::ModeSetting;
use realtime_node_daemon::config::Config;

/// The form of rt-operator's own file: comments, a document marker, quotes around the level.
const RT_OPERATOR: &str = r#"---
### settings

# one of three levels
log_level: "DEBUG"

#kube_path: /etc/kubernetes/kubeconfig
node_name: machine-7

# cgroup_handler: noop

cgroup_v1_capacity: 950000
"#;

fn problems(text: &str) -> String {
    Config::parse(text).unwrap_err().to_string()
}

#[test]
fn a_file_of_rt_operator_is_accepted_as_it_is() {
    let config = Config::parse(RT_OPERATOR).unwrap();
    assert!(config.log_level.unwrap().starts_with("debug"));
    assert_eq!(config.node_name.as_deref(), Some("machine-7"));
    assert_eq!(config.cgroup.v1_capacity, 950_000);
    assert_eq!(config.cgroup.handler, ModeSetting::Auto);
    assert!(config.cgroup.given);
    assert_eq!(config.kube_path, None);
    assert_eq!(config.node, None);
    assert!(!config.reboot);
}

#[test]
fn every_key_of_rt_operator_is_read() {
    let config = Config::parse(
        "log_level: WARN\nkube_path: /etc/k.conf\nnode_name: a.b\ncgroup_handler: cgroup_v2\ncgroup_v1_capacity: '800000'\n",
    )
    .unwrap();
    assert!(config.log_level.unwrap().starts_with("warn"));
    assert_eq!(config.kube_path.as_deref(), Some("/etc/k.conf"));
    assert_eq!(config.cgroup.handler, ModeSetting::CgroupV2);
    assert_eq!(config.cgroup.v1_capacity, 800_000);
    for (name, handler) in [
        ("auto", ModeSetting::Auto),
        ("noop", ModeSetting::Noop),
        ("cgroup_v1", ModeSetting::CgroupV1),
    ] {
        let config = Config::parse(&format!("cgroup_handler: {name}")).unwrap();
        assert_eq!(config.cgroup.handler, handler);
    }
}

#[test]
fn pythons_levels_are_understood() {
    for (given, wanted) in [
        ("CRITICAL", "error"),
        ("WARNING", "warn"),
        ("info", "info"),
        ("10", "debug"),
        ("\"30\"", "warn"),
    ] {
        let config = Config::parse(&format!("log_level: {given}")).unwrap();
        assert!(config.log_level.unwrap().starts_with(wanted), "{given}");
    }
}

#[test]
fn an_empty_file_is_all_defaults() {
    for text in ["", "---\n", "# nothing\n", "log_level:\nnode_name: null\n"] {
        assert_eq!(Config::parse(text).unwrap(), Config::default(), "{text:?}");
    }
}

#[test]
fn a_node_without_a_cluster_takes_what_a_profile_would_give() {
    let config = Config::parse(
        "node:\n  kernel: {realtime: true, arguments: [skew_tick=1]}\n  cpu: {reserved: 0-1, isolated: 2-7}\nreboot: true\n",
    )
    .unwrap();
    let node = config.node.unwrap();
    let kernel = node.kernel.unwrap();
    assert!(kernel.realtime && config.reboot);
    assert_eq!(kernel.provider, KernelProvider::NodeDaemon);
    assert_eq!(kernel.arguments, ["skew_tick=1"]);
    let cpu = node.cpu.unwrap();
    assert_eq!(cpu.isolation, Isolation::ManagedIrq);
    assert!(cpu.balance_interrupts_on_isolated);
}

#[test]
fn everything_wrong_is_told_at_once_with_field_value_and_remedy() {
    let told = problems(
        "log_level: LOUD
cgroup_handler: cgroup_v3
cgroup_v1_capacity: 2000000
reboot: maybe
root: host
nodename: x
node:
  kernel:
    realtime: true
    packages: {source: {repositories: [rt], directory: /var/rpms}}
  cpu: {reserved: 1-0, isolated: 2-7}
",
    );
    for wanted in [
        r#"log_level "LOUD": is no level; use one of: ERROR, WARN, INFO, DEBUG"#,
        r#"cgroup_handler "cgroup_v3""#,
        r#"cgroup_v1_capacity "2000000": is no share of a second in microseconds; choose 1 to 1000000"#,
        r#"reboot "maybe": is text, and true or false is wanted"#,
        r#"root "host": is not absolute"#,
        r#"nodename "x": is no field that exists here; did you mean `node_name`?"#,
        r#"node.kernel.packages.source "directory, repositories": names 2 sources; name exactly one"#,
        r#"node.cpu.reserved "1-0""#,
    ] {
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
    }
    assert_eq!(told.lines().count(), 8, "{told}");
}

#[test]
fn what_only_an_operator_could_decide_is_refused() {
    let told = problems("node: {kernel: {realtime: true, provider: Auto}}");
    assert!(told.contains("node.kernel.provider \"Auto\""), "{told}");
}

#[test]
fn a_file_that_is_none_is_one_problem() {
    for (text, wanted) in [
        ("- a\n- b\n".to_owned(), "a map of fields"),
        ("a: 1\n---\nb: 2\n".to_owned(), "holds 2 documents"),
        ("node: [\n".to_owned(), "line"),
        ("#".repeat(2 << 20), "more than 1048576"),
        ("node: {kernel: {realtim: true}}".to_owned(), "`realtime`"),
        ("state_directory: /var/../x".to_owned(), "`..`"),
    ] {
        let told = problems(&text);
        assert!(told.contains(wanted), "{wanted} is not in {told}");
    }
}

#[test]
fn gates_are_closed_but_for_those_that_are_named() {
    for (text, open) in [
        ("", false),
        ("feature_gates:", false),
        ("feature_gates: []", false),
        ("feature_gates: [V2Hcbs]", true),
        ("feature_gates:\n- V2Hcbs\n", true),
    ] {
        let config = Config::parse(text).unwrap();
        assert_eq!(config.cgroup.hcbs_gate, open, "{text:?}");
        // A gate is no word that pods may have something.
        assert!(!config.cgroup.given, "{text:?}");
    }
}

#[test]
fn a_wrong_gate_is_told_with_field_value_and_remedy() {
    for (text, wanted) in [
        (
            "feature_gates: [v2hcbs]",
            "feature_gates[0] \"v2hcbs\": is none of the values that are possible here; did you mean `V2Hcbs`?",
        ),
        (
            "feature_gates: [Everything]",
            "feature_gates[0] \"Everything\": is none of the values that are possible here; use one of: V2Hcbs",
        ),
        (
            "feature_gates: [V2Hcbs, V2Hcbs]",
            "feature_gates[1] \"V2Hcbs\": stands there twice; keep one of them",
        ),
        (
            "feature_gates: V2Hcbs",
            "feature_gates \"V2Hcbs\": is text, and a list is wanted; begin each item with `- `",
        ),
        (
            "feature_gates: {V2Hcbs: true}",
            "is a map of fields, and a list is wanted",
        ),
        (
            "feature_gates: [1]",
            "feature_gates[0] \"1\": is a number, and text is wanted",
        ),
        ("feature_gates: [null]", "feature_gates[0]"),
        (
            "featuregates: [V2Hcbs]",
            "is no field that exists here; did you mean `feature_gates`?",
        ),
    ] {
        let told = problems(text);
        assert!(told.contains(wanted), "{wanted} is not in\n{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

proptest! {
    #[test]
    fn no_text_is_too_much(text in "(?s).{0,400}") {
        let _ = Config::parse(&text);
    }

    #[test]
    fn no_value_is_too_much(key in "log_level|kube_path|node_name|cgroup_handler|cgroup_v1_capacity|node|reboot|root|commands|state_directory|feature_gates",
                            value in "[-\\[\\]{}:,'\"a-z0-9./ ]{0,40}") {
        let _ = Config::parse(&format!("{key}: {value}\n"));
    }

    #[test]
    fn a_capacity_is_taken_within_a_second_only(capacity in any::<i64>()) {
        let config = Config::parse(&format!("cgroup_v1_capacity: {capacity}"));
        prop_assert_eq!(config.is_ok(), (1..=1_000_000).contains(&capacity));
    }
}

#[test]
fn a_kernel_argument_is_one_line() {
    let told =
        problems("node: {kernel: {realtime: true, provider: NodeDaemon, arguments: [\"a\\nb\"]}}");
    assert!(
        told.contains("node.kernel.arguments[0]") && told.contains("control character"),
        "{told}"
    );
}
