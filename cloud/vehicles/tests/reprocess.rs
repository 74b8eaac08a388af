//! Quarantine that can be read later: stored once, counted as stored, and no rule looks back at it.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;

use common::{Scripted, event, eventually, now_ms, settings, start};
use remuda_eventsourcing::{Journal, MemoryJournal};
use remuda_lake::{Lake, Row, RowBody};
use remuda_model::{Lane, OrganizationId, ShardId, signal};
use remuda_vehicles::ledger::{Booked, Decision, demanded, read};
use remuda_vehicles::reprocess::{Report, each_quarantined, reprocess};
use remuda_vehicles::{RuleSettings, VehicleSystem};

const CHARGE: remuda_model::SignalId = signal::CHARGE;
const POINT: &str = "frame-from-the-future";

async fn rows(lake: &Lake) -> Vec<Row> {
    let mut rows = Vec::new();
    lake.for_each_row(|row| rows.push(row.clone())).await.unwrap();
    rows
}

async fn booked(journal: &Arc<dyn Journal>, car: &Scripted) -> Vec<Booked> {
    let events = journal.read_feed(ShardId::of(&car.vehicle), 0, 1_000).await.unwrap();
    events.iter().filter_map(|e| read(&e.event)).map(|(_, b)| b).collect()
}

async fn counts(system: &VehicleSystem, car: &Scripted) -> (u64, u64, u64) {
    let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
    (twin.frames_durable, twin.frames_quarantined, twin.detail.frames_reprocessed)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_can_be_read_now_is_stored_once_and_counts_as_stored() {
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, lake) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR1", 7).await;
    car.greet(vec![]).await;
    car.samples(1, &[&[(CHARGE, 60.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    // A newer agent: an alert's charge would be in what this cloud cannot read yet.
    fail::cfg(POINT, "return").unwrap();
    car.samples(2, &[&[(CHARGE, 5.0)], &[(CHARGE, 4.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    car.frames(Lane::Events, 1, vec![event(1, "9.0")]).await;
    car.durable(Lane::Events, 1).await;
    fail::remove(POINT);
    // Another seq than its place: no release will make sense of it.
    car.frames(Lane::Samples, 4, vec![common::samples(400, &[(CHARGE, 50.0)])]).await;
    car.samples(5, &[&[(CHARGE, 55.0)]]).await;
    car.durable(Lane::Samples, 5).await;
    assert_eq!(counts(&system, &car).await, (2, 4, 0));
    let noted = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap().detail.quarantined;
    let noted: Vec<_> = noted.iter().map(|q| (q.lane, q.seq, q.reason.as_str())).collect();
    assert_eq!(noted.len(), 4);
    assert!(noted.contains(&(Lane::Events, 1, "version")) && noted.contains(&(Lane::Samples, 4, "sequence")));
    system.handle.stop().await.unwrap();

    let mut listed = Vec::new();
    each_quarantined(&*journal, &lake, |found| {
        listed.push((found.lane, found.seq, found.is_readable()));
        true
    })
    .await
    .unwrap();
    listed.sort_unstable();
    let expected = [
        (Lane::Events, 1, true),
        (Lane::Samples, 2, true),
        (Lane::Samples, 3, true),
        (Lane::Samples, 4, false),
    ];
    assert_eq!(listed, expected);
    let before = rows(&lake).await.len();
    let report = reprocess(&*journal, &lake, now_ms()).await.unwrap();
    assert_eq!(report, Report { reprocessed: 3, unreadable: 1 });
    assert_eq!(
        reprocess(&*journal, &lake, now_ms()).await.unwrap(),
        Report { reprocessed: 0, unreadable: 1 }
    );
    let after = rows(&lake).await;
    assert_eq!(after.len(), before + 2, "the event stays in the journal, and nothing is stored twice");
    let late: Vec<_> = after[before..].iter().map(|row| (row.seq, &row.body)).collect();
    assert!(matches!(late[..], [(2, RowBody::Samples(_)), (3, RowBody::Samples(_))]), "{late:?}");
    assert!(after[before].sample_time_ns.is_some() && after[before].receive_time_ms > 0);

    // Rows of reprocessed frames move no watermark and no rule, however often they are recovered.
    for life in 0..2 {
        let (system, ..) = start(folder.path(), &journal, settings()).await;
        eventually("counts agree", async || counts(&system, &car).await == (4 + life, 1, 3)).await;
        let twin = system.view.twin(&OrganizationId::default(), &car.vehicle).await.unwrap();
        assert_eq!((twin.values[0].raw, twin.alerts.len()), (signal::by_id(CHARGE).unwrap().to_raw(55.0), 0));
        let mut again = Scripted::connect(&system.intake, "CAR1", 7).await;
        let welcome = again.greet(vec![]).await;
        let samples = welcome.acks.iter().find(|ack| ack.lane == Lane::Samples).unwrap();
        assert_eq!(samples.durable, 5 + life);
        again.samples(6 + life, &[&[(CHARGE, 55.0)]]).await;
        again.durable(Lane::Samples, 6 + life).await;
        system.handle.stop().await.unwrap();
    }
    let made: Vec<Decision> = booked(&journal, &car)
        .await
        .into_iter()
        .filter_map(|b| if let Booked::Decided(decision) = b { Some(decision) } else { None })
        .collect();
    assert!(made.is_empty(), "{made:?}");
    let seen: Vec<Row> = rows(&lake).await.into_iter().filter(|row| ![2, 3].contains(&row.seq)).collect();
    assert!(demanded(&RuleSettings::default(), &seen).required.is_empty());
    scenario.teardown();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_incarnation_that_was_closed_meanwhile_does_not_come_back_with_a_lower_number() {
    // One at a time: points are the process's.
    let scenario = fail::FailScenario::setup();
    let folder = tempfile::tempdir().unwrap();
    let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
    let (system, _, lake) = start(folder.path(), &journal, settings()).await;
    let mut car = Scripted::connect(&system.intake, "CAR2", 1).await;
    car.greet(vec![]).await;
    // As an older release left it: the second frame's bytes are fine, but it could not use them.
    fail::cfg(POINT, "1*return").unwrap();
    car.samples(1, &[&[(CHARGE, 50.0)]]).await;
    car.durable(Lane::Samples, 1).await;
    fail::remove(POINT);
    car.samples(2, &[&[(CHARGE, 50.0)], &[(CHARGE, 50.0)]]).await;
    car.durable(Lane::Samples, 3).await;
    // Enough starts to close the first one at the checkpoint of the stop.
    for incarnation in 2..=10 {
        let mut next = Scripted::connect(&system.intake, "CAR2", incarnation).await;
        next.greet(vec![]).await;
        next.samples(1, &[&[(CHARGE, 50.0)]]).await;
        next.durable(Lane::Samples, 1).await;
    }
    system.handle.stop().await.unwrap();
    assert_eq!(reprocess(&*journal, &lake, now_ms()).await.unwrap().reprocessed, 1);
    let recovered = {
        let shard = ShardId::of(&car.vehicle);
        let owners: Vec<_> = journal.acquire(&[shard]).await.unwrap().into_iter().map(|(o, _)| o).collect();
        lake.recover(&owners).await.unwrap()
    };
    let marks = &recovered.watermarks[&car.vehicle];
    assert!(marks.iter().all(|(incarnation, _)| incarnation.0 != 1), "{marks:?}");
    assert_eq!(lake.closed_watermark(&car.vehicle, car.incarnation).await.unwrap(), Some(3));
    scenario.teardown();
}
