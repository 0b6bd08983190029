//! Applies a plan to the kernel's tree: one container's whole or not at all, many containers' each by itself. Plans nothing,
//! and tries nothing twice: who calls it reads the tree again and plans anew.

use realtime_core::rt::plan::{self, Write};

use super::{CgroupError, V1};

/// What became of a plan.
#[derive(Debug, Default)]
pub struct Applied {
    /// How many of its writes were done. With `failed`, these were taken back, but for those in `undo_failed`.
    pub done: usize,
    /// The write after them, and the kernel's word.
    pub failed: Option<CgroupError>,
    /// What could not be taken back: the kernel has the plan's value there.
    pub undo_failed: Vec<CgroupError>,
}

/// Does the writes in their order. At the first that fails, those before it are taken back in reverse.
///
/// A group that is gone needs no lowering: that counts as done. Raising one fails, and says that it is gone.
pub fn apply(v1: &V1, writes: &[Write]) -> Applied {
    for (done, write) in writes.iter().enumerate() {
        if let Some(error) = one(v1, write, write.lowers()) {
            return Applied {
                done,
                undo_failed: plan::undo(writes, done)
                    .iter()
                    .filter_map(|write| one(v1, write, true))
                    .collect(),
                failed: Some(error),
            };
        }
    }
    Applied {
        done: writes.len(),
        ..Applied::default()
    }
}

/// Does all the writes in their order, and leaves out those that fail: their places, and the kernel's words.
///
/// A removed group keeps its part for a moment, and as long as a zombie is in it: that must hold up, or take anything from,
/// no container but those that need that part. Each write by itself leaves a tree that the kernel accepts, so what is done
/// stands; what a group above has too much for that long, the next plan takes back.
pub fn apply_each(v1: &V1, writes: &[Write]) -> Vec<(usize, CgroupError)> {
    let failed = |(at, write)| one(v1, write, write.lowers()).map(|error| (at, error));
    writes.iter().enumerate().filter_map(failed).collect()
}

fn one(v1: &V1, write: &Write, may_be_gone: bool) -> Option<CgroupError> {
    v1.write(write)
        .err()
        .filter(|error| !(may_be_gone && error.is_gone()))
}
