//! The command line's grammar. No behaviour.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EXIT_CODES: &str = "\
Exit codes:
  0    done; `plan`: nothing would change; `watch`: the pool is real-time
  1    an error, an invalid profile, or a rollout that is stuck
  2    `plan`: something would change; every command: wrong usage
  130  ended by Ctrl-C";

/// Render, validate, plan and watch RealtimeProfiles.
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
}

/// `oc realtime crds`.
#[derive(Debug, clap::Args)]
pub struct CrdsArgs {
    /// Write one file a CRD into this directory; `-` prints all of them.
    #[arg(short, long, value_name = "DIR", default_value = "-")]
    pub output: PathBuf,
}
