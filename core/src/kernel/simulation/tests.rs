//! Whole flows: something happens after every single step, enumerated; and combinations of faults, drawn.

use proptest::prelude::*;

use super::host::REALTIME;
use super::*;
use crate::api::realtime_node::NodeTurn;
use crate::api::realtime_profile::PackageSource;

const KERNEL_RT: [&str; 2] = ["kernel-rt-core", "kernel-rt-modules"];

pub(super) fn wanted(realtime: bool) -> Wanted {
    Wanted {
        realtime,
        ours: true,
        arguments_ours: true,
        arguments: ["isolcpus=2-3", "hugepagesz=1G", "hugepages=4"]
            .map(str::to_owned)
            .to_vec(),
        ..Wanted::default()
    }
}

pub(super) fn from_files() -> (Wanted, Offered) {
    let mut wanted = wanted(true);
    wanted.packages.source = Some(PackageSource {
        directory: Some("/rpms".into()),
        ..Default::default()
    });
    let files = ["core", "modules", "modules-core", "modules-extra"].map(|part| {
        let nevra = format!("kernel-rt-{part}-{STOCK}");
        (Nevra::parse(&nevra).unwrap(), format!("/cache/{nevra}.rpm"))
    });
    (wanted, Offered::Files(files.to_vec()))
}

/// A host that was switched by ourselves.
pub(super) fn switched() -> World<OstreeHost> {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.run(0, None);
    assert_eq!(world.phase(), NodePhase::Ready, "{}", world.story());
    world.reboots = 0;
    world.steps = 0;
    world.log.clear();
    world
}

/// What holds at every rest, whatever happened.
pub(super) fn sound<H: Host>(world: &World<H>) {
    let story = world.story();
    let boot = world.host.boot();
    assert_ne!(
        world.node.cordon,
        Cordon::Ours,
        "a cordon is forgotten\n{story}"
    );
    assert_eq!(world.node.turn, None, "a turn is forgotten\n{story}");
    match world.phase() {
        NodePhase::Ready => {
            assert_eq!(boot.realtime, world.wanted.realtime, "{story}");
            assert!(
                arguments::missing(&world.wanted.arguments, &boot.command_line).is_empty(),
                "{story}"
            );
            assert_eq!(world.record.pinned, None, "a pin is forgotten\n{story}");
        }
        NodePhase::Degraded => {}
        other => panic!("at rest in {other:?}\n{story}"),
    }
}

fn sound_ostree(world: &World<OstreeHost>, foreign: bool) {
    sound(world);
    let (list, story) = (&world.host.list, world.story());
    if !foreign {
        assert!(list[0].0.booted, "something is left pending\n{story}");
    }
    let pinned = list
        .iter()
        .filter(|(deployment, _)| deployment.pinned)
        .count();
    assert!(
        pinned == 0 || world.host.pin_fails,
        "a pin is forgotten\n{story}"
    );
}

#[test]
fn a_switch_costs_one_reboot_and_so_does_the_way_back() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
    assert_eq!(
        world.record.attempt.as_ref().unwrap().dropped,
        ["kernel-rt-kvm"]
    );
    world.wanted.realtime = false;
    world.wanted.arguments.clear();
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 2),
        "{}",
        world.story()
    );
    assert_eq!(
        world.host.boot().command_line,
        "BOOT_IMAGE=x root=UUID=0 rw quiet"
    );
    assert_eq!(world.host.list[0].0.requests().count(), 0);
}

#[test]
fn stock_on_a_stock_host_is_no_step_at_all() {
    let mut stock = wanted(false);
    stock.arguments.clear();
    let mut world = World::new(OstreeHost::stock(), stock);
    world.run(0, None);
    assert_eq!((world.steps, world.phase()), (1, NodePhase::Ready));
}

#[test]
fn from_files_too() {
    let (wanted, source) = from_files();
    let mut world = World::new(OstreeHost::stock(), wanted);
    world.source = source;
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
    // A newer one of the same directory: one transaction, one reboot.
    let newer = ["core", "modules"].map(|part| {
        let nevra = format!("kernel-rt-{part}-5.14.0-427.26.1.el9_4.x86_64");
        (Nevra::parse(&nevra).unwrap(), format!("/cache/{nevra}.rpm"))
    });
    world.source = Offered::Files(newer.to_vec());
    world.offered = None;
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 2),
        "{}",
        world.story()
    );
    assert!(world.log.iter().any(|line| line.contains("RpmOstree([\"uninstall\", \"kernel-rt-core-5.14.0-427.24.1")), "{}", world.story());
}

/// Files are installed while an enabled repository is gone (scene H of the recordings: its words are a 404), and a newer
/// set in the place of an older one too: `uninstall` has no --cache-only.
#[test]
fn files_need_no_repository() {
    let (wanted, source) = from_files();
    let mut world = World::new(OstreeHost::stock(), wanted);
    world.source = source;
    world.host.repository_gone = true;
    for (reboots, version) in [(1, "427.24.1"), (2, "427.26.1")] {
        world.run(0, None);
        sound_ostree(&world, false);
        assert_eq!(
            (world.phase(), world.reboots),
            (NodePhase::Ready, reboots),
            "{version}\n{}",
            world.story()
        );
        assert!(!world.story().contains("\"-m\""), "{}", world.story());
        let newer = ["core", "modules"].map(|part| {
            let nevra = format!("kernel-rt-{part}-5.14.0-427.26.1.el9_4.x86_64");
            (Nevra::parse(&nevra).unwrap(), format!("/cache/{nevra}.rpm"))
        });
        world.source = Offered::Files(newer.to_vec());
        world.offered = None;
    }
    assert!(
        world.story().contains("RpmOstree([\"install\", "),
        "{}",
        world.story()
    );
}

/// Serials are given again: what an admin stages has the id of ours that the last shutdown lost.
#[test]
fn an_id_that_is_given_again_is_not_ours() {
    let mut stock = wanted(false);
    stock.arguments = vec!["skew_tick=1".into()];
    let mut world = World::new(OstreeHost::stock(), stock);
    world.host.reboot_faults.push_back(Fault::FinalizeFails);
    world.run(0, None);
    assert_eq!(
        (world.reason(), world.reboots),
        ("NoSpaceInBoot", 1),
        "{}",
        world.story()
    );
    world.host.foreign_arguments();
    let id = world.host.list[0].0.id.clone();
    let ours = world
        .record
        .attempt
        .as_ref()
        .and_then(|attempt| attempt.staged.as_ref());
    assert_eq!(ours.map(|staged| &staged.id), Some(&id));
    world.run(0, None);
    assert_eq!(world.host.list[0].0.id, id, "{}", world.story());
}

/// A command was turned away because another one ran; it is tried again, and the daemon is killed while it runs.
#[test]
fn what_a_second_try_stages_is_ours() {
    for at in 0..40 {
        let mut world = with(Fault::Busy);
        world.run(at, Some(Crash::Between));
        sound_ostree(&world, false);
        assert_eq!(
            (world.phase(), world.reboots),
            (NodePhase::Ready, 1),
            "{at}\n{}",
            world.story()
        );
    }
}

/// Step by step up to something.
fn until<H: Host>(world: &mut World<H>, there: impl Fn(&World<H>) -> bool) {
    for _ in 0..STEP_LIMIT {
        if there(world) {
            return;
        }
        world.step(None);
    }
    panic!("it never comes\n{}", world.story());
}

/// What an admin stages while a command of ours that failed waits for its next try is his.
#[test]
fn what_is_staged_within_a_back_off_is_not_ours() {
    for wait in [false, true] {
        let mut world = with(Fault::Fails);
        until(&mut world, |world| world.story().contains("failed:"));
        // One look at what the command left; and the pause.
        world.step(None);
        if wait {
            world.step(None);
            assert!(world.story().contains(" Wait {"), "{}", world.story());
        }
        world.host.foreign_layer("vim");
        let id = world.host.list[0].0.id.clone();
        world.run(0, None);
        assert_eq!(
            (world.phase(), world.reason(), world.node.turn),
            (NodePhase::Pending, "ForeignDeployment", None),
            "{}",
            world.story()
        );
        assert_eq!(world.host.list[0].0.id, id, "{}", world.story());
        world.host.foreign_cleanup();
        world.run(0, None);
        sound_ostree(&world, false);
        assert_eq!(
            (world.phase(), world.reboots),
            (NodePhase::Ready, 1),
            "{}",
            world.story()
        );
    }
}

/// As before, with the daemon kept from its next try by an admin's cordon: the look that sees this is the first one.
#[test]
fn what_is_staged_while_a_cordon_stops_a_failed_try_is_not_ours() {
    let mut world = with(Fault::Fails);
    until(&mut world, |world| world.story().contains("failed:"));
    world.node.cordon = Cordon::Others;
    for _ in 0..3 {
        world.step(None);
    }
    world.host.foreign_layer("vim");
    let id = world.host.list[0].0.id.clone();
    world.node.cordon = Cordon::No;
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reason(), world.node.turn),
        (NodePhase::Pending, "ForeignDeployment", None),
        "{}",
        world.story()
    );
    assert_eq!(world.host.list[0].0.id, id, "{}", world.story());
}

/// A node on which the attempt has come to a bad end needs nothing of rpm-ostree any more.
#[test]
fn a_node_that_was_given_up_is_given_back_whoever_works() {
    let mut world = with(Fault::FallsBack);
    until(&mut world, |world| world.phase() == NodePhase::Degraded);
    world.node.turn = Some(NodeTurn::Taken);
    world.node.cordon = Cordon::Ours;
    world.host.transaction = true;
    for _ in 0..3 {
        world.step(None);
    }
    assert_eq!(
        (
            world.phase(),
            world.reason(),
            world.node.turn,
            world.node.cordon
        ),
        (NodePhase::Degraded, "BootedOld", None, Cordon::No),
        "{}",
        world.story()
    );
}

/// Somebody else's transaction that hangs after the reboot: the node takes pods again, and the next one has its turn.
#[test]
fn a_node_that_came_up_as_wanted_is_given_back_whoever_works() {
    let (of_files, source) = from_files();
    let mut files = World::new(OstreeHost::stock(), of_files);
    files.source = source;
    for mut world in [World::new(OstreeHost::stock(), wanted(true)), files] {
        until(&mut world, |world| world.reboots > 0);
        world.host.transaction = true;
        for _ in 0..5 {
            world.step(None);
        }
        assert_eq!(
            (world.phase(), world.reason()),
            (NodePhase::Ready, "TransactionRunning"),
            "{}",
            world.story()
        );
        assert_eq!(
            (world.node.turn, world.node.cordon),
            (None, Cordon::No),
            "{}",
            world.story()
        );
        world.host.transaction = false;
        world.run(0, None);
        sound_ostree(&world, false);
        assert_eq!(
            (world.phase(), world.reboots),
            (NodePhase::Ready, 1),
            "{}",
            world.story()
        );
    }
}

/// Before the reboot the turn is kept: what is staged is ours, and boots next.
#[test]
fn a_turn_in_use_is_kept_while_somebody_works() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    until(&mut world, |world| world.phase() == NodePhase::Draining);
    world.host.transaction = true;
    // The kernel that runs is wanted again.
    world.wanted.realtime = false;
    world.wanted.arguments.clear();
    for _ in 0..5 {
        world.step(None);
        assert_eq!(world.reason(), "TransactionRunning", "{}", world.story());
    }
    assert_eq!(world.node.turn, Some(NodeTurn::Taken), "{}", world.story());
}

/// From one real-time kernel to another only the source says which one is wanted: a daemon that is started anew in between
/// looks there before it boots anything, and before the former kernel passes for the new one.
#[test]
fn another_package_and_another_argument_are_one_reboot_whenever_the_daemon_is_killed() {
    let mut start = switched();
    start.wanted.arguments.push("skew_tick=1".into());
    start.wanted.packages.install = KERNEL_RT
        .into_iter()
        .chain(["tuna"])
        .map(str::to_owned)
        .collect();
    for at in 0..30 {
        for crash in [Crash::Daemon, Crash::Between, Crash::ForeignReboot] {
            let mut world = start.clone();
            world.run(at, Some(crash));
            sound_ostree(&world, false);
            let story = world.story();
            assert_eq!(
                (world.phase(), world.reason()),
                (NodePhase::Ready, "AsExpected"),
                "{crash:?} after step {at}\n{story}"
            );
            let booted = &world.host.list[world.host.booted()].0;
            assert!(
                booted.packages.contains(&"tuna".to_owned()),
                "{crash:?} after step {at}\n{story}"
            );
            assert!(world.reboots <= 1, "{crash:?} after step {at}\n{story}");
        }
    }
}

/// What an orderly reboot by somebody brought up before the daemon looked is taken back as everything else of ours.
#[test]
fn arguments_that_another_reboot_brought_go_on_the_way_back() {
    for at in 0..25 {
        let mut world = World::new(OstreeHost::stock(), wanted(true));
        world.run(at, Some(Crash::ForeignReboot));
        world.wanted.realtime = false;
        world.wanted.arguments.clear();
        world.run(0, None);
        sound_ostree(&world, false);
        assert_eq!(
            (world.phase(), world.host.boot().command_line.as_str()),
            (NodePhase::Ready, "BOOT_IMAGE=x root=UUID=0 rw quiet"),
            "after step {at}\n{}",
            world.story()
        );
    }
}

/// The operator takes a Ready node's RealtimeNode away, and nobody would take the pin back.
#[test]
fn a_node_on_the_way_back_is_not_ready_while_something_of_ours_is_left() {
    let mut world = switched();
    world.wanted.realtime = false;
    world.wanted.arguments.clear();
    until(&mut world, |world| world.reboots > 0);
    world.host.transaction = true;
    for _ in 0..5 {
        world.step(None);
        assert_ne!(world.phase(), NodePhase::Ready, "{}", world.story());
    }
    assert_eq!(
        (world.node.turn, world.node.cordon),
        (None, Cordon::No),
        "{}",
        world.story()
    );
    world.host.transaction = false;
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(world.phase(), NodePhase::Ready, "{}", world.story());
}

/// An update whose base has a package keeps the request for it, without effect.
#[test]
fn a_request_that_an_update_made_needless_is_no_fault() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.wanted.packages.install = KERNEL_RT
        .into_iter()
        .chain(["tuna"])
        .map(str::to_owned)
        .collect();
    world.run(0, None);
    let at = world.host.booted();
    world.host.list[at].0.packages.retain(|name| name != "tuna");
    world.offered = None;
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reason()),
        (NodePhase::Ready, "AsExpected"),
        "{}",
        world.story()
    );
    world.wanted.arguments.push("skew_tick=1".into());
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 2),
        "{}",
        world.story()
    );
}

/// The record says whose removal it was.
#[test]
fn an_admins_own_removal_stays() {
    let mut host = OstreeHost::stock();
    host.run(&Command::RpmOstree(
        ["override", "remove", "kernel-modules-extra"]
            .map(str::to_owned)
            .to_vec(),
    ))
    .unwrap();
    host.reboot(true);
    let mut stock = wanted(false);
    stock.arguments.clear();
    let mut world = World::new(host, stock.clone());
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 0),
        "{}",
        world.story()
    );
    world.wanted = wanted(true);
    world.run(0, None);
    world.wanted = stock;
    world.run(0, None);
    sound_ostree(&world, false);
    let booted = &world.host.list[world.host.booted()].0;
    assert_eq!(
        (
            world.phase(),
            world.reboots,
            booted.requested_base_removals.as_slice()
        ),
        (
            NodePhase::Ready,
            2,
            ["kernel-modules-extra".to_owned()].as_slice()
        ),
        "{}",
        world.story()
    );
}

/// Every kind of crash after every single step, of both directions.
#[test]
fn whatever_happens_after_any_step_ends_well() {
    let to_realtime = World::new(OstreeHost::stock(), wanted(true));
    let mut to_stock = switched();
    to_stock.wanted.realtime = false;
    to_stock.wanted.arguments.clear();
    let mut flows = 0;
    for start in [to_realtime, to_stock] {
        let mut plain = start.clone();
        plain.run(0, None);
        for at in 0..=plain.steps {
            for crash in CRASHES {
                let mut world = start.clone();
                world.run(at, Some(crash));
                let foreign = matches!(crash, Crash::ForeignArguments);
                if foreign && world.phase() == NodePhase::Pending {
                    // Held by nobody while it waits for whoever staged that; and then it goes on.
                    assert_eq!(
                        (world.node.turn, world.node.cordon),
                        (None, Cordon::No),
                        "{}",
                        world.story()
                    );
                    world.host.foreign_cleanup();
                    world.run(0, None);
                }
                sound_ostree(&world, foreign);
                // What else is wanted may need a reboot of its own. After a power cut there is none but the one.
                let most = match crash {
                    Crash::Turned | Crash::OtherArguments => 2,
                    _ => 1,
                };
                assert!(
                    world.reboots <= most,
                    "{crash:?} after step {at}: {} reboots\n{}",
                    world.reboots,
                    world.story()
                );
                if matches!(
                    crash,
                    Crash::Daemon
                        | Crash::Between
                        | Crash::AdminCordon
                        | Crash::Turned
                        | Crash::OtherArguments
                ) {
                    assert_eq!(
                        world.phase(),
                        NodePhase::Ready,
                        "{crash:?} after step {at}\n{}",
                        world.story()
                    );
                }
                flows += 1;
            }
        }
    }
    println!("{flows} flows with something happening after a step");
}

pub(super) fn with(fault: Fault) -> World<OstreeHost> {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.host.not_offered.clear();
    match fault {
        Fault::FinalizeFails | Fault::FallsBack | Fault::NotRealtime | Fault::LosesArgument => {
            world.host.reboot_faults.push_back(fault);
        }
        Fault::PinFails => world.host.pin_fails = true,
        // The first command is the one for the arguments.
        _ => {
            world.host.faults.push_back(Fault::PinFails);
            world.host.faults.push_back(fault);
        }
    }
    world
}

/// Each fault by name: how it ends, with how many reboots.
#[test]
fn each_fault_has_its_end() {
    for (fault, reason, reboots) in [
        (Fault::Fails, "AsExpected", 1),
        (Fault::Busy, "AsExpected", 1),
        (Fault::FailsButStages, "AsExpected", 1),
        (Fault::DoesNothing, "ResultDiffers", 0),
        (Fault::Inactive, "OverrideInactive", 0),
        (Fault::Part, "ResultDiffers", 0),
        (Fault::Damaged, "AsExpected", 1),
        (Fault::Stale, "AsExpected", 1),
        (Fault::NoSpace, "NoSpaceInSysroot", 0),
        (Fault::Depsolve, "DepsolveFailed", 0),
        (Fault::FinalizeFails, "NoSpaceInBoot", 1),
        (Fault::FallsBack, "BootedOld", 1),
        (Fault::NotRealtime, "RolledBack", 2),
        (Fault::LosesArgument, "ArgumentsMissing", 1),
        (Fault::PinFails, "AsExpected", 1),
    ] {
        let mut world = with(fault);
        world.run(0, None);
        sound_ostree(&world, false);
        assert_eq!(
            (world.reason(), world.reboots),
            (reason, reboots),
            "{fault:?}\n{}",
            world.story()
        );
        let boot = world.host.boot();
        let as_it_was =
            boot.release == STOCK && boot.command_line == "BOOT_IMAGE=x root=UUID=0 rw quiet";
        assert!(
            world.phase() == NodePhase::Ready || as_it_was || fault == Fault::LosesArgument,
            "{fault:?}\n{}",
            world.story()
        );
        if world.phase() == NodePhase::Degraded {
            // At rest for good, and another attempt when a person asks for one.
            let steps = world.steps;
            world.run(0, None);
            assert!(world.steps <= steps + 3, "{}", world.story());
            if fault != Fault::LosesArgument {
                world.wanted.retry = Some("again".into());
                world.run(0, None);
                assert_eq!(
                    world.phase(),
                    NodePhase::Ready,
                    "{fault:?}\n{}",
                    world.story()
                );
            }
        }
    }
}

#[test]
fn pods_that_stay_give_the_node_back() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.pods_stay = true;
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!((world.reason(), world.reboots), ("DrainBlocked", 0));
    assert!(
        world.last.as_ref().unwrap().conditions[0]
            .message
            .contains("shop/till-0")
    );
}

#[test]
fn an_update_that_carries_the_kernel_is_left_alone_and_one_that_loses_it_is_made_good() {
    let mut world = switched();
    world.host.foreign_update("base2", true);
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reason(), world.reboots),
        (NodePhase::Ready, "ForeignDeployment", 0)
    );
    world.host.reboot(true);
    world.offered = None;
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 0),
        "{}",
        world.story()
    );

    let mut world = switched();
    world.host.foreign_update("base2", false);
    world.run(0, None);
    assert_eq!((world.phase(), world.reboots), (NodePhase::Ready, 0));
    assert!(
        world.last.as_ref().unwrap().conditions[0]
            .message
            .contains("NOT")
    );
    world.host.reboot(true);
    world.offered = None;
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
}

#[test]
fn a_newer_kernel_by_name_is_taken_when_a_person_asks() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.host.offers = "5.14.0-427.20.1.el9_4.x86_64+rt";
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reason(), world.reboots),
        (NodePhase::Ready, "VersionsDiffer", 1),
        "{}",
        world.story()
    );
    // Nothing newer is there: nothing is booted, nothing is left.
    world.wanted.retry = Some("1".into());
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reason(), world.reboots),
        (NodePhase::Ready, "VersionsDiffer", 1),
        "{}",
        world.story()
    );
    world.host.offers = REALTIME;
    world.wanted.retry = Some("2".into());
    world.reboots = 1;
    let start = world.clone();
    for at in 0..25 {
        for crash in [Crash::Daemon, Crash::Between] {
            let mut world = start.clone();
            world.run(at, Some(crash));
            sound_ostree(&world, false);
            assert_eq!(
                (world.reason(), world.reboots),
                ("AsExpected", 2),
                "{crash:?} after step {at}: {}",
                world.story()
            );
        }
    }
    world.run(0, None);
    sound_ostree(&world, false);
    assert_eq!(
        (world.phase(), world.reason(), world.reboots),
        (NodePhase::Ready, "AsExpected", 2),
        "{}",
        world.story()
    );
    assert!(
        world.story().contains("\"uninstall\", \"kernel-rt-core\""),
        "{}",
        world.story()
    );
}

/// The annotation stays on the node for ever: it asks once, not at each update of the operating system.
#[test]
fn an_old_retry_annotation_asks_for_nothing_more() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.host.offers = "5.14.0-427.20.1.el9_4.x86_64+rt";
    world.wanted.retry = Some("1".into());
    world.run(0, None);
    world.host.foreign_update("base2", true);
    world.host.reboot(true);
    world.offered = None;
    world.host.offers = REALTIME;
    let reboots = world.reboots;
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reason(), world.reboots),
        (NodePhase::Ready, "VersionsDiffer", reboots),
        "{}",
        world.story()
    );
    world.wanted.retry = Some("2".into());
    world.run(0, None);
    assert_eq!(
        (world.reason(), world.reboots),
        ("AsExpected", reboots + 1),
        "{}",
        world.story()
    );
}

#[test]
fn what_somebody_undoes_is_not_fought_over() {
    let mut world = switched();
    world.host.foreign_update("base", false);
    world.host.reboot(true);
    world.run(0, None);
    assert_eq!(
        (world.reason(), world.reboots),
        ("Undone", 0),
        "{}",
        world.story()
    );
    sound_ostree(&world, false);
}

#[test]
fn no_room_in_boot_is_said_before_anything_is_begun() {
    let mut world = World::new(OstreeHost::stock(), wanted(true));
    world.host.room = Some((10 << 20, 100 << 20));
    world.run(0, None);
    assert_eq!((world.reason(), world.node.turn), ("NoSpaceInBoot", None));
    assert!(!world.log.iter().any(|line| line.contains("Run(")));
}

#[test]
fn plain_rpm_hosts() {
    let mut world = World::new(RpmHost::stock(), wanted(true));
    world.run(0, None);
    sound(&world);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
    // An update's new stock kernel becomes the default: put right without a reboot and without a turn.
    world.host.upgraded();
    world.run(0, None);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
    assert!(world.host.default.ends_with("+rt"));
    world.wanted.realtime = false;
    world.wanted.arguments.clear();
    world.run(0, None);
    sound(&world);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 2),
        "{}",
        world.story()
    );
    assert!(
        !world
            .host
            .packages
            .iter()
            .any(|package| package.name.contains("rt")),
        "{}",
        world.story()
    );
}

/// dnf's own unit outlives the daemon, and the new kernel's entry is there before its initramfs.
#[test]
fn nothing_is_done_before_the_dnf_of_an_earlier_daemon_has_ended() {
    let mut world = World::new(RpmHost::stock(), wanted(true));
    world.host.not_offered.clear();
    until(&mut world, |world| {
        let step = next(&world.wanted, &world.observed()).step;
        matches!(step, Step::Run(Command::Dnf(_)))
    });
    world.step(Some(Crash::Between));
    assert!(world.host.dnf_runs && world.host.entries.len() == 3);
    world.run(0, None);
    sound(&world);
    assert!(world.story().contains("A dnf that this daemon began"));
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
}

/// What was there before us stays when the stock kernel comes back.
#[test]
fn packages_of_the_admin_are_not_removed() {
    let mut world = World::new(RpmHost::stock(), wanted(true));
    world.wanted.packages.install = [
        "kernel-rt-core",
        "kernel-rt-modules",
        "tuned-profiles-realtime",
        "rt-tests",
    ]
    .map(str::to_owned)
    .to_vec();
    let admins = Nevra::parse("tuned-profiles-realtime-2.24.0-1.el9.noarch").unwrap();
    world.host.packages.push(admins.clone());
    let before = world.host.packages.clone();
    world.run(0, None);
    assert_eq!(world.phase(), NodePhase::Ready, "{}", world.story());
    assert_eq!(
        world.record.installed,
        ["kernel-rt-core", "kernel-rt-modules", "rt-tests"]
    );
    world.wanted.realtime = false;
    world.wanted.arguments.clear();
    world.run(0, None);
    sound(&world);
    assert_eq!(world.phase(), NodePhase::Ready, "{}", world.story());
    assert_eq!(world.host.packages, before, "{}", world.story());
}

/// dnf takes a request with a version.
#[test]
fn plain_rpm_hosts_with_a_version() {
    let mut world = World::new(RpmHost::stock(), wanted(true));
    let versions = KERNEL_RT.map(|name| format!("{name}-{}", super::STOCK));
    world.wanted.packages.install = versions.to_vec();
    world.run(0, None);
    sound(&world);
    assert_eq!(
        (world.phase(), world.reboots),
        (NodePhase::Ready, 1),
        "{}",
        world.story()
    );
    world.wanted = wanted(false);
    world.wanted.arguments.clear();
    world.run(0, None);
    sound(&world);
    let left = world.host.packages.iter();
    assert_eq!(
        left.filter(|package| packages::is_realtime(&package.name))
            .count(),
        0,
        "{}",
        world.story()
    );
}

#[test]
fn plain_rpm_hosts_whatever_happens() {
    let to_realtime = World::new(RpmHost::stock(), wanted(true));
    let mut to_stock = to_realtime.clone();
    to_stock.run(0, None);
    to_stock.reboots = 0;
    to_stock.steps = 0;
    to_stock.wanted.realtime = false;
    to_stock.wanted.arguments.clear();
    for start in [to_realtime.clone(), to_stock] {
        let mut plain = start.clone();
        plain.run(0, None);
        for at in 0..=plain.steps {
            for crash in CRASHES {
                let mut world = start.clone();
                world.run(at, Some(crash));
                sound(&world);
                let most = if matches!(crash, Crash::Turned | Crash::OtherArguments) {
                    2
                } else {
                    1
                };
                assert!(
                    world.reboots <= most,
                    "{crash:?} after step {at}: {}",
                    world.story()
                );
                assert_eq!(
                    world.phase(),
                    NodePhase::Ready,
                    "{crash:?} after step {at}: {}",
                    world.story()
                );
            }
        }
    }
    for (fault, reason, reboots) in [
        (Fault::Fails, "AsExpected", 1),
        (Fault::Busy, "AsExpected", 1),
        (Fault::DoesNothing, "ResultDiffers", 0),
        (Fault::NoSpace, "NoSpaceInSysroot", 0),
        (Fault::FallsBack, "BootedOld", 1),
        (Fault::NotRealtime, "RolledBack", 2),
    ] {
        let mut world = to_realtime.clone();
        if matches!(fault, Fault::FallsBack | Fault::NotRealtime) {
            world.host.reboot_faults.push_back(fault);
        } else {
            world.host.faults.push_back(fault);
        }
        world.run(0, None);
        sound(&world);
        assert_eq!(
            (world.reason(), world.reboots),
            (reason, reboots),
            "{fault:?}\n{}",
            world.story()
        );
        assert!(
            world.phase() == NodePhase::Ready || world.host.default == world.host.running,
            "{}",
            world.story()
        );
    }
}

fn fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::Fails,
        Fault::Busy,
        Fault::FailsButStages,
        Fault::DoesNothing,
        Fault::Inactive,
        Fault::Part,
        Fault::Damaged,
        Fault::Stale,
        Fault::NoSpace,
        Fault::Depsolve,
        Fault::PinFails,
    ])
}

fn reboot_fault() -> impl Strategy<Value = Fault> {
    prop::sample::select(vec![
        Fault::PinFails,
        Fault::FinalizeFails,
        Fault::FallsBack,
        Fault::NotRealtime,
        Fault::LosesArgument,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Faults, crashes and changes of mind together: always at rest, sound, with few reboots.
    #[test]
    fn any_mix_of_faults_ends_well(
        faults in prop::collection::vec(fault(), 0..5),
        reboots in prop::collection::vec(reboot_fault(), 0..3),
        crashes in prop::collection::vec((0..40usize, prop::sample::select(CRASHES.to_vec())), 0..3),
        begin in any::<bool>(),
    ) {
        let mut world = if begin { switched() } else { World::new(OstreeHost::stock(), wanted(true)) };
        if begin {
            world.wanted.realtime = false;
        }
        world.host.faults.extend(faults);
        world.host.reboot_faults.extend(reboots);
        let mut rest = false;
        let turns = crashes.iter().filter(|(_, crash)| matches!(crash, Crash::Turned | Crash::OtherArguments)).count();
        let foreign = crashes.iter().any(|(_, crash)| *crash == Crash::ForeignArguments);
        for step in 0..STEP_LIMIT {
            let crash = crashes.iter().find(|(at, _)| *at == step).map(|(_, crash)| *crash);
            let goes_on = world.step(crash);
            if !goes_on && crashes.iter().all(|(at, _)| *at <= step) {
                rest = true;
                break;
            }
        }
        // A foreign deployment is waited for as long as it is there.
        if !rest && foreign && world.reason() == "ForeignDeployment" {
            return Ok(());
        }
        prop_assert!(rest, "no rest\n{}", world.log[world.log.len() - 30..].join("\n"));
        sound_ostree(&world, foreign);
        let most = 2 * (1 + u32::try_from(turns).unwrap());
        prop_assert!(world.reboots <= most, "{} reboots\n{}", world.reboots, world.story());
    }

    /// Where the Machine Config Operator switches the kernel no command is ever run, whatever there is.
    #[test]
    fn no_command_where_it_is_not_ours(steps in 0..30usize, begin in any::<bool>(), realtime in any::<bool>(), settled in any::<Option<bool>>()) {
        let mut world = if begin { switched() } else { World::new(OstreeHost::stock(), wanted(true)) };
        for _ in 0..steps {
            world.step(None);
        }
        world.wanted.ours = false;
        world.wanted.realtime = realtime;
        world.node.settled = settled;
        for _ in 0..5 {
            let decided = next(&world.wanted, &world.observed());
            let commands = matches!(decided.step, Step::Run(_) | Step::Reboot | Step::Cordon | Step::Drain | Step::WantTurn | Step::TakeTurn);
            prop_assert!(!commands, "{:?}", decided.step);
            world.step(None);
        }
        prop_assert!(world.node.turn != Some(NodeTurn::Taken));
    }
}
