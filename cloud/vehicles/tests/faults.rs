//! What one vehicle's, or one shard's, fault does to itself, and does not do to others. Own process: fail points are
//! global.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use common::{Scripted, event, eventually, settings, start};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_lake::Row;
use remuda_model::{Incarnation, Lane, OrganizationId, ShardId, VehicleId, signal};
use remuda_vehicles::event::{Place, VehicleEvent, stream_of};
use remuda_vehicles::ledger::{Booked, demanded, read};
use remuda_vehicles::metrics::ReasonLabel;
use remuda_vehicles::{RuleSettings, VehicleSettings};
use remuda_wire::{Down, LaneState};

const SPEED: remuda_model::SignalId = signal::SPEED;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vehicle_whose_actor_panics_is_loaded_again_then_parked_and_others_go_on() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let patient = VehicleSettings { quiet: Duration::from_secs(2), ..settings() };
    let (system, metrics, _) = start(folder.path(), &journal, patient).await;
    let mut sick = Scripted::connect(&system.intake, "SICK", 7).await;
    // One in the same shard, so that they share a supervisor.
    let shard = ShardId::of(&sick.vehicle);
    let neighbour =
        (0..).map(|n| format!("WELL{n}")).find(|name| ShardId::of(&VehicleId::new(name).unwrap()) == shard);
    let mut well = Scripted::connect(&system.intake, &neighbour.unwrap(), 7).await;
    sick.greet(vec![]).await;
    well.greet(vec![]).await;
    sick.samples(1, &[&[(SPEED, 1.0)]]).await;
    sick.durable(Lane::Samples, 1).await;

    let failures = || metrics.actor_failures.get_or_create(&ReasonLabel { reason: "panic" }).get();
    fail::cfg("vehicle-poison", "return(SICK)").unwrap();
    sick.samples(2, &[&[(SPEED, 2.0)]]).await;
    eventually("the actor panics", async || failures() == 1).await;
    fail::remove("vehicle-poison");
    // It comes back by itself and asks for a Hello; nothing acked is lost, the rest is sent again.
    let ack = sick.ack(Lane::Samples, |ack| ack.greet).await;
    assert_eq!(ack.ack.durable, 1);
    let welcome = sick.greet(vec![]).await;
    assert!(welcome.acks.iter().any(|a| a.lane == Lane::Samples && (a.received, a.durable) == (1, 1)));
    sick.samples(2, &[&[(SPEED, 2.0)]]).await;
    sick.durable(Lane::Samples, 2).await;

    fail::cfg("vehicle-poison", "return(SICK)").unwrap();
    let parked = || metrics.parked.get();
    eventually("parked", async || {
        sick.samples(3, &[&[(SPEED, 3.0)]]).await;
        parked() == 1
    })
    .await;
    // A neighbour never noticed.
    for seq in 1..=5 {
        well.samples(seq, &[&[(SPEED, 9.0)]]).await;
        well.durable(Lane::Samples, seq).await;
    }
    let refused = metrics.refusals.get_or_create(&ReasonLabel { reason: "parked" });
    sick.samples(3, &[&[(SPEED, 3.0)]]).await;
    eventually("refusals are counted", async || refused.get() > 0).await;
    // After a rest it gets one more try.
    fail::remove("vehicle-poison");
    eventually("tried again", async || parked() == 0).await;
    sick.greet(vec![]).await;
    sick.samples(3, &[&[(SPEED, 3.0)]]).await;
    sick.durable(Lane::Samples, 3).await;
    let twin = system.view.twin(&OrganizationId::default(), &sick.vehicle).await.unwrap();
    assert_eq!(twin.frames_durable, 3);
    system.handle.stop().await.unwrap();

    // A round takes more of a vehicle than its snapshot saw: what came later in the same file is read again.
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let often = VehicleSettings { snapshot_interval: Duration::ZERO, ..settings() };
    let (system, metrics, _) = common::start_with_rounds(folder.path(), &journal, often, 1_000).await;
    let mut car = Scripted::connect(&system.intake, "TWICE", 7).await;
    car.greet(vec![]).await;
    // The first round begins at once; these two are in one of the next.
    car.samples(1, &[&[(signal::CHARGE, 90.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    car.samples(2, &[&[(signal::CHARGE, 50.0)]]).await;
    eventually("taken", async || system.handle.figures().frames_accepted == 2).await;
    car.samples(3, &[&[(signal::CHARGE, 10.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    eventually("snapshotted", async || metrics.snapshots.get() >= 2).await;
    let failures = || metrics.actor_failures.get_or_create(&ReasonLabel { reason: "panic" }).get();
    fail::cfg("vehicle-poison", "return(TWICE)").unwrap();
    car.samples(4, &[&[(signal::CHARGE, 10.0)]]).await;
    eventually("the actor panics", async || failures() == 1).await;
    fail::remove("vehicle-poison");
    car.ack(Lane::Samples, |ack| ack.greet).await;
    car.greet(vec![]).await;
    car.samples(4, &[&[(signal::CHARGE, 10.0)]]).await;
    car.durable(Lane::Samples, 4).await;
    system.handle.stop().await.unwrap();
    let feed = journal.read_feed(ShardId::of(&car.vehicle), 0, 10).await.unwrap();
    let decided = feed.iter().filter_map(|e| read(&e.event)).filter(|(_, b)| matches!(b, Booked::Decided(_)));
    assert_eq!(decided.count(), 1, "one alert, raised by the third frame");

    // An ack that comes before the commit is a lie that a restart brings to light: the kill tests rely on it.
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, ..) = common::start_with_rounds(folder.path(), &journal, settings(), 3_600_000).await;
    fail::cfg("ack-before-commit", "return").unwrap();
    let mut car = Scripted::connect(&system.intake, "LIED", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(SPEED, 1.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    fail::remove("ack-before-commit");
    drop(system);
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "LIED", 7).await;
    let welcome = car.greet(vec![]).await;
    assert!(welcome.acks.iter().all(|ack| ack.durable == 0));
    // What the vehicle was told is durable and has let go is a gap as soon as it says so, also where it says no more.
    let incarnation = Incarnation(7);
    let gone = |lane, acked| LaneState { lane, incarnation, next_seq: 4, floor: acked + 1, acked };
    let welcome = car.greet(vec![gone(Lane::Samples, 1), gone(Lane::Events, 3)]).await;
    let received = |lane| welcome.acks.iter().find(|ack| ack.lane == lane).map(|ack| ack.received);
    assert_eq!((received(Lane::Samples), received(Lane::Events)), (Some(1), Some(3)));
    // In this order: an append does not wait for the round.
    car.durable(Lane::Events, 3).await;
    car.durable(Lane::Samples, 1).await;
    assert_eq!(metrics.frames_cloud_lost.get(), 4);
    let feed = journal.read_feed(ShardId::of(&car.vehicle), 0, 10).await.unwrap();
    let booked: Vec<Booked> = feed.iter().filter_map(|e| read(&e.event)).map(|(_, booked)| booked).collect();
    assert_eq!(booked, [Booked::Gapped { incarnation, from: 1, to: 3, cloud_lost: true }]);
    system.handle.stop().await.unwrap();
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_with_a_newer_owner_is_stopped_here_and_acks_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics, _) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "MOVED", 7).await;
    let mut other = Scripted::connect(&system.intake, "STAYED", 7).await;
    assert_ne!(ShardId::of(&car.vehicle), ShardId::of(&other.vehicle));
    car.greet(vec![]).await;
    other.greet(vec![]).await;
    journal.acquire(&[ShardId::of(&car.vehicle)]).await.unwrap();
    car.frames(Lane::Events, 1, vec![event(1, "1")]).await;
    eventually("the shard is stopped", async || metrics.shards_lost.get() == 1).await;
    other.frames(Lane::Events, 1, vec![event(1, "1")]).await;
    other.durable(Lane::Events, 1).await;
    car.frames(Lane::Events, 1, vec![event(1, "1")]).await;
    let refused = metrics.refusals.get_or_create(&ReasonLabel { reason: "shard-lost" });
    eventually("arrivals are refused", async || refused.get() > 0).await;
    let stream = journal.read_feed(ShardId::of(&car.vehicle), 0, 10).await.unwrap();
    assert!(stream.is_empty());
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_that_does_not_follow_is_loaded_again_and_nothing_is_skipped() {
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, metrics, lake) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "ODD", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(signal::CHARGE, 50.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    // Somebody writes behind the actor's back: its next decision has a version that is taken.
    let shard = ShardId::of(&car.vehicle);
    let epoch = journal.epochs().await.unwrap().into_iter().find(|owner| owner.shard == shard).unwrap();
    let place = Place { incarnation: Incarnation(99), seq: 1 };
    let foreign = VehicleEvent::Gapped { place, to: 1, reason: "shed".into() };
    let foreign = foreign.envelope(stream_of(OrganizationId::default(), &car.vehicle), 1, 0);
    journal.append(epoch, 0, vec![foreign]).await.unwrap();
    car.samples(2, &[&[(signal::CHARGE, 10.0)]]).await;
    // More waits behind it, which must not be committed without it.
    for seq in 3..40 {
        car.samples(seq, &[&[(signal::CHARGE, 10.0)]]).await;
    }
    eventually("the shard is stopped", async || metrics.shards_lost.get() >= 1).await;
    let kicked = |car: &Scripted| car.kicked.load(std::sync::atomic::Ordering::Relaxed);
    eventually("kicked", async || kicked(&car)).await;
    // A kicked vehicle connects again, until somebody answers.
    eventually("loaded again", async || {
        if kicked(&car) {
            car.reconnect().await;
        }
        let online = system.handle.figures().vehicles_online == 1;
        car.say_hello().await;
        online
    })
    .await;
    let welcome = car.greet(vec![]).await;
    let ack = welcome.acks.iter().find(|ack| ack.lane == Lane::Samples).unwrap();
    assert_eq!((ack.received, ack.durable), (1, 1));
    for seq in 2..40 {
        car.samples(seq, &[&[(signal::CHARGE, 10.0)]]).await;
    }
    car.durable(Lane::Samples, 39).await;
    system.handle.stop().await.unwrap();
    let mut seqs = Vec::new();
    lake.for_each_row(|row| seqs.push(row.seq)).await.unwrap();
    assert!(seqs.iter().copied().eq(1..40), "{seqs:?}");
}

/// A little agent: go-back-N over what is not durable yet, greeting whenever it is asked to.
async fn drain(mut car: Scripted, lane_frames: [Vec<Vec<u8>>; 2]) {
    let mut durable = [0usize; 2];
    let mut hello = true;
    while durable.iter().zip(&lane_frames).any(|(durable, frames)| *durable < frames.len()) {
        if hello {
            car.say_hello().await;
            hello = false;
        }
        for ((lane, durable), frames) in Lane::ALL.into_iter().zip(durable).zip(&lane_frames) {
            let window = &frames[durable..(durable + 12).min(frames.len())];
            if !window.is_empty() {
                car.frames(lane, durable as u64 + 1, window.to_vec()).await;
            }
        }
        let heard = tokio::time::timeout(Duration::from_millis(100), car.hear_any()).await;
        match heard {
            Ok(Some(Down::Ack(ack))) => {
                hello |= ack.greet;
                let at = usize::from(ack.ack.lane == Lane::Samples);
                assert!(ack.ack.durable as usize >= durable[at], "what was durable went away");
                durable[at] = ack.ack.durable as usize;
            }
            Ok(Some(_)) => {}
            Ok(None) | Err(_) => {
                if car.kicked.load(std::sync::atomic::Ordering::Relaxed) {
                    car.reconnect().await;
                }
                hello = true;
            }
        }
    }
}

/// Panics, lost answers of commits, resends: every frame and every decision is stored exactly once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_vehicles_with_many_faults_balance() {
    const VEHICLES: usize = 24;
    const FRAMES: u64 = 60;
    let scenario = fail::FailScenario::setup();
    fail::cfg("commit-answer-lost", "20%return").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let eager = VehicleSettings {
        idle: Duration::from_millis(150),
        snapshot_interval: Duration::from_millis(100),
        restart_backoff: Duration::from_millis(5),
        quiet: Duration::from_millis(300),
        ..settings()
    };
    let (system, metrics, lake) = common::start_with_rounds(folder.path(), &journal, eager, 150).await;
    let mut cars = tokio::task::JoinSet::new();
    // Few shards, so that one vehicle's decisions move the head under another's appends.
    let few = |name: &String| ShardId::of(&VehicleId::new(name).unwrap()).number().is_multiple_of(341);
    let names: Vec<String> = (0..).map(|n| format!("MANY{n}")).filter(few).take(VEHICLES).collect();
    for (n, name) in names.iter().enumerate() {
        let car = Scripted::connect(&system.intake, name, 7).await;
        let charge = |seq: u64| if (seq + n as u64) % 5 < 2 { 12.0 } else { 40.0 };
        let frames = (1..=FRAMES).map(|seq| common::samples(seq, &[(signal::CHARGE, charge(seq))])).collect();
        let events = (1..=FRAMES / 3).map(|seq| event(seq, "1")).collect();
        cars.spawn(drain(car, [events, frames]));
    }
    let mut turn = 0;
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    let panics = || metrics.actor_failures.get_or_create(&ReasonLabel { reason: "panic" }).get();
    while !cars.is_empty() {
        assert!(
            tokio::time::Instant::now() < deadline,
            "vehicles never drained: {:?}",
            system.handle.figures()
        );
        // One vehicle after the other panics once, mostly with a contribution in the open round: its actor is back
        // long before that round ends. A round brings it a message at the latest.
        let before = panics();
        fail::cfg("vehicle-poison", &format!("return({})", names[turn % VEHICLES])).unwrap();
        turn += 1;
        for _ in 0..100 {
            if panics() > before {
                break;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        fail::remove("vehicle-poison");
        if let Ok(Some(done)) = tokio::time::timeout(Duration::from_millis(5), cars.join_next()).await {
            done.unwrap();
        }
    }
    assert!(panics() > 10, "only {} panics", panics());
    system.handle.stop().await.unwrap();
    scenario.teardown();

    let mut rows: BTreeMap<VehicleId, Vec<Row>> = BTreeMap::new();
    lake.for_each_row(|row| rows.entry(row.vehicle).or_default().push(row.clone())).await.unwrap();
    assert_eq!(rows.len(), VEHICLES);
    for (vehicle, rows) in &rows {
        assert!(rows.iter().map(|row| row.seq).eq(1..=FRAMES), "{vehicle}: {:?}", rows.len());
        let feed = journal.read_feed(ShardId::of(vehicle), 0, 10_000).await.unwrap();
        let booked = feed.iter().filter_map(|e| read(&e.event)).filter(|(of, _)| of == vehicle);
        let (mut decided, mut reported) = (Vec::new(), Vec::new());
        for (_, booked) in booked {
            match booked {
                Booked::Decided(decision) => decided.push(decision),
                Booked::Reported { seq, .. } => reported.push(seq),
                other => panic!("{vehicle}: {other:?}"),
            }
        }
        assert!(reported.into_iter().eq(1..=FRAMES / 3), "{vehicle}");
        let required = demanded(&RuleSettings::default(), rows).required;
        assert!(required.len() > 10);
        assert_eq!(decided, required, "{vehicle}");
    }
}
