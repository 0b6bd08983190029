//! Which groups the kernel has stopped on which CPU: the `rt_rq` parts of the scheduler's debug file
//! (`print_rt_rq` in kernel/sched/debug.c). No other file tells it.

/// As many are kept: groups times CPUs of a large host.
const MAX: usize = 1 << 18;

/// A group on a CPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Throttled {
    /// The group's path from the mount of the cpu controller.
    pub group: String,
    /// The CPU.
    pub cpu: u32,
    /// It has used up its budget and is stopped until the next period.
    pub throttled: bool,
}

/// From the text. Without RT_GROUP_SCHED the kernel names no groups there: then there are none.
pub fn throttled(text: &str) -> Vec<Throttled> {
    let mut found = Vec::new();
    let mut current: Option<(u32, String)> = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("rt_rq[") {
            current = rest.split_once("]:").and_then(|(cpu, group)| {
                Some((cpu.parse().ok()?, group.to_owned())).filter(|_| group.starts_with('/'))
            });
        } else if let Some(value) = line.trim_start().strip_prefix(".rt_throttled") {
            if let Some((cpu, group)) = current.take()
                && let Some((_, value)) = value.split_once(':')
                && found.len() < MAX
            {
                found.push(Throttled {
                    group,
                    cpu,
                    throttled: value.trim() != "0",
                });
            }
        } else if !line.trim_start().starts_with('.') {
            current = None;
        }
    }
    found
}
