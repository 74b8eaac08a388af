//! Many backlogs at once, clocks that lie, values lost in a gap.

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use common::{Scripted, eventually, header, now_ms, samples, settings, start, start_with_rounds};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_lake::RowBody;
use remuda_model::{Lane, OrganizationId, SignalId, signal};
use remuda_vehicles::VehicleSettings;
use remuda_vehicles::ledger::{Booked, read};
use remuda_wire::{
    Body, Channel, Column, Down, FloorReason, FrameHeader, Live, SampleBlock, TimeUnit, Up, frame,
};

const SPEED: SignalId = signal::SPEED;
const CHARGE: SignalId = signal::CHARGE;

fn journal() -> Arc<dyn Journal> {
    Arc::new(MemoryJournal::new())
}

/// Sends a backlog as fast as it is let, whatever its credit, and goes back when it is told to.
async fn greedy(mut car: Scripted, frames: u64, done: Arc<AtomicBool>, refused: Arc<AtomicU64>) {
    const AT_ONCE: u64 = 64;
    car.greet(vec![]).await;
    let (mut next, mut durable) = (1, 0);
    while durable < frames && !done.load(Relaxed) {
        if next <= frames && next < durable + 8 * AT_ONCE {
            let last = (next + AT_ONCE - 1).min(frames);
            let batch = (next..=last).map(|seq| samples(seq, &[(SPEED, 50.0), (CHARGE, 60.0)])).collect();
            car.frames(Lane::Samples, next, batch).await;
            next = last + 1;
            continue;
        }
        if let Down::Ack(ack) = car.hear().await
            && ack.ack.lane == Lane::Samples
        {
            durable = ack.ack.durable.max(durable);
            if ack.missing {
                refused.fetch_add(1, Relaxed);
                next = ack.ack.received + 1;
                // A round trip of its link.
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fresh_vehicle_does_not_wait_for_two_hundred_that_drain_backlogs() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    // Far less than two hundred backlogs want.
    let bound = 4 * 1024 * 1024;
    let tight = VehicleSettings { rows_bytes_max: bound, ..settings() };
    let (system, ..) = start_with_rounds(folder.path(), &journal, tight, 200).await;
    let (done, refused) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let mut draining = Vec::new();
    for n in 0..200 {
        let car = Scripted::connect(&system.intake, &format!("OLD{n:03}"), 7).await;
        draining.push(tokio::spawn(greedy(car, 2_000, Arc::clone(&done), Arc::clone(&refused))));
    }
    eventually("the node is full", async || refused.load(Relaxed) > 200).await;
    let mut fresh = Scripted::connect(&system.intake, "NEW1", 7).await;
    let welcome = fresh.greet(vec![]).await;
    assert!(!welcome.acks.is_empty());
    let (mut waits, mut most_held, mut turned_away) = (Vec::new(), 0, 0);
    for seq in 1..=6 {
        let begun = Instant::now();
        // Two hundred that ignore their credit may hold the room for a moment; a round later there must be some.
        loop {
            fresh.samples(seq, &[&[(SPEED, 50.0)]]).await;
            let ack = fresh.ack(Lane::Samples, |ack| ack.missing || ack.ack.durable >= seq).await;
            if !ack.missing {
                break;
            }
            turned_away += 1;
            assert!(begun.elapsed() < common::PATIENCE, "frame {seq} finds no room: {ack:?}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        waits.push(begun.elapsed());
        most_held = most_held.max(system.handle.figures().in_flight_bytes);
    }
    waits.sort_unstable();
    let all = (bound + VehicleSettings::default().intake_bytes_max) as u64;
    assert!(most_held <= all, "{most_held} bytes are held, {all} may be");
    eprintln!(
        "durable after {:?} in the middle, {:?} at most; {most_held} bytes held, {turned_away} turned away",
        waits[3], waits[5]
    );
    assert!(
        !draining.iter().all(tokio::task::JoinHandle::is_finished),
        "the backlogs were there all the while"
    );
    done.store(true, Relaxed);
    draining.iter().for_each(tokio::task::JoinHandle::abort);
    system.handle.stop().await.unwrap();
}

/// A frame of one row whose clocks say what they are told to.
fn frame_at(seq: u64, mono_ms: u64, wall_ms: Option<i64>, charge: f64) -> Vec<u8> {
    let raw = signal::by_id(CHARGE).expect("in the registry").to_raw(charge);
    let columns = vec![Column { signal: CHARGE, values: vec![Some(raw)] }];
    let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![0], columns };
    frame::encode(&FrameHeader { mono_ms, wall_ms, ..header(seq) }, &Body::Samples(block))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wall_clock_that_jumps_both_ways_neither_orders_the_twin_nor_the_alerts() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, lake) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    let year_ms = 365 * 86_400_000;
    let walls = [
        Some(now_ms()),
        Some(now_ms() - 20 * year_ms),
        Some(now_ms() + 70 * year_ms),
        None,
        Some(now_ms() - 5 * year_ms),
    ];
    // Charge falls below the alert's threshold and comes back, in the order of the monotonic clock.
    let charges = [60.0, 10.0, 9.0, 8.0, 50.0];
    let frames =
        (0..5).map(|n| frame_at(n as u64 + 1, 1_000 * (n as u64 + 1), walls[n], charges[n])).collect();
    car.frames(Lane::Samples, 1, frames).await;
    car.durable(Lane::Samples, 5).await;
    let vehicle = car.vehicle;
    let view = async || system.view.twin(&OrganizationId::default(), &vehicle).await.unwrap();
    eventually("the newest by the monotonic clock is shown", async || {
        view().await.values.first().map(|v| v.raw) == Some(signal::by_id(CHARGE).unwrap().to_raw(50.0))
    })
    .await;
    assert!(view().await.alerts.is_empty(), "raised and cleared in order");
    let feed = journal.read_feed(remuda_model::ShardId::of(&car.vehicle), 0, 100).await.unwrap();
    let decided: Vec<(bool, u64)> = feed
        .iter()
        .filter_map(|e| match read(&e.event)? {
            (_, Booked::Decided(decision)) => Some((decision.raised, decision.cause.seq)),
            _ => None,
        })
        .collect();
    assert_eq!(decided, [(true, 2), (false, 5)]);
    // A time that has not come yet is stored as unknown; the others as they are; the order is that of the numbers.
    let mut stored = Vec::new();
    lake.for_each_row(|row| stored.push((row.seq, row.mono_ns, row.sample_time_ns.map(|ns| ns / 1_000_000))))
        .await
        .unwrap();
    let times: Vec<_> = stored.iter().map(|(_, _, ms)| *ms).collect();
    assert_eq!(times, [walls[0], walls[1], None, None, walls[4]]);
    assert!(stored.windows(2).all(|w| w[0].0 < w[1].0 && w[0].1 < w[1].1));
    // Newest values of a future clock move the twin by the monotonic clock, and claim no time.
    let live = Live {
        incarnation: car.incarnation,
        boot: 1,
        wall_ms: Some(now_ms() + year_ms),
        values: vec![(CHARGE, 1, 9_000)],
    };
    car.payload(car.generation, Channel::Live, Up::Live(live).encode()).await;
    eventually("it is shown", async || {
        view().await.values.first().map(|v| (v.raw, v.sampled_ms)) == Some((1, 0))
    })
    .await;
    let older = Live {
        incarnation: car.incarnation,
        boot: 1,
        wall_ms: Some(now_ms()),
        values: vec![(CHARGE, 2, 8_999)],
    };
    car.payload(car.generation, Channel::Live, Up::Live(older).encode()).await;
    car.frames(Lane::Samples, 6, vec![frame_at(6, 8_000, Some(now_ms()), 40.0)]).await;
    car.durable(Lane::Samples, 6).await;
    assert_eq!(view().await.values[0].raw, 1, "what was measured earlier changes nothing");
    system.handle.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_that_were_lost_in_a_gap_are_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let journal = journal();
    let (system, _, lake) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    assert!(car.greet(vec![]).await.resync, "there is no twin");
    car.samples(1, &[&[(SPEED, 50.0), (CHARGE, 60.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    assert!(!car.greet(vec![]).await.resync);
    // The outbox was full: 2 to 9 are gone, and with them perhaps a change of the charge.
    car.frames_with_floor(Lane::Samples, 10, (10, FloorReason::Full), vec![samples(10, &[(SPEED, 51.0)])])
        .await;
    assert!(car.ack(Lane::Samples, |ack| ack.greet).await.greet);
    car.durable(Lane::Samples, 10).await;
    assert!(car.greet(vec![]).await.resync);
    let live =
        Live { incarnation: car.incarnation, boot: 1, wall_ms: None, values: vec![(CHARGE, 77, 9_000)] };
    car.payload(car.generation, Channel::Live, Up::Live(live).encode()).await;
    let vehicle = car.vehicle;
    let view = async || system.view.twin(&OrganizationId::default(), &vehicle).await.unwrap();
    eventually("the twin has it", async || view().await.values.iter().any(|v| v.raw == 77)).await;
    assert!(!car.greet(vec![]).await.resync, "once is enough");
    let gaps = view().await.detail.gaps;
    assert_eq!(gaps.iter().map(|g| (g.from, g.to, g.reason.as_str())).collect::<Vec<_>>(), [(2, 9, "shed")]);
    assert!(gaps[0].recorded_ms > 0 && gaps[0].incarnation == car.incarnation);
    // No greeting is asked for again and again while more is lost.
    car.frames_with_floor(Lane::Samples, 20, (20, FloorReason::Full), vec![samples(20, &[(SPEED, 51.0)])])
        .await;
    assert!(!car.durable(Lane::Samples, 20).await.greet);
    let mut gapped = 0;
    lake.for_each_row(|row| gapped += u64::from(matches!(row.body, RowBody::Gap { .. }))).await.unwrap();
    assert_eq!(gapped, 2);
    system.handle.stop().await.unwrap();
    let (system, ..) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 8).await;
    assert!(car.greet(vec![]).await.resync, "it is remembered over a restart");
    system.handle.stop().await.unwrap();
}
