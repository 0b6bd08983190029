//! Two objects as a unified diff that a person can read: YAML, with the contents of files in plain text.

use serde_json::{Value, json};
use similar::TextDiff;

use crate::merge::data_url;

/// Lines around a change: enough to see the parents of a YAML key.
const CONTEXT: usize = 3;

/// A unified diff from `before` to `after`; `null` is "not there".
pub fn unified(before: &Value, after: &Value) -> String {
    let (before, after) = (readable(before), readable(after));
    TextDiff::from_lines(&before, &after)
        .unified_diff()
        .context_radius(CONTEXT)
        .to_string()
}

fn readable(object: &Value) -> String {
    if object.is_null() {
        return String::new();
    }
    let mut object = object.clone();
    decode_files(&mut object);
    // A `Value` has string keys only and always is YAML; were it not, its JSON says the same.
    serde_yaml::to_string(&object).unwrap_or_else(|_| format!("{object:#}\n"))
}

/// `contents.source` of Ignition files, as text where it is text.
fn decode_files(object: &mut Value) {
    let files = object
        .pointer_mut("/spec/config/storage/files")
        .and_then(Value::as_array_mut);
    for file in files.into_iter().flatten() {
        let text = file["contents"]["source"]
            .as_str()
            .and_then(data_url::decode)
            .and_then(|bytes| String::from_utf8(bytes).ok());
        // A compressed file's bytes are no text and stay as they are.
        if let Some(text) = text {
            file["contents"] = json!({ "decoded": text });
        }
    }
}
