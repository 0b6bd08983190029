//! `top`: the real-time threads of this host's pods, again and again. Needs no cluster and changes nothing.

pub(crate) mod sampler;
mod table;

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use realtime_core::rt::usage::{self, GroupUse};
use serde_json::json;

use super::Exit;
use crate::host::Host;
pub use sampler::SampleError;
use sampler::{SCHED_DEBUG, Sample, Sampler};

/// As many rows are printed where there is no terminal's height.
const MAX_ROWS: usize = 1_000;
/// As wide a table is there.
const MAX_COLUMNS: usize = 200;
/// Lines of a screen that are no threads: title, headers, what is left out, footnotes, the cursor's.
const OTHER_LINES: usize = 12;
/// What a terminal has that doesn't say.
const USUAL_SIZE: (usize, usize) = (80, 24);
/// To the upper left, and nothing below.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// How it is shown.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Once and not again and again.
    pub once: bool,
    /// Between two samples.
    pub interval: Duration,
    /// JSON: one object, or one a line.
    pub json: bool,
}

/// What can't be told.
#[derive(Debug, thiserror::Error)]
pub enum TopError {
    /// The threads.
    #[error(transparent)]
    Sample(#[from] SampleError),
    /// The output.
    #[error("writing the answer: {0}")]
    Output(#[from] io::Error),
}

/// Until the reader goes away, or Ctrl-C ends the process. Ends well when only the reader went.
pub async fn run(host: &Host, how: How) -> Exit {
    match show(host, how).await {
        Ok(()) => Exit::Success,
        Err(TopError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success,
        Err(error) => {
            eprintln!("error: {error}");
            match error {
                TopError::Sample(SampleError::NoHierarchy { .. }) => Exit::NotThisHost,
                _ => Exit::Failure,
            }
        }
    }
}

async fn show(host: &Host, how: How) -> Result<(), TopError> {
    let mut sampler = Sampler::open(host)?;
    let in_place = !how.once
        && !how.json
        && io::stdout().is_terminal()
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
    let mut before = sampler.sample()?;
    let mut since = Instant::now();
    loop {
        tokio::time::sleep(how.interval).await;
        let after = sampler.sample()?;
        let seconds = since.elapsed().as_secs_f64();
        since = Instant::now();
        let throttled = sampler.throttled(&SCHED_DEBUG);
        let groups = usage::between(&before.groups, &after.groups, throttled.as_deref());
        let text = if how.json {
            as_json(&sampler, &groups, &after, seconds, how.once)
        } else {
            as_text(&sampler, &groups, &after, seconds, in_place)
        };
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()?;
        if how.once {
            return Ok(());
        }
        before = after;
    }
}

fn as_json(
    sampler: &Sampler,
    groups: &[GroupUse],
    sample: &Sample,
    seconds: f64,
    pretty: bool,
) -> String {
    let value = json!({
        "seconds": seconds,
        "cgroupVersion": sampler.version(),
        "budgets": sampler.has_budgets(),
        "truncated": sample.more,
        "groups": groups,
    });
    if pretty {
        format!("{value:#}\n")
    } else {
        format!("{value}\n")
    }
}

fn as_text(
    sampler: &Sampler,
    groups: &[GroupUse],
    sample: &Sample,
    seconds: f64,
    in_place: bool,
) -> String {
    let page = table::Page {
        groups,
        seconds,
        version: sampler.version(),
        budgets: sampler.has_budgets(),
        more: sample.more,
    };
    if !in_place {
        return table::of(&page, MAX_ROWS, MAX_COLUMNS);
    }
    let (columns, rows) = size();
    let text = table::of(&page, rows.saturating_sub(OTHER_LINES).max(1), columns);
    let mut shown = String::from(CLEAR);
    for line in text.lines().take(rows.saturating_sub(1)) {
        shown.extend(line.chars().take(columns));
        shown.push('\n');
    }
    shown
}

fn size() -> (usize, usize) {
    match rustix::termios::tcgetwinsize(io::stdout()) {
        Ok(size) if size.ws_col > 0 && size.ws_row > 0 => {
            (usize::from(size.ws_col), usize::from(size.ws_row))
        }
        _ => USUAL_SIZE,
    }
}
