//! The coordination of operator, two daemons, Machine Config Operator and admin, explored exhaustively: a crash of any
//! of them after any step, and everything else that can go wrong, up to a number of faults. The decisions are made by
//! the very functions of `core` that the product runs: `turns::decide` and `kernel::next`.
//!
//! Safety is checked in every state. That every run ends is checked in every state too: from there, without a further
//! fault and with everybody going on in turn, the world must come to rest in the wanted state, or Degraded with a
//! kernel that boots.

#![allow(
    clippy::disallowed_types,
    reason = "a test tells how long it took; what it calls has no clock"
)]

mod host;
mod world;

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use stateright::{Checker as _, HasDiscoveries, Model, Property};
use world::{Action, Mco, NODES, Phase, Start, World};

/// States from which the end was seen to be good, by their hash.
static ENDS_WELL: Mutex<Option<HashSet<u64>>> = Mutex::new(None);

struct Coordination {
    start: World,
}

impl Model for Coordination {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![self.start.clone()]
    }

    fn actions(&self, state: &World, actions: &mut Vec<Action>) {
        state.actions(actions);
    }

    fn next_state(&self, state: &World, action: Action) -> Option<World> {
        let next = state.after(&action);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("nothing forbidden happens", |_, world: &World| {
                world.broken.is_none()
            }),
            Property::always("every run ends well", |_, world: &World| {
                ends_well(world).is_ok()
            }),
        ]
    }
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// Where fair rounds without a further fault end.
fn end_of(world: &World) -> World {
    let mut world = world.clone();
    world.faults = 0;
    for _ in 0..400 {
        let before = world.clone();
        round(&mut world);
        if world == before {
            break;
        }
    }
    world
}

/// Everybody goes on once, in turn.
fn round(world: &mut World) {
    let mut actions = Vec::new();
    world.actions(&mut actions);
    for action in actions {
        let mut possible = Vec::new();
        world.actions(&mut possible);
        if possible.contains(&action) {
            *world = world.after(&action);
        }
    }
}

/// Fair rounds without a further fault, until nothing moves.
fn ends_well(world: &World) -> Result<(), String> {
    let mut world = world.clone();
    world.faults = 0;
    let mut met = Vec::new();
    for _ in 0..400 {
        let now = hash(&world);
        if ENDS_WELL
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|known| known.contains(&now))
        {
            break;
        }
        met.push(now);
        let before = world.clone();
        round(&mut world);
        if world == before {
            at_rest(&world)?;
            break;
        }
        if met.len() == 400 {
            return Err("it never comes to rest".to_owned());
        }
    }
    ENDS_WELL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .get_or_insert_default()
        .extend(met);
    Ok(())
}

/// What holds when nothing moves any more.
fn at_rest(world: &World) -> Result<(), String> {
    if let Some(broken) = world.broken {
        return Err(broken.to_owned());
    }
    if world.pool.paused {
        return Err("a pause is forgotten".to_owned());
    }
    let failed = world
        .nodes
        .iter()
        .any(|node| node.reported.phase == Some(Phase::Degraded));
    for (index, node) in world.nodes.iter().enumerate() {
        let of = |what: &str| Err(format!("node-{index}: {what}"));
        if node.our_cordon || node.mco_cordon {
            return of("a cordon is forgotten");
        }
        if node.mco != Mco::Done || node.config != world.pool.target {
            return of("its configuration is not the target");
        }
        if node.reported.label {
            return of("a turn is forgotten");
        }
        let runs = node.host.booted().realtime;
        match node.reported.phase {
            Some(Phase::Ready) if runs == world.wanted => {
                // A pin that could not be taken off three times stays in the record, and is told.
                let kept = node.host.record.pinned.is_some();
                if !kept && node.host.deployments.iter().any(|d| d.pinned) {
                    return of("a pin is forgotten");
                }
            }
            Some(Phase::Ready) => return of("says Ready with the wrong kernel"),
            Some(Phase::Degraded) => {
                if node.host.deployments[0].staged {
                    return of("is Degraded with something staged");
                }
            }
            // Somebody else's deployment did not come up and boots next again: neither taken away nor built upon.
            _ if node.host.deployments[0].foreign && !node.host.deployments[0].booted => {}
            // Who asked for a turn waits for somebody to see to the node that failed.
            _ if failed => {}
            _ => return of("is neither Ready nor Degraded"),
        }
    }
    Ok(())
}

/// Explores, and prints how much.
fn explore(name: &str, start: World) {
    let faults = start.faults;
    let how = if start.at_once {
        "steps on a host at once"
    } else {
        "every step apart"
    };
    *ENDS_WELL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    let began = Instant::now();
    let checker = Coordination { start }
        .checker()
        .threads(2)
        .finish_when(HasDiscoveries::AnyFailures)
        .spawn_bfs()
        .join();
    println!(
        "{name}, at most {faults} faults, {how}: {} states explored, {} of them different, {:.1} s",
        checker.state_count(),
        checker.unique_state_count(),
        began.elapsed().as_secs_f32()
    );
    if let Some((property, path)) = checker.discoveries().into_iter().next() {
        let last = path.last_state().clone();
        let actions: Vec<String> = path
            .into_actions()
            .iter()
            .map(|action| format!("{action:?}"))
            .collect();
        let nodes: Vec<String> = (0..NODES)
            .map(|index| format!("node-{index} next: {:?}", end_of(&last).next(index)))
            .collect();
        let failure = format!(
            "{property}: {:?}\nafter {}\n{}\nending as {:#?}",
            last.broken
                .map_or_else(|| ends_well(&last), |what| Err(what.to_owned())),
            actions.join("\n  "),
            nodes.join("\n"),
            end_of(&last)
        );
        assert!(failure.is_empty(), "{failure}");
    }
}

/// One test: the cores are shared, and what ends well is remembered in one place.
#[test]
fn every_run_keeps_the_rules_and_ends_well() {
    assert_eq!(NODES, 2);
    let start = |pools, realtime, wanted| Start {
        pools,
        realtime,
        wanted,
    };
    for (name, start) in [
        (
            "without pools, to the real-time kernel",
            start(false, false, true),
        ),
        (
            "without pools, back to the stock kernel",
            start(false, true, false),
        ),
        (
            "with the Machine Config Operator, to the real-time kernel",
            start(true, false, true),
        ),
        (
            "with the Machine Config Operator, back",
            start(true, true, false),
        ),
    ] {
        // Unoptimised it takes ten times as long: one fault then, and the whole in `make test`'s own phase.
        let explorations = if cfg!(debug_assertions) {
            [(0, true), (1, false)]
        } else {
            [(2, false), (3, true)]
        };
        for (faults, at_once) in explorations {
            explore(name, World::new(start, faults, at_once));
        }
    }
}
