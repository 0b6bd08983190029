//! Problems as a person or a script reads them. Decides nothing about them.

use realtime_core::problem::{Problem, Severity};
use realtime_core::short;
use serde_json::{Value, json};

use crate::check::Checked;
use crate::output;
use crate::source::Place;

/// All problems of all profiles on stderr, one a line, errors and warnings.
pub fn tell(checked: &[Checked]) {
    for one in checked {
        for problem in &one.problems.0 {
            output::notice(&line(&one.place, problem));
        }
        if one.valid.is_none() && !one.problems.has_errors() {
            // Should core ever refuse without a word, the user still learns where.
            output::notice(&format!("error: {}: can't be rendered", place(&one.place)));
        }
    }
}

/// Whether every profile can be rendered.
pub fn all_valid(checked: &[Checked]) -> bool {
    checked.iter().all(|one| one.valid.is_some())
}

/// As `file, document 1, worker-rt`.
pub fn place(place: &Place) -> String {
    let Place {
        file,
        document,
        name,
    } = place;
    match name {
        // A name that is none may be anything: it stays in its line, and does nothing to a terminal.
        Some(name) => {
            let name = short::characters(&name.escape_debug().to_string(), short::VALUE);
            format!("{file}, document {document}, {name}")
        }
        None => format!("{file}, document {document}"),
    }
}

fn line(at: &Place, problem: &Problem) -> String {
    format!("{}: {}: {problem}", severity(problem), place(at))
}

fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// For `--output json`: `valid`, and for each profile its place and problems.
pub fn json(checked: &[Checked]) -> Value {
    json!({
        "valid": all_valid(checked),
        "profiles": checked.iter().map(|one| json!({
            "file": one.place.file,
            "document": one.place.document,
            "name": one.place.name,
            "valid": one.valid.is_some(),
            "problems": one.problems.0.iter().map(|problem| json!({
                "severity": severity(problem),
                "field": problem.field,
                "value": problem.value,
                "message": problem.message,
                "remedy": problem.remedy,
            })).collect::<Vec<_>>(),
        })).collect::<Vec<_>>(),
    })
}
