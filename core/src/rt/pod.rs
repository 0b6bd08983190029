//! A pod as far as real-time scheduling is concerned: slim types for the watch, and the view that is kept of a pod that
//! asks. What is asked for, `request` says; where its groups are, `group`.

mod slim;
#[cfg(test)]
mod tests;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

use super::few::Few;
use super::group::{ContainerId, Located, PodUid, Qos, Runtime};
use super::request::{self, Container, ContainerKind};
pub use slim::{PodSpec, PodStatus};

/// The kubelet's own rule: at most so many containers' ids are looked at.
const MAX_CONTAINERS: usize = 1024;

/// A pod that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The API's uid: Events name it.
    pub uid: String,
    /// The uid under which it runs on the node, see [`PodUid::of_directory`]. `None`: it has no usable one.
    pub directory: Option<PodUid>,
    /// In which class's group its own is, by the API server's word. `None`: not told.
    pub qos: Option<Qos>,
    /// What it asks for, unread.
    pub contract: request::Pod,
    /// Containers that have an id, by id: the container's name and whether its process runs.
    pub ids: Few<ContainerId, Status>,
    /// Containers that the kubelet can't start, or not yet again, by name, and its word for why: `ImagePullBackOff`.
    pub held_up: Few<String, Box<str>>,
    /// It is being deleted.
    pub leaving: bool,
    /// Nothing of it runs any more.
    pub over: bool,
    /// Containers with a probe or a lifecycle hook that runs a program in them.
    pub exec_probes: Vec<String>,
}

/// How far a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its name.
    pub container: String,
    /// Its process has ended.
    pub ended: bool,
    /// Who has made it.
    pub runtime: Runtime,
}

impl Pod {
    /// The view of a pod; none when it asks for nothing.
    pub fn of(metadata: &ObjectMeta, spec: &PodSpec, status: &PodStatus) -> Option<Self> {
        let annotations = metadata.annotations.clone().unwrap_or_default();
        let containers = spec.containers();
        let asks = request::asks(&annotations)
            || (annotations.get(request::REALTIME).map(String::as_str) != Some("false")
                && containers
                    .iter()
                    .any(|container| container.resource.is_some()));
        if !asks {
            return None;
        }
        let uid = metadata.uid.clone().unwrap_or_default();
        let ids = status
            .ids()
            .take(MAX_CONTAINERS)
            .filter_map(|(id, container, ended)| {
                let (runtime, id) = ContainerId::of_status(id).ok()?;
                let status = Status {
                    container: container.to_owned(),
                    ended,
                    runtime,
                };
                Some((id, status))
            });
        let held_up = status
            .held_up()
            .take(MAX_CONTAINERS)
            .map(|(container, reason)| (container.to_owned(), reason.into()));
        Some(Self {
            namespace: metadata.namespace.clone().unwrap_or_default(),
            name: metadata.name.clone().unwrap_or_default(),
            directory: PodUid::of_directory(&uid, &annotations).ok(),
            qos: status.qos(),
            uid,
            contract: request::Pod {
                annotations: request::kept(annotations, &containers),
                containers,
            },
            ids: ids.collect(),
            held_up: held_up.collect(),
            leaving: metadata.deletion_timestamp.is_some(),
            over: status.is_over(),
            exec_probes: spec.exec_probes(),
        })
    }

    /// Whether a group is the pod's own or below it. One of its name in another class is somebody else's making.
    pub fn has(&self, located: &Located) -> bool {
        self.directory.as_ref() == Some(&located.pod)
            && self.qos.is_none_or(|qos| qos == located.qos)
    }

    /// A container of the spec.
    pub fn container(&self, name: &str) -> Option<&Container> {
        self.contract
            .containers
            .iter()
            .find(|container| container.name == name)
    }

    /// Whether a container has run to its end and won't come back, as init and ephemeral containers do.
    pub fn has_ended(&self, name: &str) -> bool {
        let once = self.container(name).is_some_and(|container| {
            matches!(
                container.kind,
                ContainerKind::Init | ContainerKind::Ephemeral
            )
        });
        once && self.has_no_process(name)
    }

    /// Whether a container's process has ended. It may be started again.
    pub fn has_no_process(&self, name: &str) -> bool {
        let mut ended = self
            .ids
            .values()
            .filter(|status| status.container == name)
            .map(|status| status.ended)
            .peekable();
        ended.peek().is_some() && ended.all(|ended| ended)
    }
}
