//! The figures, from events in a journal, against sums made another way.

use std::collections::BTreeMap;
use std::sync::Arc;

use proptest::prelude::*;
use remuda_analytics::{Analytics, Answer, Dimension, Figures, Granularity, Query, QueryError, Reader, Row};
use remuda_contracts::figures::{
    CHARGING_COMPLETED, ChargingSession, RIDE_PRICED, RidePriced, TRIP_CORRECTED, TripCorrected,
};
use remuda_contracts::money::{Currency, Money};
use remuda_contracts::trips::{DistanceSource, Mark, SamplesAt, TRIP_COMPLETED, TripCompleted, TripParties};
use remuda_entities::projection::{Place, project};
use remuda_entities::{EntityMetrics, Shards};
use remuda_eventsourcing::{Journal, MemoryJournal, NewEvent, StreamId, shard_of};
use remuda_model::OrganizationId;
use serde::Serialize;

const HOUR: i64 = 3_600_000;
/// 2026-01-01T00:00 in Berlin.
const START: i64 = 1_767_222_000_000;

struct World {
    shards: Arc<Shards>,
    versions: BTreeMap<StreamId, u64>,
    reader: Reader,
    projected: remuda_entities::projection::Projected<Analytics>,
}

fn organization() -> OrganizationId {
    OrganizationId::default()
}

async fn world() -> World {
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let shards = Shards::take_all(journal, EntityMetrics::default()).await.expect("taken");
    let zone = chrono_tz::Europe::Berlin;
    let model_of = Arc::new(|_: &OrganizationId, vehicle: &str| Some(format!("model-{}", vehicle.len())));
    let projected = project(&shards, &Place::memory(), Analytics { zone, model_of }).await.expect("started");
    World { shards, versions: BTreeMap::new(), reader: Reader::new(projected.clone(), zone), projected }
}

impl World {
    async fn say<T: Serialize>(&mut self, kind: &str, id: &str, event_type: &str, time_ms: i64, payload: &T) {
        let stream =
            StreamId { organization: organization(), aggregate_type: kind.into(), aggregate_id: id.into() };
        let version = self.versions.entry(stream.clone()).or_insert(0);
        *version += 1;
        let event = NewEvent {
            event_id: [*version as u8; 16],
            stream: stream.clone(),
            version: *version,
            event_type: event_type.into(),
            schema_version: 1,
            time_ms,
            causation_id: "test".into(),
            correlation_id: id.into(),
            actor: "test".into(),
            payload: postcard::to_allocvec(payload).expect("bytes"),
        };
        let shard = shard_of(&stream);
        let epoch = self.shards.epoch(shard).expect("owned");
        self.shards.append(shard, epoch, vec![event]).await.expect("written");
    }

    fn ask(
        &self,
        granularity: Granularity,
        dimension: Dimension,
        limit: usize,
    ) -> Result<Answer, QueryError> {
        let query = Query {
            granularity,
            dimension,
            value: None,
            from_ms: START,
            to_ms: START + 40 * 24 * HOUR,
            limit,
        };
        self.reader.ask(&organization(), &query, None)
    }

    async fn rows(&self, granularity: Granularity, dimension: Dimension) -> Vec<(i64, String, Figures)> {
        self.projected.caught_up().await.expect("caught up");
        let answer = self.ask(granularity, dimension, 10_000).expect("an answer");
        answer.rows.into_iter().map(|r| ((r.start_ms - START) / HOUR, r.value, r.figures)).collect()
    }
}

fn mark(time_ms: i64, seq: Option<u64>) -> Mark {
    let samples = seq.map(|seq| SamplesAt { incarnation: 1, seq });
    Mark { time_ms, latitude_e7: 0, longitude_e7: 0, odometer_m: None, energy_wh: None, samples }
}

fn trip(id: &str, vehicle: &str, end_ms: i64, distance_m: u64, seq: Option<u64>) -> TripCompleted {
    TripCompleted {
        trip: id.into(),
        parties: TripParties {
            rider: "ada".into(),
            vehicle: vehicle.into(),
            fleet: Some("city".into()),
            ..Default::default()
        },
        requested_ms: end_ms - HOUR,
        start: mark(end_ms - HOUR / 2, None),
        end: mark(end_ms, seq),
        distance_m,
        distance_source: DistanceSource::Odometer,
        duration_ms: HOUR / 2,
        energy_wh: Some(1_000),
        waiting_ms: 0,
        stops: 0,
        quote: None,
        hold_key: None,
    }
}

fn priced(net: i64) -> RidePriced {
    let money = |minor_units| Money { minor_units, currency: Currency::EUR };
    RidePriced { net: money(net), gross: money(net * 119 / 100), tariff: "standard".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn trips_are_counted_once_and_corrected_by_the_difference() {
    let mut world = world().await;
    // The price comes first: it lies in another shard.
    world.say("payment", "t1", RIDE_PRICED, START, &priced(1_000)).await;
    assert_eq!(world.rows(Granularity::Day, Dimension::Organization).await, []);
    world.say("trip", "t1", TRIP_COMPLETED, START, &trip("t1", "V1", START + HOUR, 5_000, Some(70))).await;
    let day = world.rows(Granularity::Day, Dimension::Organization).await;
    let first = Figures {
        trips: 1,
        provisional_trips: 1,
        distance_m: 5_000,
        duration_ms: HOUR / 2,
        energy_wh: 1_000,
        energy_trips: 1,
        revenue_minor: BTreeMap::from([(Currency::EUR, 1_000)]),
        ..Figures::default()
    };
    assert_eq!(day, [(0, String::new(), first.clone())]);
    // Said again, perhaps as another event of the same stream: it is still one trip.
    world.say("trip", "t1", TRIP_COMPLETED, START, &trip("t1", "V1", START + HOUR, 5_000, Some(70))).await;
    assert_eq!(world.rows(Granularity::Day, Dimension::Organization).await, day);
    for (dimension, value) in [
        (Dimension::Fleet, "city"),
        (Dimension::Depot, ""),
        (Dimension::Vehicle, "V1"),
        (Dimension::Model, "model-2"),
        (Dimension::Tariff, "standard"),
    ] {
        for (granularity, hour) in [(Granularity::Hour, 1), (Granularity::Day, 0), (Granularity::Month, 0)] {
            let rows = world.rows(granularity, dimension).await;
            assert_eq!(rows, [(hour, value.to_owned(), first.clone())], "{granularity:?} {dimension:?}");
        }
    }
    // Its telemetry says something else: sums change by the difference, and it is final.
    let corrected = TripCorrected { distance_m: 5_200, energy_wh: Some(900) };
    world.say("trip", "t1", TRIP_CORRECTED, START, &corrected).await;
    let rows = world.rows(Granularity::Day, Dimension::Vehicle).await;
    let after = Figures { provisional_trips: 0, distance_m: 5_200, energy_wh: 900, ..first };
    assert_eq!(rows, [(0, "V1".to_owned(), after)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trip_is_provisional_until_its_samples_or_its_deadline() {
    let mut world = world().await;
    world.say("trip", "t1", TRIP_COMPLETED, START, &trip("t1", "V1", START, 1, Some(70))).await;
    world.say("trip", "t2", TRIP_COMPLETED, START, &trip("t2", "V2", START, 1, None)).await;
    let provisional =
        |rows: &[(i64, String, Figures)]| rows.iter().map(|r| r.2.provisional_trips).sum::<i64>();
    assert_eq!(provisional(&world.rows(Granularity::Day, Dimension::Organization).await), 1);
    let query = Query {
        granularity: Granularity::Day,
        dimension: Dimension::Vehicle,
        value: Some("V1".into()),
        from_ms: START,
        to_ms: START + HOUR,
        limit: 10,
    };
    for (seq, expected) in [(69, 1), (70, 0), (71, 0)] {
        let come = |vehicle: &str, incarnation: u64| (vehicle == "V1" && incarnation == 1).then_some(seq);
        let answer = world.reader.ask(&organization(), &query, Some(&come)).expect("an answer");
        assert_eq!(answer.rows[0].figures.provisional_trips, expected, "at sample {seq}");
    }
    // Something happens a day later: nobody waits any more.
    let session = |id: &str| ChargingSession {
        session: id.into(),
        vehicle: "V1".into(),
        fleet: None,
        depot: Some("north".into()),
        end_ms: START + 24 * HOUR,
        energy_wh: 30_000,
    };
    for _ in 0..2 {
        world.say("charging", "c1", CHARGING_COMPLETED, START + 24 * HOUR, &session("c1")).await;
    }
    let rows = world.rows(Granularity::Day, Dimension::Depot).await;
    assert_eq!(provisional(&rows), 0);
    let depot: Vec<_> = rows
        .iter()
        .filter(|r| r.1 == "north")
        .map(|r| (r.0, r.2.charging_sessions, r.2.charged_wh))
        .collect();
    assert_eq!(depot, [(24, 1, 30_000)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_are_bounded_and_can_be_continued() {
    let mut world = world().await;
    for n in 0..6_i64 {
        let (id, vehicle) = (format!("t{n}"), format!("V{}", n % 2));
        let completed = trip(&id, &vehicle, START + n / 2 * HOUR, 10, None);
        world.say("trip", &id, TRIP_COMPLETED, START, &completed).await;
    }
    world.projected.caught_up().await.expect("caught up");
    let first = world.ask(Granularity::Hour, Dimension::Vehicle, 3).expect("an answer");
    assert_eq!((first.rows.len(), first.next_from_ms), (2, Some(START + HOUR)));
    assert_eq!(first.time_zone, "Europe/Berlin");
    let rest = Query {
        granularity: Granularity::Hour,
        dimension: Dimension::Vehicle,
        value: None,
        from_ms: START + HOUR,
        to_ms: START + 3 * HOUR,
        limit: 4,
    };
    let answer = world.reader.ask(&organization(), &rest, None).expect("an answer");
    assert_eq!((answer.rows.len(), answer.next_from_ms), (4, None));
    assert_eq!(world.ask(Granularity::Day, Dimension::Vehicle, 1), Err(QueryError::TooWide(1)));
    for (query, says) in [
        (Query { to_ms: rest.from_ms, ..rest.clone() }, "must lie after"),
        (Query { to_ms: i64::MAX, ..rest.clone() }, "ten years"),
        (Query { limit: 0, ..rest.clone() }, "1 to 10000"),
        (Query { limit: 10_001, ..rest.clone() }, "1 to 10000"),
    ] {
        let error = world.reader.ask(&organization(), &query, None).expect_err(says).to_string();
        assert!(error.contains(says), "{error}");
    }
    let other: OrganizationId = "other".parse().expect("an organisation");
    assert_eq!(world.reader.ask(&other, &rest, None).expect("an answer").rows, [], "nobody sees another's");
}

#[tokio::test(flavor = "multi_thread")]
async fn figures_of_some_vehicles_are_theirs_alone() {
    let mut world = world().await;
    for n in 0..6_i64 {
        let (id, vehicle) = (format!("t{n}"), format!("V{}", n % 3));
        let completed = trip(&id, &vehicle, START + n / 3 * HOUR, 10, Some(70));
        world.say("trip", &id, TRIP_COMPLETED, START, &completed).await;
    }
    world.projected.caught_up().await.expect("caught up");
    let are_of = |vehicle: &str| vehicle != "V1";
    let come = |vehicle: &str, _: u64| (vehicle != "V2").then_some(70_u64);
    let ask = |dimension: Dimension, value: Option<&str>, limit: usize| {
        let query = Query {
            granularity: Granularity::Hour,
            dimension,
            value: value.map(str::to_owned),
            from_ms: START,
            to_ms: START + 2 * HOUR,
            limit,
        };
        world.reader.ask_of(&organization(), &query, Some(&come), &are_of)
    };
    let rows = |answer: Result<Answer, QueryError>| {
        let answer = answer.expect("an answer");
        let row = |row: Row| {
            let Figures { trips, provisional_trips, distance_m, .. } = row.figures;
            ((row.start_ms - START) / HOUR, row.value, trips, provisional_trips, distance_m)
        };
        let next = answer.next_from_ms.map(|ms| (ms - START) / HOUR);
        (answer.rows.into_iter().map(row).collect::<Vec<_>>(), next)
    };
    let one = |hour: i64, vehicle: &str, provisional: i64| (hour, vehicle.to_owned(), 1, provisional, 10);
    let sum = |hour: i64| (hour, String::new(), 2, 1, 20);
    let each = vec![one(0, "V0", 0), one(0, "V2", 1), one(1, "V0", 0), one(1, "V2", 1)];
    assert_eq!(rows(ask(Dimension::Vehicle, None, 4)), (each.clone(), None));
    // The others take no room of a page.
    assert_eq!(rows(ask(Dimension::Vehicle, None, 2)), (each[..2].to_vec(), Some(1)));
    assert_eq!(rows(ask(Dimension::Vehicle, Some("V1"), 4)), (vec![], None));
    assert_eq!(rows(ask(Dimension::Vehicle, Some("V2"), 4)), (vec![one(0, "V2", 1), one(1, "V2", 1)], None));
    assert_eq!(rows(ask(Dimension::Organization, None, 2)), (vec![sum(0), sum(1)], None));
    assert_eq!(rows(ask(Dimension::Organization, None, 1)), (vec![sum(0)], Some(1)));
    for dimension in [Dimension::Fleet, Dimension::Depot, Dimension::Model, Dimension::Tariff] {
        assert_eq!(ask(dimension, None, 4), Err(QueryError::OfVehicles(dimension.name())));
    }
}

#[derive(Debug, Clone)]
enum Said {
    Completed { end_h: i64, distance_m: u64, seq: bool },
    Priced(i64),
    Corrected(u64),
}

fn any_said() -> impl Strategy<Value = (u8, Said)> {
    let said = prop_oneof![
        (0_i64..60, 0_u64..10_000, any::<bool>()).prop_map(|(end_h, distance_m, seq)| Said::Completed {
            end_h,
            distance_m,
            seq
        }),
        (0_i64..5_000).prop_map(Said::Priced),
        (0_u64..10_000).prop_map(Said::Corrected),
    ];
    (0_u8..6, said)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// Whatever is said of trips in whatever order: every dimension and every granularity sums to what the
    /// last word on each trip says.
    #[test]
    fn sums_are_those_of_the_last_word(said in prop::collection::vec(any_said(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut world = world().await;
            let (mut ends, mut prices, mut corrections) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
            for (n, word) in &said {
                let id = format!("t{n}");
                match word {
                    Said::Completed { end_h, distance_m, seq } => {
                        let completed = trip(&id, "V", START + end_h * HOUR, *distance_m, seq.then_some(1));
                        world.say("trip", &id, TRIP_COMPLETED, START + end_h * HOUR, &completed).await;
                        ends.insert(*n, *distance_m);
                    }
                    Said::Priced(net) => {
                        world.say("payment", &id, RIDE_PRICED, START, &priced(*net)).await;
                        prices.insert(*n, *net);
                    }
                    Said::Corrected(distance_m) => {
                        let corrected = TripCorrected { distance_m: *distance_m, energy_wh: None };
                        world.say("trip", &id, TRIP_CORRECTED, START, &corrected).await;
                        corrections.insert(*n, *distance_m);
                    }
                }
            }
            let metres = ends.iter().map(|(n, metres)| corrections.get(n).copied().unwrap_or(*metres) as i64).sum::<i64>();
            let revenue = ends.keys().filter_map(|n| prices.get(n)).sum::<i64>();
            for granularity in Granularity::ALL {
                for dimension in Dimension::ALL {
                    let rows = world.rows(granularity, dimension).await;
                    let sum = |of: fn(&Figures) -> i64| rows.iter().map(|r| of(&r.2)).sum::<i64>();
                    assert_eq!(sum(|f| f.trips), ends.len() as i64);
                    assert_eq!(sum(|f| f.distance_m), metres);
                    assert_eq!(sum(|f| f.revenue_minor.get(&Currency::EUR).copied().unwrap_or(0)), revenue);
                    assert!(rows.iter().all(|r| (0..=r.2.trips).contains(&r.2.provisional_trips)));
                }
            }
            world.projected.stop().await;
        });
    }
}
