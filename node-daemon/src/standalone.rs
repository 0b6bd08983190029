//! What the daemon says and finds out by itself when it starts, without a cluster's help. Decides nothing.

use crate::config::Config;

const HOST_NAME: &str = "/proc/sys/kernel/hostname";

/// The host's name as a kubelet takes it for its Node: whole, in lower case.
pub fn host_name() -> std::io::Result<String> {
    let name = std::fs::read_to_string(HOST_NAME)?;
    Ok(name.trim().to_lowercase())
}

/// What the configuration says and has no effect, so that nobody relies on it.
pub fn tell(config: &Config) {
    if config.node.is_some() {
        if config.cgroup.given {
            tracing::warn!(
                "cgroup_handler and cgroup_v1_capacity have no effect while `node` is there: without a cluster no pods are known"
            );
        }
        tracing::info!(
            reboot = config.reboot,
            "without a cluster: what this host shall be is in the configuration file"
        );
        if config.kube_path.is_some() {
            tracing::warn!("kube_path has no effect while `node` is there");
        }
    } else if config.reboot {
        tracing::warn!("reboot has no effect in a cluster: there the operator gives turns");
    }
}
