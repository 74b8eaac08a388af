//! What a manifest entry says of the rows of its file.

use std::collections::BTreeMap;

use remuda_eventsourcing::ManifestEntry;
use remuda_model::{ShardId, signal};

use crate::row::Row;

/// Counts and ranges, a row at a time.
#[derive(Debug, Default)]
pub(crate) struct Description {
    rows: BTreeMap<ShardId, u32>,
    sample_time_ns: Option<(i64, i64)>,
    receive_time_ms: Option<(i64, i64)>,
    // Neighbours share a vehicle: its shard is hashed once.
    last: Option<(remuda_model::VehicleId, ShardId)>,
}

fn widen(range: &mut Option<(i64, i64)>, at: i64) {
    let (low, high) = range.unwrap_or((at, at));
    *range = Some((low.min(at), high.max(at)));
}

impl Description {
    /// Of all of these.
    pub fn of(rows: &[Row]) -> Self {
        let mut description = Self::default();
        rows.iter().for_each(|row| description.add(row));
        description
    }

    /// One more.
    pub fn add(&mut self, row: &Row) {
        let shard = match self.last {
            Some((vehicle, shard)) if vehicle == row.vehicle => shard,
            _ => ShardId::of(&row.vehicle),
        };
        self.last = Some((row.vehicle, shard));
        *self.rows.entry(shard).or_default() += 1;
        row.sample_time_ns.into_iter().for_each(|at| widen(&mut self.sample_time_ns, at));
        widen(&mut self.receive_time_ms, row.receive_time_ms);
    }

    /// Rows of one vehicle: its shard, how many, between which sample times (of those that have one) and receipts.
    pub fn add_rows(
        &mut self,
        shard: ShardId,
        rows: u32,
        sampled_ns: Option<(i64, i64)>,
        received_ms: Option<(i64, i64)>,
    ) {
        *self.rows.entry(shard).or_default() += rows;
        for (range, more) in
            [(&mut self.sample_time_ns, sampled_ns), (&mut self.receive_time_ms, received_ms)]
        {
            if let Some((low, high)) = more {
                widen(range, low);
                widen(range, high);
            }
        }
    }

    /// The entry; checksum and length are 0.
    pub fn entry(self, path: String) -> ManifestEntry {
        ManifestEntry {
            path,
            schema: signal::REGISTRY_REVISION,
            checksum: 0,
            bytes: 0,
            rows: self.rows.into_iter().collect(),
            sample_time_ns: self.sample_time_ns.unwrap_or_default(),
            receive_time_ms: self.receive_time_ms.unwrap_or_default(),
        }
    }
}

/// Rows of every kind.
pub(crate) fn rows_of(entry: &ManifestEntry) -> u64 {
    entry.rows.iter().map(|(_, rows)| u64::from(*rows)).sum()
}
