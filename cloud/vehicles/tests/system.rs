//! The vehicle domain in process: acks, restarts, faults, passivation, orders of arrival.

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{Scripted, event, eventually, samples, settings, start};
use remuda_contracts::fleet::Presence;
use remuda_contracts::uplink::{Arrival, DoorRefusal};
use remuda_eventsourcing::{Journal, JournalMetrics, MemoryJournal, SledJournal};
use remuda_model::{Incarnation, Lane, OrganizationId, ShardId, VehicleId, signal};
use remuda_vehicles::ledger::{Booked, demanded, read};
use remuda_vehicles::metrics::ReasonLabel;
use remuda_vehicles::{RuleSettings, VehicleSettings, VehicleSystem};
use remuda_wire::{Body, Channel, FloorReason, Frames, LaneState, Up, frame};

fn journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

async fn booked(journal: &Arc<dyn Journal>, vehicle: &VehicleId) -> Vec<Booked> {
    let events = journal.read_feed(ShardId::of(vehicle), 0, 1_000).await.expect("the feed reads");
    events.iter().filter_map(|e| read(&e.event)).filter(|(v, _)| v == vehicle).map(|(_, b)| b).collect()
}

async fn presence(system: &VehicleSystem, vehicle: &VehicleId) -> Presence {
    let twin = system.view.twin(&OrganizationId::default(), vehicle).await;
    twin.map(|twin| twin.summary.presence).unwrap_or_default()
}

const SPEED: remuda_model::SignalId = signal::SPEED;
const CHARGE: remuda_model::SignalId = signal::CHARGE;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_become_durable_and_survive_a_clean_stop() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut changes = system.view.changes();
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    let welcome = car.greet(vec![]).await;
    assert!(welcome.resync && welcome.acks.iter().all(|ack| ack.durable == 0 && ack.credit > 0));
    car.samples(1, &[&[(SPEED, 50.0), (CHARGE, 60.0)], &[(SPEED, 51.0)], &[(SPEED, 52.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    car.frames(Lane::Events, 1, vec![event(1, "1.0"), event(2, "1.0")]).await;
    car.durable(Lane::Events, 2).await;
    let changed = tokio::time::timeout(common::PATIENCE, changes.recv()).await.unwrap().unwrap();
    assert!(changed.vehicles.iter().any(|line| line.vehicle == car.vehicle));
    let figures = system.handle.figures();
    assert_eq!((figures.frames_accepted, figures.frames_durable, figures.vehicles_online), (5, 5, 1));
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!((twin.values.len(), twin.frames_durable, twin.summary.presence), (2, 3, Presence::Online));
    system.handle.stop().await.unwrap();

    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!(
        (twin.values[0].raw, twin.frames_durable, twin.summary.presence),
        (5200, 3, Presence::Offline)
    );
    let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
    let old = |lane| LaneState { lane, incarnation: Incarnation(7), next_seq: 9, floor: 1, acked: 2 };
    let welcome = car.greet(vec![old(Lane::Samples), old(Lane::Events)]).await;
    assert!(!welcome.resync);
    let numbers = |lane, incarnation: u64| {
        let found = welcome.acks.iter().find(|a| a.lane == lane && a.incarnation == Incarnation(incarnation));
        found.map(|ack| (ack.received, ack.durable))
    };
    assert_eq!(numbers(Lane::Samples, 7), Some((3, 3)));
    assert_eq!(numbers(Lane::Events, 7), Some((2, 2)));
    assert_eq!(numbers(Lane::Samples, 8), Some((0, 0)));
    system.handle.stop().await.unwrap();
    assert_eq!(booked(&journal, &car.vehicle).await.len(), 2);
}

/// Opens the embedded journal as soon as the threads of the life before have let go of it.
async fn open_journal(folder: &std::path::Path) -> Arc<dyn Journal> {
    let deadline = tokio::time::Instant::now() + common::PATIENCE;
    loop {
        match SledJournal::open(&folder.join("journal"), JournalMetrics::default()) {
            Ok(journal) => return Arc::new(journal),
            Err(error) => assert!(tokio::time::Instant::now() < deadline, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What the ledger will count: frames of both lanes, and the decisions that the rows demand, each once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_balances_over_stops_and_crashes_on_the_embedded_journal() {
    let folder = tempfile::tempdir().unwrap();
    let mut next = 1u64;
    for life in 0..6u64 {
        // Most lives end without a stop; their tasks are gone, so the journal is closed before the next opens it.
        let journal = open_journal(folder.path()).await;
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let (lake, handle) = (folder.path().join("lake"), runtime.handle().clone());
        let shared = Arc::clone(&journal);
        let first = next;
        let lived = handle.spawn(async move {
            let (system, ..) = start(&lake, &shared, settings()).await;
            let mut car = Scripted::connect(&system.intake, "CAR7", 70 + life / 2).await;
            let welcome = car.greet(vec![]).await;
            let samples = welcome.acks.iter().find(|ack| ack.lane == Lane::Samples).unwrap();
            let mut seq = samples.durable + 1;
            assert_eq!(seq, if life % 2 == 0 { 1 } else { first }, "life {life}");
            for n in 0..10 {
                car.samples(seq, &[&[(CHARGE, if n % 3 == 0 { 12.0 } else { 33.0 })]]).await;
                seq += 1;
            }
            // Of the other lives the last frames may or may not be durable.
            car.durable(Lane::Samples, if life % 2 == 0 { seq - 1 } else { seq - 4 }).await;
            if life % 4 == 0 {
                system.handle.stop().await.unwrap();
            }
            seq
        });
        next = lived.await.unwrap();
        // Ends every task of this life, wherever it stands.
        tokio::task::spawn_blocking(move || runtime.shutdown_timeout(Duration::from_secs(5))).await.unwrap();
        drop(journal);
        if life % 2 == 1 {
            next = 1;
        }
    }
    let journal = open_journal(folder.path()).await;
    let (system, _, lake) = start(&folder.path().join("lake"), &journal, settings()).await;
    system.handle.stop().await.unwrap();
    let mut rows = Vec::new();
    lake.for_each_row(|row| rows.push(row.clone())).await.unwrap();
    let mut places: Vec<_> = rows.iter().map(|row| (row.incarnation, row.seq, row.row_in_frame)).collect();
    let stored = places.len();
    places.sort_unstable();
    places.dedup();
    assert_eq!(places.len(), stored, "a row was stored twice");
    for incarnation in [70, 71, 72].map(Incarnation) {
        let of: Vec<u64> = places.iter().filter(|p| p.0 == incarnation).map(|p| p.1).collect();
        assert!(of.iter().copied().eq(1..=of.len() as u64) && of.len() >= 13, "{of:?}");
    }
    let vehicle = VehicleId::new("CAR7").unwrap();
    let booked = booked(&journal, &vehicle).await;
    let mut decided: Vec<_> = booked
        .iter()
        .filter_map(|b| match b {
            Booked::Decided(decision) => Some(*decision),
            _ => None,
        })
        .collect();
    let demanded = demanded(&RuleSettings::default(), &rows);
    decided.sort_unstable();
    let mut required = demanded.required;
    required.sort_unstable();
    assert!(required.len() >= 12, "{required:?}");
    decided.retain(|decision| !demanded.permitted.contains(decision));
    assert_eq!(decided, required);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_everything_loses_nothing_that_was_acked() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR2", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(CHARGE, 50.0)], &[(CHARGE, 14.0)], &[(CHARGE, 13.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    car.frames(Lane::Events, 1, vec![event(1, "1.0")]).await;
    car.durable(Lane::Events, 1).await;
    let before = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!(before.alerts.len(), 1);
    // No stop: whatever was in memory only is gone.
    drop(system);

    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR2", 8).await;
    let old = LaneState { lane: Lane::Samples, incarnation: Incarnation(7), next_seq: 4, floor: 4, acked: 3 };
    let welcome = car.greet(vec![old]).await;
    assert_eq!((welcome.acks[0].received, welcome.acks[0].durable), (3, 3));
    let after = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!((&after.alerts, after.values[0].raw), (&before.alerts, 130));
    // The rule's state came back too: more of the same is no second alert, the other start of the agent decides anew.
    let mut old_car = car;
    old_car.incarnation = Incarnation(7);
    old_car.samples(4, &[&[(CHARGE, 12.0)]]).await;
    old_car.ack(Lane::Samples, |ack| ack.ack.incarnation == Incarnation(7) && ack.ack.durable == 4).await;
    let decided = booked(&journal, &old_car.vehicle).await;
    assert_eq!(decided.iter().filter(|b| matches!(b, Booked::Decided(_))).count(), 1, "{decided:?}");
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_order_and_damage_are_answered_and_nothing_is_doubled() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR3", 7).await;
    // Before any Hello: asked to greet, nothing taken.
    car.samples(1, &[&[(SPEED, 1.0)]]).await;
    let ack = car.ack(Lane::Samples, |_| true).await;
    assert!(ack.greet && ack.ack.received == 0);
    car.greet(vec![]).await;
    // A hole.
    car.samples(2, &[&[(SPEED, 2.0)]]).await;
    let ack = car.ack(Lane::Samples, |_| true).await;
    assert!(ack.missing && ack.ack.received == 0);
    car.samples(1, &[&[(SPEED, 1.0)], &[(SPEED, 2.0)]]).await;
    car.durable(Lane::Samples, 2).await;
    // A repetition.
    car.samples(1, &[&[(SPEED, 1.0)], &[(SPEED, 2.0)]]).await;
    let ack = car.ack(Lane::Samples, |_| true).await;
    assert!(!ack.missing && ack.ack.durable == 2);
    // A broken checksum stops the message at its place.
    let mut broken = samples(4, &[(SPEED, 4.0)]);
    let middle = broken.len() / 2;
    broken[middle] ^= 1;
    car.frames(Lane::Samples, 3, vec![samples(3, &[(SPEED, 3.0)]), broken, samples(5, &[(SPEED, 5.0)])])
        .await;
    let ack = car.ack(Lane::Samples, |ack| ack.missing).await;
    assert_eq!(ack.ack.received, 3);
    // Sound but unusable: quarantined, and the sequence goes on. Shed ones are gaps.
    let unknown = frame_of_an_unknown_version(4);
    car.frames(Lane::Samples, 4, vec![unknown.clone(), frame::encode(&common::header(5), &Body::Damaged)])
        .await;
    car.durable(Lane::Samples, 5).await;
    car.frames_with_floor(Lane::Samples, 9, (9, FloorReason::Full), vec![samples(9, &[(SPEED, 9.0)])]).await;
    car.durable(Lane::Samples, 9).await;
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!((twin.frames_durable, twin.frames_in_gaps, twin.frames_quarantined), (4, 4, 1));
    // The events lane the same way, in the vehicle's stream.
    car.frames_with_floor(
        Lane::Events,
        3,
        (3, FloorReason::Age),
        vec![event(3, "1"), frame_of_an_unknown_version(4)],
    )
    .await;
    car.durable(Lane::Events, 4).await;
    let incarnation = Incarnation(7);
    assert_eq!(
        booked(&journal, &car.vehicle).await,
        [
            Booked::Gapped { incarnation, from: 1, to: 2, cloud_lost: false },
            Booked::Reported { incarnation, seq: 3 },
            Booked::Quarantined { incarnation, seq: 4 },
        ]
    );
    for reason in ["no-hello", "ahead", "repeated", "checksum"] {
        assert!(
            metrics.refusals.get_or_create(&ReasonLabel { reason }).get() > 0,
            "{reason} was not counted"
        );
        assert!(twin.refusals.iter().any(|(code, _)| code == reason), "{reason} is not shown");
    }
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_door_refused_is_seen_on_the_vehicle_and_outlives_a_stop() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let car = Scripted::connect(&system.intake, "VAN9", 9).await;
    let refused = |reason, count| Arrival::Refused { vehicle: car.vehicle, reason, count };
    car.offer(refused(DoorRefusal::MessageRate, 3)).await;
    car.offer(refused(DoorRefusal::ForeignTopic, 1)).await;
    car.offer(refused(DoorRefusal::MessageRate, 4)).await;
    let shown = async |system: &VehicleSystem| {
        let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await;
        let refusals = twin.map_or_else(Vec::new, |twin| twin.refusals);
        let of = |code: &str| refusals.iter().find(|(reason, _)| reason == code).map_or(0, |(_, n)| *n);
        (of("message_rate"), of("foreign_topic"))
    };
    eventually("refusals are shown", async || shown(&system).await == (7, 1)).await;
    system.handle.stop().await.unwrap();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    assert_eq!(shown(&system).await, (7, 1), "they are in the snapshot");
    system.handle.stop().await.unwrap();
}

/// A sound checksum over bytes that no version knows.
fn frame_of_an_unknown_version(seq: u64) -> Vec<u8> {
    let mut raw = samples(seq, &[(SPEED, 1.0)]);
    raw.truncate(raw.len() - 4);
    raw[0] = 0xee;
    let crc = crc32c::crc32c(&raw);
    raw.extend(crc.to_le_bytes());
    raw
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn presence_follows_the_newest_connection_only() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR4", 7).await;
    car.greet(vec![]).await;
    let (old_generation, old_connection) = (car.generation, car.connection());
    car.reconnect().await;
    car.greet(vec![]).await;
    // The old connection's farewell and end come after the new one's greeting.
    car.farewell(old_generation, old_connection).await;
    car.farewell(car.generation, old_connection).await;
    car.disconnect(old_generation).await;
    car.samples(1, &[&[(SPEED, 1.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    assert_eq!(presence(&system, &car.vehicle).await, Presence::Online);
    car.farewell(car.generation, car.connection()).await;
    eventually("offline after its farewell", async || {
        presence(&system, &car.vehicle).await == Presence::Offline
    })
    .await;
    assert_eq!(system.handle.figures().vehicles_online, 0);
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn idle_actors_are_passivated_and_come_back_with_their_connection() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let short = VehicleSettings { idle: Duration::from_millis(80), ..settings() };
    let (system, metrics, _) = start(folder.path(), &journal, short).await;
    let mut car = Scripted::connect(&system.intake, "CAR5", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(CHARGE, 14.0)], &[(CHARGE, 14.0)]]).await;
    car.durable(Lane::Samples, 2).await;
    eventually("passivated", async || metrics.passivations.get() > 0 && metrics.actors.get() == 0).await;
    // Reading does not activate.
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!((twin.alerts.len(), twin.summary.presence, metrics.actors.get()), (1, Presence::Online, 0));
    // No new Hello is needed: the connection is still greeted.
    car.samples(3, &[&[(CHARGE, 30.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    assert_eq!((twin.alerts.len(), twin.frames_durable), (0, 3));
    system.handle.stop().await.unwrap();
    let decided = booked(&journal, &car.vehicle).await;
    assert_eq!(decided.len(), 2, "{decided:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn decisions_and_reports_of_one_vehicle_take_turns_in_its_stream() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR6", 7).await;
    car.greet(vec![]).await;
    // Each frame of samples decides something, and reports cross their rounds.
    for n in 0..20u64 {
        let charge = if n % 2 == 0 { 10.0 } else { 30.0 };
        car.samples(n + 1, &[&[(CHARGE, charge)]]).await;
        car.frames(Lane::Events, n + 1, vec![event(n + 1, "1")]).await;
    }
    let mut events = 0;
    let mut frames = 0;
    while events < 20 || frames < 20 {
        if let remuda_wire::Down::Ack(ack) = car.hear().await {
            assert!(!ack.missing, "nothing was dropped");
            match ack.ack.lane {
                Lane::Events => events = ack.ack.durable,
                Lane::Samples => frames = ack.ack.durable,
            }
        }
    }
    system.handle.stop().await.unwrap();
    let booked = booked(&journal, &car.vehicle).await;
    assert_eq!(booked.iter().filter(|b| matches!(b, Booked::Decided(_))).count(), 20, "{booked:?}");
    assert_eq!(booked.iter().filter(|b| matches!(b, Booked::Reported { .. })).count(), 20, "{booked:?}");
}

/// A node that can hold little slows its vehicles down, and loses nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_node_cannot_hold_is_asked_for_again() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let small = VehicleSettings { rows_bytes_max: 2_000, ..settings() };
    let (system, metrics, lake) = start(folder.path(), &journal, small).await;
    let mut car = Scripted::connect(&system.intake, "CAR8", 7).await;
    car.greet(vec![]).await;
    let all: Vec<Vec<u8>> = (1..=60).map(|seq| samples(seq, &[(SPEED, seq as f64)])).collect();
    let (mut received, mut durable, mut least) = (0, 0, u32::MAX);
    while received < 60 {
        // The vehicle never heeds its credit: the worst there is.
        car.frames(Lane::Samples, received + 1, all[received as usize..].to_vec()).await;
        let mut missing = false;
        while !missing && received < 60 {
            let ack = car.ack(Lane::Samples, |_| true).await;
            missing = ack.missing;
            (received, durable) = (ack.ack.received, ack.ack.durable);
            least = least.min(ack.ack.credit);
            assert!(system.handle.figures().in_flight_bytes <= 2_000 + 64 * 1024);
        }
    }
    if durable < 60 {
        car.durable(Lane::Samples, 60).await;
    }
    assert!(metrics.refusals.get_or_create(&ReasonLabel { reason: "overload" }).get() > 0);
    assert!(least < 1_000, "the credit never sank: {least}");
    system.handle.stop().await.unwrap();
    let mut seqs = Vec::new();
    lake.for_each_row(|row| seqs.push(row.seq)).await.unwrap();
    assert!(seqs.iter().copied().eq(1..=60), "{seqs:?}");
}

/// Whatever bytes come, on whatever channel: counted, and the vehicle goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn garbage_is_counted_and_hurts_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR9", 7).await;
    car.greet(vec![]).await;
    let sound = {
        let frames = vec![samples(1, &[(SPEED, 1.0)]).into()];
        let (lane, incarnation) = (Lane::Samples, car.incarnation);
        let floor_reason = FloorReason::Acked;
        Up::Frames(Frames { lane, incarnation, floor: 1, floor_reason, first_seq: 1, frames }).encode()
    };
    let channels =
        [Channel::Session, Channel::Live, Channel::Lane(Lane::Events), Channel::Lane(Lane::Samples)];
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..600usize {
        let mut payload = sound.clone();
        for _ in 0..3 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = (random >> 33) as usize % payload.len();
            payload[at] = (random >> 16) as u8;
        }
        if round % 7 == 0 {
            payload.truncate(round % sound.len());
        }
        // Never a frame of this lane and incarnation by accident: those are other tests' business.
        if payload != sound {
            car.payload(car.generation, channels[round % 3], payload).await;
        }
    }
    car.payload(car.generation, channels[3], vec![200, 1, 2, 3]).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(SPEED, 1.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    for reason in ["malformed", "version", "channel"] {
        assert!(
            metrics.refusals.get_or_create(&ReasonLabel { reason }).get() > 0,
            "{reason} was not counted"
        );
    }
    assert_eq!(metrics.actor_failures.get_or_create(&ReasonLabel { reason: "panic" }).get(), 0);
    system.handle.stop().await.unwrap();
}

/// An erasure reaches what the node shows and keeps outside the lake: the twin, its snapshot, and the fleet's index; late rows
/// that it covers do not bring it back, newer ones do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_erased_leaves_the_twin_and_its_snapshot() {
    const PLACE: [(remuda_model::SignalId, f64); 2] = [(signal::LATITUDE, 60.1), (signal::LONGITUDE, 24.9)];
    let organization = OrganizationId::default();
    for restarts in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let journal = journal();
        let (system, _, lake) = start(folder.path(), &journal, settings()).await;
        let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
        car.greet(vec![]).await;
        car.samples(1, &[&[PLACE[0], PLACE[1], (SPEED, 50.0), (CHARGE, 60.0)]]).await;
        car.durable(Lane::Samples, 1).await;
        let stream = remuda_vehicles::event::stream_of(organization, &car.vehicle);
        let twin = |system: &VehicleSystem| {
            let view = Arc::clone(&system.view);
            async move {
                let twin = view.twin(&organization, &VehicleId::new("CAR1").unwrap()).await.unwrap();
                let signals: Vec<_> = twin.values.iter().map(|value| value.signal).collect();
                (signals, twin.summary.position.is_some(), twin.frames_durable)
            }
        };
        assert!(twin(&system).await.1);
        let request = remuda_lake::ErasureRequest {
            organization,
            vehicle: Some(car.vehicle),
            from_ns: None,
            until_ns: None,
            classes: [remuda_model::SignalClass::Position].into(),
            requested_by: "ada".into(),
            reason: "asked".into(),
        };
        lake.erase(request, i64::MAX / 2_000_000).await.unwrap();
        let system = if restarts {
            // The node dies before anybody was told.
            system.handle.stop().await.unwrap();
            start(folder.path(), &journal, settings()).await.0
        } else {
            assert_eq!(system.forgetting.forget(Some(car.vehicle)).await.unwrap(), 1);
            system
        };
        let (signals, placed, frames) = twin(&system).await;
        let mut kept = vec![SPEED, CHARGE];
        kept.sort();
        assert_eq!((signals, placed, frames), (kept, false, 1));
        eventually("the snapshot is written without it", async || {
            let snapshot = journal.snapshot(&stream).await.unwrap();
            let restored = snapshot.and_then(|s| remuda_vehicles::vehicle::Vehicle::restore(&s.state));
            restored.is_some_and(|(vehicle, _)| vehicle.memory.twin.position().is_none())
        })
        .await;
        // What comes later and is covered.
        let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
        car.greet(vec![]).await;
        car.samples(1, &[&[PLACE[0], PLACE[1], (SPEED, 51.0)]]).await;
        car.durable(Lane::Samples, 1).await;
        let (_, placed, frames) = twin(&system).await;
        assert_eq!((placed, frames), (false, 2), "the frame counts, and shows nothing");
        system.handle.stop().await.unwrap();
    }
}
