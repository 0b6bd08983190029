//! The table of real-time threads as a person reads it. Pure; decides nothing about the numbers.

use std::fmt::Write as _;

use realtime_core::rt::usage::{GroupUse, ThreadUse};

/// Longer names of containers are cut in front: their end tells more.
const MAX_NAME: usize = 60;
/// Shorter they tell nothing: then the right end of the table is cut.
const MIN_NAME: usize = 12;
/// Behind each column.
const GAP: usize = 2;
const COLUMNS: [&str; 10] = [
    "CONTAINER",
    "TID",
    "COMMAND",
    "POLICY",
    "PRIO",
    "CPU",
    "%CPU",
    "BUDGET",
    "%BUDGET",
    "STOPPED",
];
/// Columns of words; the others are numbers and stand on the right.
const LEFT: [usize; 3] = [0, 2, 3];

/// What is shown.
#[derive(Debug)]
pub(super) struct Page<'a> {
    /// What was used.
    pub(super) groups: &'a [GroupUse],
    /// Over how many seconds.
    pub(super) seconds: f64,
    /// Version of the cgroup hierarchy.
    pub(super) version: u32,
    /// Whether groups have budgets that the kernel keeps.
    pub(super) budgets: bool,
    /// There are more threads than were looked at.
    pub(super) more: bool,
}

/// At most so many rows of threads; what is left out is said. Names and footnotes fit into so many columns where they can.
pub(super) fn of(page: &Page<'_>, rows: usize, columns: usize) -> String {
    let threads: usize = page.groups.iter().map(|group| group.threads.len()).sum();
    let mut text = String::new();
    // Writing into a String never fails.
    if threads == 0 {
        let _ = writeln!(
            text,
            "No real-time threads in pods' groups (cgroup v{}).",
            page.version
        );
        return text;
    }
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let _ = writeln!(
        text,
        "{}{threads} real-time thread{} in {} group{} of pods, cgroup v{}, over {:.1} s\n",
        if page.more { "More than " } else { "" },
        plural(threads),
        page.groups.len(),
        plural(page.groups.len()),
        page.version,
        page.seconds,
    );
    let lines = page
        .groups
        .iter()
        .flat_map(|group| group.threads.iter().map(move |thread| row(group, thread)));
    let mut table: Vec<[String; 10]> = vec![COLUMNS.map(str::to_owned)];
    table.extend(lines.take(rows));
    let width = |column: usize, table: &[[String; 10]]| {
        let cells = table.iter().map(|row| row[column].chars().count());
        cells.max().unwrap_or(0)
    };
    let others: usize = (1..COLUMNS.len())
        .map(|column| width(column, &table) + GAP)
        .sum();
    let longest = columns.saturating_sub(others).clamp(MIN_NAME, MAX_NAME);
    for row in &mut table {
        row[0] = cut_in_front(&row[0], longest);
    }
    let widths: [usize; 10] = std::array::from_fn(|column| width(column, &table));
    for row in &table {
        let mut line = String::new();
        for (column, (cell, width)) in row.iter().zip(widths).enumerate() {
            let _ = if LEFT.contains(&column) {
                write!(line, "{cell:<width$}  ")
            } else {
                write!(line, "{cell:>width$}  ")
            };
        }
        let _ = writeln!(text, "{}", line.trim_end());
    }
    if let Some(left) = threads.checked_sub(rows).filter(|left| *left > 0) {
        let _ = writeln!(text, "and {left} more");
    }
    for line in footnotes(page).lines() {
        wrapped(line, columns, &mut text);
    }
    text
}

fn row(group: &GroupUse, thread: &ThreadUse) -> [String; 10] {
    let percent = |share: Option<f64>| {
        share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}", share * 100.0))
    };
    [
        name(group),
        thread.tid.to_string(),
        thread.comm.clone(),
        thread.policy.name().to_owned(),
        if thread.priority == 0 {
            "-".to_owned()
        } else {
            thread.priority.to_string()
        },
        thread.cpu.to_string(),
        percent(thread.share),
        match group.budget_microseconds {
            None => "-".to_owned(),
            Some(micros) if micros < 0 => "none".to_owned(),
            Some(micros) => micros.to_string(),
        },
        percent(group.budget_share),
        match &group.throttled_cpus {
            None => "-".to_owned(),
            Some(cpus) if cpus.is_empty() => "no".to_owned(),
            Some(cpus) => {
                let cpus: Vec<String> = cpus.iter().map(u32::to_string).collect();
                format!("cpu {}", cpus.join(","))
            }
        },
    ]
}

/// By the runtime's word, else by what the group's path says.
fn name(group: &GroupUse) -> String {
    if let (Some(namespace), Some(pod)) = (&group.namespace, &group.pod) {
        let container = group.container.as_deref().unwrap_or("(sandbox)");
        format!("{namespace}/{pod}/{container}")
    } else {
        let id: String = group.container_id.chars().take(12).collect();
        format!("?/{}/{id}", group.pod_uid)
    }
}

fn cut_in_front(text: &str, longest: usize) -> String {
    let length = text.chars().count();
    if length <= longest {
        return text.to_owned();
    }
    let end: String = text.chars().skip(length - longest + 1).collect();
    format!("…{end}")
}

/// A sentence in lines of at most so many columns, broken between words.
fn wrapped(line: &str, columns: usize, text: &mut String) {
    let mut used = 0;
    for word in line.split(' ') {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > columns {
            text.push('\n');
            used = 0;
        } else if used > 0 {
            text.push(' ');
            used += 1;
        }
        text.push_str(word);
        used += length;
    }
    text.push('\n');
}

fn footnotes(page: &Page<'_>) -> String {
    let mut text = String::new();
    let mut note = |line: &str| {
        let _ = writeln!(text, "{line}");
    };
    note("");
    if page.budgets {
        note(
            "BUDGET: microseconds of each second, on each CPU. %BUDGET: what the container's threads use on their busiest CPU.",
        );
        if page
            .groups
            .iter()
            .any(|group| group.throttled_cpus.is_none())
        {
            note(
                "STOPPED -: the kernel tells only in /sys/kernel/debug/sched/debug, which can't be read here; cpu.stat's \
                 throttled time is not about real-time threads.",
            );
        } else {
            note(
                "STOPPED: CPUs on which the kernel has stopped the group at this moment, until its next period.",
            );
        }
    } else if page.version == 2 {
        note(
            "BUDGET -: cgroup v2 has no real-time budgets, nothing is ever stopped; cpu.stat's throttled time is not about \
             real-time threads.",
        );
    } else {
        note("BUDGET -: this kernel has no real-time budgets (no cpu.rt_runtime_us).");
    }
    if page.groups.iter().any(|group| group.namespace.is_none()) {
        note(
            "?: no runtime says whose the group is (as root, its bundle can be read); the pod's uid and the container's id.",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use realtime_core::rt::usage::Policy;

    use super::*;

    fn group(namespace: Option<&str>, threads: usize) -> GroupUse {
        GroupUse {
            namespace: namespace.map(str::to_owned),
            pod: namespace.map(|_| "spinner".to_owned()),
            container: Some("main".to_owned()),
            pod_uid: "0f1e".to_owned(),
            container_id: "abcdef0123456789".to_owned(),
            group: "/kubepods/pod0f1e/abcdef0123456789".to_owned(),
            budget_microseconds: Some(50_000),
            busiest_cpu_share: Some(0.025),
            budget_share: Some(0.5),
            throttled_cpus: None,
            threads: (0..threads)
                .map(|number| ThreadUse {
                    tid: 100 + i32::try_from(number).unwrap(),
                    comm: "loop".to_owned(),
                    policy: Policy::Fifo,
                    priority: 50,
                    cpu: 3,
                    share: Some(0.025),
                })
                .collect(),
        }
    }

    fn page(groups: &[GroupUse], rows: usize) -> String {
        let page = Page {
            groups,
            seconds: 1.0,
            version: 1,
            budgets: true,
            more: false,
        };
        of(&page, rows, 200)
    }

    #[test]
    fn a_thread_is_a_row() {
        let text = page(&[group(Some("lab"), 1)], 10);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[0],
            "1 real-time thread in 1 group of pods, cgroup v1, over 1.0 s"
        );
        let words: Vec<&str> = lines[3].split_whitespace().collect();
        assert_eq!(
            words,
            [
                "lab/spinner/main",
                "100",
                "loop",
                "fifo",
                "50",
                "3",
                "2.5",
                "50000",
                "50.0",
                "-"
            ]
        );
        assert!(text.contains("STOPPED -: the kernel tells only"));
    }

    #[test]
    fn what_is_left_out_is_said() {
        let text = page(&[group(None, 30)], 10);
        assert!(
            text.contains("\n?/0f1e/abcdef012345  100  loop ") && text.contains("and 20 more\n"),
            "{text}"
        );
        assert!(text.contains("no runtime says whose"));
        assert!(page(&[], 10).starts_with("No real-time threads"));
        let mut long = group(Some("lab"), 1);
        long.pod = Some("x".repeat(300));
        let text = page(&[long], 10);
        assert!(
            text.lines().nth(3).unwrap().starts_with('…')
                && text.lines().nth(3).unwrap().contains("xx/main  100")
        );
    }
    #[test]
    fn a_narrow_terminal_cuts_names_and_breaks_sentences() {
        let mut long = group(Some("lab"), 1);
        long.pod = Some("x".repeat(300));
        let groups = [long];
        let page = Page {
            groups: &groups,
            seconds: 1.0,
            version: 1,
            budgets: true,
            more: false,
        };
        let text = of(&page, 10, 80);
        assert!(
            text.lines().all(|line| line.chars().count() <= 80),
            "{text}"
        );
        assert!(
            text.contains("x/main  100  loop") && text.contains("STOPPED"),
            "{text}"
        );
        // However narrow, and however long a word.
        for columns in 0..20 {
            assert!(of(&page, 0, columns).contains("and 1 more\n"));
        }
    }
}
