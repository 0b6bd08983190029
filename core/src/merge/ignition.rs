//! One Ignition config out of several, as the Machine Config Operator does it: every version becomes 3.5,
//! and a later config wins field by field. Values in, values out; no file is fetched or decoded here.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::MergeError;

/// The version that every rendered config has.
pub const RENDERED_VERSION: &str = "3.5.0";
/// The versions that are accepted, as the refusal lists them.
pub const SUPPORTED: &str = "2.2,3.0,3.1,3.2,3.3,3.4,3.5";

/// Lists whose entries replace each other by path: an entry of one removes the same path from the others.
const PATH_LISTS: [&str; 3] = ["directories", "files", "links"];

/// A config in version 3.5. Absent and `null` are an empty config.
pub fn upgrade(config: Option<&Value>) -> Result<Value, MergeError> {
    let Some(config) = config.filter(|config| !config.is_null()) else {
        return Ok(json!({"ignition": {"version": RENDERED_VERSION}}));
    };
    let version = config["ignition"]["version"].as_str().unwrap_or_default();
    let mut config = config.clone();
    match version {
        "2.2.0" => upgrade_from_2(&mut config),
        "3.0.0" | "3.1.0" | "3.2.0" | "3.3.0" | "3.4.0" | "3.5.0" => check(&config)?,
        _ => return Err(MergeError::IgnitionVersion),
    }
    config["ignition"]["version"] = Value::from(RENDERED_VERSION);
    Ok(config)
}

/// What differs between 2.2 and 3: files name a filesystem and replace what is there unless they say
/// otherwise, and units have an older word for `enabled`.
fn upgrade_from_2(config: &mut Value) {
    for list in PATH_LISTS {
        for entry in objects(&mut config["storage"][list]) {
            entry.remove("filesystem");
            let append = entry.remove("append") == Some(Value::Bool(true));
            if append {
                if let Some(contents) = entry.remove("contents") {
                    entry.insert("append".to_owned(), Value::Array(vec![contents]));
                }
            } else if list == "files" {
                entry.entry("overwrite").or_insert(Value::Bool(true));
            }
        }
    }
    for unit in objects(&mut config["systemd"]["units"]) {
        if let Some(enable) = unit.remove("enable") {
            unit.entry("enabled").or_insert(enable);
        }
    }
    prune_nulls(config);
}

/// Indexing by name puts `null` where nothing was.
fn prune_nulls(value: &mut Value) {
    if let Value::Object(map) = value {
        map.values_mut().for_each(prune_nulls);
        map.retain(|_, value| {
            !value.is_null() && value.as_object().is_none_or(|map| !map.is_empty())
        });
    }
}

fn objects(list: &mut Value) -> impl Iterator<Item = &mut Map<String, Value>> {
    list.as_array_mut()
        .into_iter()
        .flatten()
        .filter_map(Value::as_object_mut)
}

/// What Ignition's own validation refuses and a MachineConfig of ours could get wrong. Not the whole of it.
fn check(config: &Value) -> Result<(), MergeError> {
    for list in PATH_LISTS {
        let mut seen = BTreeSet::new();
        for (index, entry) in config["storage"][list]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let Some(path) = entry["path"].as_str() else {
                continue;
            };
            let refusal = if !path.starts_with('/') {
                "path not absolute"
            } else if !seen.insert(path) {
                "duplicate entry defined"
            } else {
                continue;
            };
            return Err(MergeError::Ignition {
                location: format!("$.storage.{list}.{index}.path"),
                column: column_of(config, list, index),
                refusal: refusal.to_owned(),
            });
        }
    }
    Ok(())
}

/// Where the value of an entry's path begins, counted from 1, in the compact form with sorted keys in which
/// the API server hands the config out.
fn column_of(config: &Value, list: &str, index: usize) -> usize {
    const MARK: &str = "\u{1}";
    let mut marked = config.clone();
    marked["storage"][list][index]["path"] = Value::from(MARK);
    let mark = Value::from(MARK).to_string();
    marked
        .to_string()
        .find(&mark)
        .map_or(1, |offset| offset + 1)
}

/// `later` over `earlier`, both in version 3.5.
pub fn merge(earlier: Value, later: Value) -> Value {
    let mut earlier = earlier;
    for list in PATH_LISTS {
        for other in PATH_LISTS.iter().filter(|other| **other != list) {
            let replaced: Vec<Value> = entries(&later, list)
                .map(|entry| entry["path"].clone())
                .collect();
            if let Some(entries) = earlier
                .pointer_mut(&format!("/storage/{other}"))
                .and_then(Value::as_array_mut)
            {
                entries.retain(|entry| !replaced.contains(&entry["path"]));
            }
        }
    }
    merge_values("", earlier, later)
}

/// The entries of `storage.<list>`.
pub fn entries<'a>(config: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    config["storage"][list].as_array().into_iter().flatten()
}

/// The entries of `systemd.units`.
pub fn units(config: &Value) -> impl Iterator<Item = &Value> {
    config["systemd"]["units"].as_array().into_iter().flatten()
}

fn merge_values(field: &str, earlier: Value, later: Value) -> Value {
    match (earlier, later) {
        (earlier, Value::Null) => earlier,
        (Value::Object(mut earlier), Value::Object(later)) => {
            for (key, value) in later {
                let before = earlier.remove(&key).unwrap_or_default();
                let merged = merge_values(&key, before, value);
                earlier.insert(key, merged);
            }
            Value::Object(earlier)
        }
        (Value::Array(earlier), Value::Array(later)) => {
            Value::Array(merge_lists(field, earlier, later))
        }
        (_, later) => later,
    }
}

/// Entries of the same key merge in place; new ones go to the end.
fn merge_lists(field: &str, mut earlier: Vec<Value>, later: Vec<Value>) -> Vec<Value> {
    for entry in later {
        let key = key_of(field, &entry).clone();
        match earlier
            .iter_mut()
            .find(|candidate| *key_of(field, candidate) == key)
        {
            Some(same) => *same = merge_values(field, same.take(), entry),
            None => earlier.push(entry),
        }
    }
    earlier
}

/// By which field two entries of a list are the same; a plain value is its own key.
fn key_of<'a>(field: &str, entry: &'a Value) -> &'a Value {
    let names: &[&str] = match field {
        "filesystems" | "disks" => &["device"],
        _ => &["path", "name", "device", "source"],
    };
    names
        .iter()
        .find_map(|name| entry.get(*name))
        .unwrap_or(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(rest: &Value) -> Value {
        let mut config = json!({"ignition": {"version": "3.2.0"}});
        for (key, value) in rest.as_object().unwrap() {
            config[key] = value.clone();
        }
        upgrade(Some(&config)).unwrap()
    }

    #[test]
    fn a_file_in_place_of_a_link_removes_the_link() {
        let link = config(&json!({"storage": {"links": [{"path": "/etc/a", "target": "/etc/b"}]}}));
        let file = config(&json!({"storage": {"files": [{"path": "/etc/a"}]}}));
        let merged = merge(link, file);
        assert_eq!(entries(&merged, "links").count(), 0);
        assert_eq!(entries(&merged, "files").count(), 1);
    }

    #[test]
    fn version_2_becomes_3() {
        let two = json!({"ignition": {"version": "2.2.0"},
            "storage": {"files": [
                {"filesystem": "root", "path": "/etc/a", "contents": {"source": "data:,a"}},
                {"filesystem": "root", "path": "/etc/b", "append": true, "contents": {"source": "data:,b"}}]},
            "systemd": {"units": [{"name": "a.service", "enable": true}]}});
        assert_eq!(
            upgrade(Some(&two)).unwrap(),
            json!({"ignition": {"version": "3.5.0"},
                "storage": {"files": [
                    {"path": "/etc/a", "overwrite": true, "contents": {"source": "data:,a"}},
                    {"path": "/etc/b", "append": [{"source": "data:,b"}]}]},
                "systemd": {"units": [{"name": "a.service", "enabled": true}]}})
        );
    }

    #[test]
    fn unknown_versions_are_refused_in_openshifts_words() {
        for version in ["1.0.0", "2.1.0", "3.6.0", "9.9.9", ""] {
            let error = upgrade(Some(&json!({"ignition": {"version": version}}))).unwrap_err();
            assert_eq!(
                error.to_string(),
                "parsing Ignition config failed: unknown version. Supported spec versions: 2.2,3.0,3.1,3.2,3.3,3.4,3.5"
            );
        }
    }

    #[test]
    fn an_absent_field_keeps_the_earlier_value() {
        let first = config(
            &json!({"storage": {"files": [{"path": "/a", "mode": 384, "contents": {"source": "data:,1"}}]}}),
        );
        let second = config(
            &json!({"storage": {"files": [{"path": "/a", "contents": {"source": "data:,2"}}]}}),
        );
        let merged = merge(first, second);
        assert_eq!(
            merged["storage"]["files"],
            json!([{"path": "/a", "mode": 384, "contents": {"source": "data:,2"}}])
        );
    }
}
