//! A bounded set of CPU ids: parsing, printing, and set arithmetic. Placeholder bounds live here and nowhere else.

/// A set of CPU ids 0 to [`CpuSet::MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CpuSet {
    words: Vec<u64>,
}

impl CpuSet {
    /// The largest id: what CONFIG_NR_CPUS allows on any kernel that is shipped (8192 on x86 is a maximum, 4096 the usual).
    pub const MAX: u32 = 4095;
}
