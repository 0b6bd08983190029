//! Which foreign APIs are served: reads their definitions and tells when they change.
//! What follows from a definition is `core::cluster::Served`'s to say.

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use realtime_core::cluster::{FOREIGN_CRDS, Served};

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

/// An item whenever one of the definitions may have changed, the first ones at the start.
/// Watches names and versions only: the definitions themselves are large.
pub fn changes(client: &Client) -> impl Stream<Item = ()> + Send + use<> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    watcher::metadata_watcher(definitions, watcher::Config::default())
        .default_backoff()
        .filter_map(|event| async move {
            use watcher::Event::{Apply, Delete, Init, InitApply, InitDone};
            match event {
                Ok(Apply(definition) | Delete(definition)) => FOREIGN_CRDS
                    .contains(&definition.name_any().as_str())
                    .then_some(()),
                // A watch that had to start anew may have missed something.
                Ok(InitDone) => Some(()),
                Ok(Init | InitApply(_)) => None,
                Err(error) => {
                    tracing::warn!(%error, "the definitions of foreign APIs can't be watched");
                    None
                }
            }
        })
}
