//! Reservations and overrides of the kubelet: what OpenShift refuses, what it drops without a word, and what would
//! keep the kubelet from starting. `kubeletconfig.json` among the recordings says which is which.

mod fields;
mod names;
mod nodes;
mod room;
mod structures;
mod sysctls;
mod together;
mod values;

use serde_json::{Map, Value};

use crate::api::realtime_profile::{KubeletSpec, Reservation};
use crate::facts::NodeFacts;
use crate::input::suggest;
use crate::merge::kubelet::{FIELDS, Kind, kind_of};
use crate::problem::{Problem, Problems};

pub(super) use room::check_room;
pub(super) use together::check_together;

const FIELD: &str = "spec.kubelet.overrides";

/// What of `spec.kubelet` is used.
#[derive(Default)]
pub(super) struct Kubelet {
    pub system_reserved: Option<Reservation>,
    pub kube_reserved: Option<Reservation>,
    pub overrides: Map<String, Value>,
}

pub(super) fn check(
    spec: Option<&KubeletSpec>,
    facts: &[NodeFacts],
    problems: &mut Problems,
) -> Kubelet {
    let Some(KubeletSpec {
        system_reserved,
        kube_reserved,
        overrides,
    }) = spec
    else {
        return Kubelet::default();
    };
    for (name, reservation) in [
        ("systemReserved", system_reserved),
        ("kubeReserved", kube_reserved),
    ] {
        if let Some(reservation) = reservation {
            check_reservation(
                &format!("spec.kubelet.{name}"),
                reservation,
                facts,
                problems,
            );
        }
    }
    for (key, value) in overrides {
        check_override(key, value, problems);
    }
    check_versions(overrides, facts, problems);
    let mut overrides = overrides.clone();
    // Allowed inside, and without meaning there.
    overrides.remove("apiVersion");
    overrides.remove("kind");
    without_nulls(&mut overrides);
    Kubelet {
        system_reserved: system_reserved.clone(),
        kube_reserved: kube_reserved.clone(),
        overrides,
    }
}

/// Options that the nodes' kubelets don't take yet.
fn check_versions(overrides: &Map<String, Value>, facts: &[NodeFacts], problems: &mut Problems) {
    for key in ["cpuManagerPolicyOptions", "topologyManagerPolicyOptions"] {
        let given = overrides.get(key).and_then(Value::as_object);
        for (option, value) in given.into_iter().flatten() {
            let since = names::OPTIONS_SINCE
                .iter()
                .find(|(name, _)| name == option)
                .map(|(_, since)| *since);
            let Some(since) = since else { continue };
            let older: Vec<String> = facts
                .iter()
                .filter(|node| node.kubelet_version.is_some_and(|version| version < since))
                .map(|node| node.name.clone())
                .collect();
            if !older.is_empty() {
                let (major, minor) = since;
                problems.push(Problem::error(
                    format!("{FIELD}.{key}.{option}"),
                    values::shown(value),
                    format!(
                        "needs Kubernetes {major}.{minor}: the kubelet would not start on {}",
                        super::names(&older)
                    ),
                    "remove it until the cluster is updated",
                ));
            }
        }
    }
}

/// A null sets nothing; the API server keeps it, and every comparison would see a difference.
fn without_nulls(map: &mut Map<String, Value>) {
    map.retain(|_, value| !value.is_null());
    for value in map.values_mut() {
        if let Some(map) = value.as_object_mut() {
            without_nulls(map);
        }
    }
}

fn check_reservation(
    field: &str,
    reservation: &Reservation,
    facts: &[NodeFacts],
    problems: &mut Problems,
) {
    let Reservation {
        cpu,
        memory,
        ephemeral_storage,
        pid,
    } = reservation;
    for (name, text) in [
        ("cpu", cpu),
        ("memory", memory),
        ("ephemeral-storage", ephemeral_storage),
        ("pid", pid),
    ] {
        let Some(text) = text else { continue };
        let field = format!("{field}.{name}");
        let Some(quantity) = values::quantity(&field, text, problems) else {
            continue;
        };
        let too_large = facts.iter().any(|node| match name {
            "cpu" => node
                .cpu_capacity
                .is_some_and(|cpus| quantity.milli_value() >= i64::from(cpus) * 1000),
            "memory" => node.memory_kib.is_some_and(|kib| {
                quantity.value() >= i64::try_from(kib.saturating_mul(1024)).unwrap_or(i64::MAX)
            }),
            _ => false,
        });
        if too_large {
            problems.push(Problem::error(
                field,
                text,
                "is as much as a node of the pool has: nothing would be left for pods",
                "lower it",
            ));
        }
    }
}

fn check_override(key: &str, value: &Value, problems: &mut Problems) {
    let field = format!("{FIELD}.{}", key.escape_debug());
    let shown = values::shown(value);
    if let Some((_, why)) = names::REFUSED.iter().find(|(name, _)| *name == key) {
        problems.push(Problem::error(field, shown, format!("OpenShift refuses it, and the KubeletConfig would block every change of the pool: {why}"), "remove it"));
        return;
    }
    if let Some((_, wanted)) = names::HEADER.iter().find(|(name, _)| *name == key) {
        if value.as_str() != Some(wanted) {
            problems.push(Problem::error(
                field,
                shown,
                "is not what a KubeletConfiguration has there",
                format!("write {wanted}, or remove it"),
            ));
        }
        return;
    }
    let Some(kind) = kind_of(key) else {
        let names = FIELDS
            .iter()
            .flat_map(|(_, names)| names.split_ascii_whitespace());
        problems.push(Problem::error(
            field,
            shown,
            "is no field of a KubeletConfiguration: OpenShift drops it without a word",
            suggest::remedy(key, names),
        ));
        return;
    };
    if value.is_null() {
        problems.push(Problem::warning(
            field,
            shown,
            "sets nothing: what the pool has stays",
            "remove it, or give it a value",
        ));
        return;
    }
    if !values::has_kind(&field, value, kind, problems)
        || (kind == Kind::Other && !values::has_shape(&field, key, value, problems))
    {
        return;
    }
    let before = problems.0.len();
    fields::check_value(&field, key, value, problems);
    if problems.0.len() == before && values::is_zero(value) {
        problems.push(Problem::warning(
            field,
            shown,
            "is what Go takes for absent: OpenShift drops it, and what the pool has stays",
            "remove it",
        ));
    }
    if kind == Kind::Text
        && value
            .as_str()
            .is_some_and(|text| text.chars().any(char::is_control))
    {
        problems.push(Problem::error(
            format!("{FIELD}.{key}"),
            value.to_string(),
            "holds a control character",
            "write it as one line of plain text",
        ));
    }
}
