//! Server-side apply of manifests, as an administrator would: definitions first, then the rest.
//! Decides nothing about what is applied and prunes nothing.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DynamicObject, Patch, PatchParams, ValidationDirective};
use kube::core::GroupVersionKind;
use kube::discovery::{ApiCapabilities, ApiResource, Scope};
use kube::runtime::wait::{await_condition, conditions};
use kube::{Client, discovery};
use serde::Deserialize as _;
use serde_json::Value;

/// Who the applied fields belong to.
const FIELD_MANAGER: &str = "realtime-testing";

/// A definition is established within milliseconds; this is for a machine that is starved.
const ESTABLISHED_TIME_LIMIT: Duration = Duration::from_secs(30);

/// Between an established definition and its appearance in discovery lie milliseconds.
const DISCOVERY_INTERVAL: Duration = Duration::from_millis(25);
const DISCOVERY_ATTEMPTS: usize = 400;

/// Why manifests can't be applied.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or directory can't be read.
    #[error("reading {}: {source}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// It isn't YAML.
    #[error("{origin} is no YAML: {source}")]
    Yaml {
        /// The file, or what else it came from.
        origin: String,
        /// The reason.
        source: serde_yaml::Error,
    },
    /// A document is no Kubernetes object.
    #[error("an object without {0}")]
    Incomplete(&'static str),
    /// The API server doesn't serve such objects.
    #[error("looking up {gvk:?}: {source}")]
    Kind {
        /// Group, version and kind.
        gvk: GroupVersionKind,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// The API server refuses the object.
    #[error("applying {kind} {name}: {source}")]
    Apply {
        /// The object's kind.
        kind: String,
        /// The object's name.
        name: String,
        /// The reason.
        source: Box<kube::Error>,
    },
    /// A definition isn't served.
    #[error("CustomResourceDefinition {name} was not established: {reason}")]
    NotEstablished {
        /// Its name.
        name: String,
        /// What went wrong while waiting.
        reason: String,
    },
}

/// The objects in a text of YAML documents; empty documents are left out.
pub fn parse(origin: &str, text: &str) -> Result<Vec<Value>, Error> {
    let mut values = Vec::new();
    for document in serde_yaml::Deserializer::from_str(text) {
        let value = Value::deserialize(document).map_err(|source| Error::Yaml {
            origin: origin.to_owned(),
            source,
        })?;
        if !value.is_null() {
            values.push(value);
        }
    }
    Ok(values)
}

/// The objects in a file, or in all `*.yaml` files of a directory in the order of their names.
pub fn read(path: &Path) -> Result<Vec<Value>, Error> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |source| Error::Read { path, source }
    };
    let mut files = vec![path.to_owned()];
    if path.is_dir() {
        files.clear();
        for entry in fs::read_dir(path).map_err(failed(path))? {
            files.push(entry.map_err(failed(path))?.path());
        }
        files.retain(|file| {
            file.extension()
                .is_some_and(|extension| extension == "yaml" || extension == "yml")
        });
        files.sort();
    }
    let mut values = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).map_err(failed(&file))?;
        values.extend(parse(&file.display().to_string(), &text)?);
    }
    Ok(values)
}

/// Applies them with strict field validation. Order: (1) definitions of custom resources,
/// until each is established; (2) namespaces; (3) the rest as given.
pub async fn apply(client: &Client, mut values: Vec<Value>) -> Result<Vec<DynamicObject>, Error> {
    let rank = |value: &Value| match value["kind"].as_str() {
        Some("CustomResourceDefinition") => 0,
        Some("Namespace") => 1,
        _ => 2,
    };
    values.sort_by_key(rank); // stable
    let definitions = values.iter().take_while(|value| rank(value) == 0).count();

    let mut applied = Vec::with_capacity(values.len());
    let mut kinds = HashMap::new();
    for (index, value) in values.into_iter().enumerate() {
        if index == definitions {
            established(client, &applied).await?;
        }
        applied.push(apply_one(client, value, &mut kinds).await?);
    }
    if applied.len() == definitions {
        established(client, &applied).await?;
    }
    Ok(applied)
}

type Kinds = HashMap<GroupVersionKind, (ApiResource, ApiCapabilities)>;

async fn apply_one(
    client: &Client,
    value: Value,
    kinds: &mut Kinds,
) -> Result<DynamicObject, Error> {
    let text = |pointer| value.pointer(pointer).and_then(Value::as_str);
    let api_version = text("/apiVersion").ok_or(Error::Incomplete("apiVersion"))?;
    let kind = text("/kind").ok_or(Error::Incomplete("kind"))?.to_owned();
    let name = text("/metadata/name")
        .ok_or(Error::Incomplete("metadata.name"))?
        .to_owned();
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let gvk = GroupVersionKind::gvk(group, version, &kind);
    if !kinds.contains_key(&gvk) {
        kinds.insert(gvk.clone(), resolve(client, &gvk).await?);
    }
    let (resource, capabilities) = &kinds[&gvk];
    let api: Api<DynamicObject> = match capabilities.scope {
        Scope::Cluster => Api::all_with(client.clone(), resource),
        Scope::Namespaced => Api::namespaced_with(
            client.clone(),
            text("/metadata/namespace").unwrap_or("default"),
            resource,
        ),
    };
    let mut params = PatchParams::apply(FIELD_MANAGER).force();
    params.field_validation = Some(ValidationDirective::Strict);
    api.patch(&name, &params, &Patch::Apply(&value))
        .await
        .map_err(|source| Error::Apply {
            kind,
            name,
            source: Box::new(source),
        })
}

async fn resolve(
    client: &Client,
    gvk: &GroupVersionKind,
) -> Result<(ApiResource, ApiCapabilities), Error> {
    let mut attempt = 1;
    loop {
        match discovery::pinned_kind(client, gvk).await {
            Ok(found) => return Ok(found),
            Err(source) if attempt == DISCOVERY_ATTEMPTS => {
                return Err(Error::Kind {
                    gvk: gvk.clone(),
                    source: Box::new(source),
                });
            }
            Err(_) => tokio::time::sleep(DISCOVERY_INTERVAL).await,
        }
        attempt += 1;
    }
}

async fn established(client: &Client, definitions: &[DynamicObject]) -> Result<(), Error> {
    let api: Api<CustomResourceDefinition> = Api::all(client.clone());
    for definition in definitions {
        let name = definition.metadata.name.clone().unwrap_or_default();
        let waiting = await_condition(api.clone(), &name, conditions::is_crd_established());
        let reason = match tokio::time::timeout(ESTABLISHED_TIME_LIMIT, waiting).await {
            Ok(Ok(_)) => continue,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not within {} s", ESTABLISHED_TIME_LIMIT.as_secs()),
        };
        return Err(Error::NotEstablished { name, reason });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_separated_and_empty_ones_left_out() {
        let values = parse("test", "---\n---\na: 1\n---\n# nothing\n---\nb: 2\n").expect("YAML");
        assert_eq!(
            values,
            [serde_json::json!({"a": 1}), serde_json::json!({"b": 2})]
        );
        assert!(parse("test", "").expect("YAML").is_empty());
        assert!(
            matches!(parse("here", "a: [").expect_err("broken"), Error::Yaml { origin, .. } if origin == "here")
        );
    }
}
