//! Asking for an erasure, and what became of it.

use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use remuda_eventsourcing::Note;
use remuda_model::{OrganizationId, SignalClass, VehicleId};
use serde::{Deserialize, Serialize};

use super::trail::TRAIL;
use super::{ErasureId, ErasureRecord, Tombstone, Tombstones};
use crate::error::LakeError;
use crate::lake::Lake;
use crate::limits;

/// The trail that says of which erasures a log outside was told.
const TOLD: &str = "lake-erasures-told";

/// What is to be forgotten.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErasureRequest {
    /// Whose rows.
    pub organization: OrganizationId,
    /// Of which vehicle; `None`: of every vehicle of the organisation.
    pub vehicle: Option<VehicleId>,
    /// Rows from this time on, ns since 1970 UTC; `None`: from the first one on.
    pub from_ns: Option<i64>,
    /// Rows before this time, ns since 1970 UTC; `None`, or a time to come: up to now.
    pub until_ns: Option<i64>,
    /// Which signals; none named: everything, rows and all.
    pub classes: BTreeSet<SignalClass>,
    /// Who asks.
    pub requested_by: String,
    /// Why; it stays for ever, so it names no person.
    pub reason: String,
}

/// What was removed from one file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RemovedFrom {
    /// The file that had it.
    pub file: String,
    /// Rows that are gone.
    pub rows: u64,
    /// Rows that lost values.
    pub blanked: u64,
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
}

/// An erasure and its proof.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// What was asked, by whom, when, why.
    #[serde(flatten)]
    pub tombstone: Tombstone,
    /// Rows that are gone.
    pub rows: u64,
    /// Rows that lost values.
    pub blanked: u64,
    /// Files that had any of it.
    pub files: Vec<RemovedFrom>,
    /// When no file of history had any more of it, ms since 1970 UTC.
    pub rewritten_at_ms: Option<i64>,
    /// When the last copy that readers could still hold was deleted, ms since 1970 UTC. What arrives later and is covered
    /// is erased on its way, and counted all the same.
    pub finished_at_ms: Option<i64>,
}

impl Erasure {
    /// The line that says it was told of; one that was opened again and finished is told of again.
    fn telling(&self) -> Option<String> {
        Some(format!("{} {}", self.tombstone.id, self.finished_at_ms?))
    }
}

impl ErasureRequest {
    fn check(&self) -> Result<(), LakeError> {
        let wrong = |what: &str| Err(LakeError::Erasure(what.to_owned()));
        if self.requested_by.trim().is_empty() || self.reason.trim().is_empty() {
            return wrong("say who asks and why: both stay in the proof");
        }
        if self.requested_by.len() > limits::ERASURE_TEXT_MAX || self.reason.len() > limits::ERASURE_TEXT_MAX
        {
            return wrong("who asks and why have at most 1,000 bytes each");
        }
        if let (Some(from), Some(until)) = (self.from_ns, self.until_ns)
            && from >= until
        {
            return wrong("the range ends before it begins: give --from before --until");
        }
        Ok(())
    }

    /// The tombstone of it, asked for at a moment, ms since 1970 UTC.
    pub(super) fn tombstone(self, id: ErasureId, now_ms: i64) -> Result<Tombstone, LakeError> {
        self.check()?;
        let tombstone = Tombstone {
            id,
            organization: self.organization,
            vehicle: self.vehicle,
            from_ns: self.from_ns,
            until_ns: self.until_ns,
            classes: self.classes,
            requested_at_ms: now_ms,
            requested_by: self.requested_by,
            reason: self.reason,
        };
        let (from, until) = tombstone.range_ns();
        if from >= until {
            return Err(LakeError::Erasure("the range lies in the future: ask again when it is over".into()));
        }
        Ok(tombstone)
    }
}

impl Lake {
    /// Asks for an erasure at this moment (ms since 1970 UTC). When it answers, the tombstone is durable and every reader
    /// that asks [`Lake::tombstones`] filters by it; the compaction does the rest.
    ///
    /// # Errors
    /// When the request makes no sense, or the journal fails: then it may be durable all the same, and asking again does
    /// no harm.
    pub async fn erase(&self, request: ErasureRequest, now_ms: i64) -> Result<Tombstone, LakeError> {
        self.erase_once(ErasureId(rand::random()), request, now_ms).await
    }

    /// The same under a number of the asker's: asked again it is the same erasure.
    ///
    /// # Errors
    /// As [`Lake::erase`], and when something else was asked for under this number.
    pub async fn erase_once(
        &self,
        id: ErasureId,
        request: ErasureRequest,
        now_ms: i64,
    ) -> Result<Tombstone, LakeError> {
        let tombstone = request.tombstone(id, now_ms)?;
        self.refresh().await?;
        let known = self.known.lock().await.states.get(&id).map(|state| state.tombstone.clone());
        if let Some(known) = known {
            let again = Tombstone { requested_at_ms: known.requested_at_ms, ..tombstone };
            if again == known {
                return Ok(known);
            }
            return Err(LakeError::Erasure(format!(
                "another erasure has the number {id}: see remuda lake erasures"
            )));
        }
        self.request(&tombstone).await?;
        tracing::info!(id = %tombstone.id, by = tombstone.requested_by, "an erasure was asked for");
        Ok(tombstone)
    }

    /// Finished erasures of which no log outside the lake was told yet, in the order of the requests.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn erasures_to_tell(&self) -> Result<Vec<Erasure>, LakeError> {
        self.refresh().await?;
        if self.known.lock().await.states.is_empty() {
            return Ok(Vec::new());
        }
        let mut told: HashSet<String> = HashSet::new();
        let mut after = 0;
        loop {
            let lines = self.journal.notes(TOLD, after, limits::MANIFEST_PAGE).await?;
            let Some((last, _)) = lines.last() else { break };
            after = *last;
            told.extend(lines.into_iter().filter_map(|(_, line)| String::from_utf8(line).ok()));
        }
        let mut erasures = self.erasures().await?;
        erasures.retain(|erasure| erasure.telling().is_some_and(|line| !told.contains(&line)));
        Ok(erasures)
    }

    /// Notes that a log outside was told of it: at least once, and after a crash in between once more.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn erasure_told(&self, erasure: &Erasure) -> Result<(), LakeError> {
        let Some(line) = erasure.telling() else { return Ok(()) };
        self.journal.note(&[Note { trail: TOLD.into(), bytes: line.into_bytes() }]).await?;
        Ok(())
    }

    /// Makes a tombstone durable, in the journal and beside the files: a journal restored from before the request learns
    /// of it again when the lake is adopted.
    pub(crate) async fn request(&self, tombstone: &Tombstone) -> Result<(), LakeError> {
        self.journal.note(&[ErasureRecord::Requested(tombstone.clone()).note()?]).await?;
        if let Err(error) = self.copy_tombstone(tombstone).await {
            tracing::warn!(%error, id = %tombstone.id, "the copy of a tombstone was not written; the next compaction does it");
        }
        Ok(())
    }

    async fn copy_tombstone(&self, tombstone: &Tombstone) -> Result<(), LakeError> {
        let copy = serde_json::to_vec_pretty(tombstone).map_err(|e| LakeError::Encode(e.to_string()))?;
        self.files.create(&format!("{}{}.json", super::COPIES, tombstone.id), copy).await
    }

    /// Writes the copies that are missing beside the files.
    pub(crate) async fn copy_tombstones(&self) -> Result<(), LakeError> {
        let tombstones: Vec<Tombstone> = {
            let known = self.known.lock().await;
            known.states.values().map(|state| state.tombstone.clone()).collect()
        };
        if tombstones.is_empty() {
            return Ok(());
        }
        let listed = self.files.listed(super::COPIES.trim_end_matches('/')).await?;
        let there: HashSet<String> = listed.into_iter().map(|meta| meta.location.to_string()).collect();
        for tombstone in tombstones {
            if !there.contains(&format!("{}{}.json", super::COPIES, tombstone.id)) {
                self.copy_tombstone(&tombstone).await?;
            }
        }
        Ok(())
    }

    /// Looks through all files again for what an erasure covers, such as after files were restored from a backup that is
    /// older than it.
    ///
    /// # Errors
    /// When there is no such erasure, or the journal fails.
    pub async fn reopen_erasure(&self, id: ErasureId, by: String, now_ms: i64) -> Result<(), LakeError> {
        self.refresh().await?;
        if !self.known.lock().await.states.contains_key(&id) {
            return Err(LakeError::Erasure(format!("there is no erasure {id}: see remuda lake erasures")));
        }
        self.journal.note(&[ErasureRecord::Reopened { id, by, at_ms: now_ms }.note()?]).await?;
        Ok(())
    }

    /// Every tombstone that is durable by now. A reader asks once, before it reads, and shows nothing that is covered.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn tombstones(&self) -> Result<Arc<Tombstones>, LakeError> {
        self.refresh().await?;
        Ok(Arc::clone(&self.known.lock().await.tombstones))
    }

    /// Every erasure with its proof, in the order of the requests.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn erasures(&self) -> Result<Vec<Erasure>, LakeError> {
        let mut erasures: Vec<Erasure> = Vec::new();
        let mut after = 0;
        loop {
            let lines = self.journal.notes(TRAIL, after, limits::MANIFEST_PAGE).await?;
            let Some((last, _)) = lines.last() else { return Ok(erasures) };
            after = *last;
            for (_, line) in &lines {
                tell(&mut erasures, ErasureRecord::read(line)?);
            }
        }
    }

    /// Reads what was added to the trail.
    pub(crate) async fn refresh(&self) -> Result<(), LakeError> {
        let mut known = self.known.lock().await;
        loop {
            let lines = self.journal.notes(TRAIL, known.position, limits::MANIFEST_PAGE).await?;
            if lines.is_empty() {
                return Ok(());
            }
            known.take(lines)?;
        }
    }
}

/// Takes a line into the proofs.
fn tell(erasures: &mut Vec<Erasure>, record: ErasureRecord) {
    let (id, record) = match record {
        ErasureRecord::Requested(tombstone) => {
            if erasures.iter().all(|known| known.tombstone.id != tombstone.id) {
                erasures.push(Erasure {
                    tombstone,
                    rows: 0,
                    blanked: 0,
                    files: Vec::new(),
                    rewritten_at_ms: None,
                    finished_at_ms: None,
                });
            }
            return;
        }
        ErasureRecord::Removed { id, .. }
        | ErasureRecord::Rewritten { id, .. }
        | ErasureRecord::Finished { id, .. }
        | ErasureRecord::Reopened { id, .. } => (id, record),
    };
    let Some(erasure) = erasures.iter_mut().find(|erasure| erasure.tombstone.id == id) else { return };
    match record {
        ErasureRecord::Requested(_) => {}
        ErasureRecord::Removed { file, rows, blanked, at_ms, .. } => {
            erasure.rows += rows;
            erasure.blanked += blanked;
            erasure.files.push(RemovedFrom { file, rows, blanked, at_ms });
        }
        ErasureRecord::Rewritten { at_ms, .. } => erasure.rewritten_at_ms = Some(at_ms),
        ErasureRecord::Finished { at_ms, .. } => erasure.finished_at_ms = Some(at_ms),
        ErasureRecord::Reopened { .. } => {
            erasure.rewritten_at_ms = None;
            erasure.finished_at_ms = None;
        }
    }
}
