//! What ill-willed, broken and unlucky clients can do to others: nothing.

mod support;

use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use remuda_contracts::uplink::Arrival;
use remuda_ingress::{DoorSettings, VehicleLimits};
use remuda_mqtt::codec::Packet;
use rumqttc::mqttbytes::QoS;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_silent_sockets_hinder_nobody() {
    let settings = DoorSettings {
        // Fewer permits than silent sockets, so that they would be missed.
        handshakes_max: 8,
        ..DoorSettings::new(loopback())
    };
    let mut stack = open_with(64, settings).await;
    let mut silent = Vec::new();
    for _ in 0..300 {
        silent.push(Raw::open(stack.address).await);
    }
    let began = Instant::now();
    let mut healthy = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    healthy.say(&[publish(&samples_topic("VAN1"), QoS::AtMostOnce, *b"x")]).await;
    stack.payload().await;
    assert!(began.elapsed() < Duration::from_secs(2), "took {:?}", began.elapsed());
    for raw in &mut silent {
        assert!(raw.hear().await.is_none(), "who says nothing is closed after 5 s");
    }
    assert_eq!(stack.metric("remuda_ingress_refusals_total", "connect_timeout"), 300);
    healthy.say(&[Packet::PingReq]).await;
    assert!(matches!(healthy.hear().await, Some(Packet::PingResp)));
}

/// Storms come from one address and one vehicle here. The limits that they would meet have tests of their own.
fn unlimited() -> DoorSettings {
    DoorSettings { vehicle: VehicleLimits::NONE, ..DoorSettings::new(loopback()) }
}

const RESETS: u64 = 1_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connects_that_are_reset_leave_nothing_behind() {
    let mut stack = open_with(4_096, unlimited()).await;
    for _ in 0..RESETS {
        let mut flaky = Raw::open(stack.address).await;
        flaky.say(&[connect("FLAKY1")]).await;
        // RST instead of FIN.
        flaky.stream.set_zero_linger().expect("set");
    }
    // What was read before the reset may still be entered, and would be the newer one: let it come and go first.
    soon("the end of all that were reset", async {
        let ended = |name| stack.metric(name, "reason=");
        while ended("remuda_ingress_closes_total") + ended("remuda_ingress_refusals_total") < RESETS {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut settled = Raw::login(stack.address, "FLAKY1").await;
    settled.say(&[publish(&samples_topic("FLAKY1"), QoS::AtMostOnce, *b"last")]).await;
    let mut open = std::collections::HashSet::new();
    let mut last = false;
    // Every connection that was announced ends, except the last.
    while !last || open.len() != 1 {
        match stack.next().await {
            Arrival::Connected { generation, .. } => assert!(open.insert(generation)),
            Arrival::Disconnected { generation, .. } => assert!(open.remove(&generation)),
            Arrival::Payload { generation, .. } => last = open.iter().max() == Some(&generation),
            Arrival::Refused { .. } => unreachable!("kept apart"),
        }
    }
    settled.say(&[Packet::PingReq]).await;
    assert!(matches!(settled.hear().await, Some(Packet::PingResp)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_publish_closes_and_a_foreign_filter_is_refused() {
    let mut stack = open(64).await;
    let mut client = Raw::login(stack.address, "VAN1").await;
    for filter in ["#", "remuda/v1/VAN2/down", "remuda/v1/+/down", "remuda/v1/VAN1/#", "$SYS/#"] {
        client.say(&[subscribe(filter)]).await;
        let answer = client.hear().await.map(|packet| bytes_of(&[packet]));
        assert_eq!(answer, Some(vec![0x90, 3, 0, 3, 0x80]), "{filter}");
    }
    stack.connected().await;
    let wrong = (remuda_model::ShardId::of(&vehicle("VAN1")).number() + 1) % 1024;
    for (topic, reason) in [
        (samples_topic("VAN2"), "foreign_topic"),
        (format!("remuda/v1/VAN1/up/{wrong}/samples"), "wrong_shard"),
        ("remuda/v1/VAN1/down".to_owned(), "bad_topic"),
        ("\u{e9}/x".to_owned(), "bad_topic"),
    ] {
        let before = stack.metric("remuda_ingress_refusals_total", reason);
        client.say(&[publish(&topic, QoS::AtLeastOnce, *b"x")]).await;
        assert!(client.hear().await.is_none(), "{topic}: closed, not acknowledged");
        stack.disconnected().await;
        assert_eq!(stack.metric("remuda_ingress_refusals_total", reason), before + 1);
        client = Raw::login(stack.address, "VAN1").await;
        stack.connected().await;
    }
}

const STREAMS: u64 = 20_000;

/// A valid conversation with some bytes changed, cut, doubled or inserted; of MQTT 5 for odd seeds.
fn mutated(seed: u64) -> Vec<u8> {
    let mut random = StdRng::seed_from_u64(seed);
    let topic = samples_topic("FUZZ1");
    let mut bytes = match seed % 2 {
        0 => bytes_of(&[
            connect("FUZZ1"),
            subscribe("remuda/v1/FUZZ1/down"),
            publish(&topic, QoS::AtLeastOnce, *b"payload"),
            Packet::PingReq,
            publish(&topic, QoS::AtMostOnce, *b"payload"),
            Packet::Disconnect,
        ]),
        _ => [
            five::connect("FUZZ1", &[0x21, 0, 9, 0x27, 0, 1, 0, 0]),
            five::subscribe(&["remuda/v1/FUZZ1/down"]),
            five::publish(&topic, Some(7), &[0x23, 0, 1], b"payload"),
            vec![0xc0, 0],
            five::publish(
                "",
                None,
                &[&[0x23, 0, 1][..], &five::user_property("traceparent", "00-x")].concat(),
                b"p",
            ),
            vec![0xe0, 0],
        ]
        .concat(),
    };
    for _ in 0..random.random_range(1..6) {
        let at = random.random_range(0..bytes.len());
        match random.random_range(0..4) {
            0 => bytes[at] = random.random(),
            1 => bytes[at] ^= 1 << random.random_range(0..8),
            2 => bytes.insert(at, random.random()),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_mutated_streams_over_tcp() {
    let mut stack = open_with(1_024, unlimited()).await;
    let address = stack.address;
    let mut arrivals = std::mem::replace(&mut stack.arrivals, tokio::sync::mpsc::channel(1).1);
    let taking = tokio::spawn(async move {
        let mut open = 0_i64;
        let mut payloads = 0_u64;
        while let Some(arrival) = arrivals.recv().await {
            match arrival {
                Arrival::Connected { .. } => open += 1,
                Arrival::Disconnected { .. } => open -= 1,
                Arrival::Payload { .. } => payloads += 1,
                Arrival::Refused { .. } => {}
            }
        }
        (open, payloads)
    });
    let mut healthy = Raw::login(address, "HEALTHY1").await;
    let before = resident_kib();
    let senders: Vec<_> = (0..16)
        .map(|first| {
            tokio::spawn(async move {
                for seed in (first..STREAMS).step_by(16) {
                    let mut raw = Raw::open(address).await;
                    // The door may close before all is said.
                    let _ = raw.stream.write_all(&mutated(seed)).await;
                    let _ = raw.stream.shutdown().await;
                    let mut heard = Vec::new();
                    let read = soon("the end of a broken stream", raw.stream.read_to_end(&mut heard)).await;
                    assert!(read.is_err() || heard.len() < 512, "seed {seed} was answered {heard:?}");
                }
            })
        })
        .collect();
    for sender in senders {
        sender.await.expect("no sender failed");
    }
    healthy.say(&[Packet::PingReq]).await;
    assert!(matches!(healthy.hear().await, Some(Packet::PingResp)));
    let grown = resident_kib().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB more after {STREAMS} streams");
    let (panicked, accepted) = (
        stack.metric("remuda_ingress_closes_total", "panicked"),
        stack.metric("remuda_ingress_accepts_total", ""),
    );
    assert_eq!((panicked, accepted), (0, STREAMS + 1));
    soon("the stop", stack.door.stop()).await;
    let (open, payloads) = soon("the last arrival", taking).await.expect("taken");
    assert_eq!(open, 0, "each connection that was announced ended");
    assert!(payloads > STREAMS / 10, "enough streams got through to the intake: {payloads}");
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}
