//! `rpm`: queries of the booted deployment's packages and of package files, and the check of files.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::rpm_ostree_standin::StandinError;
use crate::rpm_ostree_standin::client::Output;
use crate::rpm_ostree_standin::local;
use crate::rpm_ostree_standin::package::Package;
use crate::rpm_ostree_standin::store::Store;

/// What is asked.
#[derive(Default)]
#[allow(clippy::struct_excessive_bools)] // They are flags of a command line, each on its own.
struct Asked {
    query: bool,
    all: bool,
    files: bool,
    check: bool,
    version: bool,
    format: Option<String>,
    names: Vec<String>,
}

impl Asked {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut asked = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--qf" | "--queryformat" => asked.format = rest.next().cloned(),
                "--query" => asked.query = true,
                "--all" => asked.all = true,
                "--package" => asked.files = true,
                "--checksig" | "-K" => asked.check = true,
                "--nosignature" | "--nodigest" => {}
                "--version" => asked.version = true,
                other if other.starts_with("--") => {
                    return Err(format!("rpm: {other}: unknown option (stand-in)"));
                }
                other => match other.strip_prefix('-') {
                    Some(letters) => {
                        asked.query |= letters.contains('q');
                        asked.all |= letters.contains('a');
                        asked.files |= letters.contains('p');
                    }
                    None => asked.names.push(other.to_owned()),
                },
            }
        }
        Ok(asked)
    }

    fn line(&self, package: &Package) -> String {
        match &self.format {
            Some(format) => expand(format, package),
            None => nvra(package) + "\n",
        }
    }
}

/// Answers.
pub fn rpm(store: &Store, arguments: &[String], directory: &Path) -> Result<Output, StandinError> {
    let state = store.load()?;
    let booted = state
        .booted()
        .and_then(|index| state.deployments.get(index));
    let packages = booted.map(|one| one.packages.clone()).unwrap_or_default();
    let asked = match Asked::parse(arguments) {
        Ok(asked) => asked,
        Err(text) => return Ok(Output::failure(&text)),
    };
    let path = |name: &String| local::locate(store.root(), directory, name);
    let mut output = if asked.version {
        Output::success("RPM version 4.16.1.3")
    } else if asked.check {
        check(&asked.names, path)
    } else if !asked.query {
        Output::failure("rpm: the stand-in knows only queries and the check of files (stand-in)")
    } else if asked.files {
        files(&asked, path)
    } else {
        installed(&asked, &packages)
    };
    output
        .stdout
        .truncate(output.stdout.trim_end_matches('\n').len());
    Ok(output)
}

/// What is wrong is on the standard output.
fn check(names: &[String], path: impl Fn(&String) -> PathBuf) -> Output {
    let mut output = Output::default();
    for name in names {
        let good = local::read(&path(name)).is_ok();
        let word = if good { "digests OK" } else { "DIGESTS NOT OK" };
        output.code |= i32::from(!good);
        // Writing to a String never fails.
        let _ = writeln!(output.stdout, "{name}: {word}");
    }
    output
}

fn files(asked: &Asked, path: impl Fn(&String) -> PathBuf) -> Output {
    let mut output = Output::default();
    for name in &asked.names {
        match local::read(&path(name)) {
            Ok(found) => output.stdout.push_str(&asked.line(&found.package)),
            Err(_) => {
                return Output::failure(&format!(
                    "error: open of {name} failed: No such file or directory"
                ));
            }
        }
    }
    output
}

fn installed(asked: &Asked, packages: &[Package]) -> Output {
    let mut output = Output::default();
    if asked.all {
        let fits = |one: &&Package| {
            let named = |name: &String| glob(name, &one.name) || glob(name, &nvra(one));
            asked.names.is_empty() || asked.names.iter().any(named)
        };
        output.stdout = packages
            .iter()
            .filter(fits)
            .map(|one| asked.line(one))
            .collect();
        return output;
    }
    for name in &asked.names {
        let mut found = packages
            .iter()
            .filter(|one| one.name == *name || nvra(one) == *name)
            .peekable();
        if found.peek().is_none() {
            output.code = 1;
            // Writing to a String never fails.
            let _ = writeln!(output.stdout, "package {name} is not installed");
        }
        output.stdout.extend(found.map(|one| asked.line(one)));
    }
    output
}

fn nvra(package: &Package) -> String {
    format!(
        "{}-{}-{}.{}",
        package.name, package.version, package.release, package.arch
    )
}

fn expand(format: &str, package: &Package) -> String {
    let epoch = if package.epoch == 0 {
        "(none)".to_owned()
    } else {
        package.epoch.to_string()
    };
    format
        .replace("\\n", "\n")
        .replace("\\t", "\t")
        .replace("%{SOURCEPACKAGE}", "(none)")
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
    let Some(wanted) = pattern.chars().next() else {
        return text.is_empty();
    };
    let rest = pattern.get(wanted.len_utf8()..).unwrap_or_default();
    if wanted == '*' {
        return text
            .char_indices()
            .map(|(index, _)| index)
            .chain([text.len()])
            .any(|index| glob(rest, text.get(index..).unwrap_or_default()));
    }
    let mut letters = text.chars();
    match letters.next() {
        Some(letter) => (wanted == '?' || wanted == letter) && glob(rest, letters.as_str()),
        None => false,
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
