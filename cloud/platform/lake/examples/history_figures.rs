//! How quickly history is found and read, on generated driving with 18 signals at 1 Hz.
//!
//! `history_figures make DIR VEHICLES HOURS` writes a lake through rounds and compaction, and its manifest beside it;
//! `history_figures measure DIR QUERIES` asks it and prints one JSON object. The questions are left in `DIR/queries.json`
//! for whoever wants to ask another reader the same. `history_figures erase DIR`, at last, has one vehicle forgotten.

mod common;

use std::collections::BTreeSet;
use std::error::Error;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use common::{BEGIN_MS, Covered, HOUR_MS, MS_NS, contribution, owners, row, vehicle};
use rand::prelude::*;
use remuda_eventsourcing::{
    CommitOutcome, Journal, JournalMetrics, ManifestEntry, MemoryJournal, SledJournal,
};
use remuda_lake::query::{AnswerRows, HistoryReader, HistorySettings, Mode, Selection};
use remuda_lake::{CompactionSettings, ErasureRequest, Lake, LakeSettings, Row};
use remuda_model::{OrganizationId, SignalId, VehicleId, signal};

const SIGNALS: u16 = 18;
const SECONDS_A_FILE: u64 = 60;

/// A vehicle whose signals wander: a third of them every second, a third now and then, a third hardly.
struct Driving {
    id: VehicleId,
    second: u64,
    values: Vec<i64>,
}

impl Driving {
    fn row(&mut self, random: &mut StdRng) -> Row {
        for (i, value) in self.values.iter_mut().enumerate() {
            let (step, chance) = [(40, 1.0), (3, 0.4), (1, 0.02)][i % 3];
            if random.random_bool(chance) {
                *value += random.random_range(-step..=step);
            }
        }
        let values = self.values.iter().zip(1..=SIGNALS).map(|(value, id)| (SignalId(id), *value));
        self.second += 1;
        row(self.id, self.second - 1, values, random)
    }
}

async fn make(folder: &Path, vehicles: usize, hours: u64) -> Result<(), Box<dyn Error>> {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let settings =
        LakeSettings { round_interval_ms: HOUR_MS as u64, ..LakeSettings::new(folder.join("lake")) };
    let lake = Lake::open(settings, Arc::clone(&journal)).await?;
    let owners = owners(&*journal).await?;
    let mut random = StdRng::seed_from_u64(1);
    let mut fleet = Vec::with_capacity(vehicles);
    for n in 0..vehicles {
        let values = (0..SIGNALS).map(|_| random.random_range(-10_000..10_000)).collect();
        fleet.push(Driving { id: vehicle(n)?, second: 0, values });
    }
    let begun = Instant::now();
    let mut recovery = lake.recover(&owners).await?;
    for hour in 0..hours {
        let rounds = lake.start_rounds(&owners, &recovery, Arc::new(Covered));
        for _ in 0..3_600 / SECONDS_A_FILE {
            for vehicle in &mut fleet {
                let rows = (0..SECONDS_A_FILE).map(|_| vehicle.row(&mut random)).collect();
                let id = vehicle.id;
                rounds.handle().contribute(contribution(rows, id)).await?;
            }
            rounds.handle().flush().await?;
        }
        // Its checkpoint covers what it wrote, so that the compaction takes it.
        rounds.stop().await?;
        let now_ms = BEGIN_MS + (hour as i64 + 1) * HOUR_MS;
        let settings = CompactionSettings { grace_ms: 0, ..CompactionSettings::default() };
        let done = lake.compact(&settings, now_ms, &|_| ControlFlow::Continue(())).await?;
        recovery = lake.recover(&owners).await?;
        eprintln!("hour {hour}: {} rows moved, {:.0} s so far", done.rows, begun.elapsed().as_secs_f64());
    }
    let last = BEGIN_MS + (hours as i64 + 100) * HOUR_MS;
    let settings = CompactionSettings { grace_ms: 0, ..CompactionSettings::default() };
    lake.compact(&settings, last, &|_| ControlFlow::Continue(())).await?;
    let records = journal.manifest(0, usize::MAX).await?;
    let entries: Vec<ManifestEntry> = records.into_iter().map(|record| record.entry).collect();
    // Last: a folder with it is complete.
    std::fs::write(folder.join("manifest.json"), serde_json::to_vec(&(vehicles, hours, entries))?)?;
    Ok(())
}

/// One vehicle, one hour, one signal.
struct Question {
    vehicle: VehicleId,
    from_ns: i64,
    signal: SignalId,
}

/// The lake in a folder, with what `make` has left of its manifest.
struct Made {
    lake: Lake,
    vehicles: usize,
    hours: i64,
    entries: Vec<ManifestEntry>,
}

async fn open(folder: &Path, journal: Arc<dyn Journal>) -> Result<Made, Box<dyn Error>> {
    let manifest = std::fs::read(folder.join("manifest.json"))?;
    let (vehicles, hours, entries): (usize, i64, Vec<ManifestEntry>) = serde_json::from_slice(&manifest)?;
    let owners = owners(&*journal).await?;
    let committed = journal.commit_file(&owners, &entries, &[]).await;
    if !matches!(committed, CommitOutcome::Committed { .. }) {
        return Err(format!("the manifest was not taken: {committed:?}").into());
    }
    let lake = Lake::open(LakeSettings::new(folder.join("lake")), journal).await?;
    Ok(Made { lake, vehicles, hours, entries })
}

/// One vehicle of all forgotten: until nobody is shown it any more, and until it is out of every file.
async fn erase(folder: &Path) -> Result<(), Box<dyn Error>> {
    // A real one, since a tombstone is worth nothing before it is synced.
    let journal = SledJournal::open(&folder.join("journal"), JournalMetrics::default())?;
    let Made { lake, vehicles, entries, hours } = open(folder, Arc::new(journal)).await?;
    let now_ms = BEGIN_MS + (hours + 100) * HOUR_MS;
    let request = ErasureRequest {
        organization: OrganizationId::default(),
        vehicle: Some(vehicle(vehicles / 2)?),
        from_ns: None,
        until_ns: None,
        classes: BTreeSet::new(),
        requested_by: "the bench".into(),
        reason: "to see how long it takes".into(),
    };
    let begun = Instant::now();
    lake.erase(request, now_ms).await?;
    let tombstone_seconds = begun.elapsed().as_secs_f64();
    let settings = CompactionSettings { erase_within_ms: 0, ..CompactionSettings::default() };
    let begun = Instant::now();
    let done = lake.compact(&settings, now_ms + 1, &|_| ControlFlow::Continue(())).await?;
    let rewritten_seconds = begun.elapsed().as_secs_f64();
    let told = lake.erasures().await?;
    let touched: Vec<&String> =
        told.iter().flat_map(|erasure| &erasure.files).map(|from| &from.file).collect();
    let bytes: u64 =
        entries.iter().filter(|entry| touched.contains(&&entry.path)).map(|entry| entry.bytes).sum();
    println!(
        "{}",
        serde_json::json!({
            "files": entries.len(),
            "touched_files": touched.len(),
            "erased_rows": done.erased_rows,
            "rewritten_mb": bytes as f64 / 1e6,
            "tombstone_seconds": tombstone_seconds,
            "rewritten_seconds": rewritten_seconds,
        })
    );
    Ok(())
}

async fn measure(folder: &Path, queries: usize) -> Result<(), Box<dyn Error>> {
    let Made { lake, vehicles, hours, entries } = open(folder, Arc::new(MemoryJournal::new())).await?;
    let rows: u64 = entries.iter().flat_map(|entry| &entry.rows).map(|(_, rows)| u64::from(*rows)).sum();
    let reader = HistoryReader::new(lake, &HistorySettings::default());
    let mut random = StdRng::seed_from_u64(2);
    let mut questions = Vec::with_capacity(queries);
    for _ in 0..queries {
        questions.push(Question {
            vehicle: vehicle(random.random_range(0..vehicles))?,
            from_ns: (BEGIN_MS + random.random_range(0..=(hours - 1) * 3_600) * 1_000) * MS_NS,
            signal: SignalId(random.random_range(1..=SIGNALS)),
        });
    }
    let asked: Vec<_> = questions
        .iter()
        .map(|q| {
            let path = signal::by_id(q.signal).map_or("", |known| known.path);
            serde_json::json!({ "vehicle": q.vehicle.as_str(), "from_ns": q.from_ns, "signal": path })
        })
        .collect();
    std::fs::write(folder.join("queries.json"), serde_json::to_vec(&asked)?)?;
    let mut times = Vec::with_capacity(queries);
    let mut found = 0;
    for Question { vehicle, from_ns, signal } in &questions {
        let begun = Instant::now();
        let until_ns = from_ns + HOUR_MS * MS_NS;
        let selection =
            Selection::new(OrganizationId::default(), vec![*vehicle], vec![*signal], *from_ns, until_ns);
        let mut answer = reader.answer(selection, Mode::Raw, None).await?;
        while let Some(rows) = answer.next().await? {
            found += rows.len();
        }
        times.push(begun.elapsed().as_secs_f64() * 1_000.0);
    }
    if found != queries * 3_600 {
        return Err(format!("{found} samples were found, not {}", queries * 3_600).into());
    }
    let first = times[0];
    let mut sorted = times.clone();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share) as usize];
    let all = (0..vehicles).map(vehicle).collect::<Result<Vec<_>, _>>()?;
    let four = vec![SignalId(1), SignalId(2), SignalId(4), SignalId(6)];
    let (from_ns, until_ns) = (BEGIN_MS * MS_NS, (BEGIN_MS + hours.min(24) * HOUR_MS) * MS_NS);
    let begun = Instant::now();
    let selection = Selection::new(OrganizationId::default(), all, four, from_ns, until_ns);
    let mut answer = reader.answer(selection, Mode::Buckets(60_000 * MS_NS), None).await?;
    let (mut buckets, mut sum, mut count) = (0, 0_i128, 0);
    while let Some(rows) = answer.next().await? {
        buckets += rows.len();
        let AnswerRows::Buckets(rows) = rows else { continue };
        for bucket in rows.columns[0].iter().flatten() {
            sum += bucket.sum;
            count += bucket.count;
        }
    }
    let took = begun.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({
            "rows": rows,
            "samples": rows * u64::from(SIGNALS),
            "vehicles": vehicles,
            "hours": hours,
            "files": entries.len(),
            "bytes_per_row": entries.iter().map(|entry| entry.bytes).sum::<u64>() as f64 / rows as f64,
            "first_query_ms": first,
            "history_p50_ms": at(0.5),
            "history_p95_ms": at(0.95),
            "history_max_ms": at(1.0),
            "history_scan_rows_per_second": count as f64 / took,
            "scan_seconds": took,
            "scan_rows": count,
            "scan_buckets": buckets,
            "scan_sum": sum.to_string(),
            "scan_bytes": answer.end().read.bytes,
        })
    );
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Runtime::new()?;
    match args.as_slice() {
        ["make", folder, vehicles, hours] => {
            runtime.block_on(make(Path::new(folder), vehicles.parse()?, hours.parse()?))
        }
        ["erase", folder] => runtime.block_on(erase(Path::new(folder))),
        ["measure", folder, queries] => runtime.block_on(measure(Path::new(folder), queries.parse()?)),
        _ => Err("usage: history_figures make DIR VEHICLES HOURS | measure DIR QUERIES | erase DIR".into()),
    }
}
