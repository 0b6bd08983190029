//! One file a command; this one only chooses.

mod crds;
mod plan;
mod reference;
mod render;
mod validate;
mod watch;
mod why;

use crate::args::Command;
use crate::exit::Exit;

/// What a command could not do. Each variant says it in its module's words.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The input.
    #[error(transparent)]
    Source(#[from] crate::source::SourceErrors),
    /// The cluster.
    #[error(transparent)]
    Client(#[from] crate::client::ClientError),
    /// The watch.
    #[error(transparent)]
    Watch(#[from] watch::WatchError),
    /// The pod.
    #[error(transparent)]
    Why(#[from] why::WhyError),
    /// OpenShift would refuse.
    #[error("the Machine Config Operator would refuse to render pool {pool}: {source}")]
    Merge {
        /// The pool.
        pool: String,
        /// Why.
        source: realtime_core::merge::MergeError,
    },
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
        Command::Plan(args) => plan::run(&args),
        Command::Watch(args) => watch::run(&args),
        Command::Why(args) => why::run(&args),
        Command::Reference => reference::run(),
    }
}
