//! One file a command; this one only chooses.

mod crds;
mod reference;
mod render;
mod validate;

use crate::args::Command;
use crate::exit::Exit;

/// What a command could not do. Each variant says it in its module's words.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The input.
    #[error(transparent)]
    Source(#[from] crate::source::SourceErrors),
    /// The output.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// YAML.
    #[error(transparent)]
    Yaml(#[from] realtime_core::yaml::YamlError),
}

/// Runs one command.
pub fn run(command: Command) -> Result<Exit, CommandError> {
    match command {
        Command::Crds(args) => crds::run(&args),
        Command::Render(args) => render::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Reference => reference::run(),
    }
}
