//! Brings trip marks to their trips: an effect of what a vehicle reported, made from what is durable, named by the mark itself.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use remuda_contracts::marks::{MarkReport, ReportOffsets, TripMarks};
use remuda_contracts::trips::{Mark, SamplesAt};
use remuda_entities::AskError;
use remuda_eventsourcing::Context;
use remuda_trips::state::TripPhase;
use remuda_trips::{TripCommand, TripService};
use tokio::sync::watch;

use crate::limits;
use crate::start::pause;

/// How far marks were read. Kept so that a start need not read them all; what is read again changes nothing.
pub(crate) struct Cursor {
    file: PathBuf,
}

impl Cursor {
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("trip-marks.cursor") }
    }

    /// From the beginning, when it is not there or cannot be read.
    fn read(&self) -> ReportOffsets {
        let bytes = std::fs::read(&self.file).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    fn write(&self, offsets: &ReportOffsets) -> std::io::Result<()> {
        let bytes = serde_json::to_vec(offsets)?;
        let beside = self.file.with_extension("new");
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, &self.file)
    }
}

/// Reads marks and brings them.
pub(crate) struct Bringing {
    pub marks: Arc<dyn TripMarks>,
    pub trips: TripService,
    pub cursor: Cursor,
    /// Counts marks of trips that are not their vehicle's.
    pub foreign: Counter,
    /// Becomes true once all marks that there were at the start have been brought.
    pub caught_up: watch::Sender<bool>,
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
        let mut offsets = self.cursor.read();
        loop {
            changes.mark_unchanged();
            let rest = tokio::select! {
                rest = self.catch_up(&mut offsets) => rest,
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
    async fn catch_up(&self, offsets: &mut ReportOffsets) -> Duration {
        loop {
            let page = match self.marks.marks(offsets).await {
                Ok(page) => page,
                Err(error) => {
                    tracing::warn!(error, "trip marks cannot be read; it is tried again");
                    return limits::MARKS_AGAIN;
                }
            };
            for report in &page.marks {
                while !self.bring(report).await {
                    tokio::time::sleep(limits::MARKS_AGAIN).await;
                }
            }
            if page.offsets != *offsets {
                *offsets = page.offsets;
                if let Err(error) = self.cursor.write(offsets) {
                    tracing::warn!(%error, "how far trip marks were read is not kept");
                }
            }
            if !page.more {
                self.caught_up.send_if_modified(|caught_up| !std::mem::replace(caught_up, true));
                return limits::MARKS_LOOK;
            }
        }
    }

    /// Brings one mark to its trip. True: it need not be brought again.
    async fn bring(&self, report: &MarkReport) -> bool {
        let MarkReport { organization, vehicle, received_ms, mark } = report;
        // A refusal is kept with the trip: none for those whose trip it is not, who could say it without end.
        let is_its_own = match self.trips.entities().read(organization, &mark.trip).await {
            Ok(seen) => {
                seen.state.phase != TripPhase::Unknown && seen.state.parties.vehicle == vehicle.as_str()
            }
            Err(error) => return passed_over(report, &error),
        };
        if !is_its_own {
            self.foreign.inc();
            tracing::debug!(trip_id = mark.trip, vehicle_id = %vehicle, "a mark was of a trip of another vehicle");
            return true;
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
            Ok(_) => true,
            Err(AskError::Refused { code, .. }) => {
                let observation = mark.observation;
                tracing::debug!(trip_id = mark.trip, ?observation, code, "a trip passed a mark over");
                true
            }
            Err(error) => passed_over(report, &error),
        }
    }
}

/// False: it has to be brought again.
fn passed_over(report: &MarkReport, error: &AskError) -> bool {
    let MarkReport { vehicle, mark, .. } = report;
    if error.is_transient() {
        tracing::warn!(trip_id = mark.trip, %error, "a mark is brought again soon");
        return false;
    }
    tracing::error!(trip_id = mark.trip, vehicle_id = %vehicle, %error, "a mark was dropped");
    true
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use async_trait::async_trait;
    use remuda_contracts::marks::{MarkPage, Observation, TripMarked, WatchedTrip, Watcher};
    use remuda_contracts::trips::TripParties;
    use remuda_entities::{Entities, EntityMetrics, Settings, Shards};
    use remuda_eventsourcing::{Journal, MemoryJournal, StreamId};
    use remuda_model::{Incarnation, OrganizationId, VehicleId};
    use remuda_trips::Trips;
    use remuda_trips::state::{Plan, Stop, Terms};

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    /// Vehicles that say nothing.
    struct Silence;

    #[async_trait]
    impl TripMarks for Silence {
        fn want(&self, _: &OrganizationId, _: HashMap<VehicleId, Arc<WatchedTrip>>) {}

        fn watcher(&self, _: &VehicleId, _: &str) -> Watcher {
            Watcher::Open
        }

        async fn marks(&self, after: &ReportOffsets) -> Result<MarkPage, String> {
            Ok(MarkPage { offsets: after.clone(), ..MarkPage::default() })
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

    #[tokio::test]
    async fn a_mark_of_a_trip_of_another_vehicle_leaves_no_trace_in_it() {
        let journal = Arc::new(MemoryJournal::new());
        let shards =
            Shards::take_all(Arc::clone(&journal) as Arc<dyn Journal>, EntityMetrics::default()).await;
        let shards = shards.expect("shards");
        let trips = Entities::<Trips>::start(&shards, Settings::default()).await.expect("trips");
        let bringing = Bringing {
            marks: Arc::new(Silence),
            trips: TripService::new(trips, Arc::new(|| NOW_MS)),
            cursor: Cursor::new(Path::new("nowhere")),
            foreign: Counter::default(),
            caught_up: watch::channel(false).0,
        };
        let stop = |latitude_e7| Stop { latitude_e7, longitude_e7: 115_000_000, radius_m: 50, label: None };
        let plan = Plan {
            stops: vec![stop(481_100_000), stop(481_200_000)],
            planned_distance_m: None,
            terms: Terms::default(),
            quote: None,
            hold_key: None,
        };
        let parties = TripParties { rider: "ada".into(), vehicle: "CAR1".into(), ..TripParties::default() };
        let request = TripCommand::Request { id: "t1".into(), parties, plan };
        let context = Context {
            now_ms: NOW_MS,
            command_id: "r1".into(),
            actor: "user/ada".into(),
            correlation_id: "t1".into(),
        };
        let organization = OrganizationId::default();
        bringing.trips.entities().ask(&organization, "t1", request, context).await.expect("a trip");
        let length = async |trip: &str| {
            let stream =
                StreamId { organization, aggregate_type: "trip".to_owned(), aggregate_id: trip.to_owned() };
            journal.read_stream(&stream, 0, 100).await.expect("read").len()
        };
        let before = length("t1").await;
        for number in 1..4 {
            assert!(bringing.bring(&report("CAR2", "t1", number)).await);
            assert!(bringing.bring(&report("CAR2", "t9", number)).await);
        }
        assert_eq!((length("t1").await, length("t9").await), (before, 0));
        assert_eq!(bringing.foreign.get(), 6);
        assert!(bringing.bring(&report("CAR1", "t1", 1)).await);
        assert_eq!((length("t1").await, bringing.foreign.get()), (before + 1, 6));
        assert!(bringing.bring(&report("CAR1", "t1", 1)).await);
        assert_eq!(length("t1").await, before + 1, "told again, it counts once");
    }

    #[test]
    fn a_cursor_comes_back_and_one_that_is_torn_begins_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let cursor = Cursor::new(&folder.path().join("new"));
        assert!(cursor.read().is_empty());
        cursor.write(&vec![1, 0, 300]).expect("written");
        assert_eq!(Cursor::new(&folder.path().join("new")).read(), [1, 0, 300]);
        std::fs::write(&cursor.file, "[1, 0").expect("written");
        assert!(cursor.read().is_empty());
    }
}
