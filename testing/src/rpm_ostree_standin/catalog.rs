//! The stock hosts: bases and repositories as they were measured, and profiles to begin with. Data; must not read files.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::boot;
use super::fault::Step;
use super::origin::{Origin, Source};
use super::package::{Capability, Package, Quirk};
use super::state::{Base, Boot, Commit, Contents, Deployment, Space, State, Version};

/// When the measured repositories were made, seconds since 1970.
pub const GENERATED: i64 = 1_795_255_505;

/// Where the measured repositories were served.
pub const SERVER: &str = "http://127.0.0.1:18473";

/// How the base is named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OriginKind {
    /// An ostree reference, `rhcos/stable`.
    Ostree,
    /// A container image, as OpenShift since 4.12.
    Container,
}

/// What a host begins with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The program.
    pub version: Version,
    /// The stateroot.
    pub osname: String,
    /// The base that is booted first.
    pub base: Base,
    /// Where it comes from.
    pub source: Source,
    /// The kernel arguments, without `ostree=`.
    pub kargs: Vec<String>,
    /// `/etc/yum.repos.d`: id and base address.
    pub repositories: Vec<(String, String)>,
    /// What addresses serve.
    pub web: BTreeMap<String, Contents>,
    /// Free and used space.
    pub space: Space,
}

impl Profile {
    /// The host of the recordings: base v1, repository r1 with kernel-rt 284.11.1.
    pub fn measured(version: Version, kind: OriginKind) -> Self {
        let base = base(1);
        Self {
            version,
            osname: "rhcos".to_owned(),
            source: match kind {
                OriginKind::Ostree => Source::Refspec("rhcos/stable".to_owned()),
                OriginKind::Container => Source::Container(
                    "ostree-unverified-registry:quay.example/rhcos:stable".to_owned(),
                ),
            },
            base,
            kargs: ["root=UUID=0000", "rw", "console=ttyS0", "quiet"]
                .map(str::to_owned)
                .to_vec(),
            repositories: vec![("coreos-extensions".to_owned(), format!("{SERVER}/r1/"))],
            web: ["r1", "r2", "r3", "empty"]
                .map(|name| (format!("{SERVER}/{name}/"), contents(name)))
                .into(),
            space: Space {
                boot: 384 * 1024,
                boot_other: 20 * 1024,
                // A kernel with its initramfs, so that a fourth one in /boot doesn't fit.
                kernel: 100 * 1024,
                sysroot: 100 * 1024 * 1024,
                sysroot_free: 60 * 1024 * 1024,
                layer: 400 * 1024,
            },
        }
    }

    /// The first state: booted, nothing staged.
    pub fn state(&self) -> State {
        let mut state = State {
            version: self.version,
            osname: self.osname.clone(),
            deployments: Vec::new(),
            boot: Boot {
                id: boot::boot_id(1, &self.base.checksum),
                count: 1,
                deployment: String::new(),
                up: true,
                boot_complete_failure: None,
                finalize_journal: Vec::new(),
            },
            bootversion: 0,
            boot_directories: BTreeMap::new(),
            orphans: Vec::new(),
            commits: BTreeMap::new(),
            refs: BTreeMap::new(),
            images: BTreeMap::new(),
            web: self.web.clone(),
            files: BTreeMap::new(),
            metadata: BTreeMap::new(),
            damaged: BTreeSet::new(),
            pkgcache: BTreeMap::new(),
            transaction: None,
            clients: 0,
            transactions: 0,
            cached_update: None,
            slow: 0,
            slow_at: Step::Initramfs,
            space: self.space,
            falls_back: false,
            faults: Vec::new(),
        };
        let mut base = self.base.clone();
        let digest = match &self.source {
            Source::Container(reference) => {
                let digest = format!(
                    "sha256:{}",
                    boot::hex(&[b"image", base.checksum.as_bytes()])
                );
                state
                    .images
                    .insert(reference.clone(), (base.clone(), digest.clone()));
                base.checksum = boot::hex(&[b"import", base.checksum.as_bytes(), b"0"]);
                Some(digest)
            }
            Source::Refspec(refspec) => {
                state.refs.insert(refspec.clone(), base.checksum.clone());
                None
            }
            Source::Commit(_) => None,
        };
        let kernel = base
            .packages
            .iter()
            .find_map(|one| one.kernel.clone())
            .unwrap_or_default();
        let deployment = Deployment {
            checksum: base.checksum.clone(),
            serial: 0,
            base: base.checksum.clone(),
            layer: None,
            origin: Origin::stock(self.source.clone()),
            kargs: self
                .kargs
                .iter()
                .cloned()
                .chain(["ostree=".to_owned()])
                .collect(),
            packages: base.packages.clone(),
            kernel,
            staged: false,
            locked: false,
            pinned: false,
        };
        state.boot.deployment = deployment.directory();
        state
            .commits
            .insert(base.checksum.clone(), Commit { base, digest });
        state.deployments.push(deployment);
        boot::write_boot_loader(&mut state);
        state
    }
}

impl FromStr for Profile {
    type Err = String;

    /// `2023.2`, `2024.7` or `2024.7-container`.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "2023.2" => Ok(Self::measured(Version::V2023_2, OriginKind::Ostree)),
            "2023.2-container" => Ok(Self::measured(Version::V2023_2, OriginKind::Container)),
            "2024.7" => Ok(Self::measured(Version::V2024_7, OriginKind::Ostree)),
            "2024.7-container" => Ok(Self::measured(Version::V2024_7, OriginKind::Container)),
            other => Err(format!(
                "no profile {other}: there are 2023.2, 2023.2-container, 2024.7 and 2024.7-container"
            )),
        }
    }
}

const OTHERS: [&str; 8] = [
    "bash-5.1.8-6.el9_1.x86_64",
    "coreutils-8.32-34.el9.x86_64",
    "filesystem-3.16-2.el9.x86_64",
    "glibc-2.34-60.el9.x86_64",
    "ostree-2022.7-1.el9.x86_64",
    "rpm-4.16.1.3-22.el9.x86_64",
    "setup-2.13.7-9.el9.noarch",
    "systemd-252-13.el9_2.x86_64",
];

/// The measured base of generation 1, 2 or 3: 284.11.1, 284.25.1, and 427.24.1 without kernel-modules-extra.
pub fn base(generation: u8) -> Base {
    let (version, kernel, microcode) = match generation {
        1 => (
            "413.92.202306140000-0",
            "5.14.0-284.11.1.el9_2",
            "20220809-2.20230214.1.el9_2",
        ),
        2 => (
            "413.92.202308210000-0",
            "5.14.0-284.25.1.el9_2",
            "20220809-2.20230214.1.el9_2",
        ),
        _ => (
            "416.94.202407010000-0",
            "5.14.0-427.24.1.el9_4",
            "20230808-2.20231009.1.el9_2",
        ),
    };
    let mut nevras: Vec<String> = ["", "-core", "-modules", "-modules-core", "-modules-extra"]
        .iter()
        .filter(|part| generation < 3 || **part != "-modules-extra")
        .map(|part| format!("kernel{part}-{kernel}.x86_64"))
        .collect();
    nevras.push(format!("microcode_ctl-4:{microcode}.noarch"));
    nevras.extend(OTHERS.iter().map(|one| (*one).to_owned()));
    Base {
        checksum: boot::hex(&[b"base", version.as_bytes()]),
        version: Some(version.to_owned()),
        timestamp: 1_795_256_489 + i64::from(generation) * 6,
        packages: packages(&nevras),
    }
}

/// What the measured repository of this name held.
pub fn contents(name: &str) -> Contents {
    let release = match name {
        "r1" => Some("5.14.0-284.11.1.rt14.296.el9_2"),
        "r2" => Some("5.14.0-284.25.1.rt14.310.el9_2"),
        "r3" => Some("5.14.0-427.24.1.el9_4"),
        _ => None,
    };
    // Even `empty` has one package that nobody layers a kernel with.
    let mut list = packages(&["tuned-rt-2.20-1.el9.noarch".to_owned()]);
    if let Some(release) = release {
        let nevras: Vec<String> = ["core", "kvm", "modules", "modules-core", "modules-extra"]
            .iter()
            .map(|part| format!("kernel-rt-{part}-{release}.x86_64"))
            .collect();
        list.extend(packages(&nevras));
        list.extend(extras());
    }
    Contents {
        packages: list,
        generated: GENERATED,
    }
}

fn packages(nevras: &[String]) -> Vec<Package> {
    nevras
        .iter()
        .filter_map(|nevra| Package::from_nevra(nevra))
        .collect()
}

fn extras() -> Vec<Package> {
    let noarch = |name: &str| Package::from_nevra(&format!("{name}-1.0-1.el9.noarch"));
    let with = |name: &str, change: &dyn Fn(&mut Package)| {
        noarch(name).map(|mut package| {
            change(&mut package);
            package
        })
    };
    [
        Package::from_nevra("microcode_ctl-4:20230808-2.20231009.1.el9_2.noarch"),
        with("needs-missing", &|one| {
            one.requires.push(Capability {
                name: "no-such-capability".to_owned(),
                constraint: Some((">=".to_owned(), "3".to_owned())),
            });
        }),
        with("needs-stock", &|one| {
            one.requires
                .push(Capability::exactly("kernel-core", "5.14.0-284.11.1.el9_2"));
        }),
        with("kernel-rt-oot", &|one| {
            one.requires.push(Capability::any("kernel-rt-core"));
        }),
        with("conflictor", &|one| {
            one.conflicts.push(Capability::any("bash"));
        }),
        with("fileclash", &|one| one.quirk = Some(Quirk::FileConflict)),
        with("badpost", &|one| one.quirk = Some(Quirk::FailingScript)),
        with("dracut-fail", &|one| {
            one.quirk = Some(Quirk::FailingInitramfs);
        }),
        with("dracut-sleep", &|one| {
            one.quirk = Some(Quirk::SlowInitramfs(200));
        }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
