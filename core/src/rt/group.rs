//! Where the groups of pods and their containers are in the kernel's tree, for each runtime and driver, and what a path
//! belongs to. Never looks; a candidate that is built here is only believed once the tree has it.
//!
//! The kubelet's part: `kubepods[/burstable|/besteffort]/pod<uid>` (cgroupfs), or
//! `kubepods.slice/[kubepods-burstable.slice/]kubepods[-burstable]-pod<uid_>.slice` (systemd, `-` of the uid as `_`),
//! both below the kubelet's own cgroupRoot. The same below a v1 controller's mount and below the v2 root.

mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;

pub use parse::{Controller, Kind, Located, locate, path_of_process};

/// Longer ones are nobody's: a UUID has 36 characters, the hash of a static pod 32.
const MAX_UID: usize = 128;
/// Container ids of all runtimes are 64 hexadecimal digits; the short form has 12.
const ID_LENGTHS: std::ops::RangeInclusive<usize> = 12..=128;
/// What the kubelet puts on the mirror of a static pod: the uid under which the pod runs on the node.
const ANNOTATION_HASH: &str = "kubernetes.io/config.hash";
/// What makes a pod the mirror of a static pod.
const ANNOTATION_MIRROR: &str = "kubernetes.io/config.mirror";

/// Who makes the containers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Runtime {
    /// containerd.
    Containerd,
    /// CRI-O.
    Crio,
    /// Docker, through cri-dockerd.
    Docker,
}

/// Who makes the groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Driver {
    /// The kubelet and the runtime themselves.
    Cgroupfs,
    /// systemd.
    Systemd,
}

/// A pod's quality of service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Qos {
    /// Directly below the group of all pods.
    Guaranteed,
    /// Below `burstable`.
    Burstable,
    /// Below `besteffort`.
    BestEffort,
}

/// A pod's uid as its directory bears it: letters, digits and `-`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PodUid(String);

/// A container's id: 12 to 128 lower-case hexadecimal digits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContainerId(String);

/// Why a text names no group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// Other characters in a path could lead out of the pod's directory.
    #[error("the pod's uid is not made of 1 to {MAX_UID} letters, digits and hyphens")]
    Uid,
    /// The same.
    #[error("the container's id is not made of 12 to 128 lower-case hexadecimal digits")]
    Id,
    /// `docker-pullable://…`, or a runtime that nobody knows.
    #[error("the container's id doesn't begin with containerd://, cri-o:// or docker://")]
    Runtime,
}

impl PodUid {
    /// From the API's uid, or a static pod's hash.
    pub fn new(uid: &str) -> Result<Self, GroupError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        if (1..=MAX_UID).contains(&uid.len()) && uid.bytes().all(plain) {
            Ok(Self(uid.to_owned()))
        } else {
            Err(GroupError::Uid)
        }
    }

    /// The uid that the pod's directory bears: a static pod's mirror names another one than the API's.
    ///
    /// Anybody may write these annotations on a pod of his own, with the uid of somebody else's. So a directory found
    /// by it counts for a container only if that container's id, which the kubelet alone reports, is in it.
    pub fn of_directory(
        api_uid: &str,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Self, GroupError> {
        let hash = annotations
            .get(ANNOTATION_HASH)
            .filter(|_| annotations.contains_key(ANNOTATION_MIRROR));
        Self::new(hash.map_or(api_uid, String::as_str))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl ContainerId {
    /// From the bare id.
    pub fn new(id: &str) -> Result<Self, GroupError> {
        let digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if ID_LENGTHS.contains(&id.len()) && id.bytes().all(digit) {
            Ok(Self(id.to_owned()))
        } else {
            Err(GroupError::Id)
        }
    }

    /// From `status.containerStatuses[].containerID`, as `cri-o://3b1f…`.
    pub fn of_status(text: &str) -> Result<(Runtime, Self), GroupError> {
        let (scheme, id) = text.split_once("://").ok_or(GroupError::Runtime)?;
        let runtime = match scheme {
            "containerd" => Runtime::Containerd,
            "cri-o" => Runtime::Crio,
            "docker" => Runtime::Docker,
            _ => return Err(GroupError::Runtime),
        };
        Ok((runtime, Self::new(id)?))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Qos {
    /// From `status.qosClass`.
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            "Guaranteed" => Some(Self::Guaranteed),
            "Burstable" => Some(Self::Burstable),
            "BestEffort" => Some(Self::BestEffort),
            _ => None,
        }
    }

    /// The directory's name; none for guaranteed pods.
    fn directory(self) -> Option<&'static str> {
        match self {
            Self::Guaranteed => None,
            Self::Burstable => Some("burstable"),
            Self::BestEffort => Some("besteffort"),
        }
    }
}

/// The kubelet's group of all pods and what is below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodsGroup {
    /// Who makes the groups.
    pub driver: Driver,
    /// The kubelet's cgroupRoot, its parts (`/` has none).
    pub root: Vec<String>,
}

impl PodsGroup {
    /// From the path of the group of all pods, as `/kubepods` or `/a.slice/a-kubepods.slice`.
    pub fn parse(path: &str) -> Option<Self> {
        let mut parts: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
        let last = parts.pop()?;
        if parts.iter().any(|part| part.is_empty() || *part == "..") {
            return None;
        }
        let (driver, root) = if last == "kubepods" {
            let root = parts.iter().map(|part| (*part).to_owned()).collect();
            (Driver::Cgroupfs, root)
        } else {
            let mut prefix = String::new();
            let mut root = Vec::new();
            for slice in parts {
                let part = slice.strip_suffix(".slice")?.strip_prefix(&prefix)?;
                root.push(part.to_owned());
                prefix = format!("{prefix}{part}-");
            }
            (Driver::Systemd, root)
        };
        let parsed = Self { driver, root };
        (parsed.path() == path).then_some(parsed)
    }

    /// The group of all pods: `/kubepods` or `/kubepods.slice`.
    pub fn path(&self) -> String {
        self.joined(&["kubepods".to_owned()])
    }

    /// A class's group; that of all pods for guaranteed ones.
    pub fn class(&self, qos: Qos) -> String {
        self.joined(&Self::parts(qos))
    }

    /// A pod's group.
    pub fn pod(&self, qos: Qos, uid: &PodUid) -> String {
        let mut parts = Self::parts(qos);
        parts.push(format!("pod{}", uid.0));
        self.joined(&parts)
    }

    /// The groups in which a container's processes can be, the likeliest first: crun puts them into a `container` group
    /// below the container's own. Where both are in the tree, the first one is the one to give a budget to.
    pub fn container(
        &self,
        qos: Qos,
        uid: &PodUid,
        runtime: Runtime,
        id: &ContainerId,
    ) -> [String; 2] {
        let name = match (self.driver, runtime) {
            (Driver::Cgroupfs, Runtime::Containerd | Runtime::Docker) => id.0.clone(),
            (Driver::Cgroupfs, Runtime::Crio) => format!("crio-{id}"),
            (Driver::Systemd, Runtime::Containerd) => format!("cri-containerd-{id}.scope"),
            (Driver::Systemd, Runtime::Crio) => format!("crio-{id}.scope"),
            (Driver::Systemd, Runtime::Docker) => format!("docker-{id}.scope"),
        };
        let group = format!("{}/{name}", self.pod(qos, uid));
        [format!("{group}/container"), group]
    }

    fn parts(qos: Qos) -> Vec<String> {
        let class = qos.directory().map(str::to_owned);
        std::iter::once("kubepods".to_owned())
            .chain(class)
            .collect()
    }

    /// cgroupfs: the parts as directories. systemd: each part's slice bears the names of those above it, `-` in a part
    /// written as `_` (the kubelet's own rule; systemd itself would write `\x2d`).
    fn joined(&self, parts: &[String]) -> String {
        let mut path = String::new();
        let mut slice = String::new();
        for part in self.root.iter().chain(parts) {
            path.push('/');
            match self.driver {
                Driver::Cgroupfs => path.push_str(part),
                Driver::Systemd => {
                    if !slice.is_empty() {
                        slice.push('-');
                    }
                    slice.push_str(&part.replace('-', "_"));
                    path.push_str(&slice);
                    path.push_str(".slice");
                }
            }
        }
        path
    }
}

impl fmt::Display for PodUid {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}
