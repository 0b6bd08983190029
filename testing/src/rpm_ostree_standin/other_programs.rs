//! `ostree admin …`, as far as a host's software uses it; `rpm` is in a file of its own.

use super::boot;
use super::client::{self, Output};
use super::origin::Source;
use super::state::{Deployment, State, Version};
use super::store::Store;
use super::{StandinError, host_files};

mod rpm;

pub use rpm::rpm;

/// `ostree`.
pub fn ostree(store: &Store, arguments: &[String], streams: bool) -> Result<Output, StandinError> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--version", ..] => {
            let version = match store.load()?.version {
                Version::V2023_2 => "2022.7",
                Version::V2024_7 => "2024.5",
            };
            Ok(Output::success(&format!(
                "libostree:\n Version: '{version}'"
            )))
        }
        ["admin", "status", ..] => Ok(Output::success(&status(&store.load()?))),
        ["admin", "pin", rest @ ..] => {
            let waited = wait_for_sysroot(store, streams)?;
            let unpin = rest.iter().any(|one| matches!(*one, "-u" | "--unpin"));
            let which = rest
                .iter()
                .find(|one| !one.starts_with('-'))
                .copied()
                .unwrap_or_default();
            let result = store.change(|state| Ok(pin(state, which, unpin)))?;
            let prefix = if waited && !streams {
                "Waiting for sysroot lock...\n"
            } else {
                ""
            };
            Ok(match result {
                Ok(text) => Output::success(&format!("{prefix}{text}")),
                Err(text) => Output::failure(&format!("error: {text}")),
            })
        }
        ["admin", "finalize-staged", ..] => {
            let result = store.change(|state| Ok(boot::finalize_now(state)))?;
            host_files::write_deployments(store.root(), &store.load()?)?;
            Ok(match result {
                Ok(()) => Output::success(""),
                Err(text) => Output::failure(&format!("error: {text}")),
            })
        }
        _ => Ok(Output::failure(&format!(
            "error: the stand-in for ostree knows only `admin status`, `admin pin`, `admin finalize-staged` and \
             `--version`, not `{}`",
            words.join(" ")
        ))),
    }
}

/// `ostree` blocks where rpm-ostree refuses.
fn wait_for_sysroot(store: &Store, streams: bool) -> Result<bool, StandinError> {
    let mut waited = false;
    loop {
        let state = store.load()?;
        if !client::is_running(&state) {
            return Ok(waited);
        }
        if !waited && streams {
            println!("Waiting for sysroot lock...");
        }
        waited = true;
        std::thread::sleep(client::POLL);
    }
}

fn pin(state: &mut State, which: &str, unpin: bool) -> Result<String, String> {
    let index = index_of(state, which)?;
    let count = state.deployments.len();
    let deployment = usize::try_from(index)
        .ok()
        .and_then(|index| state.deployments.get_mut(index))
        .ok_or_else(|| format!("Out of range deployment index {index}, expected < {count}"))?;
    let word = if unpin { "unpinned" } else { "pinned" };
    if deployment.pinned != unpin {
        return Ok(format!("Deployment {index} is already {word}"));
    }
    if deployment.staged {
        return Err("Cannot pin staged deployment".to_owned());
    }
    deployment.pinned = !unpin;
    Ok(format!("Deployment {index} is now {word}"))
}

fn index_of(state: &State, which: &str) -> Result<i64, String> {
    let booted = state.booted();
    let keyword = match which {
        _ if state.version == Version::V2023_2 => None,
        "booted" => Some(booted),
        "pending" => Some(booted.filter(|index| *index > 0).map(|_| 0)),
        "rollback" => Some(
            booted
                .map(|index| index + 1)
                .filter(|index| *index < state.deployments.len()),
        ),
        _ => None,
    };
    match keyword {
        Some(Some(index)) => i64::try_from(index).map_err(|error| error.to_string()),
        Some(None) => Err(format!("Deployment type not found: {which}")),
        None => which.parse().map_err(|_| format!("Invalid index: {which}")),
    }
}

fn status(state: &State) -> String {
    let booted = state.booted();
    let lines: Vec<String> = state
        .deployments
        .iter()
        .enumerate()
        .map(|(index, one)| status_of(state, one, index, booted))
        .collect();
    lines.join("\n")
}

fn status_of(state: &State, one: &Deployment, index: usize, booted: Option<usize>) -> String {
    let (mark, role) = match booted {
        Some(booted) if index == booted => ("*", ""),
        _ if one.staged => (" ", " (staged)"),
        Some(booted) if index + 1 == booted => (" ", " (pending)"),
        Some(booted) if index == booted + 1 => (" ", " (rollback)"),
        _ => (" ", ""),
    };
    let mut text = format!("{mark} {} {}{role}", state.osname, one.directory());
    if let Some(version) = state
        .commits
        .get(&one.base)
        .and_then(|commit| commit.base.version.as_ref())
    {
        text.push_str("\n    Version: ");
        text.push_str(version);
    }
    if one.pinned {
        text.push_str("\n    Pinned: yes");
    }
    match &one.origin.source {
        Source::Refspec(refspec) if one.layer.is_none() => {
            text.push_str("\n    origin refspec: ");
            text.push_str(refspec);
        }
        _ => text.push_str("\n    origin: <unknown origin type>"),
    }
    text
}
