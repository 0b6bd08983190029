//! The plugin against a runtime that is played here: everything but what a real one does with an answer, which
//! `tests/nri.rs` shows.

use std::collections::BTreeMap;
use std::path::Path;

use proptest::prelude::*;
use tokio::net::UnixListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::messages::{
    Configured, Container, EVENTS, PLUGIN, Pod, START_CONTAINER, SYNCHRONIZE, StateChange,
    Synchronized, code,
};
use super::*;
use crate::budget::door::{Answer, Knock};

const ID: &str = "3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f3b1f";

/// The plugin's task, and what is behind its door.
struct Daemon {
    task: JoinHandle<()>,
    knocks: mpsc::Receiver<Knock>,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The runtime's end of a connection.
struct Runtime {
    socket: UnixStream,
    incoming: Incoming,
    stream: u32,
}

fn start(root: &Path) -> Daemon {
    let (door, knocks) = mpsc::channel(4);
    let task = tokio::spawn(run(Host::new(root, None), door));
    Daemon { task, knocks }
}

fn listen(root: &Path) -> UnixListener {
    std::fs::create_dir_all(root.join("run/nri")).unwrap();
    UnixListener::bind(root.join("run/nri/nri.sock")).unwrap()
}

impl Runtime {
    async fn accept(listener: &UnixListener) -> Self {
        let (socket, _) = listener.accept().await.unwrap();
        Self {
            socket,
            incoming: Incoming::new(|_| false),
            stream: 1,
        }
    }

    async fn message(&mut self) -> Message {
        let mut buffer = [0; 100];
        let mut messages = Vec::new();
        while messages.is_empty() {
            let count = self.socket.read(&mut buffer).await.unwrap();
            assert_ne!(count, 0, "the plugin closed the connection");
            let read = &buffer[..count];
            self.incoming
                .feed(read, |message| messages.push(message))
                .unwrap();
        }
        assert_eq!(messages.len(), 1);
        messages.remove(0)
    }

    /// Up to the moment from which it asks for containers.
    async fn take_in(&mut self) {
        let registration = self.message().await;
        assert_eq!(registration.connection, Connection::Runtime);
        let request = Request::decode(&*registration.body).unwrap();
        assert_eq!(
            (&*request.service, &*request.method),
            (RUNTIME, "RegisterPlugin")
        );
        let register = RegisterPlugin::decode(&*request.payload).unwrap();
        assert_eq!(
            (&*register.plugin_name, &*register.plugin_idx),
            (NAME, INDEX)
        );
        let answer = Message {
            kind: Kind::Response,
            body: Response::default().encode_to_vec(),
            ..registration
        };
        self.socket
            .write_all(&answer.piece().unwrap())
            .await
            .unwrap();
        let configured = self.call("Configure", Vec::new()).await;
        assert_eq!(
            Configured::decode(&*configured.payload).unwrap().events,
            EVENTS
        );
        // What is on the node, in two calls: few and many.
        for length in [10, 3 << 20] {
            let answer = self.call(SYNCHRONIZE, vec![0; length]).await;
            assert!(Synchronized::decode(&*answer.payload).unwrap().more);
        }
    }

    async fn send(&mut self, method: &str, payload: Vec<u8>) {
        self.stream += 2;
        let request = Request {
            service: PLUGIN.to_owned(),
            method: method.to_owned(),
            payload,
            timeout_nano: 2_000_000_000,
        };
        // As Go does: what fits its buffer, then all the rest.
        let body = request.encode_to_vec();
        let mut bytes = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(self.stream.to_be_bytes());
        bytes.extend([1, 0]);
        bytes.extend(body);
        let (first, rest) = bytes.split_at(bytes.len().min(4096));
        for part in [first, rest] {
            let length = u32::try_from(part.len()).unwrap();
            let header = [1_u32.to_be_bytes(), length.to_be_bytes()].concat();
            self.socket.write_all(&header).await.unwrap();
            self.socket.write_all(part).await.unwrap();
        }
    }

    async fn answer(&mut self) -> Response {
        let message = self.message().await;
        assert_eq!(
            (message.connection, message.kind, message.stream),
            (Connection::Plugin, Kind::Response, self.stream)
        );
        Response::decode(&*message.body).unwrap()
    }

    async fn call(&mut self, method: &str, payload: Vec<u8>) -> Response {
        self.send(method, payload).await;
        self.answer().await
    }
}

fn starts(annotations: &[(&str, &str)]) -> Vec<u8> {
    let pod = Pod {
        name: "spinner".to_owned(),
        uid: "0f1e".to_owned(),
        namespace: "lab".to_owned(),
        annotations: annotations
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect(),
    };
    let container = Container {
        id: ID.to_owned(),
        name: "main".to_owned(),
        pid: 4711,
    };
    StateChange {
        event: START_CONTAINER,
        pod: Some(pod),
        container: Some(container),
    }
    .encode_to_vec()
}

const ASKS: (&str, &str) = ("realtime", "true");
const REQUIRED: (&str, &str) = ("realtime.openshift.io/required", "true");

#[tokio::test]
async fn a_container_that_asks_for_nothing_does_not_touch_the_door() {
    let root = tempfile::tempdir().unwrap();
    let listener = listen(root.path());
    let mut daemon = start(root.path());
    let mut runtime = Runtime::accept(&listener).await;
    runtime.take_in().await;
    let stops = StateChange {
        event: 10,
        ..StateChange::decode(&*starts(&[ASKS])).unwrap()
    };
    for event in [
        starts(&[]),
        starts(&[REQUIRED]),
        starts(&[("realtime", "false"), ("rt_runtime_us", "5000")]),
        stops.encode_to_vec(),
        // Not a word that is understood: no reason to let a container fail.
        vec![0xff; 7],
        Vec::new(),
    ] {
        assert_eq!(
            runtime.call("StateChange", event).await,
            Response::default()
        );
    }
    assert_eq!(
        runtime.call("Shutdown", Vec::new()).await,
        Response::default()
    );
    let other = runtime.call("CreateContainer", Vec::new()).await;
    assert_eq!(other.status.unwrap().code, code::UNIMPLEMENTED);
    assert!(daemon.knocks.try_recv().is_err());
}

#[tokio::test]
async fn a_container_that_asks_waits_for_its_answer() {
    let root = tempfile::tempdir().unwrap();
    let listener = listen(root.path());
    let mut daemon = start(root.path());
    let mut runtime = Runtime::accept(&listener).await;
    runtime.take_in().await;
    let long = format!("the node is full: {}", "ü".repeat(9000));
    for (annotations, answer, refused) in [
        (&[ASKS][..], Answer::Applied, None),
        (&[ASKS], Answer::NotAsked, None),
        (&[ASKS], Answer::Refused("full".to_owned()), None),
        (&[ASKS, REQUIRED], Answer::Applied, None),
        (
            &[ASKS, REQUIRED],
            Answer::Refused("full".to_owned()),
            Some(": full"),
        ),
        (
            &[ASKS, REQUIRED],
            Answer::Refused(long),
            Some(": the node is full: üü"),
        ),
    ] {
        runtime.send("StateChange", starts(annotations)).await;
        let knock = daemon.knocks.recv().await.unwrap();
        let announced = knock.announced;
        assert_eq!((announced.id.as_str(), announced.pid), (ID, Some(4711)));
        assert_eq!(announced.annotations.len(), annotations.len());
        let identity = announced.identity;
        assert_eq!(
            (
                &*identity.namespace,
                &*identity.pod,
                identity.uid.unwrap().as_str(),
                identity.container.as_deref()
            ),
            ("lab", "spinner", "0f1e", Some("main"))
        );
        knock.answer.send(answer).unwrap();
        let status = runtime.answer().await.status;
        match (&status, refused) {
            (None, None) => {}
            (Some(status), Some(words)) => {
                assert_eq!(status.code, code::FAILED_PRECONDITION);
                assert!(status.message.contains(words), "{}", status.message);
                assert!(status.message.contains("realtime.openshift.io/required"));
            }
            (status, expected) => panic!("{status:?} instead of {expected:?}"),
        }
    }
}

/// The clock is the test's: nobody waits.
#[tokio::test(start_paused = true)]
async fn a_container_waits_within_the_bound_and_shorter_when_nobody_ever_answers() {
    let root = tempfile::tempdir().unwrap();
    let listener = listen(root.path());
    let mut daemon = start(root.path());
    let mut runtime = Runtime::accept(&listener).await;
    runtime.take_in().await;
    let mut waited = Vec::new();
    for annotations in [&[ASKS][..], &[ASKS], &[ASKS], &[ASKS], &[ASKS, REQUIRED]] {
        let began = Instant::now();
        let answer = runtime.call("StateChange", starts(annotations)).await;
        waited.push(began.elapsed().as_millis());
        assert_eq!(answer.status.is_some(), annotations.contains(&REQUIRED));
    }
    let close = |waited: u128, expected: u128| waited.abs_diff(expected) <= 10;
    let expected = [1500, 1500, 1500, 50, 1500];
    // The fifth finds the door full: the daemon has its bound for that as well.
    assert!(
        waited
            .iter()
            .zip(expected)
            .all(|(one, other)| close(*one, other)),
        "{waited:?}"
    );

    // An answer, and there is patience again.
    while let Ok(knock) = daemon.knocks.try_recv() {
        assert!(
            knock.answer.send(Answer::Applied).is_err(),
            "nobody waits any more"
        );
    }
    runtime.send("StateChange", starts(&[ASKS])).await;
    daemon
        .knocks
        .recv()
        .await
        .unwrap()
        .answer
        .send(Answer::Applied)
        .unwrap();
    runtime.answer().await;
    let began = Instant::now();
    runtime.call("StateChange", starts(&[ASKS])).await;
    assert!(close(began.elapsed().as_millis(), 1500));
}

#[tokio::test(start_paused = true)]
async fn whatever_ends_the_connection_the_plugin_comes_again() {
    let root = tempfile::tempdir().unwrap();
    let daemon = start(root.path());
    // No runtime at all, for an hour.
    sleep(Duration::from_hours(1)).await;
    let listener = listen(root.path());
    // It ends; it refuses the plugin; it sends what isn't NRI; it says nothing.
    drop(Runtime::accept(&listener).await);
    let mut refuses = Runtime::accept(&listener).await;
    let registration = refuses.message().await;
    let refusal = Response {
        status: Some(messages::Status {
            code: 3,
            message: "no".to_owned(),
        }),
        payload: Vec::new(),
    };
    let refusal = Message {
        kind: Kind::Response,
        body: refusal.encode_to_vec(),
        ..registration
    };
    refuses
        .socket
        .write_all(&refusal.piece().unwrap())
        .await
        .unwrap();
    let mut other = Runtime::accept(&listener).await;
    other.socket.write_all(&[0xff; 64]).await.unwrap();
    let silent = Runtime::accept(&listener).await;
    let mut good = Runtime::accept(&listener).await;
    good.take_in().await;
    drop(silent);
    assert!(!daemon.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn without_anybody_behind_the_door_it_ends() {
    let root = tempfile::tempdir().unwrap();
    let mut daemon = start(root.path());
    daemon.knocks.close();
    (&mut daemon.task).await.unwrap();
}

#[tokio::test]
async fn a_link_on_the_way_leads_within_the_hosts_root() {
    let root = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(root.path().join("state/nri")).unwrap();
    std::fs::create_dir_all(root.path().join("var")).unwrap();
    std::os::unix::fs::symlink("/state", root.path().join("var/run")).unwrap();
    let listener = UnixListener::bind(root.path().join("state/nri/nri.sock")).unwrap();
    let _daemon = start(root.path());
    Runtime::accept(&listener).await.take_in().await;
}

proptest! {
    /// Any bytes as a call, and any as an event: an answer that can be sent.
    #[test]
    fn any_call_has_an_answer(call in prop::collection::vec(any::<u8>(), 0..200), method in "\\PC{0,400}", as_event: bool) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (door, _knocks) = mpsc::channel(1);
        let mut plugin = Plugin::new(door);
        let request = Request {
            service: PLUGIN.to_owned(),
            method: if as_event { "StateChange".to_owned() } else { method },
            payload: call.clone(),
            timeout_nano: 1,
        };
        for body in [call, request.encode_to_vec()] {
            let call = Message {
                connection: Connection::Plugin,
                stream: 1,
                kind: Kind::Request,
                body,
                cut: false,
            };
            let body = runtime.block_on(plugin.answer(&call)).response.encode_to_vec();
            let message = Message { body, ..call };
            prop_assert!(message.piece().is_ok());
        }
    }

    /// Any beginning of a message; and that of a call that isn't wanted is known by itself.
    #[test]
    fn any_head_can_be_looked_at(head in prop::collection::vec(any::<u8>(), 0..64), payload in prop::collection::vec(any::<u8>(), 0..99)) {
        prop_assert!(!messages::is_synchronize(&head));
        for (method, expected) in [(SYNCHRONIZE, true), ("StateChange", false), ("Synchronized", false)] {
            let call = Request {
                service: PLUGIN.to_owned(),
                method: method.to_owned(),
                payload: payload.clone(),
                timeout_nano: 1,
            };
            let call = call.encode_to_vec();
            prop_assert_eq!(messages::is_synchronize(&call[..call.len().min(wire::HEAD)]), expected);
        }
    }

    /// What a pod may write into its annotations is passed on as it is.
    #[test]
    fn annotations_arrive_as_they_are(pairs in prop::collection::btree_map("\\PC{0,20}", "\\PC{0,20}", 0..6)) {
        let pod = Pod { annotations: pairs.clone(), ..Pod::default() };
        let read: BTreeMap<String, String> = Pod::decode(&*pod.encode_to_vec()).unwrap().annotations;
        prop_assert_eq!(read, pairs);
    }
}
