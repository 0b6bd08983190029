//! What can be asked on the host, without a cluster: `status`, `plan`, `audit`, `top`. Looks, and changes nothing.

mod audit;
mod plan;
mod status;
pub mod top;

use std::process::ExitCode;

use realtime_core::api::realtime_node::RealtimeNodeSpec;
use realtime_core::kernel::{Boot, Observed, System, Wanted};
use serde_json::Value;

use crate::agent::{self, AgentError};
use crate::args::Command;
use crate::config::Config;
use crate::host::{Host, HostError};
use crate::system;

/// How a command ended. What scripts rely on; told in `--help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; nothing to do; no drift.
    Success,
    /// An error.
    Failure,
    /// plan: something would be done. audit: something differs.
    Differs,
    /// This host is none that the command can look at.
    NotThisHost,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Differs => 2,
            Exit::NotThisHost => 3,
        })
    }
}

/// What can't be told.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The host, or the record on it.
    #[error("{0}")]
    Agent(#[from] AgentError),
    /// Nothing says what the host shall be.
    #[error(
        "nothing says what this host shall be: give --config with `node:`, or let the daemon run here once in a cluster \
         whose operator made a RealtimeNode for this node"
    )]
    NoWish,
    /// Not a Linux host's `/`.
    #[error("{root} is no host's root directory: it has no {path}; give --root")]
    NoHost {
        /// What was given.
        root: String,
        /// What is missing.
        path: String,
    },
    /// Its kernel can't be switched.
    #[error("this host's kernel can't be switched by the daemon: {0}")]
    NotThisHost(String),
    /// Only root may look.
    #[error("{0}; run it as root")]
    NotRoot(HostError),
    /// The answer can't be written.
    #[error("writing the answer: {0}")]
    Answer(#[from] serde_json::Error),
}

impl From<HostError> for CliError {
    fn from(error: HostError) -> Self {
        Self::Agent(AgentError::Host(error))
    }
}

impl CliError {
    /// With what helps, where that can be known.
    fn explained(self, host: &Host) -> Self {
        let Self::Agent(AgentError::Host(error)) = self else {
            return self;
        };
        match &error {
            HostError::File { path, source, .. } => match source.kind() {
                std::io::ErrorKind::PermissionDenied => Self::NotRoot(error),
                std::io::ErrorKind::NotFound if path.starts_with("/proc/") => Self::NoHost {
                    root: host.root().display().to_string(),
                    path: path.clone(),
                },
                _ => Self::Agent(AgentError::Host(error)),
            },
            _ if !rustix::process::geteuid().is_root() => Self::NotRoot(error),
            _ => Self::Agent(AgentError::Host(error)),
        }
    }

    fn exit(&self) -> Exit {
        match self {
            Self::NoHost { .. } | Self::NotThisHost(_) => Exit::NotThisHost,
            _ => Exit::Failure,
        }
    }
}

/// An answer, in both forms.
pub(crate) struct Answer {
    text: String,
    json: Value,
    exit: Exit,
}

/// Answers on standard output; errors go to standard error.
pub async fn run(command: Command, host: &Host, config: &Config) -> ExitCode {
    let (answer, as_json) = match command {
        Command::Status { json } => (status::answer(host, config).await, json),
        Command::Plan { json } => (plan::answer(host, config).await, json),
        Command::Audit { json } => (audit::answer(host, config), json),
        Command::Top {
            once,
            interval,
            json,
        } => {
            let how = top::How {
                once,
                interval,
                json,
            };
            return top::run(host, how).await.into();
        }
    };
    let printed = answer.and_then(|answer| {
        if as_json {
            println!("{}", serde_json::to_string_pretty(&answer.json)?);
        } else {
            print!("{}", answer.text);
        }
        Ok(answer.exit)
    });
    match printed {
        Ok(exit) => exit.into(),
        Err(error) => {
            let error = error.explained(host);
            eprintln!("error: {error}");
            error.exit().into()
        }
    }
}

/// What this host shall be, and where that is written.
pub(crate) struct Wish {
    spec: RealtimeNodeSpec,
    retry: Option<String>,
    /// To be read after "by".
    source: &'static str,
    /// Whether a cluster said it.
    cluster: bool,
}

/// The configuration file's word, or else what a cluster said last.
pub(crate) fn wish(host: &Host, config: &Config) -> Result<Option<Wish>, CliError> {
    if let Some(spec) = &config.node {
        return Ok(Some(Wish {
            spec: spec.clone(),
            retry: config.retry.clone(),
            source: "the configuration file",
            cluster: false,
        }));
    }
    let path = agent::seen_path(&config.state_directory);
    let Some(node) = agent::load_seen(host, &path)? else {
        return Ok(None);
    };
    let annotation = realtime_core::names::ANNOTATION_RETRY;
    Ok(Some(Wish {
        retry: kube::ResourceExt::annotations(&node)
            .get(annotation)
            .cloned(),
        spec: node.spec,
        source: "the RealtimeNode, as the daemon saw it last",
        cluster: true,
    }))
}

/// What a decision is made from, on the host's side.
pub(crate) async fn observe(
    host: &Host,
    config: &Config,
    boot: Boot,
) -> Result<Observed, CliError> {
    let system = system::observe_system(host).await?;
    let record = agent::load_record(host, &agent::record_path(&config.state_directory))?;
    Ok(Observed {
        boot,
        system,
        record,
        offered: None,
        node: realtime_core::kernel::Surroundings {
            may_reboot: config.reboot,
            ..Default::default()
        },
        now: agent::seconds(),
    })
}

/// The wish as a decision takes it.
pub(crate) fn wanted(wish: &Wish, boot: &Boot) -> Wanted {
    agent::wanted(&wish.spec, wish.retry.as_deref(), boot)
}

/// A system in two words.
pub(crate) fn system_name(system: &System) -> &'static str {
    match system {
        System::Ostree(_) => "rpm-ostree",
        System::Rpm(_) => "dnf and grubby",
        System::Other(_) => "neither rpm-ostree nor dnf and grubby",
    }
}
