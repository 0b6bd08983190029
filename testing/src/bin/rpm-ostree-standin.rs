//! The stand-in for `rpm-ostree`, `ostree` and `rpm`, and the machine below them. Wires, and nothing else.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context as _;
use clap::Parser as _;
use realtime_testing::rpm_ostree_standin::client::{self, Caller, Output};
use realtime_testing::rpm_ostree_standin::{PROGRAMS, ROOT_VARIABLE, machine, store_of};

/// SIGINT came: a client cancels its transaction.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn main() -> anyhow::Result<ExitCode> {
    let mut arguments: Vec<String> = std::env::args().collect();
    let own_name = arguments.first().cloned().unwrap_or_default();
    let name = Path::new(&own_name)
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default()
        .to_owned();
    let executable = std::env::current_exe().context("cannot find the own executable")?;
    arguments.drain(..1);
    let mut program = PROGRAMS.contains(&name.as_str()).then_some(name);
    if arguments.first().is_some_and(|one| one == "--as") {
        program = arguments.get(1).cloned();
        arguments.drain(..arguments.len().min(2));
    }
    let mut state = None;
    if arguments.first().is_some_and(|one| one == "--state") {
        state = arguments.get(1).map(PathBuf::from);
        arguments.drain(..arguments.len().min(2));
    }
    let Some(program) = program else {
        if arguments.first().is_none_or(|one| one != "machine") {
            anyhow::bail!(
                "usage: rpm-ostree-standin machine …, or rpm-ostree-standin --as rpm-ostree|ostree|rpm [--state FILE] …"
            );
        }
        println!(
            "{}",
            machine::run(machine::Machine::parse_from(arguments), &executable)?
        );
        return Ok(ExitCode::SUCCESS);
    };
    let root = std::env::var_os(ROOT_VARIABLE).map(PathBuf::from);
    let store = store_of(root.as_deref(), state.as_deref())?;
    if program == "worker" {
        let id = arguments
            .first()
            .and_then(|one| one.parse().ok())
            .context("a worker needs a transaction")?;
        client::carry(&store, id)?;
        return Ok(ExitCode::SUCCESS);
    }
    watch_for_interrupts()?;
    let directory = std::env::current_dir().context("cannot find the working directory")?;
    let argv: Vec<&str> = std::iter::once(program.as_str())
        .chain(arguments.iter().map(String::as_str))
        .collect();
    let caller = Caller {
        worker: Some(&executable),
        interrupted: &|| INTERRUPTED.load(Ordering::Relaxed),
    };
    finish(&client::run(&store, &argv, &directory, &caller)?)
}

fn watch_for_interrupts() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            // Without the handler a SIGINT ends the process, as it does any other.
            if tokio::signal::ctrl_c().await.is_ok() {
                INTERRUPTED.store(true, Ordering::Relaxed);
            }
        });
    });
    Ok(())
}

fn finish(output: &Output) -> anyhow::Result<ExitCode> {
    let mut streams = Vec::new();
    if !output.stdout.is_empty() {
        streams.push(writeln!(std::io::stdout().lock(), "{}", output.stdout));
    }
    if !output.stderr.is_empty() {
        streams.push(writeln!(std::io::stderr().lock(), "{}", output.stderr));
    }
    // Nobody may read any more; that is no reason to fail.
    drop(streams);
    if output.code < 0 {
        let signal = nix::sys::signal::Signal::try_from(-output.code)?;
        nix::sys::signal::kill(nix::unistd::Pid::this(), signal)?;
        std::thread::park();
    }
    Ok(ExitCode::from(u8::try_from(output.code).unwrap_or(1)))
}
