//! The texts of the configuration files of runtime, network plugins and kubelet, all of which run in the
//! node's namespaces. Must not touch a file, and must not know what a test wants beyond [`Options`].

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Options, PAUSE_IMAGE, Runtime, network};

/// What the texts depend on.
#[derive(Debug)]
pub struct Layout<'a> {
    /// The node's directory.
    pub directory: &'a Path,
    /// The node's control group: one name.
    pub group: &'a str,
    /// Where runc is.
    pub runc: &'a Path,
    /// Where the network plugins are.
    pub plugins: &'a Path,
    /// Where pinns is, for CRI-O.
    pub pinns: Option<&'a PathBuf>,
    /// What the tests want.
    pub options: &'a Options,
}

impl Layout<'_> {
    fn file(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    /// The runtime's configuration, with the text from the options at its end.
    pub fn runtime(&self) -> String {
        let text = match self.options.runtime {
            Runtime::Containerd => self.containerd(),
            Runtime::CriO => self.crio(),
        };
        format!("{text}\n{}", self.options.runtime_settings)
    }

    fn containerd(&self) -> String {
        format!(
            r#"version = 3
root = "/run/node/containerd"
state = "/run/containerd"

[grpc]
address = "{socket}"

[plugins."io.containerd.cri.v1.images"]
snapshotter = "overlayfs"
[plugins."io.containerd.cri.v1.images".pinned_images]
sandbox = "{PAUSE_IMAGE}"

[plugins."io.containerd.cri.v1.runtime"]
disable_apparmor = true
# The machine may not let its scores be lowered.
restrict_oom_score_adj = true
[plugins."io.containerd.cri.v1.runtime".cni]
bin_dirs = ["{plugins}"]
conf_dir = "{cni}"
[plugins."io.containerd.cri.v1.runtime".containerd]
default_runtime_name = "runc"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
BinaryName = "{runc}"
SystemdCgroup = false

[plugins."io.containerd.nri.v1.nri"]
disable = {without_nri}
socket_path = "/run/nri/nri.sock"
plugin_path = "/run/nri/plugins"
plugin_config_path = "/run/nri/conf.d"
[plugins."io.containerd.nri.v1.nri".default_validator]
enable = true
"#,
            socket = self.options.runtime.socket(),
            without_nri = !self.options.nri,
            plugins = self.plugins.display(),
            cni = self.file("cni"),
            runc = self.runc.display(),
        )
    }

    fn crio(&self) -> String {
        format!(
            r#"[crio]
root = "{root}"
runroot = "{runroot}"
storage_driver = "overlay"
log_dir = "/run/node/crio-logs"
version_file = "/run/crio/version"
version_file_persist = ""
clean_shutdown_file = "/run/crio/clean.shutdown"
internal_wipe = false

[crio.api]
listen = "{socket}"
stream_address = "127.0.0.1"

[crio.runtime]
default_runtime = "runc"
cgroup_manager = "cgroupfs"
conmon_cgroup = "pod"
hooks_dir = ["{hooks}"]
pinns_path = "{pinns}"
namespaces_dir = "/run/crio/namespaces"
container_exits_dir = "/run/crio/exits"
container_attach_socket_dir = "/run/crio"
selinux = false
apparmor_profile = "unconfined"
[crio.runtime.runtimes.runc]
runtime_path = "{runc}"
runtime_root = "/run/runc"
monitor_cgroup = "pod"

[crio.image]
pause_image = "{PAUSE_IMAGE}"
pause_command = "/pause"
signature_policy = "{policy}"

[crio.network]
network_dir = "{cni}"
plugin_dirs = ["{plugins}"]

[crio.nri]
enable_nri = {nri}
nri_listen = "/run/nri/nri.sock"
nri_plugin_dir = "/run/nri/plugins"
nri_plugin_config_dir = "/run/nri/conf.d"
"#,
            root = CRIO_STORAGE,
            runroot = CRIO_STORAGE_STATE,
            socket = self.options.runtime.socket(),
            nri = self.options.nri,
            hooks = self.file("hooks.d"),
            pinns = self
                .pinns
                .map_or(String::new(), |path| path.display().to_string()),
            runc = self.runc.display(),
            policy = self.file("policy.json"),
            cni = self.file("cni"),
            plugins = self.plugins.display(),
        )
    }

    /// The network plugins' configuration: a bridge, and a default route, without which a pod reaches
    /// no Service.
    pub fn cni() -> Value {
        json!({
            "cniVersion": "1.0.0",
            "name": "pods",
            "plugins": [{
                "type": "bridge",
                "bridge": "pods0",
                "isGateway": true,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{ "subnet": network::POD_RANGE }]],
                    "routes": [{ "dst": "0.0.0.0/0" }],
                    "dataDir": "/run/node/addresses",
                },
            }],
        })
    }

    /// Images here are nobody's but ours: skopeo and CRI-O accept them all.
    pub fn image_policy() -> Value {
        json!({ "default": [{ "type": "insecureAcceptAnything" }] })
    }

    /// The kubelet's configuration; the options' fields replace ours of the same name.
    pub fn kubelet(&self) -> Value {
        let mut configuration = json!({
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            "authentication": {
                "anonymous": { "enabled": false },
                "webhook": { "enabled": true },
                "x509": { "clientCAFile": self.file("ca.crt") },
            },
            "authorization": { "mode": "Webhook" },
            "cgroupDriver": "cgroupfs",
            "cgroupRoot": format!("/{}", self.group),
            "containerRuntimeEndpoint": format!("unix://{}", self.options.runtime.socket()),
            "staticPodPath": self.file("static-pods"),
            "volumePluginDir": "/run/node/volume-plugins",
            // The machine is what it is, and its disk, memory and swap are not the node's alone.
            "failSwapOn": false,
            // With it a kubelet 1.34 looks for its own node from a second goroutine while it still makes what that needs
            // (`wipeResourceSlices`), and now and then ends with a panic in its first second. systemd would start it again. (1.35 refuses the gate.)
            "featureGates": { "DynamicResourceAllocation": false },
            "failCgroupV1": false,
            "evictionHard": {
                "imagefs.available": "0%", "imagefs.inodesFree": "0%",
                "nodefs.available": "0%", "nodefs.inodesFree": "0%",
                "memory.available": "1Ki", // 0 is refused
            },
            "imageGCHighThresholdPercent": 100,
            // kube-proxy needs none of these rules, and the machine may have no iptables.
            "makeIPTablesUtilChains": false,
            // There is no DNS in here.
            "resolvConf": "",
            "serializeImagePulls": false,
        });
        if let Some(fields) = configuration.as_object_mut() {
            fields.extend(self.options.kubelet_settings.clone());
        }
        configuration
    }
}

/// Where CRI-O keeps images and containers, and the state of what is mounted.
pub const CRIO_STORAGE: &str = "/run/node/crio";
pub const CRIO_STORAGE_STATE: &str = "/run/containers/storage";
