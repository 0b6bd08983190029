//! Whose container an id is, by what a runtime says of it: the annotations that containerd and CRI-O put into a container's
//! OCI specification and into the state that a hook gets. Believes nothing about budgets.

use std::collections::BTreeMap;

use super::group::PodUid;

/// containerd's: `container` or `sandbox`.
const CONTAINERD_TYPE: &str = "io.kubernetes.cri.container-type";
const CONTAINERD_NAMES: Names = Names {
    container: "io.kubernetes.cri.container-name",
    pod: "io.kubernetes.cri.sandbox-name",
    namespace: "io.kubernetes.cri.sandbox-namespace",
    uid: "io.kubernetes.cri.sandbox-uid",
};
/// CRI-O's: `container` or `sandbox`.
const CRIO_TYPE: &str = "io.kubernetes.cri-o.ContainerType";
const CRIO_NAMES: Names = Names {
    container: "io.kubernetes.container.name",
    pod: "io.kubernetes.pod.name",
    namespace: "io.kubernetes.pod.namespace",
    uid: "io.kubernetes.pod.uid",
};

struct Names {
    container: &'static str,
    pod: &'static str,
    namespace: &'static str,
    uid: &'static str,
}

/// A container's place in the cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The pod's namespace.
    pub namespace: String,
    /// The pod's name.
    pub pod: String,
    /// The uid under which the pod runs on the node: its directory bears it. Absent where the runtime doesn't say.
    pub uid: Option<PodUid>,
    /// The container's name. `None`: it is the pod's sandbox, which never gets anything.
    pub container: Option<String>,
}

impl Identity {
    /// From a container's annotations; none for what no kubelet has asked for.
    ///
    /// CRI-O copies a pod's own annotations into the specification, and then writes its own words over them, but not over
    /// containerd's: with the words of both, the pod's author has written one of the two, and may have named another's
    /// container. Such a container is nobody's.
    pub fn of(annotations: &BTreeMap<String, String>) -> Option<Self> {
        let (kind, names) = match (annotations.get(CONTAINERD_TYPE), annotations.get(CRIO_TYPE)) {
            (Some(kind), None) => (kind, CONTAINERD_NAMES),
            (None, Some(kind)) => (kind, CRIO_NAMES),
            (Some(_), Some(_)) | (None, None) => return None,
        };
        let text = |key: &str| {
            annotations
                .get(key)
                .filter(|text| !text.is_empty())
                .cloned()
        };
        let container = match kind.as_str() {
            "sandbox" => None,
            "container" => Some(text(names.container)?),
            _ => return None,
        };
        Some(Self {
            namespace: text(names.namespace)?,
            pod: text(names.pod)?,
            uid: annotations
                .get(names.uid)
                .and_then(|uid| PodUid::new(uid).ok()),
            container,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn annotations(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()))
            .collect()
    }

    #[test]
    fn each_runtime_names_a_container_in_its_own_words() {
        let containerd = annotations(&[
            (CONTAINERD_TYPE, "container"),
            ("io.kubernetes.cri.container-name", "main"),
            ("io.kubernetes.cri.sandbox-name", "spinner"),
            ("io.kubernetes.cri.sandbox-namespace", "lab"),
            ("io.kubernetes.cri.sandbox-uid", "0f1e"),
        ]);
        let crio = annotations(&[
            (CRIO_TYPE, "container"),
            ("io.kubernetes.container.name", "main"),
            ("io.kubernetes.pod.name", "spinner"),
            ("io.kubernetes.pod.namespace", "lab"),
            ("io.kubernetes.pod.uid", "0f1e"),
        ]);
        let expected = Identity {
            namespace: "lab".to_owned(),
            pod: "spinner".to_owned(),
            uid: PodUid::new("0f1e").ok(),
            container: Some("main".to_owned()),
        };
        assert_eq!(Identity::of(&containerd), Some(expected.clone()));
        assert_eq!(Identity::of(&crio), Some(expected));
    }

    #[test]
    fn a_pods_author_names_nobody_elses_container() {
        let forged = annotations(&[
            (CRIO_TYPE, "container"),
            ("io.kubernetes.container.name", "main"),
            ("io.kubernetes.pod.name", "spinner"),
            ("io.kubernetes.pod.namespace", "lab"),
            (CONTAINERD_TYPE, "container"),
            ("io.kubernetes.cri.container-name", "main"),
            ("io.kubernetes.cri.sandbox-name", "victim"),
            ("io.kubernetes.cri.sandbox-namespace", "elsewhere"),
        ]);
        assert_eq!(Identity::of(&forged), None);
    }

    #[test]
    fn a_sandbox_is_no_container_and_anything_else_is_nobodys() {
        let sandbox = annotations(&[
            (CRIO_TYPE, "sandbox"),
            ("io.kubernetes.container.name", "POD"),
            ("io.kubernetes.pod.name", "spinner"),
            ("io.kubernetes.pod.namespace", "lab"),
        ]);
        assert_eq!(Identity::of(&sandbox).unwrap().container, None);
        assert_eq!(Identity::of(&annotations(&[])), None);
        assert_eq!(
            Identity::of(&annotations(&[(CRIO_TYPE, "container")])),
            None
        );
        assert_eq!(Identity::of(&annotations(&[(CRIO_TYPE, "else")])), None);
    }
}
