//! Which kernel parameters a kubelet can leave to pods: those that each namespace has for itself.
//!
//! Source: Kubernetes 1.34's pkg/kubelet/sysctl/allowlist.go and component-helpers' node/util/sysctl/namespace.go.

use serde_json::Value;

use super::values;
use crate::problem::{Problem, Problems};

/// Longest name that the kubelet takes.
const MAX_NAME: usize = 253;
/// The parameters of the IPC namespace, and what `kernel.shm*` and `kernel.msg*` leave without their asterisk.
const NAMES: [&str; 10] = [
    "kernel.sem",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
    "kernel.shm_rmid_forced",
    "kernel.shm",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.msg",
];
/// All below these is a namespace's.
const PREFIXES: [&str; 2] = ["net.", "fs.mqueue."];

/// The items of `allowedUnsafeSysctls`.
pub(super) fn check(field: &str, items: &[Value], problems: &mut Problems) {
    for (index, text) in items.iter().enumerate() {
        let name = text.as_str().unwrap_or_default();
        let (message, remedy) = if !is_pattern(name) {
            (
                "is no name of a kernel parameter: the kubelet would not start",
                "write small letters and dots, with * at the very end for all that begin so, as in net.ipv4.*",
            )
        } else if !is_namespaced(name) {
            (
                "is not the pod's own: the kubelet takes what is namespaced only (net.*, fs.mqueue.*, kernel.sem, kernel.shm*, kernel.msg*), and would not start",
                "remove it; for the whole node set it in spec.tuned.sysctl",
            )
        } else {
            continue;
        };
        problems.push(Problem::error(
            format!("{field}[{index}]"),
            values::shown(text),
            message,
            remedy,
        ));
    }
}

/// Segments between dots or slashes, alphanumeric at both ends; the last may end with an asterisk, or be one.
fn is_pattern(name: &str) -> bool {
    let inner = |byte: &u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
    };
    let ends = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let starts = |segment: &str| segment.as_bytes().first().is_some_and(ends);
    let is_segment = |segment: &str| {
        starts(segment)
            && segment.as_bytes().last().is_some_and(ends)
            && segment.as_bytes().iter().all(inner)
    };
    let mut segments: Vec<&str> = name.split(['.', '/']).collect();
    let last = segments.pop().unwrap_or_default();
    let last_fits = match last.strip_suffix('*') {
        None => is_segment(last),
        Some("") => true,
        Some(begin) => starts(begin) && begin.as_bytes().iter().all(inner),
    };
    name.len() <= MAX_NAME && last_fits && segments.into_iter().all(is_segment)
}

fn is_namespaced(name: &str) -> bool {
    let name = dotted(name);
    let name = name.strip_suffix('*').unwrap_or(&name);
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// With dots between the segments: where the first that stands between two is a slash, dots and slashes change places.
fn dotted(name: &str) -> String {
    if name
        .find(['.', '/'])
        .is_none_or(|at| name[at..].starts_with('.'))
    {
        return name.to_owned();
    }
    let swapped = |character| match character {
        '.' => '/',
        '/' => '.',
        other => other,
    };
    name.chars().map(swapped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_namespaced_may_be_the_pods() {
        for name in [
            "net.core.somaxconn",
            "net.*",
            "net/ipv4/tcp_*",
            "net.ipv4.conf.eth0/100.rp_filter",
            "net/ipv4/conf/eth0.100/rp_filter",
            "fs.mqueue.msg_max",
            "fs.mqueue.*",
            "kernel.sem",
            "kernel/sem",
            "kernel.shm*",
            "kernel.msg*",
            "kernel.shm_rmid_forced",
            "kernel.msgmax",
        ] {
            assert!(is_pattern(name) && is_namespaced(name), "{name}");
        }
        for name in [
            "vm.swappiness",
            "kernel.sched_rt_runtime_us",
            "kernel.*",
            "kernel.s*",
            // The names are the kubelet's list, not the kernel's.
            "kernel.shm_next_id",
            "kernel.shmm*",
            "fs.mqueue*",
            "net*",
            "*",
            "fs/file-max",
        ] {
            assert!(is_pattern(name) && !is_namespaced(name), "{name}");
        }
    }

    #[test]
    fn a_pattern_ends_with_its_asterisk() {
        for name in [
            "",
            "net.*.x",
            "net.**",
            "Net.core",
            "net..core",
            ".net",
            "net.-*",
            "net.core.",
            "net core",
        ] {
            assert!(!is_pattern(name), "{name}");
        }
        assert!(
            is_pattern("net.core_*")
                && is_pattern(&"a".repeat(253))
                && !is_pattern(&"a".repeat(254))
        );
    }
}
