//! A value against an OpenAPI schema as CRDs have it: every structural fault at once, with its path.
//!
//! Not a general validator: the keywords that our CRDs use. CEL rules are `validate`'s, natively.

use regex_lite::Regex;
use serde_json::{Map, Value};

use super::suggest;
use crate::problem::{Problem, Problems};

/// Begins what helps where only the schema knows what is wrong with a text.
pub(super) const FORM: &str = "the form is ";

/// Most problems that are told: beyond it the text is something else altogether.
const MAX_PROBLEMS: usize = 200;

/// Everything that the schema has against the value.
pub fn schema_problems(value: &Value, schema: &Value) -> Problems {
    let mut problems = Problems::default();
    check(value, schema, "", &mut problems);
    problems.sorted()
}

/// As [`schema_problems`] for a value that is the field of another.
pub(super) fn problems_below(path: &str, value: &Value, schema: &Value) -> Problems {
    let mut problems = Problems::default();
    check(value, schema, path, &mut problems);
    problems.sorted()
}

/// A value as a message shows it: text without quotes, and nothing of an object's inside.
pub(super) fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(_) => "{…}".to_owned(),
        Value::Array(_) => "[…]".to_owned(),
        other => other.to_string(),
    }
}

fn check(value: &Value, schema: &Value, path: &str, problems: &mut Problems) {
    if problems.0.len() >= MAX_PROBLEMS {
        return;
    }
    let flag = |name: &str| schema.get(name) == Some(&Value::Bool(true));
    let field = if path.is_empty() { "document" } else { path };
    if value.is_null() && (flag("nullable") || !path.is_empty()) {
        // The API server drops a null where it isn't allowed: the field counts as absent.
        return;
    }
    if flag("x-kubernetes-int-or-string") {
        if !(value.is_i64() || value.is_string()) {
            problems.push(wrong_type(field, value, "an integer or text"));
        } else if value
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_err())
        {
            problems.push(Problem::error(
                field,
                value,
                "has more than 32 bits",
                format!("choose at most {}", i32::MAX),
            ));
        }
        return;
    }
    let expected = schema.get("type").and_then(Value::as_str);
    if let Some(expected) = expected
        && !has_type(value, expected)
    {
        problems.push(wrong_type(field, value, expected));
        return;
    }
    if let Some(Value::Array(allowed)) = schema.get("enum")
        && !allowed.contains(value)
    {
        let names = allowed.iter().filter_map(Value::as_str);
        problems.push(Problem::error(
            field,
            shown(value),
            "is none of the values that are possible here",
            suggest::remedy(&shown(value), names),
        ));
    }
    match value {
        Value::Number(_) => check_range(value, schema, field, problems),
        Value::String(text) => check_text(text, schema, field, problems),
        Value::Array(items) => check_items(items, schema, path, problems),
        Value::Object(object) => check_object(object, schema, path, problems),
        Value::Null | Value::Bool(_) => {}
    }
}

fn has_type(value: &Value, expected: &str) -> bool {
    match expected {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => true,
    }
}

fn wrong_type(field: &str, value: &Value, expected: &str) -> Problem {
    let found = match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "text",
        Value::Array(_) => "a list",
        Value::Object(_) => "a map of fields",
    };
    let (wanted, remedy) = match expected {
        "object" => ("a map of fields", "indent the fields under it"),
        "array" => ("a list", "begin each item with `- `"),
        "string" => ("text", "put it in quotes"),
        "boolean" => ("true or false", "write true or false, without quotes"),
        "integer" => (
            "a whole number",
            "write the number without quotes and fraction",
        ),
        "number" => ("a number", "write the number without quotes"),
        "an integer or text" => (
            expected,
            "write a number without fraction, or text in quotes",
        ),
        other => (other, ""),
    };
    Problem::error(
        field,
        shown(value),
        format!("is {found}, and {wanted} is wanted"),
        remedy,
    )
}

fn check_range(value: &Value, schema: &Value, field: &str, problems: &mut Problems) {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    let Some(number) = value.as_f64() else { return };
    let (minimum, maximum) = (bound("minimum"), bound("maximum"));
    let low = minimum.is_some_and(|minimum| number < minimum);
    let high = maximum.is_some_and(|maximum| number > maximum);
    if low || high {
        let remedy = match (minimum, maximum) {
            (Some(minimum), Some(maximum)) => format!("choose {minimum} to {maximum}"),
            (Some(minimum), None) => format!("choose at least {minimum}"),
            (None, Some(maximum)) => format!("choose at most {maximum}"),
            (None, None) => String::new(),
        };
        let message = if low { "is too small" } else { "is too large" };
        problems.push(Problem::error(field, value, message, remedy));
    }
}

fn check_text(text: &str, schema: &Value, field: &str, problems: &mut Problems) {
    check_count(
        text.chars().count(),
        schema,
        ["minLength", "maxLength"],
        "characters",
        field,
        text,
        problems,
    );
    if let Some(pattern) = schema.get("pattern").and_then(Value::as_str)
        && Regex::new(pattern).is_ok_and(|regex| !regex.is_match(text))
    {
        problems.push(Problem::error(
            field,
            text,
            "does not have the form that is wanted here",
            format!("{FORM}{pattern}"),
        ));
    }
}

fn check_items(items: &[Value], schema: &Value, path: &str, problems: &mut Problems) {
    check_count(
        items.len(),
        schema,
        ["minItems", "maxItems"],
        "items",
        path,
        "",
        problems,
    );
    if let Some(inner) = schema.get("items") {
        for (index, item) in items.iter().enumerate() {
            if item.is_null() {
                problems.push(wrong_type(
                    &format!("{path}[{index}]"),
                    item,
                    inner.get("type").and_then(Value::as_str).unwrap_or("value"),
                ));
                continue;
            }
            check(item, inner, &format!("{path}[{index}]"), problems);
        }
    }
}

fn check_count(
    count: usize,
    schema: &Value,
    [least, most]: [&str; 2],
    unit: &str,
    field: &str,
    value: &str,
    problems: &mut Problems,
) {
    let bound = |name: &str| {
        let bound = schema.get(name).and_then(Value::as_u64)?;
        usize::try_from(bound).ok()
    };
    if let Some(least) = bound(least).filter(|least| count < *least) {
        problems.push(Problem::error(
            field,
            value,
            format!("has {count} {unit}, fewer than {least}"),
            "fill it or remove it",
        ));
    }
    if let Some(most) = bound(most).filter(|most| count > *most) {
        problems.push(Problem::error(
            field,
            value,
            format!("has {count} {unit}, more than {most}"),
            "shorten it",
        ));
    }
}

fn check_object(object: &Map<String, Value>, schema: &Value, path: &str, problems: &mut Problems) {
    let below = |key: &str| {
        if path.is_empty() {
            key.to_owned()
        } else {
            format!("{path}.{key}")
        }
    };
    let properties = schema.get("properties").and_then(Value::as_object);
    let others = schema
        .get("additionalProperties")
        .filter(|others| others.is_object());
    let open = schema.get("x-kubernetes-preserve-unknown-fields") == Some(&Value::Bool(true))
        || (properties.is_none() && others.is_none());
    for (key, value) in object {
        if let Some(inner) = properties
            .and_then(|properties| properties.get(key))
            .or(others)
        {
            check(value, inner, &below(key), problems);
        } else if !open && problems.0.len() < MAX_PROBLEMS {
            let known = properties
                .into_iter()
                .flat_map(|known| known.keys().map(String::as_str));
            problems.push(Problem::error(
                below(key),
                shown(value),
                "is no field that exists here",
                suggest::remedy(key, known.collect::<Vec<_>>()),
            ));
        }
    }
    if let Some(Value::Array(required)) = schema.get("required") {
        for key in required.iter().filter_map(Value::as_str) {
            if object.get(key).is_none_or(Value::is_null) {
                problems.push(Problem::error(below(key), "", "is missing", "add it"));
            }
        }
    }
}
