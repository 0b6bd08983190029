//! The arguments of the catalogue's entries: conditions and values, pure functions of the profile. Which entry there is
//! and why says the catalogue.

use super::pstate::intel_mode;
use crate::api::realtime_profile::Power;
use crate::cpu_set::CpuSet;
use crate::facts::{Architecture, CpuVendor};
use crate::validate::ValidProfile;

pub(super) fn when(condition: bool, argument: &str) -> Vec<String> {
    if condition {
        vec![argument.to_owned()]
    } else {
        Vec::new()
    }
}

/// An argument with the isolated CPUs; none without any, since an empty list means something else to the kernel.
pub(super) fn isolated(profile: &ValidProfile, prefix: &str) -> Vec<String> {
    profile
        .cpus
        .iter()
        .filter(|cpus| !cpus.isolated.is_empty())
        .map(|cpus| format!("{prefix}{}", cpus.isolated))
        .collect()
}

/// An argument with the reserved CPUs; none without any.
pub(super) fn reserved(
    profile: &ValidProfile,
    argument: impl Fn(&CpuSet) -> String,
) -> Vec<String> {
    profile
        .cpus
        .iter()
        .filter(|cpus| !cpus.reserved.is_empty())
        .map(|cpus| argument(&cpus.reserved))
        .collect()
}

pub(super) fn is_x86(profile: &ValidProfile) -> bool {
    profile.hardware.architecture == Architecture::Amd64
}

pub(super) fn is_intel(profile: &ValidProfile) -> bool {
    is_x86(profile) && profile.hardware.cpu_vendor == Some(CpuVendor::Intel)
}

pub(super) fn is_amd(profile: &ValidProfile) -> bool {
    is_x86(profile) && profile.hardware.cpu_vendor == Some(CpuVendor::Amd)
}

pub(super) fn realtime_cpus(profile: &ValidProfile) -> bool {
    profile.kernel.realtime && profile.cpus.is_some()
}

pub(super) fn ultra(profile: &ValidProfile) -> bool {
    profile.power == Power::UltraLowLatency
}

/// `LowLatency` is also what a profile gets that says nothing about power: without a partition of the CPUs it
/// must not add an argument that nobody asked for.
pub(super) fn sets_pstate(profile: &ValidProfile) -> bool {
    match profile.power {
        Power::Balanced => false,
        Power::LowLatency => profile.cpus.is_some(),
        Power::UltraLowLatency | Power::PerPod => true,
    }
}

pub(super) fn intel_pstate(profile: &ValidProfile) -> Option<String> {
    if !is_intel(profile) || !sets_pstate(profile) {
        return None;
    }
    let mode = if profile.power == Power::PerPod {
        "passive"
    } else {
        intel_mode(profile.hardware.cpu_family_model)
    };
    Some(format!("intel_pstate={mode}"))
}

pub(super) fn amd_pstate(profile: &ValidProfile) -> Option<String> {
    if !is_amd(profile) || !sets_pstate(profile) {
        return None;
    }
    let mode = if profile.power == Power::PerPod {
        "passive"
    } else {
        "guided"
    };
    Some(format!("amd_pstate={mode}"))
}

pub(super) fn default_hugepages(profile: &ValidProfile) -> Option<String> {
    let size = profile.hugepages.default_kib?;
    Some(format!("default_hugepagesz={}", size_text(size)))
}

/// 2 MiB in KiB: the size that every x86 kernel uses when no default is named.
const KIB_2M: u64 = 2048;

pub(super) fn hugepages(profile: &ValidProfile) -> Vec<String> {
    let pages = &profile.hugepages;
    let mut arguments: Vec<String> = pages
        .spread
        .iter()
        .flat_map(|(size, count)| pair(*size, *count))
        .collect();
    let only_on_node = pages.on_node.iter().any(|(_, size, _)| *size == KIB_2M)
        && !pages.spread.iter().any(|(size, _)| *size == KIB_2M);
    let other_default = pages.default_kib.is_some_and(|size| size != KIB_2M);
    if is_x86(profile) && only_on_node && other_default {
        arguments.extend(pair(KIB_2M, 0));
    }
    arguments
}

pub(super) fn pair(size: u64, count: u64) -> [String; 2] {
    [
        format!("hugepagesz={}", size_text(size)),
        format!("hugepages={count}"),
    ]
}

/// A size in KiB in the kernel's short form: `1G`, `2M`, `64K`.
pub(super) fn size_text(kib: u64) -> String {
    const KIB_1M: u64 = 1024;
    const KIB_1G: u64 = 1024 * 1024;
    if kib >= KIB_1G && kib.is_multiple_of(KIB_1G) {
        format!("{}G", kib / KIB_1G)
    } else if kib >= KIB_1M && kib.is_multiple_of(KIB_1M) {
        format!("{}M", kib / KIB_1M)
    } else {
        format!("{kib}K")
    }
}
