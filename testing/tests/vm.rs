//! The machine itself: a program runs in it on a real PREEMPT_RT kernel, and nothing outlives its time.

use std::time::{Duration, Instant};

use realtime_testing::vm::{Error, Machine, Outcome, Program, kernel, run};

/// A program of this host that has libraries: the loader and libc come with it.
const SHELL: &str = "/bin/dash";

/// `None`, loudly, where the machine can't be had.
fn booted(machine: &Machine, script: &str) -> Option<Result<Outcome, Error>> {
    let program = Program {
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: vec![("GREETING".to_owned(), "it's here".to_owned())],
        files: vec![("/etc/a file".to_owned(), b"contents\n".to_vec(), 0o600)],
        ..Program::new(SHELL)
    };
    match run(machine, &program) {
        Err(Error::Unavailable(reason)) => {
            realtime_testing::skip(&reason);
            None
        }
        other => Some(other),
    }
}

#[test]
fn a_program_runs_on_a_real_time_kernel() {
    let machine = Machine {
        topology: (1, 3, 1),
        numa_nodes: 1,
        memory_mib: 512,
        kernel_arguments: vec!["realtime.test=\"a b\"".to_owned()],
        ..Machine::default()
    };
    let script = "echo \"$GREETING\"; cat '/etc/a file' /sys/kernel/realtime /sys/devices/system/cpu/online; uname -r; \
                  cat /proc/cmdline; echo to the console >&2; exit 3";
    let Some(outcome) = booted(&machine, script) else {
        return;
    };
    let outcome = outcome.unwrap();
    let kernel = kernel().unwrap();
    assert_eq!(
        outcome.lines[..5],
        ["it's here", "contents", "1", "0-2", &kernel.release]
    );
    assert!(
        outcome.lines[5].ends_with("realtime.test=\"a b\""),
        "{:?}",
        outcome.lines
    );
    assert_eq!(outcome.exit_code, Some(3), "{}", outcome.console);
    assert!(
        outcome.console.contains("to the console"),
        "{}",
        outcome.console
    );
    println!("booted and run in {:?}", outcome.took);
}

#[test]
fn a_program_that_never_ends_is_ended() {
    let machine = Machine {
        topology: (1, 1, 1),
        numa_nodes: 1,
        memory_mib: 256,
        limit: Duration::from_secs(15),
        ..Machine::default()
    };
    let started = Instant::now();
    match booted(&machine, "echo begun; while :; do sleep 1; done") {
        None => {}
        Some(Err(Error::TimeLimit { .. })) => {
            // Ended at its limit, and waited for: nothing of it is left.
            assert!(started.elapsed() < Duration::from_mins(1));
        }
        Some(other) => panic!("{other:?}"),
    }
}
