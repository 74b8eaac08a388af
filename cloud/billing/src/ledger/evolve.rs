//! What a fact changes.

use super::decide::fingerprint;
use super::{LedgerEvent, LedgerState};
use crate::limits::LEDGER_KEYS_MAX;

pub(super) fn evolve(state: &mut LedgerState, event: &LedgerEvent) {
    let LedgerEvent::Recorded(recorded) = event;
    state.transactions = recorded.number;
    for line in &recorded.transaction.lines {
        let balance = state.balances.entry((line.account, line.amount.currency)).or_insert(0);
        // Checked when it was decided, so this never saturates.
        *balance = balance.saturating_add(line.amount.minor_units);
    }
    state.recent.push_back(fingerprint(&recorded.transaction));
    if state.recent.len() > LEDGER_KEYS_MAX {
        state.recent.pop_front();
    }
}
