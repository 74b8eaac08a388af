//! Brings trip marks to their trips: an effect of what a vehicle reported, made from what is durable, named by the mark itself. A
//! mark that its trip does not take is set aside, so that the others go on.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use remuda_contracts::marks::{MarkReport, ReportOffsets, TripMarked, TripMarks};
use remuda_contracts::trips::{Mark, SamplesAt};
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_model::VehicleId;
use remuda_trips::state::TripPhase;
use remuda_trips::{TripCommand, TripService};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::aside::{Aside, Put};
use crate::limits;
use crate::start::{Clock, pause};

/// How far marks were read, and those before that wait for their trips: one file, so that none is passed over.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Kept {
    offsets: ReportOffsets,
    aside: Aside,
}

/// Keeps it, so that a start need not read all marks; what is read again changes nothing.
pub(crate) struct Cursor {
    file: PathBuf,
}

impl Cursor {
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("trip-marks.cursor") }
    }

    /// From the beginning, when it is not there or cannot be read.
    fn read(&self) -> Kept {
        let bytes = std::fs::read(&self.file).unwrap_or_default();
        // Before any mark was set aside, the file was the offsets alone.
        let alone =
            || serde_json::from_slice(&bytes).map(|offsets| Kept { offsets, aside: Aside::default() });
        serde_json::from_slice(&bytes).or_else(|_| alone()).unwrap_or_default()
    }

    fn write(&self, kept: &Kept) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(kept)?;
        let beside = self.file.with_extension("new");
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, &self.file)
    }
}

/// What of marks is to be known before time moves trips.
#[derive(Debug, Default)]
pub(crate) struct Brought {
    /// All marks that there were at the start have been brought, or set aside.
    pub caught_up: bool,
    /// Trips of which marks are set aside.
    pub aside: HashSet<String>,
}

/// Reads marks and brings them.
pub(crate) struct Bringing {
    pub marks: Arc<dyn TripMarks>,
    pub trips: TripService,
    pub cursor: Cursor,
    /// Counts marks of trips that are not their vehicle's.
    pub foreign: Counter,
    /// Marks that are set aside.
    pub waiting: Gauge,
    /// Counts marks that their trips did not take in time.
    pub given_up: Counter,
    pub clock: Clock,
    pub brought: watch::Sender<Brought>,
}

fn mark_of(report: &MarkReport) -> Mark {
    let said = &report.mark;
    Mark {
        // No vehicle notices anything after it was heard.
        time_ms: said.time_ms.map_or(report.received_ms, |time_ms| time_ms.min(report.received_ms)),
        latitude_e7: said.latitude_e7,
        longitude_e7: said.longitude_e7,
        odometer_m: said.odometer_m,
        energy_wh: said.energy_wh,
        // Before its first sample there is nothing to wait for.
        samples: (said.samples > 0)
            .then_some(SamplesAt { incarnation: said.incarnation.0, seq: said.samples }),
    }
}

impl Bringing {
    /// Until the node stops.
    pub async fn run(self, mut stops: watch::Receiver<bool>) {
        let mut changes = self.marks.changes();
        let mut kept = self.cursor.read();
        self.publish(&kept.aside);
        let mut tried: Option<Instant> = None;
        loop {
            changes.mark_unchanged();
            let round = async {
                if tried.is_none_or(|tried| tried.elapsed() >= limits::MARKS_AGAIN) {
                    self.bring_again(&mut kept).await;
                    tried = Some(Instant::now());
                }
                self.catch_up(&mut kept).await
            };
            let rest = tokio::select! {
                rest = round => rest,
                // A sender that is gone has stopped as well.
                _ = stops.wait_for(|stops| *stops) => return,
            };
            tokio::select! {
                // The vehicles' part is gone: only time tells.
                Ok(()) = changes.changed() => {}
                goes_on = pause(&mut stops, rest) => if !goes_on { return },
            }
        }
    }

    /// Brings all there is. Answers how long to wait until it is looked again.
    async fn catch_up(&self, kept: &mut Kept) -> Duration {
        loop {
            let page = match self.marks.marks(&kept.offsets).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error, "trip marks cannot be read; it is tried again");
                    return limits::MARKS_AGAIN;
                }
            };
            for report in &page.marks {
                while !self.take(report, &mut kept.aside).await {
                    tokio::time::sleep(limits::MARKS_AGAIN).await;
                    self.bring_again(kept).await;
                }
            }
            if page.offsets != kept.offsets {
                kept.offsets = page.offsets;
                self.keep(kept);
            }
            if !page.more {
                self.brought.send_if_modified(|brought| !std::mem::replace(&mut brought.caught_up, true));
                return if kept.aside.count() == 0 { limits::MARKS_LOOK } else { limits::MARKS_AGAIN };
            }
        }
    }

    /// Brings marks that were set aside to trips that take them now, each trip's in their order.
    async fn bring_again(&self, kept: &mut Kept) {
        let before = kept.aside.count();
        let mut stuck: HashSet<(VehicleId, String)> = HashSet::new();
        let mut at = 0;
        while let Some(report) = kept.aside.get(at) {
            let of = (report.vehicle, report.mark.trip.clone());
            if stuck.contains(&of) {
                at += 1;
                continue;
            }
            let brought = self.bring(report).await;
            match brought {
                Ok(()) => {
                    tracing::info!(trip_id = of.1, "a trip took a mark that was set aside");
                    kept.aside.remove(at);
                }
                Err(error) => {
                    tracing::debug!(trip_id = of.1, %error, "a mark stays aside");
                    stuck.insert(of);
                    at += 1;
                }
            }
        }
        for report in kept.aside.expire((self.clock)()) {
            self.give_up(&report);
        }
        if kept.aside.count() != before {
            self.keep(kept);
            self.publish(&kept.aside);
        }
    }

    /// Brings a mark, or sets it aside. False: there is no room for it, and nothing goes on.
    async fn take(&self, report: &MarkReport, aside: &mut Aside) -> bool {
        let mut failed = None;
        if !aside.holds_back(report) {
            match self.bring(report).await {
                Ok(()) => return true,
                Err(error) => failed = Some(error),
            }
        }
        let MarkReport { vehicle, mark, .. } = report;
        match aside.put(report, (self.clock)()) {
            Put::Waits | Put::Spare => {}
            Put::GivenUp => self.give_up(report),
            Put::Full => {
                tracing::warn!(trip_id = mark.trip, "too many trip marks are set aside; all wait");
                return false;
            }
        }
        // Those after it say nothing new.
        if let Some(error) = failed {
            tracing::warn!(
                trip_id = mark.trip,
                vehicle_id = %vehicle,
                %error,
                "a trip does not take its marks; they are set aside and brought again (docs/business.md, What operators do)"
            );
        }
        self.publish(aside);
        true
    }

    fn keep(&self, kept: &Kept) {
        if let Err(error) = self.cursor.write(kept) {
            tracing::warn!(%error, "how far trip marks were read is not kept");
        }
    }

    fn publish(&self, aside: &Aside) {
        self.waiting.set(i64::try_from(aside.count()).unwrap_or(i64::MAX));
        let trips = aside.trips();
        self.brought.send_if_modified(|brought| {
            let is_news = brought.aside != trips;
            brought.aside = trips;
            is_news
        });
    }

    fn give_up(&self, report: &MarkReport) {
        self.given_up.inc();
        let MarkReport { vehicle, received_ms, mark, .. } = report;
        let TripMarked { trip, observation, number, .. } = mark;
        tracing::error!(
            trip_id = trip,
            vehicle_id = %vehicle,
            ?observation,
            number,
            received_ms,
            "a trip mark was given up; it stays in its vehicle's stream (docs/business.md, What operators do)"
        );
    }

    /// Brings one mark to its trip.
    ///
    /// # Errors
    /// When it has to be brought again: the trip said neither yes nor no.
    async fn bring(&self, report: &MarkReport) -> Result<(), AskError> {
        let MarkReport { organization, vehicle, received_ms, mark } = report;
        // A refusal is kept with the trip: none for those whose trip it is not, who could say it without end.
        let is_its_own = match self.trips.entities().read(organization, &mark.trip).await {
            Ok(seen) => {
                seen.state.phase != TripPhase::Unknown && seen.state.parties.vehicle == vehicle.as_str()
            }
            // No trip can have such an id.
            Err(AskError::Invalid { .. }) => false,
            Err(error) => return Err(error),
        };
        if !is_its_own {
            self.foreign.inc();
            tracing::debug!(trip_id = mark.trip, vehicle_id = %vehicle, "a mark was of a trip of another vehicle");
            return Ok(());
        }
        let context = Context {
            now_ms: *received_ms,
            // The mark's own name, not the report's: after a restart a vehicle may tell it again.
            command_id: format!("mark/{vehicle}/{}/{}", mark.noticed_by, mark.number),
            actor: format!("vehicle/{vehicle}"),
            correlation_id: mark.trip.clone(),
        };
        let command = TripCommand::Report {
            vehicle: vehicle.to_string(),
            observation: mark.observation,
            stop: mark.stop,
            mark: mark_of(report),
        };
        match self.trips.entities().ask(organization, &mark.trip, command, context).await {
            Ok(_) => Ok(()),
            Err(AskError::Refused { code, .. }) => {
                let observation = mark.observation;
                tracing::debug!(trip_id = mark.trip, ?observation, code, "a trip passed a mark over");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use remuda_contracts::marks::{MarkPage, Observation, WantedTrips, Watcher};
    use remuda_contracts::trips::TripParties;
    use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
    use remuda_eventsourcing::{Journal, MemoryJournal, NewEvent, StreamId, shard_of};
    use remuda_model::{Incarnation, OrganizationId};
    use remuda_trips::Trips;
    use remuda_trips::state::{Plan, Stop, Terms};

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// What vehicles have said.
    struct Said(Vec<MarkReport>);

    #[async_trait]
    impl TripMarks for Said {
        fn want(&self, _: &OrganizationId, _: WantedTrips) {}

        fn watcher(&self, _: &VehicleId, _: &str) -> Watcher {
            Watcher::Open
        }

        async fn marks(&self, after: &ReportOffsets) -> Result<MarkPage, String> {
            let from = after.first().map_or(0, |from| *from as usize);
            let marks = self.0.get(from..).unwrap_or_default().to_vec();
            Ok(MarkPage { marks, offsets: vec![self.0.len() as u64], more: false })
        }

        fn changes(&self) -> watch::Receiver<u64> {
            watch::channel(0).1
        }
    }

    fn report(vehicle: &str, trip: &str, number: u32) -> MarkReport {
        let mark = TripMarked {
            trip: trip.to_owned(),
            noticed_by: Incarnation(1),
            number,
            observation: Observation::SetOff,
            stop: None,
            time_ms: Some(NOW_MS + 1_000),
            latitude_e7: 481_000_000,
            longitude_e7: 115_000_000,
            speed_e2: 4_000,
            odometer_m: None,
            energy_wh: None,
            incarnation: Incarnation(1),
            samples: 0,
        };
        let vehicle = VehicleId::new(vehicle).expect("an id");
        MarkReport { organization: OrganizationId::default(), vehicle, received_ms: NOW_MS + 2_000, mark }
    }

    fn stream(trip: &str) -> StreamId {
        let organization = OrganizationId::default();
        StreamId { organization, aggregate_type: "trip".to_owned(), aggregate_id: trip.to_owned() }
    }

    async fn bringing(said: Vec<MarkReport>, journal: &Arc<MemoryJournal>, folder: &Path) -> Bringing {
        let shards =
            Shards::take_all(Arc::clone(journal) as Arc<dyn Journal>, EntityMetrics::default()).await;
        // Whoever cannot be read rests for longer than a test takes.
        let settings = Settings { backoff: Duration::from_secs(60), ..Settings::default() };
        let trips = Entities::<Trips>::start(&shards.expect("shards"), settings).await.expect("trips");
        Bringing {
            marks: Arc::new(Said(said)),
            trips: TripService::new(trips, Arc::new(|| NOW_MS)),
            cursor: Cursor::new(folder),
            foreign: Counter::default(),
            waiting: Gauge::default(),
            given_up: Counter::default(),
            clock: Arc::new(|| NOW_MS),
            brought: watch::channel(Brought::default()).0,
        }
    }

    /// A trip that a vehicle has.
    async fn book(trips: &TripService, trip: &str, vehicle: &str) {
        let stop = |latitude_e7| Stop { latitude_e7, longitude_e7: 115_000_000, radius_m: 50, label: None };
        let plan = Plan {
            stops: vec![stop(481_100_000), stop(481_200_000)],
            planned_distance_m: None,
            terms: Terms::default(),
            quote: None,
            hold_key: None,
        };
        let parties = TripParties { rider: "ada".into(), vehicle: vehicle.into(), ..TripParties::default() };
        let request = TripCommand::Request { id: trip.into(), parties, plan };
        let context = Context {
            now_ms: NOW_MS,
            command_id: "r1".into(),
            actor: "user/ada".into(),
            correlation_id: trip.into(),
        };
        trips.entities().ask(&OrganizationId::default(), trip, request, context).await.expect("a trip");
    }

    /// A trip whose first event means nothing.
    async fn write_nonsense(journal: &MemoryJournal, trip: &str) {
        let stream = stream(trip);
        let owned = journal.acquire(&[shard_of(&stream)]).await.expect("a shard");
        let event = NewEvent {
            event_id: [9; 16],
            stream,
            version: 1,
            event_type: "trip.requested".into(),
            schema_version: 1,
            time_ms: NOW_MS,
            causation_id: "test".into(),
            correlation_id: trip.into(),
            actor: "test".into(),
            payload: vec![255],
        };
        journal.append(owned[0].0, owned[0].1, vec![event]).await.expect("written");
    }

    async fn is_arriving(trips: &TripService, trip: &str) -> bool {
        let seen = trips.entities().read(&OrganizationId::default(), trip).await;
        seen.is_ok_and(|seen| seen.state.phase == TripPhase::Arriving)
    }

    /// Lets it run until the trip has its mark and all that were said have been looked at; then it stops.
    async fn run_until_arriving(bringing: Bringing, trip: &str) {
        let trips = bringing.trips.clone();
        let mut brought = bringing.brought.subscribe();
        let (stopping, stops) = watch::channel(false);
        let running = tokio::spawn(bringing.run(stops));
        let arrived = async {
            while !is_arriving(&trips, trip).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            drop(brought.wait_for(|brought| brought.caught_up).await.expect("it runs"));
        };
        tokio::time::timeout(Duration::from_secs(30), arrived).await.expect("it does not wait for others");
        stopping.send_replace(true);
        running.await.expect("it stops");
    }

    #[tokio::test]
    async fn a_trip_that_cannot_be_read_holds_up_no_other_and_gets_its_marks_once_it_can() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Arc::new(MemoryJournal::new());
        write_nonsense(&journal, "broken").await;
        let said = vec![report("CAR1", "broken", 1), report("CAR2", "sound", 1)];
        let first = bringing(said.clone(), &journal, folder.path()).await;
        book(&first.trips, "sound", "CAR2").await;
        let seen = first.trips.entities().read(&OrganizationId::default(), "broken").await;
        assert!(seen.is_err(), "it cannot be read, and rests from now on");
        let (waiting, given_up) = (first.waiting.clone(), first.given_up.clone());
        run_until_arriving(first, "sound").await;
        assert_eq!((waiting.get(), given_up.get()), (1, 0));
        let kept = Cursor::new(folder.path()).read();
        assert_eq!((kept.offsets, kept.aside.count()), (vec![2], 1), "beside how far it was read");

        // A program that can read it; here, a journal without the nonsense.
        let journal = Arc::new(MemoryJournal::new());
        let second = bringing(said, &journal, folder.path()).await;
        book(&second.trips, "broken", "CAR1").await;
        let (waiting, foreign) = (second.waiting.clone(), second.foreign.clone());
        run_until_arriving(second, "broken").await;
        assert_eq!((waiting.get(), foreign.get()), (0, 0));
        assert_eq!(Cursor::new(folder.path()).read().aside, Aside::default());
    }

    #[tokio::test]
    async fn no_mark_overtakes_one_of_its_trip_that_waits() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal = Arc::new(MemoryJournal::new());
        let bringing = bringing(vec![], &journal, folder.path()).await;
        book(&bringing.trips, "t1", "CAR1").await;
        let mut aside = Aside::default();
        assert_eq!(aside.put(&report("CAR1", "t1", 1), NOW_MS), Put::Waits);
        assert!(bringing.take(&report("CAR1", "t1", 2), &mut aside).await);
        assert_eq!((aside.count(), bringing.brought.borrow().aside.len()), (2, 1));
        assert!(!is_arriving(&bringing.trips, "t1").await, "the first comes first");
        let mut kept = Kept { aside, ..Kept::default() };
        bringing.bring_again(&mut kept).await;
        assert_eq!((kept.aside.count(), bringing.brought.borrow().aside.len()), (0, 0));
        assert!(is_arriving(&bringing.trips, "t1").await);
    }

    #[tokio::test]
    async fn a_mark_of_a_trip_of_another_vehicle_leaves_no_trace_in_it() {
        let journal = Arc::new(MemoryJournal::new());
        let bringing = bringing(vec![], &journal, Path::new("nowhere")).await;
        book(&bringing.trips, "t1", "CAR1").await;
        let length = async |trip: &str| journal.read_stream(&stream(trip), 0, 100).await.expect("read").len();
        let before = length("t1").await;
        for number in 1..4 {
            assert_eq!(bringing.bring(&report("CAR2", "t1", number)).await, Ok(()));
            assert_eq!(bringing.bring(&report("CAR2", "t9", number)).await, Ok(()));
        }
        assert_eq!((length("t1").await, length("t9").await), (before, 0));
        assert_eq!(bringing.foreign.get(), 6);
        assert_eq!(bringing.bring(&report("CAR2", "no\ttrip", 4)).await, Ok(()));
        assert_eq!(bringing.foreign.get(), 7, "no trip has such an id");
        assert_eq!(bringing.bring(&report("CAR1", "t1", 1)).await, Ok(()));
        assert_eq!((length("t1").await, bringing.foreign.get()), (before + 1, 7));
        assert_eq!(bringing.bring(&report("CAR1", "t1", 1)).await, Ok(()));
        assert_eq!(length("t1").await, before + 1, "told again, it counts once");
    }

    #[test]
    fn a_cursor_comes_back_and_one_that_is_torn_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let cursor = Cursor::new(&folder.path().join("new"));
        assert_eq!(cursor.read(), Kept::default());
        let mut kept = Kept { offsets: vec![1, 0, 300], ..Kept::default() };
        assert_eq!(kept.aside.put(&report("CAR1", "t1", 1), NOW_MS), Put::Waits);
        cursor.write(&kept).expect("written");
        assert_eq!(Cursor::new(&folder.path().join("new")).read(), kept);
        std::fs::write(&cursor.file, "[1, 0").expect("written");
        assert_eq!(cursor.read(), Kept::default());
        std::fs::write(&cursor.file, "[1,0,300]").expect("written");
        let alone = cursor.read();
        assert_eq!((alone.offsets, alone.aside.count()), (vec![1, 0, 300], 0), "as it was written once");
    }
}
