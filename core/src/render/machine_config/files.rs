//! Which files and units a profile puts on its hosts. Only what the profile needs, each file saying who wrote it.

use std::collections::BTreeMap;

use serde_json::json;

use super::oci_hook;
use crate::names;
use crate::render::runtime_class::HANDLER;
use crate::render::templates::{Template, text};
use crate::validate::ValidProfile;
use crate::validate::valid_profile::ValidCpus;

/// CRI-O reads the directory in the order of names: after the Machine Config Operator's `00-default`.
const CRIO_CONF: &str = "/etc/crio/crio.conf.d/99-realtime.conf";
/// OpenShift's kubelet advertises `workload.openshift.io/enable-shared-cpus` when this file is there.
const MIXED_CPUS: &str = "/etc/kubernetes/openshift-workload-mixed-cpus";
const HUGEPAGES_SCRIPT: &str = "/usr/local/bin/realtime-hugepages";
const RPS_SYSCTL: &str = "/etc/sysctl.d/99-realtime-rps.conf";
const RPS_RULES: &str = "/etc/udev/rules.d/99-realtime-rps.rules";

/// 0644 and 0755 in decimal, as Ignition wants them.
pub(super) const MODE_DATA: i64 = 420;
pub(super) const MODE_PROGRAM: i64 = 493;

/// Containers of a node that may use the shared CPUs: the number of pods that OpenShift allows on a node, as the
/// resource exists to be counted, not to limit.
const SHARED_CPUS_CONTAINERS: u32 = 256;

/// The annotations by which a pod of the runtime class asks CRI-O for more.
const ANNOTATIONS: [&str; 5] = [
    "cpu-load-balancing.crio.io",
    "cpu-quota.crio.io",
    "irq-load-balancing.crio.io",
    "cpu-c-states.crio.io",
    "cpu-freq-governor.crio.io",
];
/// Only where there are shared CPUs.
const ANNOTATION_SHARED: &str = "cpu-shared.crio.io";

pub(super) struct HostFile {
    pub path: String,
    pub mode: i64,
    pub contents: String,
}

pub(super) struct HostUnit {
    pub name: String,
    pub contents: String,
}

/// Sorted by path.
pub(super) fn files(profile: &ValidProfile) -> Vec<HostFile> {
    let mut files = vec![data(CRIO_CONF, crio(profile))];
    if shared(profile).is_some() {
        let context = json!({"containers_limit": SHARED_CPUS_CONTAINERS});
        files.push(data(MIXED_CPUS, text(Template::MixedCpus, &context)));
    }
    if let Some(cpus) = packets_steered(profile) {
        let context = json!({
            "profile": profile.name,
            "mask": cpus.reserved.to_hex_mask_words(),
        });
        files.push(data(RPS_SYSCTL, text(Template::RpsSysctl, &context)));
        files.push(data(RPS_RULES, text(Template::RpsRules, &context)));
    }
    if !pages_on_nodes(profile).is_empty() {
        files.push(HostFile {
            path: HUGEPAGES_SCRIPT.to_owned(),
            mode: MODE_PROGRAM,
            contents: text(Template::HugepagesScript, &json!({"profile": profile.name})),
        });
    }
    if profile.pod_budget.is_some() {
        files.extend(oci_hook::files(&profile.name));
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files
}

/// Sorted by name.
pub(super) fn units(profile: &ValidProfile) -> Vec<HostUnit> {
    let mut units: Vec<HostUnit> = pages_on_nodes(profile)
        .into_iter()
        .map(|((node, kib), count)| HostUnit {
            name: format!("realtime-hugepages-{kib}kB-node{node}.service"),
            contents: text(
                Template::HugepagesUnit,
                &json!({
                    "profile": profile.name,
                    "node": node,
                    "kib": kib,
                    "count": count,
                    "script": HUGEPAGES_SCRIPT,
                }),
            ),
        })
        .collect();
    let Some(cpus) = &profile.cpus else {
        return units;
    };
    if !cpus.offlined.is_empty() {
        units.push(HostUnit {
            name: "realtime-offline-cpus.service".to_owned(),
            contents: text(
                Template::OfflineCpus,
                &json!({"profile": profile.name, "cpus": cpus.offlined.to_string()}),
            ),
        });
    }
    if profile.balance_interrupts_on_isolated {
        units.push(HostUnit {
            name: "realtime-irqbalance.service".to_owned(),
            contents: text(Template::Irqbalance, &json!({"profile": profile.name})),
        });
    }
    units.sort_by(|a, b| a.name.cmp(&b.name));
    units
}

fn data(path: &str, contents: String) -> HostFile {
    HostFile {
        path: path.to_owned(),
        mode: MODE_DATA,
        contents,
    }
}

fn crio(profile: &ValidProfile) -> String {
    let reserved = profile
        .cpus
        .as_ref()
        .map(|cpus| cpus.reserved.to_string())
        .unwrap_or_default();
    let shared = shared(profile);
    let mut annotations = ANNOTATIONS.to_vec();
    if shared.is_some() {
        annotations.push(ANNOTATION_SHARED);
    }
    let shared = shared.unwrap_or_default();
    let context = json!({
        "profile": profile.name,
        "runtime_class": names::object_name(&profile.name),
        "handler": HANDLER,
        "runtime": !reserved.is_empty() || !shared.is_empty(),
        "reserved": reserved,
        "shared": shared,
        "annotations": annotations,
    });
    text(Template::Crio, &context)
}

fn shared(profile: &ValidProfile) -> Option<String> {
    let cpus = profile.cpus.as_ref()?;
    (!cpus.shared.is_empty()).then(|| cpus.shared.to_string())
}

/// Only with the real-time kernel: for throughput, packets are better processed where they are sent.
fn packets_steered(profile: &ValidProfile) -> Option<&ValidCpus> {
    profile
        .cpus
        .as_ref()
        .filter(|cpus| profile.kernel.realtime && !cpus.reserved.is_empty())
}

/// By node and size: a unit's name may exist only once.
fn pages_on_nodes(profile: &ValidProfile) -> BTreeMap<(u32, u64), u64> {
    let mut pages = BTreeMap::new();
    for (node, kib, count) in &profile.hugepages.on_node {
        let sum: &mut u64 = pages.entry((*node, *kib)).or_default();
        *sum = sum.saturating_add(*count);
    }
    pages
}
