//! What a broken or hostile vehicle may send: counted by reason, answered or quarantined, never a panic, never another
//! vehicle's problem.

use std::time::Duration;

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, wait_until};
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, SignalId, VehicleId, signal};
use remuda_wire::{
    Body, Channel, ClockQuality, Column, Down, FloorReason, FrameHeader, Frames, Hello, LaneState,
    SampleBlock, TimeUnit, Topic, Up, frame,
};
use rumqttc::{Client, Connection, Event, MqttOptions, Packet, QoS};

/// A vehicle in the test's own hands: raw MQTT, raw messages.
struct Vehicle {
    id: VehicleId,
    incarnation: Incarnation,
    client: Client,
    connection: Connection,
}

impl Vehicle {
    fn connect(cloud: &Cloud, id: &str) -> Self {
        let id = VehicleId::new(id).expect("an id");
        let (host, port) = cloud.door.split_once(':').expect("host:port");
        let mut options = MqttOptions::new(id.as_str(), host, port.parse().expect("a port"));
        options.set_credentials(id.as_str(), "");
        options.set_keep_alive(Duration::from_secs(30));
        options.set_max_packet_size(256 * 1024, 256 * 1024);
        let (client, connection) = Client::new(options, 64);
        client.subscribe(Topic::Down { vehicle: id }.to_string(), QoS::AtMostOnce).expect("queued");
        Self { id, incarnation: Incarnation(0xfeed), client, connection }
    }

    fn send(&self, channel: Channel, payload: Vec<u8>) {
        let topic = Topic::up(self.id, channel).to_string();
        self.client.publish(topic, QoS::AtMostOnce, false, payload).expect("queued");
    }

    fn hello(&self) {
        let lane = |lane| LaneState { lane, incarnation: self.incarnation, next_seq: 1, floor: 1, acked: 0 };
        let hello = Hello {
            connection: ConnectionId { incarnation: self.incarnation, counter: 1 },
            wire_min: 1,
            wire_max: 1,
            agent_version: "test".into(),
            boot: 1,
            registry: signal::REGISTRY_REVISION,
            registry_hash: 0,
            lanes: vec![lane(Lane::Events), lane(Lane::Samples)],
            highest_epoch: Epoch(0),
            open_commands: Vec::new(),
            policy_revision: 0,
            clock: ClockQuality::Unknown,
        };
        self.send(Channel::Session, Up::Hello(hello).encode());
    }

    fn frames(&self, first_seq: u64, frames: Vec<Vec<u8>>) {
        let message = Frames {
            lane: Lane::Samples,
            incarnation: self.incarnation,
            floor: 1,
            floor_reason: FloorReason::Acked,
            first_seq,
            frames: frames.into_iter().map(Into::into).collect(),
        };
        self.send(Channel::Lane(Lane::Samples), Up::Frames(message).encode());
    }

    /// The next message from the cloud that `wanted` accepts.
    fn next<T>(&mut self, what: &str, mut wanted: impl FnMut(&Down) -> Option<T>) -> T {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        loop {
            let left = deadline.saturating_duration_since(std::time::Instant::now());
            assert!(!left.is_zero(), "{} waited in vain for {what}", self.id);
            let Ok(Ok(event)) = self.connection.recv_timeout(left) else { continue };
            let Event::Incoming(Packet::Publish(publish)) = event else { continue };
            let down = Down::decode(&publish.payload).expect("what the cloud says decodes");
            if let Some(found) = wanted(&down) {
                return found;
            }
        }
    }

    fn wait_durable(&mut self, seq: u64) {
        self.next(&format!("durable {seq}"), |down| match down {
            Down::Ack(ack) if ack.ack.lane == Lane::Samples && ack.ack.durable >= seq => Some(()),
            _ => None,
        });
    }
}

fn header(seq: u64) -> FrameHeader {
    FrameHeader {
        seq,
        boot: 1,
        mono_ms: 1_000 * seq,
        wall_ms: None,
        clock: ClockQuality::Unknown,
        registry: signal::REGISTRY_REVISION,
        trace: None,
    }
}

fn samples(seq: u64, id: SignalId, raw: i64) -> Vec<u8> {
    let columns = vec![Column { signal: id, values: vec![Some(raw)] }];
    let block = SampleBlock { unit: TimeUnit::Millisecond, offsets: vec![0], columns };
    frame::encode(&header(seq), &Body::Samples(block))
}

/// Puts the CRC right again after bytes were changed.
fn reseal(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.len() - 4;
    let crc = crc32c::crc32c(&bytes[..end]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn bad_frames_are_quarantined_or_dropped_and_others_do_not_notice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("LAKE__ROUND_INTERVAL_MS", "100");
    let mut cloud = place.start("");
    let mut good = Vehicle::connect(&cloud, "GOOD1");
    let mut bad = Vehicle::connect(&cloud, "BAD1");
    good.hello();
    bad.hello();
    for vehicle in [&mut good, &mut bad] {
        vehicle.next("Welcome", |down| matches!(down, Down::Welcome(_)).then_some(()));
    }
    // Not a message, an unknown wire version, an unknown kind, an empty payload: refused, the connection lives.
    for payload in [vec![1, 2, 255, 255, 255], vec![200, 0, 0], vec![1, 250], Vec::new()] {
        bad.send(Channel::Lane(Lane::Samples), payload.clone());
        bad.send(Channel::Session, payload);
    }
    // A broken CRC is answered with `missing`, and the same frame sent again is taken.
    let mut broken = samples(1, signal::SPEED, 100);
    let middle = broken.len() / 2;
    broken[middle] ^= 0x40;
    bad.frames(1, vec![broken]);
    bad.next("missing", |down| match down {
        Down::Ack(ack) if ack.missing && ack.ack.received == 0 => Some(()),
        _ => None,
    });
    // Sound CRC, but: an unknown frame version, an unknown signal, a frame whose own seq is another.
    let mut version = samples(2, signal::SPEED, 1);
    version[0] = 99;
    let unknown_signal = samples(3, SignalId(0x7ff0), 1);
    bad.frames(
        1,
        vec![samples(1, signal::SPEED, 100), reseal(version), unknown_signal, samples(4, signal::SPEED, 90)],
    );
    bad.wait_durable(4);
    // A hole is answered with `missing` and filled later.
    bad.frames(6, vec![samples(6, signal::SPEED, 80)]);
    bad.next("missing", |down| match down {
        Down::Ack(ack) if ack.missing && ack.ack.received == 4 => Some(()),
        _ => None,
    });
    bad.frames(5, vec![samples(5, signal::SPEED, 85), samples(6, signal::SPEED, 80)]);
    bad.wait_durable(6);
    good.frames(1, vec![samples(1, signal::SPEED, 5_000)]);
    good.wait_durable(1);
    let (_, metrics) = cloud.get("/metrics").expect("metrics");
    assert!(cloud.metric("remuda_vehicles_refusals_total", "") >= 8.0, "{metrics}");
    assert!(cloud.metric("remuda_vehicles_frames_quarantined_total", "") >= 2.0, "{metrics}");
    assert!(cloud.process.ended().is_none(), "{}", cloud.process.log_end());
    assert!(!cloud.process.log().contains("panicked"), "{}", cloud.process.log());
    drop((good, bad));
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
    let ledger = remuda_ledger::count_blocking(&place.data(), &[]).expect("the disks can be read");
    assert_eq!(
        (ledger.frames_duplicated, ledger.decisions_missing, ledger.decisions_doubled),
        (0, 0, 0),
        "{ledger:#?}"
    );
}

#[test]
fn a_foreign_topic_or_a_wrong_shard_ends_only_that_connection() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("LAKE__ROUND_INTERVAL_MS", "100");
    let mut cloud = place.start("");
    let mut good = Vehicle::connect(&cloud, "GOOD1");
    good.hello();
    good.next("Welcome", |down| matches!(down, Down::Welcome(_)).then_some(()));
    let wrong_shard =
        (remuda_model::ShardId::of(&VehicleId::new("BAD1").expect("an id")).number() + 1) % 1024;
    for topic in [
        Topic::up(good.id, Channel::Lane(Lane::Samples)).to_string(),
        format!("remuda/v1/BAD1/up/{wrong_shard}/samples"),
        "remuda/v1/BAD1/down".to_owned(),
        "something/else".to_owned(),
    ] {
        let mut bad = Vehicle::connect(&cloud, "BAD1");
        let subscribed = std::iter::from_fn(|| bad.connection.recv_timeout(Duration::from_secs(20)).ok())
            .any(|event| matches!(event, Ok(Event::Incoming(Packet::SubAck(_)))));
        assert!(subscribed, "a vehicle may subscribe to its own topic");
        bad.client.publish(topic.clone(), QoS::AtMostOnce, false, vec![1, 2, 3]).expect("queued");
        let closed = std::iter::from_fn(|| bad.connection.recv_timeout(Duration::from_secs(20)).ok())
            .any(|event| event.is_err());
        assert!(closed, "a publish to {topic} must end the connection");
    }
    let (_, metrics) = cloud.get("/metrics").expect("metrics");
    for reason in ["foreign_topic", "wrong_shard", "bad_topic"] {
        assert!(cloud.metric("remuda_ingress_refusals_total", reason) >= 1.0, "no {reason} in\n{metrics}");
    }
    good.frames(1, vec![samples(1, signal::SPEED, 5_000)]);
    good.wait_durable(1);
    assert!(cloud.process.ended().is_none());
    wait_until("the cloud stops cleanly", || cloud.process.stop());
}
