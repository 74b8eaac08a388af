//! What an erasure would take, before anybody asks for it.

use std::time::Duration;

use remuda_eventsourcing::ManifestEntry;
use remuda_model::ShardId;
use serde::Serialize;
use tokio::time::Instant;

use super::{ErasureRequest, Stripped, Tombstone, Tombstones};
use crate::aside::aside;
use crate::error::LakeError;
use crate::file;
use crate::history::{HOUR_NS, Hour, MS_NS};
use crate::lake::Lake;
use crate::limits;

/// What is in the lake of what an erasure would cover, as of now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct ErasurePreview {
    /// Files that may have any of it.
    pub files_to_look_at: u64,
    /// Of these, those that were looked at in the time given.
    pub files_looked_at: u64,
    /// Files that have any of it.
    pub files: u64,
    /// Rows that would go.
    pub rows: u64,
    /// Rows that would lose values.
    pub blanked: u64,
}

impl Lake {
    /// Looks at what an erasure asked for at this moment (ms since 1970 UTC) would take; what others have asked for already is
    /// not counted again. It changes nothing, and ends when `within` has passed: then not all files were looked at.
    ///
    /// # Errors
    /// When the request makes no sense, or the store or the journal fails.
    pub async fn preview_erasure(
        &self,
        request: ErasureRequest,
        now_ms: i64,
        within: Duration,
    ) -> Result<ErasurePreview, LakeError> {
        let tombstone = request.tombstone(super::ErasureId(0), now_ms)?;
        let known = self.tombstones().await?;
        let wanted = Tombstones::of([&tombstone]);
        let may = |entry: &ManifestEntry| may_hold(&tombstone, entry);
        let entries = self
            .records(0, |record| {
                may(&record.entry).then(|| ManifestEntry { rows: Vec::new(), ..record.entry })
            })
            .await?;
        let mut found =
            ErasurePreview { files_to_look_at: entries.len() as u64, ..ErasurePreview::default() };
        let deadline = Instant::now() + within;
        for entry in entries {
            if Instant::now() >= deadline {
                break;
            }
            found.files_looked_at += 1;
            // One that was replaced while we looked has its rows in another by now: those are not counted.
            let Some(bytes) = self.files.fetch(&entry.path).await? else { continue };
            let (known, wanted) = (known.clone(), wanted.clone());
            let counted = aside(move || {
                let mut counted = (0_u64, 0_u64);
                for mut row in file::decode(bytes)? {
                    if matches!(known.strip(&mut row), Stripped::Erased(_)) {
                        continue;
                    }
                    match wanted.strip(&mut row) {
                        Stripped::Kept => {}
                        Stripped::Blanked(_) => counted.1 += 1,
                        Stripped::Erased(_) => counted.0 += 1,
                    }
                }
                Ok::<_, LakeError>(counted)
            });
            let unreadable = || LakeError::Damaged { path: entry.path.clone(), what: "unreadable".into() };
            let (rows, blanked) = counted.await.ok_or_else(unreadable)??;
            found.files += u64::from(rows + blanked > 0);
            found.rows += rows;
            found.blanked += blanked;
        }
        Ok(found)
    }
}

/// Whether a file may have rows that a tombstone covers, by what the manifest says of it.
fn may_hold(tombstone: &Tombstone, entry: &ManifestEntry) -> bool {
    if let Some(vehicle) = &tombstone.vehicle {
        let shard = ShardId::of(vehicle);
        if !entry.rows.iter().any(|(known, _)| *known == shard) {
            return false;
        }
    }
    let (from, until) = tombstone.range_ns();
    if let Some(hour) = Hour::of_path(&entry.path) {
        let begin = hour.hour.saturating_mul(HOUR_NS);
        let of_organization = tombstone.organization == hour.organization;
        return of_organization && begin < until && from < begin.saturating_add(HOUR_NS);
    }
    let received =
        (entry.receive_time_ms.0.saturating_mul(MS_NS), entry.receive_time_ms.1.saturating_mul(MS_NS));
    // Sample times beyond are of broken clocks and do not count; one that is not known is that of the receipt.
    let earliest = received.0.saturating_sub(limits::SAMPLE_BEHIND_MS_MAX * MS_NS);
    let latest = received.1.saturating_add(limits::SAMPLE_AHEAD_MS_MAX * MS_NS);
    earliest < until && from <= latest
}
