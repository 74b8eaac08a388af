//! Bytes a row, fresh and compacted, and rows a second of a compaction, on generated driving with 18 signals.
//!
//! `cargo run --release -p remuda-lake --example compaction_figures [VEHICLES] [FILES]`: 1 Hz, 10 s a file; prints one JSON object.

use std::error::Error;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use rand::prelude::*;
use remuda_eventsourcing::{Journal, ManifestPosition, MemoryJournal};
use remuda_lake::{
    Answer, CompactionSettings, Contribution, Lake, LakeSettings, RoundListener, Row, RowBody,
};
use remuda_model::{Incarnation, OrganizationId, SHARDS, ShardId, SignalId, VehicleId};

const SIGNALS: u16 = 18;
const SECONDS_A_FILE: u64 = 10;
const BEGIN_MS: i64 = 1_700_000_000_000;

/// Everything is covered at once.
struct Covered;

impl RoundListener for Covered {
    fn answered(&self, _: ShardId, _: ManifestPosition, _: Vec<Answer>) {}
    fn replay_floor(&self, _: ShardId) -> ManifestPosition {
        ManifestPosition::MAX
    }
    fn shard_lost(&self, _: ShardId) {}
}

/// A vehicle whose signals wander: a third of them every second, a third now and then, a third hardly.
struct Driving {
    id: VehicleId,
    second: u64,
    values: Vec<i64>,
}

impl Driving {
    fn row(&mut self, random: &mut StdRng) -> Row {
        self.second += 1;
        for (i, value) in self.values.iter_mut().enumerate() {
            let (step, chance) = [(40, 1.0), (3, 0.4), (1, 0.02)][i % 3];
            if random.random_bool(chance) {
                *value += random.random_range(-step..=step);
            }
        }
        let at_ns = BEGIN_MS * 1_000_000
            + self.second as i64 * 1_000_000_000
            + random.random_range(-2_000_000..2_000_000);
        let values = self.values.iter().zip(1..=SIGNALS).map(|(value, id)| (SignalId(id), *value)).collect();
        Row {
            organization: OrganizationId::default(),
            vehicle: self.id,
            incarnation: Incarnation(7),
            seq: self.second,
            row_in_frame: 0,
            boot: 1,
            mono_ns: self.second * 1_000_000_000,
            sample_time_ns: Some(at_ns),
            receive_time_ms: BEGIN_MS + self.second as i64 * 1_000,
            body: RowBody::Samples(values),
        }
    }
}

async fn measure(vehicles: usize, files: usize) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir()?;
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings =
        LakeSettings { round_interval_ms: 3_600_000, ..LakeSettings::new(folder.path().to_path_buf()) };
    let lake = Lake::open(settings, Arc::clone(&journal)).await?;
    let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
    let owners: Vec<_> = journal.acquire(&shards).await?.into_iter().map(|(owner, _)| owner).collect();
    let recovery = lake.recover(&owners).await?;
    let rounds = lake.start_rounds(&owners, &recovery, Arc::new(Covered));
    let mut random = StdRng::seed_from_u64(1);
    let mut fleet = Vec::with_capacity(vehicles);
    for n in 0..vehicles {
        let values = (0..SIGNALS).map(|_| random.random_range(-10_000..10_000)).collect();
        fleet.push(Driving { id: VehicleId::new(&format!("V{n:06}"))?, second: 0, values });
    }
    for _ in 0..files {
        for vehicle in &mut fleet {
            let rows = (0..SECONDS_A_FILE).map(|_| vehicle.row(&mut random)).collect();
            let (shard, id) = (ShardId::of(&vehicle.id), vehicle.id);
            let contribution =
                Contribution { shard, vehicle: id, ticket: 0, rows, decisions: Vec::new(), bytes: 1 };
            rounds.handle().contribute(contribution).await?;
        }
        rounds.handle().flush().await?;
    }
    rounds.stop().await?;
    let fresh = lake.stats().await?.fresh;
    let now_ms = BEGIN_MS + 3_600_000;
    let begun = Instant::now();
    let done = lake.compact(&CompactionSettings::default(), now_ms, &|_| ControlFlow::Continue(())).await?;
    let took = begun.elapsed().as_secs_f64();
    let begun = Instant::now();
    let full = CompactionSettings { small_files_max: 1, ..CompactionSettings::default() };
    let merged = lake.compact(&full, now_ms, &|_| ControlFlow::Continue(())).await?;
    let merge_took = begun.elapsed().as_secs_f64();
    let history = lake.stats().await?.history;
    println!(
        "{}",
        serde_json::json!({
            "rows": done.rows,
            "fresh_files": fresh.files,
            "history_files": history.files,
            "lake_bytes_per_row_fresh": fresh.bytes_per_row(),
            "lake_bytes_per_row_compacted": history.bytes_per_row(),
            "compaction_rows_per_second": done.rows as f64 / took,
            "merge_rows_per_second": merged.merged_rows as f64 / merge_took,
        })
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut numbers = std::env::args().skip(1).map(|arg| arg.parse::<usize>());
    let vehicles = numbers.next().transpose()?.unwrap_or(5_000);
    let files = numbers.next().transpose()?.unwrap_or(20);
    tokio::runtime::Runtime::new()?.block_on(measure(vehicles, files))
}
