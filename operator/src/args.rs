//! The command line. Parses; starts nothing.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use realtime_core::names;

/// From RealtimeProfiles to the objects that OpenShift acts on. Runs in the cluster, or anywhere with a kubeconfig.
#[derive(Debug, Parser)]
#[command(name = "realtime-operator", version)]
pub struct Args {
    /// A kubeconfig file. Without it: $KUBECONFIG, ~/.kube/config, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// The namespace of the Lease by which one of several replicas is chosen to act.
    #[arg(long, env = "OPERATOR_NAMESPACE", default_value = names::OPERATOR_NAMESPACE)]
    pub namespace: String,

    /// Act only while holding the Lease. `--leader-elect=false` for a single process.
    #[arg(long, default_value_t = true, num_args = 0..=1, require_equals = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub leader_elect: bool,

    /// How long a lead lasts without renewal, in seconds. Another replica takes over after that when this one dies.
    #[arg(long, value_name = "SECONDS", default_value_t = 137, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub lease_duration: u64,

    /// How long the first write that reboots waits for the nodes' daemons to tell what hardware they have, in seconds
    /// since their RealtimeNodes were made; six times as long when one of them has. 0: not at all.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub first_report_timeout: u64,

    /// This replica's name. Default: the pod's name, or the host's with the process id.
    #[arg(long, env = "POD_NAME", value_name = "NAME")]
    pub identity: Option<String>,

    /// Where /healthz, /readyz and /metrics are served. Port 0 chooses a free one and says which.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "0.0.0.0:8080")]
    pub listen: SocketAddr,

    /// The form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,

    /// What is logged, as `info` or `realtime_operator=debug,kube=warn`. kube's own line for each failed try of a request
    /// names no cause, and is off: who made the request tells what came of it.
    #[arg(
        long,
        env = "RUST_LOG",
        default_value = "info,kube=warn,kube_client::client::builder=off"
    )]
    pub log: String,
}

/// The form of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        use clap::CommandFactory as _;
        Args::command().debug_assert();
    }

    #[test]
    fn leader_election_is_on_unless_told_otherwise() {
        assert!(Args::parse_from(["x"]).leader_elect);
        assert!(!Args::parse_from(["x", "--leader-elect=false"]).leader_elect);
        assert!(Args::parse_from(["x", "--leader-elect"]).leader_elect);
    }
}
