//! `status --json`: which keys are there for which deployment and version. Pure.

use serde_json::{Map, Value, json};

use super::boot::hex;
use super::origin::Source;
use super::package::Package;
use super::state::{Commit, Deployment, Layer, State, Version};

/// The whole document; `booted_only` is `-b`.
pub fn status(state: &State, booted_only: bool) -> Value {
    let deployments: Vec<Value> = state
        .deployments
        .iter()
        .filter(|one| !booted_only || is_booted(state, one))
        .map(|one| deployment(state, one))
        .collect();
    let transaction = state.transaction.as_ref().map(|one| {
        json!([
            one.method,
            format!(":1.{}", one.sender),
            format!(
                "/org/projectatomic/rpmostree1/{}",
                state.osname.replace('-', "_")
            ),
        ])
    });
    json!({
        "deployments": deployments,
        "transaction": transaction,
        "cached-update": state.cached_update,
        "update-driver": null,
    })
}

/// Whether it is the running one.
pub fn is_booted(state: &State, deployment: &Deployment) -> bool {
    !deployment.staged && deployment.directory() == state.boot.deployment
}

fn nevra_tuple(package: &Package) -> Value {
    json!([
        package.nevra(),
        package.name,
        package.epoch,
        package.version,
        package.release,
        package.arch
    ])
}

fn deployment(state: &State, one: &Deployment) -> Value {
    let commit = state.commits.get(&one.base);
    let origin = &one.origin;
    let layer = one.layer.as_ref();
    let mut map = Map::new();
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("id", json!(one.id(&state.osname)));
    put("osname", json!(state.osname));
    put("checksum", json!(one.checksum));
    put("serial", json!(one.serial));
    put("booted", json!(is_booted(state, one)));
    put("staged", json!(one.staged));
    put("pinned", json!(one.pinned));
    put("unlocked", json!("none"));
    // 2024.7 was seen not to show it: its libostree keeps the lock elsewhere.
    if one.locked && state.version == Version::V2023_2 {
        put("finalization-locked", json!(true));
    }
    put("regenerate-initramfs", json!(origin.initramfs));
    if !origin.initramfs_args.is_empty() {
        put("initramfs-args", json!(origin.initramfs_args));
    }
    put("requested-packages", json!(origin.requested));
    put(
        "requested-local-packages",
        json!(origin.requested_local.keys().collect::<Vec<_>>()),
    );
    put("requested-local-fileoverride-packages", json!([]));
    put("requested-base-removals", json!(origin.removals));
    put(
        "requested-base-local-replacements",
        json!(origin.replacements.keys().collect::<Vec<_>>()),
    );
    if !origin.remote_replacements.is_empty() {
        let list: Vec<Value> = origin
            .remote_replacements
            .iter()
            .map(|(source, names)| json!([source, names]))
            .collect();
        put("requested-base-remote-replacements", json!(list));
    }
    put(
        "packages",
        json!(
            layer
                .map(|layer| &layer.active_requests)
                .cloned()
                .unwrap_or_default()
        ),
    );
    let removed: Vec<Value> = layer
        .iter()
        .flat_map(|layer| &layer.removed)
        .map(nevra_tuple)
        .collect();
    put("base-removals", json!(removed));
    let pair = |(new, old): &(Package, Package)| json!([nevra_tuple(new), nevra_tuple(old)]);
    let local: Vec<Value> = layer
        .iter()
        .flat_map(|layer| &layer.replaced_local)
        .map(pair)
        .collect();
    put("base-local-replacements", json!(local));
    let remote: Map<String, Value> = layer
        .iter()
        .flat_map(|layer| &layer.replaced_remote)
        .map(|(source, list)| {
            (
                source.clone(),
                json!(list.iter().map(pair).collect::<Vec<_>>()),
            )
        })
        .collect();
    put("base-remote-replacements", Value::Object(remote));
    if state.version == Version::V2023_2 {
        for key in ["modules", "requested-modules", "requested-modules-enabled"] {
            put(key, json!([]));
        }
    }
    if let Some((url, description)) = &origin.custom {
        put("custom-origin", json!([url, description]));
    }
    let container = commit.is_some_and(|commit| commit.digest.is_some());
    if let Some(commit) = commit {
        base_keys(state, one, commit, container, &mut map);
    }
    if let Some(layer) = layer {
        let meta = layered_meta(state, one, layer, commit.filter(|_| !container));
        map.insert("layered-commit-meta".to_owned(), meta);
    }
    Value::Object(map)
}

fn base_keys(
    state: &State,
    one: &Deployment,
    commit: &Commit,
    container: bool,
    map: &mut Map<String, Value>,
) {
    let base = &commit.base;
    let mut put = |key: &str, value: Value| {
        map.insert(key.to_owned(), value);
    };
    put("base-commit-meta", base_meta(one, commit));
    if let Some(version) = &base.version {
        put("version", json!(version));
    }
    let timestamp = one
        .layer
        .as_ref()
        .map_or(base.timestamp, |layer| layer.timestamp);
    put("timestamp", json!(timestamp));
    if one.layer.is_some() {
        put("base-checksum", json!(one.base));
        put("base-timestamp", json!(base.timestamp));
        if let Some(version) = base.version.as_ref().filter(|_| !container) {
            put("base-version", json!(version));
        }
    }
    match &one.origin.source {
        Source::Container(reference) => {
            put("container-image-reference", json!(reference));
            if let Some(digest) = &commit.digest {
                put("container-image-reference-digest", json!(digest));
            }
        }
        Source::Commit(checksum) => put("origin", json!(checksum)),
        Source::Refspec(refspec) => {
            put("origin", json!(refspec));
            put("gpg-enabled", json!(false));
            let pending = state
                .refs
                .get(refspec)
                .filter(|checksum| **checksum != one.base);
            if let Some(newer) = pending.and_then(|checksum| state.commits.get(checksum)) {
                put("pending-base-checksum", json!(newer.base.checksum));
                put("pending-base-timestamp", json!(newer.base.timestamp));
                if let Some(version) = &newer.base.version {
                    put("pending-base-version", json!(version));
                }
            }
        }
    }
}

fn base_meta(one: &Deployment, commit: &Commit) -> Value {
    let base = &commit.base;
    let Some(digest) = &commit.digest else {
        let kernel = base
            .packages
            .iter()
            .find_map(|package| package.kernel.as_ref());
        return json!({
            "ostree.linux": kernel,
            "version": base.version,
            "ostree.bootable": true,
            "rpmostree.inputhash": hex(&[b"input", base.checksum.as_bytes()]),
            "coreos-assembler.config-gitrev": "0123456789abcdef",
            "rpmostree.initramfs-args": ["--no-hostonly"],
            "ostree.ref-binding": [one.origin.source.text()],
        });
    };
    let layer = format!("sha256:{}", hex(&[b"layer", digest.as_bytes()]));
    let labels = json!({"org.opencontainers.image.version": base.version, "containers.bootc": "1"});
    let config = json!({"architecture": "amd64", "os": "linux", "config": {"Labels": labels}});
    let manifest = json!({"schemaVersion": 2, "layers": [{"digest": layer, "size": 91_147_768}]});
    json!({
        "ostree.container.image-config": config.to_string(),
        "ostree.tar-filtered": {},
        "ostree.manifest": manifest.to_string(),
        "ostree.importer.version": "0.14.4",
        "ostree.manifest-digest": digest,
    })
}

fn layered_meta(
    state: &State,
    one: &Deployment,
    layer: &Layer,
    versioned: Option<&Commit>,
) -> Value {
    let digest = hex(&[b"state", one.checksum.as_bytes()]);
    let repositories: Vec<Value> = layer
        .repositories
        .iter()
        .map(|(id, timestamp)| json!({"id": id, "timestamp": timestamp}))
        .collect();
    let mut meta = json!({
        "rpmostree.clientlayer": true,
        "rpmostree.clientlayer_version": 6,
        "rpmostree.state-sha512": format!("{digest}{digest}"),
        "rpmostree.rpmmd-repos": repositories,
        "ostree.linux": one.kernel,
        "ostree.bootable": true,
    });
    if let Some(version) = versioned.and_then(|commit| commit.base.version.as_ref()) {
        meta["version"] = json!(version);
    }
    if state.version == Version::V2024_7 {
        let bytes: Vec<u8> = digest.bytes().take(32).collect();
        meta["ostree.composefs.digest.v0"] = json!(bytes);
    }
    meta
}

/// What `cached-update` shows of an update to `checksum`, from now until the next boot.
pub fn cached_update(state: &State, checksum: &str) -> Option<Value> {
    let commit = state.commits.get(checksum)?;
    let first = state.deployments.first()?;
    let booted = state
        .booted()
        .and_then(|index| state.deployments.get(index))?;
    let mut update = json!({
        "osname": state.osname,
        "checksum": commit.base.checksum,
        "timestamp": commit.base.timestamp,
        "deployment": first.id(&state.osname),
        "update-sha256": booted.checksum,
        "ref-has-new-commit": true,
        "origin": first.origin.source.text(),
    });
    if !matches!(first.origin.source, Source::Container(_)) {
        update["version"] = json!(commit.base.version);
        update["gpg-enabled"] = json!(false);
    }
    let changed: Vec<Value> = first
        .packages
        .iter()
        .filter_map(|new| {
            let old = booted.packages.iter().find(|old| old.name == new.name)?;
            (old.compare(new) == std::cmp::Ordering::Less)
                .then(|| json!([0, new.name, [old.evr(), old.arch], [new.evr(), new.arch]]))
        })
        .collect();
    if !changed.is_empty() {
        update["rpm-diff"] =
            json!({"upgraded": changed, "downgraded": [], "added": [], "removed": []});
    }
    Some(update)
}
