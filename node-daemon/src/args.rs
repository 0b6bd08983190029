//! The command line. Parses; starts nothing.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};

/// Makes this node run the kernel that its RealtimeNode says, and proves what the node is.
///
/// Without a command: the daemon, in a DaemonSet or as a systemd service. The commands `status`, `plan`, `audit` and `top`
/// look at this host only: they need no cluster and change nothing.
///
/// Exit codes: 0 done (plan: nothing to do; audit: no drift); 1 an error; 2 plan: something would be done, audit:
/// something differs (also a wrong command line); 3 this host is none that the command can look at; 78 the configuration
/// is wrong; 130 interrupted.
#[derive(Debug, Parser)]
#[command(name = "realtime-node-daemon", version)]
pub struct Args {
    /// The configuration file. Needed without a cluster, optional with one; an rt-operator.yaml is accepted as it is.
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// A kubeconfig file. Without it: kube_path of the configuration, $KUBECONFIG, or the pod's service account.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,

    /// This node's name in the cluster. Default: node_name of the configuration, or the host's name.
    #[arg(long, env = "NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,

    /// Where the host's `/` is: `/host` in the DaemonSet's container. Default: `root` of the configuration, or `/`.
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub root: Option<PathBuf>,

    /// Run programs out of this directory and not the host's own. For tests and the sandbox.
    #[arg(long, value_name = "DIRECTORY", global = true)]
    pub commands: Option<PathBuf>,

    /// The form of the log.
    #[arg(long, value_enum, default_value_t = LogFormat::Text, global = true)]
    pub log_format: LogFormat,

    /// What is logged, as `info` or `realtime_node_daemon=debug,kube=warn`. Default: log_level of the configuration.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", global = true)]
    pub log: Option<String>,

    /// Serve metrics for Prometheus at http://IP:PORT/metrics, without encryption and to everybody who reaches it.
    /// Default: don't.
    #[arg(long, value_name = "IP:PORT")]
    pub metrics_address: Option<SocketAddr>,

    /// What to do instead of running as the daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// What can be asked on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// The running kernel, the deployments, what the daemon wrote down, and where the node is on its way.
    Status {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// The steps that the daemon would take from here, each with its command line. Nothing is changed.
    Plan {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Where this host differs from what `node:` in the configuration says.
    Audit {
        /// One JSON object instead of text.
        #[arg(long)]
        json: bool,
    },
    /// Each real-time thread in pods' groups: policy, priority, CPU, the share that it uses, and its group's budget.
    Top {
        /// Print one table, over one interval, and end.
        #[arg(long)]
        once: bool,
        /// Between two looks, as 500ms, 1s or 1m: 100ms to 1h.
        #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
        interval: Duration,
        /// JSON instead of text: one object a line, with --once one object.
        #[arg(long)]
        json: bool,
    },
}

/// `500ms`, `2s`, `1m`.
fn interval(text: &str) -> Result<Duration, String> {
    let digits = text
        .find(|next: char| !next.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    number
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(unit))
        .filter(|milliseconds| (100..=3_600_000).contains(milliseconds))
        .map(Duration::from_millis)
        .ok_or_else(|| format!("{text:?} is no time from 100ms to 1h: write it as 500ms, 1s or 1m"))
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
    fn a_command_takes_the_options_that_matter_to_it() {
        let args = Args::parse_from(["x", "plan", "--json", "--root", "/host", "--config", "c"]);
        assert_eq!(args.command, Some(Command::Plan { json: true }));
        assert_eq!(args.root, Some("/host".into()));
        assert!(Args::try_parse_from(["x", "paln"]).is_err());
    }

    #[test]
    fn intervals() {
        for (text, milliseconds) in [
            ("100ms", 100),
            ("1s", 1_000),
            ("60m", 3_600_000),
            ("1h", 3_600_000),
        ] {
            assert_eq!(
                interval(text),
                Ok(Duration::from_millis(milliseconds)),
                "{text}"
            );
        }
        for wrong in [
            "",
            "1",
            "s",
            "0s",
            "99ms",
            "2h",
            "-1s",
            "1.5s",
            "99999999999999999999s",
            "1 s",
            "1ä",
        ] {
            assert!(interval(wrong).is_err(), "{wrong}");
        }
    }
}
