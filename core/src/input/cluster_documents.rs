//! Objects as `oc get … -o yaml` prints them, sorted into a `Cluster`. It judges none of them.

use kube::Resource;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::suggest;
use crate::cluster::{Cluster, Served};
use crate::problem::{Problem, Problems};

/// The kinds that can change an answer.
const KINDS: [&str; 9] = [
    "Node",
    "RealtimeNode",
    "RealtimeProfile",
    "MachineConfigPool",
    "MachineConfig",
    "KubeletConfig",
    "PerformanceProfile",
    "MachineConfigNode",
    "MachineOSConfig",
];

/// A cluster that holds these objects; lists are taken apart. Kinds that nothing depends on are left out, since
/// `oc get` prints what it is asked for: they are named as problems when there is nothing else, and when the kind looks
/// mistyped. So is each object that can't be read.
pub fn cluster_from_documents(values: Vec<Value>, served: Served) -> Result<Cluster, Problems> {
    cluster_of(values, served, OtherKinds::default())
}

/// As [`cluster_from_documents`] for what a text holds beside profiles: a file that is applied as a whole may hold a
/// Namespace, too.
pub fn cluster_beside_profiles(values: Vec<Value>, served: Served) -> Result<Cluster, Problems> {
    let profiles = OtherKinds {
        used: 1,
        ..OtherKinds::default()
    };
    cluster_of(values, served, profiles)
}

fn cluster_of(
    values: Vec<Value>,
    served: Served,
    mut other_kinds: OtherKinds,
) -> Result<Cluster, Problems> {
    let mut cluster = Cluster::empty(served);
    let mut problems = Problems::default();
    for value in values {
        add(value, &mut cluster, &mut problems, &mut other_kinds, true);
    }
    if other_kinds.used == 0 {
        problems.0.append(&mut other_kinds.left_out.0);
    }
    if problems.has_errors() {
        return Err(problems.sorted());
    }
    Ok(cluster)
}

/// Objects that something depends on, counted, and what there is to say of the others.
#[derive(Default)]
struct OtherKinds {
    used: usize,
    left_out: Problems,
}

fn add(
    mut value: Value,
    cluster: &mut Cluster,
    problems: &mut Problems,
    other_kinds: &mut OtherKinds,
    may_be_list: bool,
) {
    let text = |pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
            .to_owned()
    };
    let (kind, name) = (text("/kind"), text("/metadata/name"));
    if may_be_list
        && (kind == "List"
            || kind
                .strip_suffix("List")
                .is_some_and(|kind| KINDS.contains(&kind)))
    {
        match value.get_mut("items").map(Value::take) {
            Some(Value::Array(items)) => {
                let item_kind = kind.strip_suffix("List").filter(|kind| !kind.is_empty());
                for mut item in items {
                    // Items of a typed list may leave out what the list says.
                    if let (Some(kind), Some(item)) = (item_kind, item.as_object_mut()) {
                        item.entry("kind").or_insert_with(|| kind.into());
                    }
                    add(item, cluster, problems, other_kinds, false);
                }
            }
            _ => problems.push(Problem::error(
                kind,
                "",
                "has no items",
                "give the output of `oc get -o yaml` whole",
            )),
        }
        return;
    }
    if kind != "Node" && name.is_empty() && KINDS.contains(&kind.as_str()) {
        problems.push(Problem::error(
            kind,
            "",
            "has no metadata.name",
            "give the object as `oc get -o yaml` prints it",
        ));
        return;
    }
    if KINDS.contains(&kind.as_str()) {
        other_kinds.used += 1;
    }
    let field = if name.is_empty() {
        kind.clone()
    } else {
        format!("{kind}/{name}")
    };
    let mut read = Reader {
        value,
        field,
        problems,
    };
    match kind.as_str() {
        "Node" => read.any(&mut cluster.nodes),
        "RealtimeNode" => read.of_group(&mut cluster.realtime_nodes),
        "RealtimeProfile" => read.of_group(&mut cluster.profiles),
        "MachineConfigPool" => read.of_group(&mut cluster.pools),
        "MachineConfig" => read.of_group(&mut cluster.machine_configs),
        "KubeletConfig" => read.of_group(&mut cluster.kubelet_configs),
        "PerformanceProfile" => read.of_group(&mut cluster.performance_profiles),
        "MachineConfigNode" => read.of_group(&mut cluster.machine_config_nodes),
        "MachineOSConfig" => match read
            .value
            .pointer("/spec/machineConfigPool/name")
            .and_then(Value::as_str)
        {
            Some(pool) => cluster.image_mode_pools.push(pool.to_owned()),
            None => read.refuse("names no pool in spec.machineConfigPool.name"),
        },
        "" => read.problems.push(Problem::error(
            "document",
            "",
            "has no kind",
            "give Kubernetes objects, as `oc get … -o yaml` prints them",
        )),
        other => {
            let problem = Problem::error(
                read.field.clone(),
                "",
                "is of a kind that nothing here depends on",
                suggest::remedy(other, KINDS),
            );
            if suggest::nearest(other, KINDS).is_some() {
                read.problems.push(problem);
            } else {
                other_kinds.left_out.push(problem);
            }
        }
    }
}

struct Reader<'p> {
    value: Value,
    field: String,
    problems: &'p mut Problems,
}

impl Reader<'_> {
    fn any<T: DeserializeOwned>(&mut self, list: &mut Vec<T>) {
        match serde_json::from_value(self.value.take()) {
            Ok(object) => list.push(object),
            Err(error) => self.refuse(&format!("can't be read: {error}")),
        }
    }

    /// A kind whose group matters: `apiVersion` must be of the group that is meant.
    fn of_group<T: DeserializeOwned + Resource<DynamicType = ()>>(&mut self, list: &mut Vec<T>) {
        let group = T::group(&());
        let version = self
            .value
            .get("apiVersion")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if !version.is_empty() && version.split('/').next() != Some(group.as_ref()) {
            let message = format!("is of the API {version}, not of {group}");
            self.refuse(&message);
            return;
        }
        self.any(list);
    }

    fn refuse(&mut self, message: &str) {
        self.problems.push(Problem::error(
            self.field.clone(),
            "",
            message,
            "give the object as `oc get -o yaml` prints it",
        ));
    }
}
