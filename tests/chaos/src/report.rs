//! What all rounds came to.

use std::collections::BTreeMap;

use remuda_ledger::Ledger;
use serde::Serialize;

use crate::plan::{KINDS, Kind};

/// Printed as JSON, with exactly these names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Rounds carried out.
    pub rounds: u64,
    /// How often each fault was made.
    pub faults: BTreeMap<&'static str, u64>,
    /// Frames that were durable in an outbox once.
    pub frames_made: u64,
    /// Of these, in the lake or the journal.
    pub frames_stored: u64,
    /// Of these, in quarantine.
    pub frames_quarantined: u64,
    /// Of these, given up at the edge or dead with an outbox that a round destroyed.
    pub frames_shed: u64,
    /// Of these, taken by erasures.
    pub frames_erased: u64,
    /// Of these, taken by retention.
    pub frames_expired: u64,
    /// Of these, gone with a node that was lost, after its backup was begun.
    pub frames_lost_with_node: u64,
    /// Must be 0.
    pub frames_lost: u64,
    /// Must be 0.
    pub frames_duplicated: u64,
    /// Values that retention took out of rows that stay.
    pub samples_expired: u64,
    /// Gaps the cloud recorded.
    pub gaps: u64,
    /// Must be 0.
    pub decisions_missing: u64,
    /// Must be 0.
    pub decisions_doubled: u64,
    /// The first round that failed; none when all held.
    pub seed_of_first_failure: Option<u64>,
}

impl Default for Report {
    fn default() -> Self {
        Self {
            rounds: 0,
            faults: KINDS.into_iter().map(|kind| (kind.name(), 0)).collect(),
            frames_made: 0,
            frames_stored: 0,
            frames_quarantined: 0,
            frames_shed: 0,
            frames_erased: 0,
            frames_expired: 0,
            frames_lost_with_node: 0,
            frames_lost: 0,
            frames_duplicated: 0,
            samples_expired: 0,
            gaps: 0,
            decisions_missing: 0,
            decisions_doubled: 0,
            seed_of_first_failure: None,
        }
    }
}

impl Report {
    /// A fault was made.
    pub(crate) fn fault(&mut self, kind: Kind) {
        *self.faults.entry(kind.name()).or_default() += 1;
    }

    /// A round was counted.
    pub(crate) fn add(&mut self, ledger: &Ledger) {
        self.frames_made += ledger.frames_made;
        self.frames_stored += ledger.frames_stored;
        self.frames_quarantined += ledger.frames_quarantined;
        self.frames_shed += ledger.frames_shed;
        self.frames_erased += ledger.frames_erased;
        self.frames_expired += ledger.frames_expired;
        self.frames_lost_with_node += ledger.frames_lost_with_node;
        self.frames_lost += ledger.frames_lost;
        self.frames_duplicated += ledger.frames_duplicated;
        self.samples_expired += ledger.samples_expired;
        self.gaps += ledger.gaps;
        self.decisions_missing += ledger.decisions_missing;
        self.decisions_doubled += ledger.decisions_doubled;
    }
}
