//! The hidden `oc realtime reference`: docs/profile.md's table of fields, generated from the CRD's schema.

use std::fmt::Write as _;

use realtime_core::api;
use serde_json::Value;

use super::CommandError;
use crate::exit::Exit;
use crate::output;

pub fn run() -> Result<Exit, CommandError> {
    output::print([text().as_str()])?;
    Ok(Exit::Success)
}

fn text() -> String {
    let mut text = String::new();
    let [profile, ..] = api::crds();
    let schema = profile
        .spec
        .versions
        .first()
        .and_then(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref())
        .and_then(|schema| serde_json::to_value(schema).ok())
        .unwrap_or_default();
    section("spec", &schema["properties"]["spec"], &mut text);
    text
}

/// A heading and a table for an object, then the same for each object in it.
fn section(path: &str, schema: &Value, text: &mut String) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    // Writing into a String never fails.
    let _ = write!(text, "\n### `{path}`\n\n");
    if let Some(description) = schema["description"].as_str() {
        let _ = write!(text, "{}\n\n", escaped(description));
    }
    for rule in schema["x-kubernetes-validations"]
        .as_array()
        .into_iter()
        .flatten()
    {
        let _ = writeln!(
            text,
            "- Rule: {}",
            escaped(rule["message"].as_str().unwrap_or_default())
        );
    }
    if schema["x-kubernetes-validations"].is_array() {
        text.push('\n');
    }
    text.push_str("| field | type | meaning |\n|---|---|---|\n");
    for (name, field) in properties {
        let meaning = escaped(field["description"].as_str().unwrap_or_default());
        let _ = writeln!(text, "| `{name}` | {} | {meaning} |", type_of(field));
    }
    for (name, field) in properties {
        let inner = format!("{path}.{name}");
        if field["type"] == "array" {
            section(&format!("{inner}[]"), &field["items"], text);
        } else {
            section(&inner, field, text);
        }
    }
}

fn type_of(field: &Value) -> String {
    if let Some(values) = field["enum"].as_array() {
        let values: Vec<String> = values
            .iter()
            .filter_map(Value::as_str)
            .map(|value| format!("`{value}`"))
            .collect();
        return values.join(", ");
    }
    if field["x-kubernetes-int-or-string"] == true {
        return "number or percentage".to_owned();
    }
    let kind = field["type"].as_str().unwrap_or("any");
    match kind {
        "array" => format!("list of {}", type_of(&field["items"])),
        "object" if field["additionalProperties"].is_object() => {
            format!("map to {}", type_of(&field["additionalProperties"]))
        }
        "integer" => match (number(&field["minimum"]), number(&field["maximum"])) {
            (Some(low), Some(high)) => format!("integer, {low} to {high}"),
            (Some(low), None) => format!("integer, at least {low}"),
            _ => "integer".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// Bounds are floating-point in a schema and whole in ours.
fn number(bound: &Value) -> Option<String> {
    bound.as_f64().map(|bound| format!("{bound:.0}"))
}

/// For a cell of a Markdown table.
fn escaped(text: &str) -> String {
    text.replace('|', "\\|")
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}
