//! The KubeletConfig: how the kubelet gives out CPUs and memory. What OpenShift refuses is refused in `validate`.

mod reserved_memory;

pub(crate) use reserved_memory::switched_off;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use serde_json::{Map, Value, json};

use crate::api::realtime_profile::{Reservation, TopologyPolicy};
use crate::names;
use crate::openshift::{KubeletConfig, KubeletConfigSpec};
use crate::quantity::Quantity;
use crate::validate::ValidProfile;

/// What the kubelet and the system keep when the profile doesn't say: what OpenShift's own performance profiles keep.
const DEFAULT_RESERVED_MEMORY: &str = "500Mi";
/// The kubelet's own defaults on Linux. Written down where something is computed from them, and all of them, because
/// a map that sets one threshold drops the kubelet's defaults of the others.
const EVICTION_HARD: [(&str, &str); 5] = [
    ("memory.available", "100Mi"),
    ("nodefs.available", "10%"),
    ("nodefs.inodesFree", "5%"),
    ("imagefs.available", "15%"),
    ("imagefs.inodesFree", "5%"),
];
/// How often the CPU manager puts right what it finds wrong: half of the kubelet's default, as OpenShift's own
/// performance profiles have it.
const RECONCILE_PERIOD: &str = "5s";

/// `None` where KubeletConfigs aren't served, and when there is nothing to say: an object that sets nothing would
/// still replace every other KubeletConfig of the pool.
pub(crate) fn kubelet_config(profile: &ValidProfile) -> Option<KubeletConfig> {
    if !profile.served.machine_configs {
        return None;
    }
    let fields = fields(profile);
    if fields.is_empty() {
        return None;
    }
    Some(KubeletConfig {
        metadata: ObjectMeta {
            name: Some(names::object_name(&profile.name)),
            ..ObjectMeta::default()
        },
        spec: KubeletConfigSpec {
            machine_config_pool_selector: Some(LabelSelector {
                match_labels: Some(BTreeMap::from([(
                    names::pool_label(&profile.pool.name),
                    String::new(),
                )])),
                match_expressions: None,
            }),
            kubelet_config: Some(Value::Object(fields)),
            ..KubeletConfigSpec::default()
        },
        status: None,
    })
}

/// 1. what follows from the profile's sections, 2. the overrides, field by field, 3. the memory that the memory
///    manager must be told about, which is computed from what stands then.
fn fields(profile: &ValidProfile) -> Map<String, Value> {
    let mut fields = Map::new();
    let memory_manager = matches!(
        profile.topology_policy,
        Some(TopologyPolicy::Restricted | TopologyPolicy::SingleNumaNode)
    );
    if let Some(cpus) = &profile.cpus {
        // Shared CPUs belong to no container alone, so the CPU manager must not give them out.
        let reserved = cpus.reserved.union(&cpus.shared);
        fields.insert("reservedSystemCPUs".into(), json!(reserved.to_string()));
    }
    // The static policy needs a CPU reservation above zero, or the kubelet doesn't start.
    if profile.cpus.is_some() || reserves_cpu(profile) {
        fields.insert("cpuManagerPolicy".into(), json!("static"));
        fields.insert("cpuManagerReconcilePeriod".into(), json!(RECONCILE_PERIOD));
    }
    if let Some(policy) = profile.topology_policy {
        fields.insert("topologyManagerPolicy".into(), json!(policy_name(policy)));
    }
    if memory_manager {
        fields.insert("memoryManagerPolicy".into(), json!("Static"));
    }
    // The memory manager compares reservedMemory with what is reserved, so that must stand here: what isn't said of the
    // system's memory is OpenShift's to fill in (1Gi), behind the kubelet's configuration.
    let by_override =
        profile.kubelet_overrides.get("memoryManagerPolicy") == Some(&json!("Static"));
    let with_defaults = profile.cpus.is_some() || memory_manager || by_override;
    for (field, given) in [
        ("systemReserved", &profile.system_reserved),
        ("kubeReserved", &profile.kube_reserved),
    ] {
        let reservation = reservation(given.as_ref(), with_defaults);
        if !reservation.is_empty() {
            fields.insert(field.into(), Value::Object(reservation));
        }
    }
    if with_defaults {
        let thresholds = EVICTION_HARD.map(|(signal, value)| (signal.to_owned(), json!(value)));
        fields.insert("evictionHard".into(), thresholds.into_iter().collect());
    }
    merge(&mut fields, &profile.kubelet_overrides);
    reserved_memory::complete(&mut fields, &profile.hardware);
    fields
}

fn reserves_cpu(profile: &ValidProfile) -> bool {
    [&profile.system_reserved, &profile.kube_reserved]
        .into_iter()
        .flatten()
        .filter_map(|reservation| reservation.cpu.as_ref()?.parse().ok())
        .any(|cpu: Quantity| !cpu.is_zero())
}

fn reservation(given: Option<&Reservation>, with_defaults: bool) -> Map<String, Value> {
    let mut map = Map::new();
    if with_defaults {
        map.insert("memory".into(), json!(DEFAULT_RESERVED_MEMORY));
    }
    let Some(Reservation {
        cpu,
        memory,
        ephemeral_storage,
        pid,
    }) = given
    else {
        return map;
    };
    for (resource, quantity) in [
        ("cpu", cpu),
        ("memory", memory),
        ("ephemeral-storage", ephemeral_storage),
        ("pid", pid),
    ] {
        if let Some(quantity) = quantity {
            map.insert(resource.into(), json!(quantity));
        }
    }
    map
}

fn policy_name(policy: TopologyPolicy) -> &'static str {
    match policy {
        TopologyPolicy::None => "none",
        TopologyPolicy::BestEffort => "best-effort",
        TopologyPolicy::Restricted => "restricted",
        TopologyPolicy::SingleNumaNode => "single-numa-node",
    }
}

/// An override replaces a value; of a map, only the keys that it has.
fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (Some(Value::Object(old)), Value::Object(new)) => merge(old, new),
            _ => {
                into.insert(key.clone(), value.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
