//! How long the loop waits between two rounds. Never for ever without something that wakes it, never without bound at work.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a step under way is given after a SIGTERM; the DaemonSet waits 30 s before it kills.
pub const LAST_STEP: Duration = Duration::from_secs(20);
/// The first wait after a failure; it doubles up to [`LONGEST`].
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait after failures: an API server that is back is seen within it.
const LONGEST: Duration = Duration::from_secs(30);
/// Between two passes of a drain: kubectl's own.
const DRAIN: Duration = Duration::from_secs(5);
/// A shutdown that has not ended the daemon after so long did not happen.
const SHUTDOWN: Duration = Duration::from_mins(10);
/// Failures in a row, half a minute and more, before they are told.
const LASTING: u32 = 6;
/// Rounds without a pause in a row before something is wrong: a whole switch has about thirty.
const ROUNDS: u32 = 100;

/// What to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    None,
    /// A change.
    Change,
    /// A change, or so many seconds.
    Seconds(u32),
    /// A change, or the next pass of a drain.
    Drain,
    /// The end of this process.
    Shutdown,
    /// A change, or the time after which a failed round is made again.
    Failed,
    /// As `Failed`, how long decided.
    For(Duration),
}

impl Pause {
    /// The longest that is waited; `None`: until something changes.
    pub fn limit(self) -> Option<Duration> {
        match self {
            Self::None => Some(Duration::ZERO),
            Self::Change => None,
            Self::Seconds(seconds) => Some(Duration::from_secs(seconds.max(1).into())),
            Self::Drain => Some(DRAIN),
            Self::Shutdown => Some(SHUTDOWN),
            Self::Failed => Some(FIRST),
            Self::For(time) => Some(time),
        }
    }
}

/// Keeps rounds from following each other without end.
#[derive(Debug, Default)]
pub(super) struct Pace {
    failures: u32,
    rounds: u32,
}

impl Pace {
    /// Whether rounds fail in a way that waiting doesn't heal: rpm-ostree answers nobody for a while when it is busy.
    pub(super) fn keeps_failing(&self) -> bool {
        self.failures >= LASTING
    }

    /// The pause as it is to be taken.
    pub(super) fn after(&mut self, pause: Pause) -> Pause {
        if pause == Pause::Failed {
            self.failures = self.failures.saturating_add(1);
            let factor = 2_u32.saturating_pow(self.failures.saturating_sub(1).min(16));
            return Pause::For(jittered(
                FIRST.saturating_mul(factor).min(LONGEST),
                moment(),
            ));
        }
        self.failures = 0;
        if pause != Pause::None {
            self.rounds = 0;
            return pause;
        }
        self.rounds += 1;
        if self.rounds < ROUNDS {
            return pause;
        }
        self.rounds = 0;
        tracing::error!("{ROUNDS} steps in a row came to nothing; waiting");
        Pause::For(LONGEST)
    }
}

/// Waits so long, or for ever.
pub(super) async fn sleep(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Half of the time to all of it, so that a thousand daemons don't come back to an API server at once.
fn jittered(time: Duration, seed: u32) -> Duration {
    let half = time / 2;
    half + half.mul_f64(f64::from(seed % 1000) / 1000.0)
}

fn moment() -> u32 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.subsec_micros())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_wait_longer_each_time_and_never_too_long() {
        let mut pace = Pace::default();
        let mut longest = Duration::ZERO;
        for _ in 0..40 {
            let wait = pace.after(Pause::Failed).limit().unwrap();
            assert!(wait >= FIRST / 2 && wait <= LONGEST, "{wait:?}");
            longest = longest.max(wait);
        }
        assert!(longest >= LONGEST / 2);
        assert_eq!(pace.after(Pause::Change), Pause::Change);
        assert!(pace.after(Pause::Failed).limit().unwrap() <= FIRST);
    }

    #[test]
    fn steps_that_come_to_nothing_are_slowed() {
        let mut pace = Pace::default();
        assert!((1..ROUNDS).all(|_| pace.after(Pause::None) == Pause::None));
        assert_eq!(pace.after(Pause::None), Pause::For(LONGEST));
    }
}
