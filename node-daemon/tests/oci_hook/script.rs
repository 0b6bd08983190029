//! The script that the profile's MachineConfig brings, as it is rendered, but for the program's path: whatever that program
//! is, a container starts, unless its pod says that starting without is no good.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use realtime_core::names::HOOK_PROGRAM;

use super::{Ended, SCRIPT, asking, program, rendered, run, state};

/// The script, calling that.
fn script(folder: &Path, calls: &Path) -> std::path::PathBuf {
    let text = rendered(SCRIPT);
    assert_eq!(text.matches(HOOK_PROGRAM).count(), 1);
    let text = text.replace(HOOK_PROGRAM, &calls.to_string_lossy());
    program(folder.join("script"), &text)
}

fn called(folder: &Path, calls: &Path, required: bool) -> Ended {
    run(
        &mut Command::new(script(folder, calls)),
        asking(required).to_string().as_bytes(),
    )
}

#[test]
fn only_the_codes_that_mean_it_keep_a_container_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    for (text, code) in [
        ("exit 0", 0),
        ("cat >/dev/null; exit 0", 0),
        ("cat >/dev/null; echo realtime: because >&2; exit 3", 1),
        ("exit 1", 0),
        ("exit 2", 0),
        ("exit 77", 0),
        ("kill -KILL $$", 0),
    ] {
        let text = format!("#!/bin/sh\n[ \"$*\" = oci-hook ] || exit 3\n{text}\n");
        let calls = program(folder.path().join("program"), &text);
        let ended = called(folder.path(), &calls, false);
        assert_eq!(ended.code, Some(code), "{text}: {ended:?}");
    }
}

#[test]
fn a_program_that_is_missing_or_does_not_run_here_keeps_no_container_from_starting() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing");
    let folder_itself = folder.path().to_owned();
    // As a program does whose loader or library the host lacks: the kernel's ENOENT, 127.
    let unloadable = program(folder.path().join("unloadable"), "#!/no/such/loader\n");
    let foreign = program(
        folder.path().join("foreign"),
        "\u{7f}ELF\u{2}\u{1}\u{1}\0\0\0\0\0\0\0\0\0 of another architecture",
    );
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "").unwrap();
    for calls in [missing, folder_itself, unloadable, foreign, plain] {
        let ended = called(folder.path(), &calls, false);
        assert_eq!(ended.code, Some(0), "{}: {ended:?}", calls.display());
        assert!(
            ended.stderr.contains("does not run on this host"),
            "{ended:?}"
        );
        // Nobody else can say so then, and the contract is the pod's.
        let ended = called(folder.path(), &calls, true);
        assert_eq!(ended.code, Some(1), "{}: {ended:?}", calls.display());
    }
}

#[test]
fn what_is_off_or_long_is_taken_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let missing = script(folder.path(), &folder.path().join("missing"));
    let off = serde_json::json!({
        "realtime": "false", "rt_runtime_us": "1", "realtime.openshift.io/required": "true",
    });
    let ended = run(
        &mut Command::new(&missing),
        state("container", &off).to_string().as_bytes(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Another annotation that quotes ours is none of ours.
    let quoted = serde_json::json!({
        "realtime": "true", "other": "{\"realtime.openshift.io/required\":\"true\"}",
    });
    let ended = run(
        &mut Command::new(&missing),
        state("container", &quoted).to_string().as_bytes(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    // Nor is one that only resembles it, once blanks are looked over.
    for other in [
        " true",
        "tr ue",
        "{\"realtime.openshift.io/required\" : \"true\"}",
    ] {
        let asks = serde_json::json!({"realtime": "true", "realtime.openshift.io/required": other});
        let ended = run(
            &mut Command::new(&missing),
            state("container", &asks).to_string().as_bytes(),
        );
        assert_eq!(ended.code, Some(0), "{other}: {ended:?}");
    }
    let long = serde_json::json!({"realtime": "true", "long": "x".repeat(200_000)});
    let ended = run(
        &mut Command::new(&missing),
        state("container", &long).to_string().as_bytes(),
    );
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < Duration::from_secs(5), "{ended:?}");
}

/// serde and crun's yajl write none of this; json-c, to which crun changes, writes blanks and `\/`.
#[test]
fn json_is_understood_in_every_way_of_writing_it() {
    let folder = tempfile::tempdir().unwrap();
    let missing = script(folder.path(), &folder.path().join("missing"));
    for shell in ["/bin/sh", "/bin/bash"] {
        if !Path::new(shell).exists() {
            continue;
        }
        let code = |text: &str| {
            let mut command = Command::new(shell);
            run(command.arg(&missing), text.as_bytes()).code
        };
        for slash in ["/", "\\/"] {
            for colon in [
                ":",
                ": ",
                " :",
                " : ",
                "  :   ",
                "\t:\t",
                ":\n    ",
                "\n:",
                " \n\t: \n\t ",
            ] {
                let required = format!("\"realtime.openshift.io{slash}required\"{colon}\"true\"");
                let begin = format!("{{ \"id\"{colon}\"*\", \"annotations\"{colon}{{ {required}");
                assert_eq!(code(&format!("{begin} }} }}")), Some(1), "{shell} {begin}");
                let off = format!("{begin}, \"realtime\"{colon}\"false\" }} }}");
                assert_eq!(code(&off), Some(0), "{shell} {off}");
            }
        }
    }
}
