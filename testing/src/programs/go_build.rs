//! One run of `go build`, with a line of progress every few seconds.
//!
//! Must not decide what to build or where the result goes: `programs` does.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Error, Pinned, Program};

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
            .args(["-mod=readonly", "-trimpath", "-buildvcs=false", "-v"]);
        command
            .arg("-ldflags")
            .arg(&flags)
            .arg("-o")
            .arg(output.join(program.file_name()))
            .arg(program.package());
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
    // Static programs that need no C compiler; a go.work of the user's has no say here.
    command
        .current_dir(pinned.module.directory())
        .env("CGO_ENABLED", "0")
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
        .args(programs.iter().map(|program| program.package()));
    let description = describe(&command);
    let output = command.output().map_err(Error::NoGo)?;
    if output.status.success() {
        return Ok(output
            .stdout
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty())
            .count());
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
