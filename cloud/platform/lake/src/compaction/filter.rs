//! What a file loses when it is rewritten.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use remuda_eventsourcing::Note;
use remuda_model::SignalClass;

use crate::erasure::{ErasureId, ErasureRecord, Stripped, Tombstones, blank};
use crate::error::LakeError;
use crate::row::Row;

/// Takes rows and values out.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// What was asked to be forgotten.
    pub tombstones: Arc<Tombstones>,
    /// Classes over age.
    pub gone: BTreeSet<SignalClass>,
}

/// What was taken out of one file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Taken {
    /// Rows that are gone.
    pub rows: u64,
    /// By erasure: rows that are gone, and rows that lost values.
    erased: BTreeMap<ErasureId, (u64, u64)>,
    /// Rows that lost values to retention.
    pub aged: u64,
}

impl Filter {
    /// Takes out of a row what is to go; whether anything of it stays.
    pub fn keeps(&self, row: &mut Row, taken: &mut Taken) -> bool {
        match self.tombstones.strip(row) {
            Stripped::Kept => {}
            Stripped::Blanked(id) => taken.erased.entry(id).or_default().1 += 1,
            Stripped::Erased(id) => {
                taken.erase(id);
                return false;
            }
        }
        if !self.gone.is_empty() && blank(&mut row.body, |class| self.gone.contains(&class)) {
            taken.aged += 1;
        }
        true
    }
}

impl Taken {
    /// One row more that is gone.
    pub fn erase(&mut self, id: ErasureId) {
        self.erased.entry(id).or_default().0 += 1;
        self.rows += 1;
    }

    /// Nothing that was asked for was in it.
    pub fn is_clean(&self) -> bool {
        self.erased.is_empty()
    }

    /// Rows that lost values to erasures.
    pub fn blanked(&self) -> u64 {
        self.erased.values().map(|(_, blanked)| blanked).sum()
    }

    /// The lines of the proof.
    pub fn notes(&self, file: &str, at_ms: i64) -> Result<Vec<Note>, LakeError> {
        let line = |(id, (rows, blanked)): (&ErasureId, &(u64, u64))| {
            let (id, rows, blanked) = (*id, *rows, *blanked);
            ErasureRecord::Removed { id, file: file.to_owned(), rows, blanked, at_ms }.note()
        };
        self.erased.iter().map(line).collect()
    }
}
