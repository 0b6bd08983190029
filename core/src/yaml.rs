//! Values as YAML text. The one place that writes YAML; reading it is `input`'s. Decides nothing about content.

use serde::Serialize;

/// A value could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("writing YAML: {0}")]
pub struct YamlError(#[from] serde_yaml::Error);

/// One document, each with a leading `---` line so that documents can be joined.
pub fn document<T: Serialize>(value: &T) -> Result<String, YamlError> {
    Ok(format!("---\n{}", serde_yaml::to_string(value)?))
}

/// Several documents in one text.
pub fn documents<'a, T: Serialize + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> Result<String, YamlError> {
    values.into_iter().map(document).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn joins_documents() {
        let text = documents(&[json!({"a": 1}), json!({"b": "0x1"})]).unwrap();
        assert_eq!(text, "---\na: 1\n---\nb: '0x1'\n");
    }
}
