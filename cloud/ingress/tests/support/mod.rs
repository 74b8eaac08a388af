//! A door on a free port, an intake that records, and a client that says exactly the bytes it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, DoorRefusal, Downlink, Intake, IntakeClosed};
use remuda_ingress::{Door, DoorMetrics, DoorSettings, TrustLoopback};
use remuda_model::{Lane, ShardId, VehicleId};
use remuda_mqtt::codec::{Connect, Packet, Publish, Subscribe};
use remuda_wire::{Channel, Topic};
use rumqttc::mqttbytes::QoS;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

/// Longest that any of these tests waits for something that must come.
pub const SOON: Duration = Duration::from_secs(30);

pub struct Recorder(mpsc::Sender<Arrival>);

#[async_trait]
impl Intake for Recorder {
    async fn offer(&self, shard: ShardId, arrival: Arrival) -> Result<(), IntakeClosed> {
        assert_eq!(shard, ShardId::of(arrival.vehicle()), "an arrival goes to its vehicle's shard");
        self.0.send(arrival).await.map_err(|_| IntakeClosed)
    }
}

impl Recorder {
    /// For doors that never open.
    pub fn into_nowhere() -> Self {
        Self(mpsc::channel(1).0)
    }
}

pub struct Stack {
    pub door: Door,
    pub address: SocketAddr,
    pub metrics: DoorMetrics,
    pub arrivals: mpsc::Receiver<Arrival>,
    /// Refusals that were told so far; they come when they come, so that the others are waited for without them.
    pub refused: Vec<(VehicleId, DoorRefusal, u64)>,
}

pub async fn open(intake_messages_max: usize) -> Stack {
    open_with(intake_messages_max, DoorSettings::new(loopback())).await
}

pub async fn open_with(intake_messages_max: usize, settings: DoorSettings) -> Stack {
    let (sender, arrivals) = mpsc::channel(intake_messages_max);
    let metrics = DoorMetrics::default();
    let (authenticator, intake) = (Arc::new(TrustLoopback), Arc::new(Recorder(sender)));
    let door = Door::bind(settings, authenticator, intake, metrics.clone()).await.expect("a free port");
    Stack { address: door.plain_addr().expect("it listens"), door, metrics, arrivals, refused: Vec::new() }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Stack {
    pub async fn next(&mut self) -> Arrival {
        loop {
            if let Some(arrival) = self.next_any().await {
                return arrival;
            }
        }
    }

    /// The next arrival; `None` for a refusal, which is kept.
    pub async fn next_any(&mut self) -> Option<Arrival> {
        match soon("an arrival", self.arrivals.recv()).await.expect("the door lives") {
            Arrival::Refused { vehicle, reason, count } => {
                self.refused.push((vehicle, reason, count));
                None
            }
            other => Some(other),
        }
    }

    /// Waits until the vehicle's shard was told of so many refusals.
    pub async fn refused(&mut self, id: &str, reason: DoorRefusal, count: u64) {
        let told = |stack: &Self| {
            let of = stack.refused.iter().filter(|(v, r, _)| (*v, *r) == (vehicle(id), reason));
            of.map(|(_, _, n)| n).sum::<u64>()
        };
        while told(self) < count {
            if let Some(other) = self.next_any().await {
                panic!("expected a refusal, not {other:?}");
            }
        }
        assert_eq!(told(self), count, "{reason:?} of {id}");
    }

    pub async fn connected(&mut self) -> (ConnectionGeneration, VehicleId, Downlink) {
        match self.next().await {
            Arrival::Connected { generation, vehicle, downlink } => (generation, vehicle, downlink),
            other => panic!("expected a connection, not {other:?}"),
        }
    }

    pub async fn disconnected(&mut self) -> (ConnectionGeneration, VehicleId) {
        match self.next().await {
            Arrival::Disconnected { generation, vehicle } => (generation, vehicle),
            other => panic!("expected an end, not {other:?}"),
        }
    }

    pub async fn payload(&mut self) -> (VehicleId, Channel, Vec<u8>) {
        match self.next().await {
            Arrival::Payload { vehicle, channel, payload, .. } => (vehicle, channel, payload.to_vec()),
            other => panic!("expected a payload, not {other:?}"),
        }
    }

    /// A counter or gauge by its full name and, where it has one, its label's value.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        let mut registry = prometheus_client::registry::Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("encoded");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }
}

pub async fn soon<F: Future>(what: &str, future: F) -> F::Output {
    tokio::time::timeout(SOON, future).await.unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

pub fn vehicle(id: &str) -> VehicleId {
    VehicleId::new(id).expect("an id")
}

pub fn samples_topic(id: &str) -> String {
    Topic::up(vehicle(id), Channel::Lane(Lane::Samples)).to_string()
}

pub fn bytes_of(packets: &[Packet]) -> Vec<u8> {
    let mut bytes = BytesMut::new();
    for packet in packets {
        packet.write(&mut bytes, usize::MAX).expect("our own packet");
    }
    bytes.to_vec()
}

pub fn connect(id: &str) -> Packet {
    let mut connect = Connect::new("whatever");
    connect.set_login(id, "");
    connect.keep_alive = 60;
    Packet::Connect(connect)
}

pub fn publish(topic: &str, qos: QoS, payload: impl Into<Vec<u8>>) -> Packet {
    let mut publish = Publish::new(topic, qos, payload);
    publish.pkid = 7;
    Packet::Publish(publish)
}

pub fn subscribe(filter: &str) -> Packet {
    let mut subscribe = Subscribe::new(filter, QoS::AtLeastOnce);
    subscribe.pkid = 3;
    Packet::Subscribe(subscribe)
}

/// Packets of MQTT 5, byte for byte.
pub mod five {
    /// First byte, then the body with its length before it.
    pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
        let mut bytes = vec![first];
        let mut length = body.len();
        while length >= 0x80 {
            bytes.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        bytes.push(length as u8);
        bytes.extend_from_slice(body);
        bytes
    }

    pub fn text(text: &str) -> Vec<u8> {
        [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
    }

    pub fn user_property(name: &str, value: &str) -> Vec<u8> {
        [vec![0x26], text(name), text(value)].concat()
    }

    /// With clean start, a keep-alive of 60 s, and the vehicle as user name.
    pub fn connect(id: &str, properties: &[u8]) -> Vec<u8> {
        let head = [b"\0\x04MQTT\x05\x82\0\x3c", &[properties.len() as u8][..], properties].concat();
        packet(0x10, &[head, text("whatever"), text(id)].concat())
    }

    /// QoS 1 with a packet id.
    pub fn publish(topic: &str, packet_id: Option<u16>, properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let id: Vec<u8> = packet_id.into_iter().flat_map(u16::to_be_bytes).collect();
        let first = if id.is_empty() { 0x30 } else { 0x32 };
        packet(first, &[&text(topic), &id, &[properties.len() as u8][..], properties, payload].concat())
    }

    pub fn subscribe(filters: &[&str]) -> Vec<u8> {
        let mut body = vec![0, 3, 0];
        for filter in filters {
            body.extend(text(filter));
            body.push(0);
        }
        packet(0x82, &body)
    }
}

/// Where the Python of the checks is; prints why a test is skipped without it.
pub fn python() -> Option<PathBuf> {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/venv/bin/python");
    if !python.is_file() {
        println!("skipped: there is no target/venv/bin/python; cargo xtask install makes it");
        return None;
    }
    Some(python)
}

/// Where a program is; prints why a test is skipped without it.
pub fn program(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|p| p.is_file());
    if found.is_none() {
        println!("skipped: {name} is not on the path; install {package}");
    }
    found
}

/// A client without opinions.
pub struct Raw {
    pub stream: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    pub async fn open(address: SocketAddr) -> Self {
        Self::over(soon("a TCP connection", TcpStream::connect(address)).await.expect("connected"))
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).expect("set");
        Self { stream, buffer: BytesMut::new() }
    }

    /// Logged in.
    pub async fn login(address: SocketAddr, id: &str) -> Self {
        let mut raw = Self::open(address).await;
        raw.say(&[connect(id)]).await;
        assert!(matches!(raw.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 == 0));
        raw
    }

    /// Logged in by MQTT 5.
    pub async fn login_five(address: SocketAddr, id: &str) -> Self {
        let mut raw = Self::open(address).await;
        raw.write(&five::connect(id, &[])).await;
        let connack = raw.hear_five().await.expect("an answer");
        assert_eq!((connack[0], connack[3]), (0x20, 0), "{connack:x?}");
        raw
    }

    pub async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("written");
    }

    /// The next packet's bytes, whichever version; `None`: the door closed.
    pub async fn hear_five(&mut self) -> Option<Vec<u8>> {
        loop {
            let digits = self.buffer.iter().skip(1).take(4).take_while(|b| *b & 0x80 != 0).count() + 1;
            if self.buffer.len() > digits {
                let body =
                    self.buffer[1..=digits].iter().rev().fold(0, |sum, b| sum << 7 | usize::from(b & 0x7f));
                if self.buffer.len() >= 1 + digits + body {
                    return Some(self.buffer.split_to(1 + digits + body).to_vec());
                }
            }
            match soon("a packet", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    pub async fn say(&mut self, packets: &[Packet]) {
        self.stream.write_all(&bytes_of(packets)).await.expect("written");
    }

    /// The next packet; `None`: the door closed.
    pub async fn hear(&mut self) -> Option<Packet> {
        loop {
            if let Ok(packet) = Packet::read(&mut self.buffer, usize::MAX) {
                return Some(packet);
            }
            match soon("a packet", self.stream.read_buf(&mut self.buffer)).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}
