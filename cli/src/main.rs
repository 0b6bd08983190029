//! `oc-realtime`, run as `oc realtime …` or `kubectl realtime …`. Wires and does nothing else.

mod args;
mod check;
mod client;
mod commands;
mod exit;
mod output;
mod report;
mod snapshot;
mod source;
mod terminal;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match commands::run(args::Args::parse().command) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output::error(&error);
            exit::Exit::Failure.into()
        }
    }
}
