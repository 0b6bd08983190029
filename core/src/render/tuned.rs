//! The Tuned object: what can be set while the node runs. Never a kernel command line: the Node Tuning Operator would
//! make a second MachineConfig of it, later, and with it a second reboot.

mod devices;
mod sections;

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use kube::core::ObjectMeta;
use serde_json::json;

pub(crate) use self::sections::parameter_path;
use super::templates::{Template, one_line, text};
use crate::names;
use crate::openshift::{Tuned, TunedMatch, TunedObjectSpec, TunedProfile, TunedRecommend};
use crate::pools::is_custom;
use crate::validate::ValidProfile;

/// The Node Tuning Operator's own defaults have 30 and 40, its PerformanceProfiles and its documentation's examples of
/// custom profiles 20; the lowest wins, and of two with the same number the name decides.
pub const PRIORITY: i64 = 18;

/// Behind [`PRIORITY`], for a pool that is built in: a custom pool's selector takes the role `worker` as well, so that by
/// its labels the profile of `worker` matches the custom pool's nodes, too (Node Tuning Operator, `pkg/operator/profilecalculator.go`).
pub const PRIORITY_BUILT_IN: i64 = 19;

/// The values of `enabled` that TuneD takes for true.
pub(crate) const ENABLED: [&str; 3] = ["true", "True", "1"];

/// Selectors that need more matches than this aren't written by people.
const MOST_MATCHES: usize = 256;

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
            recommend: recommend(profile, name).into_iter().collect(),
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

/// What the profile sets that can be read back: kernel parameters, and the CPU frequency governor.
pub(super) fn settings(profile: &ValidProfile) -> (BTreeMap<String, String>, Option<String>) {
    let (mut sysctls, mut governor) = (BTreeMap::new(), None);
    for section in sections::sections(profile) {
        let option = |key: &str| {
            let found = section.options.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| value.trim())
        };
        // What TuneD takes for true; all else switches a section off.
        if option("enabled").is_some_and(|value| !ENABLED.contains(&value)) {
            continue;
        }
        match option("type").unwrap_or(&section.name) {
            "sysctl" => sysctls.extend(
                section
                    .options
                    .iter()
                    // Options of TuneD itself have no dot.
                    .filter(|(key, _)| key.contains(['.', '/']))
                    .map(|(key, value)| (one_line(key), one_line(value))),
            ),
            "cpu" => governor = option("governor").map(one_line).or(governor),
            _ => {}
        }
    }
    (sysctls, governor)
}

fn priority(pool: &str) -> i64 {
    if is_custom(pool) {
        PRIORITY
    } else {
        PRIORITY_BUILT_IN
    }
}

/// By the pool that the MachineConfig goes to; by the nodes' labels where there are no pools. None where these can't say
/// it: without any condition the profile would go to every node of the cluster.
fn recommend(profile: &ValidProfile, name: String) -> Option<TunedRecommend> {
    let mut recommend = TunedRecommend {
        priority: priority(&profile.pool.name),
        profile: name,
        ..TunedRecommend::default()
    };
    if profile.served.machine_configs {
        let labels = profile.pool.machine_config_labels.clone();
        recommend.machine_config_labels = Some(labels).filter(|labels| !labels.is_empty());
    } else {
        recommend.match_ = matching(&profile.pool.node_selector);
    }
    (recommend.machine_config_labels.is_some() || recommend.match_.is_some()).then_some(recommend)
}

/// A selector as nested matches: inside each other they are a logical AND, beside each other an OR. `None` when
/// it is empty or excludes something, which matches can't.
fn matching(selector: &LabelSelector) -> Option<Vec<TunedMatch>> {
    let labels = selector.match_labels.iter().flatten();
    let mut alternatives: Vec<Vec<(String, Option<String>)>> = labels
        .map(|(label, value)| vec![(label.clone(), Some(value.clone()))])
        .collect();
    for requirement in selector.match_expressions.iter().flatten() {
        let key = || requirement.key.clone();
        alternatives.push(match requirement.operator.as_str() {
            "Exists" => vec![(key(), None)],
            "In" => requirement
                .values
                .iter()
                .flatten()
                .map(|value| (key(), Some(value.clone())))
                .collect(),
            _ => return None,
        });
    }
    // Each alternative repeats all that is nested in it.
    let size = alternatives
        .iter()
        .try_fold(1_usize, |size, more| size.checked_mul(more.len()))?;
    if size > MOST_MATCHES {
        return None;
    }
    let nested =
        alternatives
            .into_iter()
            .rev()
            .fold(Vec::new(), |inner: Vec<TunedMatch>, alternatives| {
                alternatives
                    .into_iter()
                    .map(|(label, value)| TunedMatch {
                        label,
                        // An empty value is written as none: the role labels have no other.
                        value: value.filter(|value| !value.is_empty()),
                        match_: inner.clone(),
                    })
                    .collect()
            });
    (!nested.is_empty()).then_some(nested)
}

#[cfg(test)]
mod tests;
