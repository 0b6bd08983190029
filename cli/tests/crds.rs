//! The shipped CRDs are what the code generates. `UPDATE_GOLDEN=1` (or `make crds`) writes them.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

mod common;

use common::oc;

#[test]
fn manifests_are_generated() {
    let directory = common::root().join("manifests/crds");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        oc(&["crds", "-o", directory.to_str().unwrap()]).success();
    }
    let fresh = tempfile::tempdir().unwrap();
    let fresh = fresh.path().join("crds");
    oc(&["crds", "-o", fresh.to_str().unwrap()]).success();
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&fresh).unwrap() {
        let name = entry.unwrap().file_name();
        let generated = std::fs::read_to_string(fresh.join(&name)).unwrap();
        let shipped = std::fs::read_to_string(directory.join(&name)).unwrap_or_default();
        assert!(
            generated == shipped,
            "manifests/crds/{} is not what the types say: run `make crds`",
            name.display()
        );
        names.push(name.into_string().unwrap());
    }
    names.sort();
    assert_eq!(
        names,
        [
            "latencychecks.yaml",
            "realtimenodes.yaml",
            "realtimeprofiles.yaml"
        ]
    );
    let shipped = std::fs::read_dir(&directory).unwrap().count();
    assert_eq!(shipped, names.len(), "a file too many in manifests/crds");
}

#[test]
fn prints_all_documents() {
    let text = oc(&["crds"]).success();
    assert_eq!(text.matches("kind: CustomResourceDefinition").count(), 3);
    assert_eq!(text.matches("\n---\n").count() + 1, 3);
}
