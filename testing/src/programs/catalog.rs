//! Which upstream programs there are, and what each is built from. Must not build or look for one.

use std::path::{Path, PathBuf};

/// A program that comes out of one of the modules in `testing/go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// The API server's database.
    Etcd,
    /// The Kubernetes API server.
    KubeApiserver,
    /// What a user types.
    Kubectl,
    /// Makes default `ServiceAccount`s, collects garbage, takes taints from Ready nodes.
    KubeControllerManager,
    /// Binds pods to nodes.
    KubeScheduler,
    /// Makes the addresses of Services reach their pods.
    KubeProxy,
    /// Starts a node's pods.
    Kubelet,
    /// A container runtime.
    Containerd,
    /// containerd's process beside each pod.
    ContainerdShim,
    /// containerd's command line: imports images.
    Ctr,
    /// OpenShift's container runtime.
    Crio,
    /// CRI-O's helper that makes a pod's namespaces. A C program.
    Pinns,
    /// What both container runtimes call to start a container.
    Runc,
    /// Network plugin: a bridge of the node, an end of a cable for each pod.
    CniBridge,
    /// Network plugin: brings up `lo`.
    CniLoopback,
    /// Network plugin: hands out addresses.
    CniHostLocal,
}

/// How a program is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// By `go build` of this package.
    Go(&'static str),
    /// By `cc` from all C files of this directory in the module.
    C(&'static str),
}

impl Program {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::Etcd,
        Self::KubeApiserver,
        Self::Kubectl,
        Self::KubeControllerManager,
        Self::KubeScheduler,
        Self::KubeProxy,
        Self::Kubelet,
        Self::Containerd,
        Self::ContainerdShim,
        Self::Ctr,
        Self::Crio,
        Self::Pinns,
        Self::Runc,
        Self::CniBridge,
        Self::CniLoopback,
        Self::CniHostLocal,
    ];

    /// What a bare control plane and its user need: `make sandbox`, and most tests.
    pub const CONTROL_PLANE: [Self; 3] = [Self::Etcd, Self::KubeApiserver, Self::Kubectl];

    /// The name of the executable file.
    pub const fn file_name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::KubeApiserver => "kube-apiserver",
            Self::Kubectl => "kubectl",
            Self::KubeControllerManager => "kube-controller-manager",
            Self::KubeScheduler => "kube-scheduler",
            Self::KubeProxy => "kube-proxy",
            Self::Kubelet => "kubelet",
            Self::Containerd => "containerd",
            Self::ContainerdShim => "containerd-shim-runc-v2",
            Self::Ctr => "ctr",
            Self::Crio => "crio",
            Self::Pinns => "pinns",
            Self::Runc => "runc",
            Self::CniBridge => "bridge",
            Self::CniLoopback => "loopback",
            Self::CniHostLocal => "host-local",
        }
    }

    pub(super) const fn source(self) -> Source {
        Source::Go(match self {
            // The module's root package is the server's main.
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::KubeApiserver => "k8s.io/kubernetes/cmd/kube-apiserver",
            Self::Kubectl => "k8s.io/kubernetes/cmd/kubectl",
            Self::KubeControllerManager => "k8s.io/kubernetes/cmd/kube-controller-manager",
            Self::KubeScheduler => "k8s.io/kubernetes/cmd/kube-scheduler",
            Self::KubeProxy => "k8s.io/kubernetes/cmd/kube-proxy",
            Self::Kubelet => "k8s.io/kubernetes/cmd/kubelet",
            Self::Containerd => "github.com/containerd/containerd/v2/cmd/containerd",
            Self::ContainerdShim => {
                "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2"
            }
            Self::Ctr => "github.com/containerd/containerd/v2/cmd/ctr",
            Self::Crio => "github.com/cri-o/cri-o/cmd/crio",
            Self::Pinns => return Source::C("pinns/src"),
            Self::Runc => "github.com/opencontainers/runc",
            Self::CniBridge => "github.com/containernetworking/plugins/plugins/main/bridge",
            Self::CniLoopback => "github.com/containernetworking/plugins/plugins/main/loopback",
            Self::CniHostLocal => "github.com/containernetworking/plugins/plugins/ipam/host-local",
        })
    }

    pub(super) const fn module(self) -> Module {
        match self {
            Self::Etcd => Module::Etcd,
            Self::KubeApiserver
            | Self::Kubectl
            | Self::KubeControllerManager
            | Self::KubeScheduler
            | Self::KubeProxy
            | Self::Kubelet => Module::Kubernetes,
            Self::Containerd | Self::ContainerdShim | Self::Ctr => Module::Containerd,
            Self::Crio | Self::Pinns => Module::Crio,
            Self::Runc => Module::Runc,
            Self::CniBridge | Self::CniLoopback | Self::CniHostLocal => Module::Cni,
        }
    }

    /// Whether a directory as for envtest has it.
    pub(super) fn is_asset(self) -> bool {
        Self::CONTROL_PLANE.contains(&self)
    }

    /// The program of that file name.
    pub fn from_file_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|program| program.file_name() == name)
    }
}

/// A directory below `testing/go`: one Go module that pins one upstream project.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Module {
    Etcd,
    Kubernetes,
    Containerd,
    Crio,
    Runc,
    Cni,
}

impl Module {
    pub(super) const ALL: [Self; 6] = [
        Self::Etcd,
        Self::Kubernetes,
        Self::Containerd,
        Self::Crio,
        Self::Runc,
        Self::Cni,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::Kubernetes => "kubernetes",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Runc => "runc",
            Self::Cni => "cni",
        }
    }

    /// The upstream module whose version names the cache directory.
    pub(super) const fn upstream(self) -> &'static str {
        match self {
            Self::Etcd => "go.etcd.io/etcd/server/v3",
            Self::Kubernetes => "k8s.io/kubernetes",
            Self::Containerd => "github.com/containerd/containerd/v2",
            Self::Crio => "github.com/cri-o/cri-o",
            Self::Runc => "github.com/opencontainers/runc",
            Self::Cni => "github.com/containernetworking/plugins",
        }
    }

    pub(super) fn directory(self) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("go")
            .join(self.name())
    }

    /// Whether its programs are partly C: runc enters namespaces before Go starts, both call libseccomp.
    pub(super) const fn needs_c(self) -> bool {
        matches!(self, Self::Crio | Self::Runc)
    }

    /// Build tags, separated by blanks.
    pub(super) const fn tags(self) -> &'static str {
        match self {
            Self::Runc => "seccomp",
            // Without GnuPG's library and those of disk formats that nobody uses here.
            Self::Crio => {
                "containers_image_openpgp exclude_graphdriver_btrfs exclude_graphdriver_devicemapper seccomp"
            }
            Self::Etcd | Self::Kubernetes | Self::Containerd | Self::Cni => "",
        }
    }

    /// Linker flags: smaller files, and the version that the program reports of itself.
    pub(super) fn linker_flags(self, version: &str) -> String {
        let mut flags = vec!["-s".to_owned(), "-w".to_owned()];
        match self {
            Self::Kubernetes => {
                // Its own build scripts set these; without them it reports v0.0.0-master.
                let mut numbers = version.trim_start_matches('v').split('.');
                let (major, minor) = (numbers.next().unwrap_or("0"), numbers.next().unwrap_or("0"));
                for package in [
                    "k8s.io/component-base/version",
                    "k8s.io/client-go/pkg/version",
                ] {
                    for (variable, value) in [
                        ("gitVersion", version),
                        ("gitMajor", major),
                        ("gitMinor", minor),
                        ("gitTreeState", "clean"),
                    ] {
                        flags.push(format!("-X {package}.{variable}={value}"));
                    }
                }
            }
            // The kubelet reports it as the node's runtime.
            Self::Containerd => flags.push(format!(
                "-X github.com/containerd/containerd/v2/version.Version={version}"
            )),
            Self::Etcd | Self::Crio | Self::Runc | Self::Cni => {}
        }
        flags.join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back_to_their_programs() {
        for program in Program::ALL {
            assert_eq!(Program::from_file_name(program.file_name()), Some(program));
        }
    }

    #[test]
    fn kubernetes_reports_its_version() {
        let flags = Module::Kubernetes.linker_flags("v1.34.4");
        assert!(
            flags.contains("-X k8s.io/component-base/version.gitVersion=v1.34.4"),
            "{flags}"
        );
        assert!(
            flags.contains("-X k8s.io/component-base/version.gitMinor=34"),
            "{flags}"
        );
        assert_eq!(Module::Etcd.linker_flags("v3.6.16"), "-s -w");
    }
}
