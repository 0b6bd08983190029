//! What shall go wrong, and how often. Data only.

use serde::{Deserialize, Serialize};

use super::state::State;

/// A step of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// While packages are downloaded: leaves them damaged in the cache.
    Download,
    /// While the initramfs is built: leaves nothing.
    Initramfs,
    /// Right after staging: the deployment is there.
    Staged,
}

/// Something that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// rpm-ostreed is killed at this step: `Bus owner changed`, rc 1.
    DaemonDies(Step),
    /// The transaction fails at this step with this text (without `error: `); after `staged` the deployment is there.
    Fails {
        /// Where.
        at: Step,
        /// The text.
        message: String,
    },
    /// Dependencies can't be solved: the text after `Could not depsolve transaction; 1 problem detected:`.
    Depsolve(String),
    /// A package of this name isn't found in any repository.
    PackageNotFound(String),
    /// The removal of this base package is recorded and not applied, with rc 0.
    InactiveRemoval(String),
    /// Finalization at the next orderly shutdown fails with this text.
    FinalizeFails(String),
    /// A kernel of this release does not come up; `realtime` is any realtime kernel.
    KernelDoesNotBoot(String),
    /// rpm-ostreed can't be started; what systemd prints on stderr.
    DaemonCannotStart(String),
    /// The sysroot's lock is held by another program: `System transaction in progress`.
    SysrootLocked,
    /// `LockLayering=true` in rpm-ostreed.conf.
    LockLayering,
    /// A block-mode shutdown inhibitor is held: who, and why.
    Inhibitor(String, String),
}

/// How often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Times {
    /// The next so many times that it could happen.
    Next(u32),
    /// Until it is cleared.
    Always,
}

/// A fault that is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ActiveFault {
    /// What.
    pub fault: Fault,
    /// How often still.
    pub times: Times,
}

impl State {
    /// Finds a set fault by what `pick` makes of it, and uses it up once.
    pub(super) fn take_fault<T>(&mut self, pick: impl Fn(&Fault) -> Option<T>) -> Option<T> {
        let (index, found) = self
            .faults
            .iter()
            .enumerate()
            .find_map(|(index, active)| pick(&active.fault).map(|found| (index, found)))?;
        if let Some(active) = self.faults.get_mut(index) {
            match &mut active.times {
                Times::Always => {}
                Times::Next(left) if *left > 1 => *left -= 1,
                Times::Next(_) => {
                    self.faults.remove(index);
                }
            }
        }
        Some(found)
    }
}
