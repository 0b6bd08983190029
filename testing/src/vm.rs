//! A machine with a real PREEMPT_RT kernel, in which a program runs: Debian's kernel under qemu's own emulation (never
//! KVM, which hangs where machines are themselves virtual), an initramfs with busybox, the program and its libraries.
//!
//! One program a boot. Bounded in time; qemu is ended by its own process, so nothing is left behind. Must not need root,
//! a network or a disk image, and must not install a kernel on this machine. Where a test asks for it, the machine reaches
//! named ports of this host's loopback, and nothing else.
//!
//! ```no_run
//! use realtime_testing::vm::{Machine, Program, run};
//! let machine = Machine { kernel_arguments: vec!["isolcpus=2-3".into()], ..Machine::default() };
//! let outcome = run(&machine, &Program::new("/bin/true"))?;
//! assert_eq!(outcome.exit_code, Some(0));
//! # Ok::<(), realtime_testing::vm::Error>(())
//! ```

mod initramfs;
mod kernel;
mod libraries;
mod qemu;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use kernel::{Kernel, kernel};
pub use qemu::run;

/// Where the machine reaches this host's ports.
pub const HOST: &str = "10.0.2.100";

/// The machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Sockets, cores of each, threads of each core.
    pub topology: (u32, u32, u32),
    /// NUMA nodes, of equal memory; the CPUs are dealt out in order. A divisor of the number of CPUs.
    pub numa_nodes: u32,
    /// MiB.
    pub memory_mib: u32,
    /// qemu's name of the processor. Of an AMD one Linux believes no siblings.
    pub processor: String,
    /// What follows the harness's own arguments on the kernel's command line.
    pub kernel_arguments: Vec<String>,
    /// A network on which nothing is but [`HOST`] with these TCP ports: the one there, and the one of this host's loopback
    /// that it leads to. Without any, there is no network.
    pub ports: Vec<(u16, u16)>,
    /// When qemu is ended.
    pub limit: Duration,
}

impl Default for Machine {
    /// Four CPUs: two sockets, each a NUMA node with one core of two threads. Boots in 3 s, on a busy host in 20.
    fn default() -> Self {
        Self {
            topology: (2, 1, 2),
            numa_nodes: 2,
            memory_mib: 1024,
            processor: "SandyBridge".to_owned(),
            kernel_arguments: Vec::new(),
            ports: Vec::new(),
            limit: Duration::from_mins(2),
        }
    }
}

impl Machine {
    /// How many CPUs.
    pub fn cpus(&self) -> u32 {
        let (sockets, cores, threads) = self.topology;
        sockets * cores * threads
    }
}

/// What runs in the machine: as root, in `/`, with busybox's programs in `PATH`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// The executable on this host; copied with the shared libraries that it needs, without its debug information.
    pub path: PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its environment, besides `PATH` and `HOME`.
    pub environment: Vec<(String, String)>,
    /// Further files: absolute path in the machine, contents, mode.
    pub files: Vec<(String, Vec<u8>, u32)>,
    /// Further executables of this host: the path there and in the machine. With their libraries.
    pub programs: Vec<(PathBuf, String)>,
}

impl Program {
    /// A program without arguments.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            ..Self::default()
        }
    }
}

/// How it ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// The program's; `None` when the machine stopped before the program ended (a panic of the kernel).
    pub exit_code: Option<i32>,
    /// The lines of the program's standard output.
    pub lines: Vec<String>,
    /// The kernel's messages and the program's standard error, the end of it.
    pub console: String,
    /// From the start of qemu to its end.
    pub took: Duration,
}

/// Why there is no outcome.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Something that the machine needs can't be had here. Tests are skipped, loudly.
    #[error("{0}")]
    Unavailable(String),
    /// A file of ours.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// The reason.
        source: io::Error,
    },
    /// qemu ended with an error.
    #[error("qemu ended with {code:?}: {stderr}")]
    Qemu {
        /// Its exit code.
        code: Option<i32>,
        /// The end of what it said.
        stderr: String,
    },
    /// It didn't end in time, and was ended.
    #[error(
        "the machine did not finish within {} s and was ended. The program's last lines:\n{}\nThe console:\n{console}",
        limit.as_secs(), lines.join("\n")
    )]
    TimeLimit {
        /// The limit.
        limit: Duration,
        /// What the program had printed, the end of it.
        lines: Vec<String>,
        /// The console, the end of it.
        console: String,
    },
}

impl Error {
    fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io {
            action,
            path,
            source,
        }
    }
}
