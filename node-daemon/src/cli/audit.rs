//! `audit`: where the host differs from what it shall be, all of it, with what can't be judged.

use std::fmt::Write as _;

use serde_json::json;

use super::{Answer, CliError, Exit, wish};
use crate::config::Config;
use crate::host::Host;
use crate::observe::{self, Told};

pub(super) fn answer(host: &Host, config: &Config) -> Result<Answer, CliError> {
    // Says what is no host at all.
    crate::agent::boot(host)?;
    let wish = wish(host, config)?.ok_or(CliError::NoWish)?;
    let known = observe::facts(host);
    let audited = observe::audit(host, &wish.spec, &known, Told::default());
    let audit = audited.audit;
    let mut text = String::new();
    for drift in &audit.drift {
        // Writing to a String never fails.
        let _ = writeln!(
            text,
            "{:?}: wanted {}, found {}",
            drift.area, drift.wanted, drift.found
        );
    }
    for note in &audit.notes {
        let _ = writeln!(text, "note, {:?}: {}", note.area, note.text);
    }
    let _ = match audit.drift.len() {
        0 => writeln!(text, "No difference from what {} says.", wish.source),
        1 => writeln!(text, "One difference from what {} says.", wish.source),
        count => writeln!(text, "{count} differences from what {} says.", wish.source),
    };
    let notes: Vec<_> = audit
        .notes
        .iter()
        .map(|note| json!({"area": note.area, "text": note.text}))
        .collect();
    Ok(Answer {
        text,
        json: json!({"drift": audit.drift, "notes": notes}),
        exit: if audit.drift.is_empty() {
            Exit::Success
        } else {
            Exit::Differs
        },
    })
}
