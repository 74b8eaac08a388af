//! Whole agents over TCP: both links, restarts, a door that hangs up.

mod support;

use std::sync::Arc;

use remuda_edge_agent::outbox::offline;
use remuda_edge_agent::{
    AgentRunner, Clock, Input, Link, LinkSettings, MqttLink, Profile, Reading, Stop, Store, ThinMqtt,
};
use remuda_edge_agent_core::{Policy, Settings};
use remuda_model::signal::SPEED;
use remuda_model::{Incarnation, Lane, VehicleId};
use remuda_wire::{Body, FarewellReason};
use support::Door;
use tokio::sync::{mpsc, watch};

fn vehicle() -> VehicleId {
    VehicleId::new("VAN1").expect("an id")
}

fn settings(incarnation: u64) -> Settings {
    Settings {
        policy: Arc::new(Policy::everything()),
        reconnect_ms: 20,
        reconnect_ms_max: 100,
        ..Settings::new(vehicle(), Incarnation(incarnation), incarnation)
    }
}

/// Sends 100 s of readings, and ends once all of it is acked.
async fn drive<L: Link>(link: L, store: &Store, incarnation: u64) {
    let (sender, inputs) = mpsc::channel(16);
    let (_stop, stopped) = watch::channel(Stop::Drained);
    let clock = Clock::starting_at(0);
    let runner =
        AgentRunner::open(settings(incarnation), store, link, clock, inputs, stopped).expect("opens");
    let feeding = tokio::spawn(async move {
        for n in 0..1_000 {
            let reading = Reading { signal: SPEED, raw: n, mono_ns: n as u64 * 100_000_000 };
            sender.send(Input::Readings(vec![reading])).await.expect("the agent listens");
        }
    });
    let (figures, written) = runner.run().await.expect("runs");
    feeding.await.expect("ends");
    assert_eq!((figures.samples_taken, figures.frames_made), (1_000, 101));
    assert!(figures.frames_acked == 101 && written >= figures.bytes_sent, "{figures:?}, {written} bytes");
}

fn samples(door: &Door, incarnation: u64) -> Vec<i64> {
    let told = door.told.lock().expect("not poisoned");
    let frames = &told.frames[&(Lane::Samples, Incarnation(incarnation))];
    let blocks =
        frames.values().map(|body| if let Body::Samples(block) = body { block } else { panic!("samples") });
    blocks.flat_map(|block| block.columns[0].values.iter().flatten().copied()).collect()
}

async fn whole_way<L: Link>(link: impl Fn(&str) -> L) {
    let dir = tempfile::tempdir().expect("a folder");
    let door = Door::open(2).await;
    let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
    drive(link(&door.address), &store, 7).await;
    store.close().expect("closes");
    let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
    drive(link(&door.address), &store, 8).await;
    store.close().expect("closes");
    for incarnation in [7, 8] {
        assert_eq!(samples(&door, incarnation), (0..1_000).collect::<Vec<_>>());
    }
    for books in offline::open(dir.path()).expect("readable") {
        assert_eq!((books.held, books.trimmed_to), (None, books.made), "{books:?}");
        assert_eq!(books.made, if books.key.lane == Lane::Samples { 100 } else { 1 });
    }
    let told = door.told.lock().expect("not poisoned");
    assert!(told.connections >= 4, "two were cut");
    assert!(told.logins.iter().all(|(user, password)| user == "VAN1" && password == "s3cret"));
    let stopping = told.farewells.iter().filter(|r| **r == FarewellReason::Stopping).count();
    assert_eq!(stopping, 2, "{:?}", told.farewells);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_the_thin_link() {
    whole_way(|door| ThinMqtt::new(LinkSettings::new(door, vehicle(), "s3cret"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_rumqttc() {
    whole_way(|door| MqttLink::new(LinkSettings::new(door, vehicle(), "s3cret"))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_door_everything_stays_and_a_stop_is_prompt() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Profile::fleet()).expect("opens");
    let (sender, inputs) = mpsc::channel(2_000);
    let (stop, stopped) = watch::channel(Stop::No);
    // Nothing listens there: the port was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let link = ThinMqtt::new(LinkSettings::new(free.to_string(), vehicle(), "s3cret"));
    let clock = Clock::starting_at(0);
    let runner = AgentRunner::open(settings(7), &store, link, clock, inputs, stopped).expect("opens");
    let running = tokio::spawn(runner.run());
    for n in 0..1_000 {
        let reading = Reading { signal: SPEED, raw: n, mono_ns: n as u64 * 100_000_000 };
        sender.send(Input::Readings(vec![reading])).await.expect("the agent listens");
    }
    stop.send_replace(Stop::Now);
    let (figures, _) = running.await.expect("no panic").expect("runs");
    assert_eq!((figures.frames_made, figures.frames_acked), (101, 0));
    store.close().expect("closes");
    let books = offline::open(dir.path()).expect("readable");
    let samples = books.iter().find(|b| b.key.lane == Lane::Samples).expect("there");
    assert_eq!(samples.held, Some((1, 100)));
}
