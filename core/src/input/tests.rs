//! What is read, what is refused, and that nothing panics or grows without bound.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::cluster::{Dialect, Served};

fn refusal(text: &str) -> String {
    parse_documents(text).expect_err(text).to_string()
}

fn problems(text: &str) -> Problems {
    let value = parse_documents(text).expect(text).remove(0);
    profile(value).expect_err(text)
}

const HEAD: &str = "apiVersion: realtime.openshift.io/v1alpha1\nkind: RealtimeProfile\nmetadata: {name: edge-rt}\n";

#[test]
fn reads_yaml_and_json_and_leaves_out_empty_documents() {
    let wanted = vec![json!({"a": 1}), json!({"b": ["x", true, 1.5, -3]})];
    assert_eq!(
        parse_documents("a: 1\n---\n---\n# nothing\n---\nb: [x, true, 1.5, -3]\n"),
        Ok(wanted)
    );
    assert_eq!(
        parse_documents("\u{feff}{\"a\": \"\\ud83d\\ude00\",\n\t\"b\": {}}"),
        Ok(vec![json!({"a": "😀", "b": {}})])
    );
    assert_eq!(
        parse_documents("{a: 1, b: [2]}"),
        Ok(vec![json!({"a": 1, "b": [2]})])
    );
    assert_eq!(parse_documents(""), Ok(vec![]));
    assert_eq!(
        parse_documents("a: &x [1]\nb: *x"),
        Ok(vec![json!({"a": [1], "b": [1]})])
    );
    assert_eq!(
        parse_documents("a: 0-1\nb: 4k\nc: no\n"),
        Ok(vec![json!({"a": "0-1", "b": "4k", "c": "no"})])
    );
}

#[test]
fn refuses_what_reads_differently_elsewhere_and_says_where() {
    assert!(
        refusal("a: 1\nb: {c: 1, c: 2}").starts_with("line 2"),
        "{}",
        refusal("a: 1\nb: {c: 1, c: 2}")
    );
    assert!(refusal("{\"a\": 1, \"a\": 2}").contains("`a` appears twice"));
    assert!(refusal("a: .nan").contains("no number that JSON has"));
    assert!(refusal("a: -.inf").contains("no number that JSON has"));
    assert!(refusal("a: 99999999999999999999999").contains("too large"));
    for key in ["1", "true", "~", "1.5"] {
        assert!(
            refusal(&format!("{key}: x")).contains("put it in quotes"),
            "{key}"
        );
    }
    assert!(refusal("? [a]\n: x").contains("sequence"));
    assert!(refusal("a: !secret x").contains("tags"));
    assert!(refusal("a: &x {b: 1}\nc: {<<: *x}").contains("merge keys"));
    assert!(refusal("a: *x").contains("unknown anchor"));
    assert!(refusal("a: 1\n---\nb: [\n").starts_with("line "));
    assert!(refusal("a: 1\n  b: 2").starts_with("line 2"));
}

#[test]
fn refuses_bombs_quickly() {
    let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..30 {
        let before = level - 1;
        let ten = vec![format!("*a{before}"); 10].join(", ");
        laughs = format!("{laughs}a{level}: &a{level} [{ten}]\n");
    }
    assert!(refusal(&laughs).contains("alias"), "{}", refusal(&laughs));
    let long = format!(
        "a: &a {}\nb: [{}]",
        "x".repeat(100_000),
        vec!["*a"; 20_000].join(",")
    );
    assert!(refusal(&long).contains("alias"));
    assert!(
        refusal("a: &a [*a]").contains("nested"),
        "{}",
        refusal("a: &a [*a]")
    );
    assert!(refusal(&"[".repeat(5_000_000)).contains("brackets"));
    assert!(refusal(&"[\n".repeat(5_000_000)).contains("brackets"));
    assert!(refusal(&"{a: ".repeat(900)).starts_with("line"));
    assert!(refusal(&"- ".repeat(100_000)).contains("nested"));
    assert!(refusal(&format!("{}1{}", "[".repeat(100), "]".repeat(100))).contains("nested"));
    assert!(refusal(&"---\na: 1\n".repeat(MAX_DOCUMENTS + 2)).contains("documents"));
    assert_eq!(
        parse_documents(&" ".repeat(MAX_TEXT + 1)),
        Err(InputError::TooLong(MAX_TEXT + 1))
    );
}

#[test]
fn a_right_profile_is_typed() {
    let text = format!(
        "{HEAD}spec:\n  cpu: {{reserved: 0-1, isolated: 2-7}}\n  pool: {{maxUnavailable: 10%}}\nstatus: {{nonsense: 1}}\n"
    );
    let profile = profile(parse_documents(&text).unwrap().remove(0)).unwrap();
    assert_eq!(profile.spec.cpu.unwrap().isolated.as_deref(), Some("2-7"));
    assert_eq!(profile.status, None);
}

#[test]
fn all_faults_of_shape_are_told_at_once() {
    let found = problems(&format!(
        "{HEAD}spec:\n  cpu: {{reservd: 0-1, isolated: 2-7;, smt: off, reserved: 0}}\n  kernel: {{realtime: \"yes\", additionalArguments: quiet}}\n  memory: {{hugepages: {{pages: [{{size: 1G, count: -1}}, {{count: 1}}]}}}}\n  latency: {{maxMicroseconds: 0}}\n  powr: {{}}\n"
    ));
    let text = found.to_string();
    for wanted in [
        "spec.cpu.reservd \"0-1\": is no field that exists here; did you mean `reserved`?",
        "spec.cpu.isolated \"2-7;\": does not have the form",
        "spec.cpu.smt \"off\": is none of the values that are possible here; did you mean `Off`?",
        "spec.cpu.reserved \"0\": is a number, and text is wanted; put it in quotes",
        "spec.kernel.realtime \"yes\": is text, and true or false is wanted",
        "spec.kernel.additionalArguments \"quiet\": is text, and a list is wanted; begin each item with `- `",
        "spec.memory.hugepages.pages[0].count \"-1\": is too small; choose 0 to 10000000",
        "spec.memory.hugepages.pages[1].size: is missing",
        "spec.latency.maxMicroseconds \"0\": is too small",
        "spec.powr \"{…}\": is no field that exists here",
    ] {
        assert!(text.contains(wanted), "{wanted}\n--- not in:\n{text}");
    }
    assert_eq!(found.0.len(), 10, "{text}");
}

#[test]
fn the_frame_of_an_object_is_checked_too() {
    let text = problems(
        "kind: RealtimeProfil\nmetadata: {name: Edge_RT, lables: {a: b}, labels: {a: 1}}\n",
    )
    .to_string();
    for wanted in [
        "apiVersion: is missing",
        "kind \"RealtimeProfil\": is none of the values that are possible here; did you mean `RealtimeProfile`?",
        "metadata.name \"Edge_RT\": does not have the form",
        "metadata.lables \"{…}\": is no field that exists here; did you mean `labels`?",
        "metadata.labels.a \"1\": is a number, and text is wanted",
        "spec: is missing",
    ] {
        assert!(text.contains(wanted), "{wanted}\n--- not in:\n{text}");
    }
    assert!(profile(json!([1])).is_err());
    assert!(profile(json!(null)).is_err());
}

#[test]
fn cluster_objects_are_sorted_into_place() {
    let text = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- {apiVersion: machineconfiguration.openshift.io/v1, kind: MachineConfigPool, metadata: {name: edge}, spec: {paused: true}}\n---\nkind: NodeList\nitems: [{metadata: {name: n2}}]\n---\nkind: MachineOSConfig\nmetadata: {name: m}\nspec: {machineConfigPool: {name: edge}}\n";
    let served = Served::openshift(Dialect::KernelType);
    let cluster = cluster_from_documents(parse_documents(text).unwrap(), served).unwrap();
    assert_eq!((cluster.nodes.len(), cluster.pools.len()), (2, 1));
    assert_eq!(cluster.image_mode_pools, ["edge"]);

    let text = "kind: Nod\nmetadata: {name: n}\n---\nkind: Pod\nmetadata: {name: p}\n---\nfoo: 1\n---\nkind: KubeletConfig\napiVersion: kubelet.config.k8s.io/v1beta1\nmetadata: {name: k}\n---\nkind: MachineConfigPool\nmetadata: {name: w}\nspec: {paused: 3}\n---\nkind: List\n";
    let found = cluster_from_documents(parse_documents(text).unwrap(), served)
        .unwrap_err()
        .to_string();
    for wanted in [
        "Nod/n: is of a kind that nothing here depends on; did you mean `Node`?",
        "document: has no kind",
        "KubeletConfig/k: is of the API kubelet.config.k8s.io/v1beta1",
        "MachineConfigPool/w: can't be read",
        "List: has no items",
    ] {
        assert!(found.contains(wanted), "{wanted}\n--- not in:\n{found}");
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 4.0)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 48, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
            prop::collection::btree_map("[a-zA-Z.<]{0,8}", inner, 0..6)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn spec_like() -> impl Strategy<Value = String> {
    let key = prop::sample::select(vec![
        "apiVersion",
        "kind",
        "metadata",
        "name",
        "spec",
        "cpu",
        "reserved",
        "isolated",
        "kernel",
        "realtime",
        "memory",
        "hugepages",
        "pages",
        "size",
        "count",
        "kubelet",
        "overrides",
        "tuned",
        "sections",
        "pool",
        "maxUnavailable",
    ]);
    let value = prop::sample::select(vec![
        "", " 1", " x", " []", " {}", " [1", " &a", " *a", " |", " >-", " 'x'", " \"", " !t", " ~",
        " 0-1",
    ]);
    prop::collection::vec((0_usize..6, key, value), 0..20).prop_map(|lines| {
        lines
            .iter()
            .map(|(indent, key, value)| format!("{}{key}:{value}", "  ".repeat(*indent)))
            .collect::<Vec<_>>()
            .join("\n")
    })
}

/// `oc get nodes,co,pods -o yaml` is whatever was asked for.
#[test]
fn kinds_that_do_not_matter_are_left_out_unless_there_is_nothing_else() {
    let served = Served::openshift(Dialect::KernelType);
    let read = |text: &str| cluster_from_documents(parse_documents(text).unwrap(), served);
    let list = "kind: List\nitems:\n- {apiVersion: v1, kind: Node, metadata: {name: n1}}\n- {apiVersion: config.openshift.io/v1, kind: ClusterVersion, metadata: {name: version}}\n- {apiVersion: tuned.openshift.io/v1, kind: Tuned, metadata: {name: default}}\n";
    assert_eq!(read(list).unwrap().nodes.len(), 1);
    let refused = |text: &str, message: &str| {
        let problems = read(text).unwrap_err().to_string();
        assert!(problems.contains(message), "{problems}");
    };
    refused(
        "kind: Deployment\nmetadata: {name: web}\n",
        "Deployment/web: is of a kind that nothing here depends on; use one of: Node",
    );
    refused(
        &list.replace("kind: Tuned", "kind: MachineConfigPol"),
        "did you mean `MachineConfigPool`?",
    );
}

proptest! {
    #[test]
    fn no_text_panics(text in "(\\PC|\n|\t|: |- |\\[|\\{|\\*a|&a |\"|'|---\n){0,60}") {
        if let Ok(values) = parse_documents(&text) {
            for value in values {
                let _ = profile(value);
            }
        }
    }

    #[test]
    fn no_profile_like_text_panics(text in spec_like()) {
        if let Ok(values) = parse_documents(&text) {
            for value in values.clone() {
                let _ = profile(value);
            }
            let _ = cluster_from_documents(values, Served::openshift(Dialect::KernelType));
        }
    }

    #[test]
    fn json_is_read_as_it_is(value in any_json()) {
        // A scalar alone is no document of ours: it is read as YAML, which folds line ends inside of quotes.
        let value = serde_json::json!([value]);
        let text = value.to_string();
        if let Ok(values) = parse_documents(&text) {
            prop_assert!(values.first().is_none_or(|read| *read == value), "{text}");
        }
        let _ = profile(value);
    }
}
