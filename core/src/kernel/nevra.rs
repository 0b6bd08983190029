//! A package's name, epoch, version, release and architecture. Parsing and comparing, nothing else.

use std::fmt;

/// Name, epoch, version, release, architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Nevra {
    /// Such as `kernel-rt-core`.
    pub name: String,
    /// 0 when there is none.
    pub epoch: u32,
    /// Such as `5.14.0`.
    pub version: String,
    /// Such as `427.24.1.el9_4`.
    pub release: String,
    /// Such as `x86_64`.
    pub architecture: String,
}

impl fmt::Display for Nevra {
    /// `name-[epoch:]version-release.arch`, as rpm-ostree's JSON writes it.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}-", self.name)?;
        if self.epoch > 0 {
            write!(out, "{}:", self.epoch)?;
        }
        write!(
            out,
            "{}-{}.{}",
            self.version, self.release, self.architecture
        )
    }
}
