//! `render` prints what core renders, byte for byte, for every golden story, by file and by directory.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use std::path::{Path, PathBuf};

use common::{oc, root};
use realtime_core::cluster::{Dialect, Served};
use realtime_core::input;
use realtime_core::render::{render, to_yaml};
use realtime_core::validate::validate;

fn yaml_files(directory: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = std::fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "yaml")
        })
        .collect();
    files.sort();
    files
}

/// Through the library, as the operator would with the same cluster.
fn expected(story: &Path, dialect: Dialect) -> String {
    let mut others = Vec::new();
    let mut profile = None;
    for file in yaml_files(story) {
        let documents = input::parse_documents(&std::fs::read_to_string(&file).unwrap()).unwrap();
        if file.ends_with("profile.yaml") {
            profile = documents.into_iter().next();
        } else {
            others.extend(documents);
        }
    }
    let cluster = input::cluster_from_documents(others, Served::openshift(dialect)).unwrap();
    let profile = input::profile(profile.unwrap()).unwrap();
    to_yaml(&render(&validate(&profile, &cluster).profile.unwrap()))
}

#[test]
fn each_story_is_printed_as_core_renders_it() {
    let mut stories = 0;
    for entry in std::fs::read_dir(root().join("core/tests/render")).unwrap() {
        let story = entry.unwrap().path();
        if !story.join("profile.yaml").exists() {
            continue;
        }
        stories += 1;
        let named = std::fs::read_to_string(story.join("dialect"))
            .unwrap_or_else(|_| "kernelType".to_owned());
        let dialect = match named.trim() {
            "realtime" => Dialect::Realtime,
            "none" => Dialect::None,
            _ => Dialect::KernelType,
        };
        let files = yaml_files(&story);
        let mut args = vec!["render", "--dialect", named.trim()];
        for file in &files {
            args.extend(["-f", file.to_str().unwrap()]);
        }
        let wanted = expected(&story, dialect);
        assert_eq!(oc(&args).success(), wanted, "{}", story.display());
        let directory = tempfile::tempdir().unwrap();
        let out = directory.path().join("out");
        args.extend(["-o", out.to_str().unwrap()]);
        oc(&args).success();
        let mut objects = 0;
        for file in yaml_files(&out) {
            let text = std::fs::read_to_string(&file).unwrap();
            let (_, object) = text.split_once('\n').unwrap();
            assert!(
                wanted.contains(object),
                "{}: {}",
                story.display(),
                file.display()
            );
            objects += 1;
        }
        assert_eq!(
            objects,
            wanted.matches("---\n").count(),
            "{}",
            story.display()
        );
    }
    assert!(stories > 20, "the stories are gone");
}
