//! When to look again: inotify, the kernel's messages about CPUs, and a slow interval for what has neither. Looks at
//! nothing itself. What can't be watched here is left to the interval, and said once.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::Duration;

use realtime_core::host_facts::Files;
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType, bind, recv, socket_with};
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, sleep_until};

use crate::host::Host;

/// For what nothing tells of. Each look costs some milliseconds of a reserved CPU.
pub const INTERVAL: Duration = Duration::from_mins(5);
/// Changes come in bursts: a TuneD profile writes dozens of files, irqbalance moves many interrupts.
const SETTLE: Duration = Duration::from_millis(500);
/// Between two looks because of events, so that a program that writes all the time doesn't keep the daemon busy.
const GAP: Duration = Duration::from_secs(10);
/// As many folders as are watched, each about a KB of kernel memory: interrupts are most of them.
const MAX_WATCHES: usize = 2048;
/// Where TuneD keeps the name of the active profile. Its whole folder matters: the file may not be there yet.
const TUNED: &str = "/etc/tuned";
/// Kernel messages of this group come from the kernel itself (2 is udev's).
const KERNEL_GROUP: u32 = 1;

/// Why to look again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trigger {
    /// A CPU came or went: the facts are to be read again, too.
    Cpu,
    /// A file that the last audit read was written.
    Written(String),
    /// Time.
    Interval,
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("a CPU came or went"),
            Self::Written(path) => write!(f, "{path} was written"),
            Self::Interval => f.write_str("a while has passed"),
        }
    }
}

/// Everything that tells.
#[derive(Debug)]
pub struct Triggers {
    writes: Option<AsyncFd<OwnedFd>>,
    messages: Option<AsyncFd<OwnedFd>>,
    /// Folders by the number of their watch.
    folders: BTreeMap<i32, String>,
    /// The files that matter in them.
    files: BTreeSet<String>,
    interval: Duration,
    gap: Duration,
    last: Instant,
    /// Seen, and not told yet.
    pending: Option<(Trigger, Instant)>,
}

impl Triggers {
    /// Inside of a tokio runtime only. Never fails: without anything to watch there is the interval.
    pub fn new(interval: Duration) -> Self {
        let writes = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC);
        Self {
            writes: registered("inotify", writes),
            messages: registered("netlink", kernel_messages()),
            folders: BTreeMap::new(),
            files: BTreeSet::new(),
            interval,
            gap: GAP,
            last: Instant::now(),
            pending: None,
        }
    }

    /// Another time between two looks because of events than ten seconds.
    #[must_use]
    pub fn with_gap(self, gap: Duration) -> Self {
        Self { gap, ..self }
    }

    /// Watches the folders of the files that an audit has read. Cheap when it is watching them already.
    pub fn watch(&mut self, host: &Host, files: &Files) {
        let Some(inotify) = &self.writes else { return };
        let mut wanted: Vec<&str> = files
            .iter()
            .filter_map(|(path, _)| path.rsplit_once('/'))
            .map(|(folder, _)| folder)
            .filter(|folder| is_written(folder))
            .collect();
        wanted.push(TUNED);
        wanted.sort_unstable();
        wanted.dedup();
        let flags = WatchFlags::MODIFY
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::ONLYDIR;
        for folder in wanted.into_iter().take(MAX_WATCHES) {
            match inotify::add_watch(inotify.get_ref(), host.path(folder), flags) {
                Ok(number) => {
                    self.folders.insert(number, folder.to_owned());
                }
                Err(Errno::NOENT) => {}
                Err(error) => {
                    tracing::debug!(%error, folder, "not watched: the interval has to do");
                }
            }
        }
        self.files = files
            .iter()
            .filter(|(path, _)| {
                path.rsplit_once('/')
                    .is_some_and(|(folder, _)| is_written(folder))
            })
            .map(|(path, _)| path.to_owned())
            .collect();
    }

    /// The next reason to look again. Nothing is lost when the future is dropped and asked for again.
    pub async fn next(&mut self) -> Trigger {
        loop {
            let wake = match &self.pending {
                Some((_, due)) => *due,
                None => self.last + self.interval,
            };
            tokio::select! {
                () = sleep_until(wake) => {
                    self.last = Instant::now();
                    return self.pending.take().map_or(Trigger::Interval, |(trigger, _)| trigger);
                }
                seen = written(self.writes.as_ref(), &self.folders, &self.files) => {
                    match seen {
                        Ok(Some(path)) => self.remember(Trigger::Written(path)),
                        Ok(None) => {}
                        Err(error) => {
                            tracing::warn!(%error, "inotify is over: the interval has to do");
                            self.writes = None;
                        }
                    }
                }
                seen = cpu_message(self.messages.as_ref()) => {
                    match seen {
                        Ok(true) => self.remember(Trigger::Cpu),
                        Ok(false) => {}
                        Err(error) => {
                            tracing::warn!(%error, "the kernel's messages are over: the interval has to do");
                            self.messages = None;
                        }
                    }
                }
            }
        }
    }

    /// The first one's time holds, so that a stream of events can't put it off for ever; a CPU outweighs a file.
    fn remember(&mut self, trigger: Trigger) {
        let now = Instant::now();
        match &mut self.pending {
            Some((known, _)) if trigger == Trigger::Cpu => *known = trigger,
            Some(_) => {}
            None => self.pending = Some((trigger, (now + SETTLE).max(self.last + self.gap))),
        }
    }
}

// Deprecated for types that don't own what they say they are; an OwnedFd does. Its successor is `unsafe`.
#[allow(deprecated)]
fn registered(what: &str, fd: rustix::io::Result<OwnedFd>) -> Option<AsyncFd<OwnedFd>> {
    match fd.map_err(std::io::Error::from).and_then(AsyncFd::new) {
        Ok(fd) => Some(fd),
        Err(error) => {
            tracing::warn!(%error, "no {what}: changes are found by the interval only");
            None
        }
    }
}

fn kernel_messages() -> rustix::io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::NONBLOCK | SocketFlags::CLOEXEC,
        Some(netlink::KOBJECT_UEVENT),
    )?;
    bind(&socket, &SocketAddrNetlink::new(0, KERNEL_GROUP))?;
    Ok(socket)
}

/// Whether files of that folder are written by programs; the others change with CPUs, or never.
fn is_written(folder: &str) -> bool {
    [
        "/proc/sys/",
        "/proc/irq",
        "/sys/fs/cgroup/",
        "/sys/kernel/mm/hugepages/",
    ]
    .iter()
    .any(|prefix| folder.starts_with(prefix))
        || ["/cpufreq", "/smt", "/clocksource0"]
            .iter()
            .any(|end| folder.ends_with(end))
}

/// The first of the waiting events that matters; all are taken. Never ready without inotify.
async fn written(
    inotify: Option<&AsyncFd<OwnedFd>>,
    folders: &BTreeMap<i32, String>,
    files: &BTreeSet<String>,
) -> std::io::Result<Option<String>> {
    let Some(inotify) = inotify else {
        return std::future::pending().await;
    };
    let mut ready = inotify.readable().await?;
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut reader = Reader::new(inotify.get_ref(), &mut buffer);
    let mut first = None;
    loop {
        match reader.next() {
            Ok(event) => {
                let name = event
                    .file_name()
                    .map(|name| name.to_string_lossy().into_owned())
                    .unwrap_or_default();
                let overflow = event.events().contains(ReadFlags::QUEUE_OVERFLOW);
                let folder = folders.get(&event.wd());
                if overflow {
                    first.get_or_insert_with(|| "more files than the kernel can tell".to_owned());
                } else if let Some(folder) = folder.filter(|folder| matters(folder, &name, files)) {
                    first.get_or_insert_with(|| format!("{folder}/{name}"));
                }
            }
            Err(Errno::AGAIN) => {
                ready.clear_ready();
                return Ok(first);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn matters(folder: &str, name: &str, files: &BTreeSet<String>) -> bool {
    // `smp_affinity` and `smp_affinity_list` are one value.
    let name = if name == "smp_affinity" {
        "smp_affinity_list"
    } else {
        name
    };
    (folder == TUNED && name == "active_profile") || files.contains(&format!("{folder}/{name}"))
}

/// Whether one of the waiting messages is about a CPU; all are taken. Never ready without a socket.
async fn cpu_message(socket: Option<&AsyncFd<OwnedFd>>) -> std::io::Result<bool> {
    let Some(socket) = socket else {
        return std::future::pending().await;
    };
    let mut ready = socket.readable().await?;
    let mut about_cpu = false;
    loop {
        let mut buffer = [0_u8; 4096];
        match recv(socket.get_ref(), &mut buffer, RecvFlags::empty()) {
            Ok((length, _)) => about_cpu |= is_about_cpu(&buffer[..length.min(buffer.len())]),
            Err(Errno::AGAIN) => {
                ready.clear_ready();
                return Ok(about_cpu);
            }
            Err(Errno::INTR) => {}
            // Messages were lost: one may have been about a CPU.
            Err(Errno::NOBUFS) => about_cpu = true,
            Err(error) => return Err(error.into()),
        }
    }
}

/// `online@/devices/system/cpu/cpu3`, and the same as variables behind a zero byte.
fn is_about_cpu(message: &[u8]) -> bool {
    let head = message.split(|byte| *byte == 0).next().unwrap_or_default();
    let at = head.iter().position(|byte| *byte == b'@');
    at.is_some_and(|at| head[at + 1..].starts_with(b"/devices/system/cpu/cpu"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_about_cpus_are_known() {
        assert!(is_about_cpu(
            b"offline@/devices/system/cpu/cpu3\0ACTION=offline\0"
        ));
        assert!(!is_about_cpu(b"change@/devices/pci0000:00/block/sda\0"));
        assert!(!is_about_cpu(b"libudev\0/devices/system/cpu/cpu3"));
        assert!(!is_about_cpu(b""));
    }

    fn host(folder: &tempfile::TempDir) -> Host {
        std::fs::create_dir_all(folder.path().join("etc/tuned")).unwrap();
        std::fs::create_dir_all(folder.path().join("proc/sys/vm")).unwrap();
        Host::new(folder.path(), None)
    }

    #[tokio::test(start_paused = true)]
    async fn a_write_of_a_file_that_matters_is_told_and_no_other() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(&folder);
        let mut triggers = Triggers::new(INTERVAL);
        triggers.messages = None; // this machine's own CPUs are not the test's
        let files = Files::from_iter([("/proc/sys/vm/stat_interval", "10")]);
        triggers.watch(&host, &files);
        std::fs::write(folder.path().join("proc/sys/vm/other"), "1").unwrap();
        assert_eq!(triggers.next().await, Trigger::Interval);
        std::fs::write(folder.path().join("proc/sys/vm/stat_interval"), "1").unwrap();
        let path = "/proc/sys/vm/stat_interval".to_owned();
        assert_eq!(triggers.next().await, Trigger::Written(path));
        // TuneD replaces the file, which wasn't there at the audit.
        std::fs::write(folder.path().join("etc/tuned/x"), "p").unwrap();
        std::fs::rename(
            folder.path().join("etc/tuned/x"),
            folder.path().join("etc/tuned/active_profile"),
        )
        .unwrap();
        let path = "/etc/tuned/active_profile".to_owned();
        assert_eq!(triggers.next().await, Trigger::Written(path));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_survives_a_future_that_was_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let host = host(&folder);
        let mut triggers = Triggers::new(INTERVAL);
        triggers.messages = None;
        triggers.watch(&host, &Files::new());
        let begun = Instant::now();
        std::fs::write(folder.path().join("etc/tuned/active_profile"), "p").unwrap();
        let cut_off = tokio::time::timeout(Duration::from_millis(100), triggers.next()).await;
        assert!(cut_off.is_err());
        assert!(matches!(triggers.next().await, Trigger::Written(_)));
        // Not at once after the last look.
        assert!(begun.elapsed() >= GAP);
    }

    #[test]
    fn a_cpu_outweighs_a_file() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let mut triggers = Triggers::new(INTERVAL);
            triggers.remember(Trigger::Written("/a".to_owned()));
            triggers.remember(Trigger::Cpu);
            triggers.remember(Trigger::Written("/b".to_owned()));
            assert_eq!(triggers.pending.as_ref().unwrap().0, Trigger::Cpu);
        });
    }
}
