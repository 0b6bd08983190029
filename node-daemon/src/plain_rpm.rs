//! A host with dnf, rpm and grubby: a function for each question and for each way to change it. The argv of a change
//! come from `core::kernel`. Decides nothing.

use std::time::Duration;

use realtime_core::kernel::{BootEntry, Nevra, RpmView};
use tokio::time::Instant;

use crate::host::run::STDERR_LIMIT;
use crate::host::tail::Tail;
use crate::host::{Host, HostError};
use crate::rpm_ostree::done;
use crate::sources::repositories;
use crate::system::boot_needed;

/// rpm and grubby answer in seconds, on the slowest disk in a minute.
const QUESTION_LIMIT: Duration = Duration::from_mins(3);
/// Downloads of hundreds of megabytes and dracut.
const DNF_LIMIT: Duration = Duration::from_mins(45);
/// Rewrites an entry for each kernel.
const GRUBBY_LIMIT: Duration = Duration::from_mins(5);
/// dnf's own unit: ends with dnf and not with the daemon.
const DNF_UNIT: &str = "realtime-node-daemon-dnf.service";
/// What dnf in its unit says of an error.
const DNF_WORDS: &str = "/run/realtime-node-daemon-dnf.stderr";
/// States of a unit of which something is left.
const RUNS: [&str; 4] = ["active", "activating", "deactivating", "reloading"];
/// How often is looked whether the dnf that an earlier daemon began has ended.
const DNF_LOOK: Duration = Duration::from_secs(2);
/// There when systemd runs the host.
const SYSTEMD: &str = "/run/systemd/system";
/// As `core` reads a package: an epoch always, 0 when there is none.
pub const NEVRA_FORMAT: &str = "%{NAME}-%{EPOCHNUM}:%{VERSION}-%{RELEASE}.%{ARCH}\\n";
/// More boot entries than any host has.
const ENTRIES_LIMIT: usize = 4096;

/// Everything that a decision needs.
pub async fn observe(host: &Host) -> Result<RpmView, HostError> {
    // First: what is looked at after dnf's end is whole.
    let dnf_runs = dnf_runs(host).await?;
    let packages = packages_in(host, &[], None).await?;
    Ok(RpmView {
        dnf_runs,
        kernel_packages: packages
            .iter()
            .filter(|package| package.name.starts_with("kernel"))
            .cloned()
            .collect(),
        packages,
        default_kernel: default_kernel(host).await?,
        entries: entries(host).await?,
        enabled_repositories: repositories::enabled(host)?,
        boot_free: host.free_bytes("/boot").ok(),
        boot_needed: boot_needed(host, None),
    })
}

/// `rpm -qa` of the kernel's packages.
pub async fn kernel_packages(host: &Host) -> Result<Vec<Nevra>, HostError> {
    kernel_packages_in(host, &[]).await
}

/// The same of another database than the one that rpm is set up for.
pub(crate) async fn kernel_packages_in(
    host: &Host,
    database: &[&str],
) -> Result<Vec<Nevra>, HostError> {
    packages_in(host, database, Some("kernel*")).await
}

/// `rpm -qa`, of all packages or of those whose names fit.
async fn packages_in(
    host: &Host,
    database: &[&str],
    names: Option<&str>,
) -> Result<Vec<Nevra>, HostError> {
    let mut argv = vec!["rpm"];
    argv.extend(database);
    argv.extend(["-qa", "--queryformat", NEVRA_FORMAT]);
    argv.extend(names);
    let output = host.run(&argv, QUESTION_LIMIT).await?;
    let mut packages: Vec<Nevra> = output.stdout.lines().filter_map(Nevra::parse).collect();
    packages.sort();
    Ok(packages)
}

/// `grubby --default-kernel`: a path below `/boot`; `None` when no entry is the default.
pub async fn default_kernel(host: &Host) -> Result<Option<String>, HostError> {
    match host
        .run(&["grubby", "--default-kernel"], QUESTION_LIMIT)
        .await
    {
        Ok(output) => Ok(output
            .stdout
            .lines()
            .map(str::trim)
            .find(|line| line.starts_with('/'))
            .map(str::to_owned)),
        // It ends so when it finds no default, or no boot loader.
        Err(HostError::Failed { code: Some(1), .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// `grubby --info=ALL`.
pub async fn entries(host: &Host) -> Result<Vec<BootEntry>, HostError> {
    match host.run(&["grubby", "--info=ALL"], QUESTION_LIMIT).await {
        Ok(output) => Ok(parse_entries(&output.stdout)),
        Err(HostError::Failed { code: Some(1), .. }) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

/// `key=value` lines, an entry beginning with `index=`; values are in quotes, without any escape.
fn parse_entries(text: &str) -> Vec<BootEntry> {
    let mut entries: Vec<BootEntry> = Vec::new();
    let mut entry = BootEntry::default();
    // Kernel and arguments of one entry come in this order; an index alone (`non linux entry`) is none.
    let mut keep = |entry: BootEntry| {
        if !entry.kernel.is_empty() && entries.len() < ENTRIES_LIMIT {
            entries.push(entry);
        }
    };
    for line in text.lines() {
        let Some((key, value)) = line.trim().split_once('=') else {
            continue;
        };
        let value = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'))
            .unwrap_or(value);
        match key {
            "index" => keep(std::mem::take(&mut entry)),
            "kernel" => value.clone_into(&mut entry.kernel),
            "args" => value.clone_into(&mut entry.arguments),
            _ => {}
        }
    }
    keep(entry);
    entries
}

/// A transaction of dnf. Where systemd runs the host dnf is a unit of its own there: a daemon that is ended, with all
/// of its container, must not cut a package transaction in two. So it prints to no pipe of ours either: dnf ends by
/// SIGPIPE when nobody reads one any more (seen with dnf 4), in the middle of its transaction.
pub async fn dnf(host: &Host, argv: &[&str]) -> Result<(), HostError> {
    if !host.exists(SYSTEMD) || !host.has_program("systemd-run") {
        return done(host.run(argv, DNF_LIMIT).await.map(drop));
    }
    wait_for_earlier(host).await?;
    // systemd writes over a file from its beginning.
    host.remove(DNF_WORDS)?;
    let unit = format!("--unit={DNF_UNIT}");
    let limit = format!("--property=RuntimeMaxSec={}", DNF_LIMIT.as_secs());
    let words = format!("--property=StandardError=file:{DNF_WORDS}");
    let mut whole = vec![
        "systemd-run",
        "--quiet",
        "--wait",
        "--collect",
        &unit,
        &limit,
        &words,
        "--setenv=LC_ALL=C.UTF-8",
    ];
    whole.extend(argv);
    // The unit's own limit ends dnf; ours ends the one that waits, a little later.
    let limit = DNF_LIMIT + QUESTION_LIMIT;
    match done(host.run(&whole, limit).await.map(drop)) {
        Err(HostError::Failed {
            command,
            code,
            stderr,
        }) => Err(HostError::Failed {
            command,
            code,
            stderr: dnf_words(host).unwrap_or(stderr),
        }),
        other => other,
    }
}

/// The end of what dnf said in its unit; `None` when it said nothing.
fn dnf_words(host: &Host) -> Option<String> {
    let mut tail = Tail::new(STDERR_LIMIT);
    tail.push(&host.read_bytes(DNF_WORDS).ok()?);
    Some(tail.text()).filter(|words| !words.is_empty())
}

/// Whether the dnf of this or an earlier daemon is at work. A question that fails says nothing, least of all that
/// nothing runs: it is asked again.
async fn dnf_runs(host: &Host) -> Result<bool, HostError> {
    if !host.exists(SYSTEMD) || !host.has_program("systemd-run") {
        return Ok(false);
    }
    // It knows units that are not there, too: they are inactive. `is-active` says the same of one that is on its way out.
    let argv = [
        "systemctl",
        "show",
        "--property=ActiveState",
        "--value",
        DNF_UNIT,
    ];
    let output = host.run(&argv, QUESTION_LIMIT).await?;
    Ok(RUNS.contains(&output.stdout.trim()))
}

/// Waits until the dnf of an earlier daemon has ended.
async fn wait_for_earlier(host: &Host) -> Result<(), HostError> {
    let deadline = Instant::now() + DNF_LIMIT;
    while dnf_runs(host).await? {
        if Instant::now() > deadline {
            return Err(HostError::TimeLimit {
                command: DNF_UNIT.to_owned(),
                limit: DNF_LIMIT,
                stderr: "it was begun by an earlier daemon".to_owned(),
            });
        }
        tokio::time::sleep(DNF_LOOK).await;
    }
    Ok(())
}

/// A change of the boot loader's entries.
pub async fn grubby(host: &Host, argv: &[&str]) -> Result<(), HostError> {
    done(host.run(argv, GRUBBY_LIMIT).await.map(drop))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn entries_of_grubby() {
        let text = "index=0\n\
            kernel=\"/boot/vmlinuz-5.14.0-427.13.1.el9_4.x86_64+rt\"\n\
            args=\"ro crashkernel=1G-4G:192M dyndbg=\"file ec.c +p\" $tuned_params\"\n\
            root=\"/dev/mapper/rhel-root\"\n\
            initrd=\"/boot/initramfs-5.14.0-427.13.1.el9_4.x86_64+rt.img $tuned_initrd\"\n\
            title=\"Red Hat Enterprise Linux (5.14.0-427.13.1.el9_4.x86_64+rt) 9.4 (Plow)\"\n\
            id=\"0123-5.14.0-427.13.1.el9_4.x86_64+rt\"\n\
            index=1\nnon linux entry\n\
            index=2\nkernel=\"/boot/vmlinuz-0-rescue\"\nroot=\"UUID=1\"\n";
        assert_eq!(
            parse_entries(text),
            [
                BootEntry {
                    kernel: "/boot/vmlinuz-5.14.0-427.13.1.el9_4.x86_64+rt".into(),
                    arguments: "ro crashkernel=1G-4G:192M dyndbg=\"file ec.c +p\" $tuned_params"
                        .into(),
                },
                BootEntry {
                    kernel: "/boot/vmlinuz-0-rescue".into(),
                    arguments: String::new(),
                }
            ]
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in "\\PC*") {
            let _ = parse_entries(&text);
        }

        #[test]
        fn what_is_printed_is_read(entries in prop::collection::vec(("/boot/[a-z0-9.+-]{1,20}", "[a-z=\" ]{0,30}"), 0..6)) {
            use std::fmt::Write as _;
            let mut text = String::new();
            for (index, (kernel, arguments)) in entries.iter().enumerate() {
                writeln!(text, "index={index}\nkernel=\"{kernel}\"\nargs=\"{arguments}\"\nroot=\"/\"").unwrap();
            }
            let read = parse_entries(&text);
            prop_assert_eq!(read.len(), entries.len());
            for (read, (kernel, arguments)) in read.iter().zip(&entries) {
                prop_assert_eq!((&read.kernel, &read.arguments), (kernel, arguments));
            }
        }
    }
}
