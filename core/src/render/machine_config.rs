//! The MachineConfig: kernel, arguments, files and units. Never Ignition's own kernelArguments section, a later change
//! of which is refused, and never a file that something on the host writes to, which would count as drift.

mod files;
mod ignition;
mod oci_hook;

use kube::core::ObjectMeta;

use super::kernel_arguments::kernel_arguments;
use crate::api::realtime_profile::KernelPageSize;
use crate::cluster::Dialect;
use crate::names;
use crate::openshift::{MachineConfig, MachineConfigSpec};
use crate::validate::ValidProfile;

/// `kernelType` of the real-time kernel.
pub const KERNEL_TYPE_REALTIME: &str = "realtime";
/// `kernelType` of the aarch64 kernel with 64 KiB pages.
pub const KERNEL_TYPE_64K: &str = "64k-pages";

/// `None` where MachineConfigs aren't served.
pub(super) fn machine_config(profile: &ValidProfile) -> Option<MachineConfig> {
    let mut config = without_files(profile)?;
    config.spec.config = Some(ignition::config(profile));
    Some(config)
}

/// The same without its files and units: what other MachineConfigs can contradict.
pub(crate) fn without_files(profile: &ValidProfile) -> Option<MachineConfig> {
    if !profile.served.machine_configs {
        return None;
    }
    let kernel = kernel(profile);
    let arguments = kernel_arguments(profile);
    Some(MachineConfig {
        metadata: ObjectMeta {
            name: Some(names::machine_config_name(&profile.name)),
            labels: Some(profile.pool.machine_config_labels.clone()),
            ..ObjectMeta::default()
        },
        spec: MachineConfigSpec {
            kernel_arguments: (!arguments.is_empty()).then_some(arguments),
            kernel_type: kernel.kernel_type.map(str::to_owned),
            realtime: kernel.realtime,
            ..MachineConfigSpec::default()
        },
    })
}

#[derive(Default)]
struct Kernel {
    kernel_type: Option<&'static str>,
    realtime: Option<bool>,
}

/// Nothing for the stock kernel: `kernelType: default` doesn't reset what another MachineConfig asks for, so it would
/// only pretend. Nothing either when the node daemon switches the kernel.
fn kernel(profile: &ValidProfile) -> Kernel {
    if !profile.kernel.by_machine_config_operator {
        return Kernel::default();
    }
    let realtime = profile.kernel.realtime;
    let pages_64k = profile.kernel_page_size == KernelPageSize::Kib64;
    match profile.dialect() {
        Dialect::KernelType if realtime => Kernel {
            kernel_type: Some(KERNEL_TYPE_REALTIME),
            ..Kernel::default()
        },
        Dialect::KernelType if pages_64k => Kernel {
            kernel_type: Some(KERNEL_TYPE_64K),
            ..Kernel::default()
        },
        Dialect::Realtime if realtime => Kernel {
            realtime: Some(true),
            ..Kernel::default()
        },
        Dialect::KernelType | Dialect::Realtime | Dialect::None => Kernel::default(),
    }
}
