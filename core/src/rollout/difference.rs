//! Whether a live object holds what was rendered, and what it holds besides. Knows nothing of kinds.
//!
//! The API server adds metadata and a status, others may add labels and annotations: those are theirs. The
//! `spec` of an object that is ours alone is ours alone: what somebody added there is taken out again.

use serde_json::Value;

/// Whether every field of `wanted` stands in `live` with the same value. Lists are compared as a whole.
pub fn contains(live: &Value, wanted: &Value) -> bool {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => wanted.iter().all(|(key, value)| {
            match live.get(key) {
                Some(found) => contains(found, value),
                // An empty value and none are the same to the API server's pruning and defaulting.
                None => is_nothing(value),
            }
        }),
        (Value::Array(live), Value::Array(wanted)) => {
            live.len() == wanted.len()
                && live
                    .iter()
                    .zip(wanted)
                    .all(|(live, wanted)| contains(live, wanted))
        }
        // Another spelling of the same number is what an API server may store.
        (Value::Number(live), Value::Number(wanted)) => {
            live == wanted || live.as_f64() == wanted.as_f64()
        }
        _ => live == wanted,
    }
}

/// JSON pointers of what `live` holds and `wanted` doesn't, the outermost only.
pub fn extra(live: &Value, wanted: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect("", live, wanted, &mut found);
    found
}

fn collect(path: &str, live: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (live, wanted) {
        (Value::Object(live), Value::Object(wanted)) => {
            for (key, value) in live {
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                match wanted.get(key) {
                    Some(wanted) => collect(&path, value, wanted, found),
                    None if is_nothing(value) => {}
                    None => found.push(path),
                }
            }
        }
        (Value::Array(live), Value::Array(wanted)) if live.len() == wanted.len() => {
            for (index, (live, wanted)) in live.iter().zip(wanted).enumerate() {
                collect(&format!("{path}/{index}"), live, wanted, found);
            }
        }
        _ => {}
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(map) => map.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Whether a live object is what was rendered: metadata contained, the rest exactly. Its type is not compared: the
/// items of a list of built-in kinds carry none.
pub fn is_as_rendered(live: &Value, wanted: &Value) -> bool {
    holds(live, wanted) && extra_fields(live, wanted).is_empty()
}

/// Whether a live object holds everything that was rendered, its type aside.
pub fn holds(live: &Value, wanted: &Value) -> bool {
    let (Value::Object(live), Value::Object(wanted)) = (live, wanted) else {
        return live == wanted;
    };
    wanted
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "apiVersion" | "kind"))
        .all(|(key, value)| match live.get(key) {
            Some(found) => contains(found, value),
            None => is_nothing(value),
        })
}

/// What must be removed from a live object, as JSON pointers: everything outside `metadata` and `status`
/// that was not rendered.
pub fn extra_fields(live: &Value, wanted: &Value) -> Vec<String> {
    let (Value::Object(live), Value::Object(_)) = (live, wanted) else {
        return Vec::new();
    };
    live.iter()
        .filter(|(key, _)| !matches!(key.as_str(), "metadata" | "status" | "apiVersion" | "kind"))
        .flat_map(|(key, value)| {
            let wanted = wanted.get(key).unwrap_or(&Value::Null);
            let nothing = Value::Object(serde_json::Map::new());
            let wanted = if wanted.is_null() && value.is_object() {
                &nothing
            } else {
                wanted
            };
            extra(value, wanted)
                .into_iter()
                .map(move |path| format!("/{key}{path}"))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_the_api_server_adds_is_no_difference() {
        let wanted =
            json!({"metadata": {"name": "a", "labels": {"x": "1"}}, "spec": {"list": [{"a": 1}]}});
        let live = json!({"metadata": {"name": "a", "uid": "u", "labels": {"x": "1", "theirs": "2"}},
            "spec": {"list": [{"a": 1}]}, "status": {"s": 1}});
        assert!(is_as_rendered(&live, &wanted));
    }

    #[test]
    fn a_changed_a_removed_and_an_added_field_differ() {
        let wanted = json!({"spec": {"a": 1, "list": ["x"]}});
        assert!(!is_as_rendered(
            &json!({"spec": {"a": 2, "list": ["x"]}}),
            &wanted
        ));
        assert!(!is_as_rendered(&json!({"spec": {"list": ["x"]}}), &wanted));
        assert!(!is_as_rendered(
            &json!({"spec": {"a": 1, "list": ["x", "y"]}}),
            &wanted
        ));
        let added = json!({"spec": {"a": 1, "list": ["x"], "extensions": ["usbguard"]}});
        assert!(contains(&added, &wanted));
        assert_eq!(extra_fields(&added, &wanted), ["/spec/extensions"]);
    }

    #[test]
    fn the_type_is_not_compared() {
        let wanted =
            json!({"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "handler": "x"});
        assert!(is_as_rendered(&json!({"handler": "x"}), &wanted));
        assert!(!is_as_rendered(&json!({"handler": "y"}), &wanted));
    }

    #[test]
    fn a_pointer_is_escaped() {
        assert_eq!(extra(&json!({"a/b~": 1}), &json!({})), ["/a~1b~0"]);
    }
}
