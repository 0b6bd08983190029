//! The order of writes. Decides no value.
//!
//! The kernel checks the whole tree at each write: a group's children together have no more than the group. So first
//! everything is lowered, children before parents, then raised, parents before children: at each moment each group has
//! the smaller or the final one of its two values, and a parent never the smaller one when a child has the final one.

use super::tree::Node;

/// One write to a group's `cpu.rt_runtime_us`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The group, from the mount of the `cpu` controller.
    pub group: String,
    /// What it had, microseconds of its period, −1 without limit.
    pub from_us: i64,
    /// What it gets, microseconds of its period.
    pub to_us: i64,
}

impl Write {
    /// Whether it takes something away. −1 is more than any number.
    pub fn lowers(&self) -> bool {
        let order = |micros: i64| if micros < 0 { i64::MAX } else { micros };
        order(self.to_us) < order(self.from_us)
    }
}

/// From what the groups have to `finals`.
pub(super) fn writes(nodes: &[Node<'_>], finals: &[i64]) -> Vec<Write> {
    let write = |index: usize| Write {
        group: nodes[index].path.to_owned(),
        from_us: nodes[index].group.runtime_us,
        to_us: finals[index],
    };
    // The list has parents before children.
    let lowered = (0..nodes.len())
        .rev()
        .filter(|&index| finals[index] != nodes[index].group.runtime_us)
        .filter(|&index| !nodes[index].group.lacks(finals[index]));
    let raised = (0..nodes.len()).filter(|&index| nodes[index].group.lacks(finals[index]));
    lowered.chain(raised).map(write).collect()
}

/// What takes the first `done` writes of a plan back: the same states, in reverse.
///
/// The kernel can refuse one all the same: a thread that has become real-time in the meantime keeps its budget (EBUSY).
pub fn undo(writes: &[Write], done: usize) -> Vec<Write> {
    writes
        .iter()
        .take(done)
        .rev()
        .map(|write| Write {
            group: write.group.clone(),
            from_us: write.to_us,
            to_us: write.from_us,
        })
        .collect()
}
