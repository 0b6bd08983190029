//! `status`: the running kernel, what boots next, what was written down, and where the node is on its way.

use std::fmt::Write as _;

use realtime_core::kernel::{self, Boot, Observed, Record, System};
use serde_json::{Value, json};

use super::{Answer, CliError, Exit, Wish, observe, system_name, wanted, wish};
use crate::config::Config;
use crate::host::Host;

pub(super) async fn answer(host: &Host, config: &Config) -> Result<Answer, CliError> {
    let boot = crate::agent::boot(host)?;
    let wish = wish(host, config)?;
    let observed = observe(host, config, boot).await?;
    let next = wish.as_ref().map(|wish| {
        let wanted = wanted(wish, &observed.boot);
        let mut observed = observed.clone();
        observed.node.cluster = wish.cluster;
        kernel::next(&wanted, &observed)
    });
    let json = json!({
        "kernel": {
            "release": observed.boot.release,
            "realtime": observed.boot.is_realtime(),
            "bootId": observed.boot.id,
            "commandLine": observed.boot.command_line,
        },
        "system": system_name(&observed.system),
        "deployments": deployments(&observed.system),
        "record": observed.record,
        "phase": next.as_ref().map(|next| next.phase),
        "conditions": next.as_ref().map(|next| conditions(&next.conditions)),
    });
    Ok(Answer {
        text: text(&observed, next.as_ref(), wish.as_ref()),
        json,
        exit: Exit::Success,
    })
}

pub(super) fn conditions(decided: &[realtime_core::conditions::Decided]) -> Vec<Value> {
    decided
        .iter()
        .map(|condition| {
            json!({
                "type": condition.type_, "status": condition.status,
                "reason": condition.reason, "message": condition.message,
            })
        })
        .collect()
}

fn deployments(system: &System) -> Vec<Value> {
    let System::Ostree(view) = system else {
        return Vec::new();
    };
    view.status
        .deployments
        .iter()
        .map(|deployment| {
            json!({
                "id": deployment.id, "version": deployment.version,
                "kernel": deployment.kernel_release(),
                "booted": deployment.booted, "staged": deployment.staged, "pinned": deployment.pinned,
            })
        })
        .collect()
}

fn text(observed: &Observed, next: Option<&kernel::Next>, wish: Option<&Wish>) -> String {
    let mut text = String::new();
    // Writing to a String never fails.
    let mut line = |key: &str, value: &str| {
        let _ = writeln!(text, "{key:<12}{value}");
    };
    line("kernel", &running(&observed.boot));
    line("arguments", &observed.boot.command_line);
    line("system", system_name(&observed.system));
    match &observed.system {
        System::Ostree(view) => {
            for (index, deployment) in view.status.deployments.iter().enumerate() {
                let marks: Vec<&str> = [
                    (deployment.booted, "booted"),
                    (deployment.staged, "staged"),
                    (deployment.pinned, "pinned"),
                ]
                .into_iter()
                .filter_map(|(is, name)| is.then_some(name))
                .collect();
                let version = deployment.version.as_deref().unwrap_or("-");
                let kernel = deployment.kernel_release().unwrap_or("kernel unknown");
                let key = if index == 0 { "deployments" } else { "" };
                let id: String = deployment.checksum.chars().take(12).collect();
                line(
                    key,
                    &format!("{index} {id} {version} {kernel} ({})", marks.join(", ")),
                );
            }
        }
        System::Rpm(view) => {
            line(
                "boots next",
                view.default_kernel.as_deref().unwrap_or("unknown"),
            );
        }
        System::Other(why) => line("", why),
    }
    for words in record(&observed.record) {
        line("record", &words);
    }
    match (next, wish) {
        (Some(next), Some(wish)) => {
            line("wanted", &format!("by {}", wish.source));
            line("phase", &format!("{:?}", next.phase));
            for condition in &next.conditions {
                if !condition.message.is_empty() {
                    line(condition.type_, &condition.message);
                }
            }
        }
        _ => line("wanted", "nothing says what this host shall be"),
    }
    text
}

fn running(boot: &Boot) -> String {
    let kind = if boot.is_realtime() {
        "real-time"
    } else {
        "stock"
    };
    format!("{} ({kind}), boot {}", boot.release, boot.id)
}

fn record(record: &Record) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(attempt) = &record.attempt {
        let to = if attempt.realtime {
            "to the real-time kernel"
        } else {
            "to the stock kernel"
        };
        let end = match (&attempt.failed, attempt.succeeded) {
            (Some(failure), _) => format!("failed: {}: {}", failure.reason, failure.message),
            (None, true) => "succeeded".to_owned(),
            (None, false) => "under way".to_owned(),
        };
        lines.push(format!("a switch {to}, {} reboots, {end}", attempt.reboots));
        if let Some(error) = &attempt.error {
            lines.push(format!("`{}` failed: {}", error.command, error.stderr));
        }
    }
    if !record.arguments.is_empty() {
        lines.push(format!(
            "arguments of the daemon's: {}",
            record.arguments.join(" ")
        ));
    }
    if let Some((checksum, _)) = &record.pinned {
        lines.push(format!("pinned by the daemon: {checksum}"));
    }
    if lines.is_empty() {
        lines.push("nothing: the daemon has not changed this host".to_owned());
    }
    lines
}
