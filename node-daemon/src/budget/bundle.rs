//! Whose container a new group is, by what its runtime keeps of it on the host: the annotations of the OCI specification.
//! Reads; believes only what `core::rt::identity` can read.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _};

use realtime_core::rt::group::ContainerId;
use realtime_core::rt::identity::Identity;
use realtime_core::rt::settle::Known;
use serde::Deserialize;

use crate::host::Host;

/// Where runtimes keep a container's specification while it runs; `{}` is its id. With containerd the namespace
/// `k8s.io` is the kubelet's. Docker's has no annotations, and is not looked for.
const BUNDLES: [&str; 3] = [
    "/run/containerd/io.containerd.runtime.v2.task/k8s.io/{}/config.json",
    "/run/containers/storage/overlay-containers/{}/userdata/config.json",
    "/var/lib/containers/storage/overlay-containers/{}/userdata/config.json",
];
/// A specification has some 20 kB; a larger one is none, and is not read.
const LIMIT: u64 = 1 << 20;
/// An ordinary one is read at once, and into no memory that has to be taken first: a start waits for it.
const ORDINARY: usize = 32 << 10;

#[derive(Deserialize)]
struct Specification {
    #[serde(default)]
    annotations: BTreeMap<String, String>,
}

/// What a container's own runtime says of it; `None`: nothing.
pub fn known(host: &Host, id: &ContainerId) -> Option<Known> {
    for place in BUNDLES {
        // Half written: the runtime is at it, and the API's word comes later.
        let Some(specification) = read(host, &place.replace("{}", id.as_str())) else {
            continue;
        };
        let identity = Identity::of(&specification.annotations)?;
        return Some(if identity.container.is_some() {
            Known::Container(identity)
        } else {
            Known::Nobody
        });
    }
    None
}

#[allow(
    clippy::large_stack_arrays,
    reason = "to take memory for each start costs some 20 µs of it"
)]
fn read(host: &Host, path: &str) -> Option<Specification> {
    let mut file = host.open(path).ok()?;
    let mut ordinary = [0; ORDINARY];
    let mut length = 0;
    while length < ORDINARY {
        match file.read(&mut ordinary[length..]) {
            Ok(0) => return serde_json::from_slice(&ordinary[..length]).ok(),
            Ok(count) => length += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
    let mut text = ordinary.to_vec();
    let rest = LIMIT - u64::try_from(ORDINARY).ok()?;
    file.take(rest).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_is_known_by_its_bundle_and_by_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new(root.path(), None);
        let id = ContainerId::new(&"a1".repeat(32)).unwrap();
        assert_eq!(known(&host, &id), None);
        let path = BUNDLES[1].replace("{}", id.as_str());
        let annotations = |kind: &str| {
            serde_json::json!({"ociVersion": "1.2.0", "annotations": {
                "io.kubernetes.cri-o.ContainerType": kind, "io.kubernetes.container.name": "main",
                "io.kubernetes.pod.name": "spinner", "io.kubernetes.pod.namespace": "lab",
            }})
        };
        let write = |text: &str| host.write_atomically(&path, text.as_bytes()).unwrap();
        write(&annotations("container").to_string());
        let Some(Known::Container(identity)) = known(&host, &id) else {
            panic!("not known");
        };
        assert_eq!(
            (identity.pod.as_str(), identity.container.as_deref()),
            ("spinner", Some("main"))
        );
        write(&annotations("sandbox").to_string());
        assert_eq!(known(&host, &id), Some(Known::Nobody));
        let mut large = annotations("sandbox");
        large["process"] = "x".repeat(3 * ORDINARY).into();
        write(&large.to_string());
        assert_eq!(known(&host, &id), Some(Known::Nobody));
        let exact = annotations("sandbox").to_string();
        let blanks = " ".repeat(ORDINARY - exact.len());
        write(&(exact + &blanks));
        assert_eq!(known(&host, &id), Some(Known::Nobody));
        write(r#"{"annotations": {"io.kub"#);
        assert_eq!(known(&host, &id), None);
    }
}
