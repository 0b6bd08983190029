//! The daemon in a machine with a PREEMPT_RT kernel and cgroup version 2 alone, as a node of a real API server outside with
//! the shipped rights and policies: pods that ask for a policy get it, budgets are counted, and what is used beyond them is
//! told. Kubelet and runtime are played; the groups, the kernel and the daemon are real.
//!
//! Everything shares one machine, since booting it takes longer than the test. This test binary is itself what runs in the machine: there, with [`INSIDE`] set, it is the `hands`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at what it doesn't expect"
)]

#[path = "vm_cluster/hands.rs"]
mod hands;
#[path = "vm_cluster/machine.rs"]
mod machine;
#[path = "vm_cluster/node.rs"]
mod node;
mod on_cluster;

use hands::NODE;
use machine::Machine;
use node::{Node, REQUIRED, SCHEDULER, Start, entry, said};
use on_cluster::Cluster;
use realtime_core::api::realtime_node::BudgetMode;
use serde_json::json;

/// Set in the machine.
const INSIDE: &str = "REALTIME_TEST_INSIDE_VM";
/// For all pods together, microseconds of each second.
const CAPACITY_US: i64 = 200_000;
const PLAIN: Start = Start {
    hook: false,
    restarts: 0,
};

#[tokio::test(flavor = "multi_thread")]
async fn pods_of_a_cluster_get_their_policies_where_the_kernel_has_no_budgets() {
    if std::env::var_os(INSIDE).is_some() {
        return hands::work();
    }
    let folder = tempfile::tempdir().unwrap();
    let actor = realtime_testing::actor::build(folder.path()).unwrap();
    let cluster = Cluster::start().await;
    cluster.node(NODE).await;
    cluster
        .wish(
            NODE,
            json!({"profile": "lathes", "podBudget": {
                "capacityMicroseconds": CAPACITY_US, "maxPerContainerMicroseconds": 150_000,
            }}),
        )
        .await;
    let kubeconfig = cluster.daemon_kubeconfig(NODE).await;
    let booted = tokio::task::block_in_place(|| {
        Machine::boot(
            "pods_of_a_cluster_get_their_policies_where_the_kernel_has_no_budgets",
            &kubeconfig,
            &actor,
        )
    });
    let machine = match booted {
        Ok(machine) => machine,
        Err(reason) => return realtime_testing::skip(&reason),
    };
    let mut node = Node::new(cluster, machine);

    before_the_kubelet(&mut node).await;
    let lathe = policy_of_all_threads(&mut node).await;
    let mill = before_the_start(&mut node).await;
    let saw = no_room(&mut node, &mill).await;
    required(&mut node).await;
    more_than_asked_for(&mut node, &saw).await;
    killed(&mut node, &lathe, saw).await;
    let outcome = node.machine.end();
    println!("in the machine: {:?}", outcome.took);
    assert_eq!(outcome.exit_code, Some(0), "{}", outcome.console);
}

/// The daemon comes first, and finds the kubelet's group later.
async fn before_the_kubelet(node: &mut Node) {
    node.machine.ask(&json!({"do": "daemon"}));
    let told = node
        .told("the mode is told", |told| told.mode.is_some())
        .await;
    assert_eq!(told.mode, Some(BudgetMode::V2Policy));
    assert_eq!(
        told.evidence.as_deref(),
        // The gate is open, and this kernel is one that Linux has merged.
        Some(
            "a thread in a group of its own became SCHED_FIFO; the gate V2Hcbs is open, and no group has cpu.rt.max"
        )
    );
    assert_eq!(
        (
            told.remedy,
            told.capacity_microseconds,
            told.allocated_microseconds
        ),
        (None, Some(CAPACITY_US), Some(0))
    );
    let object = node.cluster.realtime_nodes().get(NODE).await.unwrap();
    let conditions = json!(object.status.unwrap().conditions);
    let ready = conditions
        .as_array()
        .unwrap()
        .iter()
        .find(|condition| condition["type"] == "BudgetReady")
        .unwrap();
    assert_eq!(
        (&ready["status"], &ready["reason"]),
        (&json!("True"), &json!("PolicyOnly"))
    );
    node.machine.ask(&json!({"do": "kubelet"}));
}

/// First threads, children, new threads, and a process that came from outside; nothing beside the container.
async fn policy_of_all_threads(node: &mut Node) -> String {
    node.pod("plain", None, &[]).await;
    let (plain, _) = node.start("plain", PLAIN).await;
    node.pod("lathe", Some(100_000), &[(SCHEDULER, "fifo:50")])
        .await;
    let beside = node.beside("lathe");
    let (lathe, _) = node.start("lathe", PLAIN).await;
    node.machine.tell(&lathe, "thread", 0);
    node.machine.tell(&lathe, "fork", 0);
    node.threads("threads and children", &lathe, &["Fifo 50"; 3])
        .await;
    let told = node
        .told("it is told", |told| {
            said(told, "lathe").starts_with("Applied")
        })
        .await;
    assert_eq!(said(&told, "lathe"), "Applied - 100000 of 100000 fifo:50");
    assert_eq!(told.allocated_microseconds, Some(100_000));
    node.event(
        "lathe",
        "RealtimeApplied",
        "100000 µs of each second on each CPU and fifo:50",
    )
    .await;
    // As by `kubectl exec`.
    node.machine.ask(&json!({"do": "exec", "id": lathe}));
    node.threads("a program from outside", &lathe, &["Fifo 50"; 4])
        .await;
    for id in beside.iter().chain([&plain]) {
        node.threads("beside it", id, &["Other 0"]).await;
    }
    lathe
}

/// With the hook, before the program's first instruction; a thread that doesn't block is ended; and again after a restart.
async fn before_the_start(node: &mut Node) -> String {
    let wish = "fifo:30,reset-on-fork,rttime-us=200000";
    node.pod("mill", Some(60_000), &[(SCHEDULER, wish)]).await;
    let hook = Start {
        hook: true,
        restarts: 0,
    };
    let (mill, seen) = node.start("mill", hook).await;
    println!("with the hook: {seen}");
    assert_eq!(seen["hook"]["code"], 0, "{}", node.machine.log(60));
    assert_eq!(seen["threads"], json!(["Fifo 30 reset"]), "{seen}");
    node.machine.tell(&mill, "thread", 0);
    node.threads(
        "its children are ordinary",
        &mill,
        &["Fifo 30 reset", "Other 0"],
    )
    .await;
    let told = node
        .told("it is told", |told| {
            // A round that came before the hook took the program for one that has begun: it isn't the runtime's.
            entry(told, "mill").is_some_and(|mill| mill.assigned_before_start == Some(true))
        })
        .await;
    assert_eq!(said(&told, "mill"), "Applied - 60000 of 60000 fifo:30");

    node.machine.tell(&mill, "fifo", 30);
    node.machine.tell(&mill, "spin", 30_000);
    let signal = node.machine.ask(&json!({"do": "ended", "id": mill}));
    // SIGXCPU.
    assert_eq!(signal, 24);
    node.machine.ask(&json!({"do": "end", "id": mill}));
    let again = Start {
        hook: false,
        restarts: 1,
    };
    let (mill, _) = node.start("mill", again).await;
    node.threads("after a restart", &mill, &["Fifo 30 reset"])
        .await;
    let told = node
        .told("it is told", |told| {
            // Nobody has told of it this time.
            entry(told, "mill").is_some_and(|mill| mill.assigned_before_start == Some(false))
        })
        .await;
    assert_eq!(said(&told, "mill"), "Applied - 60000 of 60000 fifo:30");
    assert_eq!(told.allocated_microseconds, Some(160_000));
    mill
}

/// What is over the capacity gets nothing until there is room. The mill goes.
async fn no_room(node: &mut Node, mill: &str) -> String {
    node.pod("saw", Some(100_000), &[(SCHEDULER, "fifo:10")])
        .await;
    let (saw, _) = node.start("saw", PLAIN).await;
    let told = node
        .told("one too many", |told| {
            said(told, "saw").starts_with("Refused")
        })
        .await;
    assert_eq!(said(&told, "saw"), "Refused NoRoom 0 of 100000 fifo:10");
    node.event("saw", "RealtimeRefused", "NoRoom").await;
    node.threads("who is refused gets nothing", &saw, &["Other 0"])
        .await;
    // Room comes.
    node.delete("mill").await;
    node.machine.ask(&json!({"do": "end", "id": mill}));
    node.threads("room has come", &saw, &["Fifo 10"]).await;
    let told = node
        .told("it is told", |told| {
            said(told, "saw").starts_with("Applied")
        })
        .await;
    assert_eq!(said(&told, "saw"), "Applied - 100000 of 100000 fifo:10");
    assert_eq!(told.allocated_microseconds, Some(CAPACITY_US));
    saw
}

/// Nothing is left, and the pod would rather not start then.
async fn required(node: &mut Node) {
    let wish = [(SCHEDULER, "fifo:10"), (REQUIRED, "true")];
    node.pod("glutton", Some(5_000), &wish).await;
    let hook = Start {
        hook: true,
        restarts: 0,
    };
    let (glutton, seen) = node.start("glutton", hook).await;
    println!("with the hook: {seen}");
    // Refused, and its pod says not to start it then.
    assert_eq!(seen["hook"]["code"], 3, "{seen}");
    assert_eq!(seen["threads"], json!(["Other 0"]));
    let said = seen["hook"]["said"].as_str().unwrap();
    let words = "5000 µs of each second are asked for, 0 are free on this node";
    assert!(said.contains(words), "{seen}");
    node.delete("glutton").await;
    node.machine.ask(&json!({"do": "end", "id": glutton}));
}

/// Nothing holds it back, but it is told. On an isolated CPU, as it should be: on any other it would also keep the kernel
/// thread away that runs other programs' timers there (`ktimers`, SCHED_FIFO 1), and the daemon would wait for its own.
async fn more_than_asked_for(node: &mut Node, saw: &str) {
    let thread = node.machine.tell(saw, "spin", 60_000);
    let pinned = node
        .machine
        .ask(&json!({"do": "pin", "thread": thread, "mask": "4"}));
    assert_eq!(pinned, 0);
    let told = node
        .told("an overrun", |told| said(told, "saw").contains("Overrun"))
        .await;
    println!("{:?}", entry(&told, "saw").unwrap().message);
    assert_eq!(
        said(&told, "saw"),
        "Applied Overrun 100000 of 100000 fifo:10"
    );
    assert_eq!(said(&told, "lathe"), "Applied - 100000 of 100000 fifo:50");
    let words = "more than the 100000 µs of each second";
    node.event("saw", "Overrun", words).await;
}

/// Nothing is lost with the daemon, and what came meanwhile is found.
async fn killed(node: &mut Node, lathe: &str, saw: String) {
    const LATE: [&str; 3] = ["late", "later", "latest"];
    // In its place one that has a share, and no real-time thread that would show it.
    node.delete("saw").await;
    node.machine.ask(&json!({"do": "end", "id": saw}));
    node.pod("quiet", Some(100_000), &[]).await;
    node.start("quiet", PLAIN).await;
    node.told("its share", |told| {
        said(told, "quiet") == "Applied - 100000 of 100000 -:0"
    })
    .await;
    let killed = node.machine.ask(&json!({"do": "kill daemon"}));
    assert_eq!(killed["hadEnded"], false);
    node.pod("drill", None, &[(SCHEDULER, "rr:20")]).await;
    let (drill, _) = node.start("drill", PLAIN).await;
    // Their uids are by chance: some of their groups come before the others'.
    for late in LATE {
        node.pod(late, Some(5_000), &[]).await;
        node.start(late, PLAIN).await;
    }
    node.machine.ask(&json!({"do": "exec", "id": lathe}));
    node.machine.ask(&json!({"do": "daemon"}));
    node.threads("what came meanwhile", &drill, &["RoundRobin 20"])
        .await;
    let told = node
        .told("all are told", |told| {
            said(told, "drill").starts_with("Applied")
                && LATE
                    .iter()
                    .all(|late| said(told, late).starts_with("Refused"))
        })
        .await;
    // Whoever had his share keeps it, whatever the order of names.
    for late in LATE {
        assert_eq!(said(&told, late), "Refused NoRoom 0 of 5000 -:0");
    }
    assert_eq!(said(&told, "lathe"), "Applied - 100000 of 100000 fifo:50");
    assert_eq!(said(&told, "quiet"), "Applied - 100000 of 100000 -:0");
    assert_eq!(said(&told, "drill"), "Applied - 0 of 0 rr:20");
    assert_eq!(said(&told, "plain"), "nothing");
    assert_eq!(told.allocated_microseconds, Some(CAPACITY_US));
}
