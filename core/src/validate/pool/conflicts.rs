//! Who else claims the pool: other profiles, PerformanceProfiles, foreign KubeletConfigs, inherited kernels.
//! Each problem names the object that is in the way.

use std::collections::BTreeMap;

use kube::ResourceExt;

use super::beside::{Beside, Source};
use super::name_of;
use crate::api::RealtimeProfile;
use crate::api::realtime_profile::KernelPageSize;
use crate::cluster::Cluster;
use crate::merge::{
    DEFAULT_KERNEL_TYPE, KERNEL_DEVEL, MergeError, check_kernel_devel, not_default,
};
use crate::names::{LABEL_NODE_ROLE_PREFIX, LABEL_PROFILE, object_name, pool_label};
use crate::openshift::{KubeletConfig, MachineConfig, PerformanceProfile};
use crate::problem::{Problem, Problems};
use crate::render::machine_config::without_files;
use crate::render::{KERNEL_TYPE_64K, KERNEL_TYPE_REALTIME};
use crate::selector::matches_or_nothing;
use crate::validate::ValidProfile;
use crate::validate::valid_profile::ValidPool;

/// What a profile says of the kernel itself: what it only leaves to the default, another may give.
#[derive(Clone, Copy)]
pub(in crate::validate) struct AskedKernel {
    realtime: Option<bool>,
    page_size: Option<KernelPageSize>,
}

impl AskedKernel {
    /// As it was given.
    pub fn of(profile: &RealtimeProfile) -> Self {
        let (kernel, memory) = (&profile.spec.kernel, &profile.spec.memory);
        Self {
            realtime: kernel.as_ref().and_then(|kernel| kernel.realtime),
            page_size: memory.as_ref().and_then(|memory| memory.kernel_page_size),
        }
    }
}

/// Two profiles on one pool: the one that was there first keeps it.
pub(in crate::validate) fn check_profiles(
    profile: &RealtimeProfile,
    pool: &ValidPool,
    cluster: &Cluster,
    problems: &mut Problems,
) {
    let age = |profile: &RealtimeProfile| {
        let created = profile
            .metadata
            .creation_timestamp
            .as_ref()
            .map(|time| time.0.to_string());
        (created.is_none(), created, profile.name_any())
    };
    for other in &cluster.profiles {
        let gone = other.metadata.deletion_timestamp.is_some();
        if other.metadata.name == profile.metadata.name || gone || name_of(other) != pool.name {
            continue;
        }
        let field = format!("RealtimeProfile/{}", other.name_any());
        let remedy = "keep one of the two, or give each a pool of its own in spec.pool.name";
        if age(other) < age(profile) {
            let message = format!("shapes the pool {} already", pool.name);
            problems.push(Problem::error(field, "", message, remedy));
        } else {
            let message = format!("wants the pool {} too, and is refused", pool.name);
            problems.push(Problem::warning(field, "", message, remedy));
        }
    }
}

/// What else of the cluster stands in the way.
pub(in crate::validate) fn check(
    valid: &ValidProfile,
    asked: AskedKernel,
    beside: &Beside<'_>,
    cluster: &Cluster,
    problems: &mut Problems,
) {
    let pool = cluster
        .pools
        .iter()
        .find(|pool| pool.metadata.name.as_deref() == Some(&valid.pool.name));
    let mut labels = pool.map(|pool| pool.labels().clone()).unwrap_or_default();
    labels.insert(pool_label(&valid.pool.name), String::new());
    for other in &cluster.performance_profiles {
        check_performance_profile(other, valid, &labels, problems);
    }
    for other in &cluster.kubelet_configs {
        check_kubelet_config(other, valid, &labels, problems);
    }
    check_merge(valid, asked, beside, problems);
}

fn check_performance_profile(
    other: &PerformanceProfile,
    valid: &ValidProfile,
    pool_labels: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let all_in = |wanted: Option<&BTreeMap<String, String>>, labels: &BTreeMap<String, String>| {
        wanted.is_some_and(|wanted| {
            !wanted.is_empty()
                && wanted
                    .iter()
                    .all(|(key, value)| labels.get(key) == Some(value))
        })
    };
    let node_selector = other.spec.node_selector.as_ref();
    let by_role = node_selector.is_some_and(|labels| {
        let mut roles = labels
            .keys()
            .filter_map(|key| key.strip_prefix(LABEL_NODE_ROLE_PREFIX));
        roles.any(|role| role == valid.pool.name)
    });
    let by_nodes = node_selector.is_some_and(|labels| {
        !labels.is_empty() && matches_or_nothing(Some(&valid.pool.node_selector), labels)
    });
    let by_pool = all_in(
        other.spec.machine_config_pool_selector.as_ref(),
        pool_labels,
    );
    let by_config = all_in(
        other.spec.machine_config_label.as_ref(),
        &valid.pool.machine_config_labels,
    );
    if by_role || by_nodes || by_pool || by_config {
        problems.push(Problem::error(
            format!("PerformanceProfile/{}", other.name_any()),
            "",
            format!("tunes the same nodes as the pool {}: both would write kernel, arguments and kubelet", valid.pool.name),
            "delete it, or take its nodes out of this pool; this profile then covers what it did",
        ));
    }
}

fn check_kubelet_config(
    other: &KubeletConfig,
    valid: &ValidProfile,
    pool_labels: &BTreeMap<String, String>,
    problems: &mut Problems,
) {
    let name = other.name_any();
    let ours =
        name == object_name(&valid.name) || other.labels().get(LABEL_PROFILE) == Some(&valid.name);
    if ours
        || !matches_or_nothing(
            other.spec.machine_config_pool_selector.as_ref(),
            pool_labels,
        )
    {
        return;
    }
    problems.push(Problem::error(
        format!("KubeletConfig/{name}"),
        "",
        format!("selects the pool {} too; of two KubeletConfigs OpenShift uses one as a whole and drops the other", valid.pool.name),
        "move its fields into spec.kubelet.overrides and delete it, or let its selector leave this pool out",
    ));
}

/// Whether OpenShift renders the pool at all, and with which kernel: its merge, as far as MachineConfigs can disagree. What it
/// says of one alone is its own matter: it knows newer extensions and versions of Ignition than we do.
fn check_merge(
    valid: &ValidProfile,
    asked: AskedKernel,
    beside: &Beside<'_>,
    problems: &mut Problems,
) {
    let Some(ours) = without_files(valid) else {
        return;
    };
    let field = format!("MachineConfigPool/{}", valid.pool.name);
    let refused = |refusal: &MergeError| {
        let refusal = refusal.to_string();
        let words: Vec<&str> = refusal.split_whitespace().collect();
        format!("OpenShift refuses to render it: {}", words.join(" "))
    };
    // 1. The extension that goes with the default kernel only.
    // A kernel that it doesn't know it refuses itself, and names.
    let kind = |config: &MachineConfig| {
        not_default(config.spec.kernel_type.as_ref())
            .filter(|kind| [KERNEL_TYPE_REALTIME, KERNEL_TYPE_64K].contains(kind))
            .map(str::to_owned)
    };
    let behind = beside
        .behind
        .iter()
        .rev()
        .find_map(|source| kind(&source.config));
    let before = || {
        beside
            .before
            .iter()
            .rev()
            .find_map(|source| kind(&source.config))
    };
    let merged = behind
        .or_else(|| kind(&ours))
        .or_else(before)
        .unwrap_or_else(|| DEFAULT_KERNEL_TYPE.to_owned());
    let extensions =
        |source: &Source<'_>| source.config.spec.extensions.clone().unwrap_or_default();
    for source in beside.all() {
        if let Err(refusal) = check_kernel_devel(&merged, &extensions(source)) {
            let message = format!("{} ({})", refused(&refusal), source.object);
            let remedy = format!(
                "take the extension {KERNEL_DEVEL} out of {}, or let the pool have the default kernel",
                source.object
            );
            problems.push(Problem::error(&field, "", message, remedy));
        }
    }
    // 2. The kernel that comes out.
    check_kernel(valid, asked, &merged, beside, problems);
}

/// `merged` is the `kernelType` that the pool gets.
fn check_kernel(
    valid: &ValidProfile,
    asked: AskedKernel,
    merged: &str,
    beside: &Beside<'_>,
    problems: &mut Problems,
) {
    let draft = |source: &&Source<'_>| source.config.spec.realtime == Some(true);
    let has = if beside.all().any(|source| draft(&source)) {
        KERNEL_TYPE_REALTIME
    } else {
        merged
    };
    let wanted = match valid.kernel_page_size {
        _ if valid.kernel.realtime => KERNEL_TYPE_REALTIME,
        KernelPageSize::Kib64 => KERNEL_TYPE_64K,
        KernelPageSize::Kib4 => DEFAULT_KERNEL_TYPE,
    };
    if has == wanted || has == DEFAULT_KERNEL_TYPE {
        return;
    }
    let gives = |source: &&Source<'_>| {
        not_default(source.config.spec.kernel_type.as_ref()) == Some(has)
            || (has == KERNEL_TYPE_REALTIME && draft(source))
    };
    // Without one it is the other dialect's word of ours.
    let Some(source) = beside.all().rev().find(gives) else {
        return;
    };
    let (kernel, field, explicit) = if has == KERNEL_TYPE_REALTIME {
        let explicit = asked.realtime == Some(false);
        (
            "the real-time kernel",
            "spec.kernel.realtime: true",
            explicit,
        )
    } else {
        let explicit = asked.page_size == Some(KernelPageSize::Kib4);
        (
            "the kernel with 64k pages",
            "spec.memory.kernelPageSize: 64k",
            explicit,
        )
    };
    let (object, pool) = (&source.object, &valid.pool.name);
    let without = source.without("its kernel type");
    problems.push(if wanted == DEFAULT_KERNEL_TYPE {
        let message =
            format!("gives the pool {pool} {kernel}, which nothing can turn off for one pool");
        let remedy = format!("{without}, or set {field}");
        if explicit {
            Problem::error(object, has, message, remedy)
        } else {
            Problem::warning(object, has, message, remedy)
        }
    } else {
        let message = format!(
            "gives the pool {pool} {kernel} instead of kernelType {wanted}: of several MachineConfigs the last one that names a kernel counts"
        );
        Problem::error(object, has, message, without)
    });
}
