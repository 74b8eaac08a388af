//! A healthy vehicle beside hostile ones: none of its messages is lost, late or out of order, it stays connected, and
//! the door's memory stays flat.

mod support;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use remuda_contracts::uplink::Arrival;
use remuda_ingress::{DoorSettings, VehicleLimits};
use remuda_mqtt::codec::Packet;
use rumqttc::mqttbytes::QoS;
use support::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// What a healthy vehicle went through, and the door with it.
struct Seen {
    stack: Stack,
    grown_kib: u64,
}

const HEALTHY: &str = "HEALTHY1";
/// More than any of these floods may cost, less than each would cost if it were kept.
const GROWN_KIB_MAX: u64 = 32 * 1024;

/// Publishes one message after the other, each once the one before is acknowledged, until told to stop; says how many.
async fn publish_on(mut healthy: Raw, stop: Arc<AtomicBool>) -> u64 {
    let mut number = 0_u64;
    while !stop.load(Ordering::Relaxed) {
        healthy.say(&[publish(&samples_topic(HEALTHY), QoS::AtLeastOnce, number.to_le_bytes())]).await;
        assert!(
            matches!(healthy.hear().await, Some(Packet::PubAck(ack)) if ack.pkid == 7),
            "message {number}"
        );
        number += 1;
    }
    healthy.say(&[Packet::Disconnect]).await;
    number
}

/// Runs something hostile beside a healthy vehicle.
async fn beside<F: Future>(settings: DoorSettings, hostile: impl FnOnce(SocketAddr) -> F) -> Seen {
    let mut stack = open_with(1_024, settings).await;
    let healthy = Raw::login(stack.address, HEALTHY).await;
    stack.connected().await;
    let mut arrivals = std::mem::replace(&mut stack.arrivals, tokio::sync::mpsc::channel(1).1);
    let taking = tokio::spawn(async move {
        let mut expected = 0;
        loop {
            match soon("the healthy vehicle's end", arrivals.recv()).await.expect("the door lives") {
                Arrival::Payload { vehicle: v, payload, .. } if v == vehicle(HEALTHY) => {
                    assert_eq!(payload[..], u64::to_le_bytes(expected), "in order, each once");
                    expected += 1;
                }
                Arrival::Disconnected { vehicle: v, .. } if v == vehicle(HEALTHY) => break,
                _ => {}
            }
        }
        // The others' ends must find room, too.
        tokio::spawn(async move { while arrivals.recv().await.is_some() {} });
        expected
    });
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = tokio::spawn(publish_on(healthy, Arc::clone(&stop)));
    let before = resident_kib();
    hostile(stack.address).await;
    let grown_kib = resident_kib().saturating_sub(before);
    stop.store(true, Ordering::Relaxed);
    let published = soon("the healthy vehicle", publishing).await.expect("it never noticed");
    let taken = soon("its messages", taking).await.expect("they came in order");
    assert!(published > 0);
    assert_eq!(published, taken);
    assert!(grown_kib < GROWN_KIB_MAX, "{grown_kib} KiB more");
    assert_eq!(stack.metric("remuda_ingress_closes_total", "panicked"), 0);
    Seen { stack, grown_kib }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

fn unlimited() -> DoorSettings {
    DoorSettings { vehicle: VehicleLimits::NONE, ..DoorSettings::new(loopback()) }
}

/// Reads until the door closes.
async fn drain(raw: &mut Raw) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is an end as well.
    let _ = soon("the end", raw.stream.read_to_end(&mut heard)).await;
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_subscriptions() {
    let seen = beside(unlimited(), |address| async move {
        let mut three = Raw::login(address, "MANY3").await;
        let mut five = Raw::login_five(address, "MANY5").await;
        for number in 0..10_000 {
            let filter = format!("remuda/v1/MANY{number}/down/{number}/#");
            three.say(&[subscribe(&filter)]).await;
            assert!(matches!(three.hear().await, Some(Packet::SubAck(_))));
            five.write(&five::subscribe(&[&filter])).await;
            assert_eq!(five.hear_five().await.and_then(|suback| suback.last().copied()), Some(0xa2));
        }
        // And as many as a packet takes.
        let many: Vec<String> = (0..5_000).map(|number| format!("remuda/v1/{number}/down")).collect();
        let many = five::subscribe(&many.iter().map(String::as_str).collect::<Vec<_>>());
        for _ in 0..20 {
            five.write(&many).await;
            assert!(five.hear_five().await.is_some_and(|suback| suback.len() > 5_000));
        }
    })
    .await;
    soon("the refusals to be counted", async {
        while seen.stack.metric("remuda_ingress_refusals_total", "foreign_filter") < 120_000 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_qos_2() {
    let seen = beside(unlimited(), |address| async move {
        let topic = samples_topic("FLOOD1");
        let three = bytes_of(&vec![publish(&topic, QoS::ExactlyOnce, vec![0; 10_000]); 20]);
        let five: Vec<u8> = (1..=20_u16)
            .flat_map(|id| {
                let body = [&five::text(&topic)[..], &id.to_be_bytes(), &[0], &[0; 10_000]].concat();
                five::packet(0x34, &body)
            })
            .collect();
        for _ in 0..500 {
            let mut flood = Raw::login(address, "FLOOD1").await;
            // The door closes at the first, so the rest may not go out any more.
            let _ = flood.stream.write_all(&three).await;
            drain(&mut flood).await;
            let mut flood = Raw::login_five(address, "FLOOD1").await;
            let _ = flood.stream.write_all(&five).await;
            drain(&mut flood).await;
        }
        // The later packets of QoS 2, without any message.
        for first in [0x50, 0x62, 0x70] {
            let mut flood = Raw::login_five(address, "FLOOD1").await;
            let _ = flood.stream.write_all(&five::packet(first, &[0, 1]).repeat(10_000)).await;
            drain(&mut flood).await;
        }
    })
    .await;
    assert_eq!(seen.stack.metric("remuda_ingress_closes_total", "unsupported"), 1_003);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_and_never_reads() {
    let settings = DoorSettings { write_within: Duration::from_millis(300), ..unlimited() };
    let seen = beside(settings, |address| async move {
        let asking = (0..20).map(|number| {
            tokio::spawn(async move {
                let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
                socket.set_recv_buffer_size(4_096).expect("set");
                let mut deaf = Raw::over(socket.connect(address).await.expect("connected"));
                deaf.write(&five::connect(&format!("DEAF{number}"), &[])).await;
                let questions = [0xc0, 0].repeat(8_192);
                // None of the answers is read: the door stops reading, then it ends it.
                soon("the door to end it", async {
                    while deaf.stream.write_all(&questions).await.is_ok() {}
                })
                .await;
            })
        });
        for asked in asking.collect::<Vec<_>>() {
            asked.await.expect("ended");
        }
    })
    .await;
    assert_eq!(seen.stack.metric("remuda_ingress_closes_total", "slow_reader"), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_connects_with_one_id_that_are_reset() {
    let seen = beside(unlimited(), |address| async move {
        for number in 0..1_000 {
            let mut flaky = Raw::open(address).await;
            flaky
                .write(&if number % 2 == 0 {
                    bytes_of(&[connect("FLAKY1")])
                } else {
                    five::connect("FLAKY1", &[])
                })
                .await;
            // RST instead of FIN.
            flaky.stream.set_zero_linger().expect("set");
        }
        Raw::login_five(address, "FLAKY1").await;
    })
    .await;
    assert!(seen.grown_kib < GROWN_KIB_MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_properties_and_bursts_without_end() {
    let seen = beside(unlimited(), |address| async move {
        let topic = samples_topic("GREEDY1");
        let mut greedy = Raw::login_five(address, "GREEDY1").await;
        // Its eight aliases, given anew again and again.
        for number in 0..20_000_u16 {
            let alias = [0x23, 0, (number % 8) as u8 + 1];
            greedy.write(&five::publish(&topic, None, &alias, b"x")).await;
        }
        // Packets that are nothing but properties, each read and dropped.
        let mut properties = five::text(&topic);
        let list = five::user_property("a", "b").repeat(15_000);
        properties.extend([
            (list.len() & 0x7f) as u8 | 0x80,
            (list.len() >> 7 & 0x7f) as u8 | 0x80,
            (list.len() >> 14) as u8,
        ]);
        properties.extend_from_slice(&list);
        let packet = five::packet(0x30, &properties);
        for _ in 0..100 {
            greedy.write(&packet).await;
        }
        greedy.write(&[0xc0, 0]).await;
        assert_eq!(greedy.hear_five().await, Some(vec![0xd0, 0]), "all of it was within the rules");
        // A burst beyond the receive maximum is not.
        let burst: Vec<u8> =
            (1..=500_u16).flat_map(|id| five::publish(&topic, Some(id), &[], b"x")).collect();
        for _ in 0..100 {
            let mut bursting = Raw::login_five(address, "GREEDY1").await;
            let _ = bursting.stream.write_all(&burst).await;
            let _ = bursting.stream.shutdown().await;
            drain(&mut bursting).await;
        }
    })
    .await;
    assert!(seen.stack.metric("remuda_ingress_closes_total", "receive_maximum") > 0);
}
