//! The recordings' actions, done again. What is done and what the API server answered; no waiting, no judging.

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Client, Resource};
use realtime_testing::pool_standin::{Capacity, PoolStandin, create_node};
use serde_json::{Value, json};

const GROUP: &str = "machineconfiguration.openshift.io";

/// Does what the line says; the status that the API server answered with.
// One arm for each recorded action.
#[allow(clippy::too_many_lines)]
pub async fn act(client: &Client, standin: &PoolStandin, action: &str, strict: bool) -> u16 {
    let words: Vec<&str> = action.split(' ').collect();
    // The rest of the line after so many words: JSON, blanks and all.
    let json_after = |count: usize| -> Value {
        serde_json::from_str(action.splitn(count + 1, ' ').last().unwrap()).unwrap()
    };
    match words.as_slice() {
        ["create", "node", name, "roles", "worker"] => {
            create_node(
                client,
                name,
                &std::collections::BTreeMap::new(),
                &Capacity::default(),
            )
            .await
            .unwrap();
            201
        }
        ["create", "pool", name] => create(client, "MachineConfigPool", pool(name), strict).await,
        ["create", "MachineConfig", name, "with", "ignition", version] => {
            let spec = json!({"config": {"ignition": {"version": version}}});
            create(
                client,
                "MachineConfig",
                machine_config(name, "worker-rt", spec),
                strict,
            )
            .await
        }
        ["create", "MachineConfig", name, "role", role, ..] => {
            let mut spec = json_after(5);
            spec["config"] = json!({"ignition": {"version": "3.2.0"}});
            create(
                client,
                "MachineConfig",
                machine_config(name, role, spec),
                strict,
            )
            .await
        }
        ["create", "KubeletConfig", name, "for", pool, ..] => {
            let object = json!({"metadata": {"name": name}, "spec": {
                "machineConfigPoolSelector": {"matchLabels": {format!("pools.operator.{GROUP}/{pool}"): ""}},
                "kubeletConfig": json_after(5)}});
            create(client, "KubeletConfig", object, strict).await
        }
        ["patch", "MachineConfig", name, ..] => {
            patch(
                client,
                "MachineConfig",
                name,
                json!({"spec": json_after(3)}),
            )
            .await
        }
        ["label", "MachineConfig", name, label] => {
            let (key, value) = label.split_once('=').unwrap();
            patch(
                client,
                "MachineConfig",
                name,
                json!({"metadata": {"labels": {key: value}}}),
            )
            .await
        }
        ["label", node, role] => patch_node(client, node, role_label(role, Some(""))).await,
        ["unlabel", node, role] => patch_node(client, node, role_label(role, None)).await,
        ["cordon", node] => {
            patch_node(client, node, json!({"spec": {"unschedulable": true}})).await
        }
        ["uncordon", node] => {
            patch_node(client, node, json!({"spec": {"unschedulable": false}})).await
        }
        ["pause", pool] => {
            patch(
                client,
                "MachineConfigPool",
                pool,
                json!({"spec": {"paused": true}}),
            )
            .await
        }
        ["unpause", pool] => {
            patch(
                client,
                "MachineConfigPool",
                pool,
                json!({"spec": {"paused": false}}),
            )
            .await
        }
        ["delete", kind, name] => {
            let kind = match *kind {
                "kubeletconfig" => "KubeletConfig",
                "machineconfig" => "MachineConfig",
                "machineconfigpool" => "MachineConfigPool",
                other => panic!("no such kind: {other}"),
            };
            answer(
                api(client, kind)
                    .delete(name, &DeleteParams::default())
                    .await,
                200,
            )
        }
        // Not in the recordings' actions: there the played node agent did so by itself.
        ["degrade", node, ..] => {
            standin
                .degrade_node(node, Some(action.splitn(3, ' ').last().unwrap()))
                .await
                .unwrap();
            200
        }
        ["recover", node] => {
            standin.degrade_node(node, None).await.unwrap();
            200
        }
        _ => panic!("no such action: {action}"),
    }
}

fn role_label(role: &str, value: Option<&str>) -> Value {
    json!({"metadata": {"labels": {format!("node-role.kubernetes.io/{role}"): value}}})
}

fn pool(name: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {format!("pools.operator.{GROUP}/{name}"): ""}},
        "spec": {
            "machineConfigSelector": {"matchExpressions": [
                {"key": format!("{GROUP}/role"), "operator": "In", "values": ["worker", name]}]},
            "nodeSelector": {"matchLabels": {format!("node-role.kubernetes.io/{name}"): ""}},
        },
    })
}

fn machine_config(name: &str, role: &str, spec: Value) -> Value {
    json!({"metadata": {"name": name, "labels": {format!("{GROUP}/role"): role}}, "spec": spec})
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(GROUP, "v1", kind))
}

fn api(client: &Client, kind: &str) -> Api<DynamicObject> {
    Api::all_with(client.clone(), &resource(kind))
}

async fn create(client: &Client, kind: &str, mut object: Value, strict: bool) -> u16 {
    object["apiVersion"] = json!(format!("{GROUP}/v1"));
    object["kind"] = json!(kind);
    let url = DynamicObject::url_path(&resource(kind), None);
    let content = serde_json::to_vec(&object).unwrap();
    let mut request = kube::core::Request::new(url)
        .create(&PostParams::default(), content)
        .unwrap();
    let validation = if strict { "Strict" } else { "Ignore" };
    *request.uri_mut() = format!("{}&fieldValidation={validation}", request.uri())
        .parse()
        .unwrap();
    answer(client.request::<DynamicObject>(request).await, 201)
}

/// Changes an object of OpenShift's.
pub async fn patch(client: &Client, kind: &str, name: &str, patch: Value) -> u16 {
    answer(
        api(client, kind)
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await,
        200,
    )
}

async fn patch_node(client: &Client, name: &str, patch: Value) -> u16 {
    let nodes: Api<k8s_openapi::api::core::v1::Node> = Api::all(client.clone());
    answer(
        nodes
            .patch(name, &PatchParams::default(), &Patch::Merge(&patch))
            .await,
        200,
    )
}

fn answer<T>(result: kube::Result<T>, accepted: u16) -> u16 {
    match result {
        Ok(_) => accepted,
        Err(kube::Error::Api(status)) => status.code,
        Err(error) => panic!("{error}"),
    }
}
