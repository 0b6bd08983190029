//! Replays a recording: the same commands and events in the same order.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Child;

use nix::sys::signal::Signal;
use realtime_testing::rpm_ostree_standin::{
    Fault, Output, Profile, Reboot, RpmOstreeStandin, Step, Times, catalog,
};
use serde_json::Value;

use super::compare::{self, Names};
use super::processes;
use super::recording::{Entry, Recording, words};

/// Long enough for everything that happens meanwhile; the transaction is let go before.
const FOREVER: u64 = 3_600_000;

/// What was found.
#[derive(Default)]
pub struct Report {
    /// Interactions and events with something to compare.
    pub compared: usize,
    /// Interactions of rpm-ostree, ostree and rpm.
    pub interactions: usize,
    /// Of other programs, which the stand-in isn't one for.
    pub others: usize,
    /// Full statuses compared.
    pub statuses: usize,
    /// Of interactions: whose whole standard output is the same too.
    pub whole_outputs: usize,
    /// By number.
    pub mismatches: BTreeMap<u64, String>,
    /// Numbers of interactions among them.
    pub mismatched_interactions: usize,
}

impl Report {
    pub fn summary(&self, version: &str, expected: usize) -> String {
        format!(
            "rpm-ostree {version}: {} of {} interactions match (exit code, stderr, essential stdout, deployments), {} of \
             {} comparisons with events; {} full statuses; {} interactions with the same whole stdout; {} of other \
             programs not compared; {expected} known differences",
            self.interactions - self.mismatched_interactions,
            self.interactions,
            self.compared - self.mismatches.len(),
            self.compared,
            self.statuses,
            self.whole_outputs,
            self.others,
        )
    }
}

struct Replay<'a> {
    recording: &'a Recording,
    version: &'a str,
    standin: RpmOstreeStandin,
    files: PathBuf,
    names: Names,
    report: Report,
    /// Clients that run while others are compared, by the number of the entry with their result.
    clients: BTreeMap<u64, Child>,
    next_reboot_older: bool,
    /// The recorded list that `"unchanged"` means.
    last_list: Option<Value>,
}

/// Replays everything.
pub fn replay(version: &str, recording: &Recording) -> Report {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    let files = directory.path().join("files");
    std::fs::create_dir_all(&root).unwrap();
    let profile: Profile = version.parse().unwrap();
    let standin = RpmOstreeStandin::init(&root, &profile).unwrap();
    write_files(&files);
    standin
        .change(|state| {
            state
                .files
                .insert(format!("{}/rpms/", catalog::SERVER), files.clone());
        })
        .unwrap();
    let mut replay = Replay {
        recording,
        version,
        standin,
        files,
        names: Names::default(),
        report: Report::default(),
        clients: BTreeMap::new(),
        next_reboot_older: false,
        last_list: None,
    };
    for entry in &recording.entries {
        replay.entry(entry);
    }
    replay.report
}

/// The files that lay in the recording's working directory.
fn write_files(directory: &Path) {
    std::fs::create_dir_all(directory).unwrap();
    let mut packages = Vec::new();
    for name in ["r1", "r2", "r3"] {
        packages.extend(catalog::contents(name).packages);
    }
    for generation in [1, 2, 3] {
        packages.extend(catalog::base(generation).packages);
    }
    for package in packages {
        let file = format!(
            "{}-{}-{}.{}.rpm",
            package.name, package.version, package.release, package.arch
        );
        let text = format!("stand-in package: {}\n", package.nevra());
        std::fs::write(directory.join(file), text).unwrap();
    }
    std::fs::write(directory.join("broken.rpm"), "no package\n").unwrap();
    std::fs::write(
        directory.join("truncated.rpm"),
        "stand-in package: tuned-rt-2.20-1.el9.noarch",
    )
    .unwrap();
}

impl Replay<'_> {
    fn entry(&mut self, entry: &Entry) {
        self.prepare(entry.n);
        match (&entry.argv, &entry.event) {
            (Some(argv), _) => self.interaction(entry, &words(argv)),
            (None, Some(event)) => self.event(entry, event),
            (None, None) => {}
        }
    }

    fn mismatch(&mut self, entry: &Entry, text: &str) {
        if entry.argv.is_some() && !self.report.mismatches.contains_key(&entry.n) {
            self.report.mismatched_interactions += 1;
        }
        let what = entry
            .argv
            .as_deref()
            .or(entry.event.as_deref())
            .unwrap_or_default();
        let text = format!("{}\n     {what}", text.replace('\n', "\n     "));
        self.report.mismatches.entry(entry.n).or_insert(text);
    }

    /// A command that the recording does not show.
    fn hidden(&self, arguments: &str) {
        let argv: Vec<String> = words(&format!("rpm-ostree {arguments}"));
        let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
        let output = self.standin.run(&argv, &self.files).unwrap();
        assert_eq!(output.code, 0, "hidden {arguments}: {}", output.stderr);
    }

    /// What was done between the recorded lines, seen from the lists before and after.
    fn prepare(&mut self, number: u64) {
        const CLEANED: [u64; 20] = [
            203, 205, 218, 221, 227, 235, 237, 239, 241, 267, 315, 321, 322, 323, 324, 325, 326,
            333, 352, 450,
        ];
        const RESET: &str = "override reset kernel kernel-core kernel-modules kernel-modules-core kernel-modules-extra \
                             --uninstall kernel-rt-core --uninstall kernel-rt-modules --uninstall \
                             kernel-rt-modules-extra --uninstall kernel-rt-kvm";
        let reboot = || self.standin.reboot(&Reboot::orderly()).unwrap();
        if CLEANED.contains(&number) || number == 420 {
            self.hidden("cleanup -p");
        }
        match number {
            243 => self.set_repository(Some("http://127.0.0.1:1/nosuchdir/")),
            326 => self
                .standin
                .fault(Fault::DaemonDies(Step::Download), Times::Next(1))
                .unwrap(),
            395 | 397 | 488 | 535 | 537 => self.hidden("cleanup -r"),
            337 => self.hidden("cleanup -m"),
            339 => self
                .standin
                .fault(Fault::DaemonDies(Step::Staged), Times::Next(1))
                .unwrap(),
            378 | 518 => {
                self.hidden("cleanup -p -r");
                self.boot_space(1463);
            }
            413 | 553 => {
                self.hidden(RESET);
                reboot();
                self.hidden("cleanup -r");
            }
            481 => {
                self.hidden("cleanup -p -r");
                for change in ["--append=hidden", "--delete=hidden"] {
                    self.hidden(&format!("kargs {change}"));
                    reboot();
                }
                self.hidden("cleanup -r");
            }
            _ => {}
        }
    }

    fn boot_space(&self, free: u64) {
        self.standin
            .change(|state| {
                state.space.kernel = 3200;
                state.space.boot = 358_271;
                for size in state.boot_directories.values_mut() {
                    *size = 3200;
                }
                let used: u64 = state.boot_directories.values().sum();
                state.space.boot_other = state.space.boot - used - free;
            })
            .unwrap();
    }

    fn set_repository(&self, url: Option<&str>) {
        let file = self
            .standin
            .root()
            .join("etc/yum.repos.d/coreos-extensions.repo");
        match url {
            Some(url) => {
                let text =
                    format!("[coreos-extensions]\nname=x\nbaseurl={url}\nenabled=1\ngpgcheck=0\n");
                std::fs::write(file, text).unwrap();
            }
            None => {
                let _ = std::fs::remove_file(file);
            }
        }
        self.standin.change(|state| state.metadata.clear()).unwrap();
    }

    fn event(&mut self, entry: &Entry, event: &str) {
        let booted = self.standin.root().join("run/ostree-booted");
        if let Some(rest) = event.strip_prefix("repo coreos-extensions -> ") {
            self.set_repository(rest.split(' ').next());
        } else if event == "no repo configured" {
            self.set_repository(None);
        } else if let Some(name) = event.strip_prefix("new base published: ref rhcos/stable -> v") {
            self.standin
                .publish_base("rhcos/stable", catalog::base(name.parse().unwrap()))
                .unwrap();
        } else if event.starts_with("reboot: ") {
            self.reboot(entry, event.contains("POWER CUT"));
        } else if event.starts_with("admin picks the older") {
            self.next_reboot_older = true;
        } else if event.starts_with("LockLayering") {
            self.standin
                .fault(Fault::LockLayering, Times::Always)
                .unwrap();
        } else if event.contains("/run/ostree-booted absent") {
            self.standin.clear_faults().unwrap();
            std::fs::remove_file(&booted).unwrap();
        } else if event.contains("(masked)") {
            std::fs::write(&booted, "").unwrap();
            let text = "Failed to start rpm-ostreed.service: Unit rpm-ostreed.service is masked.";
            self.standin
                .fault(Fault::DaemonCannotStart(text.to_owned()), Times::Always)
                .unwrap();
        } else if event == "daemon binary failing" {
            self.standin.clear_faults().unwrap();
            let text = "Job for rpm-ostreed.service failed because the control process exited with error code.\nSee \
                        \"systemctl status rpm-ostreed.service\" and \"journalctl -xeu rpm-ostreed.service\" for details.";
            self.standin
                .fault(Fault::DaemonCannotStart(text.to_owned()), Times::Always)
                .unwrap();
        } else if event == "D-Bus daemon stopped" {
            self.standin.clear_faults().unwrap();
        } else if event.starts_with("SIGKILL of rpm-ostreed as soon as") {
            // The cache was damaged already, so it never came to it.
        } else if event.starts_with("kernel that still fits") {
            self.hidden("cleanup -b");
            self.boot_space(7000);
        }
        if entry.deployments.is_some() || entry.status_json.is_some() {
            self.report.compared += 1;
            self.compare_state(entry);
        }
    }

    fn reboot(&mut self, entry: &Entry, power_cut: bool) {
        // The client of a transaction that the reboot interrupts is recorded behind it.
        let next = self.recording.entries.iter().find(|one| one.n > entry.n);
        let interrupted = next.filter(|one| {
            one.note
                .as_deref()
                .is_some_and(|note| note.starts_with("client, "))
        });
        if let Some(client) = interrupted.filter(|one| one.rc.is_some_and(|rc| rc < 0)) {
            let argv = self.argv(client);
            self.start_long(client.n, &argv);
        } else if let Some(client) = interrupted {
            // It had failed before.
            let argv = self.argv(client);
            self.clients.insert(
                client.n,
                processes::start(&self.standin, &self.files, &argv),
            );
            processes::until("the client has ended", || {
                let child = self.clients.get_mut(&client.n).unwrap();
                child.try_wait().unwrap().is_some()
            });
        }
        let how = Reboot {
            power_cut,
            fallback: std::mem::take(&mut self.next_reboot_older),
            ..Reboot::default()
        };
        if power_cut && let Some(client) = interrupted.and_then(|one| self.clients.get(&one.n)) {
            processes::signal(client.id(), Signal::SIGKILL);
        }
        self.standin.reboot(&how).unwrap();
        self.standin.change(|state| state.slow = 0).unwrap();
    }

    fn argv(&self, entry: &Entry) -> Vec<String> {
        words(entry.argv.as_deref().unwrap())
            .into_iter()
            .map(|word| {
                if word.len() == 64 {
                    self.names.own(&word).unwrap_or(word)
                } else {
                    word
                }
            })
            .collect()
    }

    /// Starts a client whose transaction lasts until it is let go.
    fn start_long(&mut self, number: u64, argv: &[String]) {
        self.standin.change(|state| state.slow = FOREVER).unwrap();
        let mut child = processes::start(&self.standin, &self.files, argv);
        processes::until_runs(&self.standin, &mut child);
        self.clients.insert(number, child);
    }

    fn let_go(&self) {
        self.standin
            .change(|state| {
                state.slow = 0;
                state.slow_at = Step::Initramfs;
            })
            .unwrap();
        processes::until_idle(&self.standin);
    }

    fn interaction(&mut self, entry: &Entry, recorded: &[String]) {
        let program = recorded.first().map(String::as_str).unwrap_or_default();
        if !["rpm-ostree", "ostree", "rpm", "timeout"].contains(&program)
            || recorded.get(1).is_some_and(|one| one == "container")
        {
            self.report.others += 1;
            self.publish_images(recorded);
            self.compare_other(entry, recorded);
            return;
        }
        self.report.interactions += 1;
        self.report.compared += 1;
        let output = self.output(entry);
        let rc = entry.rc.unwrap();
        let stderr = entry.stderr.clone().unwrap_or_default();
        let stdout = entry.stdout.clone().unwrap_or_default();
        if output.code != rc {
            self.mismatch(
                entry,
                &format!(
                    "rc {}, recorded {rc}: {} {stderr}",
                    output.code, output.stderr
                ),
            );
            self.resynchronize(entry);
            return;
        }
        if !compare::same_stderr(&mut self.names, &stderr, &output.stderr) {
            self.mismatch(
                entry,
                &format!("stderr {:?}, recorded {stderr:?}", output.stderr),
            );
        }
        let (wanted, got) = (
            compare::essential(recorded, &stdout),
            compare::essential(recorded, &output.stdout),
        );
        // A killed client's output is cut off anywhere.
        if rc >= 0 && !compare::same_text(&mut self.names, &wanted, &got) {
            self.mismatch(entry, &format!("stdout {got:?}, recorded {wanted:?}"));
        }
        if compare::same_text(&mut self.names, stdout.trim_end(), output.stdout.trim_end()) {
            self.report.whole_outputs += 1;
        } else if std::env::var_os("STANDIN_SHOW_STDOUT").is_some() {
            println!(
                "--- {} {:?}\n{stdout}\n+++\n{}",
                entry.n, entry.argv, output.stdout
            );
        }
        self.compare_state(entry);
    }

    /// After a wrong exit code the states differ; nothing can be done but go on.
    fn resynchronize(&mut self, entry: &Entry) {
        self.compare_state(entry);
    }

    fn publish_images(&self, recorded: &[String]) {
        for name in ["v1", "v2", "v3"] {
            if recorded.iter().any(|word| word == &format!("rhcos/{name}")) {
                let generation = name.trim_start_matches('v').parse().unwrap();
                let image = format!("ostree-unverified-image:oci:/run/rpmo/oci/{name}");
                self.standin
                    .publish_base(&image, catalog::base(generation))
                    .unwrap();
            }
        }
    }

    /// Other programs show what the stand-in keeps in its state.
    fn compare_other(&mut self, entry: &Entry, recorded: &[String]) {
        let state = self.standin.state().unwrap();
        let stdout = entry.stdout.clone().unwrap_or_default();
        let words: Vec<&str> = recorded.iter().map(String::as_str).collect();
        let (own, wanted) = match words.as_slice() {
            ["systemctl", "is-failed", "ostree-boot-complete.service"] => {
                let failed = state.boot.boot_complete_failure.is_some();
                (
                    if failed { "failed" } else { "inactive" }.to_owned(),
                    stdout.trim().to_owned(),
                )
            }
            ["ls", .., "/boot/ostree"] => {
                let kernels = stdout
                    .lines()
                    .filter(|line| line.contains("rhcos-"))
                    .count();
                (
                    state.boot_directories.len().to_string(),
                    kernels.to_string(),
                )
            }
            ["ls", "-la", "/run/ostree"] => {
                let mark = self
                    .standin
                    .root()
                    .join("run/ostree/staged-deployment")
                    .exists();
                (
                    mark.to_string(),
                    stdout.contains(" staged-deployment").to_string(),
                )
            }
            ["journalctl", "-b", "-1", ..] => {
                let error = |lines: &[&str]| -> String {
                    let found = lines.iter().find(|line| line.starts_with("error: "));
                    found.copied().unwrap_or_default().to_owned()
                };
                let own: Vec<&str> = state
                    .boot
                    .finalize_journal
                    .iter()
                    .map(String::as_str)
                    .collect();
                (error(&own), error(&stdout.lines().collect::<Vec<_>>()))
            }
            _ => return,
        };
        self.report.compared += 1;
        if own != wanted {
            self.mismatch_other(entry, format!("{own:?}, recorded {wanted:?}"));
        }
    }

    fn mismatch_other(&mut self, entry: &Entry, text: String) {
        self.report.mismatches.insert(entry.n, text);
    }

    fn output(&mut self, entry: &Entry) -> Output {
        let argv = self.argv(entry);
        let note = entry.note.as_deref().unwrap_or_default();
        if let Some(client) = self.clients.remove(&entry.n) {
            if !note.starts_with("client, ") && entry.n != 313 {
                self.let_go();
            }
            return processes::output(client);
        }
        match entry.n {
            // The transaction that runs during the next ones.
            294 => self.start_following(312),
            316 => self.start_following(317),
            318 => {
                self.standin
                    .change(|state| state.slow_at = Step::Download)
                    .unwrap();
                self.start_following(319);
            }
            _ => {}
        }
        if entry.n == 294 {
            // Recorded at this time, without a line of its own.
            let output = self
                .standin
                .run(&["rpm-ostree", "status", "--json"], &self.files)
                .unwrap();
            self.compare_status(entry, "29-transaction-running.json", &output.stdout);
        }
        if entry.n == 311 {
            // The identical second one.
            let joined = self
                .recording
                .entries
                .iter()
                .find(|one| one.n == 313)
                .unwrap();
            let argv = self.argv(joined);
            let child = processes::start(&self.standin, &self.files, &argv);
            self.clients.insert(313, child);
        }
        if note == "image now v2, repo r1" {
            let image = "ostree-unverified-image:oci:/run/rpmo/oci/v1";
            self.standin.publish_base(image, catalog::base(2)).unwrap();
        }
        for (text, signal) in [
            ("SIGINT", Signal::SIGINT),
            ("SIGTERM", Signal::SIGTERM),
            ("client got SIGKILL", Signal::SIGKILL),
        ] {
            if note.starts_with("client got")
                && note.contains(text.trim_start_matches("client got "))
            {
                self.start_long(entry.n, &argv);
                let client = self.clients.remove(&entry.n).unwrap();
                if self.standin.state().unwrap().transaction.is_some() {
                    processes::signal(client.id(), signal);
                }
                let output = processes::output(client);
                self.let_go();
                return output;
            }
        }
        if note == "rpm-ostreed SIGKILL during dracut" {
            self.start_long(entry.n, &argv);
            if let Some(worker) = self
                .standin
                .state()
                .unwrap()
                .transaction
                .and_then(|one| one.worker)
            {
                processes::signal(worker, Signal::SIGKILL);
            }
            let output = processes::output(self.clients.remove(&entry.n).unwrap());
            self.let_go();
            return output;
        }
        if argv.first().is_some_and(|word| word == "timeout") {
            let mut client = processes::start(&self.standin, &self.files, &argv[2..]);
            std::thread::sleep(std::time::Duration::from_millis(500));
            assert!(
                client.try_wait().unwrap().is_none(),
                "ostree admin pin does not wait"
            );
            client.kill().unwrap();
            return Output {
                code: 124,
                ..processes::output(client)
            };
        }
        if self.clients.is_empty() {
            let argv: Vec<&str> = argv.iter().map(String::as_str).collect();
            return self.standin.run(&argv, &self.files).unwrap();
        }
        processes::output(processes::start(&self.standin, &self.files, &argv))
    }

    fn start_following(&mut self, number: u64) {
        let entry = self
            .recording
            .entries
            .iter()
            .find(|one| one.n == number)
            .unwrap();
        let argv = self.argv(entry);
        self.start_long(number, &argv);
    }

    fn compare_state(&mut self, entry: &Entry) {
        let output = self
            .standin
            .run(&["rpm-ostree", "status", "--json"], &self.files)
            .unwrap();
        let own: Value = serde_json::from_str(&output.stdout).unwrap_or(Value::Null);
        match &entry.deployments {
            Some(list) if list.is_array() => self.last_list = Some(list.clone()),
            _ => {}
        }
        if entry.deployments.is_some()
            && let Some(recorded) = &self.last_list
            && let Err(text) = compare::same_list(&mut self.names, recorded, &own)
        {
            self.mismatch(entry, &format!("deployments: {text}"));
        }
        if let Some(name) = &entry.status_json {
            self.compare_status(entry, name, &output.stdout);
        }
    }

    fn compare_status(&mut self, entry: &Entry, name: &str, own: &str) {
        let own: Value = serde_json::from_str(own).unwrap_or(Value::Null);
        let recorded = self.recording.status(name);
        self.report.statuses += 1;
        if let Err(text) = compare::same_value(&mut self.names, "", &recorded, &own) {
            self.mismatch(entry, &format!("status {}-{name}: {text}", self.version));
        }
    }
}
