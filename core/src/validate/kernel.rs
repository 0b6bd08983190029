//! Which kernel, and who switches it, against what the cluster serves. Its arguments are `kernel_arguments`'.

use crate::api::realtime_profile::{KernelPageSize, KernelProvider, KernelSpec, PackageSource};
use crate::cluster::{Dialect, Served};
use crate::facts::{Architecture, NodeFacts};
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidKernel;

/// What decides beside the spec.
pub(super) struct Around {
    pub served: Served,
    pub image_mode: bool,
    pub architecture: Architecture,
    pub page_size: KernelPageSize,
    pub systems: Systems,
}

/// Whether the Machine Config Operator's agent switches kernels on the pool's operating systems.
pub(super) enum Systems {
    /// It does, or it isn't known.
    Able,
    /// It reports success and leaves the stock kernel: such a system.
    Unable(String),
    /// Some are such and some are not: the first node of each sort with its system.
    Mixed { able: String, unable: String },
}

impl Systems {
    /// From the pool's nodes; while there are none, from those that may join it, if they all are the same.
    pub(super) fn of(nodes: &[NodeFacts], telling: &[NodeFacts]) -> Self {
        let first = |facts: &[NodeFacts], works: bool| {
            facts
                .iter()
                .find(|node| node.kernel_type_works() == Some(works))
                .map(|node| {
                    let image = node.os_image.as_deref().unwrap_or_default();
                    format!("{} ({image})", node.name)
                })
        };
        match (first(nodes, true), first(nodes, false)) {
            (Some(able), Some(unable)) => Self::Mixed { able, unable },
            (None, Some(unable)) => Self::Unable(unable),
            (Some(_), None) => Self::Able,
            (None, None) => match (first(telling, true), first(telling, false)) {
                (None, Some(unable)) => Self::Unable(unable),
                _ => Self::Able,
            },
        }
    }
}

pub(super) fn check(
    spec: Option<&KernelSpec>,
    around: &Around,
    problems: &mut Problems,
) -> ValidKernel {
    let empty = KernelSpec::default();
    let KernelSpec {
        realtime,
        provider,
        packages,
        additional_arguments,
    } = spec.unwrap_or(&empty);
    let realtime = realtime.unwrap_or_default();
    let provider = provider.unwrap_or_default();
    let field = "spec.kernel.provider";
    let served = around.served;
    let able = served.machine_configs && served.dialect != Dialect::None;
    let special = realtime || around.page_size == KernelPageSize::Kib64;
    if provider == KernelProvider::MachineConfigOperator && special && !able {
        let why = if served.machine_configs {
            "this cluster's MachineConfig has no field for the kernel"
        } else {
            "this cluster has no MachineConfigs"
        };
        problems.push(Problem::error(
            field,
            "MachineConfigOperator",
            why,
            "use Auto or NodeDaemon",
        ));
    }
    if around.image_mode && special && (provider == KernelProvider::NodeDaemon || !able) {
        problems.push(Problem::error(
            field,
            format!("{provider:?}"),
            "the pool is in image mode: its nodes boot an image that the cluster builds, and a kernel that the daemon installs would be lost",
            "use MachineConfigOperator, or take the pool out of image mode (its MachineOSConfig)",
        ));
    }
    if around.page_size == KernelPageSize::Kib64
        && (provider == KernelProvider::NodeDaemon
            || served.dialect != Dialect::KernelType
            || provider == KernelProvider::Auto && matches!(around.systems, Systems::Unable(_)))
    {
        problems.push(Problem::error(
            "spec.memory.kernelPageSize",
            "64k",
            "only the Machine Config Operator switches to this kernel, through kernelType",
            "use 4k",
        ));
    }
    if realtime
        && matches!(
            around.architecture,
            Architecture::Ppc64le | Architecture::S390x
        )
    {
        problems.push(Problem::error(
            "spec.kernel.realtime",
            "true",
            format!(
                "there is no real-time kernel for {}",
                around.architecture.name()
            ),
            "remove it; the rest of the profile works with the stock kernel",
        ));
    }
    let unable = matches!(around.systems, Systems::Unable(_));
    if special && able && !around.image_mode {
        check_systems(provider, around, problems);
    }
    let by_machine_config_operator = match provider {
        KernelProvider::Auto => able && !unable || around.image_mode,
        KernelProvider::MachineConfigOperator => true,
        KernelProvider::NodeDaemon => false,
    };
    if let Some(packages) = packages {
        if by_machine_config_operator {
            problems.push(Problem::warning(
                "spec.kernel.packages",
                "",
                "is not used: the Machine Config Operator switches the kernel, from the packages of the release",
                "remove it, or set provider: NodeDaemon",
            ));
        }
        check_source(packages.source.as_ref(), problems);
    }
    ValidKernel {
        realtime,
        by_machine_config_operator,
        packages: packages.clone(),
        additional_arguments: additional_arguments.clone(),
    }
}

/// The Machine Config Operator reports success on systems whose kernel it can't switch: the pool would say UPDATED, and
/// the stock kernel run.
fn check_systems(provider: KernelProvider, around: &Around, problems: &mut Problems) {
    let field = "spec.kernel.provider";
    let says_done = "there the Machine Config Operator reports success and leaves the stock kernel";
    let value = format!("{provider:?}");
    match (provider, &around.systems) {
        (KernelProvider::NodeDaemon, _) | (_, Systems::Able) => {}
        (KernelProvider::Auto, Systems::Unable(node)) => problems.push(Problem::warning(
            field,
            value,
            format!("the node daemon switches the kernel: the pool has {node}, and {says_done}"),
            "nothing, if the hosts' repositories have kernel-rt; else name a source in spec.kernel.packages.source",
        )),
        (KernelProvider::Auto, Systems::Mixed { able, unable }) => problems.push(Problem::error(
            field,
            value,
            format!("the pool has both {able}, whose kernel the Machine Config Operator switches, and {unable}: {says_done}"),
            "give each sort of node a pool and a profile of its own, or set NodeDaemon for all of them",
        )),
        (
            KernelProvider::MachineConfigOperator,
            Systems::Unable(unable) | Systems::Mixed { unable, .. },
        ) => problems.push(Problem::warning(
            field,
            value,
            format!("the pool has {unable}, and {says_done}"),
            "set NodeDaemon",
        )),
    }
}

fn check_source(source: Option<&PackageSource>, problems: &mut Problems) {
    let Some(PackageSource {
        repositories,
        urls,
        directory,
        image,
    }) = source
    else {
        return;
    };
    let given = [
        repositories.is_some(),
        urls.is_some(),
        directory.is_some(),
        image.is_some(),
    ];
    let count = given.iter().filter(|given| **given).count();
    if count != 1 {
        problems.push(Problem::error(
            "spec.kernel.packages.source",
            "",
            format!("names {count} sources, and exactly one is wanted"),
            "give one of repositories, urls, directory and image",
        ));
    }
}
