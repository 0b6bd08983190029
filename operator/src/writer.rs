//! Every write of the operator goes through here: only while this replica leads, under our field manager, counted,
//! and remembered until the caches have seen it. What is written is decided elsewhere.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use kube::api::{
    ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams,
    Preconditions,
};
use kube::{Api, Client, ResourceExt as _};
use serde_json::Value;
use thiserror::Error;
use tokio::time::Instant;

use crate::leadership::Leadership;
use crate::metrics::Metrics;

/// Why a write did not happen.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Another replica leads.
    #[error("this replica does not lead")]
    NotLeading,
    /// The object changed since it was looked at: the next round sees it.
    #[error("{verb} {kind} {name}: it changed meanwhile")]
    Changed {
        /// What was tried.
        verb: &'static str,
        /// On which kind.
        kind: String,
        /// On which object.
        name: String,
    },
    /// The API server refused, or could not be reached.
    #[error("{verb} {kind} {name}: {source}")]
    Refused {
        /// What was tried.
        verb: &'static str,
        /// On which kind.
        kind: String,
        /// On which object.
        name: String,
        /// Its words.
        source: Box<kube::Error>,
    },
}

impl WriteError {
    /// Whether nothing is wrong: the next round does better.
    pub fn is_race(&self) -> bool {
        matches!(self, Self::NotLeading | Self::Changed { .. })
    }
}

/// How long a cache may lag behind a write before the write is taken for undone by somebody else.
const LAG: Duration = Duration::from_secs(10);

/// Which resourceVersion of which object was written last.
#[derive(Debug, Default)]
pub struct Written(Mutex<HashMap<(String, String), (u64, Instant)>>);

impl Written {
    fn remember(&self, kind: &str, object: &DynamicObject) {
        let Some(version) = object
            .resource_version()
            .and_then(|version| version.parse::<u64>().ok())
        else {
            return;
        };
        self.lock().insert(
            (kind.to_owned(), object.name_any()),
            (version, Instant::now()),
        );
    }

    /// Whether what a cache holds (`None`: nothing) is older than our last write. Then no decision may stand on it.
    pub fn is_stale(&self, kind: &str, name: &str, resource_version: Option<&str>) -> bool {
        let mut written = self.lock();
        let key = (kind.to_owned(), name.to_owned());
        let Some((version, when)) = written.get(&key).copied() else {
            return false;
        };
        let seen = resource_version
            .and_then(|version| version.parse::<u64>().ok())
            .is_some_and(|seen| seen >= version);
        if seen || when.elapsed() > LAG {
            written.remove(&key);
            return false;
        }
        true
    }

    fn forget(&self, kind: &str, name: &str) {
        self.lock().remove(&(kind.to_owned(), name.to_owned()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(String, String), (u64, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one door to the API server for writes.
#[derive(Clone)]
pub struct Writer {
    client: Client,
    leadership: Leadership,
    metrics: Arc<Metrics>,
    /// What was written last.
    pub written: Arc<Written>,
    /// In which lead the requests of former leaders were fenced off, by profile.
    fenced: Arc<Mutex<HashMap<String, String>>>,
}

impl Writer {
    /// For a client, as long as this replica leads.
    pub fn new(client: Client, leadership: Leadership, metrics: Arc<Metrics>) -> Self {
        Self {
            client,
            leadership,
            metrics,
            written: Arc::default(),
            fenced: Arc::default(),
        }
    }

    /// Renews the Lease now; an error when this replica doesn't lead any more.
    pub async fn renew_lead(&self) -> Result<(), WriteError> {
        if self.leadership.renew_now().await {
            Ok(())
        } else {
            Err(WriteError::NotLeading)
        }
    }

    /// The name of this lead when former leaders' requests for this profile were not fenced off in it yet.
    pub fn unfenced_lead(&self, profile: &str) -> Option<String> {
        let lead = self.leadership.term();
        let fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        (fenced.get(profile) != Some(&lead)).then_some(lead)
    }

    /// Remembers that they were, in this lead.
    pub fn fenced(&self, profile: &str, lead: String) {
        let mut fenced = self.fenced.lock().unwrap_or_else(PoisonError::into_inner);
        fenced.insert(profile.to_owned(), lead);
    }

    fn api(&self, kind: &ApiResource, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, kind),
            None => Api::all_with(self.client.clone(), kind),
        }
    }

    fn may_write(&self) -> Result<(), WriteError> {
        if self.leadership.holds() {
            Ok(())
        } else {
            Err(WriteError::NotLeading)
        }
    }

    fn settle(
        &self,
        verb: &'static str,
        kind: &ApiResource,
        name: &str,
        result: kube::Result<DynamicObject>,
    ) -> Result<DynamicObject, WriteError> {
        match result {
            Ok(object) => {
                self.metrics.wrote(&kind.kind, verb);
                self.written.remember(&kind.kind, &object);
                tracing::info!(verb, kind = kind.kind, name, "wrote");
                Ok(object)
            }
            Err(error) => Err(not_written(verb, kind, name, error)),
        }
    }

    /// Server-side apply under a field manager; the API server refuses fields that it doesn't know.
    pub async fn apply(
        &self,
        kind: &ApiResource,
        namespace: Option<&str>,
        object: &Value,
        manager: &str,
    ) -> Result<DynamicObject, WriteError> {
        self.may_write()?;
        let name = name_of(object);
        let params = PatchParams::apply(manager).force().validation_strict();
        let result = self
            .api(kind, namespace)
            .patch(name, &params, &Patch::Apply(object))
            .await;
        self.settle("apply", kind, name, result)
    }

    /// A JSON merge patch. With a resourceVersion in it, it holds only for that version.
    pub async fn merge(
        &self,
        kind: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        patch: &Value,
        manager: &str,
    ) -> Result<DynamicObject, WriteError> {
        self.may_write()?;
        let params = by(manager);
        let result = self
            .api(kind, namespace)
            .patch(name, &params, &Patch::Merge(patch))
            .await;
        self.settle("patch", kind, name, result)
    }

    /// A JSON merge patch of the status alone.
    pub async fn merge_status(
        &self,
        kind: &ApiResource,
        name: &str,
        patch: &Value,
        manager: &str,
    ) -> Result<DynamicObject, WriteError> {
        self.may_write()?;
        let params = by(manager);
        let result = self
            .api(kind, None)
            .patch_status(name, &params, &Patch::Merge(patch))
            .await;
        self.settle("status", kind, name, result)
    }

    /// Creates; an object of that name that is there already is a race.
    pub async fn create(
        &self,
        kind: &ApiResource,
        object: &Value,
        manager: &str,
    ) -> Result<DynamicObject, WriteError> {
        self.may_write()?;
        let name = name_of(object);
        let params = PostParams {
            field_manager: Some(manager.to_owned()),
            ..PostParams::default()
        };
        let result = match serde_json::from_value::<DynamicObject>(object.clone()) {
            Ok(object) => self.api(kind, None).create(&params, &object).await,
            Err(error) => Err(kube::Error::SerdeError(error)),
        };
        self.settle("create", kind, name, result)
    }

    /// Deletes; an object that is gone already is no error.
    pub async fn delete(
        &self,
        kind: &ApiResource,
        namespace: Option<&str>,
        name: &str,
        preconditions: Option<Preconditions>,
    ) -> Result<(), WriteError> {
        self.may_write()?;
        let params = DeleteParams {
            preconditions,
            ..DeleteParams::background()
        };
        match self.api(kind, namespace).delete(name, &params).await {
            Ok(_) => {
                self.metrics.wrote(&kind.kind, "delete");
                self.written.forget(&kind.kind, name);
                tracing::info!(verb = "delete", kind = kind.kind, name, "wrote");
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(not_written("delete", kind, name, error)),
        }
    }

    /// Reads past every cache.
    pub async fn read(
        &self,
        kind: &ApiResource,
        name: &str,
    ) -> Result<Option<DynamicObject>, WriteError> {
        self.api(kind, None)
            .get_opt(name)
            .await
            .map_err(|error| refused("read", kind, name, error))
    }
}

impl Writer {
    /// Lists past every cache what carries these labels.
    pub async fn list(
        &self,
        kind: &ApiResource,
        labels: &str,
    ) -> Result<Vec<DynamicObject>, WriteError> {
        const PAGE: u32 = 500;
        let api = self.api(kind, None);
        let mut params = ListParams::default().labels(labels).limit(PAGE);
        let mut found = Vec::new();
        loop {
            let page = api
                .list(&params)
                .await
                .map_err(|error| refused("list", kind, labels, error))?;
            found.extend(page.items);
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => return Ok(found),
            }
        }
    }
}

/// An object that we write, as a patch or whole.
fn name_of(object: &Value) -> &str {
    let name = object.pointer("/metadata/name");
    name.and_then(Value::as_str).unwrap_or_default()
}

fn by(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    }
}

/// A conflict is a race, which is tried again.
fn not_written(
    verb: &'static str,
    kind: &ApiResource,
    name: &str,
    error: kube::Error,
) -> WriteError {
    if matches!(&error, kube::Error::Api(status) if status.code == 409) {
        let (kind, name) = (kind.kind.clone(), name.to_owned());
        return WriteError::Changed { verb, kind, name };
    }
    refused(verb, kind, name, error)
}

fn refused(verb: &'static str, kind: &ApiResource, name: &str, error: kube::Error) -> WriteError {
    WriteError::Refused {
        verb,
        kind: kind.kind.clone(),
        name: name.to_owned(),
        source: Box::new(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(version: &str) -> DynamicObject {
        let kind = ApiResource::erase::<k8s_openapi::api::core::v1::Node>(&());
        let mut object = DynamicObject::new("a", &kind);
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[tokio::test]
    async fn a_cache_behind_our_own_write_is_stale() {
        let written = Written::default();
        assert!(!written.is_stale("Node", "a", Some("1")));
        written.remember("Node", &object("7"));
        assert!(written.is_stale("Node", "a", Some("6")));
        assert!(written.is_stale("Node", "a", None));
        assert!(!written.is_stale("Node", "a", Some("7")));
        assert!(
            !written.is_stale("Node", "a", Some("6")),
            "asked once it was seen, it is forgotten"
        );
    }
}
