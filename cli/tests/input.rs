//! Whatever is given: an exit code, every problem at once, a sentence for a person, and never a panic.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use common::{command, oc, oc_stdin};

const PROFILE: &str = "\
apiVersion: realtime.openshift.io/v1alpha1
kind: RealtimeProfile
metadata: {name: press}
spec:
  kernel: {realtime: true}
  cpu: {reserved: '0-1', isolated: '2-7'}
";

fn validate(stdin: &[u8]) -> common::Run {
    oc_stdin(&["validate", "-f", "-"], stdin)
}

#[test]
fn stdin_and_file_give_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("press.yaml");
    std::fs::write(&file, PROFILE).unwrap();
    let from_file = oc(&["render", "-f", file.to_str().unwrap()]).success();
    let from_stdin = oc_stdin(&["render", "-f", "-"], PROFILE.as_bytes()).success();
    assert!(!from_file.is_empty());
    assert_eq!(from_file, from_stdin);
    let as_json = serde_json::json!({
        "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
        "metadata": {"name": "press"},
        "spec": {"kernel": {"realtime": true}, "cpu": {"reserved": "0-1", "isolated": "2-7"}},
    });
    assert_eq!(
        from_file,
        oc_stdin(&["render", "-f", "-"], as_json.to_string().as_bytes()).success()
    );
}

#[test]
fn several_profiles_and_a_list() {
    let second = PROFILE.replace("press", "lathe");
    let both = oc_stdin(
        &["render", "-f", "-"],
        format!("{PROFILE}---\n{second}").as_bytes(),
    )
    .success();
    assert_eq!(both.matches("kind: MachineConfig\n").count(), 2);
    let alone = oc_stdin(&["render", "-f", "-"], PROFILE.as_bytes()).success();
    assert!(
        both.starts_with(&alone),
        "a profile renders the same beside another"
    );
    let indented = PROFILE.replace('\n', "\n  ");
    let list = format!(
        "apiVersion: v1\nkind: List\nitems:\n- {}\n",
        indented.trim_end()
    );
    assert_eq!(
        oc_stdin(&["render", "-f", "-"], list.as_bytes()).success(),
        alone
    );
    // As the API server itself answers, whose items have no kind.
    let typed = list
        .replace(
            "apiVersion: v1\nkind: List",
            "apiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfileList",
        )
        .replace(
            "- apiVersion: realtime.openshift.io/v1alpha1\n  kind: RealtimeProfile\n  ",
            "- ",
        );
    assert_eq!(typed.matches("kind:").count(), 1, "{typed}");
    assert_eq!(
        oc_stdin(&["render", "-f", "-"], typed.as_bytes()).success(),
        alone
    );
}

#[test]
fn every_problem_of_every_profile_at_once() {
    let first = PROFILE
        .replace("'2-7'", "'1-7'")
        .replace("realtime: true", "realtim: true");
    let second = PROFILE.replace("press", "lathe").replace("'0-1'", "'0-1x'");
    let text = format!("{first}---\n{second}");
    let stderr = validate(text.as_bytes()).failure();
    assert!(
        stderr.contains("stdin, document 1, press: spec.kernel.realtim"),
        "{stderr}"
    );
    assert!(stderr.contains("did you mean"), "{stderr}");
    assert!(
        stderr.contains("stdin, document 2, lathe: spec.cpu.reserved"),
        "{stderr}"
    );
    assert!(stderr.contains("0-1x"), "the value is told: {stderr}");
    let render = oc_stdin(&["render", "-f", "-"], text.as_bytes());
    assert_eq!(render.stdout, "", "nothing is half rendered");
    assert_eq!(render.failure(), stderr);
}

#[test]
fn a_wrong_shape_hides_no_other_problem() {
    let text = PROFILE
        .replace("realtime: true", "realtim: true")
        .replace("'2-7'", "'1-7'");
    let stderr = validate(text.as_bytes()).failure();
    assert!(
        stderr.contains("spec.kernel.realtim") && stderr.contains("spec.cpu.isolated"),
        "{stderr}"
    );
}

#[test]
fn a_wrong_item_of_a_list_hides_no_other_problem() {
    let text = PROFILE.replace(
        "realtime: true",
        "realtime: true, additionalArguments: [1, true]",
    ) + "  tuned: {sysctl: {vm.swappiness: 10}}\n";
    let stderr = validate(text.replace("'2-7'", "'1-7'").as_bytes()).failure();
    for field in [
        "spec.kernel.additionalArguments[0]",
        "spec.kernel.additionalArguments[1]",
        "spec.tuned.sysctl.vm.swappiness",
        "spec.cpu.isolated",
    ] {
        assert!(stderr.contains(field), "{stderr}");
    }
}

#[test]
fn a_number_that_no_field_can_hold_is_told_by_its_field() {
    for number in ["4294967296", "1.5"] {
        let text = format!("{PROFILE}  pool: {{maxUnavailable: {number}}}\n");
        let stderr = validate(text.as_bytes()).failure();
        let told = format!("spec.pool.maxUnavailable \"{number}\": ");
        assert!(stderr.contains(&told) && stderr.contains("; "), "{stderr}");
    }
}

#[test]
fn a_name_acts_on_no_terminal_and_is_told_once() {
    for name in ["\"\\e[31mred\"", "\"a\\nb\"", "Press"] {
        let stderr = validate(PROFILE.replace("press", name).as_bytes()).failure();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        assert!(!stderr.contains('\u{1b}'), "{stderr:?}");
        assert!(stderr.contains("metadata.name"), "{stderr}");
    }
}

#[test]
fn a_duration_is_told_in_words() {
    for time in ["10", "1d", "10 m", "-1m", "5s1m", "1234567s", "0h0m"] {
        let text = format!("{PROFILE}  latency: {{check: {{duration: '{time}'}}}}\n");
        let stderr = validate(text.as_bytes()).failure();
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
        let told = format!("spec.latency.check.duration \"{time}\": is no ");
        assert!(
            stderr.contains(&told) && stderr.contains("1h30m"),
            "{stderr}"
        );
    }
    for time in ["90s", "10m", "1h30m", "999999h1s"] {
        let text = format!("{PROFILE}  latency: {{check: {{duration: '{time}'}}}}\n");
        validate(text.as_bytes()).success();
    }
}

#[test]
fn other_objects_may_stand_beside_a_profile() {
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}\n---\n";
    assert_eq!(
        oc_stdin(
            &["render", "-f", "-"],
            format!("{namespace}{PROFILE}").as_bytes()
        )
        .success(),
        oc_stdin(&["render", "-f", "-"], PROFILE.as_bytes()).success()
    );
    let alone = validate(namespace.as_bytes()).failure();
    assert!(alone.contains("Namespace/shop"), "{alone}");
    let mistyped = namespace.replace("Namespace", "Nod");
    let stderr = validate(format!("{mistyped}{PROFILE}").as_bytes()).failure();
    assert!(stderr.contains("did you mean `Node`?"), "{stderr}");
}

#[test]
fn a_profile_given_twice() {
    let stderr = validate(format!("{PROFILE}---\n{PROFILE}").as_bytes()).failure();
    assert!(stderr.contains("given twice"), "{stderr}");
}

#[test]
fn json_says_the_same() {
    let run = oc_stdin(
        &["validate", "-f", "-", "--output", "json"],
        PROFILE.replace("'2-7'", "'1-7'").as_bytes(),
    );
    assert_eq!(run.code, 1);
    let report: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(report["valid"], false);
    let problem = &report["profiles"][0]["problems"][0];
    assert_eq!(problem["severity"], "error");
    for field in ["field", "value", "message", "remedy"] {
        assert!(
            problem[field].as_str().is_some_and(|text| !text.is_empty()),
            "{field}: {report:#}"
        );
    }
    let good = oc_stdin(&["validate", "-f", "-", "-o", "json"], PROFILE.as_bytes()).success();
    let report: serde_json::Value = serde_json::from_str(&good).unwrap();
    assert_eq!(
        (&report["valid"], &report["profiles"][0]["name"]),
        (&true.into(), &"press".into())
    );
}

#[test]
fn missing_unreadable_and_wrong_files_are_all_told() {
    let directory = tempfile::tempdir().unwrap();
    let stderr = oc(&[
        "validate",
        "-f",
        "/nowhere/a.yaml",
        "-f",
        directory.path().to_str().unwrap(),
        "-f",
        "/nowhere/b.yaml",
    ])
    .failure();
    assert!(stderr.contains("/nowhere/a.yaml: No such file"), "{stderr}");
    assert!(stderr.contains("/nowhere/b.yaml: No such file"), "{stderr}");
    assert!(stderr.contains("is a directory"), "{stderr}");
    assert_eq!(stderr.matches("error: ").count(), 3, "{stderr}");
}

#[test]
fn what_is_no_profile() {
    for (input, word) in [
        (&b""[..], "no RealtimeProfile"),
        (b"   \n# only a comment\n---\n---\n", "no RealtimeProfile"),
        (b"\xff\xfe\x00binary\x00", "is no text"),
        (b"\x00\x01\x02\x03", "stdin"),
        (b"- a\n- b\n", "stdin"),
        (b"just words\n", "stdin"),
        (b"{\"kind\": \"RealtimeProfile\"", "stdin"),
        (b"kind: [unclosed\n", "line"),
        (b"kind: RealtimeProfile\n", "apiVersion"),
        (b"apiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfil\nmetadata: {name: a}\n", "RealtimeProfil"),
        (b"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n", "Secret"),
    ] {
        let stderr = validate(input).failure();
        assert!(stderr.contains(word), "{:?}: {stderr}", String::from_utf8_lossy(input));
    }
}

#[test]
fn stdin_twice() {
    let stderr = oc_stdin(&["validate", "-f", "-", "-f", "-"], PROFILE.as_bytes()).failure();
    assert!(stderr.contains("only once"), "{stderr}");
}

/// What a bomb costs: time, and memory by the kernel's own count.
fn bounded(stdin: &[u8]) -> String {
    let start = Instant::now();
    let stderr = validate(stdin).failure();
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "{:?}",
        start.elapsed()
    );
    stderr
}

#[test]
fn an_alias_bomb_is_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let previous = format!("*a{}", level - 1);
        let items = vec![previous; 10].join(", ");
        writeln!(bomb, "a{level}: &a{level} [{items}]").unwrap();
    }
    bounded(bomb.as_bytes());
}

#[test]
fn deep_nesting_is_refused() {
    bounded("[".repeat(2_000_000).as_bytes());
    bounded("{a: ".repeat(500_000).as_bytes());
    let mut ladder = String::new();
    for depth in 0..3000 {
        ladder.push_str(&" ".repeat(depth));
        ladder.push_str("a:\n");
    }
    bounded(ladder.as_bytes());
}

#[test]
fn an_endless_file_is_refused() {
    let start = Instant::now();
    let stderr = oc(&["validate", "-f", "/dev/zero"]).failure();
    assert!(stderr.contains("more than"), "{stderr}");
    assert!(start.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_huge_cpu_set_costs_nothing() {
    let stderr = bounded(PROFILE.replace("'2-7'", "'2-5000000'").as_bytes());
    assert!(stderr.contains("spec.cpu.isolated"), "{stderr}");
}

#[test]
fn a_reader_that_stops_early_is_no_error() {
    let mut child = command(&["crds"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn a_full_disk_is_an_error() {
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let output = command(&["crds"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("No space left"));
}

#[test]
fn wrong_usage_ends_with_2_and_help_names_the_codes() {
    assert_eq!(oc(&["rendr"]).code, 2);
    assert_eq!(oc(&["render"]).code, 2);
    assert_eq!(oc(&["render", "-f", "a", "--dialect", "x"]).code, 2);
    let help = oc(&["--help"]).success();
    for code in ["0 ", "1 ", "2 ", "130"] {
        assert!(help.contains(&format!("  {code}")), "{help}");
    }
    assert!(
        oc(&["--version"])
            .success()
            .contains(env!("CARGO_PKG_VERSION"))
    );
}

#[test]
fn dialects() {
    let render = |dialect| {
        oc_stdin(
            &["render", "-f", "-", "--dialect", dialect],
            PROFILE.as_bytes(),
        )
        .success()
    };
    assert!(render("kernelType").contains("  kernelType: realtime\n"));
    assert!(render("realtime").contains("  realtime: true\n"));
    let none = render("none");
    assert!(
        !none.contains("kernelType")
            && !none.contains("realtime: true")
            && none.contains("kernelArguments:")
    );
}

#[test]
fn random_bytes_never_panic() {
    // A fixed generator: what fails once fails again.
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..40 {
        let mut bytes = PROFILE.as_bytes().to_vec();
        for _ in 0..=round {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state % bytes.len() as u64).unwrap();
            bytes[at] = u8::try_from(state >> 56).unwrap();
        }
        let run = validate(&bytes);
        assert!(
            run.code == 0 || run.code == 1,
            "{}: {}",
            run.code,
            run.stderr
        );
        assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    }
}
