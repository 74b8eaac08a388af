//! What a ride costs, line by line: pure.

use remuda_contracts::trips::CancellationFee;
use serde::{Deserialize, Serialize};

use crate::limits::{DISTANCE_M_MAX, DURATION_MS_MAX};
use crate::money::{Checked, Currency, Money, MoneyError, total};
use crate::tariff::{QuoteRule, Tariff};

/// What a line of a fare is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LineKind {
    /// For every ride.
    Base,
    /// The way.
    Distance,
    /// The time.
    Time,
    /// More demand than vehicles.
    Surge,
    /// Up to the least that a ride costs.
    Minimum,
    /// Down to what the quote allows.
    QuoteBound,
    /// Up to what the quote promised, under a fixed price.
    QuotePrice,
    /// Waiting beyond the free time.
    Waiting,
    /// A late cancellation.
    Cancellation,
    /// The rider did not come.
    NoShow,
}

impl LineKind {
    /// For people, in English.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Base => "Base fare",
            Self::Distance => "Distance",
            Self::Time => "Time",
            Self::Surge => "Surge",
            Self::Minimum => "Minimum fare",
            Self::QuoteBound => "Reduction to the quoted price",
            Self::QuotePrice => "Addition to the quoted price",
            Self::Waiting => "Waiting",
            Self::Cancellation => "Cancellation fee",
            Self::NoShow => "No-show fee",
        }
    }
}

/// A line of a fare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FareLine {
    /// What for.
    pub kind: LineKind,
    /// How much; with or without tax as the tariff says.
    pub amount: Money,
}

/// A price: `net + tax = gross`, always.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fare {
    /// Lines; their sum is `gross` when the tax is included, else `net`.
    pub lines: Vec<FareLine>,
    /// Without tax.
    pub net: Money,
    /// Tax.
    pub tax: Money,
    /// What is paid.
    pub gross: Money,
    /// Hundredths of a percent.
    pub tax_basis_points: u32,
    /// Do the lines contain the tax?
    pub tax_included: bool,
}

/// What is measured of a ride.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// m.
    pub distance_m: u64,
    /// ms.
    pub duration_ms: i64,
    /// Beyond the free time, ms.
    pub waiting_ms: i64,
}

/// Why a ride has no price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FareError {
    /// Outside of what a ride can be.
    #[error(
        "{distance_m} m in {duration_ms} ms with {waiting_ms} ms of waiting is no ride that can be priced"
    )]
    Implausible {
        /// m.
        distance_m: u64,
        /// ms.
        duration_ms: i64,
        /// ms.
        waiting_ms: i64,
    },
    /// More surge than the tariff allows, or less than none.
    #[error("a surge of {asked} percent is not between 100 and the tariff's {max}")]
    Surge {
        /// Asked for.
        asked: u32,
        /// Allowed.
        max: u32,
    },
    /// A sum that does not exist.
    #[error(transparent)]
    Money(#[from] MoneyError),
}

/// What binds the price of a trip to its quote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Promise {
    /// The quote's gross price.
    pub gross: Money,
    /// The surge that the quote was made with, percent.
    pub surge_percent: u32,
}

/// The price of a ride. Lines are rounded once each; the tax once, on their sum.
///
/// # Errors
/// [`FareError`].
pub fn fare(tariff: &Tariff, measured: Measured, surge_percent: u32) -> Result<Fare, FareError> {
    let (mut lines, currency) = ride_lines(tariff, measured, surge_percent)?;
    push_waiting(tariff, measured, &mut lines, currency)?;
    priced(tariff, lines)
}

/// The price of a trip that was quoted: measured, then bounded as the tariff's rule says.
///
/// # Errors
/// [`FareError`].
pub fn fare_with_promise(tariff: &Tariff, measured: Measured, promise: Promise) -> Result<Fare, FareError> {
    let (mut lines, currency) = ride_lines(tariff, measured, promise.surge_percent)?;
    let plain = total(currency, lines.iter().map(|l| l.amount))?;
    // The promise was made to a rider, tax and all; the lines of a business tariff are without.
    let promised = if tariff.tax_included {
        promise.gross
    } else {
        promise.gross.ratio(10_000, 10_000 + i64::from(tariff.tax_basis_points))?
    };
    let bound = match tariff.quote_rule {
        QuoteRule::Metered => None,
        QuoteRule::Fixed => Some(promised),
        QuoteRule::Capped { percent } => {
            // Rounded down: a bound never grows by rounding.
            let most = i128::from(promised.minor_units) * i128::from(100 + percent) / 100;
            let minor_units = i64::try_from(most).map_err(|_| MoneyError::Overflow)?;
            Some(Money { minor_units, ..promised })
        }
    };
    if let Some(bound) = bound {
        let off = bound.minus(plain)?;
        let fixed = tariff.quote_rule == QuoteRule::Fixed;
        if off.minor_units < 0 {
            lines.push(FareLine { kind: LineKind::QuoteBound, amount: off });
        } else if fixed && off.minor_units > 0 {
            lines.push(FareLine { kind: LineKind::QuotePrice, amount: off });
        }
    }
    push_waiting(tariff, measured, &mut lines, currency)?;
    priced(tariff, lines)
}

/// Nothing is due.
pub fn free(tariff: &Tariff) -> Fare {
    let zero = Money::zero(tariff.currency);
    let Tariff { tax_basis_points, tax_included, .. } = *tariff;
    Fare { lines: Vec::new(), net: zero, tax: zero, gross: zero, tax_basis_points, tax_included }
}

/// What a ride costs that was not driven; nothing when it costs nothing.
///
/// # Errors
/// [`FareError`].
pub fn cancellation(tariff: &Tariff, fee: CancellationFee) -> Result<Option<Fare>, FareError> {
    let (kind, minor_units) = match fee {
        CancellationFee::None => return Ok(None),
        CancellationFee::LateCancellation => (LineKind::Cancellation, tariff.cancellation_fee),
        CancellationFee::NoShow => (LineKind::NoShow, tariff.no_show_fee),
    };
    if minor_units == 0 {
        return Ok(None);
    }
    let amount = Money { minor_units, currency: tariff.currency };
    priced(tariff, vec![FareLine { kind, amount }]).map(Some)
}

fn ride_lines(
    tariff: &Tariff,
    measured: Measured,
    surge_percent: u32,
) -> Result<(Vec<FareLine>, Currency), FareError> {
    let Measured { distance_m, duration_ms, waiting_ms } = measured;
    let times = [duration_ms, waiting_ms];
    if distance_m > DISTANCE_M_MAX || times.iter().any(|ms| !(0..=DURATION_MS_MAX).contains(ms)) {
        return Err(FareError::Implausible { distance_m, duration_ms, waiting_ms });
    }
    if !(100..=tariff.surge_percent_max).contains(&surge_percent) {
        return Err(FareError::Surge { asked: surge_percent, max: tariff.surge_percent_max });
    }
    let currency = tariff.currency;
    let rate = |minor_units| Money { minor_units, currency };
    // Bounded above, so this never takes the default.
    let metres = i64::try_from(distance_m).unwrap_or(i64::MAX);
    let mut lines = vec![
        FareLine { kind: LineKind::Base, amount: rate(tariff.base) },
        FareLine { kind: LineKind::Distance, amount: rate(tariff.per_km).ratio(metres, 1_000)? },
        FareLine { kind: LineKind::Time, amount: rate(tariff.per_minute).ratio(duration_ms, 60_000)? },
    ];
    let plain = total(currency, lines.iter().map(|l| l.amount))?;
    if surge_percent > 100 {
        let amount = plain.ratio(i64::from(surge_percent) - 100, 100)?;
        lines.push(FareLine { kind: LineKind::Surge, amount });
    }
    let missing = rate(tariff.minimum).minus(total(currency, lines.iter().map(|l| l.amount))?)?;
    if missing.minor_units > 0 {
        lines.push(FareLine { kind: LineKind::Minimum, amount: missing });
    }
    Ok((lines, currency))
}

fn push_waiting(
    tariff: &Tariff,
    measured: Measured,
    lines: &mut Vec<FareLine>,
    currency: Currency,
) -> Result<(), FareError> {
    let rate = Money { minor_units: tariff.waiting_per_minute, currency };
    let amount = rate.ratio(measured.waiting_ms, 60_000)?;
    if amount.minor_units > 0 {
        lines.push(FareLine { kind: LineKind::Waiting, amount });
    }
    Ok(())
}

fn priced(tariff: &Tariff, mut lines: Vec<FareLine>) -> Result<Fare, FareError> {
    lines.retain(|line| line.amount.minor_units != 0);
    let sum = total(tariff.currency, lines.iter().map(|l| l.amount))?;
    let rate = i64::from(tariff.tax_basis_points);
    let (net, tax, gross) = if tariff.tax_included {
        let tax = sum.ratio(rate, 10_000 + rate)?;
        (sum.minus(tax)?, tax, sum)
    } else {
        let tax = sum.ratio(rate, 10_000)?;
        (sum, tax, sum.plus(tax)?)
    };
    let Tariff { tax_basis_points, tax_included, .. } = *tariff;
    Ok(Fare { lines, net, tax, gross, tax_basis_points, tax_included })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tariff::Tariffs;

    fn tariff(rule: QuoteRule) -> Tariff {
        let tariffs = Tariffs::from_toml(crate::tariff::test_file()).expect("tariffs");
        Tariff { quote_rule: rule, ..tariffs.version("standard", 1).expect("version 1").clone() }
    }

    fn ride(distance_m: u64, minutes: i64, waiting_minutes: i64) -> Measured {
        Measured { distance_m, duration_ms: minutes * 60_000, waiting_ms: waiting_minutes * 60_000 }
    }

    fn kinds(fare: &Fare) -> Vec<(LineKind, i64)> {
        fare.lines.iter().map(|l| (l.kind, l.amount.minor_units)).collect()
    }

    #[test]
    fn a_ride_by_hand() {
        // 3.50 + 12.345 km * 1.40 + 17 min * 0.25 + 3 min waiting * 0.50 = 3.50 + 17.28 + 4.25 + 1.50
        let fare = fare(&tariff(QuoteRule::Metered), ride(12_345, 17, 3), 100).expect("a fare");
        let expected = [
            (LineKind::Base, 350),
            (LineKind::Distance, 1728),
            (LineKind::Time, 425),
            (LineKind::Waiting, 150),
        ];
        assert_eq!(kinds(&fare), expected);
        // 26.53 gross holds 26.53 * 19 / 119 = 4.2359.. of tax.
        let parts = (fare.net.minor_units, fare.tax.minor_units, fare.gross.minor_units);
        assert_eq!(parts, (2229, 424, 2653));
    }

    #[test]
    fn a_short_ride_costs_the_minimum_and_surge_comes_first() {
        let short = fare(&tariff(QuoteRule::Metered), ride(500, 2, 0), 100).expect("a fare");
        assert_eq!(short.gross.minor_units, 700);
        let surge = fare(&tariff(QuoteRule::Metered), ride(500, 2, 0), 200).expect("a fare");
        let expected =
            [(LineKind::Base, 350), (LineKind::Distance, 70), (LineKind::Time, 50), (LineKind::Surge, 470)];
        assert_eq!(kinds(&surge), expected);
        let more = fare(&tariff(QuoteRule::Metered), ride(500, 2, 0), 201);
        assert_eq!(more, Err(FareError::Surge { asked: 201, max: 200 }));
    }

    #[test]
    fn the_quote_binds_as_its_rule_says() {
        let promise =
            Promise { gross: Money { minor_units: 1000, currency: Currency::EUR }, surge_percent: 100 };
        // Measured: 3.50 + 10 km * 1.40 + 20 min * 0.25 = 22.50, and 1.00 for two minutes of waiting.
        for (rule, expected) in [
            (QuoteRule::Metered, 2350),
            (QuoteRule::Fixed, 1100),
            (QuoteRule::Capped { percent: 20 }, 1300),
            (QuoteRule::Capped { percent: 0 }, 1100),
        ] {
            let fare = fare_with_promise(&tariff(rule), ride(10_000, 20, 2), promise).expect("a fare");
            assert_eq!(fare.gross.minor_units, expected, "{rule:?}");
        }
        // A shorter way than quoted: cheaper under a cap, the same under a fixed price.
        for (rule, expected) in [(QuoteRule::Fixed, 1000), (QuoteRule::Capped { percent: 20 }, 700)] {
            let fare = fare_with_promise(&tariff(rule), ride(500, 2, 0), promise).expect("a fare");
            assert_eq!(fare.gross.minor_units, expected, "{rule:?}");
        }
    }

    #[test]
    fn fees_and_nonsense() {
        let tariff = tariff(QuoteRule::Fixed);
        let fee = |kind| cancellation(&tariff, kind).expect("a fee").map(|f| f.gross.minor_units);
        assert_eq!(fee(CancellationFee::None), None);
        assert_eq!(fee(CancellationFee::LateCancellation), Some(500));
        assert_eq!(fee(CancellationFee::NoShow), Some(800));
        for wrong in [ride(DISTANCE_M_MAX + 1, 1, 0), ride(1, -1, 0), ride(1, 1, -1), ride(1, 20_000, 0)] {
            assert!(matches!(fare(&tariff, wrong, 100), Err(FareError::Implausible { .. })));
        }
    }

    proptest! {
        /// Whatever is driven: lines, net and tax add up, and a cap is never broken.
        #[test]
        fn every_fare_adds_up(
            distance_m in 0..DISTANCE_M_MAX, duration_ms in 0..DURATION_MS_MAX, waiting_ms in 0..3_600_000_i64,
            tax_basis_points in 0..5_000_u32, tax_included: bool, percent in 0..100_u32, promised in 0..1_000_000_i64,
            surge_percent in 100..=200_u32,
        ) {
            let tariff = Tariff {
                tax_basis_points, tax_included, ..tariff(QuoteRule::Capped { percent })
            };
            let promise = Promise { gross: Money { minor_units: promised, currency: Currency::EUR }, surge_percent };
            let measured = Measured { distance_m, duration_ms, waiting_ms };
            let fare = fare_with_promise(&tariff, measured, promise).expect("a fare");
            prop_assert_eq!(fare.net.plus(fare.tax), Ok(fare.gross));
            let sum: i64 = fare.lines.iter().map(|l| l.amount.minor_units).sum();
            prop_assert_eq!(sum, if tax_included { fare.gross.minor_units } else { fare.net.minor_units });
            let waiting: i64 =
                fare.lines.iter().filter(|l| l.kind == LineKind::Waiting).map(|l| l.amount.minor_units).sum();
            if tax_included {
                let most = i128::from(promised) * i128::from(100 + percent) / 100;
                prop_assert!(i128::from(fare.gross.minor_units - waiting) <= most);
            }
            prop_assert!(fare.gross.minor_units >= 0);
        }

        /// Farther or longer is never cheaper.
        #[test]
        fn more_is_never_cheaper(
            distance_m in 0..DISTANCE_M_MAX / 2, duration_ms in 0..DURATION_MS_MAX / 2, more_m in 0..1_000_u64, more_ms in 0..60_000_i64,
        ) {
            let tariff = tariff(QuoteRule::Metered);
            let price = |distance_m, duration_ms| {
                fare(&tariff, Measured { distance_m, duration_ms, waiting_ms: 0 }, 100).expect("a fare").gross.minor_units
            };
            prop_assert!(price(distance_m + more_m, duration_ms + more_ms) >= price(distance_m, duration_ms));
        }
    }
}
