//! What `-f` names, as objects: reads files and stdin, every problem at once. Judges no profile.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use realtime_core::api::RealtimeProfile;
use realtime_core::cluster::{Cluster, Dialect, Served};
use realtime_core::input::{self, InputError, MAX_TEXT, Readable};
use realtime_core::names;
use realtime_core::problem::Problems;
use serde_json::Value;

/// Where a profile stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file as it was named; `stdin` for `-`.
    pub file: String,
    /// Which document of it, from 1, empty ones not counted.
    pub document: usize,
    /// Its `metadata.name`, when it has one.
    pub name: Option<String>,
}

/// A profile as it was given: read, or all that is wrong with its shape.
pub struct GivenProfile {
    /// Where it stands.
    pub place: Place,
    /// The profile.
    pub profile: Result<RealtimeProfile, Misshapen>,
}

/// A profile whose shape is wrong.
pub struct Misshapen {
    /// What is wrong with it.
    pub problems: Problems,
    /// What can be read of it all the same: what is wrong with *that* is told in the same run.
    pub readable: Option<Box<Readable>>,
}

/// Everything that was given.
pub struct Given {
    /// The profiles in their order.
    pub profiles: Vec<GivenProfile>,
    /// Everything, for the profiles' validation.
    pub cluster: Cluster,
}

/// One file that could not be used.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Missing, unreadable.
    #[error("{file}: {source}")]
    Read {
        /// The file.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// A directory.
    #[error("{0}: is a directory; name the files in it")]
    Directory(String),
    /// Too long to be what it should be.
    #[error("{0}: has more than {MAX_TEXT} bytes")]
    TooLong(String),
    /// No text.
    #[error("{file}: is no text: byte {offset} is not UTF-8; give YAML or JSON")]
    NotText {
        /// The file.
        file: String,
        /// The first such byte, from 0.
        offset: usize,
    },
    /// Not YAML, or refused.
    #[error("{file}: {source}")]
    Input {
        /// The file.
        file: String,
        /// Why.
        source: InputError,
    },
    /// Other objects than profiles that can't be used.
    #[error("{file}: {problems}")]
    Objects {
        /// The file.
        file: String,
        /// All of them.
        problems: Problems,
    },
    /// `-f -` twice.
    #[error("stdin: can be read only once; give `-f -` once")]
    StdinTwice,
    /// No profile in any file.
    #[error("{0}: no RealtimeProfile; a profile begins with `apiVersion: {group}/{version}` and `kind: RealtimeProfile`", group = names::GROUP, version = names::VERSION)]
    NoProfile(String),
}

/// All files that could not be used.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\nerror: "))]
pub struct SourceErrors(Vec<SourceError>);

/// Reads all files. `-` is stdin.
pub fn read(files: &[PathBuf], dialect: Dialect) -> Result<Given, SourceErrors> {
    let mut given = Given {
        profiles: Vec::new(),
        cluster: Cluster::empty(Served::openshift(dialect)),
    };
    let mut errors = Vec::new();
    let mut stdin_read = false;
    for path in files {
        let is_stdin = path == Path::new("-");
        if is_stdin && std::mem::replace(&mut stdin_read, true) {
            errors.push(SourceError::StdinTwice);
            continue;
        }
        let file = if is_stdin {
            "stdin".to_owned()
        } else {
            path.display().to_string()
        };
        match read_one(path, is_stdin, &file) {
            Ok(values) => {
                if let Err(error) = sort(values, &file, &mut given) {
                    errors.push(error);
                }
            }
            Err(error) => errors.push(error),
        }
    }
    if errors.is_empty() && given.profiles.is_empty() {
        let names: Vec<String> = files
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        errors.push(SourceError::NoProfile(names.join(", ")));
    }
    if errors.is_empty() {
        Ok(given)
    } else {
        Err(SourceErrors(errors))
    }
}

fn read_one(path: &Path, is_stdin: bool, file: &str) -> Result<Vec<Value>, SourceError> {
    let failed = |source| SourceError::Read {
        file: file.to_owned(),
        source,
    };
    let bytes = if is_stdin {
        bounded(std::io::stdin().lock(), file, &failed)?
    } else {
        let opened = std::fs::File::open(path).map_err(failed)?;
        if opened.metadata().map_err(failed)?.is_dir() {
            return Err(SourceError::Directory(file.to_owned()));
        }
        bounded(opened, file, &failed)?
    };
    let text = String::from_utf8(bytes).map_err(|error| SourceError::NotText {
        file: file.to_owned(),
        offset: error.utf8_error().valid_up_to(),
    })?;
    input::parse_documents(&text).map_err(|source| SourceError::Input {
        file: file.to_owned(),
        source,
    })
}

/// A device or a pipe may never end: one byte beyond the limit is enough to know.
fn bounded(
    reader: impl std::io::Read,
    file: &str,
    failed: &impl Fn(std::io::Error) -> SourceError,
) -> Result<Vec<u8>, SourceError> {
    let mut bytes = Vec::new();
    let limit = MAX_TEXT as u64 + 1;
    reader.take(limit).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() > MAX_TEXT {
        return Err(SourceError::TooLong(file.to_owned()));
    }
    Ok(bytes)
}

/// Profiles to the profiles, everything else to the cluster. Profiles of a list too.
fn sort(values: Vec<Value>, file: &str, given: &mut Given) -> Result<(), SourceError> {
    let mut others = Vec::new();
    let before = given.profiles.len();
    for (index, value) in values.into_iter().enumerate() {
        for value in taken_apart(value) {
            if !is_profile(&value) {
                others.push(value);
                continue;
            }
            let place = Place {
                file: file.to_owned(),
                document: index + 1,
                name: value["metadata"]["name"].as_str().map(str::to_owned),
            };
            let profile = shaped(&value);
            if let Ok(profile) = &profile {
                given.cluster.profiles.push(profile.clone());
            }
            given.profiles.push(GivenProfile { place, profile });
        }
    }
    let sorted = if given.profiles.len() > before {
        input::cluster_beside_profiles
    } else {
        input::cluster_from_documents
    };
    let found = sorted(others, given.cluster.served).map_err(|problems| SourceError::Objects {
        file: file.to_owned(),
        problems,
    })?;
    let Cluster {
        served: _,
        profiles,
        pools,
        machine_configs,
        kubelet_configs,
        performance_profiles,
        nodes,
        realtime_nodes,
        machine_config_nodes,
        image_mode_pools,
    } = found;
    let cluster = &mut given.cluster;
    cluster.profiles.extend(profiles);
    cluster.pools.extend(pools);
    cluster.machine_configs.extend(machine_configs);
    cluster.kubelet_configs.extend(kubelet_configs);
    cluster.performance_profiles.extend(performance_profiles);
    cluster.nodes.extend(nodes);
    cluster.realtime_nodes.extend(realtime_nodes);
    cluster.machine_config_nodes.extend(machine_config_nodes);
    cluster.image_mode_pools.extend(image_mode_pools);
    Ok(())
}

fn shaped(value: &Value) -> Result<RealtimeProfile, Misshapen> {
    input::profile(value.clone()).map_err(|problems| Misshapen {
        readable: input::readable(value, &problems).map(Box::new),
        problems,
    })
}

/// A list that holds profiles as its items; everything else as it is.
fn taken_apart(mut value: Value) -> Vec<Value> {
    let kind = value["kind"].as_str().unwrap_or_default();
    let typed = kind == "RealtimeProfileList";
    let may_hold = kind == "List" || typed;
    if typed {
        let version = value["apiVersion"].clone();
        let items = value.get_mut("items").and_then(Value::as_array_mut);
        // Items of a typed list may leave out what the list says.
        for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
            item.entry("kind")
                .or_insert_with(|| "RealtimeProfile".into());
            item.entry("apiVersion").or_insert_with(|| version.clone());
        }
    }
    let items = value.get("items").and_then(Value::as_array);
    if may_hold && items.is_some_and(|items| items.iter().any(is_profile)) {
        match value["items"].take() {
            Value::Array(items) => items,
            _ => Vec::new(),
        }
    } else {
        vec![value]
    }
}

/// By its kind alone: a wrong group or version is a problem of the profile, to be told with its field.
fn is_profile(value: &Value) -> bool {
    value["kind"] == "RealtimeProfile"
}
