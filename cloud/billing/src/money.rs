//! Checked arithmetic of money: no mixing, no overflow, one stated rounding.
//!
//! Rounding, where a ratio is applied: to the nearest minor unit, halves away from zero (commercial
//! rounding), once per line of an invoice. Splitting never rounds: the shares sum to the whole (largest
//! remainder).

use std::fmt;

pub use remuda_contracts::money::{Currency, Money};

use crate::currency::decimals;

/// Why a sum does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MoneyError {
    /// Two currencies. Nothing here knows a rate of exchange.
    #[error("{left} and {right} cannot be reckoned together")]
    Mixed {
        /// One.
        left: Currency,
        /// The other.
        right: Currency,
    },
    /// Beyond 63 bits of minor units.
    #[error("the amount is too large")]
    Overflow,
    /// Dividing by nothing, or into no shares.
    #[error("there is nothing to divide by")]
    Division,
}

/// Checked arithmetic.
pub trait Checked: Sized {
    /// Nothing, in the same currency.
    fn zero(currency: Currency) -> Self;
    /// The sum.
    ///
    /// # Errors
    /// Two currencies, or an overflow.
    fn plus(self, other: Self) -> Result<Self, MoneyError>;
    /// The difference.
    ///
    /// # Errors
    /// Two currencies, or an overflow.
    fn minus(self, other: Self) -> Result<Self, MoneyError>;
    /// The opposite.
    ///
    /// # Errors
    /// An overflow.
    fn negated(self) -> Result<Self, MoneyError>;
    /// `self * numerator / denominator`, rounded once, halves away from zero.
    ///
    /// # Errors
    /// An overflow, or a denominator of zero.
    fn ratio(self, numerator: i64, denominator: i64) -> Result<Self, MoneyError>;
    /// Shares in proportion to `weights` that sum to the whole: what is left after rounding towards zero
    /// goes, one minor unit each, to the largest remainders, the first of equals.
    ///
    /// # Errors
    /// No weight, or only zeros.
    fn split(self, weights: &[u32]) -> Result<Vec<Self>, MoneyError>;
    /// For people: `12.30 EUR`.
    fn shown(self) -> Shown;
}

/// `numerator / denominator` to the nearest integer, halves away from zero.
fn rounded(numerator: i128, denominator: i128) -> i128 {
    let (quotient, remainder) = (numerator / denominator, numerator % denominator);
    if remainder.abs() * 2 >= denominator.abs() {
        quotient + numerator.signum() * denominator.signum()
    } else {
        quotient
    }
}

impl Checked for Money {
    fn zero(currency: Currency) -> Self {
        Self { minor_units: 0, currency }
    }

    fn plus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        let minor_units = self.minor_units.checked_add(other.minor_units).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, ..self })
    }

    fn minus(self, other: Self) -> Result<Self, MoneyError> {
        if self.currency != other.currency {
            return Err(MoneyError::Mixed { left: self.currency, right: other.currency });
        }
        let minor_units = self.minor_units.checked_sub(other.minor_units).ok_or(MoneyError::Overflow)?;
        Ok(Self { minor_units, ..self })
    }

    fn negated(self) -> Result<Self, MoneyError> {
        Self::zero(self.currency).minus(self)
    }

    fn ratio(self, numerator: i64, denominator: i64) -> Result<Self, MoneyError> {
        if denominator == 0 {
            return Err(MoneyError::Division);
        }
        let product = i128::from(self.minor_units) * i128::from(numerator);
        let minor_units =
            i64::try_from(rounded(product, i128::from(denominator))).map_err(|_| MoneyError::Overflow)?;
        Ok(Self { minor_units, ..self })
    }

    fn split(self, weights: &[u32]) -> Result<Vec<Self>, MoneyError> {
        let sum: i128 = weights.iter().map(|w| i128::from(*w)).sum();
        if sum == 0 {
            return Err(MoneyError::Division);
        }
        let whole = i128::from(self.minor_units);
        let exact = weights.iter().map(|w| whole * i128::from(*w));
        let mut shares: Vec<(i128, i128)> = exact.map(|part| (part / sum, (part % sum).abs())).collect();
        let mut left = whole - shares.iter().map(|(share, _)| share).sum::<i128>();
        let mut order: Vec<usize> = (0..shares.len()).collect();
        order.sort_by_key(|i| (std::cmp::Reverse(shares[*i].1), *i));
        for i in order {
            if left == 0 {
                break;
            }
            shares[i].0 += left.signum();
            left -= left.signum();
        }
        let money = |(share, _)| i64::try_from(share).map(|minor_units| Self { minor_units, ..self });
        shares.into_iter().map(money).collect::<Result<_, _>>().map_err(|_| MoneyError::Overflow)
    }

    fn shown(self) -> Shown {
        Shown(self)
    }
}

/// Money for people.
#[derive(Debug, Clone, Copy)]
pub struct Shown(Money);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Money { minor_units, currency } = self.0;
        let sign = if minor_units < 0 { "-" } else { "" };
        let digits = minor_units.unsigned_abs();
        match decimals(currency).unwrap_or(2) {
            0 => write!(f, "{sign}{digits} {currency}"),
            places => {
                let unit = 10_u64.pow(places.into());
                let width = usize::from(places);
                write!(f, "{sign}{}.{:0width$} {currency}", digits / unit, digits % unit)
            }
        }
    }
}

/// Sums amounts of one currency.
///
/// # Errors
/// Two currencies, or an overflow.
pub fn total(currency: Currency, amounts: impl IntoIterator<Item = Money>) -> Result<Money, MoneyError> {
    amounts.into_iter().try_fold(Money::zero(currency), Checked::plus)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn eur(minor_units: i64) -> Money {
        Money { minor_units, currency: Currency::EUR }
    }

    #[test]
    fn halves_are_rounded_away_from_zero() {
        for (amount, by, expected) in [
            (1, (1, 2), 1),
            (-1, (1, 2), -1),
            (5, (1, 10), 1),
            (4, (1, 10), 0),
            (-15, (1, 10), -2),
            (7, (-1, 2), -4),
        ] {
            assert_eq!(eur(amount).ratio(by.0, by.1), Ok(eur(expected)), "{amount} * {by:?}");
        }
        assert_eq!(eur(1).ratio(1, 0), Err(MoneyError::Division));
        assert_eq!(eur(i64::MAX).ratio(2, 1), Err(MoneyError::Overflow));
    }

    #[test]
    fn currencies_are_never_mixed_and_nothing_wraps() {
        let usd = Money { minor_units: 1, currency: "USD".parse().expect("a code") };
        assert!(matches!(eur(1).plus(usd), Err(MoneyError::Mixed { .. })));
        assert!(matches!(eur(1).minus(usd), Err(MoneyError::Mixed { .. })));
        assert_eq!(eur(i64::MAX).plus(eur(1)), Err(MoneyError::Overflow));
        assert_eq!(eur(i64::MIN).negated(), Err(MoneyError::Overflow));
    }

    #[test]
    fn people_read_major_units() {
        let of = |minor_units, code: &str| {
            Money { minor_units, currency: code.parse().expect("a code") }.shown().to_string()
        };
        assert_eq!(of(1230, "EUR"), "12.30 EUR");
        assert_eq!(of(-5, "EUR"), "-0.05 EUR");
        assert_eq!(of(1230, "JPY"), "1230 JPY");
        assert_eq!(of(1230, "KWD"), "1.230 KWD");
        assert_eq!(of(i64::MIN, "EUR"), "-92233720368547758.08 EUR");
    }

    proptest! {
        #[test]
        fn no_cent_is_lost_when_splitting(
            amount in any::<i64>(),
            weights in prop::collection::vec(any::<u32>(), 1..20),
        ) {
            let Ok(shares) = eur(amount).split(&weights) else {
                prop_assert!(weights.iter().all(|w| *w == 0));
                return Ok(());
            };
            let sum: i128 = shares.iter().map(|s| i128::from(s.minor_units)).sum();
            prop_assert_eq!(sum, i128::from(amount));
            let whole: i128 = weights.iter().map(|w| i128::from(*w)).sum();
            for (share, weight) in shares.iter().zip(&weights) {
                // No share is a whole unit away from its exact part, and who has no weight gets nothing.
                let off = i128::from(share.minor_units) * whole - i128::from(amount) * i128::from(*weight);
                prop_assert!(off.abs() < whole);
                prop_assert!(*weight != 0 || share.minor_units == 0);
            }
        }

        #[test]
        fn a_ratio_is_off_by_half_a_unit_at_most(amount in any::<i64>(), n in -10_000_i64..10_000, d in 1_i64..10_000) {
            if let Ok(Money { minor_units, .. }) = eur(amount).ratio(n, d) {
                let exact = i128::from(amount) * i128::from(n);
                prop_assert!((i128::from(minor_units) * i128::from(d) - exact).abs() * 2 <= i128::from(d));
            }
        }
    }
}
