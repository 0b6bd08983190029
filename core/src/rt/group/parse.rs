//! From a path or `/proc/<pid>/cgroup` back to pod and container. Whatever the text, it gives an answer or none.
//!
//! The leftmost group of pods counts: a container may make groups below its own that look like another pod's.

use super::{ContainerId, Driver, PodUid, Qos, Runtime};

/// Paths in the kernel have at most 4096 bytes (PATH_MAX).
const MAX_PATH: usize = 4096;
/// What the kernel appends for a process whose group is removed already.
const DELETED: &str = " (deleted)";

/// What a group below a pod's is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A container's.
    Container,
    /// The pod's sandbox: by its path like a container, see [`Located::among`].
    Sandbox,
    /// CRI-O's monitor of a container.
    Conmon,
}

/// What a path belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// Who made the groups.
    pub driver: Driver,
    /// The pod's class.
    pub qos: Qos,
    /// The pod, as its directory bears it.
    pub pod: PodUid,
    /// Below the pod's group: absent for the pod's own, and for what no runtime has made.
    pub container: Option<(Kind, ContainerId)>,
    /// The runtime, where the name tells it: with cgroupfs, containerd's and Docker's don't.
    pub runtime: Option<Runtime>,
    /// How much of the path is the container's own group (or else the pod's), in bytes from its beginning.
    pub own: usize,
    /// There are groups below that one, as crun's `container`.
    pub has_below: bool,
}

impl Located {
    /// Whether that runtime names a group so. Somebody who may write to the hierarchy can make one of the same id in another's way.
    pub fn is_by(&self, runtime: Runtime) -> bool {
        match self.runtime {
            Some(own) => own == runtime,
            None => runtime != Runtime::Crio,
        }
    }

    /// With what only the runtime knows: which ids are sandboxes.
    #[must_use]
    pub fn among(mut self, is_sandbox: impl Fn(&ContainerId) -> bool) -> Self {
        if let Some((kind @ Kind::Container, id)) = &mut self.container
            && is_sandbox(id)
        {
            *kind = Kind::Sandbox;
        }
        self
    }
}

/// The hierarchy that counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// The v1 hierarchy with the `cpu` controller.
    V1Cpu,
    /// The unified one.
    V2,
}

/// The process's group in that hierarchy, by `/proc/<pid>/cgroup`: lines `4:cpu,cpuacct:/path` and `0::/path`.
///
/// `None` without such a line, and when the group is removed already or not below the reader's own root (`/../…`).
pub fn path_of_process(text: &str, controller: Controller) -> Option<&str> {
    text.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (number, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let matches = match controller {
            Controller::V1Cpu => controllers.split(',').any(|name| name == "cpu"),
            Controller::V2 => number == "0" && controllers.is_empty(),
        };
        let sound = path.starts_with('/')
            && path.len() <= MAX_PATH
            && !path.ends_with(DELETED)
            && !path.split('/').any(|part| part == "..");
        (matches && sound).then_some(path)
    })
}

/// What a path from the mount's root (or from the reader's cgroup namespace) belongs to.
pub fn locate(path: &str) -> Option<Located> {
    if path.len() > MAX_PATH || !path.starts_with('/') || path.split('/').any(|part| part == "..") {
        return None;
    }
    let mut parts = Parts { path, at: 0 };
    let (driver, prefix) = loop {
        let part = parts.next()?;
        if part == "kubepods" {
            break (Driver::Cgroupfs, "");
        }
        if let Some(prefix) = part.strip_suffix("kubepods.slice")
            && (prefix.is_empty() || prefix.ends_with('-'))
        {
            break (Driver::Systemd, prefix);
        }
    };
    let (qos, uid) = match driver {
        Driver::Cgroupfs => cgroupfs_pod(&mut parts)?,
        Driver::Systemd => systemd_pod(&mut parts, prefix)?,
    };
    let mut located = Located {
        driver,
        qos,
        pod: PodUid::new(&uid).ok()?,
        container: None,
        runtime: None,
        own: parts.at,
        has_below: false,
    };
    let Some(name) = parts.next() else {
        return Some(located);
    };
    if let Some((kind, runtime, id)) = container(driver, name) {
        located.container = Some((kind, id));
        located.runtime = runtime;
        located.own = parts.at;
        located.has_below = parts.next().is_some();
    } else {
        located.has_below = true;
    }
    Some(located)
}

/// The parts of a path, and how far they have been read.
struct Parts<'a> {
    path: &'a str,
    /// Bytes read, up to the end of the last part.
    at: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = &'a str;

    /// `None` at the end, and at an empty part.
    fn next(&mut self) -> Option<&'a str> {
        let rest = self.path.get(self.at..)?.strip_prefix('/')?;
        let part = rest.split('/').next().filter(|part| !part.is_empty())?;
        self.at += 1 + part.len();
        Some(part)
    }
}

/// `[burstable/|besteffort/]pod<uid>`
fn cgroupfs_pod(parts: &mut Parts<'_>) -> Option<(Qos, String)> {
    let first = parts.next()?;
    let (qos, directory) = match first {
        "burstable" => (Qos::Burstable, parts.next()?),
        "besteffort" => (Qos::BestEffort, parts.next()?),
        _ => (Qos::Guaranteed, first),
    };
    Some((qos, directory.strip_prefix("pod")?.to_owned()))
}

/// `[<prefix>kubepods-burstable.slice/]<prefix>kubepods[-burstable]-pod<uid_>.slice`
fn systemd_pod(parts: &mut Parts<'_>, prefix: &str) -> Option<(Qos, String)> {
    let mut slice = || {
        let name = parts.next()?.strip_suffix(".slice")?;
        name.strip_prefix(prefix)?.strip_prefix("kubepods-")
    };
    let first = slice()?;
    let (qos, name) = match first {
        "burstable" => (Qos::Burstable, slice()?.strip_prefix("burstable-")?),
        "besteffort" => (Qos::BestEffort, slice()?.strip_prefix("besteffort-")?),
        _ => (Qos::Guaranteed, first),
    };
    // A hyphen would be another slice's name.
    let uid = name.strip_prefix("pod").filter(|uid| !uid.contains('-'))?;
    Some((qos, uid.replace('_', "-")))
}

fn container(driver: Driver, name: &str) -> Option<(Kind, Option<Runtime>, ContainerId)> {
    let name = match driver {
        Driver::Cgroupfs => name,
        Driver::Systemd => name.strip_suffix(".scope")?,
    };
    // The longer name first: `crio-conmon-…` begins with `crio-`, too.
    let known = [
        ("crio-conmon-", Kind::Conmon, Runtime::Crio),
        ("crio-", Kind::Container, Runtime::Crio),
        ("cri-containerd-", Kind::Container, Runtime::Containerd),
        ("docker-", Kind::Container, Runtime::Docker),
    ];
    for (prefix, kind, runtime) in known {
        if let Some(id) = name.strip_prefix(prefix) {
            return Some((kind, Some(runtime), ContainerId::new(id).ok()?));
        }
    }
    match driver {
        Driver::Cgroupfs => Some((Kind::Container, None, ContainerId::new(name).ok()?)),
        Driver::Systemd => None,
    }
}
