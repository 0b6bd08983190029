//! A view as rows of a terminal: wrapped, never cut, so that a narrow terminal hides nothing. Knows no escape codes.

use super::{NodeLine, View, in_words};
use crate::short;
use crate::status::progress::ProgressPhase;

/// The narrowest width that is laid out for; what is narrower gets the terminal's own wrapping.
const NARROWEST: usize = 20;
/// The widest bar: a longer one is harder to read, not more exact.
const WIDEST_BAR: usize = 40;
/// Width of the longest phase's name.
const PHASE: usize = 9;

/// How a row is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// The title.
    Title,
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Waiting.
    Calm,
    /// Needs somebody.
    Bad,
}

/// One row; its text has no control characters and is at most as wide as the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// How it is meant.
    pub tone: Tone,
    /// What it says.
    pub text: String,
}

/// The view in rows. With more rows than `height`, nodes that need no eye are counted in one row.
pub fn rows(view: &View, width: usize, height: usize) -> Vec<Row> {
    let width = width.max(NARROWEST);
    let mut rows = header(view, width);
    let blocks: Vec<(ProgressPhase, Vec<Row>)> = view
        .nodes
        .iter()
        .map(|node| (node.phase, node_rows(node, names_width(view, width), width)))
        .collect();
    let used: usize = blocks.iter().map(|(_, rows)| rows.len()).sum();
    // One row for the count, one for the cursor.
    let room = height.saturating_sub(rows.len() + 2);
    if used <= room + 1 {
        rows.extend(blocks.into_iter().flat_map(|(_, rows)| rows));
        return rows;
    }
    rows.extend(most_important(&blocks, room, width));
    rows
}

fn header(view: &View, width: usize) -> Vec<Row> {
    let elapsed = in_words(view.elapsed);
    let title = match &view.pool {
        Some(pool) => format!("{} on pool {pool}  {elapsed}", view.profile),
        None => format!("{}  {elapsed}", view.profile),
    };
    let mut rows: Vec<Row> = wrapped(&title, width, 0, Tone::Title);
    let count = format!("{} of {} nodes ready", view.ready, view.nodes.len());
    let bar_width = width
        .saturating_sub(count.chars().count() + 4)
        .min(WIDEST_BAR);
    if bar_width >= 8 {
        let bar = bar(view.ready, view.nodes.len(), bar_width);
        rows.push(Row {
            tone: Tone::Title,
            text: format!("[{bar}]  {count}"),
        });
    } else {
        let bar = bar(
            view.ready,
            view.nodes.len(),
            width.min(WIDEST_BAR).saturating_sub(2),
        );
        rows.push(Row {
            tone: Tone::Title,
            text: format!("[{bar}]"),
        });
        rows.extend(wrapped(&count, width, 0, Tone::Title));
    }
    let state = if view.message.is_empty() {
        view.reason.clone()
    } else {
        format!("{}: {}", view.reason, view.message)
    };
    let tone = match view.verdict {
        super::Verdict::Going => Tone::Calm,
        super::Verdict::Done => Tone::Good,
        super::Verdict::Stuck => Tone::Bad,
    };
    for line in state.lines() {
        rows.extend(wrapped(line, width, 2, tone));
    }
    rows
}

/// `#` for what is done; full only when all of it is.
fn bar(done: usize, total: usize, width: usize) -> String {
    let filled = (done.min(total) * width).checked_div(total).unwrap_or(0);
    format!("{}{}", "#".repeat(filled), "-".repeat(width - filled))
}

fn names_width(view: &View, width: usize) -> usize {
    let longest = view
        .nodes
        .iter()
        .map(|node| node.node.chars().count())
        .max()
        .unwrap_or(0);
    longest.min(width / 2)
}

fn node_rows(node: &NodeLine, names: usize, width: usize) -> Vec<Row> {
    let tone = match node.phase {
        ProgressPhase::Ready => Tone::Good,
        ProgressPhase::Degraded | ProgressPhase::Unmanaged => Tone::Bad,
        phase if phase.is_under_way() => Tone::Busy,
        _ => Tone::Calm,
    };
    let taken = node.taken.map(in_words).unwrap_or_default();
    let text = format!(
        "{:names$}  {:PHASE$}  {taken:>6}  {}",
        node.node,
        node.phase.as_str(),
        node.waits_for,
    );
    wrapped(text.trim_end(), width, 4, tone)
}

/// Nodes by need, as far as there is room, then the count of the others by phase.
fn most_important(blocks: &[(ProgressPhase, Vec<Row>)], room: usize, width: usize) -> Vec<Row> {
    let mut order: Vec<usize> = (0..blocks.len()).collect();
    order.sort_by_key(|index| need(blocks[*index].0));
    let mut shown = Vec::new();
    let mut rows_used = 0;
    let mut hidden: std::collections::BTreeMap<ProgressPhase, usize> =
        std::collections::BTreeMap::new();
    let mut full = false;
    for index in order {
        let (phase, rows) = &blocks[index];
        full |= rows_used + rows.len() > room;
        if full {
            *hidden.entry(*phase).or_default() += 1;
        } else {
            rows_used += rows.len();
            shown.push(index);
        }
    }
    shown.sort_unstable();
    let mut rows: Vec<Row> = shown
        .into_iter()
        .flat_map(|index| blocks[index].1.clone())
        .collect();
    let counts: Vec<String> = hidden
        .iter()
        .map(|(phase, count)| format!("{count} {}", phase.as_str()))
        .collect();
    rows.extend(wrapped(
        &format!("… and {}", counts.join(", ")),
        width,
        2,
        Tone::Calm,
    ));
    rows
}

/// The smaller, the more a person wants to see it.
fn need(phase: ProgressPhase) -> u8 {
    match phase {
        ProgressPhase::Degraded | ProgressPhase::Unmanaged => 0,
        ProgressPhase::Verifying => 2,
        ProgressPhase::Waiting => 3,
        ProgressPhase::Ready => 4,
        _ => 1,
    }
}

/// Breaks at blanks, and within a word only when the word alone is too wide. Later rows are indented.
fn wrapped(text: &str, width: usize, indent: usize, tone: Tone) -> Vec<Row> {
    let clean = short::one_line(text);
    let mut rows = Vec::new();
    let mut line = String::new();
    let mut rest: Vec<char> = clean.chars().collect();
    while line.chars().count() + rest.len() > width {
        let room = width - line.chars().count();
        let at = rest
            .iter()
            .take(room + 1)
            .rposition(|character| *character == ' ')
            .filter(|at| *at > 0)
            .unwrap_or(room);
        let tail = rest.split_off(at);
        line.extend(rest);
        rows.push(Row {
            tone,
            text: line.trim_end().to_owned(),
        });
        line = " ".repeat(indent.min(width / 2));
        rest = tail
            .into_iter()
            .skip_while(|character| *character == ' ')
            .collect();
    }
    line.extend(rest);
    if !line.trim().is_empty() || rows.is_empty() {
        rows.push(Row { tone, text: line });
    }
    rows
}
