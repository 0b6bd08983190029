//! Which objects would be created, changed and deleted. Only what we set is compared: what an API server fills in,
//! and what others set on the same object, is not ours to judge.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{Wanted, diff};

/// What would be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Action {
    /// It isn't there.
    Create,
    /// It is there and differs.
    Change,
    /// It is ours and not wanted any more.
    Delete,
}

/// An object by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectId {
    /// Its kind.
    pub kind: String,
    /// Its namespace, when it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Its name.
    pub name: String,
}

impl ObjectId {
    /// Reads it out of an object.
    pub fn of(object: &Value) -> Self {
        let text = |pointer: &str| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .map(str::to_owned)
        };
        Self {
            kind: text("/kind").unwrap_or_default(),
            namespace: text("/metadata/namespace"),
            name: text("/metadata/name").unwrap_or_default(),
        }
    }
}

impl std::fmt::Display for ObjectId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ", self.kind)?;
        if let Some(namespace) = &self.namespace {
            write!(f, "{namespace}/")?;
        }
        f.write_str(&self.name)
    }
}

/// One object's change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ObjectChange {
    /// What would be done.
    pub action: Action,
    /// To which object.
    #[serde(flatten)]
    pub object: ObjectId,
    /// A unified diff of the fields that we own; file contents in plain text.
    pub diff: String,
}

/// The pool's own switch between rendering and rolling out: ours only while a change lands.
const TRANSIENT: [&str; 1] = ["/spec/paused"];
/// Differs with every change of any object: it would only repeat that something differs.
const HASH_ANNOTATION: &str = crate::names::ANNOTATION_CONTENT_HASH;

/// Changes in the order in which they are done, and what stays.
pub fn compare(wanted: &Wanted<'_>) -> (Vec<ObjectChange>, Vec<ObjectId>) {
    let objects: Vec<Value> = profile(wanted)
        .into_iter()
        .chain(wanted.rendered.objects())
        .map(|mut object| {
            for pointer in TRANSIENT {
                remove(&mut object, pointer);
            }
            object
        })
        .collect();
    let mut changes = Vec::new();
    let mut unchanged = Vec::new();
    for object in &objects {
        let id = ObjectId::of(object);
        let live = wanted.live.iter().find(|live| ObjectId::of(live) == id);
        let (action, before) = match live {
            None => (Action::Create, Value::Null),
            Some(live) => (Action::Change, ours_of(object, live)),
        };
        if action == Action::Change && equal(object, &before) {
            unchanged.push(id);
            continue;
        }
        changes.push(ObjectChange {
            action,
            diff: diff::unified(&before, object),
            object: id,
        });
    }
    changes.extend(deletions(wanted, &objects));
    (changes, unchanged)
}

/// The profile itself, as it would be applied: without what only an API server writes.
fn profile(wanted: &Wanted<'_>) -> Option<Value> {
    let mut object = without_bookkeeping(&serde_json::to_value(wanted.given).ok()?);
    remove(&mut object, "/metadata/finalizers");
    Some(object)
}

fn deletions(wanted: &Wanted<'_>, objects: &[Value]) -> Vec<ObjectChange> {
    let kept: Vec<ObjectId> = objects.iter().map(ObjectId::of).collect();
    wanted
        .live
        .iter()
        .filter(|live| is_ours(live, &wanted.profile.name) && !kept.contains(&ObjectId::of(live)))
        .map(|live| ObjectChange {
            action: Action::Delete,
            object: ObjectId::of(live),
            diff: diff::unified(&without_bookkeeping(live), &Value::Null),
        })
        .collect()
}

/// Labelled as the profile's. A pool has the label also when it was there before us: only one that we created goes.
fn is_ours(live: &Value, profile: &str) -> bool {
    let labelled = live["metadata"]["labels"][crate::names::LABEL_PROFILE] == profile;
    let created = live["metadata"]["annotations"][crate::names::ANNOTATION_CREATED_BY] == profile;
    labelled && (live["kind"] != "MachineConfigPool" || created)
}

/// The part of `live` that an apply would decide about.
///
/// 1. `metadata`: what we set; labels and annotations of others are theirs.
/// 2. Everything else of an object that is ours alone: whole, since what somebody added there is taken out again.
/// 3. Everything else of a pool: what we set; the Machine Config Operator and admins have their fields there.
fn ours_of(object: &Value, live: &Value) -> Value {
    let (Value::Object(fields), Value::Object(live_fields)) = (object, live) else {
        return live.clone();
    };
    if object["kind"] == "MachineConfigPool" {
        return shared(object, live);
    }
    let mut view = Map::new();
    for (key, value) in live_fields {
        match (key.as_str(), fields.get(key)) {
            ("status", _) => {}
            ("metadata", Some(ours)) => drop(view.insert(key.clone(), shared(ours, value))),
            (_, ours) => {
                let value = without_nothing(value, ours.unwrap_or(&Value::Null));
                if !is_nothing(&value) {
                    view.insert(key.clone(), value);
                }
            }
        }
    }
    Value::Object(view)
}

/// The part of `live` at the places that `ours` sets. Lists are taken whole: those that we write are atomic.
fn shared(ours: &Value, live: &Value) -> Value {
    let (Value::Object(ours), Value::Object(live)) = (ours, live) else {
        return live.clone();
    };
    let mut view = Map::new();
    for (key, value) in ours {
        match live.get(key) {
            Some(live) => drop(view.insert(key.clone(), shared(value, live))),
            None if is_nothing(value) => drop(view.insert(key.clone(), value.clone())),
            None => {}
        }
    }
    Value::Object(view)
}

/// `live`, where a field that is empty on one side and absent on the other is as it is in `ours`: an API server may
/// keep or drop the like.
fn without_nothing(live: &Value, ours: &Value) -> Value {
    match live {
        Value::Object(fields) => {
            let mut view = Map::new();
            for (key, value) in fields {
                let ours = ours.get(key);
                if ours.is_some() || !is_nothing(value) {
                    view.insert(
                        key.clone(),
                        without_nothing(value, ours.unwrap_or(&Value::Null)),
                    );
                }
            }
            for (key, value) in ours.as_object().into_iter().flatten() {
                if is_nothing(value) {
                    view.entry(key).or_insert_with(|| value.clone());
                }
            }
            Value::Object(view)
        }
        Value::Array(items) => Value::Array(
            items
                .iter()
                .enumerate()
                .map(|(index, item)| without_nothing(item, ours.get(index).unwrap_or(&Value::Null)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::String(text) => text.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

fn equal(ours: &Value, live: &Value) -> bool {
    let mut ours = ours.clone();
    let mut live = live.clone();
    for object in [&mut ours, &mut live] {
        if let Some(annotations) = object
            .pointer_mut("/metadata/annotations")
            .and_then(Value::as_object_mut)
        {
            annotations.remove(HASH_ANNOTATION);
        }
    }
    ours == live
}

/// Without what an API server keeps for itself.
fn without_bookkeeping(live: &Value) -> Value {
    let mut object = live.clone();
    for pointer in [
        "/status",
        "/metadata/managedFields",
        "/metadata/resourceVersion",
        "/metadata/uid",
        "/metadata/generation",
        "/metadata/creationTimestamp",
        "/metadata/selfLink",
    ] {
        remove(&mut object, pointer);
    }
    object
}

fn remove(object: &mut Value, pointer: &str) {
    if let Some((parent, key)) = pointer.rsplit_once('/')
        && let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut)
    {
        parent.remove(key);
    }
}
