//! The door through an external broker, alone: what it checks at start-up, what it makes of what a broker passes on,
//! what it does when the shards are full.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, DoorRefusal, Downlink, Intake, IntakeClosed};
use remuda_e2e::{Broker, BrokerKind};
use remuda_identity::{EmbeddedCa, NewVehicle, Register, Who};
use remuda_ingress::DoorMetrics;
use remuda_ingress::external::{
    BrokerError, BrokerLogin, BrokerMetrics, BrokerSettings, ExternalBroker, broker_tls,
};
use remuda_model::{ConnectionId, Incarnation, Lane, OrganizationId, ShardId, VehicleId};
use remuda_wire::{Channel, Down, Farewell, FarewellReason, Topic, Up};
use rumqttc::{
    AsyncClient, Event, EventLoop, LastWill, MqttOptions, Packet, QoS, SubscribeReasonCode, TlsConfiguration,
    Transport,
};
use tokio::sync::mpsc;

/// Longest that any of these tests waits for something that must come.
const SOON: Duration = Duration::from_secs(60);
const SAMPLES: Channel = Channel::Lane(Lane::Samples);

struct Recorder(mpsc::Sender<Arrival>);

#[async_trait]
impl Intake for Recorder {
    async fn offer(&self, shard: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
        assert_eq!(shard, ShardId::of(arrival.vehicle()), "an arrival goes to its vehicle's shard");
        self.0.send(arrival).await.map_err(|_| IntakeClosed)
    }
}

struct Stack {
    door: ExternalBroker,
    door_metrics: DoorMetrics,
    metrics: BrokerMetrics,
    arrivals: mpsc::Receiver<Arrival>,
    /// What the shards were told of refusals.
    refused: Vec<DoorRefusal>,
}

async fn try_open(settings: BrokerSettings, intake_messages_max: usize) -> Result<Stack, BrokerError> {
    try_open_with(settings, intake_messages_max, None).await
}

async fn try_open_with(
    settings: BrokerSettings,
    intake_messages_max: usize,
    register: Option<Arc<Register>>,
) -> Result<Stack, BrokerError> {
    let (sender, arrivals) = mpsc::channel(intake_messages_max);
    let (door_metrics, metrics) = (DoorMetrics::default(), BrokerMetrics::default());
    let intake = Arc::new(Recorder(sender));
    let door =
        ExternalBroker::open(settings, register, intake, door_metrics.clone(), metrics.clone()).await?;
    Ok(Stack { door, door_metrics, metrics, arrivals, refused: Vec::new() })
}

async fn open(settings: BrokerSettings) -> Stack {
    let stack = try_open(settings, 1_000).await.expect("the broker can be used");
    assert_eq!(stack.door.health().now(), Ok(()));
    stack
}

impl Stack {
    async fn next(&mut self) -> Arrival {
        loop {
            match soon("an arrival", self.arrivals.recv()).await.expect("the door lives") {
                Arrival::Refused { reason, .. } => self.refused.push(reason),
                other => return other,
            }
        }
    }

    async fn connected(&mut self) -> (ConnectionGeneration, VehicleId, Downlink) {
        match self.next().await {
            Arrival::Connected { generation, vehicle, downlink } => (generation, vehicle, downlink),
            other => panic!("expected a connection, not {other:?}"),
        }
    }

    async fn disconnected(&mut self) -> (ConnectionGeneration, VehicleId) {
        match self.next().await {
            Arrival::Disconnected { generation, vehicle } => (generation, vehicle),
            other => panic!("expected an end, not {other:?}"),
        }
    }

    async fn payload(&mut self) -> (VehicleId, Channel, Vec<u8>) {
        match self.next().await {
            Arrival::Payload { vehicle, channel, payload, .. } => (vehicle, channel, payload.to_vec()),
            other => panic!("expected a payload, not {other:?}"),
        }
    }

    /// A counter or gauge by the beginning of its name and, where it has one, its label's value.
    fn metric(&self, name: &str, label: &str) -> f64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.door_metrics.register(&mut registry);
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    async fn counts(&self, name: &str, label: &str, at_least: f64) {
        until(&format!("{name} {label} is {at_least}"), || self.metric(name, label) >= at_least).await;
    }
}

async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    soon(what, async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

fn vehicle(id: &str) -> VehicleId {
    VehicleId::new(id).expect("an id")
}

fn up(id: &str, channel: Channel) -> String {
    Topic::up(vehicle(id), channel).to_string()
}

fn settings(broker: &Broker) -> BrokerSettings {
    BrokerSettings { silence: Duration::from_secs(30), ..BrokerSettings::new("127.0.0.1", broker.port()) }
}

fn login(username: &str, password: &str) -> Option<BrokerLogin> {
    Some(BrokerLogin { username: username.to_owned(), password: password.to_owned() })
}

/// A vehicle's side, with no opinion about what it says.
struct Client {
    client: AsyncClient,
    events: EventLoop,
}

impl Client {
    fn options(broker: &Broker, id: &str) -> MqttOptions {
        let mut options = MqttOptions::new(id, "127.0.0.1", broker.port());
        options.set_credentials(id, "").set_max_packet_size(4 << 20, 4 << 20);
        options
    }

    async fn connect(options: MqttOptions) -> Self {
        let (client, events) = AsyncClient::new(options, 64);
        let mut client = Self { client, events };
        assert!(matches!(client.hear().await, Packet::ConnAck(_)));
        client
    }

    async fn hear(&mut self) -> Packet {
        loop {
            match soon("a packet", self.events.poll()).await.expect("connected") {
                Event::Incoming(Packet::PingResp) => {}
                Event::Incoming(packet) => return packet,
                Event::Outgoing(_) => {}
            }
        }
    }

    async fn publish(&mut self, topic: &str, payload: impl Into<Vec<u8>>) {
        self.client.publish(topic, QoS::AtMostOnce, false, payload).await.expect("queued");
        self.written().await;
    }

    async fn written(&mut self) {
        loop {
            match soon("a write", self.events.poll()).await.expect("connected") {
                Event::Outgoing(rumqttc::Outgoing::Publish(_)) => return,
                Event::Incoming(Packet::Publish(publish)) => panic!("unexpected: {publish:?}"),
                _ => {}
            }
        }
    }

    async fn subscribe(&mut self, filter: &str) -> bool {
        self.client.subscribe(filter, QoS::AtMostOnce).await.expect("queued");
        loop {
            if let Packet::SubAck(ack) = self.hear().await {
                return ack.return_codes.iter().all(|code| *code != SubscribeReasonCode::Failure);
            }
        }
    }

    async fn down(&mut self) -> Bytes {
        match self.hear().await {
            Packet::Publish(publish) => publish.payload,
            other => panic!("expected a message, not {other:?}"),
        }
    }
}

fn farewell(counter: u32) -> Vec<u8> {
    let connection = ConnectionId { incarnation: Incarnation(7), counter };
    Up::Farewell(Farewell { connection, reason: FarewellReason::Lost }).encode()
}

#[tokio::test]
async fn connections_are_made_up_from_what_vehicles_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::open_to_all(BrokerKind::Mosquitto, folder.path());
    // Three connections: each has a share of the shards, with a filter each.
    let mut stack = open(BrokerSettings { connections: 3, ..settings(&broker) }).await;
    let mut options = Client::options(&broker, "VAN1");
    let will = farewell(1);
    options.set_last_will(LastWill::new(up("VAN1", Channel::Session), will.clone(), QoS::AtMostOnce, false));
    let mut van = Client::connect(options).await;
    assert!(van.subscribe("remuda/v1/VAN1/down").await);
    van.publish(&up("VAN1", SAMPLES), "first").await;
    let (generation, id, downlink) = stack.connected().await;
    assert_eq!(id, vehicle("VAN1"));
    assert_eq!(stack.payload().await, (id, SAMPLES, b"first".to_vec()));
    downlink.send(Bytes::from_static(b"answer")).expect("queued");
    assert_eq!(van.down().await, "answer");
    assert_eq!(stack.metric("remuda_ingress_connections", ""), 1.0);
    // The vehicle's connection breaks: the broker says its last will.
    drop(van);
    assert_eq!(stack.payload().await, (id, Channel::Session, will));
    assert_eq!(stack.disconnected().await, (generation, id));
    assert!(downlink.send(Bytes::new()).is_err(), "the way back is gone, too");
    let mut van = Client::connect(Client::options(&broker, "VAN1")).await;
    van.publish(&up("VAN1", SAMPLES), "again").await;
    assert!(stack.connected().await.0 > generation);
    stack.payload().await;
    // Kicked, denied, let in again.
    assert!(stack.door.kick(&id));
    stack.disconnected().await;
    assert!(stack.door.deny(id));
    van.publish(&up("VAN1", SAMPLES), "denied").await;
    stack.counts("remuda_ingress_refusals_total", "denied", 1.0).await;
    stack.door.allow(&id);
    stack.door.pause(true);
    van.publish(&up("VAN1", SAMPLES), "paused").await;
    stack.counts("remuda_ingress_refusals_total", "paused", 1.0).await;
    stack.door.pause(false);
    van.publish(&up("VAN1", SAMPLES), "allowed").await;
    stack.connected().await;
    assert_eq!(stack.payload().await.2, b"allowed");
    let Stack { door, mut arrivals, .. } = stack;
    door.stop().await;
    assert!(matches!(arrivals.recv().await, Some(Arrival::Disconnected { .. })));
    assert!(arrivals.recv().await.is_none(), "nothing of the door is left");
}

#[tokio::test]
async fn what_no_vehicle_says_is_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::open_to_all(BrokerKind::Mosquitto, folder.path());
    let mut evil = Client::connect(Client::options(&broker, "evil")).await;
    // Retained before the cloud comes: it would be told at every reconnect.
    evil.client.publish(up("VAN1", SAMPLES), QoS::AtMostOnce, true, "old").await.expect("queued");
    evil.written().await;
    let mut stack = open(settings(&broker)).await;
    stack.counts("remuda_ingress_refusals_total", "retained", 1.0).await;
    let shard = ShardId::of(&vehicle("VAN1")).number();
    for (topic, bytes, reason) in [
        ("remuda/v1/VAN1/up/07/samples".to_owned(), 1, "bad_topic"),
        (format!("remuda/v1/VAN1/up/{shard}/nothing"), 1, "bad_topic"),
        (format!("remuda/v1/_probe1/up/{shard}/samples"), 1, "bad_topic"),
        (format!("remuda/v1/VAN1/up/{}/samples", (shard + 1) % 1024), 1, "wrong_shard"),
        (up("VAN1", SAMPLES), 128 * 1024 + 1, "too_large"),
        (up("VAN1", Channel::Session), 0, "late_farewell"),
    ] {
        let payload = if bytes == 0 { farewell(1) } else { vec![1; bytes] };
        let before = stack.metric("remuda_ingress_refusals_total", reason);
        evil.publish(&topic, payload).await;
        stack.counts("remuda_ingress_refusals_total", reason, before + 1.0).await;
    }
    evil.publish(&up("VAN1", SAMPLES), vec![7; 128 * 1024]).await;
    stack.connected().await;
    assert_eq!(stack.payload().await.2.len(), 128 * 1024);
    // Larger than the door reads: it costs the connection, and the door comes back.
    evil.publish(&up("VAN1", SAMPLES), vec![1; 2 << 20]).await;
    stack.counts("remuda_ingress_broker_losses_total", "oversized", 1.0).await;
    until("the door is back", || stack.door.health().now() == Ok(())).await;
    evil.publish(&up("VAN1", SAMPLES), "fine").await;
    assert_eq!(stack.payload().await.2, b"fine");
    // What is certainly this vehicle's doing is shown on it.
    soon("both are told", async {
        while stack.refused.len() < 2 {
            match stack.arrivals.recv().await {
                Some(Arrival::Refused { reason, .. }) => stack.refused.push(reason),
                other => panic!("expected a refusal, not {other:?}"),
            }
        }
    })
    .await;
    stack.refused.sort();
    assert_eq!(stack.refused, [DoorRefusal::TooLarge, DoorRefusal::WrongShard]);
}

#[tokio::test]
async fn a_revoked_vehicle_is_forgotten_and_not_heard() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::open_to_all(BrokerKind::Mosquitto, folder.path());
    let identity = folder.path().join("identity");
    let now = std::time::SystemTime::now();
    let authority = EmbeddedCa::open(&identity, Duration::from_secs(86_400), now).expect("an authority");
    let register = Arc::new(Register::open(&identity).expect("a register"));
    let (organization, who) = (OrganizationId::default(), Who { by: "a test".into(), at_ms: 1 });
    let new = [NewVehicle { vehicle: vehicle("VAN1"), display_name: None }];
    register.create(organization, &new, 3_600_000, authority.fingerprint(), &who).expect("created");
    let shown = Some(Arc::clone(&register));
    let mut stack = try_open_with(settings(&broker), 100, shown).await.expect("the broker can be used");
    let mut van = Client::connect(Client::options(&broker, "VAN1")).await;
    van.publish(&up("VAN1", SAMPLES), "first").await;
    let (generation, id, downlink) = stack.connected().await;
    stack.payload().await;
    register.revoke(organization, id, "stolen", &who).expect("revoked");
    assert_eq!(stack.disconnected().await, (generation, id));
    assert!(downlink.send(Bytes::new()).is_err(), "it is told nothing any more");
    van.publish(&up("VAN1", SAMPLES), "second").await;
    stack.counts("remuda_ingress_refusals_total", "denied", 1.0).await;
    // One that the register does not know is the broker's to know.
    let mut other = Client::connect(Client::options(&broker, "VAN2")).await;
    other.publish(&up("VAN2", SAMPLES), "first").await;
    assert_eq!(stack.connected().await.1, vehicle("VAN2"));
}

#[tokio::test]
async fn a_silent_vehicle_is_asked_before_it_counts_as_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = Broker::open_to_all(BrokerKind::Mosquitto, folder.path());
    let silence = Duration::from_millis(800);
    let mut stack = open(BrokerSettings { silence, ..settings(&broker) }).await;
    let mut van = Client::connect(Client::options(&broker, "VAN1")).await;
    assert!(van.subscribe("remuda/v1/VAN1/down").await);
    van.publish(&up("VAN1", SAMPLES), "here").await;
    let (generation, id, _) = stack.connected().await;
    stack.payload().await;
    for _ in 0..2 {
        assert!(matches!(Down::decode(&van.down().await), Ok(Down::Ack(ack)) if ack.greet));
    }
    // It answers, and stays.
    van.client.publish(up("VAN1", SAMPLES), QoS::AtMostOnce, false, "still here").await.expect("queued");
    while !matches!(
        soon("a write", van.events.poll()).await,
        Ok(Event::Outgoing(rumqttc::Outgoing::Publish(_)))
    ) {}
    assert_eq!(stack.payload().await.2, b"still here");
    // It does not, and is gone.
    assert_eq!(stack.disconnected().await, (generation, id));
    assert!(stack.metric("remuda_ingress_broker_asks_total", "") >= 5.0);
    assert_eq!(stack.metric("remuda_ingress_closes_total", "silent"), 1.0);
}

/// Resident memory of a process, bytes.
fn resident(process: u32) -> usize {
    let text = std::fs::read_to_string(format!("/proc/{process}/statm")).expect("Linux");
    text.split_whitespace().nth(1).and_then(|pages| pages.parse::<usize>().ok()).expect("a number") * 4096
}

/// Floods a door whose shards take nothing, then lets them take again.
async fn full_shards_stop_the_reading(broker: &Broker) {
    const MESSAGE_BYTES: usize = 64 * 1024;
    const MESSAGES: usize = 6_000;
    let sent = MESSAGES * MESSAGE_BYTES;
    let mut stack = try_open(settings(broker), 8).await.expect("the broker can be used");
    let mut van = Client::connect(Client::options(broker, "VAN1")).await;
    let processes = [std::process::id(), broker.process().expect("it runs").id()];
    let before = processes.map(resident);
    for number in 0..MESSAGES {
        let mut payload = vec![0; MESSAGE_BYTES];
        payload[..4].copy_from_slice(&(number as u32).to_be_bytes());
        van.publish(&up("VAN1", SAMPLES), payload).await;
    }
    let grown = [0, 1].map(|at| resident(processes[at]).saturating_sub(before[at]));
    assert!(grown[0] < sent / 8, "{} bytes more, of {sent} sent into full shards", grown[0]);
    let talking = tokio::spawn(async move {
        loop {
            van.publish(&up("VAN1", SAMPLES), "now").await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    });
    // The shards have room again: what was not dropped comes, in order, and then what is said now.
    stack.connected().await;
    let (mut last, mut taken) = (None, 0);
    loop {
        let payload = stack.payload().await.2;
        if payload == b"now" {
            break;
        }
        let number = u32::from_be_bytes(payload[..4].try_into().expect("four bytes"));
        assert!(last < Some(number), "{number} after {last:?}");
        last = Some(number);
        taken += 1;
    }
    talking.abort();
    assert!(taken < MESSAGES, "the broker dropped what it could not keep");
    let stalled = stack.metric("remuda_ingress_broker_stalled_seconds_total", "");
    assert!(stalled > 0.0, "the stall is counted");
    eprintln!("{taken} of {MESSAGES} came; {grown:?} bytes grown in door and broker, {stalled} s stalled");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_shards_are_full_nothing_is_read_from_mosquitto() {
    let folder = tempfile::tempdir().expect("a folder");
    full_shards_stop_the_reading(&Broker::open_to_all(BrokerKind::Mosquitto, folder.path())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_shards_are_full_nothing_is_read_from_nats() {
    let folder = tempfile::tempdir().expect("a folder");
    full_shards_stop_the_reading(&Broker::open_to_all(BrokerKind::Nats, folder.path())).await;
}

#[tokio::test]
async fn a_broker_that_is_wrong_is_told_apart_with_what_to_change() {
    let folder = tempfile::tempdir().expect("a folder");
    let place = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(folder.path()).expect("a folder");
    let small = Broker::mosquitto_with(&place("small"), "message_size_limit 4096");
    let acl = place("acl");
    std::fs::write(&acl, "user cloud\ntopic write remuda/v1/#\ntopic read remuda/v1/_probe/down\n")
        .expect("written");
    let mute = Broker::mosquitto_with(&place("mute"), &format!("acl_file {}", acl.display()));
    let strict = Broker::mosquitto_with(
        &place("strict"),
        &format!("allow_anonymous false\npassword_file {}", {
            let file = place("users");
            std::fs::write(&file, "").expect("written");
            file.display().to_string()
        }),
    );
    let passwords = [("$REMUDA_CLOUD_PASSWORD", "c"), ("$VAN1_PASSWORD", "v1"), ("$VAN2_PASSWORD", "v2")];
    let nats = Broker::nats_as_documented(&place("nats"), &passwords);
    let refused = |broker: &Broker, login: Option<BrokerLogin>| {
        let settings = BrokerSettings { login, ..settings(broker) };
        async move { try_open(settings, 10).await.map(|_| ()).expect_err("refused").to_string() }
    };
    let (small, mute, strict, vehicle) = tokio::join!(
        refused(&small, None),
        refused(&mute, login("cloud", "x")),
        refused(&strict, login("cloud", "wrong")),
        refused(&nats, login("VAN1", "v1")),
    );
    assert!(small.contains("raise the broker's largest message") && small.contains("132096"), "{small}");
    assert!(mute.contains("does not come back") && mute.contains("the user cloud"), "{mute}");
    assert!(strict.contains("refuses the node's login") && !strict.contains("wrong"), "{strict}");
    assert!(vehicle.contains("refuses the subscription to remuda/v1/+/up/+/+"), "{vehicle}");
    for sentence in [&small, &mute, &strict, &vehicle] {
        assert!(sentence.starts_with("the external broker 127.0.0.1:"), "{sentence}");
    }
}

#[tokio::test]
async fn a_broker_that_comes_later_is_waited_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut broker = Broker::open_to_all(BrokerKind::Mosquitto, folder.path());
    broker.kill();
    let mut stack = try_open(settings(&broker), 10).await.expect("a broker may be away");
    let away = stack.door.health().now().expect_err("away");
    assert!(away.contains("nobody listens there"), "{away}");
    assert_eq!(stack.metric("remuda_ingress_broker_connected", ""), 0.0);
    broker.start();
    until("the broker is there", || stack.door.health().now() == Ok(())).await;
    assert_eq!(stack.metric("remuda_ingress_broker_connected", ""), 1.0);
    let mut van = Client::connect(Client::options(&broker, "VAN1")).await;
    van.publish(&up("VAN1", SAMPLES), "first").await;
    stack.connected().await;
}

/// A certificate authority and what it signed, as files.
struct Authority {
    folder: std::path::PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("a folder");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "test authority");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(folder.join("authorities.pem"), certificate.pem()).expect("written");
        Self { folder: folder.into(), issuer: Issuer::new(params, key) }
    }

    /// Writes `{file}.pem` and `{file}.key`.
    fn issue(&self, file: &str, common_name: &str, names: &[&str]) {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names).expect("names");
        params.distinguished_name.push(DnType::CommonName, common_name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("signed");
        std::fs::write(self.folder.join(format!("{file}.pem")), certificate.pem()).expect("written");
        std::fs::write(self.folder.join(format!("{file}.key")), key.serialize_pem()).expect("written");
    }

    fn settings(&self, broker: &Broker, holder: Option<&str>) -> BrokerSettings {
        let files = holder
            .map(|file| (self.folder.join(format!("{file}.pem")), self.folder.join(format!("{file}.key"))));
        let own = files.as_ref().map(|(certificate, key)| (certificate.as_path(), key.as_path()));
        let tls = broker_tls(&self.folder.join("authorities.pem"), own).expect("good files");
        BrokerSettings { tls: Some(tls), host: "localhost".into(), ..settings(broker) }
    }

    fn client(&self, broker: &Broker, holder: &str) -> MqttOptions {
        let mut options = MqttOptions::new(format!("{holder}-any"), "localhost", broker.port());
        let tls = self.settings(broker, Some(holder)).tls.expect("set");
        options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        options
    }
}

/// Publishes and subscribes wherever it may not; only its own topics work.
async fn reaches_its_own_topics_only(stack: &mut Stack, mut one: Client, mut two: Client, grants_all: bool) {
    assert!(two.subscribe("remuda/v1/VAN2/down").await);
    for foreign in ["remuda/v1/VAN2/down", "remuda/v1/+/down", "remuda/v1/VAN2/up/+/+", "remuda/v1/#", "#"] {
        // Mosquitto grants any subscription, and delivers nothing.
        assert_eq!(one.subscribe(foreign).await, grants_all, "{foreign}");
    }
    assert!(one.subscribe("remuda/v1/VAN1/down").await);
    one.publish(&up("VAN2", Channel::Session), "as the other").await;
    one.publish("remuda/v1/VAN2/down", "from the other").await;
    one.publish("remuda/v1/VAN1/down", "all of it is durable").await;
    one.publish("remuda/v1/_probe/down", "as the cloud").await;
    one.publish(&up("VAN1", SAMPLES), "as itself").await;
    let (_, id, down_one) = stack.connected().await;
    assert_eq!(id, vehicle("VAN1"), "nothing came as the other");
    assert_eq!(stack.payload().await.2, b"as itself");
    two.publish(&up("VAN2", SAMPLES), "as itself").await;
    let (_, id, down_two) = stack.connected().await;
    assert_eq!(id, vehicle("VAN2"));
    stack.payload().await;
    down_two.send(Bytes::from_static(b"for two")).expect("queued");
    assert_eq!(two.down().await, "for two");
    down_one.send(Bytes::from_static(b"for one")).expect("queued");
    assert_eq!(one.down().await, "for one", "the other's message did not come before it");
}

#[tokio::test]
async fn the_documented_mosquitto_confines_vehicles_to_their_topics() {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new(&folder.path().join("tls"));
    authority.issue("broker", "broker", &["localhost"]);
    for holder in ["remuda-cloud", "VAN1", "VAN2"] {
        authority.issue(holder, holder, &[]);
    }
    let broker = Broker::mosquitto_as_documented(&folder.path().join("broker"), &authority.folder);
    let mut stack = open(authority.settings(&broker, Some("remuda-cloud"))).await;
    let one = Client::connect(authority.client(&broker, "VAN1")).await;
    let two = Client::connect(authority.client(&broker, "VAN2")).await;
    reaches_its_own_topics_only(&mut stack, one, two, true).await;

    // Whether the broker says why or only closes, is its own affair; there is a sentence either way.
    let refused = |settings| async move {
        match try_open(settings, 10).await {
            Ok(stack) => stack.door.health().now().expect_err("refused"),
            Err(error) => error.to_string(),
        }
    };
    let stranger = Authority::new(&folder.path().join("stranger"));
    let (nobody, stranger, vehicle) = tokio::join!(
        refused(authority.settings(&broker, None)),
        refused(stranger.settings(&broker, None)),
        refused(authority.settings(&broker, Some("VAN1"))),
    );
    assert!(nobody.contains("TLS to the broker fails"), "without a certificate: {nobody}");
    assert!(stranger.contains("broker.ca_file"), "another authority: {stranger}");
    assert!(vehicle.contains("does not come back"), "a vehicle is no cloud: {vehicle}");
}

#[tokio::test]
async fn the_documented_nats_confines_vehicles_to_their_topics() {
    let folder = tempfile::tempdir().expect("a folder");
    let passwords = [("$REMUDA_CLOUD_PASSWORD", "c"), ("$VAN1_PASSWORD", "v1"), ("$VAN2_PASSWORD", "v2")];
    let broker = Broker::nats_as_documented(folder.path(), &passwords);
    let mut stack = open(BrokerSettings { login: login("remuda-cloud", "c"), ..settings(&broker) }).await;
    let client = |id: &str, password: &str| {
        let mut options = Client::options(&broker, id);
        options.set_credentials(id, password);
        options
    };
    let one = Client::connect(client("VAN1", "v1")).await;
    let two = Client::connect(client("VAN2", "v2")).await;
    reaches_its_own_topics_only(&mut stack, one, two, false).await;
}
