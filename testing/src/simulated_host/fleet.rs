//! The simulated hosts of a cluster: a machine for each node, each with a daemon of its own that has the rights of its
//! own pod. Wires what is beside it together.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Kubelet, daemon_kubeconfig, launch};
use super::node_agent::Agents;
use super::{Error, Hardware, Machine, SimulatedHost};
use crate::control_plane::ControlPlane;
use crate::rpm_ostree_standin::Profile;

/// What a fleet is made of.
#[derive(Clone, Debug)]
pub struct Fleet {
    /// The daemon's program.
    pub daemon: PathBuf,
    /// The rpm-ostree stand-in's program.
    pub standin: PathBuf,
    /// What each machine is.
    pub hardware: Hardware,
    /// What each machine has booted.
    pub profile: Profile,
    /// How long a boot takes.
    pub boot_time: Duration,
    /// Further arguments of each daemon.
    pub arguments: Vec<String>,
}

impl Fleet {
    /// Makes a host for each node, which exist, below the control plane's own directory, without starting anything.
    pub fn hosts(
        &self,
        control_plane: &ControlPlane,
        nodes: &[String],
    ) -> Result<Vec<Arc<SimulatedHost>>, Error> {
        let folder = control_plane.directory().join("hosts");
        nodes
            .iter()
            .map(|node| {
                SimulatedHost::create(
                    &folder.join(node),
                    node,
                    self.hardware.clone(),
                    &self.profile,
                    &self.standin,
                )
                .map(Arc::new)
            })
            .collect()
    }

    /// Starts a machine for each host. The daemons' ServiceAccount and rights must be installed.
    pub async fn start(
        &self,
        control_plane: &ControlPlane,
        hosts: Vec<Arc<SimulatedHost>>,
    ) -> Result<BTreeMap<String, Arc<Machine>>, Error> {
        let client = control_plane.admin_client().await?;
        let mut machines = BTreeMap::new();
        for host in hosts {
            let node = host.name().to_owned();
            let kubeconfig = daemon_kubeconfig(control_plane, &node).await?;
            let mut launch = launch(&self.daemon, &host, &kubeconfig);
            launch.arguments.extend(self.arguments.iter().cloned());
            let kubelet = Kubelet::new(client.clone(), &node);
            let machine = Machine::start(host, Some(kubelet), launch, self.boot_time).await?;
            machines.insert(node, Arc::new(machine));
        }
        Ok(machines)
    }
}

/// The Machine Config Operator's agents on these machines, for the pool stand-in.
pub fn agents(machines: &BTreeMap<String, Arc<Machine>>) -> Arc<Agents> {
    Arc::new(Agents(machines.clone()))
}
