//! From a valid profile to every object that is applied. Pure, and total: a `ValidProfile` always renders.

pub mod hash;
pub mod kernel_arguments;
pub(crate) mod kubelet_config;
pub(crate) mod machine_config;
mod node_spec;
mod owned;
mod pool;
pub(crate) mod runtime_class;
mod templates;
mod tuned;

use k8s_openapi::api::node::v1::RuntimeClass;
use serde::Serialize;
use serde_json::{Value, json};

use crate::api::realtime_node::RealtimeNodeSpec;
use crate::openshift::{KubeletConfig, MachineConfig, MachineConfigPool, Tuned};
use crate::validate::ValidProfile;
use crate::yaml;

pub use self::kernel_arguments::kernel_arguments;
pub use machine_config::{KERNEL_TYPE_64K, KERNEL_TYPE_REALTIME};
pub use runtime_class::HANDLER;
pub use tuned::PRIORITY as TUNED_PRIORITY;
pub(crate) use tuned::{ENABLED as TUNED_ENABLED, parameter_path};

/// Everything that a profile becomes. `apply` destructures it without `..`: a new object that nobody applies fails to compile.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    /// The pool: whole when it is ours, only our label on an existing one. `None` where pools aren't served.
    pub pool: Option<MachineConfigPool>,
    /// Before or with the MachineConfig, or it blocks the pool. `None` also when there is nothing to configure.
    pub kubelet_config: Option<KubeletConfig>,
    /// Kernel, arguments, files and units.
    pub machine_config: Option<MachineConfig>,
    /// TuneD profiles, without any command line.
    pub tuned: Option<Tuned>,
    /// How pods ask for the profile's runtime. `None` where no MachineConfig brings that runtime to the nodes.
    pub runtime_class: Option<RuntimeClass>,
    /// What each node of the pool shall be.
    pub node_spec: RealtimeNodeSpec,
    /// SHA-256 over all of the above, the first 16 hex digits.
    pub content_hash: String,
}

/// Renders. The same profile gives the same bytes, always.
pub fn render(profile: &ValidProfile) -> Rendered {
    let arguments = kernel_arguments(profile);
    let mut rendered = Rendered {
        pool: pool::pool(profile),
        kubelet_config: kubelet_config::kubelet_config(profile),
        machine_config: machine_config::machine_config(profile),
        tuned: tuned::tuned(profile),
        runtime_class: runtime_class::runtime_class(profile),
        node_spec: node_spec::node_spec(profile, &arguments),
        content_hash: String::new(),
    };
    rendered.content_hash = rendered.hash_of_contents();
    rendered.mark(&profile.name, profile.pool.ours);
    rendered
}

impl Rendered {
    /// The objects that are applied, in the order in which they are: the pool first, so that the selectors find it, and
    /// the KubeletConfig before the MachineConfig. The nodes' RealtimeNodes are not among them: see
    /// [`Rendered::node_spec`].
    pub fn objects(&self) -> Vec<Value> {
        let Self {
            pool,
            kubelet_config,
            machine_config,
            tuned,
            runtime_class,
            node_spec: _,
            content_hash: _,
        } = self;
        [
            value(pool.as_ref()),
            value(kubelet_config.as_ref()),
            value(machine_config.as_ref()),
            value(tuned.as_ref()),
            value(runtime_class.as_ref()),
        ]
        .into_iter()
        .flatten()
        .collect()
    }

    /// Over what was rendered, before the hashes themselves are written on it.
    fn hash_of_contents(&self) -> String {
        hash::hash(&json!({
            "objects": self.objects(),
            "node": value(Some(&self.node_spec)),
        }))
    }

    /// Writes on each object whose it is and the hash of what was rendered. Not on a pool that is somebody else's:
    /// pruning looks for these.
    fn mark(&mut self, profile: &str, pool_is_ours: bool) {
        if pool_is_ours {
            owned::mark(self.pool.as_mut(), profile);
        }
        owned::mark(self.kubelet_config.as_mut(), profile);
        owned::mark(self.machine_config.as_mut(), profile);
        owned::mark(self.tuned.as_mut(), profile);
        owned::mark(self.runtime_class.as_mut(), profile);
    }
}

/// What `oc realtime render` prints: the objects in the order in which they are applied, one document each.
pub fn to_yaml(rendered: &Rendered) -> String {
    // JSON values always become YAML; should they ever not, the text says so.
    yaml::documents(&rendered.objects()).unwrap_or_else(|error| format!("# {error}\n"))
}

/// An object as JSON. Ours are structs, strings, numbers and lists, which always become JSON.
fn value<T: Serialize>(object: Option<&T>) -> Option<Value> {
    serde_json::to_value(object?).ok()
}

#[cfg(test)]
mod tests;
