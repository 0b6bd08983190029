//! Which kernel, and who switches it, against what the cluster serves. Its arguments are `kernel_arguments`'.

use crate::api::realtime_profile::{KernelPageSize, KernelProvider, KernelSpec, PackageSource};
use crate::cluster::{Dialect, Served};
use crate::facts::Architecture;
use crate::problem::{Problem, Problems};
use crate::validate::valid_profile::ValidKernel;

/// What decides beside the spec.
pub(super) struct Around {
    pub served: Served,
    pub image_mode: bool,
    pub architecture: Architecture,
    pub page_size: KernelPageSize,
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
        && (provider == KernelProvider::NodeDaemon || served.dialect != Dialect::KernelType)
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
    let by_machine_config_operator = match provider {
        KernelProvider::Auto => able || around.image_mode,
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
