//! Values of the kubelet's configuration by their type: quantities, durations, numbers in a range, choices.

use serde_json::Value;

use crate::input::suggest;
use crate::merge::kubelet::Kind;
use crate::problem::{Problem, Problems};
use crate::quantity::Quantity;

/// A value as a message shows it.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.escape_debug().to_string(),
        other => other.to_string(),
    }
}

/// What Go takes for an absent value.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

/// Whether the value is of the type that OpenShift's decoder wants; a null counts as absent.
pub(super) fn has_kind(field: &str, value: &Value, kind: Kind, problems: &mut Problems) -> bool {
    let int = |least: i64, most: i64| {
        value
            .as_i64()
            .is_some_and(|number| (least..=most).contains(&number))
    };
    let all_text = |mut values: Box<dyn Iterator<Item = &Value> + '_>| values.all(Value::is_string);
    let (right, wanted) = match kind {
        Kind::Bool => (value.is_boolean(), "true or false, without quotes"),
        Kind::Int("int32") => (
            int(i64::from(i32::MIN), i64::from(i32::MAX)),
            "a whole number of 32 bits, without quotes",
        ),
        Kind::Int(_) => (value.is_i64(), "a whole number, without quotes"),
        Kind::Text => (value.is_string(), "text: put it in quotes"),
        Kind::Duration => (value.is_string(), "a time in quotes, as in \"10s\""),
        Kind::TextMap => (
            value
                .as_object()
                .is_some_and(|map| all_text(Box::new(map.values()))),
            "a map of texts: put each value in quotes",
        ),
        Kind::TextList => (
            value
                .as_array()
                .is_some_and(|items| all_text(Box::new(items.iter()))),
            "a list of texts: put each item in quotes",
        ),
        Kind::Other => return true,
    };
    is_right(field, value, right, wanted, problems)
}

/// Whether the value of a key of [`Kind::Other`] has the shape of its Go type; what it holds is checked elsewhere.
pub(super) fn has_shape(field: &str, key: &str, value: &Value, problems: &mut Problems) -> bool {
    let (right, wanted) = match key {
        "memoryThrottlingFactor" => (value.is_number(), "a number, without quotes"),
        "reservedMemory"
        | "registerWithTaints"
        | "shutdownGracePeriodByPodPriority"
        | "vmodule" => (
            value.as_array().is_some_and(|items| {
                // A null item is one that is empty.
                items.iter().all(|item| item.is_object() || item.is_null())
            }),
            "a list of objects, as in [{name: value}]",
        ),
        _ => (value.is_object(), "an object, as in {name: value}"),
    };
    is_right(field, value, right, wanted, problems)
}

fn is_right(
    field: &str,
    value: &Value,
    right: bool,
    wanted: &str,
    problems: &mut Problems,
) -> bool {
    if !right && !value.is_null() {
        problems.push(Problem::error(
            field,
            shown(value),
            "has the wrong type: OpenShift refuses it, and the KubeletConfig would block every change of the pool",
            format!("write {wanted}"),
        ));
    }
    right
}

/// A key that a structure doesn't have, and what it has.
pub(super) fn unknown_name(
    field: &str,
    name: &str,
    value: &Value,
    names: &[&str],
    problems: &mut Problems,
) {
    problems.push(Problem::error(
        field,
        shown(value),
        "is no name that the kubelet knows here",
        suggest::remedy(name, names.iter().copied()),
    ));
}

pub(super) fn one_of(field: &str, text: &str, choices: &[&str], problems: &mut Problems) {
    if !choices.contains(&text) {
        problems.push(Problem::error(
            field,
            text.escape_debug(),
            "is none of the values that the kubelet knows: it would not start",
            suggest::remedy(text, choices.iter().copied()),
        ));
    }
}

pub(super) fn between(field: &str, value: &Value, least: i64, most: i64, problems: &mut Problems) {
    if !value
        .as_i64()
        .is_some_and(|number| (least..=most).contains(&number))
    {
        problems.push(Problem::error(
            field,
            value,
            "is out of range: the kubelet would not start",
            format!("use {least} to {most}"),
        ));
    }
}

pub(super) fn at_least(field: &str, value: &Value, least: i32, problems: &mut Problems) {
    if value
        .as_f64()
        .is_none_or(|number| number < f64::from(least))
    {
        problems.push(Problem::error(
            field,
            value,
            "is out of range: the kubelet would not start",
            format!("use {least} or more"),
        ));
    }
}

/// A quantity that isn't negative.
pub(super) fn quantity(field: &str, text: &str, problems: &mut Problems) -> Option<Quantity> {
    let refused = match text.parse::<Quantity>() {
        Ok(quantity) if !quantity.is_negative() => return Some(quantity),
        Ok(_) => "is negative".to_owned(),
        Err(error) => error.to_string(),
    };
    problems.push(Problem::error(
        field,
        text.escape_debug(),
        format!("{refused}; OpenShift would drop it, or the kubelet not start"),
        "write a Kubernetes quantity, as in 1000m or 500Mi",
    ));
    None
}

/// A quantity above zero.
pub(super) fn positive(field: &str, text: &str, remedy: &str, problems: &mut Problems) {
    if quantity(field, text, problems).is_some_and(Quantity::is_zero) {
        problems.push(Problem::error(
            field,
            text,
            "is zero: the kubelet would not start",
            remedy,
        ));
    }
}

/// A Go duration, in seconds: numbers with units, as in `1h30m` or `1.5s`.
pub(super) fn duration(field: &str, text: &str, problems: &mut Problems) -> Option<f64> {
    let seconds = parse_duration(text);
    if seconds.is_none() {
        problems.push(Problem::error(
            field,
            text.escape_debug(),
            "is no time: the kubelet would not start",
            "write numbers with h, m, s or ms, as in 1h30m",
        ));
    }
    seconds
}

/// The same without a word about what is none.
pub(super) fn parse_duration(text: &str) -> Option<f64> {
    /// Longer than any duration that Go can hold.
    const MAX_TEXT: usize = 64;
    if text.len() > MAX_TEXT {
        return None;
    }
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0.0);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() || seconds == 0.0 {
        let digits = rest
            .bytes()
            .take_while(|byte| byte.is_ascii_digit() || *byte == b'.')
            .count();
        let (number, after) = rest.split_at(digits);
        let unit_length = after
            .bytes()
            .take_while(|byte| !byte.is_ascii_digit() && *byte != b'.')
            .count();
        let (unit, after) = after.split_at(unit_length);
        let factor = match unit {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
        if rest.is_empty() {
            break;
        }
    }
    // Go counts nanoseconds in 63 bits: some 292 years.
    (seconds < 9.2e9).then_some(sign * seconds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_gos() {
        for (text, seconds) in [
            ("10s", 10.0),
            ("1h30m", 5400.0),
            ("0s", 0.0),
            ("0", 0.0),
            ("1.5s", 1.5),
            ("-2m", -120.0),
            ("100ms", 0.1),
        ] {
            assert_eq!(parse_duration(text), Some(seconds), "{text}");
        }
        for text in [
            "",
            "10",
            "s",
            "10x",
            "1h 2m",
            "ten",
            "1..5s",
            "-",
            "99999999999h",
        ] {
            assert_eq!(parse_duration(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,70}") {
            let _ = parse_duration(&text);
            let mut problems = Problems::default();
            let _ = quantity("f", &text, &mut problems);
        }
    }
}
