//! Values as YAML text. The one place that writes YAML; reading it is `input`'s. Decides nothing about content.

use serde::Serialize;
use serde_yaml::{Mapping, Value};

/// A value could not be written as YAML.
#[derive(Debug, thiserror::Error)]
#[error("writing YAML: {0}")]
pub struct YamlError(#[from] serde_yaml::Error);

/// One document, each with a leading `---` line so that documents can be joined.
///
/// The library quotes what YAML 1.2 would read as something else than text. `oc` and `kubectl` read YAML 1.1, which
/// takes `yes` and `1_000` for something else too: those are quoted as well.
pub fn document<T: Serialize>(value: &T) -> Result<String, YamlError> {
    let text = serde_yaml::to_string(value)?;
    let text = if text.lines().any(may_be_ambiguous) {
        quoted(serde_yaml::to_value(value)?, &text)?
    } else {
        text
    };
    Ok(format!("---\n{text}"))
}

/// Several documents in one text.
pub fn documents<'a, T: Serialize + 'a>(
    values: impl IntoIterator<Item = &'a T>,
) -> Result<String, YamlError> {
    values.into_iter().map(document).collect()
}

/// Whether YAML 1.1 reads this plain text as a boolean or a number, and YAML 1.2 doesn't.
fn is_ambiguous(text: &str) -> bool {
    const BOOLEANS: [&str; 6] = ["y", "n", "yes", "no", "on", "off"];
    if BOOLEANS.iter().any(|word| text.eq_ignore_ascii_case(word)) {
        return true;
    }
    // Numbers may have underscores between their digits, and a radix in either case.
    let digits = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    let radix = [("0x", 16), ("0o", 8), ("0b", 2)];
    if let Some((rest, radix)) = radix
        .into_iter()
        .find_map(|(prefix, radix)| Some((digits.strip_prefix(prefix)?, radix)))
    {
        return rest
            .chars()
            .all(|digit| digit == '_' || digit.is_digit(radix));
    }
    digits.starts_with(|first: char| first.is_ascii_digit() || first == '.')
        && digits.contains('_')
        && digits
            .bytes()
            .all(|byte| byte.is_ascii_digit() || b"_.+-e".contains(&byte))
}

/// Whether a line's key or value is such a text. A line of a longer text may be one by chance, which costs time only.
fn may_be_ambiguous(line: &str) -> bool {
    let line = line.trim_start_matches([' ', '-', '?']);
    match line.split_once(':') {
        Some((key, value)) => is_ambiguous(key) || is_ambiguous(value.trim_start()),
        None => is_ambiguous(line),
    }
}

/// The library can't be told to quote: each ambiguous text is marked by a character that occurs nowhere else, and the
/// marks become quotation marks. Such a text has letters, digits, signs, `_` and `.` only, so nothing in it needs
/// escaping, and the mark keeps the library from quoting it itself.
fn quoted(mut value: Value, text: &str) -> Result<String, YamlError> {
    let Some(mark) = ('\u{e000}'..='\u{f8ff}').find(|mark| !text.contains(*mark)) else {
        return Ok(text.to_owned());
    };
    mark_all(&mut value, mark);
    Ok(serde_yaml::to_string(&value)?.replace(mark, "'"))
}

fn mark_all(value: &mut Value, mark: char) {
    match value {
        Value::String(text) if is_ambiguous(text) => *text = format!("{mark}{text}{mark}"),
        Value::Sequence(items) => items.iter_mut().for_each(|item| mark_all(item, mark)),
        Value::Mapping(map) => {
            *map = std::mem::take(map)
                .into_iter()
                .map(|(mut key, mut value)| {
                    mark_all(&mut key, mark);
                    mark_all(&mut value, mark);
                    (key, value)
                })
                .collect::<Mapping>();
        }
        Value::Tagged(tagged) => mark_all(&mut tagged.value, mark),
        Value::String(_) | Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn joins_documents() {
        let text = documents(&[json!({"a": 1}), json!({"b": "0x1"})]).unwrap();
        assert_eq!(text, "---\na: 1\n---\nb: '0x1'\n");
    }

    #[test]
    fn what_yaml_1_1_takes_for_something_else_is_quoted() {
        let value = json!({
            "on": ["yes", "No", "OFF", "y", "worker"], "a": "1_000", "b": "0X1F", "c": "0b11", "d": "n",
            "e": "yes\nno\n", "f": "\u{e000}", "g": "1.5Gi", "h": "500m", "i": true, "j": "9d950217b4291859",
        });
        let text = document(&value).unwrap();
        assert_eq!(
            text,
            "---\na: '1_000'\nb: '0X1F'\nc: '0b11'\nd: 'n'\ne: |\n  yes\n  no\nf: \u{e000}\ng: 1.5Gi\nh: 500m\ni: true\nj: 9d950217b4291859\n'on':\n- 'yes'\n- 'No'\n- 'OFF'\n- 'y'\n- worker\n"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(texts in proptest::collection::vec("[-+.0-9a-fxobXOB_yYnNesf:# \u{e000}]{0,6}|yes|on|.{0,12}", 0..6)) {
            let value = json!({"list": texts, "keys": texts.iter().map(|text| (text.clone(), 1)).collect::<std::collections::BTreeMap<_, _>>()});
            let text = document(&value).unwrap();
            let read: serde_json::Value = serde_yaml::from_str(text.trim_start_matches("---\n")).unwrap();
            prop_assert_eq!(read, value);
        }
    }
}
