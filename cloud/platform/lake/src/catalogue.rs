//! The lake as a list of files, and as a few numbers.

use std::collections::BTreeSet;

use chrono::{DateTime, SecondsFormat};
use remuda_eventsourcing::ManifestEntry;
use serde::Serialize;

use crate::describe::rows_of;
use crate::error::LakeError;
use crate::files::replaced;
use crate::history::{HISTORY, Hour};
use crate::lake::Lake;

/// A committed file, for whoever reads the lake from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LakeFile {
    /// Path below the lake's root.
    pub path: String,
    /// Whose rows; `None` in `fresh/`, where a file holds those of everybody.
    pub organization: Option<String>,
    /// Rows of every kind.
    pub rows: u64,
    /// Its length.
    pub bytes: u64,
    /// Earliest and latest sample time, RFC 3339; `None` when no row knows its own.
    pub sampled: Option<(String, String)>,
    /// Earliest and latest receipt, RFC 3339.
    pub received: (String, String),
}

/// Files, rows and bytes of a part of the lake.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Files.
    pub files: u64,
    /// Rows of every kind.
    pub rows: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Part {
    fn add(&mut self, entry: &ManifestEntry) {
        self.files += 1;
        self.rows += rows_of(entry);
        self.bytes += entry.bytes;
    }

    /// Bytes that a row takes; 0 without rows.
    pub fn bytes_per_row(&self) -> f64 {
        if self.rows == 0 { 0.0 } else { self.bytes as f64 / self.rows as f64 }
    }
}

/// What a lake holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LakeStats {
    /// Files of rounds that were not compacted yet.
    pub fresh: Part,
    /// Files for everybody.
    pub history: Part,
    /// Hours that history holds, of any organisation.
    pub hours: u64,
    /// Organisations that history holds.
    pub organizations: u64,
    /// Earliest and latest sample time, RFC 3339.
    pub sampled: Option<(String, String)>,
    /// Replaced files that wait for the end of their grace.
    pub replaced_files: u64,
}

fn nanoseconds(at: i64) -> String {
    DateTime::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn milliseconds(at: i64) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// The manifest has equal zeros for a file whose rows know no sample time.
fn sampled(entry: &ManifestEntry) -> Option<(i64, i64)> {
    (entry.sample_time_ns != (0, 0)).then_some(entry.sample_time_ns)
}

impl Lake {
    /// Every committed file, by path.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn list(&self) -> Result<Vec<LakeFile>, LakeError> {
        let mut files = self
            .records(0, |record| {
                let entry = record.entry;
                let text = |(from, to): (i64, i64), of: fn(i64) -> String| (of(from), of(to));
                Some(LakeFile {
                    organization: Hour::of_path(&entry.path).map(|hour| hour.organization.to_string()),
                    rows: rows_of(&entry),
                    bytes: entry.bytes,
                    sampled: sampled(&entry).map(|range| text(range, nanoseconds)),
                    received: text(entry.receive_time_ms, milliseconds),
                    path: entry.path,
                })
            })
            .await?;
        files.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// What the lake holds.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn stats(&self) -> Result<LakeStats, LakeError> {
        let entries = self.records(0, |record| Some(record.entry)).await?;
        let mut stats = LakeStats::default();
        let mut hours = BTreeSet::new();
        let mut range: Option<(i64, i64)> = None;
        for entry in &entries {
            if entry.path.starts_with(HISTORY) {
                stats.history.add(entry);
                hours.extend(Hour::of_path(&entry.path));
            } else {
                stats.fresh.add(entry);
            }
            if let Some((from, to)) = sampled(entry) {
                let (low, high) = range.unwrap_or((from, to));
                range = Some((low.min(from), high.max(to)));
            }
        }
        stats.sampled = range.map(|(from, to)| (nanoseconds(from), nanoseconds(to)));
        stats.hours = hours.len() as u64;
        stats.organizations =
            hours.iter().map(|hour| hour.organization).collect::<BTreeSet<_>>().len() as u64;
        stats.replaced_files = replaced(&*self.journal).await?.len() as u64;
        Ok(stats)
    }
}
