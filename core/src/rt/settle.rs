//! Who gets what where: pods that ask, containers that are known by their ids, and the groups that are in the tree, to
//! budgets that are wanted and one entry for each container that asks. Writes nothing and judges no room: that is `plan`.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::group::{self, ContainerId, Kind, Located};
use super::identity::Identity;
use super::micros::RuntimeMicros;
use super::plan::{Tree, Wanted};
use super::pod::{Pod, Status};
use super::request::{self, Policy, Refused, Request, Rules};
use crate::api::realtime_node::{BudgetMode, ContainerBudget};
use crate::problem::Problem;

/// Namespace and name.
pub type PodKey = (String, String);

/// What a container is known as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// A pod's container, by the runtime's word or the kubelet's.
    Container(Identity),
    /// A sandbox, or a container that was replaced by a later one: it never gets anything.
    Nobody,
}

/// What holds for the whole node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRules {
    /// What the kernel and the hierarchy allow.
    pub mode: BudgetMode,
    /// Smaller budgets wedge threads.
    pub smallest: RuntimeMicros,
    /// The profile's `maxPerContainerMicroseconds`.
    pub largest: RuntimeMicros,
    /// See [`Rules::isolated_domains`].
    pub isolated_domains: bool,
    /// Namespaces whose pods may ask; `None`: all.
    pub namespaces: Option<BTreeSet<String>>,
}

/// A container that asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Its pod.
    pub pod: PodKey,
    /// What it asks for.
    pub request: Request,
    /// Its id and its group from the mount, when both are there.
    pub at: Option<(ContainerId, String)>,
    /// Its pod is being deleted.
    pub leaving: bool,
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settled {
    /// For `plan`.
    pub wanted: Wanted,
    /// In the order of pods, and of the containers in them.
    pub assignments: Vec<Assignment>,
    /// Pods that get nothing at all, and why.
    pub refused: BTreeMap<PodKey, Refused>,
}

impl Settled {
    /// What the groups of containers had of what they ask for, by what was told before: microseconds.
    pub fn had_by(&self, entries: &[ContainerBudget]) -> BTreeMap<String, i64> {
        let had: BTreeMap<(&str, &str, &str), i64> = entries
            .iter()
            .filter_map(|entry| {
                let key = (&*entry.namespace, &*entry.pod, &*entry.container);
                Some((key, entry.applied_microseconds?))
            })
            .collect();
        let groups = self.assignments.iter().filter_map(|assignment| {
            let (namespace, pod) = &assignment.pod;
            let (_, group) = assignment.at.as_ref()?;
            let had = had.get(&(&**namespace, &**pod, &*assignment.request.container))?;
            assignment.request.runtime?;
            (*had > 0).then(|| (group.clone(), *had))
        });
        groups.collect()
    }
}

impl NodeRules {
    /// For the pods of one namespace.
    pub fn of(&self, namespace: &str) -> Rules {
        Rules {
            smallest: self.smallest,
            largest: self.largest,
            namespace_allowed: self
                .namespaces
                .as_ref()
                .is_none_or(|allowed| allowed.contains(namespace)),
            // Only a kernel that throttles can forget to stop.
            isolated_domains: self.isolated_domains && self.mode == BudgetMode::V1Budget,
        }
    }

    /// What a pod asks for, or every reason why it gets nothing.
    pub fn read(&self, pod: &Pod) -> Result<Vec<Request>, Refused> {
        let requests = request::read(&pod.contract, &self.of(&pod.namespace))?;
        let problems: Vec<Problem> = requests
            .iter()
            .filter(|request| self.mode == BudgetMode::V1Budget && lacks_budget(request))
            .map(|request| {
                Problem::error(
                    format!("{}.{}", request::SCHEDULER, request.container),
                    request.scheduling.map(|it| it.to_string()).unwrap_or_default(),
                    "a real-time policy needs a budget on this node, whose kernel keeps one for each cgroup",
                    format!("add {}.{}", request::RUNTIME_US, request.container),
                )
            })
            .collect();
        if problems.is_empty() {
            Ok(requests)
        } else {
            Err(Refused { problems, more: 0 })
        }
    }
}

fn lacks_budget(request: &Request) -> bool {
    request.runtime.is_none()
        && request
            .scheduling
            .is_some_and(|scheduling| scheduling.policy != Policy::Other)
}

/// Settles. `complete`: `pods` has every pod of the node that asks; what nobody asks for is then taken back.
pub fn settle(
    pods: &BTreeMap<PodKey, Pod>,
    known: &BTreeMap<ContainerId, Known>,
    tree: &Tree,
    rules: &NodeRules,
    complete: bool,
) -> Settled {
    let groups = Groups::new(pods, known, tree);
    let mut settled = Settled {
        wanted: Wanted {
            complete,
            ..Wanted::default()
        },
        ..Settled::default()
    };
    for (key, pod) in pods.iter().filter(|(_, pod)| !pod.over) {
        let requests = match rules.read(pod) {
            Ok(requests) => requests,
            Err(refused) => {
                settled.refused.insert(key.clone(), refused);
                continue;
            }
        };
        for request in requests {
            let at = groups.of(key, &request.container);
            // An init container runs again with a new sandbox: the API's word is then of the one before.
            let told = at.as_ref().is_none_or(|(id, _)| pod.ids.contains_key(id));
            if told && pod.has_ended(&request.container) {
                continue;
            }
            if let (Some((_, group)), Some(budget)) = (&at, request.runtime) {
                settled.wanted.budgets.insert(group.clone(), budget);
            }
            settled.assignments.push(Assignment {
                pod: key.clone(),
                request,
                at,
                leaving: pod.leaving,
            });
        }
    }
    settled.wanted.leaving = groups.leaving(pods, complete);
    for (group, has) in groups.unknown(pods) {
        // Whose it is will be known soon: until then it keeps what it has.
        settled.wanted.budgets.entry(group).or_insert(has);
    }
    settled
}

/// The containers' groups of the tree.
struct Groups<'a> {
    /// Each container's group: where its processes are.
    found: Vec<(Located, &'a str, i64)>,
    /// Of containers that are known, by pod and name.
    by_name: BTreeMap<(&'a PodKey, &'a str), usize>,
    /// Whether anything is known of a container, at its place in `found`.
    is_known: Vec<bool>,
}

impl<'a> Groups<'a> {
    fn new(
        pods: &'a BTreeMap<PodKey, Pod>,
        known: &'a BTreeMap<ContainerId, Known>,
        tree: &'a Tree,
    ) -> Self {
        let found = containers(tree);
        let mut by_name = BTreeMap::new();
        let mut is_known = vec![false; found.len()];
        let ids: BTreeMap<&ContainerId, (&PodKey, &Status)> = pods
            .iter()
            .flat_map(|(key, pod)| pod.ids.iter().map(move |(id, status)| (id, (key, status))))
            .collect();
        for (index, (located, _, _)) in found.iter().enumerate() {
            let Some((_, id)) = &located.container else {
                continue;
            };
            let told = ids.get(id).copied();
            // One of that id that its runtime hasn't made is nobody's.
            let is_foreign = told.is_some_and(|(_, status)| !located.is_by(status.runtime));
            if is_foreign || known.get(id) == Some(&Known::Nobody) {
                is_known[index] = true;
                continue;
            }
            let whose = match known.get(id) {
                Some(Known::Container(identity)) => {
                    identity.container.as_deref().and_then(|name| {
                        let key = (identity.namespace.clone(), identity.pod.clone());
                        pods.get_key_value(&key).map(|(key, _)| (key, name))
                    })
                }
                Some(Known::Nobody) | None => {
                    told.map(|(key, status)| (key, status.container.as_str()))
                }
            };
            let Some((key, name)) = whose else { continue };
            is_known[index] = true;
            // An id counts below its own pod's directory only: anybody may write a static pod's annotations, and a
            // privileged container can make groups of any name.
            if pods.get(key).is_some_and(|pod| pod.has(located)) {
                // The runtime's word is newer than the API's, which may still be of the container before.
                if known.contains_key(id) {
                    by_name.insert((key, name), index);
                } else {
                    by_name.entry((key, name)).or_insert(index);
                }
            }
        }
        Self {
            found,
            by_name,
            is_known,
        }
    }

    fn of(&self, pod: &PodKey, container: &str) -> Option<(ContainerId, String)> {
        let index = *self.by_name.get(&(pod, container))?;
        let (located, path, _) = &self.found[index];
        let (_, id) = located.container.as_ref()?;
        Some((id.clone(), (*path).to_owned()))
    }

    /// Groups of pods that are going or gone.
    fn leaving(&self, pods: &BTreeMap<PodKey, Pod>, complete: bool) -> BTreeSet<String> {
        let stays: BTreeSet<_> = pods
            .values()
            .filter(|pod| !pod.leaving && !pod.over)
            .filter_map(|pod| pod.directory.as_ref())
            .collect();
        let goes: BTreeSet<_> = pods
            .values()
            .filter(|pod| pod.leaving || pod.over)
            .filter_map(|pod| pod.directory.as_ref())
            .collect();
        self.found
            .iter()
            .filter(|(located, _, _)| {
                goes.contains(&located.pod) || (complete && !stays.contains(&located.pod))
            })
            .map(|(_, path, _)| (*path).to_owned())
            .collect()
    }

    /// Containers of pods that ask, of which nothing is known yet, and what they have.
    fn unknown(
        &self,
        pods: &BTreeMap<PodKey, Pod>,
    ) -> impl Iterator<Item = (String, RuntimeMicros)> {
        let asking: BTreeSet<_> = pods
            .values()
            .filter_map(|pod| pod.directory.clone())
            .collect();
        self.found
            .iter()
            .enumerate()
            .filter(move |(index, (located, _, _))| {
                !self.is_known[*index] && asking.contains(&located.pod)
            })
            .filter_map(|(_, (_, path, has))| {
                let has = u64::try_from(*has)
                    .ok()
                    .and_then(|has| RuntimeMicros::new(has).ok())?;
                Some(((*path).to_owned(), has))
            })
    }
}

/// Each container's group once: crun's `container` group below it where that is there, since the processes are in it.
fn containers(tree: &Tree) -> Vec<(Located, &str, i64)> {
    let mut found: Vec<(Located, &str, i64)> = Vec::new();
    for (path, group) in &tree.groups {
        let Some(located) = group::locate(path) else {
            continue;
        };
        if !matches!(located.container, Some((Kind::Container, _))) {
            continue;
        }
        if path.len() == located.own {
            found.push((located, path, group.runtime_us));
        } else if path.get(located.own..) == Some("/container")
            && let Some(last) = found.last_mut()
            && last.0.container == located.container
        {
            last.1 = path;
            last.2 = group.runtime_us;
        }
    }
    found
}
