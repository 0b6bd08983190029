//! Takes budgets back when nobody gives any more: the profile is gone, or its podBudget. Threads that run real-time keep
//! theirs until they end; what the groups above them have goes as well, so that nothing is left on the node.
//!
//! That budgets are ours to take back is the one thing that the kernel's files don't tell: a mark on the host does, for the
//! daemon that comes after this one. Another's budgets, where no daemon of ours ever gave any, are left alone.

use std::time::Duration;

use realtime_core::names::BUDGETS_GIVEN;
use realtime_core::rt::modes::ModeSetting;
use realtime_core::rt::plan::{self, Wanted};
use tokio::time::Instant;

use super::ground::{Ground, Hierarchy};
use super::settings::Settings;
use crate::cgroup::{Scope, writer};
use crate::host::Host;

/// Between two tries while something is left.
const AGAIN: Duration = Duration::from_secs(10);
/// While it can't be seen what is left, as without a kubelet.
const LOOK: Duration = Duration::from_mins(1);

/// Marks that budgets are about to be given here.
pub fn mark(host: &Host) {
    if is_marked(host) {
        return;
    }
    if let Err(error) = host.write_atomically(BUDGETS_GIVEN, b"") {
        tracing::warn!(%error, "should this daemon die before it takes pods' budgets back, the next one won't do it either");
    }
}

/// Whether a daemon has given budgets here that none has taken back.
fn is_marked(host: &Host) -> bool {
    host.exists(BUDGETS_GIVEN)
}

/// What is still to be taken back, and when that is tried.
#[derive(Debug)]
pub struct Owed {
    /// What was stood on when something was set last.
    on: Option<(Ground, Box<Settings>)>,
    next: Option<Instant>,
}

/// What one try has come to.
enum Left {
    Nothing,
    Something,
    /// It can't be seen.
    Unknown,
}

impl Owed {
    /// A daemon begins: one before it may have left something.
    pub fn new() -> Self {
        Self {
            on: None,
            next: Some(Instant::now()),
        }
    }

    /// So far, pods were given something.
    pub fn since(ground: Ground, settings: Box<Settings>) -> Self {
        Self {
            on: Some((ground, settings)),
            next: Some(Instant::now()),
        }
    }

    /// When it is tried again; `None`: nothing is owed.
    pub fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Takes back what can be, if the time for it has come. Nobody gives anything at this moment.
    pub async fn take_back(&mut self, host: &Host, setting: ModeSetting, pods_group: Option<&str>) {
        if self.next.is_none_or(|next| next > Instant::now()) {
            return;
        }
        self.next = None;
        let (ground, settings) = match self.on.take() {
            Some(on) => on,
            None if is_marked(host) => {
                let settings = Box::new(Settings::nothing(setting));
                (Ground::look(host, &settings, pods_group).await, settings)
            }
            None => return,
        };
        let wait = match pass(host, &ground, &settings) {
            Left::Something => {
                self.on = Some((ground, settings));
                AGAIN
            }
            Left::Unknown if is_marked(host) => LOOK,
            Left::Unknown => return,
            Left::Nothing => match host.remove(BUDGETS_GIVEN) {
                Ok(()) => return,
                Err(error) => {
                    tracing::warn!(%error, "pods' budgets are taken back, and will be looked for again");
                    LOOK
                }
            },
        };
        self.next = Some(Instant::now() + wait);
    }
}

fn pass(host: &Host, ground: &Ground, settings: &Settings) -> Left {
    let (Some(Hierarchy::V1(v1)), Some(pods_group)) = (&ground.hierarchy, &ground.pods_group)
    else {
        return Left::Unknown;
    };
    if !ground.has_budgets() {
        return Left::Unknown;
    }
    let tree = match ground.read(Scope::Whole) {
        Ok(tree) if tree.groups.contains_key(pods_group) => tree,
        Ok(_) => return Left::Unknown,
        Err(error) => {
            tracing::warn!(%error, "the groups can't be read");
            return Left::Something;
        }
    };
    // Nobody is wanted to have anything.
    let wanted = Wanted {
        complete: true,
        ..Wanted::default()
    };
    let plan = plan::plan(&wanted, &tree, &ground.limits(host, settings));
    let failed = writer::apply_each(v1, &plan.writes);
    for (_, error) in &failed {
        tracing::debug!(%error, "not taken back yet");
    }
    if !plan.writes.is_empty() {
        tracing::info!(left = plan.allocated_us, "pods' budgets are taken back");
    }
    if plan.allocated_us > 0 || !failed.is_empty() {
        Left::Something
    } else {
        Left::Nothing
    }
}
