//! Text that a person gives: YAML or JSON → values → what is wrong with their shape → a typed profile.
//!
//! The one place that reads YAML. It is bounded before memory is taken, and decides nothing about meaning:
//! that is `validate`'s.

mod cluster_documents;
mod readable;
mod schema;
pub(crate) mod suggest;
mod value;

pub use cluster_documents::{cluster_beside_profiles, cluster_from_documents};
pub use readable::{Readable, is_pattern, readable};
pub use schema::schema_problems;

use std::sync::LazyLock;

use serde::de::DeserializeSeed;
use serde_json::Value;

use crate::api::RealtimeProfile;
use crate::problem::{Problem, Problems};
use value::{Budget, ValueSeed};

/// Longest text, bytes: `oc get nodes -o yaml` of some thousand nodes. What is larger is no input of ours.
pub const MAX_TEXT: usize = 64 * 1024 * 1024;
/// Most documents in a text.
pub const MAX_DOCUMENTS: usize = 20_000;
/// Deepest nesting of a value. A Kubernetes object needs some 20.
pub const MAX_DEPTH: usize = 64;
/// Most brackets open at once, those in strings counted too: the YAML scanner's work grows with text times open
/// brackets, before anything of ours sees the depth.
const MAX_OPEN_BRACKETS: usize = 1024;

/// Why a text could not be read at all.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum InputError {
    /// Longer than [`MAX_TEXT`].
    #[error("the text has {0} bytes, more than {MAX_TEXT}")]
    TooLong(usize),
    /// More than [`MAX_DOCUMENTS`].
    #[error("more than {MAX_DOCUMENTS} documents")]
    TooManyDocuments,
    /// More open brackets than the scanner can take cheaply.
    #[error("line {0}: more than {MAX_OPEN_BRACKETS} brackets are open")]
    TooDeep(usize),
    /// Not YAML, or YAML that no Kubernetes object needs; the line counts from 1 over the whole text.
    #[error("line {line}, column {column}: {message}")]
    Refused {
        /// Line, from 1.
        line: usize,
        /// Column, from 1.
        column: usize,
        /// What was found there.
        message: String,
    },
    /// As `Refused`, where the reader knows no line.
    #[error("document {document}: {message}")]
    RefusedDocument {
        /// The document, from 1.
        document: usize,
        /// What was found in it.
        message: String,
    },
}

/// The documents of a YAML or JSON text as JSON values; empty documents are left out.
pub fn parse_documents(text: &str) -> Result<Vec<Value>, InputError> {
    if text.len() > MAX_TEXT {
        return Err(InputError::TooLong(text.len()));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    refuse_open_brackets(text)?;
    if text.trim_start().starts_with(['{', '[']) {
        match json_document(text) {
            Ok(value) => return Ok(vec![value]),
            // YAML's own form with braces may still be meant.
            Err(error) if error.is_syntax() || error.is_eof() => {}
            Err(error) => {
                return Err(InputError::Refused {
                    line: error.line(),
                    column: error.column(),
                    message: without_position(&error.to_string()),
                });
            }
        }
    }
    let mut documents = Vec::new();
    // One budget for all documents: what they hold together is bounded by the text.
    let budget = Budget::for_text(text);
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        if index >= MAX_DOCUMENTS {
            return Err(InputError::TooManyDocuments);
        }
        let value = ValueSeed::new(&budget)
            .deserialize(document)
            .map_err(|error| refused(&error, index + 1))?;
        if !value.is_null() {
            documents.push(value);
        }
    }
    Ok(documents)
}

fn json_document(text: &str) -> Result<Value, serde_json::Error> {
    let budget = Budget::for_text(text);
    let mut json = serde_json::Deserializer::from_str(text);
    let value = ValueSeed::new(&budget).deserialize(&mut json)?;
    json.end()?;
    Ok(value)
}

fn refused(error: &serde_yaml::Error, document: usize) -> InputError {
    let message = without_position(&error.to_string());
    match error.location() {
        Some(location) => InputError::Refused {
            line: location.line(),
            column: location.column(),
            message,
        },
        None => InputError::RefusedDocument { document, message },
    }
}

/// Both libraries end their messages with the position, which is told first here.
fn without_position(message: &str) -> String {
    match message.rfind(" at line ") {
        Some(end) => message.get(..end).unwrap_or(message).to_owned(),
        None => message.to_owned(),
    }
}

/// Counts brackets as if none stood in a string, never below zero, and anew after each document marker.
fn refuse_open_brackets(text: &str) -> Result<(), InputError> {
    let mut open = 0_usize;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("---") {
            open = 0;
        }
        for byte in line.bytes() {
            match byte {
                b'[' | b'{' => open += 1,
                b']' | b'}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_OPEN_BRACKETS {
                return Err(InputError::TooDeep(index + 1));
            }
        }
    }
    Ok(())
}

/// A value as a `RealtimeProfile`, or everything that is wrong with its shape. A status is not read.
pub fn profile(mut value: Value) -> Result<RealtimeProfile, Problems> {
    let mut problems = Problems::default();
    let Some(object) = value.as_object_mut() else {
        problems.push(Problem::error(
            "document",
            schema::shown(&value),
            "is no Kubernetes object",
            "begin it with `apiVersion: realtime.openshift.io/v1alpha1` and `kind: RealtimeProfile`",
        ));
        return Err(problems);
    };
    object.remove("status");
    problems
        .0
        .extend(schema_problems(&value, &PROFILE_SCHEMA).0);
    if problems.has_errors() {
        return Err(problems.sorted());
    }
    serde_json::from_value(value).map_err(|error| {
        problems.push(Problem::error(
            "document",
            "",
            error.to_string(),
            "compare with `oc explain realtimeprofile`",
        ));
        problems.sorted()
    })
}

/// What the schema has against a typed profile. `profile` has told it already for one that comes from text.
pub(crate) fn profile_problems(profile: &RealtimeProfile) -> Problems {
    let schema = PROFILE_SCHEMA.pointer("/properties/spec");
    match serde_json::to_value(&profile.spec) {
        Ok(spec) => schema::problems_below("spec", &spec, schema.unwrap_or(&Value::Null)),
        Err(error) => Problems(vec![Problem::error(
            "spec",
            "",
            error.to_string(),
            "compare with `oc explain realtimeprofile.spec`",
        )]),
    }
}

/// What `schema_file` derives from the types, made beforehand: at run time it took half the time of a whole
/// `oc realtime render`. A test compares the two; `UPDATE_GOLDEN=1` writes the file.
static PROFILE_SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    // The file is compared with the derived schema in a test: it is JSON.
    serde_json::from_str(include_str!("input/profile_schema.json")).unwrap_or_default()
});

#[cfg(test)]
#[path = "input/tests.rs"]
mod tests;

#[cfg(test)]
mod schema_file;
