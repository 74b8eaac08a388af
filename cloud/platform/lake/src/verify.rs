//! Whether the lake's files are what its manifest says.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use remuda_eventsourcing::ManifestEntry;
use serde::Serialize;

use crate::aside::aside;
use crate::describe::{Description, rows_of};
use crate::erasure::{Stripped, Tombstones};
use crate::error::LakeError;
use crate::file;
use crate::files::replaced;
use crate::history::{FRESH, HISTORY, Hour, order};
use crate::lake::Lake;
use crate::row::Row;

/// What is wrong with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// Committed, and nowhere.
    Missing,
    /// It ends before its footer.
    Truncated,
    /// Its bytes are not those that were committed.
    Changed,
    /// Its rows are not those that the manifest counts, or not where they belong.
    Rows,
    /// It lies in the lake and nobody committed it.
    Stray,
    /// It is in the manifest more than once.
    Doubled,
    /// It has rows of an erasure that was finished.
    Erased,
}

/// A file that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LakeFault {
    /// What is wrong.
    pub kind: FaultKind,
    /// Path below the lake's root.
    pub path: String,
    /// In words.
    pub detail: String,
    /// What to do.
    pub advice: &'static str,
}

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LakeVerification {
    /// Committed files looked at.
    pub files: u64,
    /// Rows that the manifest counts in them.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Everything that is wrong; empty when the lake holds.
    pub faults: Vec<LakeFault>,
}

const RESTORE: &str = "put this file back from a backup of the lake, then verify again; its rows are in no other file of \
                       the lake, and the vehicles have forgotten them";
const LOOK_AT_THE_DISK: &str = "put this file back from a backup of the lake, then verify again; look at the disk (its log, \
                                its SMART values) before it changes more";
const FOREIGN: &str = "move it out of the lake's folder: readers of history/ would count its rows; nothing of Remuda refers \
                       to it";
const LEFTOVER: &str = "start the node once: a file that a crash left uncommitted goes to trash/, and its vehicles send its \
                        frames again; but if the journal was restored or lost, run remuda lake adopt before";
const ADOPT: &str =
    "run remuda lake adopt: it brings in what the lake has not yet, and moves the file to trash/";
const TWICE: &str = "the journal is damaged: run remuda journal verify, and restore the journal from its last export; until \
                     then the rows of this file are counted more than once";

const FORGOTTEN: &str = "a file from before the erasure was put back: run remuda lake erasures --reopen with the id of \
                         the erasure (remuda lake erasures lists them), then remuda lake erase --now";

impl Lake {
    /// Reads every committed file and compares it with the manifest; `deep` decodes and counts the rows too. Of a stopped
    /// node: while one runs, what it is just writing would be called stray. `progress` is told how many files were looked
    /// at, and of how many.
    ///
    /// # Errors
    /// When the store or the journal fails; what is merely wrong is in the answer.
    pub async fn verify(
        &self,
        deep: bool,
        progress: &mut (dyn FnMut(u64, u64) + Send),
    ) -> Result<LakeVerification, LakeError> {
        let entries = self.records(0, |record| Some(record.entry)).await?;
        let mut found = LakeVerification::default();
        self.refresh().await?;
        let gone = self.known.lock().await.finished();
        let mut times: HashMap<&str, u32> = HashMap::new();
        for entry in &entries {
            let times = times.entry(&entry.path).or_default();
            *times += 1;
            if *times == 2 {
                found.fault(FaultKind::Doubled, &entry.path, "it is in the manifest twice".into(), TWICE);
            }
            if *times == 1 {
                found.files += 1;
                found.rows += rows_of(entry);
                found.bytes += entry.bytes;
                self.verify_file(entry, deep.then_some(&gone), &mut found).await?;
                progress(found.files, entries.len() as u64);
            }
        }
        let mut known: HashSet<String> = entries.iter().map(|entry| entry.path.clone()).collect();
        known.extend(replaced(&*self.journal).await?.into_iter().map(|file| file.path));
        for folder in [FRESH, HISTORY] {
            for meta in self.files.listed(folder.trim_end_matches('/')).await? {
                let path = meta.location.to_string();
                if !known.contains(&path) {
                    let advice = match (self.has_footer(&path).await?, folder == FRESH) {
                        (false, _) => FOREIGN,
                        (true, true) => LEFTOVER,
                        (true, false) => ADOPT,
                    };
                    found.fault(
                        FaultKind::Stray,
                        &path,
                        format!("{} bytes, never committed", meta.size),
                        advice,
                    );
                }
            }
        }
        found.faults.sort_by(|a, b| (&a.path, a.kind).cmp(&(&b.path, b.kind)));
        Ok(found)
    }

    async fn has_footer(&self, path: &str) -> Result<bool, LakeError> {
        Ok(self.files.fetch(path).await?.is_some_and(|bytes| file::entry_json(bytes).is_ok()))
    }

    async fn verify_file(
        &self,
        entry: &ManifestEntry,
        deep: Option<&Arc<Tombstones>>,
        found: &mut LakeVerification,
    ) -> Result<(), LakeError> {
        let Some(bytes) = self.files.fetch(&entry.path).await? else {
            found.fault(FaultKind::Missing, &entry.path, "it was committed and is not there".into(), RESTORE);
            return Ok(());
        };
        let (length, checksum) = (bytes.len() as u64, crc32c::crc32c(&bytes));
        if (length, checksum) != (entry.bytes, entry.checksum) {
            let (kind, detail) = if length < entry.bytes && file::entry_json(bytes).is_err() {
                (FaultKind::Truncated, format!("it has {length} bytes of {}, and no footer", entry.bytes))
            } else {
                let detail = format!("its checksum is {checksum:08x}, {:08x} was committed", entry.checksum);
                (FaultKind::Changed, detail)
            };
            let advice = if kind == FaultKind::Truncated { RESTORE } else { LOOK_AT_THE_DISK };
            found.fault(kind, &entry.path, detail, advice);
            return Ok(());
        }
        if let Some(gone) = deep {
            let (committed, gone) = (entry.clone(), Arc::clone(gone));
            let wrong = aside(move || rows_wrong(&committed, &gone, bytes)).await;
            let unreadable = || Some((FaultKind::Rows, "its rows cannot be decoded".into()));
            if let Some((kind, detail)) = wrong.unwrap_or_else(unreadable) {
                let advice = if kind == FaultKind::Erased { FORGOTTEN } else { RESTORE };
                found.fault(kind, &entry.path, detail, advice);
            }
        }
        Ok(())
    }
}

impl LakeVerification {
    fn fault(&mut self, kind: FaultKind, path: &str, detail: String, advice: &'static str) {
        self.faults.push(LakeFault { kind, path: path.to_owned(), detail, advice });
    }
}

/// What does not agree between a file's rows, its entry, and what was erased.
fn rows_wrong(entry: &ManifestEntry, gone: &Tombstones, bytes: bytes::Bytes) -> Option<(FaultKind, String)> {
    let rows = match file::decode(bytes) {
        Ok(rows) => rows,
        Err(error) => return Some((FaultKind::Rows, format!("its rows cannot be decoded: {error}"))),
    };
    if let Some(detail) = described_wrong(entry, &rows) {
        return Some((FaultKind::Rows, detail));
    }
    Hour::of_path(&entry.path)?;
    let back = |mut row| match gone.strip(&mut row) {
        Stripped::Kept => None,
        Stripped::Blanked(id) | Stripped::Erased(id) => Some(id),
    };
    let id = rows.into_iter().find_map(back)?;
    Some((FaultKind::Erased, format!("it has rows of the erasure {id}, which was finished")))
}

fn described_wrong(entry: &ManifestEntry, rows: &[Row]) -> Option<String> {
    let counted = Description::of(rows).entry(entry.path.clone());
    let by_shard = |entry: &ManifestEntry| entry.rows.iter().copied().collect::<BTreeMap<_, _>>();
    if by_shard(&counted) != by_shard(entry) {
        return Some(format!("it has {} rows, {} were committed", rows.len(), rows_of(entry)));
    }
    if (counted.sample_time_ns, counted.receive_time_ms) != (entry.sample_time_ns, entry.receive_time_ms) {
        return Some("the times of its rows are not those that were committed".into());
    }
    let hour = Hour::of_path(&entry.path)?;
    if rows.iter().any(|row| Hour::of(row) != hour) {
        return Some("it has rows of another hour".into());
    }
    (!rows.is_sorted_by_key(order)).then(|| "its rows are not sorted by vehicle and time".into())
}
