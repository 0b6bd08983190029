//! A plan as a person reads it. Pure; decides nothing about the plan.

use std::fmt::Write as _;

use realtime_core::plan::{Action, Conflict, NodePlan, ObjectChange, Plan, PoolOutcome};

const BOLD: &str = "1";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
const CYAN: &str = "36";

/// How it is shown.
#[derive(Clone, Copy)]
pub struct Style {
    /// With ANSI colours.
    pub colour: bool,
    /// With the diff of each object.
    pub diffs: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The whole plan. Writing into a String never fails, so its results are dropped.
pub fn of(plan: &Plan, style: Style) -> String {
    let mut text = String::new();
    let title = match plan.outcome {
        Some(_) => format!("Profile {} on pool {}", plan.profile, plan.pool),
        None => format!("Profile {}", plan.profile),
    };
    let _ = writeln!(text, "{}", style.paint(BOLD, &title));
    if plan.held {
        text.push_str("rollout.pause is true: nothing of this happens until it is false.\n");
    }
    objects(plan, style, &mut text);
    if let Some(outcome) = &plan.outcome {
        pool(outcome, style, &mut text);
    } else {
        text.push_str(
            "\nNo MachineConfigPools are served here: kernel and arguments are the node daemon's.\n",
        );
    }
    nodes(plan, style, &mut text);
    conflicts(&plan.conflicts, style, &mut text);
    let _ = writeln!(text, "\n{}", summary(plan));
    text
}

fn objects(plan: &Plan, style: Style, text: &mut String) {
    let _ = writeln!(text, "\n{}", style.paint(BOLD, "Objects"));
    for change in &plan.changes {
        let (sign, colour) = match change.action {
            Action::Create => ("+ create", GREEN),
            Action::Change => ("~ change", YELLOW),
            Action::Delete => ("- delete", RED),
        };
        let _ = writeln!(text, "  {} {}", style.paint(colour, sign), change.object);
    }
    for id in &plan.unchanged {
        let _ = writeln!(text, "  = keep   {id}");
    }
    if style.diffs {
        for change in &plan.changes {
            diff(change, style, text);
        }
    }
}

fn diff(change: &ObjectChange, style: Style, text: &mut String) {
    let _ = writeln!(
        text,
        "\n{}",
        style.paint(BOLD, &format!("--- {}", change.object))
    );
    for line in change.diff.lines() {
        let line = match line.chars().next() {
            Some('+') => style.paint(GREEN, line),
            Some('-') => style.paint(RED, line),
            Some('@') => style.paint(CYAN, line),
            _ => line.to_owned(),
        };
        let _ = writeln!(text, "{line}");
    }
}

fn pool(outcome: &PoolOutcome, style: Style, text: &mut String) {
    let _ = writeln!(
        text,
        "\n{}",
        style.paint(BOLD, "The pool's configuration then")
    );
    let kernel = match &outcome.kernel_before {
        Some(before) if *before != outcome.kernel => format!("{before} → {}", outcome.kernel),
        _ => outcome.kernel.clone(),
    };
    let _ = writeln!(text, "  kernel     {kernel}");
    let _ = writeln!(
        text,
        "  arguments  {}",
        or_none(&outcome.kernel_arguments.join(" "))
    );
    for (sign, colour, list) in [
        ("+", GREEN, &outcome.argument_changes.added),
        ("-", RED, &outcome.argument_changes.removed),
    ] {
        if !list.is_empty() {
            let _ = writeln!(
                text,
                "           {} {}",
                style.paint(colour, sign),
                list.join(" ")
            );
        }
    }
    let _ = writeln!(text, "  made of    {}", outcome.sources.join(", "));
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}

fn nodes(plan: &Plan, style: Style, text: &mut String) {
    let _ = writeln!(text, "\n{}", style.paint(BOLD, "Nodes"));
    if plan.nodes.is_empty() {
        let whose = match plan.outcome {
            Some(_) => "the pool",
            None => "the profile",
        };
        let _ = writeln!(
            text,
            "  none: {whose} selects no node yet; label one: oc label node NAME node-role.kubernetes.io/{}=",
            plan.pool
        );
    }
    let width = plan
        .nodes
        .iter()
        .map(|node| node.node.chars().count())
        .max()
        .unwrap_or(0);
    for NodePlan {
        node,
        reboots,
        reasons,
    } in &plan.nodes
    {
        let count = match reboots {
            0 => "no reboot ".to_owned(),
            1 => "1 reboot  ".to_owned(),
            many => style.paint(YELLOW, &format!("{many} reboots ")),
        };
        let _ = writeln!(text, "  {node:width$}  {count} {}", reasons.join("; "));
    }
}

fn conflicts(conflicts: &[Conflict], style: Style, text: &mut String) {
    if conflicts.is_empty() {
        return;
    }
    let _ = writeln!(text, "\n{}", style.paint(BOLD, "Conflicts and warnings"));
    for Conflict {
        about,
        message,
        remedy,
    } in conflicts
    {
        let _ = writeln!(text, "  {} {about}: {message}", style.paint(YELLOW, "!"));
        if !remedy.is_empty() {
            let _ = writeln!(text, "    {remedy}");
        }
    }
}

fn summary(plan: &Plan) -> String {
    if !plan.has_changes() && plan.reboots() == 0 {
        return "Nothing would change.".to_owned();
    }
    let count = |action| {
        plan.changes
            .iter()
            .filter(|change| change.action == action)
            .count()
    };
    format!(
        "{} to create, {} to change, {} to delete; {} of {} nodes reboot, {} reboots in all.",
        count(Action::Create),
        count(Action::Change),
        count(Action::Delete),
        plan.nodes.iter().filter(|node| node.reboots > 0).count(),
        plan.nodes.len(),
        plan.reboots(),
    )
}
