//! The daemon's side of the socket: the hook's word reaches the loop, its answer the hook, and nobody who connects holds
//! anybody else up.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use realtime_core::names::{HOOK_PROGRAM, HOOK_SOCKET};
use realtime_node_daemon::budget::door::{Answer, Door, Knock, WAITING};
use realtime_node_daemon::budget::socket::{Listening, serve};
use realtime_node_daemon::host::Host;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::{BOUND, DAEMON, Ended, ID, SCRIPT, asking, hook, program, rendered, run};

/// A host with the daemon's socket, and a loop that answers with the container's budget as a reason.
struct Served {
    folder: TempDir,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Served {
    fn start(answer: fn(&Knock) -> Option<Answer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (door, mut knocks) = mpsc::channel::<Knock>(WAITING);
        let listening = Listening::at(&host(folder.path())).expect("a socket");
        let answering = tokio::spawn(async move {
            let mut unanswered = Vec::new();
            while let Some(knock) = knocks.recv().await {
                match answer(&knock) {
                    Some(answer) => drop(knock.answer.send(answer)),
                    None => unanswered.push(knock),
                }
            }
        });
        let tasks = vec![tokio::spawn(listening.serve(door)), answering];
        Self { folder, tasks }
    }

    fn socket(&self) -> PathBuf {
        below(self.folder.path(), HOOK_SOCKET)
    }

    async fn hook(&self, required: bool) -> Ended {
        let socket = self.socket();
        spawn_blocking(move || hook(&socket, &asking(required)))
            .await
            .unwrap()
    }
}

fn below(root: &Path, path: &str) -> PathBuf {
    root.join(path.trim_start_matches('/'))
}

fn host(root: &Path) -> Host {
    Host::new(root, None)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_loops_answer_reaches_the_runtime() {
    let served = Served::start(|knock| {
        let announced = &knock.announced;
        Some(Answer::Refused(format!(
            "{} {} {:?} {} {}",
            announced.id,
            announced.identity.pod,
            announced.pid,
            announced.annotations["rt_runtime_us"],
            announced.annotations.len()
        )))
    });
    let ended = served.hook(true).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    let expected = format!("{ID} drive Some(4711) 25000 3");
    assert!(ended.stderr.contains(&expected), "{ended:?}");
    let ended = served.hook(false).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&served.socket()), 0o600);
    assert_eq!(mode(served.socket().parent().unwrap()), 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_does_not_answer_or_is_gone_holds_nobody() {
    let served = Served::start(|_| None);
    let ended = served.hook(true).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.took < BOUND, "{ended:?}");
    let folder = tempfile::tempdir().unwrap();
    let (door, knocks) = mpsc::channel(WAITING);
    drop(knocks);
    let own = host(folder.path());
    let task = tokio::spawn(serve(own, door));
    let socket = below(folder.path(), HOOK_SOCKET);
    while !socket.exists() {
        tokio::task::yield_now().await;
    }
    let ended = spawn_blocking(move || hook(&socket, &asking(true)))
        .await
        .unwrap();
    assert!(ended.stderr.contains("is stopping"), "{ended:?}");
    task.abort();
}

/// A root that is longer than a socket's address can be, and whatever was there before.
#[tokio::test(flavor = "multi_thread")]
async fn any_root_and_any_rest_of_a_former_daemon_will_do() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("long".repeat(50));
    let socket = below(&root, HOOK_SOCKET);
    fs::create_dir_all(socket.parent().unwrap()).unwrap();
    fs::write(&socket, "no socket").unwrap();
    fs::write(socket.with_extension("sock.new"), "half").unwrap();
    let (door, _knocks): (Door, _) = mpsc::channel(WAITING);
    let first = Listening::at(&host(&root)).unwrap();
    let second = Listening::at(&host(&root)).unwrap();
    drop(first);
    assert!(fs::metadata(&socket).unwrap().file_type().is_socket());
    assert_eq!(fs::read_dir(socket.parent().unwrap()).unwrap().count(), 1);
    let task = tokio::spawn(second.serve(door));
    // Its path is too long for a program that connects, too: by a link.
    let short = folder.path().join("short");
    std::os::unix::fs::symlink(socket.parent().unwrap(), &short).unwrap();
    assert!(UnixStream::connect(short.join("hook.sock")).is_ok());
    task.abort();
    // A folder can't be replaced by a socket.
    fs::remove_file(&socket).unwrap();
    fs::create_dir(&socket).unwrap();
    assert!(Listening::at(&host(&root)).is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_client_holds_nobody_up() {
    let served = Served::start(|_| Some(Answer::Applied));
    let path = served.socket();
    let connect = || UnixStream::connect(&path).unwrap();
    let answer = |stream: UnixStream| {
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line).unwrap();
        line
    };
    // Some are silent, as many as there is room for and more, and the next one gets its answer all the same.
    let silent: Vec<UnixStream> = (0..600).map(|_| connect()).collect();
    let ended = served.hook(true).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    drop(silent);
    for (word, why) in [
        (b"nonsense\n".to_vec(), "expected"),
        (b"{}\n".to_vec(), "missing field"),
        (vec![b' '; 600 << 10], "more than 524288 bytes"),
    ] {
        let mut stream = connect();
        // It may hang up before it has read all.
        let _ = stream.write_all(&word);
        let line = spawn_blocking(move || answer(stream)).await.unwrap();
        assert!(line.contains("Refused") && line.contains(why), "{line}");
    }
    let mut half = connect();
    half.write_all(b"{\"id\":").unwrap();
    let line = spawn_blocking(move || answer(half)).await.unwrap();
    assert!(line.contains("no whole line in time"), "{line}");
}

/// The folder lets nobody else in; should it, the daemon doesn't listen.
#[tokio::test(flavor = "multi_thread")]
async fn only_root_is_heard() {
    if !rustix::process::geteuid().is_root() {
        realtime_testing::skip("it needs root, to be somebody else");
        return;
    }
    let served = Served::start(|_| Some(Answer::Applied));
    let public = tempfile::tempdir_in("/tmp").unwrap();
    let copy = public.path().join("program");
    fs::copy(DAEMON, &copy).unwrap();
    for path in [public.path(), served.folder.path()] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let other = |socket: PathBuf| {
        let mut command = Command::new(&copy);
        command.args(["oci-hook", "--socket"]).arg(socket);
        command.uid(65534).gid(65534);
        run(&mut command, asking(true).to_string().as_bytes())
    };
    let kept_out = other(served.socket());
    assert!(
        kept_out.stderr.contains("Permission denied"),
        "{kept_out:?}"
    );
    let folder = served.socket().parent().unwrap().to_owned();
    for (path, mode) in [(served.socket(), 0o666), (folder, 0o755)] {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }
    let unheard = other(served.socket());
    assert_eq!(unheard.code, Some(3), "{unheard:?}");
    // The daemon hangs up at once: before the hook has spoken, while it speaks, or while it waits for the answer.
    assert!(
        ["Broken pipe", "reset", "hung up"]
            .iter()
            .any(|words| unheard.stderr.contains(words)),
        "{unheard:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_containers_at_once_are_all_answered() {
    let served = Served::start(|_| Some(Answer::Applied));
    let path = served.socket();
    let all: Vec<_> = (0..500)
        .map(|_| {
            let path = path.clone();
            tokio::spawn(async move {
                use tokio::io::AsyncReadExt as _;
                use tokio::io::AsyncWriteExt as _;
                let mut stream = tokio::net::UnixStream::connect(path).await.unwrap();
                let word = serde_json::json!({
                    "id": ID, "namespace": "plant", "pod": "drive", "container": "main", "annotations": {},
                });
                let line = format!("{word}\n");
                stream.write_all(line.as_bytes()).await.unwrap();
                let mut answer = String::new();
                stream.read_to_string(&mut answer).await.unwrap();
                answer
            })
        })
        .collect();
    for one in all {
        assert_eq!(one.await.unwrap(), "{\"answer\":\"Applied\"}\n");
    }
}

/// How long a container waits for the script, the program and the daemon together.
#[tokio::test(flavor = "multi_thread")]
async fn the_hook_takes_milliseconds() {
    let served = Served::start(|_| Some(Answer::Applied));
    let socket = served.socket();
    let folder = tempfile::tempdir().unwrap();
    let wrapper = format!(
        "#!/bin/sh\nexec {DAEMON} oci-hook --socket {}\n",
        socket.display()
    );
    let calls = program(folder.path().join("program"), &wrapper);
    let text = rendered(SCRIPT).replace(HOOK_PROGRAM, &calls.to_string_lossy());
    let script = program(folder.path().join("script"), &text);
    let median = spawn_blocking(move || {
        let mut medians = Vec::new();
        for argv in [vec![script.into_os_string()], {
            let words = [DAEMON, "oci-hook", "--socket"].map(Into::into);
            words.into_iter().chain([socket.into_os_string()]).collect()
        }] {
            let mut times: Vec<Duration> = (0..50)
                .map(|_| {
                    let mut command = Command::new(&argv[0]);
                    command.args(&argv[1..]);
                    let ended = run(&mut command, asking(true).to_string().as_bytes());
                    assert_eq!(ended.code, Some(0), "{ended:?}");
                    ended.took
                })
                .collect();
            times.sort();
            medians.push(times[times.len() / 2]);
        }
        medians
    });
    let began = Instant::now();
    let medians = median.await.unwrap();
    eprintln!(
        "the hook, median of 50 runs: script and program {:?}, program alone {:?}; all in {:?}",
        medians[0],
        medians[1],
        began.elapsed()
    );
    assert!(medians[0] < Duration::from_secs(1), "{medians:?}");
}
