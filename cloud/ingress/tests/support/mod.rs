//! A door on a free port, an intake that records, and a client that says exactly the bytes it is told.
#![allow(dead_code, reason = "each test file uses its part")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::BytesMut;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, Downlink, Intake, IntakeClosed};
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
}

pub async fn open(intake_messages_max: usize) -> Stack {
    open_with(intake_messages_max, DoorSettings::new(loopback())).await
}

pub async fn open_with(intake_messages_max: usize, settings: DoorSettings) -> Stack {
    let (sender, arrivals) = mpsc::channel(intake_messages_max);
    let metrics = DoorMetrics::default();
    let (authenticator, intake) = (Arc::new(TrustLoopback), Arc::new(Recorder(sender)));
    let door = Door::bind(settings, authenticator, intake, metrics.clone()).await.expect("a free port");
    Stack { address: door.local_addr(), door, metrics, arrivals }
}

pub fn loopback() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Stack {
    pub async fn next(&mut self) -> Arrival {
        soon("an arrival", self.arrivals.recv()).await.expect("the door lives")
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

/// A client without opinions.
pub struct Raw {
    pub stream: TcpStream,
    buffer: BytesMut,
}

impl Raw {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = soon("a TCP connection", TcpStream::connect(address)).await.expect("connected");
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
