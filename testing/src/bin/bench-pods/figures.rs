//! Many times of the same, and what a person wants to know of them. Pure.

use std::time::Duration;

/// Times, in order.
#[derive(Debug)]
pub struct Times(Vec<Duration>);

impl Times {
    /// `None`: there are none.
    pub fn of(mut times: Vec<Duration>) -> Option<Self> {
        times.sort();
        (!times.is_empty()).then_some(Self(times))
    }

    /// The smallest time that so many of a hundred don't exceed.
    fn percentile(&self, percent: usize) -> Duration {
        let rank = (self.0.len() * percent).div_ceil(100).max(1);
        self.0[rank - 1]
    }

    /// One line.
    pub fn line(&self) -> String {
        format!(
            "{:>10} {:>10} {:>10} {:>10} {:>10} {:>7}",
            micros(self.0[0]),
            micros(self.percentile(50)),
            micros(self.percentile(90)),
            micros(self.percentile(99)),
            micros(self.percentile(100)),
            self.0.len()
        )
    }

    /// What [`Self::line`] has.
    pub fn head() -> String {
        format!(
            "{:>10} {:>10} {:>10} {:>10} {:>10} {:>7}",
            "min", "median", "p90", "p99", "max", "of"
        )
    }
}

fn micros(time: Duration) -> String {
    format!("{} µs", time.as_micros())
}
