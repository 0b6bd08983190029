//! What a pod may ask for, by the shipped policies on a real API server: every accepted and refused shape, pods of many
//! containers, updates, and that the policies say what `core::rt::request` says. Starts no daemon.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "a test ends at what it doesn't expect, and `json!` values read better given away"
)]

mod on_cluster;
mod pods;

use std::fs;
use std::process::Command;

use clap::Parser as _;
use futures::{StreamExt as _, stream};
use kube::Client;
use on_cluster::until;
use pods::{agreement, allow, annotate, cluster, counted, create, patch, pod, shapes};
use realtime_node_daemon::args::Args;
use realtime_testing::programs::{self, Program};
use serde_json::{Value, json};

const RUNTIME: &str = "realtime.openshift.io/runtime-us";
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/pods.md");
const CONTRACT: &str = "ValidatingAdmissionPolicy 'realtime-pod-contract'";

/// So many questions at once.
const AT_ONCE: usize = 8;

async fn rehearse(client: &Client, pods: Vec<Value>) -> Vec<(Value, pods::Answer)> {
    stream::iter(pods)
        .map(|pod| async {
            let said = create(client, &pod, true).await;
            (pod, said)
        })
        .buffered(AT_ONCE)
        .collect()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shape_is_accepted_or_refused_with_key_value_and_remedy() {
    let cluster = cluster().await;
    for (pod, said) in rehearse(&cluster.client, shapes::accepted()).await {
        assert_eq!(said, Ok(()), "{pod:#}");
        assert_eq!(agreement::read(&pod), Ok(()), "{pod:#}");
    }
    let (refused, words): (Vec<_>, Vec<_>) = shapes::refused().into_iter().unzip();
    for ((pod, said), words) in rehearse(&cluster.client, refused)
        .await
        .into_iter()
        .zip(words)
    {
        let said = said.expect_err(&format!("{pod:#}"));
        assert!(
            said.starts_with("422") && said.contains(CONTRACT),
            "{said}\n{pod:#}"
        );
        for word in words {
            assert!(said.contains(word), "{word}\nnot in: {said}\n{pod:#}");
        }
        assert!(agreement::read(&pod).is_err(), "{pod:#}");
    }
    many_containers_and_keys(&cluster.client).await;
}

/// The API server gives expressions a bounded time: what is right must pass, however much of it there is.
async fn many_containers_and_keys(client: &Client) {
    let mut large = pod("a", &[("realtime.openshift.io/scheduler", "fifo:50")]);
    let containers: Vec<Value> = (0..1_000)
        .map(|number| {
            json!({"name": format!("c{number}"), "image": "none",
                "resources": {"limits": {RUNTIME: "1000"}}})
        })
        .collect();
    large["spec"]["containers"] = json!(containers);
    large["spec"]["initContainers"] = json!([]);
    for number in 0..1_000 {
        large["metadata"]["annotations"][format!("{RUNTIME}.c{number}")] = json!("1000");
    }
    assert_eq!(create(client, &large, true).await, Ok(()));
    // One of them is wrong, and then hundreds are.
    large["metadata"]["annotations"][format!("{RUNTIME}.c999")] = json!("01000");
    let said = create(client, &large, true).await.unwrap_err();
    assert!(said.contains("runtime-us.c999: \"01000\""), "{said}");
    for number in 0..500 {
        large["metadata"]["annotations"][format!("{RUNTIME}.c{number}")] = json!("9".repeat(100));
    }
    let said = create(client, &large, true).await.unwrap_err();
    assert!(said.contains(&format!("\"{}…\"", "9".repeat(40))), "{said}");
    assert!(said.contains("… (501 problems in all)"), "{said}");
    // Characters that a message can't have.
    let odd = pod("a", &[(RUNTIME, "1\r\n\u{1b}[2J\u{0}\"é")]);
    let said = create(client, &odd, true).await.unwrap_err();
    assert!(
        said.contains(r#"runtime-us: "1???[2J?"?" is no number"#),
        "{said:?}"
    );

    // Pods that don't ask are let alone, however large they are.
    let mut foreign = pod("a", &[]);
    for number in 0..60_000 {
        foreign["metadata"]["annotations"][format!("{number:x}")] = json!("");
    }
    assert_eq!(create(client, &foreign, true).await, Ok(()));
    // Nor do their updates take more time than the API server gives them.
    let annotations = foreign["metadata"]["annotations"].as_object_mut();
    annotations
        .unwrap()
        .retain(|key, _| key.len() < 5 && key.as_str() < "a");
    foreign["metadata"]["name"] = json!("many-keys");
    assert_eq!(create(client, &foreign, false).await, Ok(()));
    let label = json!({"metadata": {"labels": {"seen": "yes"}}});
    assert_eq!(patch(client, "many-keys", None, label).await, Ok(()));
    let mut foreign = pod("a", &[]);
    for number in 0..5_000 {
        foreign["metadata"]["annotations"][format!("realtime.openshift.io/other-{number}")] =
            json!("");
    }
    assert_eq!(create(client, &foreign, true).await, Ok(()));
    let mut foreign = pod("a", &[]);
    let containers: Vec<Value> = (0..8_000)
        .map(|number| {
            json!({"name": format!("c{number}"), "image": "none",
                "resources": {"limits": {"cpu": "1"}}})
        })
        .collect();
    foreign["spec"]["containers"] = json!(containers);
    assert_eq!(create(client, &foreign, true).await, Ok(()));
}

/// The policy leaves to the node what only a node knows (its smallest, the profile's largest budget, isolated CPUs); apart
/// from that there is no difference, but that the API server itself refuses before anybody asks a policy.
#[tokio::test(flavor = "multi_thread")]
async fn the_policy_and_the_daemon_read_the_same() {
    let cluster = cluster().await;
    let pods = agreement::generated(600);
    let [mut both, mut neither] = [0, 0];
    for (pod, said) in rehearse(&cluster.client, pods).await {
        match (said, agreement::read(&pod)) {
            (Ok(()), Ok(())) => neither += 1,
            (Err(said), Err(_)) if said.contains(CONTRACT) => both += 1,
            (policy, daemon) => panic!("policy: {policy:?}\ndaemon: {daemon:?}\n{pod:#}"),
        }
    }
    println!("both refuse {both}, both accept {neither}");
    assert!(both > 100 && neither > 100, "{both} {neither}");
}

#[allow(
    clippy::too_many_lines,
    reason = "one pod's life: what may change and what not, one after the other"
)]
#[tokio::test(flavor = "multi_thread")]
async fn pods_that_were_there_before_can_still_be_updated() {
    let cluster = cluster().await;
    let client = &cluster.client;
    // Made before the policies were: here, switched off while it is made.
    let mut old = pod("old", &[("realtime", "false"), (RUNTIME, "010")]);
    old["metadata"]["finalizers"] = json!(["test.example.org/stays"]);
    create(client, &old, false).await.unwrap();
    assert_eq!(
        annotate(
            client,
            "old",
            &[("realtime", Some("false")), ("other", Some("1"))]
        )
        .await,
        Ok(())
    );
    let said = annotate(client, "old", &[("realtime", None)])
        .await
        .unwrap_err();
    assert!(said.contains("runtime-us: \"010\""), "{said}");
    unchecked(client, "realtime-pod-contract", || async {
        annotate(client, "old", &[("realtime", None)]).await
    })
    .await;

    // Everything but what it asks for.
    for (what, subresource, change) in [
        ("a label", None, json!({"metadata": {"labels": {"a": "b"}}})),
        (
            "another annotation",
            None,
            json!({"metadata": {"annotations": {"realtime.openshift.io/other": "b"}}}),
        ),
        (
            "an image",
            None,
            json!({"spec": {"containers": [{"name": "main", "image": "newer"}]}}),
        ),
        (
            "its status",
            Some("status"),
            json!({"status": {"phase": "Running"}}),
        ),
        (
            "an ephemeral container",
            Some("ephemeralcontainers"),
            json!({"spec": {"ephemeralContainers": [{"name": "debug", "image": "none"}]}}),
        ),
    ] {
        assert_eq!(
            patch(client, "old", subresource, change).await,
            Ok(()),
            "{what}"
        );
    }
    // What it asks for is checked, all of it.
    let said = annotate(
        client,
        "old",
        &[("realtime.openshift.io/scheduler", Some("rr:1"))],
    )
    .await
    .unwrap_err();
    assert!(said.contains("runtime-us: \"010\""), "{said}");
    let said = annotate(
        client,
        "old",
        &[("realtime.openshift.io/runtime-us.main", Some("2000"))],
    )
    .await
    .unwrap_err();
    assert!(said.contains("runtime-us: \"010\""), "{said}");
    // It can be put right, or given up.
    assert_eq!(
        annotate(client, "old", &[(RUNTIME, Some("2000"))]).await,
        Ok(())
    );
    // An ephemeral container has what a key of its own gives it.
    let debug = "realtime.openshift.io/runtime-us.debug";
    assert_eq!(
        annotate(client, "old", &[(debug, Some("3000"))]).await,
        Ok(())
    );
    let said = annotate(client, "old", &[(debug, Some("03000"))])
        .await
        .unwrap_err();
    assert!(said.contains("runtime-us.debug: \"03000\""), "{said}");
    assert_eq!(
        annotate(client, "old", &[(debug, None), (RUNTIME, None)]).await,
        Ok(())
    );
    patch(
        client,
        "old",
        None,
        json!({"metadata": {"finalizers": null}}),
    )
    .await
    .unwrap();

    // The resource can't change any more, and so the budget can't.
    create(
        client,
        &counted("counted", &[(RUNTIME, "2000")], ["2000", "2000", "2000"]),
        false,
    )
    .await
    .unwrap();
    let said = annotate(client, "counted", &[(RUNTIME, Some("3000"))])
        .await
        .unwrap_err();
    assert!(said.contains("container main requests 2000"), "{said}");
}

/// The document's blocks: language and text.
fn blocks(document: &str) -> Vec<(String, String)> {
    let mut all: Vec<(String, String)> = Vec::new();
    let mut open = false;
    for line in document.lines() {
        match line.strip_prefix("```") {
            Some(language) if !open => all.push((language.to_owned(), String::new())),
            None if open => {
                let (_, text) = all.last_mut().unwrap();
                text.push_str(line);
                text.push('\n');
            }
            _ => {}
        }
        open ^= line.starts_with("```");
    }
    all
}

/// docs/pods.md: its pods are accepted, and those that it calls refused are, with the words that kubectl prints.
#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_true() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let blocks = blocks(&document);
    let cluster = cluster().await;
    for (name, labels) in [
        ("lab", json!({"realtime.openshift.io/allowed": "true"})),
        ("office", json!({})),
    ] {
        namespace(&cluster, name, labels).await;
    }
    allow(
        &cluster.client,
        &[("worker-rt", "In realtime.openshift.io/allowed true")],
    )
    .await;
    let mut strange = pod("a", &[(RUNTIME, "2000")]);
    strange["metadata"]["namespace"] = json!("office");
    until("the namespaces are known", || async {
        match create(&cluster.client, &strange, true).await {
            Err(said) if said.contains("namespace office may not") => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await;

    let [mut accepted, mut refused] = [0, 0];
    for (index, (language, text)) in blocks.iter().enumerate() {
        if language != "yaml" {
            continue;
        }
        let (status, said) = kubectl(&cluster, text);
        if text.starts_with("# refused") {
            assert!(!status, "{said}\n{text}");
            assert_eq!(said.trim(), blocks[index + 1].1.trim());
            refused += 1;
        } else {
            assert!(status, "{said}\n{text}");
            accepted += 1;
        }
    }
    assert!(accepted >= 3 && refused >= 2, "{accepted} {refused}");
}

async fn namespace(cluster: &on_cluster::Cluster, name: &str, labels: Value) {
    let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": name}});
    cluster
        .control_plane
        .apply_values(vec![object, account])
        .await
        .unwrap();
}

/// Whether it creates the objects, and what it prints to standard error.
fn kubectl(cluster: &on_cluster::Cluster, text: &str) -> (bool, String) {
    let program = tokio::task::block_in_place(|| programs::path(Program::Kubectl)).unwrap();
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text).unwrap();
    let output = Command::new(program)
        .args(["create", "--dry-run=server", "-f"])
        .arg(file.path())
        .env("KUBECONFIG", cluster.control_plane.admin_kubeconfig())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    let said = said.replace(&file.path().display().to_string(), "pod.yaml");
    (output.status.success(), said)
}

#[test]
fn the_daemons_commands_in_the_document_are_commands() {
    let document = fs::read_to_string(DOCUMENT).unwrap();
    let commands: Vec<&str> = document
        .lines()
        .filter_map(|line| line.strip_prefix("$ "))
        .filter(|line| line.starts_with("realtime-node-daemon "))
        .collect();
    assert!(!commands.is_empty());
    for command in commands {
        let args = Args::try_parse_from(command.split_whitespace()).unwrap();
        assert!(args.command.is_some(), "{command}");
    }
}

/// Does something while a policy's binding only warns.
async fn unchecked<F: Future<Output = pods::Answer>>(
    client: &Client,
    binding: &str,
    act: impl Fn() -> F,
) {
    use k8s_openapi::api::admissionregistration::v1::ValidatingAdmissionPolicyBinding as Binding;
    use kube::api::{Api, Patch, PatchParams};
    let bindings: Api<Binding> = Api::all(client.clone());
    let set = |actions: Value| {
        let patch = Patch::Merge(json!({"spec": {"validationActions": actions}}));
        let bindings = bindings.clone();
        async move {
            bindings
                .patch(binding, &PatchParams::default(), &patch)
                .await
                .unwrap()
        }
    };
    set(json!(["Warn"])).await;
    until("the policy only warns", act).await;
    set(json!(["Deny"])).await;
    let wrong = pod("wrong", &[("realtime", "yes")]);
    until("the policy refuses again", || async {
        create(client, &wrong, true)
            .await
            .err()
            .map(drop)
            .ok_or_else(|| "accepted".to_owned())
    })
    .await;
}
