//! Figures of the business journal and the entity shell, as one JSON object:
//! `journal_figures FOLDER [EVENTS]` (a million events unless said).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
use remuda_eventsourcing::sled_engine::SledStore;
use remuda_eventsourcing::store::Store;
use remuda_eventsourcing::testing::{Tally, TallyCommand, TallyEvent, context};
use remuda_eventsourcing::{
    Aggregate, Appended, Context, Encoded, Journal, JournalError, JournalMetrics, NewEvent, SledJournal,
    StreamId, shard_of,
};
use remuda_model::{OrganizationId, SHARDS, ShardId};

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long each rate is measured.
const RUN: Duration = Duration::from_secs(3);
const ACTIVE: usize = 10_000;
const IDLE: usize = 20_000;

fn main() -> Result<(), Error> {
    let mut args = std::env::args_os().skip(1);
    let folder = args.next().ok_or("name a folder")?;
    let events = args.next().map_or(Ok(1_000_000), |text| text.to_string_lossy().parse())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let figures = runtime.block_on(figures(Path::new(&folder), events))?;
    println!("{figures}");
    Ok(())
}

async fn figures(folder: &Path, events: u64) -> Result<serde_json::Value, Error> {
    fs::create_dir_all(folder)?;
    let mut writers = serde_json::Map::new();
    for count in [1, 64, 256] {
        let journal = open(&folder.join(format!("rate-{count}"))).await?;
        let rate = append_rate(journal, count).await?;
        let (write, sled) =
            (raw_write(folder, count)?, raw_sled(&folder.join(format!("raw-{count}")), count)?);
        eprintln!("{count} writers: {rate:.0} events/s, bare sled {sled:.0}, bare file {write:.0}");
        writers
            .insert(count.to_string(), serde_json::json!({ "journal": rate, "sled": sled, "file": write }));
    }
    let (asks, asks_p99) = asks(&folder.join("asks")).await?;
    eprintln!("200 askers: {asks:.0} commands/s, p99 {asks_p99:.1} ms");
    let activation = activation(&folder.join("activation")).await?;
    eprintln!("activation: p50 {:.2} ms, p99 {:.2} ms", activation.0, activation.1);
    let memory = memory(&folder.join("memory")).await?;
    eprintln!("memory: {memory:.2} KB an idle entity");
    let (ready, all) = recovery(&folder.join("recovery"), events).await?;
    eprintln!(
        "recovery of {events} events: ready in {ready:.2} s, {ACTIVE} entities read in {all:.2} s more"
    );
    Ok(serde_json::json!({
        "journal_events_per_second": writers,
        "asks_per_second": asks, "asks_p99_ms": asks_p99,
        "activation_p50_ms": activation.0, "activation_p99_ms": activation.1,
        "memory_per_idle_entity_kb": memory,
        "recovery_seconds": ready, "recovery_all_active_seconds": all, "recovery_events": events,
    }))
}

async fn open(folder: &Path) -> Result<Arc<dyn Journal>, Error> {
    loop {
        match SledJournal::open(folder, JournalMetrics::default()) {
            // Of the life before, in this process.
            Err(JournalError::InUse(_)) => tokio::time::sleep(Duration::from_millis(10)).await,
            other => return Ok(Arc::new(other?)),
        }
    }
}

fn name(n: usize) -> String {
    format!("tally-{n}")
}

fn event(id: &str, version: u64) -> NewEvent {
    let Encoded { event_type, schema_version, payload } = Tally::encode(&TallyEvent::Added(1));
    let mut event_id = [0; 16];
    event_id[..8].copy_from_slice(&version.to_be_bytes());
    NewEvent {
        event_id,
        stream: StreamId {
            organization: OrganizationId::default(),
            aggregate_type: Tally::TYPE.into(),
            aggregate_id: id.into(),
        },
        version,
        event_type: event_type.into(),
        schema_version,
        time_ms: 1_700_000_000_000,
        causation_id: format!("booking/{id}/{version}/do"),
        correlation_id: format!("booking-{id}"),
        actor: "user/somebody".into(),
        payload,
    }
}

/// So many writers, each with a shard of its own and one event at a time.
async fn append_rate(journal: Arc<dyn Journal>, writers: u16) -> Result<f64, Error> {
    let shards: Vec<ShardId> = (0..writers).filter_map(ShardId::new).collect();
    let owned = journal.acquire(&shards).await?;
    let begun = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for (owner, mut head) in owned {
        let journal = Arc::clone(&journal);
        tasks.spawn(async move {
            let id = name(usize::from(owner.shard.number()));
            while begun.elapsed() < RUN {
                match journal.append(owner, head, vec![event(&id, head + 1)]).await {
                    Ok(Appended::Committed { head: new }) => head = new,
                    other => return Err(format!("{other:?}")),
                }
            }
            Ok(head)
        });
    }
    let mut written = 0;
    while let Some(done) = tasks.join_next().await {
        written += done??;
    }
    Ok(written as f64 / begun.elapsed().as_secs_f64())
}

/// The bytes of such events, one write and one fdatasync for as many as there are writers.
fn raw_write(folder: &Path, batch: u16) -> Result<f64, Error> {
    let bytes = postcard::to_allocvec(&event(&name(1), 1))?.repeat(usize::from(batch));
    let mut file = File::create(folder.join("raw"))?;
    let (begun, mut events) = (Instant::now(), 0_u64);
    while begun.elapsed() < RUN {
        file.write_all(&bytes)?;
        file.sync_data()?;
        events += u64::from(batch);
    }
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

/// One key and value an event in bare sled, flushed and synced for as many as there are writers.
fn raw_sled(folder: &Path, batch: u16) -> Result<f64, Error> {
    let store = SledStore::open(folder)?;
    let value = postcard::to_allocvec(&event(&name(1), 1))?;
    let (begun, mut events) = (Instant::now(), 0_u64);
    while begun.elapsed() < RUN {
        let keys =
            (events..events + u64::from(batch)).map(|n| (n.to_be_bytes().to_vec(), Some(value.clone())));
        store.commit(&keys.collect::<BTreeMap<_, _>>())?;
        events += u64::from(batch);
    }
    Ok(events as f64 / begun.elapsed().as_secs_f64())
}

async fn start(folder: &Path) -> Result<Entities<Tally>, Error> {
    let shards = Shards::take_all(open(folder).await?, EntityMetrics::default()).await?;
    Ok(Entities::start(&shards, Settings::default()).await?)
}

/// Commands a second of 200 askers, each its own entity, and the 99th percentile of their waits.
async fn asks(folder: &Path) -> Result<(f64, f64), Error> {
    let tallies = start(folder).await?;
    let (begun, count) = (Instant::now(), Arc::new(AtomicU64::new(0)));
    let mut tasks = tokio::task::JoinSet::new();
    for asker in 0..200 {
        let (tallies, count) = (tallies.clone(), Arc::clone(&count));
        tasks.spawn(async move {
            let (organization, id) = (OrganizationId::default(), name(asker));
            let mut waits = Vec::new();
            while begun.elapsed() < RUN {
                let asked = Instant::now();
                let context = Context { command_id: waits.len().to_string(), ..context() };
                tallies
                    .ask(&organization, &id, TallyCommand::Add(1), context)
                    .await
                    .map_err(|e| e.to_string())?;
                waits.push(asked.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
            }
            Ok::<_, String>(waits)
        });
    }
    let mut waits = Vec::new();
    while let Some(done) = tasks.join_next().await {
        waits.extend(done??);
    }
    let rate = count.load(Ordering::Relaxed) as f64 / begun.elapsed().as_secs_f64();
    tallies.drain().await;
    Ok((rate, percentile(&mut waits, 0.99)))
}

fn percentile(waits: &mut [Duration], share: f64) -> f64 {
    waits.sort_unstable();
    let place = ((waits.len() as f64 * share) as usize).min(waits.len().saturating_sub(1));
    waits.get(place).map_or(0.0, |wait| wait.as_secs_f64() * 1_000.0)
}

/// First read of entities with a snapshot and 50 events after it, one after another, from a journal just opened.
async fn activation(folder: &Path) -> Result<(f64, f64), Error> {
    const ENTITIES: usize = 500;
    let organization = OrganizationId::default();
    let tallies = start(folder).await?;
    for n in 0..ENTITIES {
        for (ones, command) in [(200, "first"), (50, "then")] {
            let context = Context { command_id: command.into(), ..context() };
            tallies.ask(&organization, &name(n), TallyCommand::AddOnes(ones), context).await?;
        }
    }
    // The snapshots, which are written beside the commands, at version 200; none when leaving, after 50 more.
    tallies.drain().await;
    drop(tallies);
    let tallies = start(folder).await?;
    let mut waits = Vec::new();
    for n in 0..ENTITIES {
        let asked = Instant::now();
        let seen = tallies.read(&organization, &name(n)).await?;
        waits.push(asked.elapsed());
        if seen.state.sum != 250 {
            return Err(format!("{seen:?}").into());
        }
    }
    Ok((percentile(&mut waits, 0.5), percentile(&mut waits, 0.99)))
}

/// Resident memory, KB.
fn resident_kb() -> Result<f64, Error> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// What each entity that has done one command and is idle adds to the process.
async fn memory(folder: &Path) -> Result<f64, Error> {
    let organization = OrganizationId::default();
    write_past(folder, IDLE as u64, IDLE).await?;
    let tallies = start(folder).await?;
    let journal = tallies.shards().journal();
    // The journal's own cache is not the entities'.
    for n in 0..IDLE {
        let stream = event(&name(n), 1).stream;
        journal.snapshot(&stream).await?;
        journal.read_stream(&stream, 1, 10).await?;
    }
    let before = resident_kb()?;
    for n in 0..IDLE {
        tallies.read(&organization, &name(n)).await?;
    }
    Ok((resident_kb()? - before) / IDLE as f64)
}

/// Writes so many events of so many entities, in turn.
async fn write_past(folder: &Path, events: u64, entities: usize) -> Result<(), Error> {
    let journal = open(folder).await?;
    let shards: Vec<ShardId> = (0..SHARDS).filter_map(ShardId::new).collect();
    let mut owned: BTreeMap<ShardId, _> = journal
        .acquire(&shards)
        .await?
        .into_iter()
        .map(|(owner, head)| (owner.shard, (owner, head)))
        .collect();
    let mut by_shard: BTreeMap<ShardId, Vec<usize>> = BTreeMap::new();
    for n in 0..entities {
        by_shard.entry(shard_of(&event(&name(n), 1).stream)).or_default().push(n);
    }
    let each = events / entities as u64;
    let mut tasks = tokio::task::JoinSet::new();
    for (shard, own) in by_shard {
        let Some((owner, mut head)) = owned.remove(&shard) else { continue };
        let journal = Arc::clone(&journal);
        tasks.spawn(async move {
            for version in 1..=each {
                let events: Vec<_> = own.iter().map(|n| event(&name(*n), version)).collect();
                match journal.append(owner, head, events).await {
                    Ok(Appended::Committed { head: new }) => head = new,
                    other => return Err(format!("{other:?}")),
                }
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// From opening a journal with so many events to the first answered command, and from there until the entities that
/// were active have all been read again.
async fn recovery(folder: &Path, events: u64) -> Result<(f64, f64), Error> {
    let organization = OrganizationId::default();
    write_past(folder, events, ACTIVE).await?;
    let begun = Instant::now();
    let tallies = start(folder).await?;
    let context = Context { command_id: "first".into(), ..context() };
    tallies.ask(&organization, &name(0), TallyCommand::Add(1), context).await?;
    let ready = begun.elapsed().as_secs_f64();
    let mut tasks = tokio::task::JoinSet::new();
    for part in 0..64 {
        let tallies = tallies.clone();
        tasks.spawn(async move {
            for n in (part..ACTIVE).step_by(64) {
                tallies.read(&organization, &name(n)).await.map_err(|e| e.to_string())?;
            }
            Ok::<_, String>(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok((ready, begun.elapsed().as_secs_f64() - ready))
}
