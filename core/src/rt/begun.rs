//! Whether a container's program has begun, by the processes in its group. Reads nothing: names and command lines come as
//! arguments.

/// OCI runtimes, by the beginning of their processes' names.
const RUNTIMES: [&str; 3] = ["runc", "crun", "youki"];

/// Whether a process is the runtime's own, by `/proc/<pid>/comm` and `/proc/<pid>/cmdline`: `runc init` under its many names
/// (`runc:[2:INIT]`, or that of a copy in memory, where only the command line tells), or crun, which becomes the container
/// without a program of its own in between. `None`: it has another name and no command line, as one that has just ended.
pub fn is_runtimes(name: &str, command_line: &str) -> Option<bool> {
    if RUNTIMES.iter().any(|runtime| name.starts_with(runtime)) {
        return Some(true);
    }
    if command_line.is_empty() {
        return None;
    }
    let mut words = command_line.split('\0');
    let program = words.next().unwrap_or_default();
    let runtimes =
        program == "/proc/self/exe" || RUNTIMES.iter().any(|runtime| program.ends_with(runtime));
    Some(runtimes && words.next() == Some("init"))
}

/// Whether a container's program has begun, by whether each of the processes that were listed in its group is the runtime's;
/// `None` is one that had ended when it was looked at. runc has several, one after the other, and the program takes the place
/// of the last one: one that has ended says nothing. `None`: none of them could be looked at, and others may be there now.
pub fn has_begun(are_runtimes: &[Option<bool>]) -> Option<bool> {
    let seen: Vec<bool> = are_runtimes.iter().copied().flatten().collect();
    let any = !seen.is_empty() || are_runtimes.is_empty();
    any.then(|| seen.contains(&false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_runtimes_processes_are_known_under_all_their_names() {
        for (name, line) in [
            ("runc:[2:INIT]\n", "runc\0init\0"),
            ("runc:[1:CHILD]\n", ""),
            ("6\n", "/proc/self/exe\0init\0"),
            ("exe\n", "/usr/bin/runc\0init\0"),
            ("crun\n", "crun\0--root\0/run/crun\0create\0"),
            ("youki:[2:INIT]\n", ""),
        ] {
            assert_eq!(is_runtimes(name, line), Some(true), "{name:?} {line:?}");
        }
        for (name, line) in [
            ("first-act\n", "first-act\x003600\0"),
            ("init\n", "/sbin/init\0"),
            ("exe\n", "/proc/self/exe\0serve\0"),
            ("sh\n", "sh\0init\0"),
        ] {
            assert_eq!(is_runtimes(name, line), Some(false), "{name:?} {line:?}");
        }
        for name in ["6\n", ""] {
            assert_eq!(is_runtimes(name, ""), None, "{name:?}");
        }
    }

    #[test]
    fn a_process_that_has_ended_says_nothing() {
        for (listed, begun) in [
            (&[][..], Some(false)),
            (&[Some(true), Some(true)], Some(false)),
            (&[Some(true), Some(false)], Some(true)),
            (&[None, Some(true)], Some(false)),
            (&[Some(false), None], Some(true)),
            (&[None, None], None),
        ] {
            assert_eq!(has_begun(listed), begun, "{listed:?}");
        }
    }

    proptest! {
        #[test]
        fn any_text_has_an_answer(name in ".*", line in ".*") {
            is_runtimes(&name, &line);
        }
    }
}
