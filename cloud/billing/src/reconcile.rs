//! What the provider says against what the ledger says.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ledger::{Account, LedgerEvent};
use crate::limits::{REPORT_LINES_MAX, STATEMENT_LINES_MAX};
use crate::money::{Checked, Currency, Money};
use crate::provider::StatementLine;

/// A movement in the ledger that the provider must know: from the account `provider-clearing`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LedgerLine {
    /// The provider's name of it.
    pub reference: String,
    /// Key of the transaction.
    pub key: String,
    /// How much; what was taken is positive.
    pub amount: Money,
}

impl LedgerLine {
    /// The lines of a ledger's event; none when the provider had no part in it.
    pub fn of(event: &LedgerEvent) -> Vec<Self> {
        let LedgerEvent::Recorded(recorded) = event;
        let Some(reference) = &recorded.transaction.reference else { return Vec::new() };
        let lines = recorded.transaction.lines.iter();
        let lines = lines.filter(|line| line.account == Account::ProviderClearing);
        let line =
            |amount| Self { reference: reference.clone(), key: recorded.transaction.key.clone(), amount };
        lines.map(|l| line(l.amount)).collect()
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// The provider's name of the movement.
    pub reference: String,
    /// The ride or transaction, where known.
    pub about: Option<String>,
    /// What the ledger says.
    pub here: Option<Money>,
    /// What the provider says.
    pub there: Option<Money>,
}

/// Differences of a kind: the first of them, and how many there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Differences {
    /// All of them, counted.
    pub count: usize,
    /// The first 1,000.
    pub first: Vec<Difference>,
}

impl Differences {
    fn push(&mut self, difference: Difference) {
        self.count += 1;
        if self.first.len() < REPORT_LINES_MAX {
            self.first.push(difference);
        }
    }
}

/// The outcome.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Movements that both know with the same amount.
    pub matched: usize,
    /// Their sum by currency, minor units.
    pub matched_minor: BTreeMap<String, i128>,
    /// The provider moved money that the ledger does not know.
    pub missing_here: Differences,
    /// The ledger knows money that the provider did not move.
    pub missing_there: Differences,
    /// Both know it, with another amount.
    pub amounts_differ: Differences,
    /// The same movement stands twice on one side.
    pub repeated: Differences,
}

/// Too much for one report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("at most {STATEMENT_LINES_MAX} lines can be reconciled at once, not {0}; take a shorter time")]
pub struct TooMany(pub usize);

impl Report {
    /// Does everything agree?
    pub fn agrees(&self) -> bool {
        let kinds = [&self.missing_here, &self.missing_there, &self.amounts_differ, &self.repeated];
        kinds.iter().all(|kind| kind.count == 0)
    }
}

/// Compares.
///
/// # Errors
/// [`TooMany`].
pub fn reconcile(ledger: &[LedgerLine], statement: &[StatementLine]) -> Result<Report, TooMany> {
    let lines = ledger.len().max(statement.len());
    if lines > STATEMENT_LINES_MAX {
        return Err(TooMany(lines));
    }
    let mut report = Report::default();
    let mut here: BTreeMap<&str, &LedgerLine> = BTreeMap::new();
    for line in ledger {
        if here.insert(&line.reference, line).is_some() {
            report.repeated.push(difference(&line.reference, Some(line), None));
        }
    }
    let mut there: BTreeMap<&str, &StatementLine> = BTreeMap::new();
    for line in statement {
        if there.insert(&line.reference, line).is_some() {
            report.repeated.push(difference(&line.reference, None, Some(line)));
        }
    }
    for (reference, theirs) in &there {
        match here.get(reference) {
            Some(ours) if ours.amount == theirs.amount => {
                report.matched += 1;
                let currency: Currency = ours.amount.currency;
                let sum = report.matched_minor.entry(currency.to_string()).or_insert(0);
                *sum += i128::from(ours.amount.minor_units);
            }
            Some(ours) => report.amounts_differ.push(difference(reference, Some(ours), Some(theirs))),
            None => report.missing_here.push(difference(reference, None, Some(theirs))),
        }
    }
    for (reference, ours) in here.iter().filter(|(reference, _)| !there.contains_key(*reference)) {
        report.missing_there.push(difference(reference, Some(ours), None));
    }
    Ok(report)
}

fn difference(reference: &str, here: Option<&LedgerLine>, there: Option<&StatementLine>) -> Difference {
    let about = there.and_then(|line| line.payment.clone()).or_else(|| here.map(|line| line.key.clone()));
    Difference {
        reference: reference.to_owned(),
        about,
        here: here.map(|line| line.amount),
        there: there.map(|line| line.amount),
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "matched: {}", self.matched)?;
        for (currency, minor_units) in &self.matched_minor {
            writeln!(f, "  {minor_units} minor units of {currency}")?;
        }
        let kinds = [
            ("missing here", &self.missing_here),
            ("missing there", &self.missing_there),
            ("amounts differ", &self.amounts_differ),
            ("repeated", &self.repeated),
        ];
        let shown = |money: Option<Money>| money.map_or_else(|| "-".to_owned(), |m| m.shown().to_string());
        for (name, differences) in kinds {
            writeln!(f, "{name}: {}", differences.count)?;
            for d in &differences.first {
                let about = d.about.as_deref().unwrap_or("-");
                writeln!(
                    f,
                    "  {} ({about}): ledger {}, provider {}",
                    d.reference,
                    shown(d.here),
                    shown(d.there)
                )?;
            }
            if differences.count > differences.first.len() {
                writeln!(f, "  and {} more", differences.count - differences.first.len())?;
            }
        }
        Ok(())
    }
}
