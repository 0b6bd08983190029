//! `rpm-ostree-standin machine …`: what a machine and the world around it do, outside rpm-ostree's own command line.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use super::fault::{Fault, Step, Times};
use super::package::Package;
use super::{Profile, Reboot, RpmOstreeStandin, StandinError, catalog};

/// The machine below a simulated host.
#[derive(Debug, Parser)]
#[command(name = "rpm-ostree-standin machine")]
pub struct Machine {
    /// The simulated host's root.
    #[arg(long, env = super::ROOT_VARIABLE, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a host that has booted a stock deployment.
    Init {
        /// 2023.2, 2023.2-container, 2024.7 or 2024.7-container.
        #[arg(long, default_value = "2024.7-container")]
        profile: String,
    },
    /// Make links named rpm-ostree, ostree and rpm to this executable.
    Link {
        /// Where.
        #[arg(long)]
        directory: PathBuf,
    },
    /// Shut down and boot.
    Reboot(RebootArguments),
    /// Set something that shall go wrong.
    Fault {
        /// How often it goes wrong; without it, always.
        #[arg(long)]
        times: Option<u32>,
        /// What.
        #[command(subcommand)]
        fault: FaultArguments,
    },
    /// Nothing shall go wrong any more.
    ClearFaults,
    /// Let a transaction of somebody else run.
    Busy {
        /// Its title.
        #[arg(long, default_value = "upgrade")]
        title: String,
        /// How long.
        #[arg(long)]
        milliseconds: u64,
    },
    /// Let somebody else stage something: the arguments of an rpm-ostree command.
    ForeignStage {
        /// Say `kargs --append=x`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Publish a base, or what a repository serves.
    Publish {
        /// An ostree reference, an image reference with its transport, or a repository's address with its scheme.
        target: String,
        /// v1, v2 or v3 for a base; r1, r2, r3 or empty for a repository.
        #[arg(long)]
        measured: Option<String>,
        /// For a repository: a package, NAME-VERSION-RELEASE.ARCH. Repeatable.
        #[arg(long = "package")]
        packages: Vec<String>,
    },
    /// Set free and used space, in KiB.
    Space {
        /// What something else takes of /boot.
        #[arg(long)]
        boot_other: Option<u64>,
        /// Free in /sysroot.
        #[arg(long)]
        sysroot_free: Option<u64>,
        /// One kernel with its initramfs.
        #[arg(long)]
        kernel: Option<u64>,
    },
    /// Set how long a transaction that assembles a tree takes.
    Slow {
        /// 0: none.
        milliseconds: u64,
        /// The step that takes it.
        #[arg(long, default_value = "initramfs")]
        at: StepArgument,
    },
    /// Print the state.
    Show,
}

#[derive(Debug, Args)]
struct RebootArguments {
    /// No orderly shutdown: what is staged is lost.
    #[arg(long)]
    power_cut: bool,
    /// Finalization fails with this text.
    #[arg(long, value_name = "TEXT")]
    finalize_fail: Option<String>,
    /// Boot the older entry.
    #[arg(long)]
    fallback: bool,
    /// The chosen entry does not come up.
    #[arg(long)]
    does_not_boot: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum StepArgument {
    Download,
    Initramfs,
    Staged,
}

impl From<StepArgument> for Step {
    fn from(step: StepArgument) -> Self {
        match step {
            StepArgument::Download => Self::Download,
            StepArgument::Initramfs => Self::Initramfs,
            StepArgument::Staged => Self::Staged,
        }
    }
}

#[derive(Debug, Subcommand)]
enum FaultArguments {
    /// rpm-ostreed is killed at a step; at `download` it leaves a damaged cache.
    DaemonDies {
        /// The step.
        at: StepArgument,
    },
    /// The transaction fails at a step; at `staged` the deployment is there with rc 1.
    Fails {
        /// The step.
        at: StepArgument,
        /// The text.
        message: String,
    },
    /// Dependencies can't be solved.
    Depsolve {
        /// The problem's text.
        message: String,
    },
    /// A package is in no repository.
    PackageNotFound {
        /// The name.
        name: String,
    },
    /// A base package's removal is recorded without effect.
    InactiveRemoval {
        /// The name.
        name: String,
    },
    /// Finalization fails.
    FinalizeFails {
        /// The text.
        message: String,
    },
    /// A kernel does not come up.
    KernelDoesNotBoot {
        /// Its release, or `realtime` for any realtime kernel.
        release: String,
        /// The machine boots the older entry then.
        #[arg(long)]
        falls_back: bool,
    },
    /// rpm-ostreed can't be started.
    DaemonCannotStart {
        /// systemd's text.
        message: String,
    },
    /// The sysroot is locked by another program.
    SysrootLocked,
    /// `LockLayering=true`.
    LockLayering,
    /// A shutdown inhibitor in block mode.
    Inhibitor {
        /// Who holds it.
        who: String,
        /// Why.
        why: String,
    },
    /// The downloaded packages are damaged: of these NEVRAs.
    DamagedCache {
        /// NAME-VERSION-RELEASE.ARCH.
        packages: Vec<String>,
    },
}

/// Runs it. What it gives is printed.
pub fn run(machine: Machine, executable: &Path) -> Result<String, StandinError> {
    if let Action::Link { directory } = &machine.action {
        RpmOstreeStandin::link_programs(directory, executable)?;
        return Ok(format!(
            "rpm-ostree, ostree and rpm are in {}.",
            directory.display()
        ));
    }
    let root = machine.root.ok_or_else(|| {
        StandinError::Refused(format!(
            "no host: give --root DIRECTORY or set {}",
            super::ROOT_VARIABLE
        ))
    })?;
    if let Action::Init { profile } = &machine.action {
        let profile: Profile = profile.parse().map_err(StandinError::Refused)?;
        RpmOstreeStandin::init(&root, &profile)?;
        return Ok(format!(
            "{} is a host that booted a stock deployment.",
            root.display()
        ));
    }
    let standin = RpmOstreeStandin::open(&root)?;
    act(&standin, machine.action)
}

fn act(standin: &RpmOstreeStandin, action: Action) -> Result<String, StandinError> {
    match action {
        Action::Init { .. } | Action::Link { .. } => {}
        Action::Reboot(arguments) => {
            let report = standin.reboot(&Reboot {
                power_cut: arguments.power_cut,
                finalize_fail: arguments.finalize_fail,
                fallback: arguments.fallback,
                does_not_boot: arguments.does_not_boot,
            })?;
            let state = if report.up {
                "is up"
            } else {
                "does not come up"
            };
            return Ok(format!(
                "{} with {} {state}, boot {}; staged: {:?}",
                report.deployment, report.kernel, report.boot_id, report.finalized
            ));
        }
        Action::Fault { times, fault } => {
            set_fault(standin, times.map_or(Times::Always, Times::Next), fault)?;
        }
        Action::ClearFaults => standin.clear_faults()?,
        Action::Busy {
            title,
            milliseconds,
        } => {
            standin.foreign_transaction(&title, Duration::from_millis(milliseconds))?;
        }
        Action::ForeignStage { arguments } => {
            let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
            let output = standin.foreign_stage(&words)?;
            return Ok(format!("{}\n{}", output.stdout, output.stderr));
        }
        Action::Publish {
            target,
            measured,
            packages,
        } => publish(standin, &target, measured.as_deref(), &packages)?,
        Action::Space {
            boot_other,
            sysroot_free,
            kernel,
        } => standin.change(|state| {
            let space = &mut state.space;
            space.boot_other = boot_other.unwrap_or(space.boot_other);
            space.sysroot_free = sysroot_free.unwrap_or(space.sysroot_free);
            space.kernel = kernel.unwrap_or(space.kernel);
        })?,
        Action::Slow { milliseconds, at } => standin.change(|state| {
            state.slow = milliseconds;
            state.slow_at = at.into();
        })?,
        Action::Show => {
            return serde_json::to_string_pretty(&standin.state()?)
                .map_err(|error| StandinError::Refused(error.to_string()));
        }
    }
    Ok(String::new())
}

fn set_fault(
    standin: &RpmOstreeStandin,
    times: Times,
    fault: FaultArguments,
) -> Result<(), StandinError> {
    let fault = match fault {
        FaultArguments::DaemonDies { at } => Fault::DaemonDies(at.into()),
        FaultArguments::Fails { at, message } => Fault::Fails {
            at: at.into(),
            message,
        },
        FaultArguments::Depsolve { message } => Fault::Depsolve(message),
        FaultArguments::PackageNotFound { name } => Fault::PackageNotFound(name),
        FaultArguments::InactiveRemoval { name } => Fault::InactiveRemoval(name),
        FaultArguments::FinalizeFails { message } => Fault::FinalizeFails(message),
        FaultArguments::KernelDoesNotBoot {
            release,
            falls_back,
        } => {
            standin.change(|state| state.falls_back = falls_back)?;
            Fault::KernelDoesNotBoot(release)
        }
        FaultArguments::DaemonCannotStart { message } => Fault::DaemonCannotStart(message),
        FaultArguments::SysrootLocked => Fault::SysrootLocked,
        FaultArguments::LockLayering => Fault::LockLayering,
        FaultArguments::Inhibitor { who, why } => Fault::Inhibitor(who, why),
        FaultArguments::DamagedCache { packages } => {
            return standin.change(|state| state.damaged.extend(packages));
        }
    };
    standin.fault(fault, times)
}

fn publish(
    standin: &RpmOstreeStandin,
    target: &str,
    measured: Option<&str>,
    packages: &[String],
) -> Result<(), StandinError> {
    let refused = |text: &str| StandinError::Refused(text.to_owned());
    if target.contains("://") && !target.starts_with("ostree-") {
        let mut list = measured
            .map(|name| catalog::contents(name).packages)
            .unwrap_or_default();
        for nevra in packages {
            let package = Package::from_nevra(nevra);
            list.push(package.ok_or_else(|| refused("a package is NAME-VERSION-RELEASE.ARCH"))?);
        }
        return standin.publish_repository(target, list);
    }
    let generation = match measured {
        Some("v1") => 1,
        Some("v2") => 2,
        Some("v3") => 3,
        _ => return Err(refused("a base is --measured v1, v2 or v3")),
    };
    standin.publish_base(target, catalog::base(generation))
}
