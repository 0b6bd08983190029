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

/// Leaves out as few of the fields with problems as it takes; `None` when that doesn't help.
pub fn readable(value: &Value, shape: &Problems) -> Option<Readable> {
    let read = |left_out: &[&str]| {
        let mut value = value.clone();
        for path in left_out {
            leave_out(&mut value, path);
        }
        serde_json::from_value::<RealtimeProfile>(value).ok()
    };
    let paths: Vec<&str> = shape
        .0
        .iter()
        .map(|problem| problem.field.as_str())
        .collect();
    // A field stays when the profile can be read with it and without all others.
    let left_out: Vec<&str> = (0..paths.len())
        .filter(|kept| {
            let others: Vec<&str> = paths
                .iter()
                .filter(|path| *path != &paths[*kept])
                .copied()
                .collect();
            read(&others).is_none()
        })
        .map(|index| paths[index])
        .collect();
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

/// Removes a field by its path.
fn leave_out(value: &mut Value, path: &str) {
    let path = whole(path);
    let (parent, field) = path.rsplit_once('.').unwrap_or(("", path));
    let mut pointer = String::new();
    for part in parent.split('.').filter(|part| !part.is_empty()) {
        pointer.push('/');
        pointer.push_str(part);
    }
    if let Some(parent) = value.pointer_mut(&pointer).and_then(Value::as_object_mut) {
        parent.remove(field);
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
    fn an_object_without_a_name_is_not_read() {
        let shape = Problems(vec![Problem::error("spec", "", "x", "")]);
        assert!(readable(&json!([1]), &shape).is_none());
    }
}
