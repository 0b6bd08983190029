//! One file a command; this one only chooses.

mod crds;

use crate::args::Command;
use crate::exit::Exit;

/// What a command could not do. Each variant says it in its module's words.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
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
    }
}
