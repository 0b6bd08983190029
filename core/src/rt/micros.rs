//! Microseconds of real-time budget as a type, and the kernel's own arithmetic with them. Reads text strictly, because
//! the kernel doesn't: it takes `010` as 8 and `0x6400` as 25600.

use std::fmt;

/// The period of every group that nobody touched, in microseconds. The contract's budgets are parts of it.
pub const PERIOD_US: u64 = 1_000_000;
/// The kernel's word for "no limit" in `cpu.rt_runtime_us` and `sched_rt_runtime_us`.
pub const UNLIMITED: i64 = -1;
/// The kernel compares ratios in units of 2⁻²⁰ (`BW_SHIFT` in kernel/sched/sched.h).
const RATIO_SHIFT: u32 = 20;
/// A whole CPU in the kernel's ratio.
pub const WHOLE: u64 = 1 << RATIO_SHIFT;
/// Longer texts are no budgets: 1000000 has seven digits.
const MAX_DIGITS: usize = 7;

/// A budget: 1 to 1,000,000 microseconds of each second, on each CPU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RuntimeMicros(u32);

/// Why a text or a number is no budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MicrosError {
    /// Not only digits, or none, or too many of them.
    #[error("is not a plain decimal number: only the digits 0 to 9, at most {MAX_DIGITS} of them")]
    NotDecimal,
    /// `010`.
    #[error("has a leading zero, which the kernel would read as octal")]
    LeadingZero,
    /// 0, or more than the period.
    #[error("is not between 1 and {PERIOD_US} microseconds")]
    OutOfRange,
}

impl RuntimeMicros {
    /// A whole CPU: the kernel never throttles.
    #[allow(clippy::cast_possible_truncation, reason = "1,000,000")]
    pub const WHOLE: Self = Self(PERIOD_US as u32);

    /// From microseconds of each second, 1 to 1,000,000.
    pub fn new(micros: u64) -> Result<Self, MicrosError> {
        u32::try_from(micros)
            .ok()
            .filter(|_| (1..=PERIOD_US).contains(&micros))
            .map(Self)
            .ok_or(MicrosError::OutOfRange)
    }

    /// From a strict decimal: no sign, no blank, no leading zero.
    pub fn parse(text: &str) -> Result<Self, MicrosError> {
        Self::new(u64::from(strict_decimal(text)?))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for RuntimeMicros {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}", self.0)
    }
}

/// A decimal of one to seven digits, `0` or without a leading zero.
pub fn strict_decimal(text: &str) -> Result<u32, MicrosError> {
    if text.is_empty() || text.len() > MAX_DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit())
    {
        return Err(MicrosError::NotDecimal);
    }
    if text.len() > 1 && text.starts_with('0') {
        return Err(MicrosError::LeadingZero);
    }
    text.parse().map_err(|_| MicrosError::NotDecimal)
}

/// The smallest budget that doesn't wedge a thread, in microseconds, for a kernel with `hz` ticks a second
/// (`CONFIG_HZ`, absent when unknown).
///
/// 1000 at 1000 ticks and 5000 at 250 are measured; below 250 the same one and a quarter of a tick is taken, which
/// nobody has measured. Unknown counts as 250.
pub fn smallest_budget(hz: Option<u32>) -> RuntimeMicros {
    RuntimeMicros(match hz {
        Some(1000..) => 1_000,
        None | Some(250..) => 5_000,
        Some(slow) => (1_250_000 / slow.max(2)).min(1_000_000),
    })
}

/// The kernel's ratio (`to_ratio` in kernel/sched/core.c): `floor(runtime · 2²⁰ / period)`, a whole for
/// [`UNLIMITED`], nothing for a period of 0.
pub fn ratio(runtime_us: i64, period_us: u64) -> u64 {
    let Ok(runtime) = u64::try_from(runtime_us) else {
        return WHOLE;
    };
    let product = u128::from(runtime) << RATIO_SHIFT;
    match product.checked_div(u128::from(period_us)) {
        None => 0,
        Some(ratio) => u64::try_from(ratio).unwrap_or(u64::MAX),
    }
}

/// The smallest runtime whose [`ratio`] is at least `wanted`, in microseconds of `period_us`.
pub fn runtime_for(wanted: u64, period_us: u64) -> i64 {
    let product = u128::from(wanted) * u128::from(period_us);
    i64::try_from(product.div_ceil(u128::from(WHOLE))).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_the_kernel_reads_loosely_is_refused() {
        for text in [
            "", " 1", "1 ", "+1", "-1", "010", "00", "0x6400", "1e3", "1.5", "25k", "٣", "1_000",
            "12345678", "\u{0}", "1\n",
        ] {
            assert!(RuntimeMicros::parse(text).is_err(), "{text:?}");
        }
        assert_eq!(RuntimeMicros::parse("0"), Err(MicrosError::OutOfRange));
        assert_eq!(
            RuntimeMicros::parse("1000001"),
            Err(MicrosError::OutOfRange)
        );
        assert_eq!(RuntimeMicros::parse("25000").unwrap().get(), 25_000);
    }

    #[test]
    fn the_smallest_budget_follows_the_tick() {
        let smallest = |hz| smallest_budget(hz).get();
        assert_eq!(
            [None, Some(1000), Some(250), Some(300), Some(100), Some(0)].map(smallest),
            [5_000, 1_000, 5_000, 5_000, 12_500, 625_000]
        );
    }

    #[test]
    fn ratios_are_the_kernels() {
        assert_eq!(ratio(950_000, 1_000_000), 996_147);
        assert_eq!(ratio(-1, 1_000_000), WHOLE);
        assert_eq!(ratio(25_000, 0), 0);
    }

    proptest! {
        #[test]
        fn parsing_and_printing_are_inverse(micros in 1_u64..=1_000_000, text in ".*") {
            let budget = RuntimeMicros::new(micros).unwrap();
            prop_assert_eq!(RuntimeMicros::parse(&budget.to_string()), Ok(budget));
            if let Ok(read) = RuntimeMicros::parse(&text) {
                prop_assert_eq!(read.to_string(), text);
            }
        }

        #[test]
        fn the_runtime_for_a_ratio_is_the_smallest(wanted in 0..=WHOLE, period in 1_u64..=10_000_000) {
            let runtime = runtime_for(wanted, period);
            prop_assert!(ratio(runtime, period) >= wanted);
            prop_assert!(runtime == 0 || ratio(runtime - 1, period) < wanted);
        }
    }
}
