//! Kubernetes label selectors. Only whether labels match; it never lists or fetches anything.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};

/// Whether the labels match, by the API's rule that an empty selector matches everything.
///
/// An operator that Kubernetes doesn't know matches nothing: the API server refuses it anyway.
pub fn matches(selector: &LabelSelector, labels: &BTreeMap<String, String>) -> bool {
    let wanted = selector.match_labels.iter().flatten();
    let requirements = selector.match_expressions.iter().flatten();
    wanted
        .into_iter()
        .all(|(key, value)| labels.get(key) == Some(value))
        && requirements
            .into_iter()
            .all(|requirement| holds(requirement, labels))
}

/// Whether the labels match, by the Machine Config Operator's rule that an absent or empty selector
/// selects nothing.
pub fn matches_or_nothing(
    selector: Option<&LabelSelector>,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector.is_some_and(|selector| !is_empty(selector) && matches(selector, labels))
}

/// Whether a selector has no requirement at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.iter().flatten().next().is_none()
        && selector.match_expressions.iter().flatten().next().is_none()
}

fn holds(requirement: &LabelSelectorRequirement, labels: &BTreeMap<String, String>) -> bool {
    let value = labels.get(&requirement.key);
    let listed = |value: &String| requirement.values.iter().flatten().any(|v| v == value);
    match requirement.operator.as_str() {
        "In" => value.is_some_and(listed),
        "NotIn" => !value.is_some_and(listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
            .collect()
    }

    fn requirement(operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "role".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(|v| (*v).to_owned()).collect()),
            }]),
            match_labels: None,
        }
    }

    #[test]
    fn every_operator_decides_as_the_api_server_does() {
        let worker = labels(&[("role", "worker")]);
        let bare = labels(&[]);
        for (operator, values, on_worker, on_bare) in [
            ("In", &["worker", "worker-rt"][..], true, false),
            ("In", &["infra"], false, false),
            ("NotIn", &["worker"], false, true),
            ("NotIn", &["infra"], true, true),
            ("Exists", &[], true, false),
            ("DoesNotExist", &[], false, true),
            ("Near", &["worker"], false, false),
        ] {
            let selector = requirement(operator, values);
            assert_eq!(
                matches(&selector, &worker),
                on_worker,
                "{operator} {values:?} on worker"
            );
            assert_eq!(
                matches(&selector, &bare),
                on_bare,
                "{operator} {values:?} on bare"
            );
        }
    }

    #[test]
    fn labels_and_expressions_must_both_hold() {
        let mut selector = requirement("Exists", &[]);
        selector.match_labels = Some(labels(&[("zone", "a")]));
        assert!(matches(&selector, &labels(&[("role", "x"), ("zone", "a")])));
        assert!(!matches(
            &selector,
            &labels(&[("role", "x"), ("zone", "b")])
        ));
        assert!(!matches(&selector, &labels(&[("zone", "a")])));
    }

    #[test]
    fn an_empty_selector_is_everything_to_kubernetes_and_nothing_to_openshift() {
        let empty = LabelSelector {
            match_expressions: Some(vec![]),
            match_labels: Some(labels(&[])),
        };
        assert!(is_empty(&empty));
        assert!(matches(&empty, &labels(&[("a", "b")])));
        assert!(!matches_or_nothing(Some(&empty), &labels(&[("a", "b")])));
        assert!(!matches_or_nothing(None, &labels(&[("a", "b")])));
        assert!(matches_or_nothing(
            Some(&requirement("Exists", &[])),
            &labels(&[("role", "")])
        ));
    }
}
