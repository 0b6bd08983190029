//! Which pods must go before a reboot, by their metadata alone. As OpenShift's own drain has it: pods without a
//! controller and pods with data in an emptyDir go too; a DaemonSet's pods and static pods stay.

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::PartialObjectMeta;

/// The kubelet's mark on the mirror of a static pod: evicting it evicts nothing.
const MIRROR: &str = "kubernetes.io/config.mirror";

/// Whether a pod must go. Pods that have ended are not asked about.
pub fn must_go(pod: &PartialObjectMeta<Pod>) -> bool {
    if pod.annotations().contains_key(MIRROR) {
        return false;
    }
    let controller = pod
        .owner_references()
        .iter()
        .find(|owner| owner.controller == Some(true));
    // A DaemonSet's pods tolerate the cordon: they would come back at once.
    !controller
        .is_some_and(|owner| owner.kind == "DaemonSet" && owner.api_version.starts_with("apps/"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[allow(
        clippy::needless_pass_by_value,
        reason = "each is written where it is used"
    )]
    fn pod(metadata: Value) -> PartialObjectMeta<Pod> {
        serde_json::from_value(json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata}))
            .unwrap()
    }

    #[test]
    fn daemon_sets_and_mirrors_stay_and_all_others_go() {
        let owned = |kind: &str, controller: bool| {
            pod(json!({"ownerReferences": [{
                "apiVersion": "apps/v1", "kind": kind, "name": "x", "uid": "u", "controller": controller
            }]}))
        };
        assert!(!must_go(&owned("DaemonSet", true)));
        assert!(must_go(&owned("ReplicaSet", true)));
        // Owned, and not controlled by it.
        assert!(must_go(&owned("DaemonSet", false)));
        assert!(!must_go(&pod(json!({"annotations": {MIRROR: "x"}}))));
        // Nobody would start it again: OpenShift's drain evicts it all the same.
        assert!(must_go(&pod(json!({"name": "alone"}))));
    }
}
