//! Tariffs from a file, checked as a whole.

use serde::Deserialize;

use super::{QuoteRule, Tariff};
use crate::currency::decimals;
use crate::limits::{
    QUOTE_VALID_S, RATE_MINOR_MAX, SURGE_PERCENT_MAX, TARIFF_VERSIONS_MAX, TARIFFS_MAX, TAX_BASIS_POINTS_MAX,
};

/// Why a file of tariffs cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TariffError {
    /// Not the form of a file of tariffs.
    #[error("the tariffs cannot be read: {0}")]
    Form(String),
    /// A value that makes no sense.
    #[error("tariff {code} version {version}: {field} {reason}")]
    Value {
        /// Which tariff.
        code: String,
        /// Which version.
        version: u32,
        /// Which field.
        field: &'static str,
        /// What is wrong, and what would be right.
        reason: String,
    },
    /// Versions that contradict each other, or none.
    #[error("tariff {code}: {reason}")]
    Versions {
        /// Which tariff.
        code: String,
        /// What is wrong.
        reason: String,
    },
}

/// The tariffs of an organisation, all versions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tariffs {
    /// By code, then version.
    all: Vec<Tariff>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    tariff: Vec<Tariff>,
}

impl Tariffs {
    /// Reads TOML: a list of `[[tariff]]`.
    ///
    /// # Errors
    /// [`TariffError`], which names the tariff, the field and what would be right.
    pub fn from_toml(text: &str) -> Result<Self, TariffError> {
        let file: File = toml::from_str(text).map_err(|e| TariffError::Form(e.to_string()))?;
        Self::new(file.tariff)
    }

    /// Checks tariffs from anywhere.
    ///
    /// # Errors
    /// As [`Self::from_toml`].
    pub fn new(mut all: Vec<Tariff>) -> Result<Self, TariffError> {
        all.iter().try_for_each(check)?;
        all.sort_by(|a, b| (&a.code, a.version).cmp(&(&b.code, b.version)));
        if all.is_empty() || all.len() > TARIFFS_MAX {
            return Err(TariffError::Form(format!(
                "there must be 1 to {TARIFFS_MAX} tariffs, not {}",
                all.len()
            )));
        }
        for versions in all.chunk_by(|a, b| a.code == b.code) {
            let wrong =
                |reason: String| Err(TariffError::Versions { code: versions[0].code.clone(), reason });
            if versions.len() > TARIFF_VERSIONS_MAX {
                return wrong(format!("has more than {TARIFF_VERSIONS_MAX} versions"));
            }
            for pair in versions.windows(2) {
                let (a, b) = (&pair[0], &pair[1]);
                if a.version == b.version {
                    return wrong(format!("version {} stands there twice", a.version));
                }
                if a.valid_from_ms >= b.valid_from_ms {
                    return wrong(format!(
                        "version {} must hold from a later time than version {}",
                        b.version, a.version
                    ));
                }
                if a.currency != b.currency {
                    return wrong(format!(
                        "changes from {} to {}; give the new currency a code of its own",
                        a.currency, b.currency
                    ));
                }
            }
        }
        Ok(Self { all })
    }

    /// The version in force at a time.
    pub fn at(&self, code: &str, now_ms: i64) -> Option<&Tariff> {
        self.all.iter().rev().find(|t| t.code == code && t.valid_from_ms <= now_ms)
    }

    /// A version, such as the one that a quote names.
    pub fn version(&self, code: &str, version: u32) -> Option<&Tariff> {
        self.all.iter().find(|t| t.code == code && t.version == version)
    }

    /// All of them, by code and version.
    pub fn iter(&self) -> impl Iterator<Item = &Tariff> {
        self.all.iter()
    }
}

fn check(tariff: &Tariff) -> Result<(), TariffError> {
    let wrong = |field, reason: String| {
        Err(TariffError::Value { code: tariff.code.clone(), version: tariff.version, field, reason })
    };
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if tariff.code.is_empty() || tariff.code.len() > 32 || !tariff.code.bytes().all(plain) {
        return wrong("code", "must be 1 to 32 of a-z, 0-9 and -".into());
    }
    if tariff.version == 0 {
        return wrong("version", "must be 1 or more".into());
    }
    if decimals(tariff.currency).is_none() {
        return wrong("currency", format!("{} is no currency in use (ISO 4217)", tariff.currency));
    }
    let rates = [
        ("base", tariff.base),
        ("per_km", tariff.per_km),
        ("per_minute", tariff.per_minute),
        ("minimum", tariff.minimum),
        ("waiting_per_minute", tariff.waiting_per_minute),
        ("cancellation_fee", tariff.cancellation_fee),
        ("no_show_fee", tariff.no_show_fee),
    ];
    for (field, rate) in rates {
        if !(0..=RATE_MINOR_MAX).contains(&rate) {
            return wrong(field, format!("must be 0 to {RATE_MINOR_MAX} minor units, not {rate}"));
        }
    }
    if !(100..=SURGE_PERCENT_MAX).contains(&tariff.surge_percent_max) {
        let given = tariff.surge_percent_max;
        return wrong("surge_percent_max", format!("must be 100 (none) to {SURGE_PERCENT_MAX}, not {given}"));
    }
    if tariff.tax_basis_points > TAX_BASIS_POINTS_MAX {
        let given = tariff.tax_basis_points;
        return wrong(
            "tax_basis_points",
            format!("must be 0 to {TAX_BASIS_POINTS_MAX} (1900 = 19 %), not {given}"),
        );
    }
    if let QuoteRule::Capped { percent } = tariff.quote_rule
        && percent > 100
    {
        return wrong("quote_rule", format!("may allow at most 100 percent above the quote, not {percent}"));
    }
    if !(QUOTE_VALID_S.0..=QUOTE_VALID_S.1).contains(&tariff.quote_valid_s) {
        let given = tariff.quote_valid_s;
        return wrong(
            "quote_valid_s",
            format!("must be {} to {} s, not {given}", QUOTE_VALID_S.0, QUOTE_VALID_S.1),
        );
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const FILE: &str = r#"
        [[tariff]]
        code = "standard"
        version = 1
        valid_from_ms = 0
        currency = "EUR"
        base = 350
        per_km = 140
        per_minute = 25
        minimum = 700
        waiting_per_minute = 50
        cancellation_fee = 500
        no_show_fee = 800
        surge_percent_max = 200
        tax_basis_points = 1900
        quote_rule = { capped = { percent = 20 } }

        [[tariff]]
        code = "standard"
        version = 2
        valid_from_ms = 1000000
        currency = "EUR"
        base = 400
        per_km = 150
        per_minute = 25
        minimum = 700
        tax_basis_points = 1900
        quote_rule = "fixed"
    "#;

    #[test]
    fn the_version_in_force_is_found_and_old_ones_stay() {
        let tariffs = Tariffs::from_toml(FILE).expect("tariffs");
        assert_eq!(tariffs.at("standard", 999_999).map(|t| t.version), Some(1));
        assert_eq!(tariffs.at("standard", 1_000_000).map(|t| t.version), Some(2));
        assert_eq!(tariffs.at("standard", -1), None);
        assert_eq!(tariffs.at("other", 0), None);
        assert_eq!(tariffs.version("standard", 1).map(|t| t.base), Some(350));
    }

    #[test]
    fn every_mistake_is_named() {
        for (from, to, says) in [
            ("per_km = 140", "per_km = -1", "standard version 1: per_km must be 0"),
            ("per_km = 140", "per_mile = 140", "unknown field"),
            ("per_km = 140", "per_km = 1.4", "invalid type: floating point"),
            ("per_km = 140", "", "missing field `per_km`"),
            ("\"EUR\"", "\"XXX\"", "XXX is no currency"),
            ("\"EUR\"", "\"euro\"", "three capital letters"),
            ("surge_percent_max = 200", "surge_percent_max = 501", "surge_percent_max must be 100"),
            ("surge_percent_max = 200", "surge_percent_max = 99", "surge_percent_max must be 100"),
            ("tax_basis_points = 1900", "tax_basis_points = 19000", "1900 = 19 %"),
            ("percent = 20", "percent = 101", "at most 100 percent"),
            ("version = 2", "version = 1", "stands there twice"),
            ("version = 2", "version = 0", "must be 1 or more"),
            ("valid_from_ms = 1000000", "valid_from_ms = 0", "later time"),
            ("\"fixed\"", "\"free\"", "unknown variant"),
            ("quote_rule = \"fixed\"", "quote_valid_s = 5", "must be 30 to 86400"),
        ] {
            let text = FILE.replacen(from, to, 1);
            assert_ne!(text, FILE);
            let error = Tariffs::from_toml(&text).expect_err(says).to_string();
            assert!(error.contains(says), "{error} should say {says}");
        }
        assert!(Tariffs::from_toml("tariff = []").is_err());
    }
}
