//! The OpenShift-shaped definitions on a real API server: served, validated, and the pools' admission
//! policy enforced. Must not contact anything but 127.0.0.1.

use std::time::Instant;

use kube::api::{
    Api, ApiResource, DynamicObject, ListParams, Patch, PatchParams, ValidationDirective,
};
use kube::core::GroupVersionKind;
use realtime_core::cluster::Dialect;
use realtime_testing::control_plane::{ControlPlane, Options};
use realtime_testing::openshift_crds::install_openshift;
use serde_json::{Value, json};

const GROUP: &str = "machineconfiguration.openshift.io";

fn api(client: &kube::Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    Api::all_with(
        client.clone(),
        &ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
    )
}

async fn apply(
    client: &kube::Client,
    kind: &str,
    name: &str,
    spec: Value,
) -> Result<(), kube::Error> {
    let api = api(client, GROUP, "v1", kind);
    let mut params = PatchParams::apply("test").dry_run();
    params.field_validation = Some(ValidationDirective::Strict);
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": kind, "metadata": { "name": name }, "spec": spec,
    });
    api.patch(name, &params, &Patch::Apply(&object))
        .await
        .map(|_| ())
}

#[tokio::test]
async fn each_dialect_accepts_its_own_field_only() {
    let control_plane = ControlPlane::start(Options::default())
        .await
        .expect("control plane");
    let client = control_plane.admin_client().await.expect("client");
    let by_type = json!({ "kernelType": "realtime" });
    let by_flag = json!({ "realtime": true });
    for (dialect, type_accepted, flag_accepted) in [
        (Dialect::KernelType, true, false),
        (Dialect::Realtime, false, true),
        (Dialect::None, false, false),
    ] {
        let started = Instant::now();
        install_openshift(&control_plane, dialect)
            .await
            .expect("install");
        eprintln!(
            "{dialect:?} installed in {} ms",
            started.elapsed().as_millis()
        );
        // A changed definition is served a moment after it was accepted.
        for (spec, accepted) in [(&by_type, type_accepted), (&by_flag, flag_accepted)] {
            let started = Instant::now();
            while apply(&client, "MachineConfig", "some", spec.clone())
                .await
                .is_ok()
                != accepted
            {
                assert!(
                    started.elapsed().as_secs() < 20,
                    "{dialect:?} on {spec}: should be accepted: {accepted}"
                );
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        }
    }

    for (group, version, kind) in [
        (GROUP, "v1", "MachineConfigPool"),
        (GROUP, "v1", "KubeletConfig"),
        (GROUP, "v1", "MachineConfigNode"),
        ("tuned.openshift.io", "v1", "Tuned"),
        ("tuned.openshift.io", "v1", "Profile"),
        ("performance.openshift.io", "v2", "PerformanceProfile"),
        ("performance.openshift.io", "v1", "PerformanceProfile"),
    ] {
        let list = api(&client, group, version, kind)
            .list(&ListParams::default())
            .await;
        assert!(list.expect(kind).items.is_empty());
    }

    let role = "machineconfiguration.openshift.io/role";
    let pool = |values: Value| {
        json!({ "machineConfigSelector": {
            "matchExpressions": [{ "key": role, "operator": "In", "values": values }] } })
    };
    apply(
        &client,
        "MachineConfigPool",
        "custom",
        pool(json!(["worker", "custom"])),
    )
    .await
    .expect("takes in worker");
    let error = apply(
        &client,
        "MachineConfigPool",
        "custom",
        pool(json!(["custom"])),
    )
    .await
    .expect_err("policy");
    assert!(
        error
            .to_string()
            .contains("must inherit from the worker pool"),
        "{error}"
    );
}
