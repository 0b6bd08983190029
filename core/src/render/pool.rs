//! The MachineConfigPool: whole when it is ours, only our label on one that exists. Never `spec.paused`, which the
//! operator applies by a field manager of its own.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, LabelSelectorRequirement};
use kube::core::ObjectMeta;

use crate::names;
use crate::openshift::{MachineConfigPool, MachineConfigPoolSpec};
use crate::validate::ValidProfile;

/// The role that every custom pool must take in: an admission policy of OpenShift asks for it.
const WORKER: &str = "worker";

/// `None` where pools aren't served.
pub(super) fn pool(profile: &ValidProfile) -> Option<MachineConfigPool> {
    if !profile.served.machine_configs {
        return None;
    }
    let name = &profile.pool.name;
    // By this label our KubeletConfig selects the pool; OpenShift puts it on its own pools only.
    let labels = BTreeMap::from([(names::pool_label(name), String::new())]);
    let mut pool = MachineConfigPool {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            labels: Some(labels),
            ..ObjectMeta::default()
        },
        ..MachineConfigPool::default()
    };
    if profile.pool.ours {
        pool.metadata.annotations = Some(BTreeMap::from([(
            names::ANNOTATION_CREATED_BY.to_owned(),
            profile.name.clone(),
        )]));
        pool.spec = MachineConfigPoolSpec {
            machine_config_selector: Some(LabelSelector {
                match_expressions: Some(vec![LabelSelectorRequirement {
                    key: names::LABEL_MACHINE_CONFIG_ROLE.to_owned(),
                    operator: "In".to_owned(),
                    values: Some(vec![WORKER.to_owned(), name.clone()]),
                }]),
                match_labels: None,
            }),
            node_selector: Some(profile.pool.node_selector.clone()),
            max_unavailable: profile.pool.max_unavailable.clone(),
            ..MachineConfigPoolSpec::default()
        };
    }
    Some(pool)
}
