//! What a Node must advertise of the extended resource, and the patch of its status that brings it there. Decides
//! only; who may ask for how much is the scheduler's to count, and what a pod gets the daemon's to settle.
//!
//! The resource's name is ours alone: what a Node advertises under it and no RealtimeNode accounts for is taken away,
//! whoever put it there. Capacity and allocatable are both written: a kubelet derives the latter from the former only
//! at its next report, up to ten seconds later, and the scheduler looks at the latter alone.

use k8s_openapi::api::core::v1::Node;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::{Value, json};

use super::micros::PERIOD_US;
use crate::api::RealtimeNode;
use crate::api::realtime_node::BudgetMode;
use crate::names::RESOURCE_RUNTIME_US;
use crate::quantity::Quantity;

/// What a Node's status shall say of the resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// This many microseconds of each second: 0 to 1,000,000.
    Microseconds(i64),
    /// The resource isn't there at all.
    Nothing,
}

/// What the Node of this RealtimeNode must advertise. `profile_lives`: its profile is there and not being deleted.
///
/// In this order:
/// 1. Without its profile nothing more shall come to the node: nothing.
/// 2. Pods have no budgets by the profile (`podBudget` absent or disabled): nothing.
/// 3. The daemon hasn't said that it serves pods (V1Budget or V2Policy), or not how much: nothing.
/// 4. A number that no node can have (below zero, above the whole period): nothing.
/// 5. Otherwise the daemon's number; zero too, so that a kubelet that checks finds it too small and not absent, which
///    would let a pod pass.
pub fn wanted(node: Option<&RealtimeNode>, profile_lives: bool) -> Wanted {
    microseconds(node, profile_lives).map_or(Wanted::Nothing, Wanted::Microseconds)
}

fn microseconds(node: Option<&RealtimeNode>, profile_lives: bool) -> Option<i64> {
    let node = node.filter(|_| profile_lives)?;
    node.spec.pod_budget.as_ref()?;
    let budget = node.status.as_ref()?.pod_budget.as_ref()?;
    let serves = match budget.mode? {
        BudgetMode::V1Budget | BudgetMode::V2Policy => true,
        BudgetMode::Blocked | BudgetMode::Off => false,
    };
    let capacity = budget.capacity_microseconds.filter(|_| serves)?;
    u64::try_from(capacity)
        .is_ok_and(|micros| micros <= PERIOD_US)
        .then_some(capacity)
}

/// The JSON merge patch of the Node's status that brings it there; `None` when it is there.
///
/// An absent `allocatable` is read as the same as `capacity`, as the API server itself does.
pub fn patch(node: &Node, wanted: Wanted) -> Option<Value> {
    let (capacity, allocatable) = advertised(node);
    let value = match wanted {
        Wanted::Microseconds(micros) if is(capacity, micros) && is(allocatable, micros) => {
            return None;
        }
        Wanted::Nothing if capacity.is_none() && allocatable.is_none() => return None,
        Wanted::Microseconds(micros) => Value::String(micros.to_string()),
        Wanted::Nothing => Value::Null,
    };
    let both = json!({RESOURCE_RUNTIME_US: value});
    Some(json!({"status": {"capacity": both, "allocatable": both}}))
}

fn advertised(node: &Node) -> (Option<&Text>, Option<&Text>) {
    let Some(status) = &node.status else {
        return (None, None);
    };
    let capacity = status.capacity.as_ref();
    let capacity = capacity.and_then(|list| list.get(RESOURCE_RUNTIME_US));
    let allocatable = match &status.allocatable {
        Some(list) => list.get(RESOURCE_RUNTIME_US),
        None => capacity,
    };
    (capacity, allocatable)
}

/// The API server writes 800000 as `800k`.
fn is(text: Option<&Text>, micros: i64) -> bool {
    let found = text.and_then(|text| text.0.parse::<Quantity>().ok());
    found.is_some_and(|found| micros.to_string().parse() == Ok(found))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn realtime_node(budget: bool, status: &Value) -> RealtimeNode {
        let spec = budget.then(
            || json!({"capacityMicroseconds": 800_000, "maxPerContainerMicroseconds": 500_000}),
        );
        serde_json::from_value(json!({
            "apiVersion": "realtime.openshift.io/v1alpha1", "kind": "RealtimeNode",
            "metadata": {"name": "loom"},
            "spec": {"profile": "weaving", "podBudget": spec},
            "status": {"podBudget": status}
        }))
        .expect("a RealtimeNode")
    }

    fn node(capacity: &Value, allocatable: &Value) -> Node {
        let status = json!({"capacity": capacity, "allocatable": allocatable});
        serde_json::from_value(json!({"metadata": {"name": "loom"}, "status": status}))
            .expect("a Node")
    }

    #[test]
    fn the_daemons_number_is_wanted_where_pods_have_budgets_by_profile_and_kernel() {
        let said =
            |mode: &str| json!({"mode": mode, "capacityMicroseconds": 700_000, "containers": []});
        for (mode, wants) in [
            ("V1Budget", Wanted::Microseconds(700_000)),
            ("V2Policy", Wanted::Microseconds(700_000)),
            ("Blocked", Wanted::Nothing),
            ("Off", Wanted::Nothing),
        ] {
            let node = realtime_node(true, &said(mode));
            assert_eq!(wanted(Some(&node), true), wants, "{mode}");
            assert_eq!(wanted(Some(&node), false), Wanted::Nothing);
            let disabled = realtime_node(false, &said(mode));
            assert_eq!(wanted(Some(&disabled), true), Wanted::Nothing);
        }
        assert_eq!(wanted(None, true), Wanted::Nothing);
        for (capacity, wants) in [
            (json!(0), Wanted::Microseconds(0)),
            (json!(1_000_000), Wanted::Microseconds(1_000_000)),
            (json!(1_000_001), Wanted::Nothing),
            (json!(-1), Wanted::Nothing),
            (json!(null), Wanted::Nothing),
        ] {
            let said = json!({"mode": "V1Budget", "capacityMicroseconds": capacity});
            assert_eq!(
                wanted(Some(&realtime_node(true, &said)), true),
                wants,
                "{said}"
            );
        }
        assert_eq!(
            wanted(Some(&realtime_node(true, &json!(null))), true),
            Wanted::Nothing
        );
    }

    #[test]
    fn a_patch_names_our_resource_alone_and_only_when_it_differs() {
        let of = |text: &str| json!({"cpu": "8", RESOURCE_RUNTIME_US: text});
        let nothing = json!({"cpu": "8"});
        let wanted = Wanted::Microseconds(800_000);
        let both = |value: Value| {
            let list = json!({RESOURCE_RUNTIME_US: value});
            Some(json!({"status": {"capacity": list, "allocatable": list}}))
        };
        for there in ["800000", "800k", "8e5"] {
            assert_eq!(patch(&node(&of(there), &of(there)), wanted), None);
        }
        assert_eq!(
            patch(&node(&of("800k"), &Value::Null), wanted),
            None,
            "as the trimmed Node"
        );
        for (capacity, allocatable) in [
            (&nothing, &nothing),
            (&nothing, &Value::Null),
            (&of("0"), &of("0")),
            (&of("800k"), &of("0")),
            (&of("800k"), &nothing),
            (&of("800m"), &of("800m")),
            (&nothing, &of("800k")),
        ] {
            let node = node(capacity, allocatable);
            assert_eq!(patch(&node, wanted), both(json!("800000")));
        }
        for (capacity, allocatable) in [(of("800k"), of("800k")), (of("0"), of("0"))] {
            let node = node(&capacity, &allocatable);
            assert_eq!(patch(&node, Wanted::Nothing), both(Value::Null));
        }
        assert_eq!(
            patch(&node(&nothing, &of("1")), Wanted::Nothing),
            both(Value::Null)
        );
        assert_eq!(patch(&node(&nothing, &nothing), Wanted::Nothing), None);
        assert_eq!(
            patch(&node(&of("0"), &of("0")), Wanted::Microseconds(0)),
            None
        );
        assert_eq!(
            patch(&node(&nothing, &nothing), Wanted::Microseconds(0)),
            both(json!("0"))
        );
        let bare: Node =
            serde_json::from_value(json!({"metadata": {"name": "loom"}})).expect("a Node");
        assert_eq!(patch(&bare, Wanted::Nothing), None);
        assert_eq!(patch(&bare, wanted), both(json!("800000")));
    }
}
