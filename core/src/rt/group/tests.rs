//! Real paths, and every path that could be made.

use proptest::prelude::*;

use super::*;

const UID: &str = "1b4e28ba-2fa1-11d2-883f-0016d3cca427";
const ID: &str = "3b1f0c9a7d5e3b1f0c9a7d5e3b1f0c9a7d5e3b1f0c9a7d5e3b1f0c9a7d5e3b1f";

fn pods(driver: Driver, root: &[&str]) -> PodsGroup {
    PodsGroup {
        driver,
        root: root.iter().map(|part| (*part).to_owned()).collect(),
    }
}

#[test]
fn paths_are_those_of_the_kubelet_and_the_runtimes() {
    let (uid, id) = (PodUid::new(UID).unwrap(), ContainerId::new(ID).unwrap());
    let systemd = pods(Driver::Systemd, &[]);
    assert_eq!(systemd.path(), "/kubepods.slice");
    assert_eq!(
        systemd.class(Qos::Burstable),
        "/kubepods.slice/kubepods-burstable.slice"
    );
    let pod = "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1b4e28ba_2fa1_11d2_883f_0016d3cca427.slice";
    assert_eq!(systemd.pod(Qos::Burstable, &uid), pod);
    assert_eq!(
        systemd.container(Qos::Burstable, &uid, Runtime::Crio, &id),
        [
            format!("{pod}/crio-{ID}.scope/container"),
            format!("{pod}/crio-{ID}.scope")
        ]
    );
    let cgroupfs = pods(Driver::Cgroupfs, &["test", "a-b"]);
    assert_eq!(
        cgroupfs.container(Qos::Guaranteed, &uid, Runtime::Containerd, &id)[1],
        format!("/test/a-b/kubepods/pod{UID}/{ID}")
    );
    assert_eq!(
        pods(Driver::Systemd, &["kubelet"]).pod(Qos::Guaranteed, &PodUid::new("ab").unwrap()),
        "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podab.slice"
    );
}

#[test]
fn a_static_pod_is_found_by_its_hash_and_only_a_mirror_has_one() {
    let hash = "0123456789abcdef0123456789abcdef";
    let mut annotations = BTreeMap::from([(ANNOTATION_HASH.to_owned(), hash.to_owned())]);
    let uid = |annotations: &_| PodUid::of_directory(UID, annotations).unwrap();
    assert_eq!(uid(&annotations).as_str(), UID);
    annotations.insert(ANNOTATION_MIRROR.to_owned(), hash.to_owned());
    assert_eq!(uid(&annotations).as_str(), hash);
    annotations.insert(ANNOTATION_HASH.to_owned(), "../x".to_owned());
    assert_eq!(
        PodUid::of_directory(UID, &annotations),
        Err(GroupError::Uid)
    );
}

#[test]
fn ids_come_from_the_status_with_their_runtime() {
    let of = |scheme: &str| {
        ContainerId::of_status(&format!("{scheme}://{ID}")).map(|(runtime, _)| runtime)
    };
    assert_eq!(of("cri-o"), Ok(Runtime::Crio));
    assert_eq!(of("containerd"), Ok(Runtime::Containerd));
    assert_eq!(of("docker"), Ok(Runtime::Docker));
    assert_eq!(of("rkt"), Err(GroupError::Runtime));
    for odd in [
        "",
        "cri-o://",
        "cri-o://../../x",
        "cri-o://3B1F0C9A7D5E",
        "cri-o",
        "://",
    ] {
        assert!(ContainerId::of_status(odd).is_err(), "{odd:?}");
    }
}

#[test]
fn the_line_of_the_right_hierarchy_counts() {
    let text = "5:cpuset:/x\n4:cpu,cpuacct:/a:b/c\n1:name=systemd:/y\n0::/z\n";
    assert_eq!(path_of_process(text, Controller::V1Cpu), Some("/a:b/c"));
    assert_eq!(path_of_process(text, Controller::V2), Some("/z"));
    assert_eq!(path_of_process("3:cpuacct:/x\n", Controller::V1Cpu), None);
    for gone in [
        "0::/a (deleted)\n",
        "0::/../a\n",
        "0::\n",
        "0",
        "",
        "1::/a\n",
    ] {
        assert_eq!(path_of_process(gone, Controller::V2), None, "{gone:?}");
    }
}

#[test]
fn what_is_nobodys_is_nobodys() {
    for path in [
        "/",
        "",
        "kubepods",
        "/kubepods",
        "/kubepods/burstable",
        "/kubepods/pod",
        "/kubepods//podx",
        "/kubepods/burstable/x",
        "/system.slice/crio.service",
        "/mykubepods.slice/kubepods-podx.slice",
        "/kubepods.slice/kubepods-burstable.slice/kubepods-podx.slice",
        "/kubepods/pod../x",
        "/kubepods/../kubepods/podx",
    ] {
        assert_eq!(locate(path), None, "{path:?}");
    }
}

#[test]
fn conmon_sandboxes_and_own_subgroups_are_told_apart() {
    let pod = format!(
        "/kubepods.slice/kubepods-pod{}.slice",
        UID.replace('-', "_")
    );
    let conmon = locate(&format!("{pod}/crio-conmon-{ID}.scope")).unwrap();
    assert_eq!(conmon.container.map(|(kind, _)| kind), Some(Kind::Conmon));
    let sandbox = locate(&format!("{pod}/crio-{ID}.scope"))
        .unwrap()
        .among(|id| id.as_str() == ID);
    assert_eq!(sandbox.container.map(|(kind, _)| kind), Some(Kind::Sandbox));
    // A container that makes groups like another pod's is still itself.
    let path = format!("{pod}/crio-{ID}.scope/kubepods/podother/{}", "0".repeat(64));
    let located = locate(&path).unwrap();
    assert_eq!((located.pod.as_str(), located.has_below), (UID, true));
    assert_eq!(&path[..located.own], format!("{pod}/crio-{ID}.scope"));
    let other = locate(&format!("{pod}/init.scope")).unwrap();
    assert_eq!((other.container, other.has_below), (None, true));
}

fn any_driver() -> impl Strategy<Value = Driver> {
    prop_oneof![Just(Driver::Cgroupfs), Just(Driver::Systemd)]
}

fn any_qos() -> impl Strategy<Value = Qos> {
    prop_oneof![
        Just(Qos::Guaranteed),
        Just(Qos::Burstable),
        Just(Qos::BestEffort)
    ]
}

fn any_runtime() -> impl Strategy<Value = Runtime> {
    prop_oneof![
        Just(Runtime::Containerd),
        Just(Runtime::Crio),
        Just(Runtime::Docker)
    ]
}

/// Pieces of which paths are made, in any order, and odd characters between them.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        proptest::sample::select(vec![
            "/",
            "kubepods",
            "kubepods.slice",
            "kubepods-",
            "burstable",
            "pod",
            ".slice",
            ".scope",
            "crio-",
            "conmon-",
            "..",
            "_",
            "-",
            ":",
            " (deleted)",
            "cri-containerd-",
            "\n",
            "0::",
            "cpu",
            "é",
            "\u{0}",
            "123456789abc",
        ])
        .prop_map(str::to_owned),
        ".{0,3}",
    ];
    proptest::collection::vec(piece, 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn every_path_that_is_built_is_found_again(
        driver in any_driver(), qos in any_qos(), runtime in any_runtime(), uid in "[A-Za-z0-9]{1,8}(-[A-Za-z0-9]{1,8}){0,4}",
        id in "[0-9a-f]{12,64}", root in proptest::collection::vec("[a-z]{1,6}(-[a-z]{1,3})?", 0..3),
    ) {
        prop_assume!(!root.iter().any(|part| part.contains("kubepods")));
        let (uid, id) = (PodUid::new(&uid).unwrap(), ContainerId::new(&id).unwrap());
        let pods = PodsGroup { driver, root };
        let [below, own] = pods.container(qos, &uid, runtime, &id);
        for (path, has_below) in [(&below, true), (&own, false)] {
            let located = locate(path).unwrap();
            prop_assert_eq!((located.driver, located.qos, &located.pod), (driver, qos, &uid));
            prop_assert_eq!(located.container, Some((Kind::Container, id.clone())));
            prop_assert!(located.runtime.is_none_or(|found| found == runtime));
            prop_assert_eq!((&path[..located.own], located.has_below), (own.as_str(), has_below));
        }
        let pod = locate(&pods.pod(qos, &uid)).unwrap();
        prop_assert_eq!((pod.pod, pod.container, pod.has_below), (uid.clone(), None, false));
        prop_assert!(pods.pod(qos, &uid).starts_with(&pods.class(qos)) && pods.class(qos).starts_with(&pods.path()));
    }

    #[test]
    fn no_text_is_too_odd(text in pieces()) {
        if let Some(located) = locate(&text) {
            prop_assert!(PodUid::new(located.pod.as_str()).is_ok());
            prop_assert!(text.is_char_boundary(located.own));
            prop_assert!(!text.contains("/../"));
        }
        for controller in [Controller::V1Cpu, Controller::V2] {
            if let Some(path) = path_of_process(&text, controller) {
                prop_assert!(path.starts_with('/') && !path.contains('\n'));
            }
        }
        let _ = (PodUid::new(&text), ContainerId::of_status(&text), Qos::parse(&text));
    }
}

#[test]
fn the_group_of_all_pods_is_read_from_its_path() {
    for path in [
        "/kubepods",
        "/kubepods.slice",
        "/a/b/kubepods",
        "/a.slice/a-b.slice/a-b-kubepods.slice",
    ] {
        assert_eq!(PodsGroup::parse(path).unwrap().path(), path);
    }
    for path in [
        "",
        "/",
        "kubepods",
        "/kubepods/",
        "//kubepods",
        "/../kubepods",
        "/a/kubepods.slice",
        "/x",
    ] {
        assert_eq!(PodsGroup::parse(path), None, "{path}");
    }
}
