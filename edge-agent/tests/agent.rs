//! Whole agents over TCP and TLS: restarts, a door that hangs up.

mod support;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use remuda_edge_agent::outbox::offline;
use remuda_edge_agent::{
    Actuators, AgentRunner, ChoiceMade, Clock, Controls, Credentials, Identity, Input, Link, LinkSettings,
    Profile, Reading, Stop, Store, ThinMqtt,
};
use remuda_edge_agent_core::limits::QUESTIONS_OPEN_MAX;
use remuda_edge_agent_core::{Policy, Settings};
use remuda_model::signal::SPEED;
use remuda_model::{Incarnation, Lane, OrganizationId, VehicleId};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Body, CommandKind, FarewellReason, Question};
use support::Door;
use support::pki::{Pki, Span, TODAY};
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

fn credentials(pki: &Pki, span: Span) -> Arc<Credentials> {
    let key = remuda_edge_agent::identity::new_key().expect("a key");
    let identity = Identity {
        vehicle: vehicle(),
        organization: OrganizationId::default(),
        server: "https://127.0.0.1:1".parse().expect("an address"),
        door: "127.0.0.1:1".to_owned(),
        certificate_pem: pki.sign(&key, "VAN1", span),
        key_pem: key.serialize_pem(),
        trust_pem: pki.root_pem.clone(),
        command_key: None,
    };
    Arc::new(Credentials::new(&identity).expect("usable"))
}

/// Sends 100 s of readings, and ends once all of it is acked.
async fn drive<L: Link>(link: L, store: &Store, incarnation: u64) -> (u64, u64) {
    let (sender, inputs) = mpsc::channel(16);
    let (_stop, stopped) = watch::channel(Stop::Drained);
    let clock = Clock::starting_at(0);
    let runner =
        AgentRunner::open(settings(incarnation), store, link, clock, inputs, stopped, Controls::default())
            .expect("opens");
    let feeding = tokio::spawn(async move {
        for n in 0..1_000 {
            let reading = Reading { signal: SPEED, raw: n, mono_ns: n as u64 * 100_000_000 };
            sender.send(Input::Readings(vec![reading])).await.expect("the agent listens");
        }
    });
    let (figures, written) = runner.run().await.expect("runs");
    feeding.await.expect("ends");
    assert_eq!((figures.samples_taken, figures.frames_made), (1_000, 101));
    assert_eq!(figures.frames_acked, 101, "{figures:?}");
    (written, figures.bytes_sent)
}

fn samples(door: &Door, incarnation: u64) -> Vec<i64> {
    let told = door.told.lock().expect("not poisoned");
    let frames = &told.frames[&(Lane::Samples, Incarnation(incarnation))];
    let blocks =
        frames.values().map(|body| if let Body::Samples(block) = body { block } else { panic!("samples") });
    blocks.flat_map(|block| block.columns[0].values.iter().flatten().copied()).collect()
}

async fn whole_way<L: Link>(door: &Door, link: impl Fn(&str) -> L) {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
    drive(link(&door.address), &store, 7).await;
    store.close().expect("closes");
    let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
    let (written, messages) = drive(link(&door.address), &store, 8).await;
    assert!(written > messages, "nobody hung up on this one: {written} bytes for {messages} of messages");
    store.close().expect("closes");
    for incarnation in [7, 8] {
        assert_eq!(samples(door, incarnation), (0..1_000).collect::<Vec<_>>());
    }
    for books in offline::open(dir.path()).expect("readable") {
        assert_eq!((books.held, books.trimmed_to), (None, books.made), "{books:?}");
        assert_eq!(books.made, if books.key.lane == Lane::Samples { 100 } else { 1 });
    }
    let told = door.told.lock().expect("not poisoned");
    assert!(told.connections >= 4, "two were cut");
    let stopping = told.farewells.iter().filter(|r| **r == FarewellReason::Stopping).count();
    assert_eq!(stopping, 2, "{:?}", told.farewells);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_tcp() {
    let door = Door::open(2).await;
    whole_way(&door, |door| ThinMqtt::new(LinkSettings::new(door, vehicle(), "s3cret"))).await;
    let told = door.told.lock().expect("not poisoned");
    assert!(told.logins.iter().all(|(user, password)| user == "VAN1" && password == "s3cret"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_arrives_over_tls() {
    let pki = Pki::new();
    let door = Door::open_tls(2, pki.server(&["localhost", "127.0.0.1"], TODAY, true)).await;
    let credentials = credentials(&pki, TODAY);
    whole_way(&door, |door| ThinMqtt::new(LinkSettings::over_tls(door, vehicle(), Arc::clone(&credentials))))
        .await;
    let told = door.told.lock().expect("not poisoned");
    assert!(told.logins.iter().all(|(user, password)| user == "VAN1" && password.is_empty()));
    assert_eq!(told.certificates.len(), told.connections, "every connection showed one");
    assert!(told.resumed > 0, "a cut connection's session is resumed");
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
    let runner = AgentRunner::open(settings(7), &store, link, clock, inputs, stopped, Controls::default())
        .expect("opens");
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

/// Begins whatever it is asked for, and ends nothing.
#[derive(Debug, Default)]
struct Stuck(AtomicUsize);

impl Actuators for Stuck {
    fn perform(&self, _: CommandKind) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        Box::pin(std::future::pending())
    }

    fn act(&self, _: ChoiceMade) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(std::future::pending())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_asks_without_end_gets_a_few_safe_defaults_at_once() {
    let dir = tempfile::tempdir().expect("a folder");
    let store = Store::open(dir.path(), Profile::vehicle()).expect("opens");
    let (sender, inputs) = mpsc::channel(16);
    let (stop, stopped) = watch::channel(Stop::No);
    // Nothing listens there: the port was just free.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let link = ThinMqtt::new(LinkSettings::new(free.to_string(), vehicle(), "s3cret"));
    let stuck = Arc::new(Stuck::default());
    let actuators: Arc<dyn Actuators> = stuck.clone();
    let controls = Controls { actuators, ..Controls::default() };
    let clock = Clock::starting_at(0);
    let runner =
        AgentRunner::open(settings(7), &store, link, clock, inputs, stopped, controls).expect("opens");
    let running = tokio::spawn(runner.run());
    for n in 1..=40 {
        let question = Question {
            id: [n; 16],
            // It cannot be asked.
            text: String::new(),
            options: vec!["wait".to_owned(), "go on".to_owned()],
            safe_default: 0,
            timeout_ms: 60_000,
            waited_ms: 0,
            position: None,
        };
        sender.send(Input::Question(question)).await.expect("the agent listens");
    }
    stop.send_replace(Stop::Now);
    let (figures, _) = running.await.expect("no panic").expect("runs");
    assert_eq!(figures.questions_refused, 40);
    assert_eq!(stuck.0.load(Ordering::Relaxed), QUESTIONS_OPEN_MAX);
    store.close().expect("closes");
}
