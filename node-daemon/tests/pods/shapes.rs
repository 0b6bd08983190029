//! Every accepted and every refused shape of the contract, as tables. Asks nobody.

use serde_json::Value;

use super::{counted, pod};

const RUNTIME: &str = "realtime.openshift.io/runtime-us";
const MAIN: &str = "realtime.openshift.io/runtime-us.main";
const SCHEDULER: &str = "realtime.openshift.io/scheduler";
const REQUIRED: &str = "realtime.openshift.io/required";

type Annotations = &'static [(&'static str, &'static str)];

/// Pods that are accepted.
pub fn accepted() -> Vec<Value> {
    let annotations: Vec<Annotations> = vec![
        &[],
        // The switch, and everything behind it.
        &[("realtime", "true"), ("rt_runtime_us", "25000")],
        &[
            ("realtime", "false"),
            ("rt_runtime_us", "nonsense"),
            (RUNTIME, "010"),
            (SCHEDULER, "x"),
        ],
        &[("realtime", "true"), (SCHEDULER, "rr:10")],
        // Budgets and who has them.
        &[(RUNTIME, "1")],
        &[(RUNTIME, "1000000")],
        &[(RUNTIME, "2000"), (MAIN, "3000")],
        &[
            ("realtime", "true"),
            ("rt_runtime_us", "25000"),
            (MAIN, "25000"),
        ],
        &[
            ("realtime", "true"),
            ("rt_runtime_us", "25000"),
            (RUNTIME, "3000"),
        ],
        &[("realtime.openshift.io/runtime-us.prepare", "2000")],
        // A value that no container takes isn't read.
        &[
            (RUNTIME, "nonsense"),
            (MAIN, "1000"),
            ("realtime.openshift.io/runtime-us.helper", "1000"),
            ("realtime.openshift.io/runtime-us.prepare", "1000"),
        ],
        // Policies.
        &[(SCHEDULER, "fifo:1")],
        &[(SCHEDULER, "fifo:99")],
        &[(SCHEDULER, "rr:9")],
        &[(SCHEDULER, "other")],
        &[
            (SCHEDULER, "fifo:50"),
            ("realtime.openshift.io/scheduler.helper", "other"),
        ],
        &[(SCHEDULER, "fifo:50,reset-on-fork")],
        &[(SCHEDULER, "rr:50,rttime-us=1000")],
        &[(SCHEDULER, "rr:50,rttime-us=60000000")],
        &[(SCHEDULER, "fifo:50,reset-on-fork,rttime-us=200000")],
        // Required or not; alone it asks for nothing, and then isn't read.
        &[(RUNTIME, "2000"), (REQUIRED, "true")],
        &[(RUNTIME, "2000"), (REQUIRED, "false")],
        &[(REQUIRED, "yes")],
        // Other objects' keys with the same prefix, and keys that only begin like ours.
        &[
            ("realtime.openshift.io/cordoned-at", "?"),
            ("realtime.openshift.io/runtime-usage", "much"),
        ],
        &[
            ("realtimes", "yes"),
            ("rt_runtime_us2", "x"),
            ("realtime.openshift.io/schedulers", "x"),
        ],
    ];
    let mut pods: Vec<Value> = annotations.into_iter().map(|set| pod("a", set)).collect();
    let resources: [(Annotations, [&str; 3]); 6] = [
        (&[(MAIN, "2000")], ["", "2000", ""]),
        (&[(MAIN, "2000")], ["", "2k", ""]),
        (&[(MAIN, "2000")], ["0", "2e3", "0"]),
        (&[(RUNTIME, "2000")], ["2000", "2000", "2000"]),
        (
            &[("realtime", "true"), ("rt_runtime_us", "2000")],
            ["", "2000", ""],
        ),
        (&[("realtime", "false")], ["", "7", ""]),
    ];
    pods.extend(
        resources
            .into_iter()
            .map(|(set, amounts)| counted("a", set, amounts)),
    );
    pods
}

/// Pods that are refused, with words that the refusal must have: the key, the value and the remedy.
#[allow(clippy::too_many_lines, reason = "one table")]
pub fn refused() -> Vec<(Value, Vec<&'static str>)> {
    let bad_numbers = [
        "", "0", "010", "00", "0x6400", "1000001", "12345678", "25k", "1e3", "1.5", "+1", "-1",
        " 1", "1 ", "1\n", "٣", "1_000",
    ];
    let bad_policies = [
        "",
        "fifo",
        "fifo:",
        "fifo:0",
        "fifo:100",
        "fifo:050",
        "fifo:05",
        "FIFO:5",
        "rr:+5",
        "rr:5 ",
        "rr:5\n",
        "deadline:5",
        "other:1",
        "other,reset-on-fork",
        "fifo:50,",
        "fifo:50,reset-on-fork,",
        "fifo:50,rttime-us=200000,reset-on-fork",
        "fifo:50,rttime-us=999",
        "fifo:50,rttime-us=0200000",
        "fifo:50,rttime-us=60000001",
        "fifo:50,rttime-us=+5000",
        "fifo:50, reset-on-fork",
        "fifo:50,reset-on-forks",
    ];
    let one: Vec<(Annotations, Vec<&'static str>)> = vec![
        (
            &[("realtime", "yes")],
            vec![
                "annotation realtime: \"yes\" is neither true nor false",
                "write \"true\" or \"false\"",
            ],
        ),
        (&[("realtime", "True"), (RUNTIME, "2000")], vec!["\"True\""]),
        (
            &[("realtime", "")],
            vec!["annotation realtime: \"\" is neither"],
        ),
        (
            &[("realtime", "true")],
            vec![
                "asks for neither a budget nor a policy",
                "add the annotation realtime.openshift.io/runtime-us",
            ],
        ),
        (
            &[("realtime", "true"), (REQUIRED, "true")],
            vec!["asks for neither"],
        ),
        (
            &[("rt_runtime_us", "25000")],
            vec![
                "has no effect without the annotation realtime",
                "add realtime: \"true\"",
            ],
        ),
        (
            &[
                ("realtime", "true"),
                ("rt_runtime_us", "25000"),
                (MAIN, "3000"),
            ],
            vec![
                "runtime-us.main: \"3000\" contradicts rt_runtime_us",
                "keep one",
            ],
        ),
        (
            &[("realtime", "true"), ("rt_runtime_us", "010")],
            vec!["annotation rt_runtime_us: \"010\"", "no leading zero"],
        ),
        (
            &[("realtime.openshift.io/runtime-us.nobody", "2000")],
            vec![
                "runtime-us.nobody: \"2000\"",
                "container that the pod does not have",
            ],
        ),
        (
            &[("realtime.openshift.io/scheduler.nobody", "fifo:5")],
            vec!["scheduler.nobody"],
        ),
        (
            &[("realtime.openshift.io/runtime-us.main.x", "2000")],
            vec!["runtime-us.main.x"],
        ),
        (
            &[(RUNTIME, "2000"), (REQUIRED, "yes")],
            vec!["annotation realtime.openshift.io/required: \"yes\""],
        ),
        // All problems at once.
        (
            &[
                ("realtime", "yes"),
                (RUNTIME, "010"),
                (SCHEDULER, "fifo:100"),
                ("realtime.openshift.io/runtime-us.nobody", "1"),
            ],
            vec![
                "annotation realtime: ",
                "runtime-us: \"010\"",
                "scheduler: \"fifo:100\"",
                "runtime-us.nobody: ",
            ],
        ),
    ];
    let mut pods: Vec<(Value, Vec<&str>)> = one
        .into_iter()
        .map(|(set, words)| (pod("a", set), words))
        .collect();
    for number in bad_numbers {
        pods.push((
            pod("a", &[(RUNTIME, number)]),
            vec![
                "annotation realtime.openshift.io/runtime-us: ",
                "from 1 to 1000000",
            ],
        ));
        pods.push((
            pod("a", &[(MAIN, number)]),
            vec!["annotation realtime.openshift.io/runtime-us.main: "],
        ));
    }
    for policy in bad_policies {
        pods.push((
            pod("a", &[(SCHEDULER, policy)]),
            vec![
                "annotation realtime.openshift.io/scheduler: ",
                "write fifo:50",
            ],
        ));
    }
    let resources: [(Annotations, [&str; 3], &str); 6] = [
        (
            &[(MAIN, "2000")],
            ["", "2001", ""],
            "container main requests 2001 of realtime.openshift.io/runtime-us, which differs from its budget: request 2000",
        ),
        (
            &[],
            ["", "2000", ""],
            "request none, or give it that budget by the annotation realtime.openshift.io/runtime-us.main",
        ),
        (
            &[(SCHEDULER, "fifo:5")],
            ["", "2000", ""],
            "request none, or give",
        ),
        (
            &[(MAIN, "2000")],
            ["", "", "2000"],
            "container main requests no realtime.openshift.io/runtime-us, but has a budget",
        ),
        (
            &[(RUNTIME, "2000")],
            ["", "2000", "2000"],
            "container prepare requests no",
        ),
        (
            &[],
            ["", "0", ""],
            "neither a budget nor a policy is asked for",
        ),
    ];
    pods.extend(
        resources
            .into_iter()
            .map(|(set, amounts, words)| (counted("a", set, amounts), vec![words])),
    );
    pods
}
