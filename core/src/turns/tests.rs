//! Single decisions, and what no decision may ever do.

use proptest::prelude::*;

use super::*;

fn node(name: &str) -> Node {
    Node {
        name: name.to_owned(),
        resource_version: format!("{name}-1"),
        turn: Some(NodeTurn::Wanted),
        current: true,
        ready: true,
        ..Node::default()
    }
}

fn inputs(nodes: &[Node]) -> Inputs<'_> {
    Inputs {
        nodes,
        max_unavailable: 1,
        canaries: 0,
        latency_gate: false,
        pool: Pool::Ours,
        hold: None,
    }
}

fn granted(decision: &Decision) -> Vec<&str> {
    let grants = decision.grants.iter();
    grants.map(|turn| turn.node.as_str()).collect()
}

fn taken_back(decision: &Decision) -> Vec<&str> {
    let turns = decision.take_back.iter();
    turns.map(|turn| turn.node.as_str()).collect()
}

fn why<'a>(decision: &'a Decision, node: &str) -> &'a str {
    let mut waits = decision.waits.iter();
    waits
        .find(|wait| wait.node == node)
        .map_or("", |wait| &wait.what)
}

#[test]
fn the_first_by_name_gets_the_only_turn() {
    let nodes = [node("n2"), node("n1")];
    let decision = decide(&inputs(&nodes));
    assert_eq!(granted(&decision), ["n1"]);
    assert!(decision.busy && decision.take_back.is_empty());
    assert!(why(&decision, "n2").contains("maxUnavailable is 1"));
}

#[test]
fn an_unpaused_pool_is_paused_first() {
    let nodes = [node("n1")];
    let decision = decide(&Inputs {
        pool: Pool::Free,
        ..inputs(&nodes)
    });
    assert!(decision.pause && decision.grants.is_empty() && !decision.busy);
}

#[test]
fn whoever_is_out_of_service_takes_a_place() {
    let out: [fn(&mut Node); 6] = [
        |node| node.granted = true,
        |node| node.turn = Some(NodeTurn::Taken),
        |node| node.cordon = Cordon::Others,
        |node| node.cordon = Cordon::Ours,
        |node| node.ready = false,
        |node| node.word = Word::Degraded("no space".into()),
    ];
    for change in out {
        let mut nodes = [node("n1"), node("n2")];
        change(&mut nodes[0]);
        let decision = decide(&inputs(&nodes));
        assert!(!granted(&decision).contains(&"n2"), "{nodes:?}");
    }
}

#[test]
fn a_place_is_taken_once_a_node() {
    // What we cordoned before a crash goes on.
    let mut nodes = [node("n1"), node("n2")];
    nodes[0].cordon = Cordon::Ours;
    assert_eq!(granted(&decide(&inputs(&nodes))), ["n1"]);
}

#[test]
fn the_machine_config_operator_goes_first() {
    for (state, words) in [
        (
            MachineConfigState::Busy,
            "Machine Config Operator to be done with node n2",
        ),
        (
            MachineConfigState::Degraded,
            "n2, which failed on its configuration",
        ),
    ] {
        let mut nodes = [node("n1"), node("n2"), node("n3")];
        nodes[1].machine_config = state;
        let decision = decide(&Inputs {
            max_unavailable: 3,
            ..inputs(&nodes)
        });
        assert_eq!(granted(&decision), Vec::<&str>::new());
        assert!(why(&decision, "n1").contains(words), "{decision:?}");
    }
}

#[test]
fn canaries_go_first_and_the_rest_when_they_are_proved() {
    let mut nodes = [node("n1"), node("n2"), node("n3")];
    let wide = |nodes: &[Node], gate| {
        let all = inputs(nodes);
        decide(&Inputs {
            canaries: 1,
            latency_gate: gate,
            max_unavailable: 3,
            ..all
        })
    };
    let decision = wide(&nodes, false);
    assert_eq!(granted(&decision), ["n1"]);
    assert_eq!(why(&decision, "n2"), "canary n1 to be Ready");
    nodes[0].turn = None;
    nodes[0].word = Word::Ready;
    assert_eq!(granted(&wide(&nodes, false)), ["n2", "n3"]);
    assert_eq!(
        why(&wide(&nodes, true), "n2"),
        "canary n1 to pass its latency check"
    );
    nodes[0].latency_passed = Some(true);
    assert_eq!(granted(&wide(&nodes, true)), ["n2", "n3"]);
    // Its word about a former spec is none about this one.
    nodes[0].current = false;
    assert_eq!(granted(&wide(&nodes, true)), Vec::<&str>::new());
    nodes[0].word = Word::Degraded("no such package.".into());
    assert_eq!(
        why(&wide(&nodes, true), "n2"),
        "node n1, which failed, to be seen to: no such package"
    );
}

#[test]
fn a_turn_that_is_over_is_taken_back_and_counts_until_it_is() {
    let mut nodes = [node("n1"), node("n2")];
    nodes[0].granted = true;
    nodes[0].turn = None;
    nodes[0].word = Word::Ready;
    let decision = decide(&inputs(&nodes));
    assert_eq!(taken_back(&decision), ["n1"]);
    assert_eq!((granted(&decision), decision.busy), (vec![], true));
    assert_eq!(decision.out, ["n1"]);
}

#[test]
fn a_turn_that_was_begun_is_never_taken_back() {
    let mut nodes = [node("n1")];
    nodes[0].granted = true;
    nodes[0].turn = Some(NodeTurn::Taken);
    nodes[0].cordon = Cordon::Others;
    for pool in [Pool::None, Pool::Free, Pool::Ours, Pool::Others] {
        let decision = decide(&Inputs {
            pool,
            hold: Some("the profile to be mended".into()),
            ..inputs(&nodes)
        });
        assert_eq!((taken_back(&decision), decision.busy), (vec![], true));
    }
}

#[test]
fn a_turn_that_was_not_begun_is_taken_back_when_it_would_not_be_given() {
    let mut nodes = [node("n1"), node("n2")];
    nodes[0].granted = true;
    assert_eq!(taken_back(&decide(&inputs(&nodes))), Vec::<&str>::new());
    let unpaused = Inputs {
        pool: Pool::Free,
        ..inputs(&nodes)
    };
    assert_eq!(taken_back(&decide(&unpaused)), ["n1"]);
    // Another node fell out of service meanwhile.
    nodes[1].ready = false;
    assert_eq!(taken_back(&decide(&inputs(&nodes))), ["n1"]);
}

fn any_node() -> impl Strategy<Value = Node> {
    let turn = prop_oneof![
        Just(None),
        Just(Some(NodeTurn::Wanted)),
        Just(Some(NodeTurn::Wanted)),
        Just(Some(NodeTurn::Taken)),
    ];
    let word = prop_oneof![
        3 => Just(Word::Other),
        2 => Just(Word::Ready),
        1 => Just(Word::Degraded("x".into())),
    ];
    let cordon = prop_oneof![
        4 => Just(Cordon::No),
        1 => Just(Cordon::Ours),
        1 => Just(Cordon::Others),
    ];
    let state = prop_oneof![
        6 => Just(MachineConfigState::Done),
        1 => Just(MachineConfigState::Busy),
        1 => Just(MachineConfigState::Degraded),
    ];
    let often = || prop::bool::weighted(0.85);
    (
        (prop::bool::weighted(0.3), turn, often(), word),
        (
            prop::option::of(any::<bool>()),
            cordon,
            often(),
            state,
            any::<bool>(),
        ),
    )
        .prop_map(
            |((granted, turn, current, word), (latency, cordon, ready, state, back))| Node {
                name: String::new(),
                resource_version: String::new(),
                granted,
                turn,
                current,
                word,
                latency_passed: latency,
                cordon,
                ready,
                machine_config: state,
                going_back: back,
            },
        )
}

proptest! {
    #[test]
    fn no_decision_breaks_a_rule(
        mut nodes in proptest::collection::vec(any_node(), 0..7),
        max_unavailable in 1_usize..4,
        canaries in 0_usize..3,
        latency_gate: bool,
        pool in prop_oneof![Just(Pool::None), Just(Pool::Free), Just(Pool::Ours), Just(Pool::Others)],
    ) {
        for (number, node) in nodes.iter_mut().enumerate() {
            node.name = format!("n{number}");
            node.resource_version = number.to_string();
        }
        let inputs = Inputs { nodes: &nodes, max_unavailable, canaries, latency_gate, pool, hold: None };
        let decision = decide(&inputs);
        let of = |turn: &Turn| nodes.iter().find(|node| node.name == turn.node).unwrap();
        let down = nodes.iter().filter(|node| node.out_of_service().is_some()).count();
        let more = decision.grants.iter().filter(|turn| of(turn).out_of_service().is_none()).count();
        prop_assert!(decision.grants.is_empty() || down + more <= max_unavailable);
        for turn in &decision.grants {
            let node = of(turn);
            prop_assert!(node.turn == Some(NodeTurn::Wanted) && !node.granted && node.current && node.ready);
            prop_assert!(node.cordon != Cordon::Others);
            prop_assert!(matches!(pool, Pool::None | Pool::Ours));
            prop_assert!(nodes.iter().all(|node| node.machine_config == MachineConfigState::Done));
        }
        for turn in &decision.take_back {
            prop_assert!(of(turn).granted && of(turn).turn != Some(NodeTurn::Taken));
        }
        prop_assert!(!decision.pause || pool == Pool::Free);
        // Whoever asked is answered: a grant, a label already, or a reason.
        for node in nodes.iter().filter(|node| node.turn == Some(NodeTurn::Wanted) && !node.granted) {
            let given = decision.grants.iter().any(|turn| turn.node == node.name);
            let told = decision.waits.iter().any(|wait| wait.node == node.name && !wait.what.is_empty());
            prop_assert!(given != told);
        }
        let mut reversed = nodes.clone();
        reversed.reverse();
        prop_assert_eq!(decide(&Inputs { nodes: &reversed, ..inputs }), decision);
    }
}
