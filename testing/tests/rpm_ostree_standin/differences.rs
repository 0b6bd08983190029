//! What the stand-in does not reproduce of the recordings, each with its reason. Data.

/// One.
pub struct Difference {
    /// The entry's number in the recording.
    pub number: u64,
    /// Why it isn't reproduced.
    pub reason: &'static str,
}

const NO_USERS: &str =
    "recorded as uid 1000, whose D-Bus connection was closed: the stand-in has no users";

const COMMON: &[Difference] = &[
    Difference {
        number: 256,
        reason: NO_USERS,
    },
    Difference {
        number: 257,
        reason: NO_USERS,
    },
    Difference {
        number: 258,
        reason: NO_USERS,
    },
    Difference {
        number: 259,
        reason: NO_USERS,
    },
];

const ONLY_2024_7: &[Difference] = &[Difference {
    number: 382,
    reason: "recorded in a container, where a condition on PID 1's command line skipped ostree-boot-complete.service; \
             the same scene was repeated at 522 without that, and matches",
}];

/// Those of a version.
pub fn of(version: &str) -> impl Iterator<Item = &'static Difference> {
    let own = if version == "2024.7" {
        ONLY_2024_7
    } else {
        &[]
    };
    COMMON.iter().chain(own)
}
