//! Every golden story: from text through `input` and `validate` to the rendered objects, compared byte for byte.
//! `UPDATE_GOLDEN=1 cargo test -p realtime-core` regenerates what is expected; the diff is then for a person to read.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test reads its stories and ends at what it doesn't expect"
)]

mod support;

use std::fmt::Write as _;
use std::path::Path;

use realtime_core::render::{kernel_arguments, to_yaml};
use support::{
    compare, difference, folders, name, rendered, stories, texts, tree, updating, write_tree,
};

#[test]
fn every_story_renders_as_expected() {
    let mut wrong = String::new();
    for story in stories() {
        let found = texts(&story, &story);
        let folder = story.join("expected");
        if updating() {
            write_tree(&folder, &found);
            continue;
        }
        let expected = tree(&folder);
        let mut paths: Vec<_> = expected.keys().chain(found.keys()).collect();
        paths.sort();
        paths.dedup();
        for path in paths {
            let (before, after) = (expected.get(path), found.get(path));
            if before != after {
                let none = String::new();
                let difference = difference(before.unwrap_or(&none), after.unwrap_or(&none));
                let _ = writeln!(wrong, "{}/{path}:\n{difference}", name(&story));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "look at it and run with {}=1:\n{wrong}",
        support::UPDATE
    );
}

/// A cluster in another state, a story with the same outcome: CPUs already offline, for one.
#[test]
fn every_variant_renders_as_its_story() {
    let mut variants = 0;
    for story in stories() {
        let folder = story.join("variants");
        if !folder.is_dir() {
            continue;
        }
        for variant in folders(&folder) {
            variants += 1;
            let (expected, found) = (rendered(&story, &story).0, rendered(&story, &variant).0);
            assert_eq!(to_yaml(&expected), to_yaml(&found), "{}", variant.display());
            assert_eq!(expected.node_spec, found.node_spec, "{}", variant.display());
            assert_eq!(
                expected.content_hash,
                found.content_hash,
                "{}",
                variant.display()
            );
        }
    }
    assert!(variants > 0);
}

/// The whole point of the story, written out once more.
#[test]
fn the_first_procedure_has_exactly_its_arguments() {
    let (rendered, _) = rendered_story("first-rhcos-rt-procedure");
    let spec = rendered.machine_config.unwrap().spec;
    assert_eq!(
        spec.kernel_arguments.unwrap().join(" "),
        "default_hugepagesz=1G hugepagesz=1G hugepages=32 nohz=on nosoftlockup nmi_watchdog=0 audit=0 mce=off \
         kthread_cpus=0 irqaffinity=0 skew_tick=1 processor.max_cstate=1 idle=poll intel_pstate=disable \
         intel_idle.max_cstate=0 intel_iommu=on iommu=pt"
    );
    let kubelet = rendered
        .kubelet_config
        .unwrap()
        .spec
        .kubelet_config
        .unwrap();
    assert_eq!(
        kubelet,
        serde_json::json!({
            "cpuManagerPolicy": "static",
            "cpuManagerReconcilePeriod": "5s",
            "kubeReserved": {"cpu": "1000m", "memory": "500Mi"},
            "systemReserved": {"cpu": "1000m", "memory": "500Mi"},
        })
    );
}

/// What the peer's TuneD yields on a live Intel node with the same CPUs: all of it, and nothing twice.
#[test]
fn plain_intel_has_every_argument_of_the_peer_once() {
    let (rendered, _) = rendered_story("realtime-intel");
    let found = rendered
        .machine_config
        .unwrap()
        .spec
        .kernel_arguments
        .unwrap();
    let peer = "skew_tick=1 tsc=reliable rcupdate.rcu_normal_after_boot=1 nohz=on rcu_nocbs=2-15 \
        tuned.non_isolcpus=00000003 systemd.cpu_affinity=0-1 intel_iommu=on iommu=pt nmi_watchdog=0 mce=off \
        intel_pstate=active nohz_full=2-15 isolcpus=managed_irq,2-15 nosoftlockup rcutree.kthread_prio=11";
    let mut peer: Vec<&str> = peer.split_whitespace().collect();
    let mut found: Vec<&str> = found.iter().map(String::as_str).collect();
    peer.sort_unstable();
    found.sort_unstable();
    assert_eq!(found, peer);
}

#[test]
fn the_document_of_the_arguments_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/kernel-arguments.md");
    compare(&path, &kernel_arguments::markdown());
}

/// The form of an argument in the catalogue is that of the argument itself.
#[test]
fn every_argument_of_a_story_is_in_the_catalogue_or_the_users() {
    for story in stories() {
        let Some(profile) = support::validated(&story, &story).profile else {
            continue;
        };
        for argument in kernel_arguments::computed(&profile) {
            let key = kernel_arguments::key(&argument);
            assert!(
                kernel_arguments::catalogue()
                    .iter()
                    .any(|entry| entry.keys.contains(&key.as_str()) && entry.form.contains(&key)),
                "{argument}"
            );
        }
    }
}

fn rendered_story(name: &str) -> (realtime_core::render::Rendered, String) {
    let story = support::root().join(name);
    rendered(&story, &story)
}
