//! The RuntimeClass: how a pod asks for the profile's nodes and for CRI-O's high-performance handler.

use std::collections::BTreeMap;

use k8s_openapi::api::node::v1::{RuntimeClass, Scheduling};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;

use crate::names;
use crate::validate::ValidProfile;

/// The name that CRI-O's hooks look for: the annotations work with no other.
pub const HANDLER: &str = "high-performance";

/// What of a selector labels alone can say: labels, and expressions that leave one value.
pub(crate) fn labels_of(selector: &LabelSelector) -> BTreeMap<String, String> {
    let mut labels = selector.match_labels.clone().unwrap_or_default();
    for requirement in selector.match_expressions.iter().flatten() {
        if let ("In", Some([value])) =
            (requirement.operator.as_str(), requirement.values.as_deref())
        {
            labels
                .entry(requirement.key.clone())
                .or_insert_with(|| value.clone());
        }
    }
    labels
}

/// `None` where MachineConfigs aren't served: nothing would bring the handler to the nodes, and pods of the class
/// would fail.
pub(super) fn runtime_class(profile: &ValidProfile) -> Option<RuntimeClass> {
    if !profile.served.machine_configs {
        return None;
    }
    let node_selector = labels_of(&profile.pool.node_selector);
    Some(RuntimeClass {
        metadata: ObjectMeta {
            name: Some(names::object_name(&profile.name)),
            ..ObjectMeta::default()
        },
        handler: HANDLER.to_owned(),
        scheduling: (!node_selector.is_empty()).then_some(Scheduling {
            node_selector: Some(node_selector),
            ..Scheduling::default()
        }),
        ..RuntimeClass::default()
    })
}
