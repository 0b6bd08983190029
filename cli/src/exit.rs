//! The exit codes, in one place: what scripts rely on. Documented in `--help`.

use std::process::ExitCode;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done; for `plan`: nothing would change; for `watch`: the pool is real-time; for `why`: the pod is.
    Success,
    /// An error, an invalid profile, a rollout that is stuck, or a pod that lacks something.
    Failure,
    /// Only `plan`: something would change. (clap's usage errors also end with 2.)
    Changes,
    /// Ended by Ctrl-C: 128 + SIGINT, as shells count.
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Failure => 1,
            Exit::Changes => 2,
            Exit::Interrupted => 130,
        })
    }
}
