//! The command line of `rpm-ostree`: text to a command. Pure.

use super::{Cleanup, Command, Flags, Packages};
use crate::rpm_ostree_standin::kargs::Changes;

/// Why a command line is refused: the whole standard error.
pub type Refusal = String;

impl Command {
    /// Reads the arguments behind `rpm-ostree`. `quiet_known`: `-q` is an option.
    pub fn parse(arguments: &[String], quiet_known: bool) -> Result<Self, Refusal> {
        let Some((first, rest)) = arguments.split_first() else {
            return Err(usage("COMMAND", "No command specified"));
        };
        let mut name = first.as_str();
        let mut rest = rest;
        if name == "--version" {
            return Ok(Self::Version);
        }
        if name == "override" || name == "db" {
            let group = name;
            let Some((sub, after)) = rest.split_first() else {
                return Err(usage(
                    &format!("{group} COMMAND"),
                    &format!("No \"{group}\" subcommand specified"),
                ));
            };
            let known = match (group, sub.as_str()) {
                ("override", "remove") => "override remove",
                ("override", "reset") => "override reset",
                ("override", "replace") => "override replace",
                ("db", "list") => "db list",
                _ => {
                    return Err(usage(
                        &format!("{group} COMMAND"),
                        &format!("Unknown \"{group}\" subcommand \"{sub}\""),
                    ));
                }
            };
            name = known;
            rest = after;
        }
        let (values, switches) = options_of(name)
            .ok_or_else(|| usage("COMMAND", &format!("Unknown command '{first}'")))?;
        let mut reader = Reader::default();
        reader.read(rest, values, switches, quiet_known)?;
        reader.command(name)
    }
}

type Options = (&'static [&'static str], &'static [&'static str]);

/// Options that take a value, and those that don't.
#[allow(clippy::too_many_lines, reason = "a table")]
fn options_of(name: &str) -> Option<Options> {
    const CHANGE: &[&str] = &[
        "--reboot",
        "--dry-run",
        "--cache-only",
        "--lock-finalization",
        "--experimental",
        "--peer",
        "--all",
        "--idempotent",
        "--allow-inactive",
        "--unchanged-exit-77",
        "--download-only",
        "--assumeyes",
        "--apply-live",
        "--force-replacefiles",
        "--check",
        "--preview",
        "--allow-downgrade",
        "--bypass-driver",
        "--disallow-downgrade",
        "--skip-purge",
        "--trigger-automatic-update-policy",
    ];
    const VALUES: &[&str] = &["--install", "--uninstall", "--os", "--sysroot"];
    Some(match name {
        "status" => (
            &["--sysroot", "--jsonpath"],
            &[
                "--json",
                "--booted",
                "--pending-exit-77",
                "--verbose",
                "--peer",
            ],
        ),
        "override remove" => (
            &["--install", "--uninstall", "--replace", "--os", "--sysroot"],
            CHANGE,
        ),
        "override replace" => (
            &[
                "--install",
                "--uninstall",
                "--remove",
                "--from",
                "--os",
                "--sysroot",
            ],
            CHANGE,
        ),
        "override reset" | "install" | "uninstall" | "upgrade" | "deploy" | "rollback" => {
            (VALUES, CHANGE)
        }
        "rebase" => (
            &[
                "--install",
                "--uninstall",
                "--os",
                "--sysroot",
                "--custom-origin-url",
                "--custom-origin-description",
            ],
            CHANGE,
        ),
        "kargs" => (
            &[
                "--append",
                "--delete",
                "--replace",
                "--append-if-missing",
                "--delete-if-present",
                "--deploy-index",
                "--os",
                "--sysroot",
            ],
            &[
                "--import-proc-cmdline",
                "--unchanged-exit-77",
                "--reboot",
                "--lock-finalization",
                "--editor",
                "--peer",
            ],
        ),
        "cleanup" => (
            &["--os", "--sysroot"],
            &["--pending", "--rollback", "--base", "--repomd", "--peer"],
        ),
        "refresh-md" => (&["--os"], &["--force", "--peer"]),
        "cancel" | "reload" => (&["--sysroot"], &["--peer"]),
        "finalize-deployment" => (
            &["--os", "--sysroot"],
            &["--allow-missing-checksum", "--allow-unlocked", "--peer"],
        ),
        "initramfs" => (
            &["--arg", "--os"],
            &[
                "--enable",
                "--disable",
                "--reboot",
                "--lock-finalization",
                "--peer",
            ],
        ),
        "db list" => (&["--repo", "--sysroot"], &["--advisories"]),
        _ => return None,
    })
}

/// The usage is not the real program's: only the last line is.
fn usage(form: &str, error: &str) -> Refusal {
    format!(
        "Usage:\n  rpm-ostree {form} [OPTION…]\n\n(stand-in: the real program lists the options here)\n\nerror: {error}"
    )
}

#[derive(Default)]
struct Reader {
    values: Vec<(String, String)>,
    switches: Vec<String>,
    positional: Vec<String>,
}

impl Reader {
    fn read(
        &mut self,
        arguments: &[String],
        values: &[&str],
        switches: &[&str],
        quiet_known: bool,
    ) -> Result<(), Refusal> {
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            if argument == "--" {
                self.positional.extend(arguments.cloned());
                return Ok(());
            }
            if let Some(letters) = argument
                .strip_prefix('-')
                .filter(|rest| !rest.starts_with('-') && !rest.is_empty())
            {
                for letter in letters.chars() {
                    let long = short(letter, switches, quiet_known)
                        .ok_or_else(|| format!("error: Unknown option -{letter}"))?;
                    self.switches.push(long.to_owned());
                }
                continue;
            }
            if !argument.starts_with("--") {
                self.positional.push(argument.clone());
                continue;
            }
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), None),
            };
            if values.contains(&name) {
                let Some(value) = value.or_else(|| arguments.next().cloned()) else {
                    return Err(format!("error: Missing argument for {name}"));
                };
                self.values.push((name.to_owned(), value));
            } else if switches.contains(&name) || name == "--quiet" && quiet_known {
                self.switches.push(name.to_owned());
            } else {
                return Err(format!("error: Unknown option {name}"));
            }
        }
        Ok(())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.values
            .iter()
            .filter(|(one, _)| one == name)
            .map(|(_, value)| value.clone())
            .collect()
    }

    fn one(&self, name: &str) -> Option<String> {
        self.all(name).pop()
    }

    fn has(&self, name: &str) -> bool {
        self.switches.iter().any(|one| one == name)
    }

    fn flags(&self) -> Flags {
        Flags {
            dry_run: self.has("--dry-run"),
            reboot: self.has("--reboot"),
            cache_only: self.has("--cache-only"),
            lock: self.has("--lock-finalization"),
            idempotent: self.has("--idempotent"),
            allow_inactive: self.has("--allow-inactive"),
            unchanged_77: self.has("--unchanged-exit-77"),
            all: self.has("--all"),
            check: self.has("--check") || self.has("--preview"),
            download_only: self.has("--download-only"),
        }
    }

    fn packages(&self) -> Packages {
        Packages {
            arguments: self.positional.clone(),
            install: self.all("--install"),
            uninstall: self.all("--uninstall"),
            replace: self.all("--replace"),
            remove: self.all("--remove"),
        }
    }

    fn kargs(&self, flags: Flags) -> Command {
        let changes = Changes {
            delete: self.all("--delete"),
            replace: self.all("--replace"),
            append: self.all("--append"),
            append_if_missing: self.all("--append-if-missing"),
            delete_if_present: self.all("--delete-if-present"),
        };
        if changes.is_empty() {
            return Command::ShowKargs {
                index: self
                    .one("--deploy-index")
                    .and_then(|text| text.parse().ok()),
                running: self.has("--import-proc-cmdline"),
            };
        }
        Command::Kargs(changes, flags)
    }

    fn command(&self, name: &str) -> Result<Command, Refusal> {
        match name {
            "override remove" | "override replace" | "override reset" | "install" | "uninstall" => {
                self.package_command(name)
            }
            _ => self.other_command(name),
        }
    }

    fn package_command(&self, name: &str) -> Result<Command, Refusal> {
        let (packages, flags) = (self.packages(), self.flags());
        let none = packages.arguments.is_empty();
        let refused = |error: &str| {
            usage(
                &format!("{name} PACKAGE [PACKAGE...]"),
                &format!("usage error: {error}"),
            )
        };
        let may_be_all = matches!(name, "override reset" | "uninstall");
        if none && !(may_be_all && flags.all) {
            return Err(refused("At least one PACKAGE must be specified"));
        }
        Ok(match name {
            "override remove" => Command::OverrideRemove(packages, flags),
            "override replace" => {
                let from = self.one("--from");
                if from.is_some() && !self.has("--experimental") {
                    return Err(
                        "error: Must specify --experimental to use --freeze or --from".to_owned(),
                    );
                }
                let replace = packages.arguments.clone();
                let packages = Packages {
                    replace,
                    arguments: Vec::new(),
                    ..packages
                };
                Command::OverrideReplace(packages, flags, from)
            }
            "override reset" if flags.all && !none => {
                return Err(refused("Cannot specify PACKAGEs with --all"));
            }
            "override reset" => Command::OverrideReset(packages, flags),
            "install" => {
                let install = packages
                    .arguments
                    .iter()
                    .chain(&packages.install)
                    .cloned()
                    .collect();
                Command::Install(
                    Packages {
                        install,
                        arguments: Vec::new(),
                        ..packages
                    },
                    flags,
                )
            }
            _ => {
                let uninstall = packages
                    .arguments
                    .iter()
                    .chain(&packages.uninstall)
                    .cloned()
                    .collect();
                Command::Uninstall(
                    Packages {
                        uninstall,
                        arguments: Vec::new(),
                        ..packages
                    },
                    flags,
                )
            }
        })
    }

    fn other_command(&self, name: &str) -> Result<Command, Refusal> {
        let (packages, flags) = (self.packages(), self.flags());
        let first = || packages.arguments.first().cloned();
        Ok(match name {
            "status" => Command::Status {
                json: self.has("--json"),
                booted: self.has("--booted"),
                pending_77: self.has("--pending-exit-77"),
            },
            "kargs" => self.kargs(flags),
            "cleanup" => {
                let command = Command::Cleanup(Cleanup {
                    pending: self.has("--pending"),
                    rollback: self.has("--rollback"),
                    base: self.has("--base"),
                    metadata: self.has("--repomd"),
                });
                if self.switches.is_empty() {
                    return Err(
                        "error: cleanup: At least one cleanup option must be specified".to_owned(),
                    );
                }
                command
            }
            "rollback" => Command::Rollback(flags),
            "rebase" => {
                let target = first().ok_or_else(|| {
                    usage("rebase REFSPEC", "usage error: Must specify a REFSPEC")
                })?;
                let custom = self
                    .one("--custom-origin-url")
                    .zip(self.one("--custom-origin-description"));
                Command::Rebase(target, custom, flags)
            }
            "deploy" => {
                let target = first().ok_or_else(|| {
                    usage("deploy REVISION", "usage error: Must specify a REVISION")
                })?;
                Command::Deploy(target, flags)
            }
            "upgrade" => Command::Upgrade(flags),
            "refresh-md" => Command::RefreshMetadata(self.has("--force")),
            "cancel" => Command::Cancel,
            "reload" => Command::Reload,
            "finalize-deployment" => {
                let any = self.has("--allow-missing-checksum");
                if packages.arguments.is_empty() && !any {
                    return Err(usage(
                        "finalize-deployment CHECKSUM",
                        "usage error: Must provide expected CHECKSUM or --allow-missing-checksum",
                    ));
                }
                Command::Finalize {
                    checksum: first(),
                    any,
                    unlocked: self.has("--allow-unlocked"),
                }
            }
            "initramfs" => {
                let enable = if self.has("--enable") {
                    Some(true)
                } else {
                    self.has("--disable").then_some(false)
                };
                Command::Initramfs(enable, self.all("--arg"))
            }
            _ => {
                let revision = first().unwrap_or_default();
                let names = packages.arguments.iter().skip(1).cloned().collect();
                Command::DbList(revision, names)
            }
        })
    }
}

fn short(letter: char, switches: &[&str], quiet_known: bool) -> Option<&'static str> {
    let long = match letter {
        'n' => "--dry-run",
        'C' => "--cache-only",
        'p' => "--pending",
        'm' => "--repomd",
        'a' => "--all",
        'y' => "--assumeyes",
        'A' => "--apply-live",
        'f' => "--force",
        'v' => "--verbose",
        'r' if switches.contains(&"--rollback") => "--rollback",
        'r' => "--reboot",
        'b' if switches.contains(&"--booted") => "--booted",
        'b' => "--base",
        'q' if quiet_known => return Some("--quiet"),
        _ => return None,
    };
    switches.contains(&long).then_some(long)
}
