//! `ostree admin …` and `rpm -q…`, as far as a host's software uses them.

use std::path::Path;

use super::boot;
use super::client::{self, Output};
use super::local;
use super::origin::Source;
use super::package::Package;
use super::state::{Deployment, State, Version};
use super::store::Store;
use super::{StandinError, host_files};

/// `ostree`.
pub fn ostree(store: &Store, arguments: &[String], streams: bool) -> Result<Output, StandinError> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["--version", ..] => {
            let version = match store.load()?.version {
                Version::V2023_2 => "2022.7",
                Version::V2024_7 => "2024.5",
            };
            Ok(Output::success(&format!("libostree:\n Version: '{version}'")))
        }
        ["admin", "status", ..] => Ok(Output::success(&status(&store.load()?))),
        ["admin", "pin", rest @ ..] => {
            let waited = wait_for_sysroot(store, streams)?;
            let unpin = rest.iter().any(|one| matches!(*one, "-u" | "--unpin"));
            let which = rest.iter().find(|one| !one.starts_with('-')).copied().unwrap_or_default();
            let result = store.change(|state| Ok(pin(state, which, unpin)))?;
            let prefix = if waited && !streams { "Waiting for sysroot lock...\n" } else { "" };
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
        "rollback" => Some(booted.map(|index| index + 1).filter(|index| *index < state.deployments.len())),
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
    if let Some(version) = state.commits.get(&one.base).and_then(|commit| commit.base.version.as_ref()) {
        text.push_str("\n    Version: ");
        text.push_str(version);
    }
    if one.pinned {
        text.push_str("\n    Pinned: yes");
    }
    text.push_str(&match &one.origin.source {
        Source::Refspec(refspec) if one.layer.is_none() => format!("\n    origin refspec: {refspec}"),
        _ => "\n    origin: <unknown origin type>".to_owned(),
    });
    text
}

/// `rpm`: queries of the booted deployment's packages, and of package files.
pub fn rpm(store: &Store, arguments: &[String], directory: &Path) -> Result<Output, StandinError> {
    let state = store.load()?;
    let booted = state.booted().and_then(|index| state.deployments.get(index));
    let packages = booted.map(|one| one.packages.clone()).unwrap_or_default();
    let (mut all, mut query, mut file) = (false, false, false);
    let (mut format, mut names) = (None, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--qf" | "--queryformat" => format = rest.next().cloned(),
            "--query" => query = true,
            "--all" => all = true,
            "--package" => file = true,
            "--version" => return Ok(Output::success("RPM version 4.16.1.3")),
            other if other.starts_with("--") => {
                return Ok(Output::failure(&format!("rpm: {other}: unknown option (stand-in)")));
            }
            other => match other.strip_prefix('-') {
                Some(letters) => {
                    query |= letters.contains('q');
                    all |= letters.contains('a');
                    file |= letters.contains('p');
                }
                None => names.push(other.to_owned()),
            },
        }
    }
    if !query {
        return Ok(Output::failure("rpm: the stand-in knows only queries (stand-in)"));
    }
    let mut text = String::new();
    let mut missing = false;
    let print = |package: &Package, text: &mut String| match &format {
        Some(format) => text.push_str(&expand(format, package)),
        None => {
            text.push_str(&nvra(package));
            text.push('\n');
        }
    };
    if all {
        let fits = |one: &&Package| names.is_empty() || names.iter().any(|name| glob(name, &one.name) || glob(name, &nvra(one)));
        for package in packages.iter().filter(fits) {
            print(package, &mut text);
        }
    } else if file {
        for name in &names {
            match local::read(&directory.join(name)) {
                Ok(found) => print(&found.package, &mut text),
                Err(_) => return Ok(Output::failure(&format!("error: open of {name} failed: No such file or directory"))),
            }
        }
    } else {
        for name in &names {
            let found: Vec<&Package> = packages.iter().filter(|one| one.name == *name || nvra(one) == *name).collect();
            missing |= found.is_empty();
            for package in &found {
                print(package, &mut text);
            }
            if found.is_empty() {
                text.push_str(&format!("package {name} is not installed\n"));
            }
        }
    }
    Ok(Output {
        code: i32::from(missing),
        stdout: text.trim_end_matches('\n').to_owned(),
        stderr: String::new(),
    })
}

fn nvra(package: &Package) -> String {
    format!("{}-{}-{}.{}", package.name, package.version, package.release, package.arch)
}

fn expand(format: &str, package: &Package) -> String {
    let epoch = if package.epoch == 0 { "(none)".to_owned() } else { package.epoch.to_string() };
    format
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("%{NAME}", &package.name)
        .replace("%{EPOCH}", &epoch)
        .replace("%{EPOCHNUM}", &package.epoch.to_string())
        .replace("%{VERSION}", &package.version)
        .replace("%{RELEASE}", &package.release)
        .replace("%{ARCH}", &package.arch)
        .replace("%{EVR}", &package.evr())
        .replace("%{NEVRA}", &package.nevra())
        .replace("%{NVRA}", &nvra(package))
}

/// `*` and `?`.
fn glob(pattern: &str, text: &str) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text.chars());
    loop {
        match pattern.next() {
            None => return text.next().is_none(),
            Some('*') => {
                let rest = pattern.as_str();
                let mut tail = text.as_str();
                loop {
                    if glob(rest, tail) {
                        return true;
                    }
                    let mut next = tail.chars();
                    if next.next().is_none() {
                        return false;
                    }
                    tail = next.as_str();
                }
            }
            Some('?') => {
                if text.next().is_none() {
                    return false;
                }
            }
            Some(wanted) => {
                if text.next() != Some(wanted) {
                    return false;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn globs_match() {
        assert!(super::glob("kernel*", "kernel-core"));
        assert!(super::glob("kernel-?ore", "kernel-core"));
        assert!(!super::glob("kernel", "kernel-core"));
    }
}
