//! Content hashes: SHA-256 over canonical JSON (keys sorted, no blanks), the first 16 hex digits. To recognise a
//! change, not to defend against one.

use std::fmt::Write as _;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// 64 bits: two of a handful of versions of an object never meet by chance.
const HEX_DIGITS: usize = 16;

/// The hash of a value, whatever the order of its keys.
pub fn hash(value: &Value) -> String {
    let digest = Sha256::digest(canonical(value).to_string().as_bytes());
    let mut text = String::with_capacity(HEX_DIGITS);
    for byte in digest.iter().take(HEX_DIGITS / 2) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// serde_json's maps are sorted unless some crate of the build turns on `preserve_order`: sorted here in any case.
fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| *key);
            let sorted: Map<String, Value> = entries
                .into_iter()
                .map(|(key, value)| (key.clone(), canonical(value)))
                .collect();
            Value::Object(sorted)
        }
        Value::Array(items) => Value::Array(items.iter().map(canonical).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn known_hash() {
        // printf '{"a":1,"b":[true,null]}' | sha256sum
        assert_eq!(
            hash(&json!({"b": [true, null], "a": 1})),
            "1cc69c7fa23616ca"
        );
    }

    #[test]
    fn a_change_shows() {
        assert_ne!(hash(&json!({"a": 1})), hash(&json!({"a": "1"})));
    }
}
