//! How many bookings a second: sagas of four durable steps over the embedded journal, beside a bare loop of append and
//! fsync on the same disk. Prints one JSON object.
//!
//! `bookings FOLDER SECONDS`

use std::fs::OpenOptions;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use remuda_entities::projection::Place;
use remuda_entities::{Entities, EntityMetrics, Settings as EntitySettings, Shards};
use remuda_eventsourcing::testing::{Tally, TallyCommand};
use remuda_eventsourcing::{Context, JournalMetrics, SledJournal};
use remuda_model::OrganizationId;
use remuda_saga::{
    ActionSpec, Definitions, EntityHost, Requester, SagaId, SagaMetrics, Sagas, Service, Services, Settings,
    Status, StepContext, StepError,
};
use serde_json::{Value, json};

type Failed = Box<dyn std::error::Error>;

/// Bookings under way at once.
const AT_ONCE: u32 = 200;
/// Bookings one after the other, for the time that one takes alone.
const ALONE: u32 = 200;
/// Bytes of each append of the bare loop: about those of a saga's event with its envelope.
const APPEND_BYTES: usize = 512;

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// A service whose every action is one durable event of an entity of its own.
struct Durable {
    name: &'static str,
    actions: &'static [ActionSpec],
    /// Riders and vehicles are used again; trips and messages are new with each booking.
    of_each_booking: bool,
    entities: Entities<Tally>,
}

#[async_trait]
impl Service for Durable {
    fn name(&self) -> &'static str {
        self.name
    }

    fn actions(&self) -> &'static [ActionSpec] {
        self.actions
    }

    async fn call(&self, _: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        let place = if self.of_each_booking {
            context.saga_id.as_str()
        } else {
            context.data["rider"].as_str().unwrap_or("?")
        };
        let command = Context {
            now_ms: now_ms(),
            command_id: key.to_owned(),
            actor: format!("saga/{}", context.saga_id),
            correlation_id: context.saga_id.clone(),
        };
        let id = format!("{}:{place}", self.name);
        let asked = self.entities.ask(&context.organization, &id, TallyCommand::Add(1), command).await;
        let outcome = asked.map_err(|e| StepError::Unknown(e.to_string()))?;
        Ok(json!({ "version": outcome.version }))
    }
}

const USER: &[ActionSpec] =
    &[ActionSpec::undone_by("reserve-credits", "release-credits"), ActionSpec::plain("release-credits")];
const VEHICLE: &[ActionSpec] =
    &[ActionSpec::undone_by("reserve-vehicle", "release-vehicle"), ActionSpec::plain("release-vehicle")];
const TRIP: &[ActionSpec] =
    &[ActionSpec::undone_by("create-trip", "cancel-trip"), ActionSpec::plain("cancel-trip")];
const MESSAGE: &[ActionSpec] = &[
    ActionSpec::undone_by("send-confirmation", "send-cancellation"),
    ActionSpec::plain("send-cancellation"),
];

fn services(entities: &Entities<Tally>) -> Services {
    let all = [
        ("user-service", USER, false),
        ("vehicle-service", VEHICLE, false),
        ("trip-service", TRIP, true),
        ("notification-service", MESSAGE, true),
    ];
    Services::new(all.map(|(name, actions, of_each_booking)| {
        let entities = entities.clone();
        Arc::new(Durable { name, actions, of_each_booking, entities }) as Arc<dyn Service>
    }))
}

/// Appends and syncs one after the other for a second; sorted times.
fn bare(folder: &Path) -> Result<Vec<Duration>, Failed> {
    let path = folder.join("bare");
    let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
    let (bytes, begun) = ([7_u8; APPEND_BYTES], Instant::now());
    let mut times = Vec::new();
    while begun.elapsed() < Duration::from_secs(1) {
        let one = Instant::now();
        file.write_all(&bytes)?;
        file.sync_all()?;
        times.push(one.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort();
    Ok(times)
}

async fn book(sagas: &Sagas, n: u32) -> Result<Duration, String> {
    let id = SagaId::new(OrganizationId::default(), format!("booking-{n}"));
    let by = Requester { actor: "user/rider".to_owned(), request_id: format!("book-{n}") };
    let input = json!({ "rider": format!("rider-{}", n % 1_000), "from": "A", "to": "B" });
    let begun = Instant::now();
    sagas.start(&id, "TripBookingSaga", input, &by).await.map_err(|e| e.to_string())?;
    let end = sagas.wait(&id).await.map_err(|e| e.to_string())?;
    if end.status == Status::Completed {
        Ok(begun.elapsed())
    } else {
        Err(format!("{id} is {:?}: {}", end.status, end.reason))
    }
}

fn at(sorted: &[Duration], share: f64) -> f64 {
    let place = ((sorted.len() as f64 - 1.0) * share).round() as usize;
    sorted.get(place).map_or(0.0, |d| d.as_secs_f64() * 1_000.0)
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let mut arguments = std::env::args().skip(1);
    let (Some(folder), Some(seconds)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bookings FOLDER SECONDS".into());
    };
    let (folder, seconds) = (Path::new(&folder), Duration::from_secs(seconds.parse()?));
    std::fs::create_dir_all(folder)?;
    let journal = Arc::new(SledJournal::open(&folder.join("journal"), JournalMetrics::default())?);
    let shards = Shards::take_all(journal, EntityMetrics::default()).await?;
    let idle = EntitySettings { idle: Duration::from_secs(5), ..EntitySettings::default() };
    let entities = Entities::<Tally>::start(&shards, idle).await?;
    let host = EntityHost::start(&shards, &Place::folder(folder.join("projections"))).await?;
    let definitions = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../config/sagas");
    let sagas = Sagas::new(
        Arc::new(host.clone()),
        services(&entities),
        Definitions::load_folder(&definitions)?,
        Settings::default(),
        SagaMetrics::default(),
        Arc::new(now_ms),
    )?;

    let before = bare(folder)?;
    let mut alone = Vec::new();
    for n in 0..ALONE {
        alone.push(book(&sagas, n).await?);
    }
    alone.sort();

    let next = Arc::new(AtomicU32::new(ALONE));
    let begun = Instant::now();
    let mut riders = tokio::task::JoinSet::new();
    for _ in 0..AT_ONCE {
        let (sagas, next) = (sagas.clone(), Arc::clone(&next));
        riders.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < seconds {
                times.push(book(&sagas, next.fetch_add(1, Ordering::Relaxed)).await?);
            }
            Ok::<_, String>(times)
        });
    }
    let mut times = Vec::new();
    while let Some(rider) = riders.join_next().await {
        times.extend(rider??);
    }
    let took = begun.elapsed().as_secs_f64();
    times.sort();
    let after = bare(folder)?;
    sagas.drain().await;
    host.stop().await;

    let fsync_ms = (at(&before, 0.5) + at(&after, 0.5)) / 2.0;
    println!(
        "{}",
        json!({
            "bookings_per_second": times.len() as f64 / took,
            "bookings_p50_ms": at(&times, 0.5),
            "bookings_p99_ms": at(&times, 0.99),
            "booking_alone_p50_ms": at(&alone, 0.5),
            "booking_alone_p50_fsyncs": at(&alone, 0.5) / fsync_ms,
            "bare_append_fsync_p50_ms": fsync_ms,
            "bare_append_fsyncs_per_second": (before.len() + after.len()) as f64 / 2.0,
        })
    );
    Ok(())
}
