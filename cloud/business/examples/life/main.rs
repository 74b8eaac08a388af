//! One life of a business under faults, for the chaos run of the whole business (docs/business.md).
//!
//! `life FOLDER BOOKINGS SEED LIFE AHEAD_HOURS DEATH`
//!
//! Books what was not booked by a life before, drives the vehicles of rides that run, and dies at a random write; one that
//! does not die writes `figures.json` when all is done, and ends. Vehicles vanish, the payment provider fails, hangs for a
//! while, loses answers and answers twice, so does who tells riders. `SEED` draws the rides, and with `LIFE`, the number of
//! this life, what goes wrong. `AHEAD_HOURS` puts the clock forward, so that what
//! waits too long ends; `DEATH` is the chance of dying at a write, in a hundred thousand.
//!
//! `life export FOLDER` prints the journal, a line of JSON for each event.

mod faults;
mod fleet;

use std::collections::BTreeSet;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use remuda_billing::invoices::Seller;
use remuda_billing::provider::PaymentProvider;
use remuda_business::{Business, BusinessMetrics, BusinessSettings};
use remuda_contracts::business::analytics::FiguresQuery;
use remuda_contracts::business::vehicles::RecordDetails;
use remuda_contracts::business::{Asker, BookTrip, BusinessDesk, BusinessError, Place};
use remuda_contracts::money::{Currency, Money};
use remuda_entities::Decoders;
use remuda_eventsourcing::{Journal as _, JournalMetrics, SledJournal};
use remuda_model::{OrganizationId, SHARDS, ShardId};
use tokio::task::JoinSet;

use faults::{Chance, Flaky, Herald};
use fleet::Fleet;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Vehicles, and riders.
const VEHICLES: usize = 120;
const RIDERS: usize = 60;
/// Bookings under way at once, each until its ride has ended: nearly as many as vehicles, and as these vanish more than there are,
/// so that some find none.
const AT_ONCE: usize = 110;
/// One rider in so many cannot pay.
const POOR_ONE_IN: usize = 10;
/// One booking in so many is called off, and one is asked for twice.
const CALLED_OFF_ONE_IN: u64 = 25;
const TWICE_ONE_IN: u64 = 8;
/// So many rides lose their vehicle on the way, and keep it from others.
const VANISH: u64 = 20;
/// States of a ride that runs, in their order.
const STATES: [&str; 4] = ["assigned", "arriving", "boarding", "under-way"];
/// States in which a ride has ended.
const ENDS: [&str; 4] = ["completed", "cancelled", "no-show", "not-booked"];
/// How often somebody looks whether a ride has ended, and how long at most.
const LOOK_EVERY: Duration = Duration::from_millis(200);
const RIDE_MAX: Duration = Duration::from_secs(60);
/// In this time trips are told at least twice that time has passed.
const SWEEPS: Duration = Duration::from_secs(12);
/// How long the rest may take when nothing is booked any more.
const SETTLE: Duration = Duration::from_secs(240);

fn asker(request_id: impl Into<String>) -> Asker {
    Asker { who: "chaos".into(), request_id: request_id.into() }
}

/// The number of a booking.
fn number(trip: &str) -> u64 {
    trip.trim_start_matches("b-").parse().unwrap_or_default()
}

/// It is so already, from a life before.
fn or_so_already<T>(done: Result<T, BusinessError>) -> Result<(), Failed> {
    match done {
        Ok(_) | Err(BusinessError::Refused { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Asks until there is an answer and a vehicle: the same request id is the same wish.
async fn asked<T, F: Future<Output = Result<T, BusinessError>>>(
    ask: impl Fn() -> F,
) -> Result<T, BusinessError> {
    loop {
        match ask().await {
            Err(BusinessError::Unavailable(_)) => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(BusinessError::Refused { code, .. }) if code == "no-vehicle-free" => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            answer => return answer,
        }
    }
}

struct Life {
    desk: Arc<dyn BusinessDesk>,
    fleet: Arc<Fleet>,
    seed: u64,
    bookings: u64,
}

impl Life {
    /// Riders with credits and vehicles in service, registered.
    async fn open(self: &Arc<Self>) -> Result<(), Failed> {
        let mut opening = JoinSet::new();
        for n in 0..RIDERS {
            let this = Arc::clone(self);
            opening.spawn(async move {
                let (id, desk) = (format!("rider-{n}"), &this.desk);
                let register =
                    || desk.register_rider(&ORGANIZATION, &id, id.clone(), None, asker(format!("r-{n}")));
                or_so_already(asked(register).await)?;
                let minor_units = if n.is_multiple_of(POOR_ONE_IN) { 900 } else { 50_000_000 };
                let amount = Money { minor_units, currency: Currency::EUR };
                let pay = || desk.top_up(&ORGANIZATION, &id, amount, asker(format!("credits-{n}")));
                or_so_already(asked(pay).await)
            });
        }
        for id in self.fleet.ids() {
            let this = Arc::clone(self);
            opening.spawn(async move {
                let desk = &this.desk;
                let details = RecordDetails {
                    manufacturer: "Acme".into(),
                    model: "Box".into(),
                    year: 2026,
                    powertrain: "electric".into(),
                    seats: 4,
                    licence_class: "B".into(),
                    ..RecordDetails::default()
                };
                let wish = || asker(format!("v-{id}"));
                let register =
                    || desk.register_vehicle(&ORGANIZATION, id.as_str(), details.clone(), 0, wish());
                or_so_already(asked(register).await)?;
                let serve = || desk.set_in_service(&ORGANIZATION, id.as_str(), true, "", wish());
                or_so_already(asked(serve).await)
            });
        }
        while let Some(opened) = opening.join_next().await {
            opened??;
        }
        Ok(())
    }

    fn draw(&self, n: u64, what: u64) -> u64 {
        faults::mix(self.seed ^ faults::mix(n) ^ faults::mix(what << 32))
    }

    fn wish(&self, n: u64) -> BookTrip {
        let place = |what| Place {
            latitude_e7: 480_000_000 + (self.draw(n, what) % 900_000) as i32,
            longitude_e7: 115_000_000 + (self.draw(n, what + 1) % 900_000) as i32,
        };
        BookTrip {
            rider: format!("rider-{}", self.draw(n, 5) % RIDERS as u64),
            stops: vec![place(1), place(3)],
            vehicles: Vec::new(),
        }
    }

    /// One booking, perhaps asked for twice, perhaps called off. Done when it has an answer that is no "try again".
    async fn book(self: Arc<Self>, n: u64) -> u64 {
        let (id, wish) = (format!("b-{n}"), self.wish(n));
        let book = || self.desk.book(&ORGANIZATION, wish.clone(), asker(id.clone()));
        if self.draw(n, 7).is_multiple_of(TWICE_ONE_IN) {
            let (one, other) = tokio::join!(asked(book), asked(book));
            drop((one, other));
        } else {
            // Refused is an answer: nobody free, or a name that is taken.
            drop(asked(book).await);
        }
        if self.draw(n, 9).is_multiple_of(CALLED_OFF_ONE_IN) {
            let cancel = || self.desk.cancel(&ORGANIZATION, &id, "a change of plan", asker(format!("c-{n}")));
            drop(asked(cancel).await);
        }
        self.ridden(&id).await;
        n
    }

    /// Until a ride has ended, or its vehicle has vanished: others that want one come when there is one.
    async fn ridden(&self, id: &str) {
        let begun = tokio::time::Instant::now();
        while begun.elapsed() < RIDE_MAX {
            match self.desk.trip(&ORGANIZATION, id).await {
                Ok(trip) if ENDS.contains(&trip.state) || self.lost(id, trip.state) => return,
                Ok(_) | Err(BusinessError::Unavailable(_)) => tokio::time::sleep(LOOK_EVERY).await,
                Err(_) => return,
            }
        }
    }

    /// Whether the vehicle of a ride has vanished when the ride is so far.
    fn lost(&self, trip: &str, state: &str) -> bool {
        let n = number(trip);
        let at = STATES.iter().position(|known| *known == state).unwrap_or_default() as u64;
        self.draw(n, 11).is_multiple_of((self.bookings / VANISH).max(10))
            && at >= self.draw(n, 13) % STATES.len() as u64
    }

    /// Moves the vehicles of rides that run; those that vanished are not moved.
    async fn drive(self: Arc<Self>) {
        loop {
            for state in STATES {
                let mut after = None::<String>;
                while let Ok(trips) = self.desk.trips(&ORGANIZATION, Some(state), after.as_deref(), 500).await
                {
                    let Some(last) = trips.last() else { break };
                    after = Some(last.id.clone());
                    for trip in trips.iter().filter(|trip| !self.lost(&trip.id, state)) {
                        self.fleet.drive(&trip.vehicle, state, &self.wish(number(&trip.id)).stops);
                    }
                }
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

static ORGANIZATION: LazyLock<OrganizationId> = LazyLock::new(OrganizationId::default);

/// Bookings that a life before has had answers for.
fn answered(path: &Path) -> BTreeSet<u64> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    text.lines().filter_map(|line| line.parse().ok()).collect()
}

async fn live(
    folder: PathBuf,
    bookings: u64,
    (seed, life): (u64, u64),
    ahead_ms: i64,
    death: u64,
) -> Result<(), Failed> {
    let clock = move || {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_millis() as i64 + ahead_ms
    };
    let life_seed = faults::mix(seed ^ faults::mix(life + 1));
    faults::die_at_writes(death, life_seed)?;
    let fleet = Fleet::new(VEHICLES, seed, Arc::new(clock));
    let journal = SledJournal::open(&folder.join("cloud/business"), JournalMetrics::default())?;
    let chance = Arc::new(Chance::new(life_seed));
    let around = Arc::clone(&chance);
    let settings = BusinessSettings {
        folder: folder.join("cloud/business-data"),
        organization: *ORGANIZATION,
        roads: None,
        marks: None,
        mailer: None,
        on_call: None,
        services: vec![Arc::new(Herald(Arc::clone(&chance)))],
        wrap_provider: Some(Arc::new(move |provider: Arc<dyn PaymentProvider>| {
            let flaky = Flaky { provider, chance: Arc::clone(&around), echoes: Mutex::default() };
            Arc::new(flaky) as Arc<dyn PaymentProvider>
        })),
        seller: Seller { name: "Remuda".into(), address: vec![], tax_id: "DE1".into() },
        clock: Arc::new(clock),
    };
    let view = Arc::clone(&fleet) as Arc<dyn remuda_contracts::fleet::FleetView>;
    let business = Business::start(settings, Arc::new(journal), view, BusinessMetrics::default()).await?;
    let life = Arc::new(Life { desk: business.desk(), fleet, seed, bookings });
    life.open().await?;
    let driving = tokio::spawn(Arc::clone(&life).drive());

    let log = folder.join("answered");
    let done = answered(&log);
    let mut wanted = (0..bookings).filter(|n| !done.contains(n));
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(&log)?;
    let mut under_way = JoinSet::new();
    loop {
        while under_way.len() < AT_ONCE
            && let Some(n) = wanted.next()
        {
            under_way.spawn(Arc::clone(&life).book(n));
        }
        let Some(answered) = under_way.join_next().await else { break };
        file.write_all(format!("{}\n", answered?).as_bytes())?;
    }
    // Everything is asked for: now let what runs come to its end.
    let begun = std::time::Instant::now();
    loop {
        business.settle(SETTLE).await?;
        let mut running = business.figures().sagas_running;
        // Vehicles that vanished keep their riders waiting: a life with its clock ahead ends that.
        for state in STATES {
            let trips = life.desk.trips(&ORGANIZATION, Some(state), None, 10_000).await?;
            running += trips.iter().filter(|trip| !life.lost(&trip.id, state)).count() as u64;
        }
        if running == 0 && begun.elapsed() > SWEEPS {
            break;
        }
        if begun.elapsed() > SETTLE {
            return Err(format!("{running} rides and sagas still run").into());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    driving.abort();
    business.settle(SETTLE).await?;
    let now = clock();
    let query = FiguresQuery {
        granularity: "month".into(),
        dimension: "organization".into(),
        value: None,
        vehicles: None,
        from_ms: now - 40 * 86_400_000,
        to_ms: now + 40 * 86_400_000,
        limit: 100,
    };
    let rows = life.desk.figures(&ORGANIZATION, query).await?.rows;
    let figures = business.figures();
    let document = serde_json::json!({
        "trips": rows.iter().map(|row| row.trips).sum::<i64>(),
        "distance_m": rows.iter().map(|row| row.distance_m).sum::<i64>(),
        "unpriced_trips": rows.iter().map(|row| row.unpriced_trips).sum::<i64>(),
        "sagas_running": figures.sagas_running,
        "sagas_stuck": figures.sagas_stuck,
        "reactors_stopped": figures.reactors_stopped,
        "ledger_sum_minor_units": figures.ledger_sum_minor_units,
        "faults": chance.drawn(),
    });
    std::fs::write(folder.join("figures.json"), document.to_string())?;
    business.stop().await;
    Ok(())
}

/// Prints every event, in the order of its shard, as a line of JSON.
async fn export(folder: &Path) -> Result<(), Failed> {
    let decoders = Decoders::default()
        .with::<remuda_users::Users>()
        .with::<remuda_trips::Trips>()
        .with::<remuda_saga::Saga>()
        .with::<remuda_billing::payment::Payment>()
        .with::<remuda_billing::ledger::Ledger>()
        .with::<remuda_vehicles::reservation::Reservations>()
        .with::<remuda_vehicles::registry::Registry>();
    let journal = SledJournal::open(&folder.join("cloud/business"), JournalMetrics::default())?;
    let mut out = BufWriter::new(std::io::stdout().lock());
    for shard in (0..SHARDS).filter_map(ShardId::new) {
        let mut after = 0;
        loop {
            let events = journal.read_feed(shard, after, 512).await?;
            let Some(last) = events.last() else { break };
            after = last.position;
            for event in &events {
                serde_json::to_writer(&mut out, &decoders.describe(event))?;
                out.write_all(b"\n")?;
            }
        }
    }
    Ok(out.flush()?)
}

fn main() -> Result<(), Failed> {
    if let [_, verb, folder] = &std::env::args().collect::<Vec<_>>()[..]
        && verb == "export"
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        return runtime.block_on(export(Path::new(folder)));
    }
    let mut args = std::env::args().skip(1);
    let mut next = |what: &str| {
        args.next()
            .ok_or_else(|| format!("{what} is missing: life FOLDER BOOKINGS SEED LIFE AHEAD_HOURS DEATH"))
    };
    let (folder, bookings) = (PathBuf::from(next("FOLDER")?), next("BOOKINGS")?.parse()?);
    let (seed, life) = (next("SEED")?.parse()?, next("LIFE")?.parse()?);
    let ahead_hours: i64 = next("AHEAD_HOURS")?.parse()?;
    let death = next("DEATH")?.parse()?;
    std::fs::create_dir_all(folder.join("cloud"))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(live(folder, bookings, (seed, life), ahead_hours * 3_600_000, death))
}
