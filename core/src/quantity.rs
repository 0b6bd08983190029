//! Kubernetes quantities, exactly: `500Mi`, `1000m`, `1e3`. Reading and comparing only, no arithmetic.
//!
//! Written here because what exists adds arithmetic to k8s-openapi's type and follows its versions;
//! the grammar is apimachinery's `resource.ParseQuantity`.

use std::fmt;
use std::str::FromStr;

/// Longest text that is read: more digits than any quantity that Kubernetes can hold.
const MAX_TEXT: usize = 64;

/// Billionths in one.
const NANOS: i128 = 1_000_000_000;

/// A quantity, in billionths: Kubernetes' own finest unit, so that nothing is lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Quantity {
    nanos: i128,
}

/// Why a text is not a quantity.
#[derive(thiserror::Error, Clone, Debug, PartialEq, Eq)]
pub enum QuantityError {
    /// Longer than any quantity needs.
    #[error("a quantity has at most {MAX_TEXT} characters")]
    TooLong,
    /// Not a decimal number at its beginning.
    #[error("a quantity begins with a decimal number, as in 500Mi or 1000m")]
    NotANumber,
    /// A unit that Kubernetes doesn't know.
    #[error("`{0}` is no unit: n, u, m, k, M, G, T, P, E, Ki, Mi, Gi, Ti, Pi, Ei or an exponent")]
    UnknownUnit(String),
    /// Beyond 2^63 - 1, where Kubernetes silently caps it.
    #[error("larger than a quantity can be")]
    TooLarge,
}

impl Quantity {
    /// In whole units, rounded up as Kubernetes does.
    pub fn value(self) -> i64 {
        self.rounded_up(NANOS)
    }

    /// In thousandths, rounded up as Kubernetes does.
    pub fn milli_value(self) -> i64 {
        self.rounded_up(NANOS / 1000)
    }

    /// Whether it is below zero.
    pub fn is_negative(self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    fn rounded_up(self, unit: i128) -> i64 {
        let whole = self.nanos.div_euclid(unit) + i128::from(self.nanos.rem_euclid(unit) != 0);
        i64::try_from(whole).unwrap_or(if whole < 0 { i64::MIN } else { i64::MAX })
    }
}

/// What the number is multiplied with: a power of two and a power of ten.
fn scale(suffix: &str) -> Result<(u32, i32), QuantityError> {
    let unknown = || QuantityError::UnknownUnit(suffix.chars().take(16).collect());
    Ok(match suffix {
        "" => (0, 0),
        "n" => (0, -9),
        "u" => (0, -6),
        "m" => (0, -3),
        "k" => (0, 3),
        "M" => (0, 6),
        "G" => (0, 9),
        "T" => (0, 12),
        "P" => (0, 15),
        "E" => (0, 18),
        "Ki" => (10, 0),
        "Mi" => (20, 0),
        "Gi" => (30, 0),
        "Ti" => (40, 0),
        "Pi" => (50, 0),
        "Ei" => (60, 0),
        _ => {
            let exponent = suffix.strip_prefix(['e', 'E']).ok_or_else(unknown)?;
            let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                return Err(unknown());
            }
            (0, exponent.parse().map_err(|_| QuantityError::TooLarge)?)
        }
    })
}

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > MAX_TEXT {
            return Err(QuantityError::TooLong);
        }
        let (negative, rest) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let split = |text: &str| -> usize { text.bytes().take_while(u8::is_ascii_digit).count() };
        let (whole, rest) = rest.split_at(split(rest));
        let (fraction, suffix) = match rest.strip_prefix('.') {
            Some(rest) => rest.split_at(split(rest)),
            None => ("", rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return Err(QuantityError::NotANumber);
        }
        let (two, ten) = scale(suffix)?;
        let digits = format!("{whole}{fraction}");
        let mut nanos: i128 = match digits.trim_start_matches('0') {
            "" => return Ok(Self::default()),
            significant => significant.parse().map_err(|_| QuantityError::TooLarge)?,
        };
        let fraction_digits = i32::try_from(fraction.len()).unwrap_or(i32::MAX);
        nanos = nanos
            .checked_mul(1_i128 << two)
            .ok_or(QuantityError::TooLarge)?;
        nanos = shifted(nanos, ten.saturating_add(9).saturating_sub(fraction_digits))?;
        if nanos > i128::from(i64::MAX) * NANOS {
            return Err(QuantityError::TooLarge);
        }
        Ok(Self {
            nanos: if negative { -nanos } else { nanos },
        })
    }
}

/// `number` times ten to the power; a remainder counts as one more, as Kubernetes rounds away from zero.
fn shifted(number: i128, power: i32) -> Result<i128, QuantityError> {
    let factor = 10_i128.checked_pow(power.unsigned_abs());
    if power >= 0 {
        factor
            .and_then(|factor| number.checked_mul(factor))
            .ok_or(QuantityError::TooLarge)
    } else {
        Ok(factor.map_or(1, |factor| {
            number / factor + i128::from(number % factor != 0)
        }))
    }
}

/// In the largest of unit, thousandth and billionth that shows it exactly.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nanos % NANOS == 0 {
            write!(f, "{}", self.nanos / NANOS)
        } else if self.nanos % (NANOS / 1000) == 0 {
            write!(f, "{}m", self.nanos / (NANOS / 1000))
        } else {
            write!(f, "{}n", self.nanos)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().expect(text)
    }

    #[test]
    fn reads_what_kubernetes_reads() {
        for (text, milli) in [
            ("0", 0),
            ("1", 1000),
            ("1000m", 1000),
            ("500Mi", 500 * 1_048_576 * 1000),
            ("1.5Gi", 1_610_612_736_000),
            (".5", 500),
            ("1.", 1000),
            ("+2", 2000),
            ("-2", -2000),
            ("1e3", 1_000_000),
            ("1E3", 1_000_000),
            ("1e-3", 1),
            ("1u", 1),
            ("5E", 5_000_000_000_000_000_000_i64.saturating_mul(1000)),
            ("0e99999", 0),
        ] {
            assert_eq!(quantity(text).milli_value(), milli, "{text}");
        }
        assert_eq!(quantity("1n").value(), 1);
        assert_eq!(quantity("0.0000000001"), quantity("1n"));
        assert!(quantity("500Mi") < quantity("0.5Gi"));
    }

    #[test]
    fn refuses_each_fault() {
        for text in ["", "lots", "Mi", "-", "."] {
            assert_eq!(
                text.parse::<Quantity>(),
                Err(QuantityError::NotANumber),
                "{text}"
            );
        }
        for text in [
            "1 ", "1mi", "1KB", "1K", "1e", "1e+", "1e1.5", "10%", "1\n", "1i",
        ] {
            assert!(
                matches!(text.parse::<Quantity>(), Err(QuantityError::UnknownUnit(_))),
                "{text}"
            );
        }
        for text in [
            "10E",
            "8Ei",
            "1e19",
            "1e999",
            "1e99999999999",
            "9223372036854775808",
        ] {
            assert_eq!(
                text.parse::<Quantity>(),
                Err(QuantityError::TooLarge),
                "{text}"
            );
        }
        assert_eq!(
            "1".repeat(65).parse::<Quantity>(),
            Err(QuantityError::TooLong)
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,80}") {
            let _ = text.parse::<Quantity>();
        }

        #[test]
        fn what_is_read_round_trips(text in "[-+]?[0-9]{0,20}(\\.[0-9]{0,12})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|e[0-9]{1,2}|e-[0-9]{1,2})?") {
            if let Ok(quantity) = text.parse::<Quantity>() {
                prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
            }
        }

        #[test]
        fn order_is_that_of_numbers(left in -1_000_000_000_i64..1_000_000_000, right in -1_000_000_000_i64..1_000_000_000) {
            let (a, b) = (quantity(&format!("{left}m")), quantity(&format!("{right}m")));
            prop_assert_eq!(a.cmp(&b), left.cmp(&right));
            prop_assert_eq!(a.milli_value(), left);
        }
    }
}
