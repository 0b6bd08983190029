//! The few fields of a pod that are read: a watch decodes no others, and so keeps none. Holds no decision.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use super::super::group::Qos;
use super::super::request::{Container, ContainerKind, RUNTIME_US};

/// `spec`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    init_containers: Vec<SpecContainer>,
    containers: Vec<SpecContainer>,
    ephemeral_containers: Vec<SpecContainer>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct SpecContainer {
    name: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    restart_policy: Option<String>,
    resources: Resources,
    #[serde(skip_serializing_if = "Option::is_none")]
    liveness_probe: Option<Handler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    readiness_probe: Option<Handler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    startup_probe: Option<Handler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lifecycle: Option<Lifecycle>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Resources {
    requests: BTreeMap<String, Quantity>,
    limits: BTreeMap<String, Quantity>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Handler {
    #[serde(skip_serializing)]
    exec: Option<Present>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Lifecycle {
    #[serde(skip_serializing_if = "Option::is_none")]
    post_start: Option<Handler>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pre_stop: Option<Handler>,
}

/// Something is there; what it says is not read.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
struct Present;

impl<'de> Deserialize<'de> for Present {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        IgnoredAny::deserialize(from).map(|_| Self)
    }
}

/// `status`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    phase: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    qos_class: Option<String>,
    init_container_statuses: Vec<ContainerStatus>,
    container_statuses: Vec<ContainerStatus>,
    ephemeral_container_statuses: Vec<ContainerStatus>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct ContainerStatus {
    name: String,
    #[serde(rename = "containerID")]
    container_id: Option<String>,
    state: State,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct State {
    #[serde(skip_serializing)]
    terminated: Option<Present>,
    #[serde(skip_serializing)]
    waiting: Option<Waiting>,
}

/// Its message is not read: it may name times and addresses, which change with each try.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
struct Waiting {
    reason: Option<String>,
}

/// The kubelet's reasons are single words; the longest known one has 26 letters (CreateContainerConfigError).
const REASON: usize = 40;

/// A reason why a container waits; none for those that each start passes through. A failing pull is told in turns as what
/// failed and as ImagePullBackOff: as one word it is kept, or each turn would be a change of the pod.
fn lasting(reason: &str) -> Option<&str> {
    let is_word = !reason.is_empty()
        && reason.len() <= REASON
        && reason.bytes().all(|byte| byte.is_ascii_alphanumeric());
    match reason {
        "ContainerCreating" | "PodInitializing" => None,
        // The errors of pkg/kubelet/images/types.go that are tried again.
        "ErrImagePull" | "RegistryUnavailable" | "SignatureValidationFailed" => {
            Some("ImagePullBackOff")
        }
        _ => is_word.then_some(reason),
    }
}

impl PodSpec {
    /// In the order of the spec: init containers, containers, ephemeral ones.
    pub(super) fn containers(&self) -> Vec<Container> {
        let one = |kind: fn(&SpecContainer) -> ContainerKind| {
            move |container: &SpecContainer| Container {
                name: container.name.clone(),
                kind: kind(container),
                resource: container.resource(),
            }
        };
        let init = |container: &SpecContainer| {
            if container.restart_policy.as_deref() == Some("Always") {
                ContainerKind::Sidecar
            } else {
                ContainerKind::Init
            }
        };
        let inits = self.init_containers.iter().map(one(init));
        let regular = self.containers.iter().map(one(|_| ContainerKind::Regular));
        let ephemeral = self.ephemeral_containers.iter();
        inits
            .chain(regular)
            .chain(ephemeral.map(one(|_| ContainerKind::Ephemeral)))
            .collect()
    }

    pub(super) fn exec_probes(&self) -> Vec<String> {
        let all = self.init_containers.iter().chain(&self.containers);
        all.filter(|container| container.runs_programs())
            .map(|container| container.name.clone())
            .collect()
    }
}

impl SpecContainer {
    fn resource(&self) -> Option<String> {
        let Resources { requests, limits } = &self.resources;
        let quantity = requests
            .get(RUNTIME_US)
            .or_else(|| limits.get(RUNTIME_US))?;
        Some(quantity.0.clone())
    }

    /// The kubelet runs a program in it from time to time, or at its beginning or end.
    fn runs_programs(&self) -> bool {
        let lifecycle = self.lifecycle.clone().unwrap_or_default();
        [
            &self.liveness_probe,
            &self.readiness_probe,
            &self.startup_probe,
            &lifecycle.post_start,
            &lifecycle.pre_stop,
        ]
        .into_iter()
        .flatten()
        .any(|handler| handler.exec.is_some())
    }
}

impl PodStatus {
    fn containers(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.init_container_statuses
            .iter()
            .chain(&self.container_statuses)
            .chain(&self.ephemeral_container_statuses)
    }

    /// Each container's id, name, and whether its process has ended.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, &str, bool)> {
        self.containers().filter_map(|status| {
            let id = status.container_id.as_deref().filter(|id| !id.is_empty())?;
            Some((id, status.name.as_str(), status.state.terminated.is_some()))
        })
    }

    /// Containers that the kubelet can't start, or not yet again, by name, and its reason: one that lasts.
    pub(super) fn held_up(&self) -> impl Iterator<Item = (&str, &str)> {
        self.containers().filter_map(|status| {
            let reason = status.state.waiting.as_ref()?.reason.as_deref()?;
            Some((status.name.as_str(), lasting(reason)?))
        })
    }

    pub(super) fn qos(&self) -> Option<Qos> {
        self.qos_class.as_deref().and_then(Qos::parse)
    }

    pub(super) fn is_over(&self) -> bool {
        matches!(self.phase.as_deref(), Some("Succeeded" | "Failed"))
    }
}
