//! Which groups the kernel has stopped on which CPU: the `rt_rq` parts of the scheduler's debug file
//! (`print_rt_rq` in kernel/sched/debug.c). No other file tells it.

/// As many are kept: groups times CPUs of a large host.
const MAX: usize = 1 << 18;

/// A group that has used up its budget on a CPU, and is stopped there until the next period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The group's path from the mount of the cpu controller.
    pub group: String,
    /// The CPU.
    pub cpu: u32,
}

/// From the text: those that are stopped. `None` where it names no groups, as without RT_GROUP_SCHED.
pub fn throttled(text: &str) -> Option<Vec<Throttled>> {
    let mut found = Vec::new();
    let mut tells = false;
    let mut current: Option<(u32, String)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("rt_rq[") {
            current = rest.split_once("]:").and_then(|(cpu, group)| {
                Some((cpu.parse().ok()?, group.to_owned())).filter(|_| group.starts_with('/'))
            });
        } else if let Some(value) = line.trim_start().strip_prefix(".rt_throttled") {
            if let Some((cpu, group)) = current.take()
                && let Some((_, value)) = value.split_once(':')
            {
                tells = true;
                if value.trim() != "0" && found.len() < MAX {
                    found.push(Throttled { group, cpu });
                }
            }
        } else if !line.trim_start().starts_with('.') {
            current = None;
        }
    }
    tells.then_some(found)
}
