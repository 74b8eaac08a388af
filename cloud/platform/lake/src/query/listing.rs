//! The manifest in memory, brought up to date before each scan, and what a scan takes of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_eventsourcing::{ManifestPosition, ManifestRecord};
use remuda_model::{OrganizationId, SHARDS, ShardId};
use tokio::sync::Mutex;

use super::{AsOf, Selection};
use crate::error::LakeError;
use crate::history::{HISTORY, HOUR_NS, Hour, MS_NS};
use crate::lake::Lake;
use crate::limits;
use crate::listing::Tries;
use crate::writer::now_ms;

/// A set of shards.
type Shards = [u64; SHARDS as usize / 64];

fn bit(shard: ShardId) -> (usize, u64) {
    let number = usize::from(shard.number());
    (number / 64, 1 << (number % 64))
}

/// A committed file, as far as a scan needs to know it.
#[derive(Debug)]
pub(super) struct Listed {
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Times that its rows may have, ns since 1970 UTC; both inclusive.
    pub times: (i64, i64),
    shards: Shards,
}

impl Listed {
    fn of(record: &ManifestRecord) -> Self {
        let entry = &record.entry;
        let mut shards = Shards::default();
        for (shard, _) in &entry.rows {
            let (word, bit) = bit(*shard);
            shards[word] |= bit;
        }
        let received =
            (entry.receive_time_ms.0.saturating_mul(MS_NS), entry.receive_time_ms.1.saturating_mul(MS_NS));
        // Sample times beyond are of broken clocks and do not count.
        let earliest = received.0.saturating_sub(limits::SAMPLE_BEHIND_MS_MAX * MS_NS);
        let latest = received.1.saturating_add(limits::SAMPLE_AHEAD_MS_MAX * MS_NS);
        let times = match entry.sample_time_ns {
            (0, 0) => received,
            (from, to) => (from.clamp(earliest, received.0), to.clamp(received.1, latest)),
        };
        Self { path: entry.path.clone(), bytes: entry.bytes, times, shards }
    }

    fn has_any(&self, wanted: &Shards) -> bool {
        self.shards.iter().zip(wanted).any(|(has, wanted)| has & wanted != 0)
    }
}

/// Files that may hold rows of one scan.
#[derive(Debug, Default, Clone)]
pub(super) struct Picked {
    pub as_of: AsOf,
    /// By hour since 1970 UTC.
    pub history: BTreeMap<i64, Vec<Arc<Listed>>>,
    pub fresh: Vec<Arc<Listed>>,
}

/// The manifest as it was read last.
#[derive(Default)]
struct Known {
    position: ManifestPosition,
    /// Replacements until then; `None`: nothing was read yet.
    count: Option<u64>,
    history: BTreeMap<(OrganizationId, i64), Vec<Arc<Listed>>>,
    fresh: Vec<Arc<Listed>>,
}

impl Known {
    fn add(&mut self, record: &ManifestRecord) {
        self.position = self.position.max(record.position);
        let listed = Arc::new(Listed::of(record));
        match Hour::of_path(&listed.path) {
            Some(hour) => self.history.entry((hour.organization, hour.hour)).or_default().push(listed),
            None if listed.path.starts_with(HISTORY) => {
                tracing::warn!(
                    path = listed.path,
                    "a file of no hour is not read; remuda lake verify says more"
                );
            }
            None => self.fresh.push(listed),
        }
    }

    /// Reads what came since; all of it when files were replaced, for then some have left.
    async fn refresh(&mut self, lake: &Lake) -> Result<(), LakeError> {
        let mut tries = Tries::of(lake);
        loop {
            let count = tries.begin().await?;
            if self.count != Some(count) {
                *self = Self { count: Some(count), ..Self::default() };
            }
            loop {
                let page = lake.journal.manifest(self.position, limits::MANIFEST_PAGE).await?;
                if page.is_empty() {
                    break;
                }
                page.iter().for_each(|record| self.add(record));
            }
            if tries.holds().await? {
                return Ok(());
            }
            self.count = None;
        }
    }
}

/// Keeps the manifest in memory.
#[derive(Default)]
pub(super) struct Lister(Mutex<Known>);

impl Lister {
    /// The files that may hold rows of a selection, as of now.
    pub async fn pick(&self, lake: &Lake, selection: &Selection) -> Result<Picked, LakeError> {
        let mut known = self.0.lock().await;
        if let Err(error) = known.refresh(lake).await {
            known.count = None;
            return Err(error);
        }
        let mut wanted = Shards::default();
        for vehicle in selection.vehicles.iter() {
            let (word, bit) = bit(ShardId::of(vehicle));
            wanted[word] |= bit;
        }
        let Selection { organization, from_ns, until_ns, .. } = *selection;
        let mut picked = Picked::default();
        if from_ns < until_ns {
            let hours = (organization, from_ns.div_euclid(HOUR_NS))
                ..=(organization, (until_ns - 1).div_euclid(HOUR_NS));
            for ((_, hour), files) in known.history.range(hours) {
                let files: Vec<_> = files.iter().filter(|file| file.has_any(&wanted)).cloned().collect();
                picked.as_of.history_files += files.len() as u64;
                if !files.is_empty() {
                    picked.history.insert(*hour, files);
                }
            }
            let may = |file: &&Arc<Listed>| {
                file.times.0 < until_ns && file.times.1 >= from_ns && file.has_any(&wanted)
            };
            picked.fresh = known.fresh.iter().filter(may).cloned().collect();
            picked.as_of.fresh_files = picked.fresh.len() as u64;
        }
        picked.as_of.position = known.position;
        picked.as_of.read_ms = now_ms();
        Ok(picked)
    }
}
