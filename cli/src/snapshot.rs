//! What the cluster holds, read once. Read-only requests; decides nothing.

use std::fmt::Debug;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::Node;
use k8s_openapi::api::node::v1::RuntimeClass;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, Resource, ResourceExt};
use realtime_core::api::RealtimeProfile;
use realtime_core::cluster::{Cluster, FOREIGN_CRDS, Served};
use realtime_core::names;
use realtime_core::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};
use realtime_core::render::Rendered;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::client::ClientError;

/// Everything that can change an answer.
pub async fn cluster(client: &Client) -> Result<Cluster, ClientError> {
    let served = served(client).await?;
    let mut cluster = Cluster::empty(served);
    cluster.profiles = list(client).await?;
    cluster.nodes = list::<Node>(client).await?;
    cluster.realtime_nodes = list(client).await?;
    if served.machine_configs {
        cluster.pools = list(client).await?;
        cluster.machine_configs = list(client).await?;
        cluster.kubelet_configs = list(client).await?;
        cluster.image_mode_pools = image_mode_pools(client).await?;
    }
    if served.performance_profiles {
        cluster.performance_profiles = list(client).await?;
    }
    if served.machine_config_nodes {
        cluster.machine_config_nodes = list(client).await?;
    }
    Ok(cluster)
}

/// Which foreign APIs are served.
pub async fn served(client: &Client) -> Result<Served, ClientError> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let mut found = Vec::new();
    for name in FOREIGN_CRDS {
        let definition = definitions
            .get_opt(name)
            .await
            .map_err(ClientError::request(format!(
                "reading the definition of {name}"
            )))?;
        found.extend(definition);
    }
    Ok(Served::of(&found))
}

/// All objects of a kind; none when the kind is not installed.
async fn list<K>(client: &Client) -> Result<Vec<K>, ClientError>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned,
{
    match Api::<K>::all(client.clone())
        .list(&ListParams::default())
        .await
    {
        Ok(objects) => Ok(objects.items),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(ClientError::request(format!("reading {}", K::plural(&())))(
            error,
        )),
    }
}

fn is_absent(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 404)
}

async fn image_mode_pools(client: &Client) -> Result<Vec<String>, ClientError> {
    let kind = GroupVersionKind::gvk("machineconfiguration.openshift.io", "v1", "MachineOSConfig");
    let resource = ApiResource::from_gvk_with_plural(&kind, "machineosconfigs");
    let configs = Api::<DynamicObject>::all_with(client.clone(), &resource);
    match configs.list(&ListParams::default()).await {
        Ok(configs) => Ok(configs
            .items
            .iter()
            .filter_map(|config| {
                config
                    .data
                    .pointer("/spec/machineConfigPool/name")?
                    .as_str()
            })
            .map(str::to_owned)
            .collect()),
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        Err(error) => Err(ClientError::request("reading machineosconfigs")(error)),
    }
}

/// The objects that carry the profile's label or the names of what was rendered, and the profile itself, whole.
pub async fn live(
    client: &Client,
    served: Served,
    profile: &str,
    rendered: &Rendered,
) -> Result<Vec<Value>, ClientError> {
    let mut kinds = vec![kind::<RuntimeClass>(client)];
    if served.machine_configs {
        kinds.push(kind::<MachineConfigPool>(client));
        kinds.push(kind::<KubeletConfig>(client));
        kinds.push(kind::<MachineConfig>(client));
    }
    if served.tuned {
        kinds.push(namespaced::<Tuned>(client, names::TUNED_NAMESPACE));
    }
    let mut live = Vec::new();
    let labelled = ListParams::default().labels(&format!("{}={profile}", names::LABEL_PROFILE));
    for (resource, api) in &kinds {
        let action = || ClientError::request(format!("reading {}", resource.plural));
        match api.list(&labelled).await {
            Ok(objects) => live.extend(
                objects
                    .items
                    .into_iter()
                    .map(|object| whole(object, resource)),
            ),
            Err(error) if is_absent(&error) => continue,
            Err(error) => return Err(action()(error)),
        }
        for object in rendered.objects() {
            let name = object["metadata"]["name"].as_str().unwrap_or_default();
            let known = live.iter().any(|one: &Value| {
                one["kind"] == resource.kind.as_str() && one["metadata"]["name"] == name
            });
            if object["kind"] == resource.kind.as_str() && !known {
                let found = api.get_opt(name).await.map_err(action())?;
                live.extend(found.map(|object| whole(object, resource)));
            }
        }
    }
    let (resource, api) = kind::<RealtimeProfile>(client);
    let found = api
        .get_opt(profile)
        .await
        .map_err(ClientError::request("reading the profile"))?;
    live.extend(found.map(|object| whole(object, &resource)));
    Ok(live)
}

fn kind<K>(client: &Client) -> (ApiResource, Api<DynamicObject>)
where
    K: Resource<DynamicType = ()>,
{
    let resource = ApiResource::erase::<K>(&());
    let api = Api::all_with(client.clone(), &resource);
    (resource, api)
}

fn namespaced<K>(client: &Client, namespace: &str) -> (ApiResource, Api<DynamicObject>)
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    let resource = ApiResource::erase::<K>(&());
    let api = Api::namespaced_with(client.clone(), namespace, &resource);
    (resource, api)
}

/// With its kind, which the items of a list may leave out.
fn whole(object: DynamicObject, resource: &ApiResource) -> Value {
    let name = object.name_any();
    let mut value =
        serde_json::to_value(object).unwrap_or_else(|_| json!({"metadata": {"name": name}}));
    value["apiVersion"] = json!(resource.api_version);
    value["kind"] = json!(resource.kind);
    value
}
