//! The command line's grammar. No behaviour.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand, ValueEnum};
use realtime_core::cluster;

const EXIT_CODES: &str = "\
Exit codes:
  0    done; `plan`: nothing would change; `watch`: the pool is real-time; `why`: the pod is
  1    an error, an invalid profile, a rollout that is stuck, or a pod that lacks something
  2    `plan`: something would change; every command: wrong usage
  130  ended by Ctrl-C";

/// Render, validate, plan and watch RealtimeProfiles; ask why a pod has no real-time scheduling.
#[derive(Debug, Parser)]
#[command(name = "oc realtime", bin_name = "oc realtime", version, about, after_help = EXIT_CODES)]
pub struct Args {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print the three CRDs.
    Crds(CrdsArgs),
    /// Print the objects that the operator would apply, byte for byte, without a cluster.
    Render(RenderArgs),
    /// Tell every problem of every profile at once, without a cluster.
    Validate(ValidateArgs),
    /// Tell what applying the profiles would change on a cluster: objects, reboots, conflicts. Changes nothing.
    Plan(PlanArgs),
    /// Show a rollout as it happens, until the pool is real-time or stuck.
    Watch(WatchArgs),
    /// Tell why a pod has or has not real-time scheduling: what it asks for, what it has, and what stands in its way.
    Why(WhyArgs),
    /// Print the generated reference of the profile's fields.
    #[command(hide = true)]
    Reference,
}

/// `oc realtime crds`.
#[derive(Debug, clap::Args)]
pub struct CrdsArgs {
    /// Write one file a CRD into this directory; `-` prints all of them.
    #[arg(short, long, value_name = "DIR", default_value = "-")]
    pub output: PathBuf,
}

/// What offline commands read.
#[derive(Debug, clap::Args)]
pub struct InputArgs {
    /// Profiles, and the objects that they depend on as `oc get nodes,mcp -o yaml` prints them; `-` is stdin.
    /// May be given several times; a file may hold several documents.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// How the cluster's MachineConfigs select the kernel.
    #[arg(long, value_enum, default_value_t = Dialect::KernelType)]
    pub dialect: Dialect,
}

/// How a MachineConfig selects the kernel.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Dialect {
    /// `kernelType: realtime` (OpenShift 4.4 to today).
    #[value(name = "kernelType", alias = "kerneltype")]
    KernelType,
    /// `realtime: true` (the first draft of the feature).
    #[value(name = "realtime")]
    Realtime,
    /// Neither: the kernel is the node daemon's.
    #[value(name = "none")]
    None,
}

impl From<Dialect> for cluster::Dialect {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::KernelType => Self::KernelType,
            Dialect::Realtime => Self::Realtime,
            Dialect::None => Self::None,
        }
    }
}

/// `oc realtime render`.
#[derive(Debug, clap::Args)]
pub struct RenderArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// Write one file an object into this directory, all or none; `-` prints them.
    #[arg(short, long, value_name = "DIR", default_value = "-")]
    pub output: PathBuf,
}

/// `oc realtime validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// What to read.
    #[command(flatten)]
    pub input: InputArgs,
    /// For people, or for scripts.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
}

/// For people, or for scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Lines.
    Text,
    /// One JSON object.
    Json,
}

/// Which cluster.
#[derive(Debug, clap::Args)]
pub struct ClusterArgs {
    /// The kubeconfig. Default: as `oc`, KUBECONFIG or ~/.kube/config.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context in it. Default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
}

/// `oc realtime plan`.
#[derive(Debug, clap::Args)]
pub struct PlanArgs {
    /// Profiles; `-` is stdin. May be given several times; a file may hold several documents.
    #[arg(short, long = "filename", value_name = "FILE", required = true)]
    pub files: Vec<PathBuf>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
    /// For people, or for scripts.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Without the diff of each object.
    #[arg(long)]
    pub brief: bool,
}

/// `oc realtime watch`.
#[derive(Debug, clap::Args)]
pub struct WatchArgs {
    /// The RealtimeProfile.
    pub name: String,
    /// Give up after this time, as `90s`, `30m` or `2h`. Default: never.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `oc realtime why`.
#[derive(Debug, clap::Args)]
pub struct WhyArgs {
    /// The pod, as NAMESPACE/POD or POD.
    #[arg(value_name = "[NAMESPACE/]POD")]
    pub pod: String,
    /// Its namespace. Default: the context's.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// For people, or for scripts.
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    pub output: Format,
    /// Which cluster.
    #[command(flatten)]
    pub cluster: ClusterArgs,
}

/// `1h30m`, `90s`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no time: write it as 90s, 30m, 2h or 1h30m");
    let mut seconds: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest
            .find(|next: char| !next.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let number: u64 = number.parse().map_err(|_| wrong())?;
        let (unit, next) = match tail.chars().next() {
            None => (1, tail),
            Some('s') => (1, &tail[1..]),
            Some('m') => (60, &tail[1..]),
            Some('h') => (3600, &tail[1..]),
            Some(_) => return Err(wrong()),
        };
        seconds = number
            .checked_mul(unit)
            .and_then(|part| seconds.checked_add(part))
            .ok_or_else(wrong)?;
        rest = next;
    }
    // A year is longer than any rollout, and keeps every later sum in range.
    if seconds == 0 || seconds > 31_536_000 {
        return Err(wrong());
    }
    Ok(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_consistent() {
        <Args as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn times() {
        for (text, seconds) in [("90s", 90), ("30m", 1800), ("1h30m", 5400), ("7", 7)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for wrong in [
            "",
            "0s",
            "-1s",
            "1d",
            "m",
            "99999999999999999999h",
            "ä",
            "1.5h",
            "9999999h",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
