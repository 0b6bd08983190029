//! Which foreign APIs are served: reads their definitions and tells when they change.
//! What follows from a definition is `core::cluster::Served`'s to say.

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::core::PartialObjectMeta;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::causes;
use realtime_core::cluster::{FOREIGN_CRDS, Served};

/// Image mode: a pool with a MachineOSConfig boots images that are built in the cluster.
const MACHINE_OS_CONFIGS: &str = "machineosconfigs.machineconfiguration.openshift.io";

/// What the cluster serves now.
pub async fn served(client: &Client) -> kube::Result<Served> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let found: Vec<_> = futures::stream::iter(FOREIGN_CRDS)
        .then(|name| definitions.get_opt(name))
        .try_filter_map(|definition| async { Ok(definition) })
        .try_collect()
        .await?;
    Ok(Served::of(&found))
}

/// The served version of MachineOSConfig: whose pools are in image mode. `None` where it isn't served.
pub async fn image_mode(client: &Client) -> kube::Result<Option<String>> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    let definition = definitions.get_opt(MACHINE_OS_CONFIGS).await?;
    Ok(definition.and_then(|definition| {
        let mut served = definition
            .spec
            .versions
            .into_iter()
            .filter(|version| version.served);
        let stored = served.find(|version| version.storage)?;
        Some(stored.name)
    }))
}

/// An item whenever one of the definitions may have changed, the first ones at the start.
/// Watches names and versions only: the definitions themselves are large.
pub fn changes(client: &Client) -> impl Stream<Item = ()> + Send + use<> {
    let definitions: Api<PartialObjectMeta<CustomResourceDefinition>> = Api::all(client.clone());
    watcher(definitions, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| async move {
            use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
            match event {
                Ok(Apply(definition) | Delete(definition)) => {
                    let name = definition.name_any();
                    (FOREIGN_CRDS.contains(&name.as_str()) || name == MACHINE_OS_CONFIGS)
                        .then_some(())
                }
                // A watch that had to start anew may have missed something.
                Ok(InitDone) => Some(()),
                Ok(Init | InitApply(_)) => None,
                Err(error) => {
                    tracing::warn!(
                        error = causes::told(&error),
                        "the definitions of foreign APIs can't be watched"
                    );
                    None
                }
            }
        })
}
