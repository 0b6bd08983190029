//! A simulated host for the node daemon: a folder that is its `/`, an rpm-ostree stand-in, a folder of programs, and the
//! machine that plays its boots and counts them. The real daemon's process runs over it.
//!
//! It is for tests and the sandbox. It must not decide anything that a daemon decides, and nothing outside its folder is
//! touched.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::rpm_ostree_standin::{
    BootReport, Profile, ROOT_VARIABLE, Reboot, RpmOstreeStandin, StandinError,
};

pub mod cluster;
pub mod commands;
pub mod daemon;
pub mod fleet;
pub mod machine;
pub mod node_agent;
pub mod process;
pub mod tree;
pub mod workload;

pub use daemon::{Daemon, Launch, Log, Stepped};
pub use machine::Machine;
pub use tree::{Hardware, Kernel, Tree};

/// How long a shutdown waits for the daemon before it kills it. systemd waits 90 s; nobody here has something to save.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(2);

/// A simulated host can't be had or used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file, or a process.
    #[error("{action}: {source}")]
    Io {
        /// What was tried.
        action: String,
        /// Why not.
        source: io::Error,
    },
    /// The rpm-ostree stand-in.
    #[error(transparent)]
    Standin(#[from] StandinError),
    /// The control plane.
    #[error(transparent)]
    ControlPlane(#[from] crate::control_plane::Error),
    /// The API server refuses, or the client fails.
    #[error("{action}: {source}")]
    Kube {
        /// What was asked.
        action: String,
        /// The reason.
        source: Box<kube::Error>,
    },
}

fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Error {
    let action = action.into();
    move |source| Error::Io { action, source }
}

/// What happened to a machine since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Orderly reboots, each asked for by somebody on the host.
    pub reboots: u32,
    /// Power cuts.
    pub power_cuts: u32,
    /// Times that the daemon's process was started.
    pub daemon_starts: u32,
}

/// A simulated host.
#[derive(Debug)]
pub struct SimulatedHost {
    name: String,
    folder: PathBuf,
    tree: Tree,
    hardware: Hardware,
    standin: RpmOstreeStandin,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    daemon: Option<Daemon>,
    counts: Counts,
}

impl SimulatedHost {
    /// Makes a host in a folder of its own, which is made. `programs` is the stand-in's executable, `rpm-ostree-standin`.
    pub fn create(
        folder: &Path,
        name: &str,
        hardware: Hardware,
        profile: &Profile,
        programs: &Path,
    ) -> Result<Self, Error> {
        let root = folder.join("root");
        let tree = Tree::new(&root).map_err(io(format!("making {}", root.display())))?;
        tree.install(&hardware)
            .map_err(io(format!("writing the files of {name}")))?;
        let standin = RpmOstreeStandin::init(&root, profile)?;
        let host = Self {
            name: name.to_owned(),
            folder: folder.to_owned(),
            tree,
            hardware,
            standin,
            state: Mutex::default(),
        };
        let commands = host.commands();
        RpmOstreeStandin::link_programs(&commands, programs)?;
        commands::write(&commands).map_err(io(format!("writing {}", commands.display())))?;
        host.booted()?;
        Ok(host)
    }

    /// A second host that is what this one is now, in a folder of its own. Nothing may run on this one.
    pub fn copy_to(&self, folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(io(format!("making {}", folder.display())))?;
        let copied = Command::new("cp")
            .args(["-a", "--reflink=auto", "--"])
            .args(["root", "commands"].map(|name| self.folder.join(name)))
            .arg(folder)
            .status()
            .map_err(io("running cp"))?;
        if !copied.success() {
            return Err(io(format!("copying {}", self.folder.display()))(
                io::Error::other("cp failed"),
            ));
        }
        let root = folder.join("root");
        Ok(Self {
            name: self.name.clone(),
            folder: folder.to_owned(),
            tree: Tree::new(&root).map_err(io(format!("opening {}", root.display())))?,
            hardware: self.hardware.clone(),
            standin: RpmOstreeStandin::open(&root)?,
            state: Mutex::default(),
        })
    }

    /// Its name, which is its node's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its files.
    pub fn tree(&self) -> &Tree {
        &self.tree
    }

    /// Its rpm-ostree.
    pub fn standin(&self) -> &RpmOstreeStandin {
        &self.standin
    }

    /// The folder of its programs.
    pub fn commands(&self) -> PathBuf {
        self.folder.join("commands")
    }

    /// Where a daemon that runs freely logs.
    pub fn log(&self) -> PathBuf {
        self.folder.join("daemon.log")
    }

    /// The arguments by which the daemon finds this host.
    pub fn arguments(&self) -> Vec<String> {
        vec![
            format!("--root={}", self.tree.root().display()),
            format!("--commands={}", self.commands().display()),
            format!("--node-name={}", self.name),
        ]
    }

    /// The kernel that runs, by the host's own files.
    pub fn kernel(&self) -> Kernel {
        Kernel {
            release: self.tree.read("/proc/sys/kernel/osrelease"),
            command_line: self.tree.read("/proc/cmdline"),
            boot_id: self.tree.read("/proc/sys/kernel/random/boot_id"),
        }
    }

    /// What happened so far.
    pub fn counts(&self) -> Counts {
        self.state().counts
    }

    /// Starts the daemon; one that runs is killed.
    pub fn start_daemon(&self, launch: &Launch, log: &Log) -> Result<(), Error> {
        let daemon = Daemon::start(launch, log)
            .map_err(io(format!("starting {}", launch.program.display())))?;
        let mut state = self.state();
        state.counts.daemon_starts += 1;
        if let Some(before) = state.daemon.replace(daemon) {
            before.kill();
        }
        Ok(())
    }

    /// Does something with the daemon, if one was started and not ended by us.
    pub fn with_daemon<T>(&self, action: impl FnOnce(&mut Daemon) -> T) -> Option<T> {
        self.state().daemon.as_mut().map(action)
    }

    /// `kill -9` of the daemon. What it has started goes on, as rpm-ostree's own daemon does.
    pub fn kill_daemon(&self) {
        if let Some(daemon) = self.state().daemon.take() {
            daemon.kill();
        }
    }

    /// Whether somebody on the host has asked for a reboot.
    pub fn reboot_asked(&self) -> bool {
        self.tree.path(commands::REBOOT_REQUEST).exists()
    }

    /// Goes down and comes up again, as `how` says. The daemon is not started again.
    pub fn reboot(&self, how: &Reboot) -> Result<BootReport, Error> {
        let daemon = self.state().daemon.take();
        match daemon {
            Some(daemon) if how.power_cut => daemon.kill(),
            Some(daemon) => daemon.terminate(SHUTDOWN_PATIENCE),
            None => {}
        }
        self.kill_commands();
        self.tree
            .shut_down()
            .map_err(io(format!("clearing /run of {}", self.name)))?;
        let report = self.standin.reboot(how)?;
        self.booted()?;
        let mut state = self.state();
        if how.power_cut {
            state.counts.power_cuts += 1;
        } else {
            state.counts.reboots += 1;
        }
        Ok(report)
    }

    /// The mains fail and come back.
    pub fn power_cut(&self) -> Result<BootReport, Error> {
        self.reboot(&Reboot::power_cut())
    }

    /// Ends every command that still runs on this host: a machine that goes down takes them along.
    fn kill_commands(&self) {
        let root = self.tree.root().display().to_string();
        for pid in process::with_environment(ROOT_VARIABLE, &root) {
            // It may have ended meanwhile.
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
    }

    /// Completes the files of a boot that the stand-in has begun: hardware, units, journal.
    fn booted(&self) -> Result<(), Error> {
        let state = self.standin.state()?;
        let write = |path: String, text: &str| {
            self.tree
                .write(&path, text)
                .map_err(io(format!("writing {path}")))
        };
        self.tree
            .boot(&self.hardware, &self.kernel())
            .map_err(io(format!("writing the files of {}", self.name)))?;
        for folder in [commands::FAILED_UNITS, commands::JOURNAL] {
            fs::create_dir_all(self.tree.path(folder)).map_err(io(format!("making {folder}")))?;
        }
        write(
            format!(
                "{}/ostree-finalize-staged.service",
                commands::JOURNAL_BEFORE
            ),
            &lines(&state.boot.finalize_journal),
        )?;
        if let Some(failure) = &state.boot.boot_complete_failure {
            let text = format!(
                "error: ostree-finalize-staged.service failed on previous boot: {failure}\n"
            );
            let unit = "ostree-boot-complete.service";
            write(format!("{}/{unit}", commands::FAILED_UNITS), &text)?;
            write(format!("{}/{unit}", commands::JOURNAL), &text)?;
        }
        Ok(())
    }

    /// A panic elsewhere doesn't make this state wrong.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SimulatedHost {
    fn drop(&mut self) {
        self.kill_daemon();
        self.kill_commands();
    }
}

fn lines(lines: &[String]) -> String {
    let mut text = lines.join("\n");
    if !text.is_empty() {
        text.push('\n');
    }
    text
}
