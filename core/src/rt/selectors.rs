//! The namespaces' selectors of all profiles as the data of one ConfigMap, flattened so that an expression of pods'
//! admission can split them apart. Decides what the ConfigMap says; whether a namespace matches is admission's to
//! find, and the daemon's for certain.
//!
//! A key is a profile that has budgets for pods; its value the selector:
//! - requirements in the order of their text, each once, with `;` between them, all of which must hold;
//! - `In KEY VALUE,VALUE`, `NotIn KEY VALUE,VALUE` (values in order, each once), `Exists KEY`, `DoesNotExist KEY`;
//!   an entry of `matchLabels` is `In KEY VALUE`;
//! - nothing at all for every namespace.
//!
//! A label's value may be empty: then there is nothing behind the second blank, or beside a comma.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde_json::Value;

use crate::api::realtime_profile::PodBudgetSpec;
use crate::problem::Problems;
use crate::validate::text;

/// One profile's part.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its `spec.podBudget` as the API server holds it; the rest may be as wrong as it likes.
    pub pod_budget: Option<&'a Value>,
}

/// The ConfigMap's data; `before` is what it holds now.
///
/// A profile that is invalid elsewhere counts with its selector: whoever edits it means that, and the daemons refuse
/// by the last valid one all the same. Where the budget itself can't be read, or its selector is none (an unknown
/// operator, a value with a blank or a `;` in it), the entry stays as it is, as everything of an invalid profile
/// does; without one, nobody may ask by this profile. [`crate::validate`] tells its author.
pub fn data<'a>(
    profiles: impl IntoIterator<Item = Profile<'a>>,
    before: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let entry = |Profile { name, pod_budget }: Profile<'a>| {
        let budget = pod_budget.filter(|budget| !budget.is_null())?;
        let text = match serde_json::from_value::<PodBudgetSpec>(budget.clone()) {
            Ok(budget) if budget.enabled != Some(true) => return None,
            Ok(budget) => flatten(budget.namespace_selector.as_ref()).ok(),
            Err(_) => None,
        };
        let text = text.or_else(|| before.get(name).cloned())?;
        Some((name.to_owned(), text))
    };
    profiles.into_iter().filter_map(entry).collect()
}

/// A selector as one line; `Err` with everything that the API server would refuse in it.
pub fn flatten(selector: Option<&LabelSelector>) -> Result<String, Problems> {
    let Some(selector) = selector else {
        return Ok(String::new());
    };
    let mut problems = Problems::default();
    text::selector("namespaceSelector", selector, &mut problems);
    if problems.has_errors() {
        return Err(problems);
    }
    let labels = selector.match_labels.iter().flatten();
    let labels = labels.map(|(key, value)| format!("In {key} {value}"));
    let expressions = selector.match_expressions.iter().flatten();
    let expressions = expressions.map(|requirement| {
        let (operator, key) = (&requirement.operator, &requirement.key);
        let values: BTreeSet<&str> = requirement
            .values
            .iter()
            .flatten()
            .map(String::as_str)
            .collect();
        if values.is_empty() {
            return format!("{operator} {key}");
        }
        let values: Vec<&str> = values.into_iter().collect();
        format!("{operator} {key} {}", values.join(","))
    });
    let requirements: BTreeSet<String> = labels.chain(expressions).collect();
    let requirements: Vec<String> = requirements.into_iter().collect();
    Ok(requirements.join(";"))
}

#[cfg(test)]
mod tests;
