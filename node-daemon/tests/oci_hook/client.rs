//! The hook against sockets that do not do what they should: it ends in time, says why, and keeps a container from
//! starting only where the pod says so.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{BOUND, DAEMON, Ended, ID, asking, hook, run, started, state};

/// A socket that does that with each connection, in a thread of its own.
fn socket(folder: &Path, with: fn(UnixStream)) -> std::path::PathBuf {
    let path = folder.join("hook.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || with(stream));
        }
    });
    path
}

fn line_of(stream: &UnixStream) -> String {
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).expect("a line");
    line
}

/// It ended in time, said why, and only a container that must not start without doesn't start.
fn goes_without(socket: &Path, why: &str) {
    for required in [false, true] {
        let ended = hook(socket, &asking(required));
        let expected = if required { 3 } else { 0 };
        assert_eq!(ended.code, Some(expected), "{ended:?}");
        assert!(ended.took < BOUND, "{ended:?}");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
        for part in ["container main of pod plant/drive", why] {
            assert!(ended.stderr.contains(part), "{part}: {ended:?}");
        }
        let required_words = ended.stderr.contains("it is not started");
        assert_eq!(required_words, required, "{ended:?}");
    }
}

/// The container may start, and there is a word about it, or none.
fn may_start(ended: &Ended, why: Option<&str>) {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.took < BOUND, "{ended:?}");
    match why {
        None => assert_eq!(ended.stderr, ""),
        Some(why) => assert!(ended.stderr.contains(why), "{ended:?}"),
    }
}

#[test]
fn without_a_daemon_it_ends_at_once() {
    let folder = tempfile::tempdir().unwrap();
    goes_without(&folder.path().join("none"), "No such file");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    goes_without(&file, "Connection refused");
    let stale = folder.path().join("stale");
    drop(UnixListener::bind(&stale).unwrap());
    goes_without(&stale, "realtime-node-daemon runs on this node");
}

#[test]
fn a_socket_that_says_nothing_or_does_not_even_accept_holds_it_for_two_seconds_at_most() {
    let folder = tempfile::tempdir().unwrap();
    let silent = socket(folder.path(), |stream| {
        thread::sleep(Duration::from_mins(1));
        drop(stream);
    });
    goes_without(&silent, "not within 2 s");
    // The kernel's queue is full after the first connection that nobody accepts: then connecting itself waits.
    let full = folder.path().join("full");
    let listener = UnixListener::bind(&full).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let (sender, filled) = mpsc::channel();
    let path = full.clone();
    thread::spawn(move || {
        let mut held = Vec::new();
        while let Ok(stream) = UnixStream::connect(&path) {
            held.push(stream);
            if sender.send(()).is_err() {
                break;
            }
        }
        thread::sleep(Duration::from_mins(1));
    });
    while filled.recv_timeout(Duration::from_secs(1)).is_ok() {}
    goes_without(&full, "not within 2 s");
    drop(listener);
}

#[test]
fn nonsense_is_no_answer() {
    for (with, why) in [
        (
            (|mut stream| {
                line_of(&stream);
                let _ = stream.write_all(b"\0\xff{nonsense}\n");
            }) as fn(UnixStream),
            "no answer that is understood",
        ),
        (
            |mut stream| {
                line_of(&stream);
                let _ = stream.write_all(b"{\"answer\":\"Perhaps\"}\n");
            },
            "no answer that is understood",
        ),
        (
            |stream| {
                line_of(&stream);
            },
            "it hung up",
        ),
        (
            |mut stream| while stream.write_all(&[b'x'; 4096]).is_ok() {},
            "more than 16384 bytes",
        ),
        (
            |mut stream| {
                while stream.write_all(b" ").is_ok() {
                    thread::sleep(Duration::from_millis(20));
                }
            },
            "not within 2 s",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        goes_without(&socket(folder.path(), with), why);
    }
}

#[test]
fn the_daemons_answer_decides() {
    let folder = tempfile::tempdir().unwrap();
    let applied = socket(folder.path(), |mut stream| {
        let word: Value = serde_json::from_str(&line_of(&stream)).expect("JSON");
        let expected = json!({
            "id": ID, "pid": 4711, "namespace": "plant", "pod": "drive", "uid": "0f1e", "container": "main",
            "annotations": {
                "realtime": "true", "rt_runtime_us": "25000", "realtime.openshift.io/required": "true",
            },
        });
        if word == expected {
            let _ = stream.write_all(b"{\"answer\":\"Applied\"}\n");
        }
    });
    may_start(&hook(&applied, &asking(true)), None);
    let folder = tempfile::tempdir().unwrap();
    let not_asked = socket(folder.path(), |mut stream| {
        let _ = stream.write_all(b"{\"answer\":\"NotAsked\"}\n");
    });
    may_start(&hook(&not_asked, &asking(true)), None);
    let folder = tempfile::tempdir().unwrap();
    let refused = socket(folder.path(), |mut stream| {
        line_of(&stream);
        let _ =
            stream.write_all(b"{\"answer\":\"Refused\",\"reason\":\"no room; ask\\nfor less\"}\n");
    });
    goes_without(&refused, "no room; ask for less");
}

#[test]
fn who_does_not_ask_is_not_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hook.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let asks = json!({"realtime": "true", "rt_runtime_us": "25000", "realtime.openshift.io/required": "true"});
    let off = json!({"realtime": "false", "rt_runtime_us": "25000"});
    let required_alone = json!({"realtime.openshift.io/required": "true"});
    for quiet in [
        state("sandbox", &asks),
        state("container", &json!({})),
        state("container", &off),
        state("container", &required_alone),
        json!({"id": ID}),
    ] {
        may_start(&hook(&path, &quiet), None);
    }
    // Not by a kubelet's runtime: no pod, no contract.
    let nobodys = json!({"id": ID, "annotations": asks});
    may_start(&hook(&path, &nobodys), Some("no container of a pod"));
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody connected");
}

#[test]
fn what_the_state_does_not_say_is_in_the_bundle() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let asks = asking(true)["annotations"].clone();
    let state = json!({"id": ID, "bundle": folder.path(), "annotations": {}});
    let unread = hook(&none, &state);
    may_start(&unread, Some("config.json: No such file"));
    fs::write(
        folder.path().join("config.json"),
        json!({"annotations": asks}).to_string(),
    )
    .unwrap();
    let ended = hook(&none, &state);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    // What is no file, or no end of one, is no reason to wait.
    fs::remove_file(folder.path().join("config.json")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", folder.path().join("config.json")).unwrap();
    may_start(&hook(&none, &state), Some("more than 4194304 bytes"));
}

#[test]
fn without_the_bundle_the_states_own_annotations_decide() {
    let folder = tempfile::tempdir().unwrap();
    let none = folder.path().join("none");
    let ended = |realtime: &str, required: &str| {
        let annotations = json!({"realtime": realtime, "realtime.openshift.io/required": required});
        hook(
            &none,
            &json!({"id": ID, "bundle": folder.path(), "annotations": annotations}),
        )
    };
    let config = folder.path().join("config.json");
    for (text, why) in [(None, "No such file"), (Some("nonsense"), "config.json: ")] {
        if let Some(text) = text {
            fs::write(&config, text).unwrap();
        }
        let kept = ended("true", "true");
        assert_eq!(kept.code, Some(3), "{kept:?}");
        assert!(kept.stderr.contains(why), "{kept:?}");
        assert!(kept.stderr.contains("it is not started"), "{kept:?}");
        may_start(&ended("true", "false"), Some(why));
        may_start(&ended("false", "true"), Some(why));
    }
}

/// As CRI-O says them: a pod's annotations, as many as the API server takes, in the text that grows the most.
#[test]
fn the_longest_annotations_that_a_pod_may_have_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut state = asking(true);
    let long = "\u{1}".repeat(256 << 10);
    let quoted = json!({ "long": long }).to_string();
    state["annotations"]["long"] = long.into();
    state["annotations"]["io.kubernetes.cri-o.Annotations"] = quoted.into();
    assert!(state.to_string().len() > 3 << 20);
    let ended = hook(&folder.path().join("none"), &state);
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(
        ended.stderr.contains("container main of pod plant/drive"),
        "{ended:?}"
    );
}

#[test]
fn a_standard_input_of_any_sort_keeps_no_container_from_starting() {
    let command = || {
        let mut command = Command::new(DAEMON);
        command.arg("oci-hook");
        command
    };
    let inputs: [(&[u8], &str); 4] = [
        (b"", "the container's state"),
        (b"[]", "the container's state"),
        (b"\0\xff", "the container's state"),
        (&vec![b' '; 5 << 20], "more than 4194304 bytes"),
    ];
    for (input, why) in inputs {
        may_start(&run(&mut command(), input), Some(why));
    }
    // One that never ends.
    let began = Instant::now();
    let mut child = started(command().stdin(Stdio::piped()).stderr(Stdio::piped()));
    let stdin = child.stdin.take();
    let mut stderr = String::new();
    let mut pipe = child.stderr.take().unwrap();
    pipe.read_to_string(&mut stderr).unwrap();
    let ended = Ended {
        code: child.wait().unwrap().code(),
        stderr,
        took: began.elapsed(),
    };
    drop(stdin);
    may_start(&ended, Some("not within 2 s"));
    let unknown = run(command().arg("--help"), b"");
    may_start(&unknown, Some("no argument but --socket PATH"));
}
