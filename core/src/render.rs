//! From a valid profile to every object that is applied. Pure, and total: a `ValidProfile` always renders.

use k8s_openapi::api::node::v1::RuntimeClass;

use crate::api::realtime_node::RealtimeNodeSpec;
use crate::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};

/// Everything that a profile becomes. `apply` destructures it without `..`: a new object that nobody applies fails to compile.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The pool: whole when it is ours, only our label on an existing one. `None` where pools aren't served.
    pub pool: Option<MachineConfigPool>,
    /// Before or with the MachineConfig, or it blocks the pool.
    pub kubelet_config: Option<KubeletConfig>,
    /// Kernel, arguments, files and units.
    pub machine_config: Option<MachineConfig>,
    /// TuneD profiles, without any command line.
    pub tuned: Option<Tuned>,
    /// How pods ask for the profile's runtime.
    pub runtime_class: Option<RuntimeClass>,
    /// What each node of the pool shall be.
    pub node_spec: RealtimeNodeSpec,
    /// SHA-256 over all of the above, the first 16 hex digits.
    pub content_hash: String,
}
