//! What happens to groups: inotify on the pods' group, the classes' and the asking pods' own. Tells; reads and decides
//! nothing. What it misses, the next whole round finds.

use std::collections::{BTreeMap, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::host::Host;

/// As many groups are watched, each about a KB of kernel memory.
const MAX_WATCHES: usize = 8192;
/// As many events are read at once, and a buffer full more.
const TURN: usize = 1024;
/// The file whose foreign writes matter.
const RUNTIME: &str = "cpu.rt_runtime_us";
/// Version 2: the kernel writes it when the first process comes and the last one goes.
const EVENTS: &str = "cgroup.events";

/// Who writes a group's files in a loop must not keep the daemon busy: after so many reads of a second there is a pause
/// before each. A hundred pods that start at once take about as many.
const READS_A_SECOND: u32 = 300;
const PAUSE: Duration = Duration::from_millis(50);

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// A group was made: its path from the mount.
    Made(String),
    /// A group is gone.
    Gone(String),
    /// A budget was written, by us or by somebody else.
    Written(String),
    /// A first process came, or the last one went.
    Populated(String),
    /// More than the kernel could tell.
    Lost,
}

/// The watches.
#[derive(Debug)]
pub struct Groups {
    inotify: Option<AsyncFd<OwnedFd>>,
    mount: String,
    by_number: BTreeMap<i32, String>,
    by_group: BTreeMap<String, i32>,
    waiting: VecDeque<Happened>,
    /// When this second of reading began, and how often was read in it.
    second: (Instant, u32),
    /// Not to be read before.
    pause: Option<Instant>,
    /// The last read ended before all was read.
    many: bool,
}

impl Groups {
    /// Of a hierarchy; nothing is watched yet. Inside of a tokio runtime only.
    pub fn new(mount: &str) -> Self {
        let made = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        // Deprecated for types that don't own what they say they are; an OwnedFd does. Its successor is `unsafe`.
        #[allow(deprecated)]
        let inotify = made.map_err(std::io::Error::from).and_then(AsyncFd::new);
        if let Err(error) = &inotify {
            tracing::warn!(%error, "no inotify: containers are found by the API's word only");
        }
        Self {
            inotify: inotify.ok(),
            mount: mount.trim_end_matches('/').to_owned(),
            by_number: BTreeMap::new(),
            by_group: BTreeMap::new(),
            waiting: VecDeque::new(),
            second: (Instant::now(), 0),
            pause: None,
            many: false,
        }
    }

    /// Watches a group; `false` when it isn't there. Cheap when it is watched already.
    pub fn watch(&mut self, host: &Host, group: &str) -> bool {
        if self.by_group.contains_key(group) {
            return true;
        }
        let Some(inotify) = &self.inotify else {
            return false;
        };
        if self.by_group.len() >= MAX_WATCHES {
            tracing::debug!(group, "not watched: there are too many");
            return false;
        }
        let flags = WatchFlags::CREATE
            | WatchFlags::DELETE
            | WatchFlags::MODIFY
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let path = host.path(&format!("{}{group}", self.mount));
        match inotify::add_watch(inotify.get_ref(), path, flags) {
            Ok(number) => {
                if let Some(before) = self.by_number.insert(number, group.to_owned()) {
                    self.by_group.remove(&before);
                }
                self.by_group.insert(group.to_owned(), number);
                true
            }
            Err(error) => {
                if error != Errno::NOENT {
                    tracing::debug!(%error, group, "not watched");
                }
                false
            }
        }
    }

    /// Whether a group is watched already.
    pub fn watches(&self, group: &str) -> bool {
        self.by_group.contains_key(group)
    }

    /// Stops watching all groups but those.
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        let Some(inotify) = &self.inotify else { return };
        let by_number = &mut self.by_number;
        self.by_group.retain(|group, number| {
            let kept = keep(group);
            if !kept {
                by_number.remove(number);
                // Gone with its group already, most often.
                let _ = inotify::remove_watch(inotify.get_ref(), *number);
            }
            kept
        });
    }

    /// What happened next. Nothing is lost when the future is dropped and asked for again.
    pub async fn next(&mut self) -> Happened {
        loop {
            if !self.waiting.is_empty() {
                // A storm of these must not keep the thread's other tasks from running, nor the loop's other ears from
                // hearing: tokio silences those of a task that never rests.
                tokio::task::consume_budget().await;
            }
            if let Some(happened) = self.waiting.pop_front() {
                return happened;
            }
            if let Err(error) = self.read().await {
                tracing::warn!(%error, "inotify is over: containers are found by the API's word only");
                self.inotify = None;
            }
        }
    }

    async fn read(&mut self) -> std::io::Result<()> {
        let Some(inotify) = &self.inotify else {
            return std::future::pending().await;
        };
        if let Some(pause) = self.pause {
            sleep_until(pause).await;
            self.pause = None;
        }
        let mut ready = inotify.readable().await?;
        let now = Instant::now();
        if now.duration_since(self.second.0) >= Duration::from_secs(1) {
            self.second = (now, 0);
        }
        self.second.1 += 1;
        if self.second.1 > READS_A_SECOND || self.many {
            self.pause = Some(now + PAUSE);
        }
        let mut buffer = [MaybeUninit::uninit(); 8192];
        let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
        let mut lost = false;
        let mut turns = 0;
        self.many = true;
        // Bounded: what makes groups without end is read in turns, each to the end of what the kernel has handed out.
        while turns < TURN || !reader.is_buffer_empty() {
            turns += 1;
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => {
                    ready.clear_ready();
                    self.many = false;
                    break;
                }
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                lost = true;
                continue;
            }
            if flags.contains(ReadFlags::IGNORED) {
                if let Some(group) = self.by_number.remove(&event.wd())
                    && self.by_group.get(&group) == Some(&event.wd())
                {
                    self.by_group.remove(&group);
                }
                continue;
            }
            let Some(group) = self.by_number.get(&event.wd()) else {
                continue;
            };
            let Some(name) = event.file_name().and_then(|name| name.to_str().ok()) else {
                continue;
            };
            let happened = if flags.contains(ReadFlags::ISDIR) {
                let path = format!("{}/{name}", group.trim_end_matches('/'));
                if flags.contains(ReadFlags::CREATE) {
                    Happened::Made(path)
                } else if flags.contains(ReadFlags::DELETE) {
                    Happened::Gone(path)
                } else {
                    continue;
                }
            } else if name == RUNTIME && flags.contains(ReadFlags::MODIFY) {
                Happened::Written(group.clone())
            } else if name == EVENTS && flags.contains(ReadFlags::MODIFY) {
                Happened::Populated(group.clone())
            } else {
                continue;
            };
            // A burst of the same is one.
            if self.waiting.back() != Some(&happened) {
                self.waiting.push_back(happened);
            }
        }
        if lost {
            // Ends of watches may be among it: a group that comes again under its name would never be watched.
            *self = Self::new(&self.mount);
            self.waiting.push_back(Happened::Lost);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_happens_to_groups_is_told_in_its_order() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("cpu/kubepods/pod1")).unwrap();
        std::fs::write(root.path().join("cpu/kubepods/cpu.rt_runtime_us"), "0").unwrap();
        let host = Host::new(root.path(), None);
        let mut groups = Groups::new("/cpu/");
        assert!(groups.watch(&host, "/kubepods") && groups.watch(&host, "/kubepods"));
        assert!(!groups.watch(&host, "/elsewhere"));
        std::fs::create_dir(root.path().join("cpu/kubepods/pod2")).unwrap();
        std::fs::write(root.path().join("cpu/kubepods/other"), "0").unwrap();
        std::fs::write(root.path().join("cpu/kubepods/cpu.rt_runtime_us"), "1").unwrap();
        std::fs::remove_dir(root.path().join("cpu/kubepods/pod2")).unwrap();
        let mut seen = Vec::new();
        while seen.len() < 3 {
            seen.push(groups.next().await);
        }
        assert_eq!(
            seen,
            [
                Happened::Made("/kubepods/pod2".to_owned()),
                Happened::Written("/kubepods".to_owned()),
                Happened::Gone("/kubepods/pod2".to_owned()),
            ]
        );
        // A group that comes again under the same name is watched anew.
        assert!(groups.watch(&host, "/kubepods/pod1"));
        std::fs::remove_dir(root.path().join("cpu/kubepods/pod1")).unwrap();
        assert_eq!(
            groups.next().await,
            Happened::Gone("/kubepods/pod1".to_owned())
        );
        std::fs::create_dir(root.path().join("cpu/kubepods/pod1")).unwrap();
        assert_eq!(
            groups.next().await,
            Happened::Made("/kubepods/pod1".to_owned())
        );
        assert!(groups.watch(&host, "/kubepods/pod1"));
        groups.retain(|group| group == "/kubepods");
        std::fs::create_dir(root.path().join("cpu/kubepods/pod1/c")).unwrap();
        std::fs::create_dir(root.path().join("cpu/kubepods/pod3")).unwrap();
        assert_eq!(
            groups.next().await,
            Happened::Made("/kubepods/pod3".to_owned())
        );
    }

    #[tokio::test]
    async fn no_event_of_a_long_burst_is_lost() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("kubepods")).unwrap();
        let host = Host::new(root.path(), None);
        let mut groups = Groups::new("/");
        assert!(groups.watch(&host, "/kubepods"));
        for number in 0..3000 {
            std::fs::create_dir(root.path().join(format!("kubepods/pod{number:040}"))).unwrap();
        }
        for number in 0..3000 {
            let made = Happened::Made(format!("/kubepods/pod{number:040}"));
            assert_eq!(groups.next().await, made);
        }
    }
}
