//! The Tuned object: what can be set while the node runs. Never a kernel command line: the Node Tuning Operator would
//! make a second MachineConfig of it, later, and with it a second reboot.

mod devices;
mod sections;

use std::collections::BTreeMap;

use kube::core::ObjectMeta;
use serde_json::json;

use super::templates::{Template, one_line, text};
use crate::names;
use crate::openshift::{Tuned, TunedMatch, TunedObjectSpec, TunedProfile, TunedRecommend};
use crate::validate::ValidProfile;

/// The Node Tuning Operator's own defaults have 30 and 40, its PerformanceProfiles and its documentation's examples of
/// custom profiles 20; the lowest wins, and two with the same number are a conflict that nobody decides.
pub const PRIORITY: i64 = 18;

/// `None` where Tuned objects aren't served.
pub(super) fn tuned(profile: &ValidProfile) -> Option<Tuned> {
    if !profile.served.tuned {
        return None;
    }
    let name = names::object_name(&profile.name);
    Some(Tuned {
        metadata: ObjectMeta {
            name: Some(name.clone()),
            namespace: Some(names::TUNED_NAMESPACE.to_owned()),
            ..ObjectMeta::default()
        },
        spec: TunedObjectSpec {
            profile: vec![TunedProfile {
                name: name.clone(),
                data: data(profile),
            }],
            recommend: vec![recommend(profile, name)],
        },
    })
}

fn data(profile: &ValidProfile) -> String {
    let sections: Vec<_> = sections::sections(profile)
        .into_iter()
        .map(|section| {
            let options: Vec<_> = section
                .options
                .into_iter()
                .map(|(key, value)| json!({"key": one_line(&key), "value": one_line(&value)}))
                .collect();
            json!({"name": one_line(&section.name), "options": options})
        })
        .collect();
    let context = json!({
        "profile": profile.name,
        "machine_config": names::machine_config_name(&profile.name),
        "sections": sections,
    });
    text(Template::Tuned, &context)
}

/// By the pool that the MachineConfig goes to; by the nodes' labels where there are no pools.
fn recommend(profile: &ValidProfile, name: String) -> TunedRecommend {
    let mut recommend = TunedRecommend {
        priority: PRIORITY,
        profile: name,
        ..TunedRecommend::default()
    };
    if profile.served.machine_configs {
        recommend.machine_config_labels = Some(profile.pool.machine_config_labels.clone());
    } else {
        let labels: BTreeMap<String, String> = profile
            .pool
            .node_selector
            .match_labels
            .clone()
            .unwrap_or_default();
        let labels: Vec<TunedMatch> = labels
            .into_iter()
            .map(|(label, value)| TunedMatch {
                label,
                value: (!value.is_empty()).then_some(value),
            })
            .collect();
        // The list is a logical OR, so only a single label says what a selector says.
        recommend.match_ = (labels.len() == 1).then_some(labels);
    }
    recommend
}

#[cfg(test)]
mod tests;
