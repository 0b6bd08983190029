//! One run of `go build`, with a line of progress every few seconds.
//!
//! Must not decide what to build or where the result goes: `programs` does.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::Error;
use super::cache::Pinned;
use super::catalog::{Program, Source};

/// Often enough to see that it lives, rare enough for a log of minutes to stay on one screen.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// Enough for the compiler's errors of one package.
const TAIL_LINES: usize = 20;

/// A line on the process's real standard error, which libtest doesn't capture.
pub(super) fn progress(subject: &str, text: &str) {
    // A closed standard error is no reason to stop a build.
    let _ = writeln!(io::stderr().lock(), "[programs] {subject}: {text}");
}

/// Builds these programs of one module into `output`.
pub(super) fn build(pinned: &Pinned, programs: &[Program], output: &Path) -> Result<(), Error> {
    let started = Instant::now();
    let names: Vec<&str> = programs.iter().map(|program| program.file_name()).collect();
    let subject = format!("{} {}", pinned.module.name(), pinned.version);
    progress(
        &subject,
        &format!(
            "building {} (once; into {})",
            names.join(", "),
            pinned.directory.display()
        ),
    );

    let total = count_packages(pinned, programs)?;
    let flags = pinned.module.linker_flags(&pinned.version);
    for (index, program) in programs.iter().enumerate() {
        // One program a run: a module's root package would otherwise be named after its directory.
        let mut command = go(pinned);
        command
            .arg("build")
            .args(["-mod=readonly", "-trimpath", "-buildvcs=false", "-v"])
            .args(tags(pinned));
        command
            .arg("-ldflags")
            .arg(&flags)
            .arg("-o")
            .arg(output.join(program.file_name()))
            .args(package(*program));
        let step = format!(
            "{} ({} of {})",
            program.file_name(),
            index + 1,
            programs.len()
        );
        run(pinned, command, |compiled, downloaded| {
            let what = if compiled == 0 && downloaded > 0 {
                format!("{downloaded} modules downloaded")
            } else {
                // Of those that are in Go's own cache already, Go says nothing.
                format!("{compiled} packages compiled, of at most {total}")
            };
            progress(
                &subject,
                &format!("{step}: {what}, {} s", started.elapsed().as_secs()),
            );
        })?;
        progress(
            &subject,
            &format!("{step}: built, {} s", started.elapsed().as_secs()),
        );
    }
    Ok(())
}

fn go(pinned: &Pinned) -> Command {
    let mut command = Command::new("go");
    // Static programs without C wherever that works; a go.work of the user's has no say here.
    command
        .current_dir(pinned.module.directory())
        .env(
            "CGO_ENABLED",
            if pinned.module.needs_c() { "1" } else { "0" },
        )
        .env("GOWORK", "off")
        .stdin(Stdio::null());
    command
}

fn count_packages(pinned: &Pinned, programs: &[Program]) -> Result<usize, Error> {
    progress(
        pinned.module.name(),
        "reading the list of its packages (downloads modules at the first time)",
    );
    let mut command = go(pinned);
    command
        .args(["list", "-mod=readonly", "-deps"])
        .args(tags(pinned))
        .args(programs.iter().filter_map(|program| package(*program)));
    Ok(output(pinned, command)?.lines().count())
}

/// The Go package of a program, unless it isn't one of Go.
fn package(program: Program) -> Option<&'static str> {
    match program.source() {
        Source::Go(package) => Some(package),
        Source::C(_) => None,
    }
}

/// The flag for the module's build tags.
fn tags(pinned: &Pinned) -> Option<String> {
    let tags = pinned.module.tags();
    (!tags.is_empty()).then(|| format!("-tags={tags}"))
}

/// Where Go keeps the upstream module's files, after downloading them when they aren't there.
pub(super) fn module_directory(pinned: &Pinned) -> Result<PathBuf, Error> {
    let mut command = go(pinned);
    // `mod download` takes the version from go.mod, as all commands here do.
    command
        .args(["mod", "download", "-json"])
        .arg(pinned.module.upstream());
    let described: serde_json::Value =
        serde_json::from_str(&output(pinned, command)?).unwrap_or_default();
    Ok(PathBuf::from(described["Dir"].as_str().unwrap_or_default()))
}

/// What a command of Go prints.
fn output(pinned: &Pinned, mut command: Command) -> Result<String, Error> {
    let description = describe(&command);
    let output = command.output().map_err(Error::NoGo)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    Err(Error::Go {
        command: description,
        directory: pinned.module.directory(),
        tail: lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"),
    })
}

/// Runs it to its end; `report` is called every few seconds with the packages and modules so far.
fn run(pinned: &Pinned, mut command: Command, report: impl Fn(usize, usize)) -> Result<(), Error> {
    let description = describe(&command);
    let mut child = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(Error::NoGo)?;
    let (sender, lines) = mpsc::channel();
    if let Some(stderr) = child.stderr.take() {
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    break;
                }
            }
        });
    }
    let (mut compiled, mut downloaded) = (0, 0);
    let mut tail = VecDeque::new();
    let mut next = Instant::now() + PROGRESS_INTERVAL;
    loop {
        match lines.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(line) if line.starts_with("go: downloading") => downloaded += 1,
            // With -v each compiled package is a line that is its import path: one word.
            Ok(line) if !line.contains([' ', '\t', ':']) => compiled += 1,
            Ok(line) => {
                tail.push_back(line);
                if tail.len() > TAIL_LINES {
                    tail.pop_front();
                }
            }
            Err(RecvTimeoutError::Timeout) => {
                report(compiled, downloaded);
                next = Instant::now() + PROGRESS_INTERVAL;
            }
            Err(RecvTimeoutError::Disconnected) => break, // it closed its standard error: it ended
        }
    }
    let status = child.wait().map_err(Error::NoGo)?;
    if status.success() {
        return Ok(());
    }
    Err(Error::Go {
        command: description,
        directory: pinned.module.directory(),
        tail: Vec::from(tail).join("\n"),
    })
}

fn describe(command: &Command) -> String {
    command
        .get_args()
        .map(|argument| argument.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}
