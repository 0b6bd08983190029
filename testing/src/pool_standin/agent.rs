//! The stand-in for a node's agent (the Machine Config Daemon): Working, drain, work, reboot, uncordon, Done.
//! Pure; `controller` writes and keeps the time.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Node;
use kube::ResourceExt;
use realtime_core::openshift::MachineConfig;

use super::names::{self, state};

/// How long a step takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// As soon as the agent sees it.
    AtOnce,
    /// The time that an update of the OS takes.
    Work,
}

/// What an agent does next.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// How long it takes.
    pub pace: Pace,
    /// The annotations that it sets.
    pub annotations: BTreeMap<&'static str, String>,
    /// Whether it restarts the node before, and with which configuration.
    pub reboots_into: Option<String>,
}

/// The next step of a node's agent. `first` is the configuration with which a node joins the cluster.
pub fn next(node: &Node, first: Option<&str>) -> Option<Step> {
    let has = |name: &str| node.annotations().get(name).map_or("", String::as_str);
    if node.annotations().contains_key(names::HANG) {
        return None;
    }
    let step = |pace, annotations: &[(&'static str, String)]| {
        Some(Step {
            pace,
            annotations: annotations.iter().cloned().collect(),
            reboots_into: None,
        })
    };
    if has(names::CURRENT).is_empty() {
        let first = first?.to_owned();
        return step(
            Pace::AtOnce,
            &[
                (names::CURRENT, first.clone()),
                (names::DESIRED, first.clone()),
                (names::STATE, state::DONE.to_owned()),
                (names::DESIRED_DRAIN, format!("uncordon-{first}")),
                (names::LAST_APPLIED_DRAIN, format!("uncordon-{first}")),
            ],
        );
    }
    let desired_drain = has(names::DESIRED_DRAIN);
    let drained = desired_drain == has(names::LAST_APPLIED_DRAIN);
    if has(names::STATE) == state::WORKING {
        // A configuration that was begun is finished, whatever is desired meanwhile.
        if let Some(config) = desired_drain.strip_prefix("drain-").filter(|_| drained) {
            let mut step = step(
                Pace::Work,
                &[(names::DESIRED_DRAIN, format!("uncordon-{config}"))],
            )?;
            step.reboots_into = Some(config.to_owned());
            return Some(step);
        }
        if let Some(config) = desired_drain.strip_prefix("uncordon-").filter(|_| drained) {
            return step(
                Pace::AtOnce,
                &[
                    (names::CURRENT, config.to_owned()),
                    (names::STATE, state::DONE.to_owned()),
                ],
            );
        }
        return None;
    }
    if has(names::CURRENT) == has(names::DESIRED) {
        // Recovered from drift.
        let drifted = has(names::STATE) == state::DEGRADED
            && !node.annotations().contains_key(names::DEGRADE);
        return drifted
            .then(|| {
                step(
                    Pace::AtOnce,
                    &[
                        (names::STATE, state::DONE.to_owned()),
                        (names::REASON, String::new()),
                    ],
                )
            })
            .flatten();
    }
    if let Some(reason) = node.annotations().get(names::DEGRADE) {
        let told = has(names::STATE) == state::DEGRADED && has(names::REASON) == reason;
        return (!told)
            .then(|| {
                step(
                    Pace::AtOnce,
                    &[
                        (names::STATE, state::DEGRADED.to_owned()),
                        (names::REASON, reason.clone()),
                    ],
                )
            })
            .flatten();
    }
    step(
        Pace::AtOnce,
        &[
            (names::STATE, state::WORKING.to_owned()),
            (names::REASON, String::new()),
            (
                names::DESIRED_DRAIN,
                format!("drain-{}", has(names::DESIRED)),
            ),
        ],
    )
}

/// The stock kernel's release on a simulated node.
pub const STOCK_KERNEL: &str = "5.14.0-570.12.1.el9_6.x86_64";

/// The release of the kernel that boots with this configuration. The machine's suffix stays as it is.
pub fn kernel_release(running: &str, config: &MachineConfig) -> String {
    let stock = running
        .split('+')
        .next()
        .filter(|release| !release.is_empty())
        .unwrap_or(STOCK_KERNEL);
    if config.spec.realtime == Some(true) {
        return format!("{stock}+rt");
    }
    match config.spec.kernel_type.as_deref() {
        Some("realtime") => format!("{stock}+rt"),
        Some("64k-pages") => format!("{stock}+64k"),
        _ => stock.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(annotations: &[(&str, &str)]) -> Node {
        let mut node = Node::default();
        node.metadata.annotations = Some(
            annotations
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        );
        node
    }

    #[test]
    fn an_update_is_the_recorded_sequence() {
        let mut node = node(&[
            (names::CURRENT, "old"),
            (names::DESIRED, "new"),
            (names::STATE, "Done"),
            (names::DESIRED_DRAIN, "uncordon-old"),
            (names::LAST_APPLIED_DRAIN, "uncordon-old"),
        ]);
        let mut reboots = 0;
        let mut seen = Vec::new();
        for _ in 0..10 {
            if let Some(step) = next(&node, None) {
                reboots += usize::from(step.reboots_into.is_some());
                for (name, value) in step.annotations {
                    node.annotations_mut().insert(name.to_owned(), value);
                }
            } else {
                let drain = node.annotations()[names::DESIRED_DRAIN].clone();
                node.annotations_mut()
                    .insert(names::LAST_APPLIED_DRAIN.to_owned(), drain);
            }
            let has = |name: &str| node.annotations()[name].clone();
            let now = (
                has(names::STATE),
                has(names::CURRENT),
                has(names::DESIRED_DRAIN),
                has(names::LAST_APPLIED_DRAIN),
            );
            if seen.last() != Some(&now) {
                seen.push(now);
            }
        }
        let expected = [
            ("Working", "old", "drain-new", "uncordon-old"),
            ("Working", "old", "drain-new", "drain-new"),
            ("Working", "old", "uncordon-new", "drain-new"),
            ("Working", "old", "uncordon-new", "uncordon-new"),
            ("Done", "new", "uncordon-new", "uncordon-new"),
        ]
        .map(|(a, b, c, d)| (a.to_owned(), b.to_owned(), c.to_owned(), d.to_owned()));
        assert_eq!(seen, expected);
        assert_eq!(reboots, 1);
    }

    #[test]
    fn a_node_degrades_for_as_long_as_it_is_told_to() {
        let mut node = node(&[
            (names::CURRENT, "old"),
            (names::DESIRED, "new"),
            (names::STATE, "Done"),
            (names::DEGRADE, "no package"),
        ]);
        let step = next(&node, None).unwrap();
        assert_eq!(step.annotations[names::STATE], "Degraded");
        for (name, value) in step.annotations {
            node.annotations_mut().insert(name.to_owned(), value);
        }
        assert_eq!(next(&node, None), None);
        node.annotations_mut().remove(names::DEGRADE);
        assert_eq!(
            next(&node, None).unwrap().annotations[names::STATE],
            "Working"
        );
    }

    #[test]
    fn the_kernel_follows_the_rendered_type_and_comes_back() {
        let config = |kind: &str| -> MachineConfig {
            serde_json::from_value(json!({"metadata": {"name": "x"}, "spec": {"kernelType": kind}}))
                .unwrap()
        };
        let realtime = kernel_release(STOCK_KERNEL, &config("realtime"));
        assert_eq!(realtime, "5.14.0-570.12.1.el9_6.x86_64+rt");
        assert_eq!(kernel_release(&realtime, &config("realtime")), realtime);
        assert_eq!(kernel_release(&realtime, &config("default")), STOCK_KERNEL);
    }
}
