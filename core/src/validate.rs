//! From a profile and a cluster to a `ValidProfile`, or to *all* problems at once. Decides nothing about output.
//!
//! A problem of the profile names its field (`spec.cpu.isolated`), one of the cluster's state the object that is in
//! the way (`KubeletConfig/name`).

mod beside_arguments;
mod cpu;
mod kernel;
mod kernel_arguments;
mod kubelet;
mod memory;
mod network;
mod pod_budget;
mod pool;
pub(crate) mod text;
mod topology;
mod tuned;
pub mod valid_profile;

pub use valid_profile::ValidProfile;

use crate::api::RealtimeProfile;
use crate::api::realtime_profile::{InterruptsSpec, RealtimeProfileSpec, TopologyPolicy};
use crate::cluster::Cluster;
use crate::facts::{NodeFacts, facts_among};
use crate::problem::{Problem, Problems};
use kernel::Around;

/// What validation says: the parsed profile when nothing forbids it, and every problem, warnings included.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The profile, parsed once; `None` when any problem is an error.
    pub profile: Option<ValidProfile>,
    /// All problems, errors first.
    pub problems: Problems,
}

/// What is known of the hardware.
struct Known {
    /// The pool's nodes.
    nodes: Vec<NodeFacts>,
    /// Those that may join it, while it has none.
    candidates: Vec<NodeFacts>,
}

impl Known {
    /// From whom the hardware is read: the pool's nodes, and as long as there are none those that may join it. A node
    /// that joins is sent the configuration that is there already; only if that was right, it boots once.
    fn telling(&self) -> &[NodeFacts] {
        if self.nodes.is_empty() {
            &self.candidates
        } else {
            &self.nodes
        }
    }
}

/// Checks everything and reports everything.
pub fn validate(profile: &RealtimeProfile, cluster: &Cluster) -> Validated {
    // 1. The schema: what the API server holds, an offline profile and an older object may not.
    let mut problems = crate::input::profile_problems(profile);
    // 2. Each section for itself and against the nodes. What can't be read becomes a harmless value.
    let (valid, known) = sections(profile, cluster, &mut problems);
    // 3. The sections against each other and against the cluster, through what would be rendered.
    together(profile, &valid, &known, cluster, &mut problems);
    let problems = without_echoes(&problems).sorted();
    Validated {
        profile: (!problems.has_errors()).then_some(valid),
        problems,
    }
}

fn sections(
    profile: &RealtimeProfile,
    cluster: &Cluster,
    problems: &mut Problems,
) -> (ValidProfile, Known) {
    let RealtimeProfileSpec {
        pool: _,
        kernel: kernel_spec,
        cpu: cpu_spec,
        memory: memory_spec,
        numa,
        interrupts,
        network: network_spec,
        kubelet: kubelet_spec,
        tuned: tuned_spec,
        pod_budget: budget_spec,
        latency,
        rollout,
    } = &profile.spec;
    let pool = pool::check(profile, cluster, problems);
    let pools = pool::with_ours(&pool, cluster);
    let facts = facts_among(&pool.name, &pools, cluster);
    pool::nodes::check_membership(&pool, &pools, &facts, cluster, problems);
    pool::conflicts::check_profiles(profile, &pool, cluster, problems);

    let asked_page_size = memory_spec
        .as_ref()
        .and_then(|memory| memory.kernel_page_size)
        .unwrap_or_default();
    let known = Known {
        candidates: pool::nodes::candidates(&pool, &pools, &facts, cluster),
        nodes: facts,
    };
    let facts = &known.nodes;
    let hardware = pool::nodes::hardware(known.telling(), asked_page_size);
    let around = Around {
        served: cluster.served,
        image_mode: cluster.image_mode_pools.contains(&pool.name),
        architecture: hardware.architecture,
        page_size: asked_page_size,
        systems: kernel::Systems::of(&known.nodes, known.telling()),
    };
    let kernel = kernel::check(kernel_spec.as_ref(), &around, problems);
    kernel_arguments::check_form(&kernel.additional_arguments, problems);
    let cpu::Cpu {
        cpus,
        smt,
        power,
        frequency,
    } = cpu::check(cpu_spec.as_ref(), problems);
    if let Some(cpus) = &cpus {
        topology::check(cpus, smt, facts, problems);
    }
    let (hugepages, kernel_page_size) = memory::check(
        memory_spec.as_ref(),
        hardware.architecture,
        kernel.realtime,
        facts,
        problems,
    );
    let kubelet = kubelet::check(kubelet_spec.as_ref(), facts, problems);
    let tuned = tuned::check(tuned_spec.as_ref(), problems);
    let (canaries, paused) = pod_budget::check_rollout(rollout.as_ref(), facts, problems);
    let topology_policy = match numa {
        Some(numa) => Some(numa.topology_policy.unwrap_or_default()),
        None => cpus.as_ref().map(|_| TopologyPolicy::default()),
    };
    let valid = ValidProfile {
        name: profile.metadata.name.clone().unwrap_or_default(),
        uid: profile.metadata.uid.clone(),
        served: cluster.served,
        limit_queues: network::check(network_spec.as_ref(), cpus.as_ref(), problems),
        balance_interrupts_on_isolated: balance(interrupts.as_ref(), cpus.is_some(), problems),
        pod_budget: pod_budget::check(budget_spec.as_ref(), problems),
        max_latency_microseconds: pod_budget::check_latency(latency.as_ref(), problems),
        pool,
        hardware,
        kernel,
        cpus,
        power,
        smt,
        frequency,
        hugepages,
        kernel_page_size,
        topology_policy,
        system_reserved: kubelet.system_reserved,
        kube_reserved: kubelet.kube_reserved,
        kubelet_overrides: kubelet.overrides,
        tuned_include: tuned.include,
        sysctl: tuned.sysctl,
        tuned_sections: tuned.sections,
        canaries,
        paused,
    };
    (valid, known)
}

fn together(
    profile: &RealtimeProfile,
    valid: &ValidProfile,
    known: &Known,
    cluster: &Cluster,
    problems: &mut Problems,
) {
    pool::nodes::check_alike(valid, &known.nodes, problems);
    pool::nodes::check_told(valid, known, problems);
    let beside = pool::beside::Beside::of(valid, cluster);
    let asked = pool::conflicts::AskedKernel::of(profile);
    pool::conflicts::check(valid, asked, &beside, cluster, problems);
    let hugepages_given = profile
        .spec
        .memory
        .as_ref()
        .is_some_and(|memory| memory.hugepages.is_some());
    kernel_arguments::check_together(valid, hugepages_given, &beside, problems);
    beside_arguments::check(valid, &beside, problems);
    let topology_given = profile
        .spec
        .numa
        .as_ref()
        .is_some_and(|numa| numa.topology_policy.is_some());
    kubelet::check_together(valid, topology_given, problems);
    kubelet::check_room(valid, &known.nodes, problems);
    tuned::check_against_ours(valid, problems);
}

fn balance(
    interrupts: Option<&InterruptsSpec>,
    partitioned: bool,
    problems: &mut Problems,
) -> bool {
    let balance = interrupts
        .and_then(|interrupts| interrupts.balance_on_isolated)
        .unwrap_or(true);
    if !balance && !partitioned {
        problems.push(Problem::warning(
            "spec.interrupts.balanceOnIsolated",
            "false",
            "has no effect: no CPUs are isolated",
            "set spec.cpu.reserved and isolated, or remove it",
        ));
    }
    balance
}

/// Two checks may see the same fault of one field: the schema's word goes when a section says it better.
pub fn without_echoes(problems: &Problems) -> Problems {
    let is_pattern = crate::input::is_pattern;
    let kept = problems
        .0
        .iter()
        .filter(|problem| {
            let told_better = || {
                problems
                    .0
                    .iter()
                    .any(|other| other.field == problem.field && !is_pattern(other))
            };
            !(is_pattern(problem) && told_better())
        })
        .cloned()
        .collect();
    Problems(kept)
}

/// Nodes as a message names them: all when they are few.
fn names(nodes: &[String]) -> String {
    const SHOWN: usize = 4;
    match nodes {
        [] => "no node".to_owned(),
        few if few.len() <= SHOWN => few.join(", "),
        many => format!(
            "{} and {} more",
            many.iter()
                .take(SHOWN - 1)
                .cloned()
                .collect::<Vec<_>>()
                .join(", "),
            many.len() + 1 - SHOWN
        ),
    }
}

#[cfg(test)]
mod tests;
