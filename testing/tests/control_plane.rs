//! The control plane launcher: rights, admission, an outage, and above all that nothing stays.
//! Must not contact anything but 127.0.0.1.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ListParams, ObjectMeta, PostParams};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use realtime_testing::control_plane::{ControlPlane, Options};

/// An API server under load may take this long to be killed and swept up.
const GONE_TIME_LIMIT: Duration = Duration::from_secs(10);

/// A launcher in a process of its own, with what it said about itself.
struct Launcher {
    process: Child,
    _output: BufReader<ChildStdout>,
    directory: PathBuf,
    address: String,
    /// The supervisor, etcd, the API server.
    pids: Vec<i32>,
}

impl Launcher {
    fn start(temporary: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
            .env("TMPDIR", temporary)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("launcher");
        let mut output = BufReader::new(process.stdout.take().expect("output"));
        let mut value = |key: &str| {
            let mut line = String::new();
            output.read_line(&mut line).expect("a line of the launcher");
            line.trim().strip_prefix(key).expect(key).to_owned()
        };
        let directory = PathBuf::from(value("directory="));
        let address = value("server=https://");
        let pids: Vec<i32> = value("pids=")
            .split(',')
            .map(|pid| pid.parse().expect("pid"))
            .collect();
        let launcher = Self {
            process,
            _output: output,
            directory,
            address,
            pids,
        };
        assert_eq!(launcher.pids.len(), 3);
        assert!(
            launcher.pids.iter().all(|&pid| runs(pid)),
            "all run before the signal"
        );
        assert!(TcpStream::connect(&launcher.address).is_ok());
        launcher
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.process.id()).expect("pid"));
        kill(pid, signal).expect("signal to the launcher");
    }

    /// Waits for the launcher and until its programs are gone.
    fn programs_end(&mut self) {
        self.process.wait().expect("launcher's end");
        let started = Instant::now();
        // The port too: a killed process is a zombie already while its last threads still end.
        while self.pids.iter().any(|&pid| runs(pid)) || TcpStream::connect(&self.address).is_ok() {
            assert!(
                started.elapsed() < GONE_TIME_LIMIT,
                "still running: {:?} or {}",
                self.pids,
                self.address
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn everything_ends(mut self, temporary: &Path) {
        self.programs_end();
        let started = Instant::now();
        while self.directory.exists() {
            assert!(
                started.elapsed() < GONE_TIME_LIMIT,
                "{} stays",
                self.directory.display()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_empty(temporary);
    }
}

impl Drop for Launcher {
    fn drop(&mut self) {
        // For a test that fails halfway; an ended process can't be killed again.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Whether a process of that id is alive. A zombie isn't: nobody may wait for orphans here.
fn runs(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        stat.rsplit_once(") ")
            .is_some_and(|(_, rest)| !rest.starts_with('Z'))
    })
}

fn assert_empty(directory: &Path) {
    let left: Vec<_> = fs::read_dir(directory)
        .expect("directory")
        .flatten()
        .map(|entry| entry.path())
        .collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn nothing_stays_when_the_launcher_is_killed() {
    let temporary = tempfile::tempdir().expect("temporary directory");
    for signal in [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT] {
        let launcher = Launcher::start(temporary.path());
        launcher.signal(signal);
        launcher.everything_ends(temporary.path());
    }
}

#[test]
fn nothing_stays_when_the_launcher_is_killed_during_the_start() {
    let temporary = tempfile::tempdir().expect("temporary directory");
    let mut process = Command::new(env!("CARGO_BIN_EXE_control-plane"))
        .env("TMPDIR", temporary.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("launcher");
    // Killed as soon as its API server has been started, long before that is ready.
    let started = Instant::now();
    let log = loop {
        let directory = fs::read_dir(temporary.path())
            .expect("directory")
            .flatten()
            .next();
        let log = directory.map(|directory| directory.path().join("kube_apiserver.log"));
        if let Some(log) = log.filter(|log| log.exists()) {
            break log;
        }
        assert!(
            started.elapsed() < GONE_TIME_LIMIT,
            "the API server was never started"
        );
        std::thread::sleep(Duration::from_millis(1));
    };
    process.kill().expect("kill");
    process.wait().expect("end");
    let started = Instant::now();
    while log.parent().is_some_and(Path::exists) {
        assert!(
            started.elapsed() < GONE_TIME_LIMIT,
            "{} stays",
            log.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_empty(temporary.path());
}

#[test]
fn nothing_stays_when_the_supervisor_is_killed_too() {
    let temporary = tempfile::tempdir().expect("temporary directory");
    let mut launcher = Launcher::start(temporary.path());
    kill(Pid::from_raw(launcher.pids[0]), Signal::SIGKILL).expect("signal to the supervisor");
    launcher.signal(Signal::SIGKILL);
    launcher.programs_end(); // by the parent-death signal
    assert!(launcher.directory.exists(), "nobody was left to remove it");

    let next = Launcher::start(temporary.path());
    assert!(!launcher.directory.exists(), "the next start sweeps it up");
    next.signal(Signal::SIGINT);
    next.everything_ends(temporary.path());
}

#[tokio::test]
async fn rights_are_only_those_that_were_granted() {
    let control_plane = ControlPlane::shared().await.expect("control plane");
    control_plane
        .apply_yaml(
            "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: reader}
rules:
- {apiGroups: [''], resources: [configmaps], verbs: [list]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: reader, namespace: rights}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: reader}
subjects: [{kind: ServiceAccount, name: reader, namespace: rights}]
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: reader, namespace: rights}
---
apiVersion: v1
kind: ServiceAccount
metadata: {name: nobody, namespace: rights}
---
apiVersion: v1
kind: Namespace
metadata: {name: rights}
",
        )
        .await
        .expect("apply");

    let reader = control_plane
        .client_for("rights", "reader")
        .await
        .expect("client");
    let nobody = control_plane
        .client_for("rights", "nobody")
        .await
        .expect("client");
    let list = |client: &kube::Client, namespace: &'static str| {
        let api: Api<ConfigMap> = Api::namespaced(client.clone(), namespace);
        async move {
            api.list(&ListParams::default())
                .await
                .map(|list| list.items.len())
        }
    };
    assert_eq!(list(&reader, "rights").await.expect("granted"), 0);
    for refused in [
        list(&reader, "default").await,
        list(&nobody, "rights").await,
    ] {
        let error = refused.expect_err("not granted");
        assert!(
            matches!(&error, kube::Error::Api(status) if status.code == 403),
            "{error:?}"
        );
    }

    let counts = control_plane.audit_counts().expect("audit log");
    let count = |account: &str| {
        counts
            .get(&(
                format!("system:serviceaccount:rights:{account}"),
                "list".to_owned(),
            ))
            .copied()
    };
    assert_eq!((count("reader"), count("nobody")), (Some(2), Some(1)));
    let requests = control_plane.audit_requests().expect("audit log");
    let refused: Vec<_> = requests
        .iter()
        .filter(|request| request.user.ends_with(":nobody"))
        .collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(
        (
            refused[0].code,
            &*refused[0].resource,
            refused[0].is_write()
        ),
        (403, "configmaps", false)
    );
}

#[tokio::test]
async fn a_port_that_is_taken_meanwhile_is_exchanged() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("port");
    let port = taken.local_addr().expect("address").port();
    let options = Options {
        port: Some(port),
        ..Options::default()
    };
    let control_plane = ControlPlane::start(options).await.expect("control plane");
    assert!(!control_plane.server_url().ends_with(&format!(":{port}")));
    let client = control_plane.admin_client().await.expect("client");
    client
        .apiserver_version()
        .await
        .expect("the kubeconfig has the new address");
}

#[tokio::test]
async fn an_unknown_service_account_has_no_token() {
    let control_plane = ControlPlane::shared().await.expect("control plane");
    let error = control_plane
        .kubeconfig_for("default", "missing")
        .await
        .expect_err("no such account");
    assert!(error.to_string().contains("default/missing"), "{error}");
}

#[tokio::test]
async fn admission_policies_are_served_and_enforced() {
    let control_plane = ControlPlane::shared().await.expect("control plane");
    control_plane
        .apply_yaml(
            "
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-forbidden}
spec:
  matchConstraints:
    resourceRules:
    - {apiGroups: [''], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}
  validations:
  - {expression: \"!has(object.data) || !('forbidden' in object.data)\", message: forbidden data}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-forbidden}
spec: {policyName: no-forbidden, validationActions: [Deny]}
",
        )
        .await
        .expect("apply");
    let api: Api<ConfigMap> =
        Api::default_namespaced(control_plane.admin_client().await.expect("client"));
    let dry_run = PostParams {
        dry_run: true,
        ..PostParams::default()
    };
    let started = Instant::now();
    loop {
        match api.create(&dry_run, &config_map("forbidden")).await {
            // The API server takes a moment to compile a new policy.
            Ok(_) => assert!(
                started.elapsed() < Duration::from_secs(20),
                "the policy isn't enforced"
            ),
            Err(error) => {
                assert!(error.to_string().contains("forbidden data"), "{error}");
                break;
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    api.create(&dry_run, &config_map("allowed"))
        .await
        .expect("other data are fine");
}

#[tokio::test]
async fn an_unknown_field_is_refused() {
    let control_plane = ControlPlane::shared().await.expect("control plane");
    let text = "{apiVersion: v1, kind: ConfigMap, metadata: {name: strict}, datta: {}}";
    let error = control_plane
        .apply_yaml(text)
        .await
        .expect_err("no such field");
    assert!(error.to_string().contains("datta"), "{error}");
}

#[tokio::test]
async fn an_outage_of_the_api_server_keeps_the_data_and_the_address() {
    let started = Instant::now();
    let control_plane = ControlPlane::start(Options::default())
        .await
        .expect("control plane");
    eprintln!("from start to ready: {} ms", started.elapsed().as_millis());
    let api: Api<ConfigMap> =
        Api::default_namespaced(control_plane.admin_client().await.expect("client"));
    let created = api
        .create(&PostParams::default(), &config_map("kept"))
        .await
        .expect("create");
    let (server, directory) = (
        control_plane.server_url(),
        control_plane.directory().to_owned(),
    );

    control_plane.stop_api_server().await.expect("stop");
    assert!(api.get("kept").await.is_err(), "it still answers");

    let started = Instant::now();
    control_plane.start_api_server().await.expect("start");
    eprintln!(
        "from start to ready again: {} ms",
        started.elapsed().as_millis()
    );
    assert_eq!(control_plane.server_url(), server);
    // The same client, with the same certificate.
    assert_eq!(
        api.get("kept").await.expect("get").metadata.uid,
        created.metadata.uid
    );

    control_plane.shutdown().await.expect("shutdown");
    assert!(!directory.exists());
}

fn config_map(name: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.to_owned()),
            ..ObjectMeta::default()
        },
        data: Some([(name.to_owned(), String::new())].into()),
        ..ConfigMap::default()
    }
}
