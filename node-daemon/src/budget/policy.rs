//! Sets policy, priority and limits on all threads of a container, each thread once, and measures what its real-time
//! threads use. Never touches a thread outside of the container's group: what was hit by mistake, because an id was given
//! to another thread in between, gets back what it had.
//!
//! The work of a call is bounded, so that a pod that makes threads without end holds nobody up: the next call goes on.

mod limits;
mod sample;

use std::collections::{BTreeSet, HashMap};
use std::io;

use realtime_core::rt::policy::{Found, Memory, Origin, target};
use realtime_core::rt::request::{Policy, Scheduling};

use crate::cgroup::{CgroupError, V1, V2};
use crate::host::Host;
use crate::sched::{self, Attributes, Kind};
pub use limits::{Limit, LimitsSet};
pub use sample::sample;

/// Threads that are looked at in one call, 50 µs each.
pub const THREADS_A_CALL: usize = 256;
/// Lists of a group's threads in one call: each finds those that were made while the last one was worked through.
const PASSES: usize = 8;
/// crun puts a container's processes here, below the container's own group.
const CRUN_BELOW: &str = "container";
/// Groups below a container's that are looked into, parents first: systemd in a container makes some tens.
pub const GROUPS_BELOW: usize = 128;

/// Whose threads are whose; the hierarchies tell.
pub trait Members {
    /// The threads directly in a group; none when it isn't there.
    fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError>;
    /// The processes directly in a group; none when it isn't there.
    fn processes(&self, group: &str) -> Result<Vec<i32>, CgroupError>;
    /// The group of a thread; `None` when it is gone.
    fn group_of(&self, tid: i32) -> Result<Option<String>, CgroupError>;
    /// The groups below a container's whose threads may be real-time, as many as are looked into, and whether there are more.
    /// With budgets that is crun's alone: a group that the container makes itself has none.
    fn below(&self, group: &str) -> Result<(Vec<String>, bool), CgroupError> {
        Ok((vec![format!("{group}/{CRUN_BELOW}")], false))
    }
}

impl Members for V1 {
    fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        V1::threads(self, group)
    }

    fn processes(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        V1::processes(self, group)
    }

    fn group_of(&self, tid: i32) -> Result<Option<String>, CgroupError> {
        V1::group_of(self, tid)
    }

    fn below(&self, group: &str) -> Result<(Vec<String>, bool), CgroupError> {
        if self.has_budgets() {
            return Ok((vec![format!("{group}/{CRUN_BELOW}")], false));
        }
        V1::first_below(self, group, GROUPS_BELOW)
    }
}

impl Members for V2 {
    fn threads(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        V2::threads(self, group)
    }

    fn processes(&self, group: &str) -> Result<Vec<i32>, CgroupError> {
        match V2::processes(self, group) {
            // A threaded group: the processes are those of the group above it.
            Err(error) if error.errno() == Some(libc::EOPNOTSUPP) => Ok(Vec::new()),
            other => other,
        }
    }

    fn group_of(&self, tid: i32) -> Result<Option<String>, CgroupError> {
        V2::group_of(self, tid)
    }

    fn below(&self, group: &str) -> Result<(Vec<String>, bool), CgroupError> {
        V2::first_below(self, group, GROUPS_BELOW)
    }
}

/// What became of a call.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Threads whose policy was set in this call.
    pub threads_set: usize,
    /// The first thing that didn't succeed. Threads that end meanwhile are no failure.
    pub failed: Option<Failed>,
    /// Each limit that was asked for, over all processes so far.
    pub limits: LimitsSet,
    /// Its own groups are so many that threads in some of them are not looked at.
    pub groups_left_out: bool,
    /// Every thread that is looked at is set. Otherwise the next call goes on: there are more, or something failed.
    pub complete: bool,
}

/// What didn't succeed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {}", .errno.map_or_else(|| "no number was given".to_owned(), |errno| io::Error::from_raw_os_error(errno).to_string()))]
pub struct Failed {
    /// In words.
    pub what: String,
    /// The kernel's number, where it said one. EPERM (1): the daemon lacks CAP_SYS_NICE, or the group has no budget.
    pub errno: Option<i32>,
}

/// Sets policies, and remembers on which threads it did.
#[derive(Debug, Default)]
pub struct Setter {
    containers: HashMap<String, Container>,
}

#[derive(Debug, Default)]
struct Container {
    memory: Memory,
    limits: LimitsSet,
    /// Threads that were taken over and have another policy than the one that is asked for, until they are set.
    other: BTreeSet<u32>,
    /// From where on known threads are looked at again.
    next: u32,
}

/// One call for one container.
struct Call<'a> {
    host: &'a Host,
    members: &'a dyn Members,
    group: &'a str,
    scheduling: &'a Scheduling,
    /// How many more threads may be looked at.
    left: usize,
    outcome: Outcome,
}

/// What became of a thread.
enum Done {
    Set,
    /// It had it already, or is to be left alone.
    Unchanged,
    Gone,
    Failed,
}

impl Setter {
    /// Sets what a container asks for on its threads, in its group and those below it ([`Members::below`]).
    ///
    /// New threads are set as well. With reset-on-fork, which asks for children that begin as SCHED_OTHER, only those that
    /// come from outside of the container are: what its own threads make after a first complete call stays what it is.
    pub fn set(
        &mut self,
        host: &Host,
        members: &dyn Members,
        group: &str,
        scheduling: &Scheduling,
    ) -> Outcome {
        let container = self.containers.entry(group.to_owned()).or_default();
        if container.memory.begin(scheduling) {
            container.limits = LimitsSet::default();
        }
        let mut call = Call {
            host,
            members,
            group,
            scheduling,
            left: THREADS_A_CALL,
            outcome: Outcome::default(),
        };
        call.threads(container);
        limits::set(&mut call, container);
        call.outcome.limits = container.limits;
        call.outcome
    }

    /// Forgets the containers that aren't there any more.
    pub fn keep(&mut self, is_there: impl Fn(&str) -> bool) {
        self.containers.retain(|group, _| is_there(group));
    }
}

impl Call<'_> {
    fn threads(&mut self, container: &mut Container) {
        let mut tried = BTreeSet::new();
        for _ in 0..PASSES {
            let Some(listed) = self.listed("the threads", |members, group| members.threads(group))
            else {
                return;
            };
            container.memory.keep_threads(&listed);
            let is_there = |tid: &u32| listed.binary_search(tid).is_ok();
            container.other.retain(is_there);
            self.take_over(container, &listed);
            let unknown = container.memory.unknown(&listed);
            let new: Vec<u32> = unknown
                .filter(|tid| !tried.contains(tid))
                .take(self.left)
                .collect();
            if new.is_empty() {
                if self.left > 0 && self.outcome.failed.is_none() {
                    container.memory.settle();
                    self.outcome.complete = true;
                    self.again(container, &listed);
                }
                return;
            }
            for tid in new {
                tried.insert(tid);
                self.thread(container, tid);
            }
        }
    }

    /// With reset-on-fork, what was done before, by a former daemon or as was asked for earlier, is known by a thread with that
    /// flag. The kernel takes it from the threads that such a thread makes, and their policy: these are meant to begin as
    /// SCHED_OTHER, and are left alone. What came from outside meanwhile is set yet, and what has another policy.
    fn take_over(&self, container: &mut Container, listed: &[u32]) {
        let Container { memory, other, .. } = container;
        if !memory.is_empty() || !self.scheduling.reset_on_fork {
            return;
        }
        let has = |tid: u32| sched::get(i32::try_from(tid).ok()?).ok();
        let is_mark =
            |tid: &u32| has(*tid).is_some_and(|has| has.reset_on_fork) && self.is_member(*tid);
        if !listed.iter().any(is_mark) {
            return;
        }
        let is_known = |id| listed.binary_search(&id).is_ok();
        let from_inside = |tid| {
            self.origin(tid)
                .is_some_and(|origin| is_known(origin.maker()))
        };
        *other = BTreeSet::new();
        for (number, tid) in listed.iter().copied().enumerate() {
            let Some(has) = has(tid) else { continue };
            let is_done = has.are(self.scheduling);
            if !is_done && (has.is_realtime() || has.reset_on_fork) {
                other.insert(tid);
            } else if number < THREADS_A_CALL
                && (is_done || from_inside(tid))
                && let Some(found) = found(self.host, tid)
            {
                memory.thread(tid, found.start);
            }
        }
        memory.settle();
    }

    /// Known ids may be other threads' by now. With more of them than one call may look at, a later call goes on.
    fn again(&mut self, container: &mut Container, listed: &[u32]) {
        let from = listed.partition_point(|tid| *tid < container.next);
        let (before, after) = listed.split_at(from);
        let mut rest = after.iter().chain(before);
        for tid in rest.by_ref().take(self.left) {
            self.thread(container, *tid);
        }
        container.next = rest.next().copied().unwrap_or_default();
    }

    /// Sorted, of all its groups. `None` when it failed.
    fn listed(
        &mut self,
        what: &str,
        list: impl Fn(&dyn Members, &str) -> Result<Vec<i32>, CgroupError>,
    ) -> Option<Vec<u32>> {
        let mut listed = Vec::new();
        let below = match self.members.below(self.group) {
            Ok((below, more)) => {
                self.outcome.groups_left_out |= more;
                below
            }
            Err(error) => {
                self.failed(
                    &format!("listing the groups below {}", self.group),
                    error.errno(),
                );
                return None;
            }
        };
        for group in std::iter::once(self.group.to_owned()).chain(below) {
            match list(self.members, &group) {
                // Processes of another PID namespace have no number here.
                Ok(ids) => listed.extend(ids.iter().filter_map(|id| u32::try_from(*id).ok())),
                Err(error) => {
                    self.failed(&format!("listing {what} of {group}"), error.errno());
                    return None;
                }
            }
        }
        listed.retain(|id| *id > 0);
        listed.sort_unstable();
        listed.dedup();
        Some(listed)
    }

    fn thread(&mut self, container: &mut Container, tid: u32) {
        let Container { memory, other, .. } = container;
        self.left = self.left.saturating_sub(1);
        let Some(found) = found(self.host, tid).filter(|_| self.is_member(tid)) else {
            return;
        };
        if memory.has_thread(tid, found.start) {
            return;
        }
        let done = if !other.contains(&tid) && self.is_left(memory, tid) {
            Done::Unchanged
        } else {
            self.one(tid, &found)
        };
        match done {
            Done::Gone | Done::Failed => return,
            Done::Set => self.outcome.threads_set += 1,
            Done::Unchanged => {}
        }
        other.remove(&tid);
        if !memory.thread(tid, found.start) {
            self.outcome.complete = false;
            self.failed("remembering a thread: there are too many", None);
        }
    }

    /// Asked of new ones only, and only where it matters.
    fn is_left(&self, memory: &Memory, tid: u32) -> bool {
        memory.leaves_what_is_made_inside()
            && self
                .origin(tid)
                .is_some_and(|origin| memory.leaves(&origin))
    }

    fn origin(&self, tid: u32) -> Option<Origin> {
        let text = self.host.read(&format!("/proc/{tid}/status")).ok()?;
        Origin::parse(&text)
    }

    fn one(&mut self, tid: u32, found: &Found) -> Done {
        let Some(policy) = target(self.scheduling, found) else {
            return Done::Unchanged;
        };
        let wanted = Scheduling {
            policy,
            ..*self.scheduling
        };
        let Ok(id) = i32::try_from(tid) else {
            return Done::Gone;
        };
        let before = match sched::get(id) {
            Ok(before) if before.are(&wanted) => return Done::Unchanged,
            Ok(before) => before,
            Err(error) => return self.refused(&error, "reading a thread's policy"),
        };
        if let Err(error) = sched::set(id, &wanted) {
            return self.refused(&error, &format!("setting {wanted} on a thread"));
        }
        match self::found(self.host, tid) {
            Some(now) if now.start == found.start && self.is_member(tid) => Done::Set,
            None => Done::Gone,
            Some(now) => {
                // One that ends is in no group any more.
                if now.start != found.start || !now.exiting {
                    tracing::warn!(
                        tid,
                        group = self.group,
                        "a thread of somebody else's gets back what it had"
                    );
                }
                if let Err(error) = sched::set(id, &as_before(&before)) {
                    return self.refused(&error, "giving back what a thread had");
                }
                Done::Gone
            }
        }
    }

    fn refused(&mut self, error: &io::Error, what: &str) -> Done {
        if error.raw_os_error() == Some(libc::ESRCH) {
            return Done::Gone;
        }
        self.outcome.complete = false;
        self.failed(what, error.raw_os_error());
        Done::Failed
    }

    fn failed(&mut self, what: &str, errno: Option<i32>) {
        self.outcome.failed.get_or_insert_with(|| Failed {
            what: what.to_owned(),
            errno,
        });
    }

    /// In the group, or below it.
    fn is_member(&self, tid: u32) -> bool {
        let Ok(tid) = i32::try_from(tid) else {
            return false;
        };
        let Ok(Some(group)) = self.members.group_of(tid) else {
            return false;
        };
        group
            .strip_prefix(self.group)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

/// `None` when it is gone.
fn found(host: &Host, tid: u32) -> Option<Found> {
    let text = host.read(&format!("/proc/{tid}/stat")).ok()?;
    Found::parse(&text)
}

/// What is no real-time policy comes back as SCHED_OTHER: that is what nearly every thread has.
fn as_before(before: &Attributes) -> Scheduling {
    let priority = u8::try_from(before.priority).unwrap_or(1);
    Scheduling {
        policy: match before.policy {
            Kind::Fifo => Policy::Fifo(priority),
            Kind::RoundRobin => Policy::RoundRobin(priority),
            _ => Policy::Other,
        },
        reset_on_fork: before.reset_on_fork,
        rttime_us: None,
    }
}
