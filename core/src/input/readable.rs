//! What can still be read of a profile whose shape is wrong, so that everything else that is wrong with
//! it is told in the same run. Judges nothing.

use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::problem::{Problem, Problems};

/// A profile without the fields that keep it from being read.
#[derive(Clone, Debug)]
pub struct Readable {
    /// The rest.
    pub profile: RealtimeProfile,
    /// The paths of the fields that were left out.
    left_out: Vec<String>,
}

impl Readable {
    /// Whether a problem of the rest is worth telling: not when the shape has one with the same field,
    /// nor when it may only be there because a field was left out.
    pub fn concerns(&self, problem: &Problem, shape: &Problems) -> bool {
        let lies_in = |inner: &str, outer: &str| {
            inner
                .strip_prefix(outer)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        let told = |known: &&Problem| known.field == problem.field && !is_pattern(known);
        !shape.0.iter().any(|known| told(&known))
            && self.left_out.iter().all(|left_out| {
                !lies_in(left_out, &problem.field) && !lies_in(&problem.field, left_out)
            })
    }
}

/// Whether a problem is only that a text doesn't have the schema's form: a section may know what that means.
pub fn is_pattern(problem: &Problem) -> bool {
    problem.remedy.starts_with(super::schema::FORM)
}

/// Leaves out as few of the fields with problems as it takes; `None` when leaving out all of them doesn't help.
pub fn readable(value: &Value, shape: &Problems) -> Option<Readable> {
    let read = |left_out: &[&str]| {
        let mut value = value.clone();
        for path in left_out {
            leave_out(&mut value, path);
        }
        serde_json::from_value::<RealtimeProfile>(value).ok()
    };
    let mut left_out: Vec<&str> = shape
        .0
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    // Two problems may lie in one list: what is put back is decided one after the other.
    let mut index = 0;
    while index < left_out.len() {
        let path = left_out.remove(index);
        if read(&left_out).is_none() {
            left_out.insert(index, path);
            index += 1;
        }
    }
    Some(Readable {
        profile: read(&left_out)?,
        left_out: left_out
            .into_iter()
            .map(|path| whole(path).to_owned())
            .collect(),
    })
}

/// Of a list the whole: without one item the others would change their numbers.
fn whole(path: &str) -> &str {
    path.split('[').next().unwrap_or_default()
}

/// Removes a field by its path. A key may hold dots itself, as `vm.swappiness` does.
fn leave_out(value: &mut Value, path: &str) {
    let path = whole(path);
    let Some(fields) = value.as_object_mut() else {
        return;
    };
    if fields.remove(path).is_some() {
        return;
    }
    for (key, inner) in fields {
        let rest = path.strip_prefix(key.as_str());
        if let Some(rest) = rest.and_then(|rest| rest.strip_prefix('.')) {
            leave_out(inner, rest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::profile;
    use super::*;
    use serde_json::json;

    fn value() -> Value {
        json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
            "metadata": {"name": "drill"},
            "spec": {
                "cpu": {"reserved": 5, "isolated": "2-3", "smt": "Maybe", "offlined": "x"},
                "memory": {"hugepages": {"pages": [{"size": "1G", "count": "many"}]}},
                "podBudget": {"capacityMicroseconds": -1},
            }
        })
    }

    #[test]
    fn only_what_cannot_be_read_is_left_out() {
        let shape = profile(value()).expect_err("a wrong shape");
        let readable = readable(&value(), &shape).expect("something to read");
        let spec = &readable.profile.spec;
        let cpu = spec.cpu.as_ref().expect("cpu");
        assert_eq!(cpu.isolated.as_deref(), Some("2-3"));
        assert_eq!((cpu.reserved.as_deref(), cpu.smt), (None, None));
        // Wrong, but readable: it stays.
        assert_eq!(cpu.offlined.as_deref(), Some("x"));
        let budget = spec.pod_budget.as_ref().expect("podBudget");
        assert_eq!(budget.capacity_microseconds, Some(-1));
    }

    #[test]
    fn what_a_left_out_field_causes_is_not_told() {
        let shape = profile(value()).expect_err("a wrong shape");
        let readable = readable(&value(), &shape).expect("something to read");
        let told = |field: &str| readable.concerns(&Problem::error(field, "", "x", ""), &shape);
        assert!(!told("spec.cpu.reserved"), "it has a problem of its own");
        assert!(!told("spec.cpu"), "isolated may only seem to lack reserved");
        assert!(!told("spec.memory.hugepages.pages[0].size"));
        assert!(told("spec.cpu.isolated"));
    }

    #[test]
    fn two_problems_of_a_list_and_keys_with_dots_hide_nothing() {
        let value = json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeProfile",
            "metadata": {"name": "drill"},
            "spec": {
                "kernel": {"realtime": true, "additionalArguments": [1, true]},
                "tuned": {"sysctl": {"vm.swappiness": 10, "vm.dirty_ratio": "5"}},
                "pool": {"nodeSelector": {"matchLabels": {"a.b/c": 1}}},
            }
        });
        let shape = profile(value.clone()).expect_err("a wrong shape");
        let readable = readable(&value, &shape).expect("something to read");
        let spec = &readable.profile.spec;
        assert_eq!(spec.kernel.as_ref().and_then(|it| it.realtime), Some(true));
        let sysctl = &spec.tuned.as_ref().expect("tuned").sysctl;
        assert_eq!(sysctl.keys().collect::<Vec<_>>(), ["vm.dirty_ratio"]);
    }

    #[test]
    fn an_object_without_a_name_is_not_read() {
        let shape = Problems(vec![Problem::error("spec", "", "x", "")]);
        assert!(readable(&json!([1]), &shape).is_none());
    }
}
