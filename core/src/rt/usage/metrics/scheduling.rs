//! What a scheduler knows of real-time threads beside their time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::super::{Group, Policy, Thread, Throttled};
use super::{MAX_CONTAINERS, MAX_THREADS, MAX_THREADS_OF_CONTAINER, escaped, key};

/// What `top` shows of threads beside their time: policy, priority, CPU, and which groups the kernel has stopped. Labels
/// and bounds are those of the others. Threads' names are in none: a program gives new ones without end.
pub(super) fn add(text: &mut String, groups: &[Group], throttled: Option<&[Throttled]>) {
    let mut stopped: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for one in throttled.into_iter().flatten() {
        stopped.entry(&one.group).or_default().insert(one.cpu);
    }
    let mut containers: BTreeMap<[&str; 3], Vec<&Group>> = BTreeMap::new();
    for group in groups {
        containers.entry(key(group)).or_default().push(group);
    }
    let (mut counts, mut priorities, mut cpus, mut stops) = (vec![], vec![], vec![], vec![]);
    for (key, groups) in containers {
        let [namespace, pod, container] = key.map(escaped);
        let labels = format!("namespace=\"{namespace}\",pod=\"{pod}\",container=\"{container}\"");
        let mut threads: Vec<&Thread> = groups.iter().flat_map(|group| &group.threads).collect();
        threads.sort_by_key(|thread| thread.key);
        let mut kinds: BTreeMap<_, u64> = BTreeMap::new();
        for thread in &threads {
            // As the kernel takes them: SCHED_DEADLINE first, then the higher priority.
            let late = thread.policy != Policy::Deadline;
            let kind = (late, Reverse(thread.priority), thread.policy);
            *kinds.entry(kind).or_default() += 1;
        }
        for ((_, Reverse(priority), policy), count) in kinds.into_iter().take(room(&counts)) {
            let policy = policy.name();
            counts.push((
                format!("{labels},policy=\"{policy}\",priority=\"{priority}\""),
                count,
            ));
        }
        for thread in threads.into_iter().take(room(&cpus)) {
            let labels = format!("{labels},thread=\"{}\"", thread.key.tid);
            let policy = thread.policy.name();
            priorities.push((
                format!("{labels},policy=\"{policy}\""),
                u64::from(thread.priority),
            ));
            cpus.push((labels, u64::from(thread.cpu)));
        }
        if throttled.is_some() && stops.len() < MAX_CONTAINERS {
            let on: BTreeSet<&u32> = groups
                .iter()
                .filter_map(|group| stopped.get(group.path.as_str()))
                .flatten()
                .collect();
            stops.push((labels, u64::try_from(on.len()).unwrap_or(u64::MAX)));
        }
    }
    gauge(
        text,
        "realtime_threads_by_policy",
        "Real-time threads of a container by policy and priority; 0 is that of SCHED_DEADLINE.",
        &counts,
    );
    gauge(
        text,
        "realtime_thread_priority",
        "Priority of a real-time thread, 1 to 99; 0 for SCHED_DEADLINE.",
        &priorities,
    );
    gauge(
        text,
        "realtime_thread_last_cpu",
        "CPU on which a real-time thread ran last.",
        &cpus,
    );
    gauge(
        text,
        "realtime_container_throttled_cpus",
        "CPUs on which the kernel has stopped a container's real-time threads at this moment, until its next period.",
        &stops,
    );
}

/// As many lines may one more container have.
fn room<T>(lines: &[T]) -> usize {
    MAX_THREADS
        .saturating_sub(lines.len())
        .min(MAX_THREADS_OF_CONTAINER)
}

/// One family: its help, its type, its lines. None without lines.
fn gauge(text: &mut String, name: &str, help: &str, lines: &[(String, u64)]) {
    if lines.is_empty() {
        return;
    }
    // Writing into a String never fails.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} gauge");
    for (labels, value) in lines {
        let _ = writeln!(text, "{name}{{{labels}}} {value}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::ThreadKey;
    use super::*;
    use crate::api::realtime_node::NodePodBudgetStatus;
    use crate::rt::identity::Identity;

    fn thread(tid: i32, policy: Policy, priority: u32, cpu: u32) -> Thread {
        Thread {
            key: ThreadKey { tid, start: 5 },
            comm: "a\"b\\c\nd".to_owned(),
            policy,
            priority,
            cpu,
            used_ns: 0,
            at_ns: 0,
        }
    }

    fn group(path: &str, pod: Option<&str>, threads: Vec<Thread>) -> Group {
        Group {
            path: path.to_owned(),
            identity: pod.map(|pod| Identity {
                namespace: "lab".to_owned(),
                pod: pod.to_owned(),
                uid: None,
                container: Some("main".to_owned()),
            }),
            pod_uid: "0f1e".to_owned(),
            id: "aa".to_owned(),
            budget_us: Some(25_000),
            threads,
        }
    }

    fn stopped(group: &str, cpu: u32) -> Throttled {
        Throttled {
            group: group.to_owned(),
            cpu,
        }
    }

    fn scheduled(groups: &[Group], throttled: Option<&[Throttled]>) -> String {
        let mut text = String::new();
        add(&mut text, groups, throttled);
        text
    }

    #[test]
    fn what_top_shows_is_in_the_metrics() {
        let groups = [
            group(
                "/kubepods/pod1/aa",
                Some("spinner"),
                vec![
                    thread(9, Policy::Fifo, 50, 3),
                    thread(7, Policy::Fifo, 50, 0),
                ],
            ),
            // The same container's, further in.
            group(
                "/kubepods/pod1/aa/in",
                Some("spinner"),
                vec![
                    thread(8, Policy::Rr, 99, 1),
                    thread(10, Policy::Deadline, 0, 2),
                ],
            ),
            group(
                "/kubepods/pod2/bb",
                None,
                vec![thread(20, Policy::Rr, 1, 1)],
            ),
        ];
        let throttled = [
            stopped("/kubepods/pod1/aa", 0),
            stopped("/kubepods/pod1/aa", 3),
            stopped("/kubepods/pod1/aa/in", 3),
            stopped("/kubepods/pod3/cc", 1),
        ];
        let spinner = "namespace=\"lab\",pod=\"spinner\",container=\"main\"";
        let nobody = "namespace=\"\",pod=\"0f1e\",container=\"aa\"";
        let text = scheduled(&groups, Some(&throttled));
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            lines,
            [
                format!("realtime_threads_by_policy{{{nobody},policy=\"rr\",priority=\"1\"}} 1"),
                format!(
                    "realtime_threads_by_policy{{{spinner},policy=\"deadline\",priority=\"0\"}} 1"
                ),
                format!("realtime_threads_by_policy{{{spinner},policy=\"rr\",priority=\"99\"}} 1"),
                format!(
                    "realtime_threads_by_policy{{{spinner},policy=\"fifo\",priority=\"50\"}} 2"
                ),
                format!("realtime_thread_priority{{{nobody},thread=\"20\",policy=\"rr\"}} 1"),
                format!("realtime_thread_priority{{{spinner},thread=\"7\",policy=\"fifo\"}} 50"),
                format!("realtime_thread_priority{{{spinner},thread=\"8\",policy=\"rr\"}} 99"),
                format!("realtime_thread_priority{{{spinner},thread=\"9\",policy=\"fifo\"}} 50"),
                format!(
                    "realtime_thread_priority{{{spinner},thread=\"10\",policy=\"deadline\"}} 0"
                ),
                format!("realtime_thread_last_cpu{{{nobody},thread=\"20\"}} 1"),
                format!("realtime_thread_last_cpu{{{spinner},thread=\"7\"}} 0"),
                format!("realtime_thread_last_cpu{{{spinner},thread=\"8\"}} 1"),
                format!("realtime_thread_last_cpu{{{spinner},thread=\"9\"}} 3"),
                format!("realtime_thread_last_cpu{{{spinner},thread=\"10\"}} 2"),
                format!("realtime_container_throttled_cpus{{{nobody}}} 0"),
                format!("realtime_container_throttled_cpus{{{spinner}}} 2"),
            ]
        );
        // Where the kernel doesn't tell, nothing is said: not that nothing is stopped.
        let untold = scheduled(&groups, None);
        assert!(
            !untold.contains("throttled") && untold.contains("last_cpu"),
            "{untold}"
        );
        assert_eq!(scheduled(&[], Some(&throttled)), "");
    }

    #[test]
    fn what_a_pod_names_is_escaped() {
        let odd = [group(
            "/a",
            Some("a\"b\\c\nd"),
            vec![thread(7, Policy::Fifo, 50, 0)],
        )];
        let text = scheduled(&odd, Some(&[]));
        let named = "{namespace=\"lab\",pod=\"a\\\"b\\\\c\\nd\",container=\"main\"";
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            assert!(
                line.split_once('{')
                    .is_some_and(|(_, labels)| format!("{{{labels}").starts_with(named)),
                "{line}"
            );
        }
        assert_eq!(text.lines().count(), 12, "{text}");
    }

    #[test]
    fn a_pod_with_threads_without_end_takes_no_other_pods_lines() {
        let of = |policy, first: i32| {
            (0..99).map(move |number| {
                thread(
                    first + number,
                    policy,
                    1 + u32::try_from(number).unwrap(),
                    0,
                )
            })
        };
        let every = || of(Policy::Fifo, 1).chain(of(Policy::Rr, 100)).collect();
        let count = |text: &str, name: &str, labels: &str| {
            let start = format!("{name}{{{labels}");
            text.lines().filter(|line| line.starts_with(&start)).count()
        };
        let threads = [
            "realtime_threads_by_policy",
            "realtime_thread_priority",
            "realtime_thread_last_cpu",
        ];
        let two = [
            group("/a", Some("a"), every()),
            group("/b", Some("b"), vec![thread(900, Policy::Rr, 1, 0)]),
        ];
        let text = scheduled(&two, None);
        for name in threads {
            let of_pod =
                |pod: &str| count(&text, name, &format!("namespace=\"lab\",pod=\"{pod}\""));
            assert_eq!(
                (of_pod("a"), of_pod("b")),
                (MAX_THREADS_OF_CONTAINER, 1),
                "{name}"
            );
        }
        // The highest stay.
        assert!(
            text.contains("priority=\"99\"")
                && text.contains("priority=\"84\"")
                && !text.contains("priority=\"83\""),
            "{text}"
        );

        let many: Vec<Group> = (0..1_200)
            .map(|pod| group("/a", Some(&format!("p{pod}")), every()))
            .collect();
        let text = scheduled(&many, Some(&[]));
        for name in threads {
            assert_eq!(count(&text, name, ""), MAX_THREADS, "{name}");
        }
        assert_eq!(
            count(&text, "realtime_container_throttled_cpus", ""),
            MAX_CONTAINERS
        );
    }

    #[test]
    fn the_same_threads_are_listed_by_each_family() {
        let groups: Vec<Group> = (0..40)
            .map(|pod| {
                let threads = (1..=pod).rev();
                let threads = threads.map(|tid| thread(100 * pod + tid, Policy::Fifo, 1, 0));
                group("/a", Some(&format!("p{pod}")), threads.collect())
            })
            .collect();
        let text = super::super::text(&NodePodBudgetStatus::default(), 0, Some(&groups), None);
        let listed = |name: &str| -> Vec<&str> {
            let lines = text.lines().filter_map(|line| line.strip_prefix(name));
            lines
                .filter_map(|line| line.split("thread=\"").nth(1)?.split('"').next())
                .collect()
        };
        let known = listed("realtime_thread_cpu_seconds_total{");
        assert!(known.len() > 500, "{}", known.len());
        assert_eq!(listed("realtime_thread_priority{"), known);
        assert_eq!(listed("realtime_thread_last_cpu{"), known);
    }
}
