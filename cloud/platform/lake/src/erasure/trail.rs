//! The audit trail of erasures: what its lines say, and what follows from them.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_eventsourcing::{Note, NotePosition};
use serde::{Deserialize, Serialize};

use super::{ErasureId, Tombstone, Tombstones};
use crate::error::LakeError;

/// The trail's name in the journal.
pub(crate) const TRAIL: &str = "lake-erasures";

/// A line of the trail, JSON: an auditor reads it without us, and a line written today is read for ever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "kebab-case")]
pub(crate) enum ErasureRecord {
    /// Somebody asked.
    Requested(Tombstone),
    /// A file was replaced by one without what is covered, or by none.
    Removed {
        /// The erasure.
        id: ErasureId,
        /// The file that had it.
        file: String,
        /// Rows that are gone.
        rows: u64,
        /// Rows that lost values.
        blanked: u64,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// No file of history has any more of it.
    Rewritten {
        /// The erasure.
        id: ErasureId,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// The last replaced file that had any of it was deleted.
    Finished {
        /// The erasure.
        id: ErasureId,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
    /// Somebody had files put back, so that they must be looked through again.
    Reopened {
        /// The erasure.
        id: ErasureId,
        /// Who.
        by: String,
        /// When, ms since 1970 UTC.
        at_ms: i64,
    },
}

impl ErasureRecord {
    pub fn note(&self) -> Result<Note, LakeError> {
        let bytes = serde_json::to_vec(self).map_err(|e| LakeError::Encode(e.to_string()))?;
        Ok(Note { trail: TRAIL.into(), bytes })
    }

    pub fn read(bytes: &[u8]) -> Result<Self, LakeError> {
        serde_json::from_slice(bytes).map_err(|e| {
            LakeError::Encode(format!(
                "a line of the trail {TRAIL} cannot be read ({e}); use a newer release"
            ))
        })
    }
}

/// How far an erasure is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct State {
    pub tombstone: Tombstone,
    pub rows: u64,
    pub blanked: u64,
    pub files: u64,
    pub last_removed_ms: i64,
    pub rewritten_at_ms: Option<i64>,
    pub finished_at_ms: Option<i64>,
}

/// What the trail says up to a position.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub position: NotePosition,
    pub states: BTreeMap<ErasureId, State>,
    pub tombstones: Arc<Tombstones>,
}

impl Known {
    /// Takes the next lines.
    pub fn take(&mut self, lines: Vec<(NotePosition, Vec<u8>)>) -> Result<(), LakeError> {
        let mut added = Vec::new();
        for (position, bytes) in lines {
            let record = ErasureRecord::read(&bytes)?;
            added.extend(self.apply(record));
            self.position = position;
        }
        if !added.is_empty() {
            let mut tombstones = (*self.tombstones).clone();
            added.iter().for_each(|tombstone| tombstones.add(tombstone));
            self.tombstones = Arc::new(tombstones);
        }
        Ok(())
    }

    /// Tombstones of which nothing should be left in history.
    pub fn finished(&self) -> Arc<Tombstones> {
        let finished = self.states.values().filter(|state| state.finished_at_ms.is_some());
        Arc::new(Tombstones::of(finished.map(|state| &state.tombstone)))
    }

    /// One line; a tombstone that is new.
    fn apply(&mut self, record: ErasureRecord) -> Option<Tombstone> {
        match record {
            ErasureRecord::Requested(tombstone) => {
                // The answer of the first request was lost and it was repeated.
                if self.states.contains_key(&tombstone.id) {
                    return None;
                }
                let state = State {
                    tombstone: tombstone.clone(),
                    rows: 0,
                    blanked: 0,
                    files: 0,
                    last_removed_ms: 0,
                    rewritten_at_ms: None,
                    finished_at_ms: None,
                };
                self.states.insert(tombstone.id, state);
                return Some(tombstone);
            }
            ErasureRecord::Removed { id, rows, blanked, at_ms, .. } => {
                let state = self.states.get_mut(&id)?;
                state.rows += rows;
                state.blanked += blanked;
                state.files += 1;
                state.last_removed_ms = state.last_removed_ms.max(at_ms);
            }
            ErasureRecord::Rewritten { id, at_ms } => self.states.get_mut(&id)?.rewritten_at_ms = Some(at_ms),
            ErasureRecord::Finished { id, at_ms } => self.states.get_mut(&id)?.finished_at_ms = Some(at_ms),
            ErasureRecord::Reopened { id, .. } => {
                let state = self.states.get_mut(&id)?;
                state.rewritten_at_ms = None;
                state.finished_at_ms = None;
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines as they stand in journals: they are read for ever.
    #[test]
    fn old_lines_are_read() {
        let lines = [
            r#"{"line":"requested","id":"00000000000000ff","organization":"default","vehicle":"V1","from_ns":null,"until_ns":5,"classes":["position","driver-behaviour"],"requested_at_ms":7,"requested_by":"ada","reason":"asked"}"#,
            r#"{"line":"removed","id":"00000000000000ff","file":"history/a","rows":3,"blanked":1,"at_ms":9}"#,
            r#"{"line":"rewritten","id":"00000000000000ff","at_ms":10}"#,
            r#"{"line":"finished","id":"00000000000000ff","at_ms":11}"#,
            r#"{"line":"reopened","id":"00000000000000ff","by":"ada","at_ms":12}"#,
        ];
        let mut known = Known::default();
        for (i, line) in (1..).zip(lines) {
            let record = ErasureRecord::read(line.as_bytes()).expect("read");
            assert_eq!(serde_json::to_string(&record).expect("written"), line);
            known.take(vec![(i, line.into())]).expect("taken");
            let state = &known.states[&ErasureId(255)];
            assert_eq!(
                (state.rewritten_at_ms.is_some(), state.finished_at_ms.is_some()),
                ((3..5).contains(&i), i == 4)
            );
        }
        let state = &known.states[&ErasureId(255)];
        assert_eq!((state.rows, state.blanked, state.files, state.last_removed_ms), (3, 1, 1, 9));
        assert_eq!(known.position, 5);
        assert!(!known.tombstones.is_empty());
        assert!(ErasureRecord::read(b"{\"line\":\"later\"}").is_err());
    }
}
