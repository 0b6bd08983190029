//! Text that will stand in somebody else's file: what must not be in it. Knows nothing about what it means.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use crate::problem::{Problem, Problems};

/// Refuses what would end a line, or hide in one. Says whether the text is clean.
pub(super) fn one_line(field: &str, text: &str, problems: &mut Problems) -> bool {
    let bad = text
        .chars()
        .find(|character| is_line_end_or_hidden(*character));
    if let Some(bad) = bad {
        problems.push(Problem::error(
            field,
            text.escape_debug(),
            format!(
                "holds the character {}, which would end or hide a line of a file",
                bad.escape_unicode()
            ),
            "write it as one line of plain text",
        ));
    }
    bad.is_none()
}

/// Control characters, Unicode's line ends, and those that turn the direction of writing or are invisible.
fn is_line_end_or_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// A DNS label: at most 63 lower-case letters, digits and `-`, neither end a `-`.
pub(super) fn is_dns_label(text: &str) -> bool {
    let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&text.len())
        && text.bytes().all(inner)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

/// The name part of a label, and a label's value unless it is empty: letters, digits, `-`, `_`, `.`, ends alphanumeric.
pub(super) fn is_label_name(text: &str) -> bool {
    let alphanumeric = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    (1..=63).contains(&bytes.len())
        && alphanumeric(bytes.first())
        && alphanumeric(bytes.last())
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
}

pub(super) fn is_label_key(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => {
            prefix.len() <= 253 && prefix.split('.').all(is_dns_label) && is_label_name(name)
        }
        None => is_label_name(text),
    }
}

/// A selector as the API server would accept it.
pub(crate) fn selector(field: &str, selector: &LabelSelector, problems: &mut Problems) {
    let mut refuse = |field: String, value: &str, message: &str, remedy: &str| {
        problems.push(Problem::error(field, value.escape_debug(), message, remedy));
    };
    for (key, value) in selector.match_labels.iter().flatten() {
        if !is_label_key(key) {
            refuse(
                format!("{field}.matchLabels"),
                key,
                "is no label key",
                "write it as example.org/name",
            );
        }
        if !value.is_empty() && !is_label_name(value) {
            refuse(
                format!("{field}.matchLabels"),
                value,
                "is no label value",
                "use letters, digits, '-', '_' and '.'",
            );
        }
    }
    for (index, requirement) in selector.match_expressions.iter().flatten().enumerate() {
        let field = format!("{field}.matchExpressions[{index}]");
        if !is_label_key(&requirement.key) {
            refuse(
                format!("{field}.key"),
                &requirement.key,
                "is no label key",
                "write it as example.org/name",
            );
        }
        let values = requirement.values.as_deref().unwrap_or_default();
        for value in values
            .iter()
            .filter(|value| !value.is_empty() && !is_label_name(value))
        {
            refuse(
                format!("{field}.values"),
                value,
                "is no label value",
                "use letters, digits, '-', '_' and '.'",
            );
        }
        match (requirement.operator.as_str(), values.is_empty()) {
            ("In" | "NotIn", true) => refuse(
                format!("{field}.values"),
                "",
                "is empty",
                "name the values, or use Exists",
            ),
            ("Exists" | "DoesNotExist", false) => refuse(
                format!("{field}.values"),
                "",
                "is not used by this operator",
                "remove it",
            ),
            ("In" | "NotIn" | "Exists" | "DoesNotExist", _) => {}
            (operator, _) => refuse(
                format!("{field}.operator"),
                operator,
                "is no operator",
                "use In, NotIn, Exists or DoesNotExist",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_and_line_ends_are_refused() {
        for text in [
            "a\nb",
            "a\rb",
            "a\u{85}b",
            "a\u{2028}b",
            "a\0b",
            "a\u{202e}b",
            "a\u{1b}[0m",
            "a\tb",
        ] {
            let mut problems = Problems::default();
            assert!(!one_line("f", text, &mut problems), "{text:?}");
            assert!(!problems.to_string().contains('\n'));
        }
        assert!(one_line("f", "plain text, Größe", &mut Problems::default()));
    }

    #[test]
    fn labels_are_kubernetes_own() {
        assert!(is_label_key("node-role.kubernetes.io/worker-rt") && is_label_key("zone"));
        assert!(
            !is_label_key("a/b/c")
                && !is_label_key("")
                && !is_label_key("x/")
                && !is_label_key("A b")
        );
        assert!(
            is_dns_label("worker-rt")
                && !is_dns_label("-a")
                && !is_dns_label("a.b")
                && !is_dns_label("")
        );
    }
}
