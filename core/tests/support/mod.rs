//! The golden stories of `core/tests/render`: reading them, and the way from text to rendered objects. Compares nothing.
#![allow(dead_code, reason = "each test binary uses a part of it")]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads its stories and ends at what it doesn't expect"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use realtime_core::cluster::{Cluster, Dialect, Served};
use realtime_core::input;
use realtime_core::render::{Rendered, render};
use realtime_core::validate::{Validated, validate};
use serde_json::{Value, json};

/// Set to regenerate what is expected.
pub const UPDATE: &str = "UPDATE_GOLDEN";

/// Where the stories are.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/render")
}

/// The folders of all stories, by name.
pub fn stories() -> Vec<PathBuf> {
    let stories = folders(&root());
    assert!(stories.len() > 20, "the stories are gone");
    stories
}

/// The folders in a folder, by name.
pub fn folders(path: &Path) -> Vec<PathBuf> {
    entries(path)
        .into_iter()
        .filter(|path| path.is_dir())
        .collect()
}

fn entries(path: &Path) -> Vec<PathBuf> {
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    entries.sort();
    entries
}

/// The name of a story's folder.
pub fn name(story: &Path) -> String {
    story.file_name().unwrap().to_string_lossy().into_owned()
}

/// A text of a story.
pub fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// What `validate` says of a story: the profile of the story, the cluster of `cluster` (every YAML file there but the
/// profile), the dialect of the story's `dialect` file.
pub fn validated(story: &Path, cluster: &Path) -> Validated {
    let documents = input::parse_documents(&read(&story.join("profile.yaml"))).unwrap();
    let [document] = <[Value; 1]>::try_from(documents).unwrap();
    let profile =
        input::profile(document).unwrap_or_else(|error| panic!("{}: {error}", name(story)));
    validate(&profile, &known(story, cluster))
}

fn known(story: &Path, cluster: &Path) -> Cluster {
    let mut documents = Vec::new();
    for path in entries(cluster) {
        if path
            .extension()
            .is_some_and(|extension| extension == "yaml")
            && !path.ends_with("profile.yaml")
        {
            documents.extend(input::parse_documents(&read(&path)).unwrap());
        }
    }
    let served = Served::openshift(dialect(story));
    input::cluster_from_documents(documents, served)
        .unwrap_or_else(|error| panic!("{}: {error}", name(story)))
}

fn dialect(story: &Path) -> Dialect {
    match fs::read_to_string(story.join("dialect"))
        .as_deref()
        .map(str::trim)
    {
        Ok("realtime") => Dialect::Realtime,
        Ok("none") => Dialect::None,
        Ok(other) => panic!("{}: dialect {other}", name(story)),
        Err(_) => Dialect::KernelType,
    }
}

/// The story's objects, and what was said about it on the way.
pub fn rendered(story: &Path, cluster: &Path) -> (Rendered, String) {
    let Validated { profile, problems } = validated(story, cluster);
    let profile = profile.unwrap_or_else(|| panic!("{} is not valid:\n{problems}", name(story)));
    (render(&profile), problems.to_string())
}

/// Every text that a story is expected to give, by its path under `expected`.
pub fn texts(story: &Path, cluster: &Path) -> BTreeMap<String, String> {
    let (rendered, problems) = rendered(story, cluster);
    let mut texts = BTreeMap::new();
    for object in rendered.objects() {
        let kind = object["kind"].as_str().unwrap().to_lowercase();
        texts.insert(format!("{kind}.yaml"), yaml(&object));
    }
    texts.insert(
        "realtimenode-spec.yaml".to_owned(),
        yaml(&json!(rendered.node_spec)),
    );
    if !problems.is_empty() {
        texts.insert("problems.txt".to_owned(), format!("{problems}\n"));
    }
    if let Some(config) = rendered
        .machine_config
        .and_then(|object| object.spec.config)
    {
        texts.extend(host_files(&config));
    }
    texts
}

/// The files and units of an Ignition config as they will lie on a host: for the reviewer, since the MachineConfig has
/// them as URLs.
fn host_files(config: &Value) -> BTreeMap<String, String> {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let files = list(&config["storage"]["files"]).into_iter().map(|file| {
        let source = file["contents"]["source"].as_str().unwrap().to_owned();
        let text = source.strip_prefix("data:,").unwrap();
        let text = percent_encoding::percent_decode_str(text)
            .decode_utf8()
            .unwrap();
        (file["path"].as_str().unwrap().to_owned(), text.into_owned())
    });
    let units = list(&config["systemd"]["units"]).into_iter().map(|unit| {
        let path = format!("/etc/systemd/system/{}", unit["name"].as_str().unwrap());
        (path, unit["contents"].as_str().unwrap().to_owned())
    });
    files
        .chain(units)
        .map(|(path, text)| (format!("host{path}"), text))
        .collect()
}

fn yaml(value: &Value) -> String {
    realtime_core::yaml::document(value).unwrap()
}

/// All files under a folder, by their path from there.
pub fn tree(folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        if !next.is_dir() {
            continue;
        }
        for path in entries(&next) {
            if path.is_dir() {
                folders.push(path);
            } else {
                let key = path
                    .strip_prefix(folder)
                    .unwrap()
                    .to_string_lossy()
                    .into_owned();
                files.insert(key, read(&path));
            }
        }
    }
    files
}

/// Whether the committed files shall be replaced.
pub fn updating() -> bool {
    std::env::var_os(UPDATE).is_some()
}

/// Replaces a folder by these files.
pub fn write_tree(folder: &Path, files: &BTreeMap<String, String>) {
    if folder.is_dir() {
        fs::remove_dir_all(folder).unwrap();
    }
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

/// Compares a text with a committed one, or replaces that when asked to.
pub fn compare(committed: &Path, text: &str) {
    if updating() {
        fs::create_dir_all(committed.parent().unwrap()).unwrap();
        fs::write(committed, text).unwrap();
        return;
    }
    let expected = fs::read_to_string(committed).unwrap_or_default();
    assert!(
        expected == text,
        "{} differs; look at it and run with {UPDATE}=1:\n{}",
        committed.display(),
        difference(&expected, text)
    );
}

/// The lines that differ.
pub fn difference(expected: &str, found: &str) -> String {
    similar::TextDiff::from_lines(expected, found)
        .unified_diff()
        .context_radius(2)
        .header("expected", "found")
        .to_string()
}

/// Says that a test can't run here, past libtest's capture, and counts it where `make test` counts. The same lines as
/// `realtime_testing::skip`, which core's tests can't depend on without the Kubernetes client coming along.
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let line = format!(
        "SKIPPED: {}: {reason}\n",
        thread.name().unwrap_or("unknown test")
    );
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("RT_SKIP_LOG") {
        let log = fs::OpenOptions::new().create(true).append(true).open(path);
        let _ = log.and_then(|mut log| log.write_all(line.as_bytes()));
    }
}
