//! From the cluster's objects to the plain inputs of [`super::decide`]. Reads only.

use k8s_openapi::api::core::v1::Node as NodeObject;
use kube::ResourceExt;

use super::{MachineConfigState, Node, Word};
use crate::api::RealtimeNode;
use crate::api::latency_check::Verdict;
use crate::api::realtime_node::{NodePhase, RealtimeNodeStatus};
use crate::kernel::Cordon;
use crate::names;

/// A node as turns see it. `target`: the rendered configuration of its pool; `None` where there are no pools.
pub fn node(
    object: &NodeObject,
    realtime_node: Option<&RealtimeNode>,
    target: Option<&str>,
    going_back: bool,
) -> Node {
    let status = realtime_node.and_then(|node| node.status.as_ref());
    Node {
        name: object.name_any(),
        resource_version: realtime_node
            .and_then(ResourceExt::resource_version)
            .unwrap_or_default(),
        granted: realtime_node.is_some_and(is_granted),
        turn: status.and_then(|status| status.turn),
        current: realtime_node
            .is_some_and(|node| is_current(node) && !is_of_former_boot(object, node)),
        word: status.map_or(Word::Other, word),
        latency_passed: status
            .and_then(|status| status.latency.as_ref()?.verdict)
            .map(|verdict| verdict == Verdict::Pass),
        cordon: cordon(object),
        ready: is_ready(object),
        machine_config: target.map_or(MachineConfigState::Done, |target| {
            machine_config(object, target)
        }),
        going_back,
    }
}

/// Whether the turn's label is on it.
pub fn is_granted(node: &RealtimeNode) -> bool {
    node.labels()
        .get(names::LABEL_TURN)
        .is_some_and(|value| value == names::TURN_GRANTED)
}

/// Whether its daemon has looked at the spec as it is now. A status about a former spec is no word about this one.
pub fn is_current(node: &RealtimeNode) -> bool {
    let observed = node
        .status
        .as_ref()
        .and_then(|status| status.observed_generation);
    observed.is_some() && observed >= node.metadata.generation
}

/// Whether its daemon's word is about a boot that is over: the kubelet tells of another one.
pub fn is_of_former_boot(object: &NodeObject, node: &RealtimeNode) -> bool {
    let info = object
        .status
        .as_ref()
        .and_then(|status| status.node_info.as_ref());
    let now = info
        .map(|info| info.boot_id.as_str())
        .filter(|boot| !boot.is_empty());
    let told = node
        .status
        .as_ref()
        .and_then(|status| status.kernel.as_ref()?.boot_id.as_deref());
    now.zip(told).is_some_and(|(now, told)| now != told)
}

fn word(status: &RealtimeNodeStatus) -> Word {
    match status.phase {
        Some(NodePhase::Ready) => Word::Ready,
        Some(NodePhase::Degraded) => Word::Degraded(failure(status)),
        _ => Word::Other,
    }
}

/// A daemon's words about what failed.
pub fn failure(status: &RealtimeNodeStatus) -> String {
    let of = |type_: &str, wanted: &str| {
        status
            .conditions
            .iter()
            .find(|condition| condition.type_ == type_ && condition.status == wanted)
            .map(|condition| condition.message.clone())
            .filter(|message| !message.is_empty())
    };
    of("Degraded", "True")
        .or_else(|| of("KernelReady", "False"))
        .unwrap_or_else(|| "its node daemon gives no reason".to_owned())
}

/// Who cordoned the node: its daemon leaves an annotation.
pub fn cordon(node: &NodeObject) -> Cordon {
    let cordoned = node
        .spec
        .as_ref()
        .is_some_and(|spec| spec.unschedulable == Some(true));
    if !cordoned {
        Cordon::No
    } else if node
        .annotations()
        .contains_key(names::ANNOTATION_CORDONED_AT)
    {
        Cordon::Ours
    } else {
        Cordon::Others
    }
}

/// Whether the kubelet says Ready; where nothing is said, yes.
pub fn is_ready(node: &NodeObject) -> bool {
    node.status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|condition| condition.type_ == "Ready")
        .is_none_or(|condition| condition.status == "True")
}

/// Rule 2: Done, at the target, and no drain or uncordon of the Machine Config Operator's under way.
fn machine_config(node: &NodeObject, target: &str) -> MachineConfigState {
    let get = |key: &str| {
        node.annotations()
            .get(&format!("{}{key}", names::MCO_ANNOTATION_PREFIX))
            .map(String::as_str)
            .filter(|value| !value.is_empty())
    };
    let state = get("state").unwrap_or_default();
    if matches!(state, "Degraded" | "Unreconcilable") {
        return MachineConfigState::Degraded;
    }
    let done = matches!(state, "Done" | "")
        && get("currentConfig") == Some(target)
        && get("desiredConfig") == Some(target)
        && get("desiredDrain") == get("lastAppliedDrain");
    if done {
        MachineConfigState::Done
    } else {
        MachineConfigState::Busy
    }
}
