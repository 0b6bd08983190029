//! Every golden object of core on a real API server, against the real OpenShift definitions with strict field
//! validation and, for pools, under OpenShift's admission policy. Must not contact anything but 127.0.0.1.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use kube::api::{Api, ApiResource, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::{Client, Error};
use realtime_core::api::crds;
use realtime_core::cluster::Dialect;
use realtime_core::names;
use realtime_testing::control_plane::{ControlPlane, Options, apply};
use realtime_testing::openshift_crds::install_openshift;
use serde_json::{Value, json};

/// How long a definition may take to be served on two loaded cores.
const DEADLINE: Duration = Duration::from_mins(1);

#[tokio::test]
async fn every_golden_object_is_accepted() {
    let mut accepted = 0;
    for dialect in [Dialect::KernelType, Dialect::Realtime, Dialect::None] {
        let stories: Vec<PathBuf> = stories()
            .into_iter()
            .filter(|story| dialect_of(story) == dialect)
            .collect();
        assert!(!stories.is_empty(), "{dialect:?} has no story");
        let control_plane = ControlPlane::start(Options::default())
            .await
            .expect("control plane");
        let client = prepare(&control_plane, dialect).await;
        for story in stories {
            accepted += accept_story(&control_plane, &client, &story).await;
        }
        control_plane.shutdown().await.expect("shutdown");
    }
    eprintln!("{accepted} golden objects accepted");
    assert!(accepted > 100);
}

/// OpenShift's definitions with its admission policy in force, and ours.
async fn prepare(control_plane: &ControlPlane, dialect: Dialect) -> Client {
    install_openshift(control_plane, dialect)
        .await
        .expect("OpenShift's definitions");
    let ours = crds().iter().map(|crd| json!(crd)).collect();
    control_plane.apply_values(ours).await.expect("ours");
    control_plane.admin_client().await.expect("client")
}

async fn accept_story(control_plane: &ControlPlane, client: &Client, story: &Path) -> usize {
    // What the cluster has before us: an existing pool, on which we only put a label.
    let pools = story.join("pools.yaml");
    if pools.exists() {
        control_plane.apply_file(&pools).await.expect("pools");
    }
    let mut accepted = 0;
    for object in golden_objects(story) {
        let answer = once_served(client, &object).await;
        assert!(
            answer.is_ok(),
            "{}: {}: {answer:?}",
            story.display(),
            object["kind"]
        );
        accepted += 1;
    }
    accepted
}

/// A definition is served, and its schema known to server-side apply, a moment after it is established: until then the
/// answers are 404 and 5xx. An object that is refused gets a 4xx at once.
async fn once_served(client: &Client, object: &Value) -> Result<(), Error> {
    let started = Instant::now();
    loop {
        match dry_run(client, object).await {
            Err(Error::Api(status))
                if (status.code == 404 || status.code >= 500) && started.elapsed() < DEADLINE =>
            {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
}

/// As the operator writes: server-side apply under its field manager; strict, and without storing anything.
async fn dry_run(client: &Client, object: &Value) -> Result<(), Error> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (api_version, kind) = (text(&object["apiVersion"]), text(&object["kind"]));
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let mut resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, &kind));
    if kind == "RuntimeClass" {
        "runtimeclasses".clone_into(&mut resource.plural);
    }
    let api: Api<DynamicObject> = match object["metadata"]["namespace"].as_str() {
        Some(namespace) => Api::namespaced_with(client.clone(), namespace, &resource),
        None => Api::all_with(client.clone(), &resource),
    };
    let mut params = PatchParams::apply(names::FIELD_MANAGER).dry_run();
    params.field_validation = Some(ValidationDirective::Strict);
    let name = text(&object["metadata"]["name"]);
    api.patch(&name, &params, &Patch::Apply(object))
        .await
        .map(|_| ())
}

fn golden_objects(story: &Path) -> Vec<Value> {
    let mut objects = Vec::new();
    for entry in fs::read_dir(story.join("expected")).expect("expected") {
        let path = entry.expect("entry").path();
        if path.extension().is_none_or(|extension| extension != "yaml") {
            continue;
        }
        for mut value in apply::read(&path).expect("YAML") {
            if path.ends_with("realtimenode-spec.yaml") {
                value = json!({
                    "apiVersion": format!("{}/{}", names::GROUP, names::VERSION), "kind": "RealtimeNode",
                    "metadata": {"name": "some-node"}, "spec": value,
                });
            }
            objects.push(value);
        }
    }
    assert!(objects.len() > 2, "{}", story.display());
    objects
}

fn stories() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/tests/render");
    let mut stories: Vec<PathBuf> = fs::read_dir(&root)
        .expect("core's golden stories")
        .map(|entry| entry.expect("entry").path())
        .filter(|path| path.is_dir())
        .collect();
    stories.sort();
    stories
}

fn dialect_of(story: &Path) -> Dialect {
    match fs::read_to_string(story.join("dialect"))
        .as_deref()
        .map(str::trim)
    {
        Ok("realtime") => Dialect::Realtime,
        Ok("none") => Dialect::None,
        _ => Dialect::KernelType,
    }
}
