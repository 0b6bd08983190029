//! The answer as a person reads it. Pure; decides nothing.

use std::fmt::Write as _;

use realtime_core::api::realtime_node::{ContainerBudget, ContainerBudgetState};
use realtime_core::rt::why::{ContainerView, Finding, Verdict, Weight, Why};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";

/// What comes between the columns.
const GAP: &str = "  ";

/// All of it. Writing into a String never fails, so its results are dropped.
pub fn of(why: &Why, colour: bool) -> String {
    let paint = |code: &str, text: &str| {
        if colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    };
    let mut text = String::new();
    let _ = writeln!(text, "{}", paint(BOLD, &title(why)));
    text.push('\n');
    text.push_str(&table(&why.containers));
    if !why.findings.is_empty() {
        text.push('\n');
    }
    for finding in &why.findings {
        let (word, code) = match finding.weight {
            Weight::Wrong => ("wrong", RED),
            Weight::Waiting => ("waiting", YELLOW),
            Weight::Unknown => ("unknown", YELLOW),
            Weight::Note => ("note", BOLD),
        };
        let _ = writeln!(text, "{}: {}", paint(code, word), line(finding));
        if let Some(remedy) = &finding.remedy {
            let _ = writeln!(text, "    {}", plain(remedy));
        }
    }
    let (words, code) = match why.verdict {
        Verdict::Real => ("Nothing stands in its way.", GREEN),
        Verdict::Waiting => ("Not yet.", YELLOW),
        Verdict::Unknown => (
            "Nothing wrong was found, but not all could be read.",
            YELLOW,
        ),
        Verdict::Refused => (
            "It does not get what it needs: see what is wrong above.",
            RED,
        ),
    };
    let _ = writeln!(text, "\n{}", paint(code, words));
    text
}

fn title(why: &Why) -> String {
    let mut title = format!("Pod {}/{}", why.namespace, why.pod);
    if let Some(node) = &why.node {
        let _ = write!(title, " on node {node}");
    }
    if let Some(mode) = why.mode {
        let _ = write!(title, ", mode {mode:?}");
    }
    plain(&title)
}

fn line(finding: &Finding) -> String {
    let Finding {
        container,
        cause,
        what,
        ..
    } = finding;
    plain(&match container {
        Some(container) => format!("{cause}: container {container}: {what}"),
        None => format!("{cause}: {what}"),
    })
}

fn table(containers: &[ContainerView]) -> String {
    let mut rows = vec![["CONTAINER", "ASKS FOR", "HAS", "STATE"].map(str::to_owned)];
    rows.extend(containers.iter().map(|container| {
        [
            container.name.clone(),
            asks(container),
            container.has.as_ref().map_or_else(|| "-".to_owned(), has),
            container.has.as_ref().map_or_else(|| "-".to_owned(), state),
        ]
        .map(|cell| plain(&cell))
    }));
    let mut text = String::new();
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths = [width(0), width(1), width(2), width(3)];
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(widths) {
            let _ = write!(line, "{cell:width$}{GAP}");
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    text
}

fn joined(runtime: Option<i64>, scheduling: Option<String>) -> String {
    let parts: Vec<String> = runtime
        .map(|runtime| format!("{runtime} us/s"))
        .into_iter()
        .chain(scheduling)
        .collect();
    if parts.is_empty() {
        "-".to_owned()
    } else {
        parts.join(", ")
    }
}

fn asks(container: &ContainerView) -> String {
    joined(
        container.runtime_us.map(i64::from),
        container.scheduling.clone(),
    )
}

fn has(entry: &ContainerBudget) -> String {
    if entry.state != ContainerBudgetState::Applied {
        return joined(entry.applied_microseconds, None);
    }
    let policy = entry.policy.as_ref().map(|policy| match entry.priority {
        Some(priority) => format!("{policy}:{priority}"),
        None => policy.clone(),
    });
    joined(entry.applied_microseconds, policy)
}

fn state(entry: &ContainerBudget) -> String {
    let mut text = format!("{:?}", entry.state);
    match entry.assigned_before_start {
        Some(true) => text.push_str(", before its start"),
        Some(false) => text.push_str(", after its start"),
        None => {}
    }
    if let Some(reason) = &entry.reason {
        let _ = write!(text, ", {reason}");
    }
    text
}

/// One line, without what a terminal would act on.
fn plain(text: &str) -> String {
    text.chars()
        .map(|one| if one.is_control() { ' ' } else { one })
        .collect()
}
