//! What follows from a wish.

use std::collections::BTreeMap;

use super::error::LedgerRefusal as No;
use super::{LedgerCommand, LedgerEvent, LedgerState, Recorded, Transaction};
use crate::limits::{LEDGER_BALANCES_MAX, TEXT_BYTES_MAX, TRANSACTION_LINES_MAX};

pub(super) fn decide(state: &LedgerState, command: &LedgerCommand) -> Result<Vec<LedgerEvent>, No> {
    let LedgerCommand::Post(transaction) = command;
    check(transaction)?;
    let (key, content) = fingerprint(transaction);
    if let Some((_, said)) = state.recent.iter().find(|(known, _)| *known == key) {
        return if *said == content { Ok(Vec::new()) } else { Err(No::KeyReused(transaction.key.clone())) };
    }
    let mut balances = state.balances.clone();
    for line in &transaction.lines {
        let balance = balances.entry((line.account, line.amount.currency)).or_insert(0);
        *balance = balance.checked_add(line.amount.minor_units).ok_or(No::Overflow)?;
    }
    if balances.len() > LEDGER_BALANCES_MAX {
        return Err(No::TooManyBalances);
    }
    let number = state.transactions + 1;
    Ok(vec![LedgerEvent::Recorded(Recorded { number, transaction: transaction.clone() })])
}

fn check(transaction: &Transaction) -> Result<(), No> {
    let texts = [&transaction.key, &transaction.memo];
    if texts.iter().any(|text| text.is_empty() || text.len() > TEXT_BYTES_MAX) {
        return Err(No::Text);
    }
    let lines = &transaction.lines;
    if !(2..=TRANSACTION_LINES_MAX).contains(&lines.len()) || lines.iter().any(|l| l.amount.minor_units == 0)
    {
        return Err(No::Lines);
    }
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry(line.amount.currency).or_insert(0) += i128::from(line.amount.minor_units);
    }
    match sums.into_iter().find(|(_, sum)| *sum != 0) {
        Some((currency, by)) => Err(No::Unbalanced { by, currency }),
        None => Ok(()),
    }
}

/// Hashes of the key and of the lines.
pub(super) fn fingerprint(transaction: &Transaction) -> (u64, u64) {
    let mut content = FNV_OFFSET;
    for line in &transaction.lines {
        content = fnv(content, line.account.name().as_bytes());
        content = fnv(content, line.amount.currency.as_str().as_bytes());
        content = fnv(content, &line.amount.minor_units.to_le_bytes());
    }
    (fnv(FNV_OFFSET, transaction.key.as_bytes()), content)
}

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a: stable for ever, since snapshots hold it. Keys are made by us, so nobody looks for collisions.
fn fnv(hash: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}
