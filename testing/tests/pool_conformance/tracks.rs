//! A log of changes, recorded or just seen, as sequences of states that can be compared: one for each thing that
//! one writer changes in one order. Names of rendered configs become symbols. It waits for nothing.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Sequences of states by the name of what changes.
pub type Tracks = BTreeMap<String, Vec<Value>>;

/// Makes tracks of the lines of a scene (`begin` and `event` lines; others are passed over).
pub fn tracks(lines: &[Value]) -> Tracks {
    let mut symbols = Symbols::default();
    let mut tracks = Tracks::new();
    for line in lines {
        for object in line["objects"].as_array().into_iter().flatten() {
            let object = symbols.replace(object);
            add(&mut tracks, text(&object["kind"]), "BEGIN", &object);
        }
        if let Some(event) = line["event"].as_str() {
            let object = symbols.replace(&line["object"]);
            add(&mut tracks, text(&line["kind"]), event, &object);
        }
    }
    tracks
}

fn add(tracks: &mut Tracks, kind: &str, event: &str, object: &Value) {
    let name = text(&object["name"]);
    let mut push = |track: String, state: Value| {
        let states = tracks.entry(track).or_default();
        if states.last() != Some(&state) {
            states.push(state);
        }
    };
    if event == "DELETED" && kind != "machineconfig" {
        return push(format!("{kind} {name}"), json!("deleted"));
    }
    match kind {
        "machineconfigpool" => {
            push(
                format!("pool {name}: target"),
                pick(
                    object,
                    &["paused", "maxUnavailable", "target", "sources", "labels"],
                ),
            );
            if let Some(status) = pool_status(object) {
                push(format!("pool {name}: status"), status);
            }
        }
        "node" => {
            let Some(_) = object["annotations"]["currentConfig"].as_str() else {
                return;
            };
            let mut state = pick(object, &["annotations", "unschedulable"]);
            state["roles"] = roles(object);
            push(format!("node {name}"), state);
            let taints = object["taints"].as_array().into_iter().flatten();
            let in_progress = taints
                .filter_map(Value::as_str)
                .any(|taint| taint.starts_with("UpdateInProgress"));
            push(format!("node {name}: taint"), json!(in_progress));
        }
        "kubeletconfig" => {
            let mut state = pick(object, &["finalizers", "annotations", "deleting"]);
            state["conditions"] = conditions(object);
            push(format!("kubeletconfig {name}"), state);
        }
        "machineconfig" if name.starts_with("rendered-") && event == "ADDED" => {
            push(
                "rendered configs".to_owned(),
                pick(object, &["name", "owners", "spec", "ignition"]),
            );
        }
        "machineconfig" if name.contains("-generated-kubelet") && event != "BEGIN" => {
            let mut state = pick(object, &["name", "owners", "labels", "files", "ignition"]);
            if event == "DELETED" {
                state = json!({"name": name, "deleted": true});
            }
            push("generated kubelet configs".to_owned(), state);
        }
        "event" => {
            let message = text(&object["message"]);
            let message = message
                .strip_prefix("(combined from similar events): ")
                .unwrap_or(message);
            let message = message.split(" (release version").next().unwrap_or(message);
            let states = tracks.entry("events".to_owned()).or_default();
            states.push(json!([
                object["reason"],
                message,
                object["on"],
                object["type"]
            ]));
        }
        _ => {}
    }
}

/// The pool's status; `None` before the node controller has written the first one.
fn pool_status(object: &Value) -> Option<Value> {
    let conditions = conditions(object);
    conditions.get("Updated")?;
    let mut status = pick(object, &["current", "machines"]);
    status["conditions"] = conditions;
    drop_transient(&mut status);
    Some(status)
}

/// When the controller looks at its nodes again just after it has chosen one, it may or may not see that one as
/// unavailable yet: in the recordings both happen. So while nodes are on their way (and none failed) that count
/// says nothing. It still counts where a node is cordoned or degraded, and at the end of a rollout.
fn drop_transient(status: &mut Value) {
    let updating = status["conditions"]["Updating"]["status"] == "True";
    let machines = &mut status["machines"];
    let under_way =
        machines["updated"].as_u64() < machines["total"].as_u64() && machines["degraded"] == 0;
    if let Some(machines) = machines.as_object_mut().filter(|_| updating && under_way) {
        machines.remove("unavailable");
    }
}

fn conditions(object: &Value) -> Value {
    let conditions = object["conditions"].as_array().into_iter().flatten();
    let by_type: Map<String, Value> = conditions
        .map(|c| {
            (
                text(&c["type"]).to_owned(),
                pick(c, &["status", "reason", "message"]),
            )
        })
        .collect();
    Value::Object(by_type)
}

fn roles(object: &Value) -> Value {
    let labels = object["labels"].as_object().into_iter().flatten();
    labels
        .map(|(label, _)| label.as_str())
        .filter(|label| label.starts_with("node-role.kubernetes.io/"))
        .collect()
}

/// The named fields that are there and say something: what is absent, null, empty or false counts as absent.
fn pick(object: &Value, fields: &[&str]) -> Value {
    let silent = [json!(null), json!([]), json!({}), json!(""), json!(false)];
    let picked: Map<String, Value> = fields
        .iter()
        .filter_map(|field| Some(((*field).to_owned(), object.get(*field)?.clone())))
        .filter(|(_, value)| !silent.contains(value))
        .collect();
    Value::Object(picked)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// `rendered-<pool>-<hash>` becomes `rendered-<pool>-#<n>`, numbered by first appearance.
#[derive(Default)]
struct Symbols(Vec<String>);

impl Symbols {
    fn replace(&mut self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.replace_text(text)),
            Value::Array(list) => list.iter().map(|value| self.replace(value)).collect(),
            Value::Object(map) => Value::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), self.replace(value)))
                    .collect(),
            ),
            other => other.clone(),
        }
    }

    fn replace_text(&mut self, text: &str) -> String {
        let mut replaced = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("rendered-") {
            let (before, from) = rest.split_at(start);
            let end = from
                .find(|c: char| !c.is_ascii_alphanumeric() && c != '-')
                .unwrap_or(from.len());
            let (name, after) = from.split_at(end);
            replaced.push_str(before);
            match name.rsplit_once('-') {
                Some((prefix, hash))
                    if hash.len() == 32 && hash.bytes().all(|b| b.is_ascii_hexdigit()) =>
                {
                    let number = self
                        .0
                        .iter()
                        .position(|known| known == hash)
                        .unwrap_or_else(|| {
                            self.0.push(hash.to_owned());
                            self.0.len() - 1
                        });
                    replaced.extend([prefix, "-#", &number.to_string()]);
                }
                _ => replaced.push_str(name),
            }
            rest = after;
        }
        replaced + rest
    }
}

/// What differs, in words; empty when nothing does. Events of the recording may be fewer: the real recorder of
/// events drops what comes too fast.
pub fn differences(recorded: &Tracks, seen: &Tracks) -> Vec<String> {
    let mut found = Vec::new();
    let names: std::collections::BTreeSet<&String> = recorded.keys().chain(seen.keys()).collect();
    for name in names {
        let none = Vec::new();
        let (recorded, seen) = (
            recorded.get(name).unwrap_or(&none),
            seen.get(name).unwrap_or(&none),
        );
        if name == "events" {
            let mut left = seen.iter();
            let missing = recorded
                .iter()
                .find(|event| !left.any(|seen| seen == *event));
            if let Some(event) = missing {
                found.push(format!("event not told, or not in its order: {event}"));
            }
            continue;
        }
        for index in 0..recorded.len().max(seen.len()) {
            if recorded.get(index) != seen.get(index) {
                let shown =
                    |state: Option<&Value>| state.map_or("(nothing)".to_owned(), Value::to_string);
                found.push(format!(
                    "{name}, state {index}\n    recorded: {}\n    seen:     {}\n    before:   {}",
                    shown(recorded.get(index)),
                    shown(seen.get(index)),
                    shown(index.checked_sub(1).and_then(|before| seen.get(before))),
                ));
                break;
            }
        }
    }
    found
}
