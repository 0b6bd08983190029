//! Texts written out, and that splitting them apart again decides as the selector did. Contacts nothing.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::selector::matches;

fn selector(value: Value) -> LabelSelector {
    serde_json::from_value(value).unwrap()
}

#[test]
fn requirements_are_in_order_and_each_once() {
    let given = selector(json!({
        "matchLabels": {"team": "spinning", "zone": "", "realtime.openshift.io/allowed": "true"},
        "matchExpressions": [
            {"key": "team", "operator": "In", "values": ["spinning"]},
            {"key": "stage", "operator": "NotIn", "values": ["test", "dev", "test"]},
            {"key": "owner", "operator": "Exists"},
            {"key": "old", "operator": "DoesNotExist", "values": []},
            {"key": "b", "operator": "In", "values": ["x", ""]}
        ]
    }));
    assert_eq!(
        flatten(Some(&given)).unwrap(),
        "DoesNotExist old;Exists owner;In b ,x;In realtime.openshift.io/allowed true;In team spinning;In zone ;\
         NotIn stage dev,test"
    );
    for every in [
        None,
        Some(selector(json!({}))),
        Some(selector(json!({"matchLabels": {}}))),
    ] {
        assert_eq!(flatten(every.as_ref()).unwrap(), "");
    }
}

#[test]
fn what_would_split_elsewhere_is_refused() {
    for value in ["a;b", "a b", "a,b", " ", ";", "a\n", "-a"] {
        let label = selector(json!({"matchLabels": {"team": value}}));
        assert!(flatten(Some(&label)).is_err(), "{value:?}");
        let key = selector(json!({"matchLabels": {value: "x"}}));
        assert!(flatten(Some(&key)).is_err(), "{value:?}");
        let among = json!({"matchExpressions": [{"key": "team", "operator": "In", "values": ["x", value]}]});
        assert!(flatten(Some(&selector(among))).is_err(), "{value:?}");
    }
    for odd in [
        json!({"key": "team", "operator": "Near", "values": ["x"]}),
        json!({"key": "team", "operator": "In"}),
        json!({"key": "team", "operator": "Exists", "values": ["x"]}),
    ] {
        assert!(flatten(Some(&selector(json!({"matchExpressions": [odd]})))).is_err());
    }
}

#[test]
fn a_profile_with_budgets_has_an_entry_and_one_that_cannot_be_read_keeps_its_own() {
    let allowed =
        json!({"enabled": true, "namespaceSelector": {"matchLabels": {"allowed": "true"}}});
    let every = json!({"enabled": true, "capacityMicroseconds": -7});
    let disabled = json!({"enabled": false, "namespaceSelector": {"matchLabels": {"a": "b"}}});
    let unnamed = json!({});
    let no_selector = json!({"enabled": true, "namespaceSelector": {"matchLabels": {"a": "b;c"}}});
    let unreadable = json!({"enabled": "yes"});
    let profiles = [
        ("allowed", Some(&allowed)),
        ("every", Some(&every)),
        ("disabled", Some(&disabled)),
        ("unnamed", Some(&unnamed)),
        ("none", None),
        ("null", Some(&Value::Null)),
        ("no-selector", Some(&no_selector)),
        ("unreadable", Some(&unreadable)),
    ]
    .map(|(name, pod_budget)| Profile { name, pod_budget });
    let data_after = |before: &[(&str, &str)]| {
        let pairs = before
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
        let found = data(profiles.clone(), &pairs.collect());
        found
            .into_iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect::<Vec<_>>()
    };
    let fresh = ["allowed=In allowed true", "every="];
    assert_eq!(data_after(&[]), fresh);
    assert_eq!(
        data_after(&[("allowed", "Exists old"), ("disabled", "x"), ("gone", "")]),
        fresh
    );
    assert_eq!(
        data_after(&[("no-selector", "In a b"), ("unreadable", "")]),
        [
            "allowed=In allowed true",
            "every=",
            "no-selector=In a b",
            "unreadable="
        ]
    );
}

/// As an expression of admission would: by splitting.
fn splits_to_match(text: &str, labels: &BTreeMap<String, String>) -> bool {
    text.is_empty()
        || text.split(';').all(|requirement| {
            let parts: Vec<&str> = requirement.split(' ').collect();
            let live = labels.get(parts[1]).map(String::as_str);
            let listed = || parts[2].split(',').any(|value| live == Some(value));
            match parts[0] {
                "In" => listed(),
                "NotIn" => !listed(),
                "Exists" => live.is_some(),
                _ => live.is_none(),
            }
        })
}

fn any_key() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("a".to_owned()),
        Just("b".to_owned()),
        Just("example.org/c".to_owned())
    ]
}

fn any_value() -> impl Strategy<Value = String> {
    prop_oneof![
        Just(String::new()),
        Just("x".to_owned()),
        Just("y-1.z_2".to_owned())
    ]
}

fn any_requirement() -> impl Strategy<Value = LabelSelectorRequirement> {
    let listed = (
        prop_oneof![Just("In"), Just("NotIn")],
        proptest::collection::vec(any_value(), 1..4),
    );
    let listed = listed.prop_map(|(operator, values)| (operator, Some(values)));
    let bare =
        prop_oneof![Just("Exists"), Just("DoesNotExist")].prop_map(|operator| (operator, None));
    (any_key(), prop_oneof![listed, bare]).prop_map(|(key, (operator, values))| {
        LabelSelectorRequirement {
            key,
            operator: operator.to_owned(),
            values,
        }
    })
}

proptest! {
    #[test]
    fn split_apart_it_decides_as_the_selector(
        match_labels in proptest::collection::btree_map(any_key(), any_value(), 0..3),
        match_expressions in proptest::collection::vec(any_requirement(), 0..4),
        labels in proptest::collection::btree_map(any_key(), any_value(), 0..4),
    ) {
        let selector = LabelSelector {
            match_labels: Some(match_labels),
            match_expressions: Some(match_expressions),
        };
        let text = flatten(Some(&selector)).unwrap();
        prop_assert_eq!(splits_to_match(&text, &labels), matches(&selector, &labels), "{}", text);
    }

    #[test]
    fn no_text_is_too_odd(key in ".*", value in ".*", operator in ".*") {
        let selector = LabelSelector {
            match_labels: Some(BTreeMap::from([(key.clone(), value.clone())])),
            match_expressions: Some(vec![LabelSelectorRequirement { key, operator, values: Some(vec![value]) }]),
        };
        if let Ok(text) = flatten(Some(&selector)) {
            prop_assert!(text.split(';').all(|part| (2..=3).contains(&part.split(' ').count())), "{}", text);
        }
    }
}
