//! Resource quantities, with the arithmetic that is needed to add and compare pods.
//!
//! The format is that of Kubernetes (`k8s.io/apimachinery/pkg/api/resource`): the largest suffix that leaves a whole
//! number, in the family (1000 or 1024) of the first summand.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// One, in billionths, which are the smallest unit.
const ONE: i128 = 1_000_000_000;
/// Suffixes of powers of 1000, from the smallest; the first is a billionth.
const DECIMAL: [&str; 10] = ["n", "u", "m", "", "k", "M", "G", "T", "P", "E"];
/// Suffixes of powers of 1024.
const BINARY: [&str; 7] = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/// An amount of a resource.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Amount {
    /// Amount in billionths.
    nano: i128,
    /// True if it was given in powers of 1024.
    binary: bool,
}

impl Amount {
    /// Parses a quantity; `None` if `text` is not a quantity.
    #[must_use]
    pub fn read(quantity: &Quantity) -> Option<Self> {
        let text = quantity.0.trim();
        let end = text
            .find(|c: char| !(c.is_ascii_digit() || matches!(c, '.' | '+' | '-')))
            .unwrap_or(text.len());
        let (number, suffix) = text.split_at(end);
        let (unit, binary) = unit(suffix)?;
        Some(Self {
            nano: times(number, unit)?,
            binary,
        })
    }

    /// Sum. Zero does not determine the family.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            nano: self.nano.saturating_add(other.nano),
            binary: if self.nano == 0 { other.binary } else { self.binary },
        }
    }

    /// Larger amount.
    #[must_use]
    pub fn max(self, other: Self) -> Self {
        if other.nano > self.nano { other } else { self }
    }

    /// Text in the format of Kubernetes.
    #[must_use]
    pub fn write(self) -> Quantity {
        let (family, base, mut left): (&[&str], i128, i128) =
            if self.binary && self.nano.checked_rem(ONE) == Some(0) {
                (&BINARY, 1024, self.nano.checked_div(ONE).unwrap_or(0))
            } else {
                (&DECIMAL, 1000, self.nano)
            };
        if self.nano == 0 {
            return Quantity("0".to_owned());
        }
        let mut suffixes = family.iter();
        let mut suffix = suffixes.next().copied().unwrap_or_default();
        for larger in suffixes {
            if left.checked_rem(base) != Some(0) {
                break;
            }
            left = left.checked_div(base).unwrap_or(left);
            suffix = larger;
        }
        Quantity(format!("{left}{suffix}"))
    }
}

/// Number of billionths in the unit of a suffix, and true if it is of the family of 1024.
fn unit(suffix: &str) -> Option<(i128, bool)> {
    let at = |family: &[&str]| family.iter().position(|s| *s == suffix);
    let power = |base: i128, n: usize| base.checked_pow(u32::try_from(n).ok()?);
    if let Some(n) = at(&DECIMAL) {
        return Some((power(1000, n)?, false));
    }
    if let Some(n) = at(&BINARY) {
        return Some((power(1024, n)?.checked_mul(ONE)?, true));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let exponent = u32::try_from(exponent.checked_add(9)?).ok()?;
    Some((10_i128.checked_pow(exponent)?, false))
}

/// A decimal number multiplied by a unit. Fractions of a billionth are rounded up, as Kubernetes does.
fn times(number: &str, unit: i128) -> Option<i128> {
    let (sign, digits) = match number.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, number.strip_prefix('+').unwrap_or(number)),
    };
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if whole.is_empty() && part.is_empty() {
        return None;
    }
    let read = |text: &str| {
        if text.is_empty() {
            Some(0)
        } else if text.bytes().all(|b| b.is_ascii_digit()) {
            text.parse::<i128>().ok()
        } else {
            None
        }
    };
    let scale = 10_i128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let whole = read(whole)?.checked_mul(unit)?;
    let part = read(part)?.checked_mul(unit)?;
    let part = part.checked_add(scale.checked_sub(1)?)?.checked_div(scale)?;
    whole.checked_add(part)?.checked_mul(sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn amount(text: &str) -> Amount {
        Amount::read(&Quantity(text.to_owned())).unwrap_or_else(|| panic!("{text}"))
    }

    #[test]
    fn amounts_are_written_as_kubernetes_writes_them() {
        for (text, canonical) in [
            ("1", "1"),
            ("0.5", "500m"),
            ("1000m", "1"),
            ("4.50", "4500m"),
            ("2048Mi", "2Gi"),
            ("1.5Gi", "1536Mi"),
            ("1e3", "1k"),
            ("2E", "2E"),
            ("0.1Ki", "102400m"),
            ("0", "0"),
            ("1500", "1500"),
            ("3000", "3k"),
        ] {
            assert_eq!(amount(text).write().0, canonical, "{text}");
        }
    }

    #[test]
    fn a_sum_stays_in_the_family_of_its_first_part() {
        let sum = amount("256Mi").plus(amount("1Gi")).plus(amount("1Gi"));
        assert_eq!(sum.write().0, "2304Mi");
        assert_eq!(Amount::default().plus(amount("1Gi")).write().0, "1Gi");
        assert_eq!(
            amount("500m").plus(amount("2")).plus(amount("2")).write().0,
            "4500m"
        );
    }

    #[test]
    fn what_is_no_quantity_is_none() {
        for text in ["", "x", "1Q", "--1", "1.2.3", "Gi", "1e99"] {
            assert_eq!(Amount::read(&Quantity(text.to_owned())), None, "{text}");
        }
    }
}
