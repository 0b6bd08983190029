//! TuneD's own verification: on demand, since it reads all that its profile sets. Reads its log for what failed.

use std::time::Duration;

use realtime_core::audit::{Verification, verification};

use crate::host::{Host, HostError};

const LOG: &str = "/var/log/tuned/tuned.log";
/// A verification reads some hundred files; one that waits for a TuneD that hangs is ended.
const LIMIT: Duration = Duration::from_mins(1);

/// Runs `tuned-adm verify`. `None` where the host has no TuneD (on OpenShift it is in a container).
pub async fn verify(host: &Host) -> Result<Option<Verification>, HostError> {
    if !host.has_program("tuned-adm") {
        return Ok(None);
    }
    let before = log(host).len();
    let succeeded = match host.run(&["tuned-adm", "verify"], LIMIT).await {
        Ok(_) => true,
        Err(HostError::Failed { .. }) => false,
        Err(error) => return Err(error),
    };
    let after = log(host);
    // A log that was begun anew meanwhile is shorter, or has another character there.
    let written = after.get(before..).unwrap_or(&after);
    Ok(Some(verification(succeeded, written)))
}

fn log(host: &Host) -> String {
    host.read(LOG).unwrap_or_default()
}
