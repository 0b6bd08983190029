//! Single decisions, and what the simulation must never show.

use kube::ResourceExt;
use proptest::prelude::*;
use serde_json::json;

use super::simulation::{World, profile, rendered, valid};
use super::*;

fn decide(world: &World) -> Vec<Step> {
    world.observe(next)
}

#[test]
fn a_new_profile_starts_with_a_paused_pool() {
    let world = World::new(true);
    let steps = decide(&world);
    let position = |wanted: &Step| steps.iter().position(|step| step == wanted).unwrap();
    assert_eq!(steps.first(), Some(&Step::EnsureFinalizer));
    assert!(position(&Step::CreatePoolPaused) < position(&Step::ApplyKubeletConfig));
    assert!(position(&Step::ApplyKubeletConfig) < position(&Step::ApplyMachineConfig));
    assert!(
        !steps.contains(&Step::ApplyTuned),
        "a node must not be half tuned"
    );
}

#[test]
fn a_settled_profile_has_no_step() {
    let mut world = World::new(true);
    world.settle();
    assert_eq!(decide(&world), []);
}

#[test]
fn an_edit_that_reboots_pauses_first_and_waits_with_tuned() {
    let mut world = World::new(true);
    world.settle();
    world.edit(2);
    let steps = decide(&world);
    assert!(
        matches!(steps.first(), Some(Step::Pause { .. })),
        "{steps:?}"
    );
    assert!(!steps.contains(&Step::ApplyTuned));
}

#[test]
fn an_edit_that_does_not_reboot_does_not_pause() {
    let mut world = World::new(true);
    world.settle();
    world.edit_tuned("x");
    assert_eq!(decide(&world), [Step::ApplyTuned]);
}

#[test]
fn an_admins_pause_is_kept_and_changes_are_written() {
    let mut world = World::new(true);
    world.settle();
    world.admin_pause();
    world.edit(2);
    let steps = decide(&world);
    assert!(
        matches!(steps.first(), Some(Step::ConfirmPaused { .. })),
        "{steps:?}"
    );
    assert!(steps.contains(&Step::ApplyMachineConfig));
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Step::Wait(Wait::AdminUnpause(_))))
    );
    assert!(
        !steps
            .iter()
            .any(|step| matches!(step, Step::Unpause { .. }))
    );
}

#[test]
fn a_paused_profile_writes_nothing_at_all() {
    let mut world = World::new(true);
    world.rollout_pause = true;
    assert_eq!(decide(&world), [Step::Wait(Wait::RolloutPaused)]);
}

#[test]
fn an_invalid_profile_writes_nothing() {
    let mut world = World::new(true);
    world.settle();
    world.edit(2);
    world.invalid = true;
    assert_eq!(decide(&world), [Step::Wait(Wait::Invalid)]);
}

#[test]
fn a_missing_pool_that_is_not_ours_to_make_is_waited_for() {
    let mut world = World::new(false);
    world.pool = None;
    let steps = decide(&world);
    assert!(
        steps.contains(&Step::Wait(Wait::PoolMissing("rt".into()))),
        "{steps:?}"
    );
    assert!(!steps.contains(&Step::ApplyMachineConfig));
}

#[test]
fn a_refused_kubelet_config_keeps_the_pool_paused_and_says_why() {
    let mut world = World::new(true);
    world.refuse_kubelet_config = true;
    for _ in 0..20 {
        world.operator(usize::MAX);
        world.everything_else();
    }
    assert_eq!(
        decide(&world),
        [Step::Wait(Wait::KubeletConfig(Some("no".into())))]
    );
    assert_eq!(
        pause_of(world.pool.as_ref().unwrap(), "rt-profile"),
        Pause::Ours
    );
    world.refuse_kubelet_config = false;
    world.edit(2);
    world.settle();
    assert_eq!(
        pause_of(world.pool.as_ref().unwrap(), "rt-profile"),
        Pause::No
    );
}

#[test]
fn the_kubelet_config_is_not_edited_while_the_machine_config_operator_looks_at_it() {
    let mut world = World::new(true);
    world.settle();
    world.edit(2);
    // Paused, written, and not looked at yet; the next edit comes.
    world.operator(usize::MAX);
    world.edit(3);
    let steps = decide(&world);
    assert!(
        steps.contains(&Step::Wait(Wait::KubeletConfig(None))),
        "{steps:?}"
    );
    assert!(!steps.contains(&Step::ApplyKubeletConfig), "{steps:?}");
    let before = world.changes();
    world.settle();
    assert_eq!(
        world.changes(),
        before.iter().map(|count| count + 1).collect::<Vec<_>>()
    );
}

#[test]
fn where_nobody_looks_at_a_kubelet_config_it_is_edited_all_the_same() {
    let mut world = World::new(true);
    world.operator(usize::MAX);
    world.operator(usize::MAX);
    world.edit(2);
    assert!(decide(&world).contains(&Step::ApplyKubeletConfig));
}

#[test]
fn the_last_look_before_an_unpause_is_at_what_was_generated() {
    let mut world = World::new(true);
    for _ in 0..20 {
        world.operator(usize::MAX);
        if let [.., Step::ConfirmUnchanged { .. }, Step::Unpause { .. }] = &decide(&world)[..] {
            return;
        }
        world.everything_else();
        if let [.., Step::ConfirmUnchanged { .. }, Step::Unpause { .. }] = &decide(&world)[..] {
            return;
        }
    }
    unreachable!("{:?}", decide(&world));
}

#[test]
fn an_edit_that_only_removes_waits_for_the_render_too() {
    let mut world = World::new(true);
    world.settle();
    world.edit(2);
    world.settle();
    let before = world.changes();
    world.edit_arguments(&["a=2"]);
    world.operator(usize::MAX);
    let steps = decide(&world);
    assert!(
        !steps
            .iter()
            .any(|step| matches!(step, Step::Unpause { .. })),
        "{steps:?}"
    );
    world.settle();
    assert_eq!(
        world.changes(),
        before.iter().map(|count| count + 1).collect::<Vec<_>>()
    );
}

#[test]
fn hand_edits_and_deletions_are_restored() {
    let mut world = World::new(true);
    world.settle();
    world.machine_config.as_mut().unwrap().spec.kernel_arguments = Some(vec!["hand=1".into()]);
    assert!(decide(&world).contains(&Step::ApplyMachineConfig));
    world.settle();
    world.kubelet_config = None;
    world.settle();
    assert!(world.kubelet_config.is_some());
    world.machine_config.as_mut().unwrap().spec.extensions = Some(vec!["usbguard".into()]);
    assert!(decide(&world).contains(&Step::ApplyMachineConfig));
    world.settle();
    assert_eq!(decide(&world), []);
}

#[test]
fn a_rendered_name_belongs_to_one_pool_only() {
    use super::removal::is_rendered_for;
    let name = "rendered-worker-rt-4570236c749b78d7875c759b86f13d36";
    assert!(is_rendered_for(name, "worker-rt"));
    assert!(!is_rendered_for(name, "worker"));
    assert!(!is_rendered_for("rendered-worker-", "worker"));
}

#[test]
fn a_pool_of_ours_is_emptied_before_anything_is_deleted() {
    let mut world = World::new(true);
    world.settle();
    world.delete();
    let steps = decide(&world);
    assert!(
        steps
            .iter()
            .any(|step| matches!(step, Step::EmptyPool { .. })),
        "{steps:?}"
    );
    assert!(
        !steps.iter().any(|step| matches!(step, Step::Delete { .. })),
        "{steps:?}"
    );
}

#[test]
fn the_same_input_gives_the_same_objects() {
    assert_eq!(
        rendered(&valid(true), 1).kubelet_config,
        rendered(&valid(true), 1).kubelet_config
    );
    assert_eq!(profile().name_any(), "rt-profile");
    assert_eq!(json!(1), json!(1));
}

fn rounds() -> ProptestConfig {
    ProptestConfig {
        cases: 128,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(rounds())]

    // Created, edited in several fields at once, deleted; renders, status updates and crashes at any moment: each
    // node gets one new desired configuration a change, and at the end nothing of ours is left.
    #[test]
    fn every_change_reaches_every_node_once(ours: bool, choices in proptest::collection::vec(any::<u8>(), 0..500)) {
        let mut world = World::new(ours);
        let mut choices = choices.into_iter();
        world.play(&mut choices, false);
        prop_assert_eq!(world.changes(), vec![1, 1, 1], "after the creation");
        prop_assert_eq!(decide(&world), vec![]);
        world.edit(2);
        world.play(&mut choices, false);
        prop_assert_eq!(world.changes(), vec![2, 2, 2], "after the edit");
        world.delete();
        world.play(&mut choices, false);
        prop_assert_eq!(world.changes(), vec![3, 3, 3], "after the deletion");
        prop_assert!(world.is_clean(), "{:?}", world);
        prop_assert_eq!(world.pool.is_some(), !ours, "an existing pool stays");
    }

    // The same with an admin who pauses and unpauses when he likes, and edits in the middle of everything.
    #[test]
    fn an_admins_pause_is_never_undone_and_ours_never_forgotten(ours: bool, choices in proptest::collection::vec(any::<u8>(), 0..800)) {
        let mut world = World::new(ours);
        let mut choices = choices.into_iter();
        for version in 2..6 {
            world.play_some(&mut choices, 60, true);
            world.edit(version);
        }
        world.play(&mut choices, true);
        prop_assert!(!world.undid_admin);
        prop_assert_eq!(decide(&world), vec![]);
        prop_assert_eq!(pause_of(world.pool.as_ref().unwrap(), "rt-profile"), Pause::No);
        world.delete();
        world.play(&mut choices, true);
        prop_assert!(!world.undid_admin);
        prop_assert!(world.is_clean());
    }
}

proptest! {
    // A world with daemons has more steps: fewer of them.
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    // As above, where the nodes' daemons switch the kernel: never two nodes down, never in a pool that rolls out, never two
    // drivers; one reboot by the daemon for each way, and one by the Machine Config Operator for each configuration.
    #[test]
    fn daemons_take_turns_there_and_back(ours: bool, choices in proptest::collection::vec(any::<u8>(), 0..600)) {
        let mut world = World::with_daemons(ours);
        let mut choices = choices.into_iter();
        world.play(&mut choices, false);
        prop_assert_eq!(world.daemon_reboots(), vec![1, 1, 1], "{:?}", decide(&world));
        prop_assert_eq!(decide(&world), vec![]);
        world.edit(2);
        world.play(&mut choices, false);
        prop_assert_eq!(world.daemon_reboots(), vec![1, 1, 1]);
        prop_assert_eq!(pause_of(world.pool.as_ref().unwrap(), "rt-profile"), Pause::No);
        world.delete();
        world.play(&mut choices, false);
        prop_assert_eq!(world.daemon_reboots(), vec![2, 2, 2]);
        prop_assert_eq!(world.daemon_kernels(), vec![false; 3]);
        prop_assert!(world.is_clean(), "{:?}", world);
    }

    #[test]
    fn a_kernel_that_changes_hands_has_one_driver_at_any_time(ours: bool, choices in proptest::collection::vec(any::<u8>(), 0..600)) {
        use crate::api::realtime_profile::KernelProvider::{MachineConfigOperator, NodeDaemon};
        let mut world = World::with_daemons(ours);
        let mut choices = choices.into_iter();
        for (provider, realtime) in [(NodeDaemon, true), (MachineConfigOperator, false), (NodeDaemon, true)] {
            world.provider(provider);
            world.play(&mut choices, false);
            prop_assert_eq!(world.daemon_kernels(), vec![realtime; 3], "{:?}", decide(&world));
        }
        // Changed in the middle, as often as one likes.
        for provider in [MachineConfigOperator, NodeDaemon, MachineConfigOperator] {
            world.provider(provider);
            world.play_some(&mut choices, 30, false);
        }
        world.play(&mut choices, false);
        prop_assert_eq!(world.daemon_kernels(), vec![false; 3]);
        prop_assert_eq!(decide(&world), vec![]);
    }

    #[test]
    fn daemons_and_an_admin(ours: bool, choices in proptest::collection::vec(any::<u8>(), 0..800)) {
        let mut world = World::with_daemons(ours);
        let mut choices = choices.into_iter();
        for version in 2..5 {
            world.play_some(&mut choices, 60, true);
            world.edit(version);
        }
        world.play(&mut choices, true);
        prop_assert!(!world.undid_admin);
        prop_assert_eq!(decide(&world), vec![]);
        prop_assert_eq!(world.daemon_reboots(), vec![1, 1, 1]);
        prop_assert_eq!(pause_of(world.pool.as_ref().unwrap(), "rt-profile"), Pause::No);
        world.delete();
        world.play(&mut choices, true);
        prop_assert!(!world.undid_admin && world.is_clean());
        prop_assert_eq!(world.daemon_kernels(), vec![false; 3]);
    }
}
