//! A simulated host without a cluster: the real daemon as a systemd service, run freely or line by line, killed with
//! `kill -9` or by a power cut before any line of its log.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use realtime_core::kernel::Record;
use realtime_testing::rpm_ostree_standin::{Package, Profile, Reboot, State};
use realtime_testing::simulated_host::{Hardware, Launch, Log, SimulatedHost, Stepped};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{programs, tail};

/// A whole switch takes about a second; this is for a machine that is starved.
const LONG: Duration = Duration::from_mins(1);
/// How often files are looked at.
const LOOK: Duration = Duration::from_millis(3);
/// A daemon that has said Ready or Degraded and then nothing for so long is at rest.
const QUIET: Duration = Duration::from_millis(80);
/// The record, on the host.
const RECORD: &str = "/var/lib/realtime-node-daemon/record.json";

/// How a run is interrupted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// `kill -9` of the daemon; it is started again.
    Daemon,
    /// The mains fail.
    Power,
}

/// A host without a cluster.
pub struct Standalone {
    pub host: SimulatedHost,
    folder: TempDir,
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct End {
    /// `Ready` or `Degraded`.
    pub phase: String,
    /// The line that says so.
    pub line: String,
}

impl Standalone {
    /// A host that has booted this profile's stock kernel.
    pub fn new(profile: &Profile) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let host = SimulatedHost::create(
            folder.path(),
            "alone",
            Hardware::default(),
            profile,
            &programs().standin,
        )
        .expect("a host");
        Self { host, folder }
    }

    /// A second host that is what this one is.
    pub fn copy(&self) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let host = self.host.copy_to(folder.path()).expect("a copy");
        let copy = Self { host, folder };
        if self.config().is_file() {
            std::fs::copy(self.config(), copy.config()).expect("the configuration");
        }
        copy
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("realtime-node-daemon.yaml")
    }

    /// What this host shall be: `node.kernel` of the configuration. The daemon is started with it next time.
    pub fn want(&self, kernel: Value) {
        let config = json!({"node": {"kernel": kernel}, "reboot": true});
        std::fs::write(self.config(), format!("{config:#}")).expect("the configuration");
    }

    fn launch(&self) -> Launch {
        let mut arguments = self.host.arguments();
        arguments.push(format!("--config={}", self.config().display()));
        arguments.push("--log=info,realtime_node_daemon=debug".to_owned());
        Launch {
            program: programs().daemon,
            arguments,
            environment: Vec::new(),
        }
    }

    /// The stand-in's state.
    pub fn state(&self) -> State {
        self.host.standin().state().expect("the stand-in's state")
    }

    /// What the daemon wrote down.
    pub fn record(&self) -> Record {
        let text = self.host.tree().read(RECORD);
        if text.is_empty() {
            return Record::default();
        }
        serde_json::from_str(&text).expect("a record")
    }

    /// Puts RPM files into a folder of the host; what is there goes.
    pub fn put_packages(&self, folder: &str, nevras: &[&str]) {
        let path = self.host.tree().path(folder);
        if path.exists() {
            std::fs::remove_dir_all(&path).expect("the old packages");
        }
        for nevra in nevras {
            let package = Package::from_nevra(nevra).expect("a package's name");
            self.host
                .tree()
                .write(&format!("{folder}/{nevra}.rpm"), package_file(&package))
                .expect("a package");
        }
    }

    /// Starts the daemon, plays the reboots that it asks for, and waits until it is at rest. The daemon is ended then.
    pub fn settle(&self) -> End {
        let end = self.settle_running(end_of);
        self.host.kill_daemon();
        end
    }

    /// As [`Self::settle`], until it waits for somebody: Pending with these words.
    pub fn settle_waiting(&self, words: &str) {
        self.settle_running(|log| {
            let at = log.rfind("phase=Pending")?;
            log[at..].contains(words).then(|| End {
                phase: "Pending".to_owned(),
                line: String::new(),
            })
        });
        self.host.kill_daemon();
    }

    fn settle_running(&self, end_of: impl Fn(&str) -> Option<End>) -> End {
        let log = self.host.log();
        let length = || std::fs::metadata(&log).map_or(0, |file| file.len());
        let started = Instant::now();
        let mut since = length();
        self.start(&Log::File(log.clone()));
        let mut grown = (since, Instant::now());
        loop {
            std::thread::sleep(LOOK);
            if self.host.reboot_asked() {
                self.host.reboot(&Reboot::orderly()).expect("a boot");
                since = length();
                grown = (since, Instant::now());
                self.start(&Log::File(log.clone()));
                continue;
            }
            let now = length();
            if now != grown.0 {
                grown = (now, Instant::now());
            }
            if grown.1.elapsed() > QUIET
                && let Some(end) = end_of(&self.log_since(since))
            {
                return end;
            }
            let runs = self
                .host
                .with_daemon(realtime_testing::simulated_host::Daemon::runs);
            assert!(
                runs == Some(true) && started.elapsed() < LONG,
                "{}; the log:\n{}",
                if runs == Some(true) {
                    "the daemon does not come to rest"
                } else {
                    "the daemon ended"
                },
                tail(&self.log_since(since), 60)
            );
        }
    }

    fn start(&self, log: &Log) {
        self.host
            .start_daemon(&self.launch(), log)
            .expect("the daemon");
    }

    fn log_since(&self, offset: u64) -> String {
        let bytes = std::fs::read(self.host.log()).unwrap_or_default();
        let offset = usize::try_from(offset).unwrap_or_default().min(bytes.len());
        String::from_utf8_lossy(&bytes[offset..]).into_owned()
    }

    /// The whole log of the runs that were not line by line.
    pub fn log(&self) -> String {
        self.log_since(0)
    }

    /// Runs the daemon line by line, over the reboots that it asks for, until so many lines have passed; then it is
    /// interrupted, with the next line not yet written. `None`: it came to rest before. The lines are returned.
    ///
    /// Each line comes with the number of lines after which the daemon is interrupted right behind it.
    pub fn interrupt(&self, after: usize, cut: Cut) -> (Option<String>, Vec<(usize, String)>) {
        let mut lines = Vec::new();
        let mut passed = 0;
        let started = Instant::now();
        let mut active = Instant::now();
        self.start(&Log::Stepwise);
        loop {
            let asked = self.host.reboot_asked();
            let stopped = self
                .host
                .with_daemon(|daemon| daemon.wait_stopped(Duration::from_millis(10)))
                .unwrap_or(false);
            if passed == after && (stopped || asked) {
                match cut {
                    Cut::Daemon => self.host.kill_daemon(),
                    Cut::Power => drop(self.host.power_cut().expect("a boot")),
                }
                let last = lines.last().map(|(_, line): &(usize, String)| line.clone());
                return (Some(last.unwrap_or_default()), lines);
            }
            // A shutdown goes on whatever the daemon writes.
            if asked {
                self.host.reboot(&Reboot::orderly()).expect("a boot");
                self.start(&Log::Stepwise);
                active = Instant::now();
                continue;
            }
            if passed < after {
                let outcome = self
                    .host
                    .with_daemon(|daemon| daemon.step(Duration::from_millis(10)))
                    .expect("a daemon")
                    .expect("a pipe");
                match outcome {
                    Stepped::Line(line) => {
                        active = Instant::now();
                        if !line.is_empty() {
                            // It was in the pipe already, and the daemon stopped behind it.
                            lines.push((passed, line));
                        }
                        passed += 1;
                        continue;
                    }
                    Stepped::Ended => panic!("the daemon ended:\n{}", text(&lines)),
                    Stepped::Quiet => {}
                }
            }
            if active.elapsed() > QUIET && end_of(&text(&lines)).is_some() {
                self.host.kill_daemon();
                return (None, lines);
            }
            assert!(
                started.elapsed() < LONG,
                "the daemon does not come to rest:\n{}",
                text(&lines)
            );
        }
    }
}

/// The lines as one text.
pub fn text(lines: &[(usize, String)]) -> String {
    let lines: Vec<&str> = lines.iter().map(|(_, line)| line.as_str()).collect();
    lines.join("\n")
}

/// A package's file with nothing in it: lead, signature, header, and two bytes of payload.
pub fn package_file(package: &Package) -> Vec<u8> {
    const LEAD: usize = 96;
    let header = |entries: &[(u32, u32, Vec<u8>)]| {
        let mut store = Vec::new();
        let mut index = Vec::new();
        for (tag, kind, value) in entries {
            for number in [*tag, *kind, u32::try_from(store.len()).unwrap(), 1] {
                index.extend(number.to_be_bytes());
            }
            store.extend_from_slice(value);
        }
        let mut bytes = vec![0x8e, 0xad, 0xe8, 1, 0, 0, 0, 0];
        bytes.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        bytes.extend(u32::try_from(store.len()).unwrap().to_be_bytes());
        bytes.extend(index);
        bytes.extend(store);
        bytes
    };
    let text = |value: &str| [value.as_bytes(), b"\0"].concat();
    let main = header(&[
        (1003, 4, package.epoch.to_be_bytes().to_vec()),
        (1000, 6, text(&package.name)),
        (1001, 6, text(&package.version)),
        (1002, 6, text(&package.release)),
        (1022, 6, text(&package.arch)),
    ]);
    let size = u32::try_from(main.len() + 2).unwrap();
    let mut content = vec![0xed, 0xab, 0xee, 0xdb];
    content.resize(LEAD, 0);
    content.extend(header(&[(1000, 4, size.to_be_bytes().to_vec())]));
    content.resize(content.len().next_multiple_of(8), 0);
    content.extend(main);
    content.extend(b"xx");
    content
}

/// What the daemon says of the node, when it is at rest: Ready or Degraded, no step under way and no command.
fn end_of(log: &str) -> Option<End> {
    let last = |what: &str| log.lines().rev().find(|line| line.contains(what));
    let step = last(" state=").unwrap_or_default();
    let command = log.lines().last().unwrap_or_default();
    if step.contains("state=begin") || command.contains("running command=") {
        return None;
    }
    let line = last("phase=")?;
    let phase = ["Ready", "Degraded"]
        .into_iter()
        .find(|phase| line.contains(&format!("phase={phase}")))?;
    Some(End {
        phase: phase.to_owned(),
        line: line.to_owned(),
    })
}
