//! What one vehicle may do to the door, and how it is seen when it does more.

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use remuda_contracts::uplink::DoorRefusal;
use remuda_ingress::{DoorSettings, VehicleLimits};
use remuda_mqtt::codec::Packet;
use rumqttc::mqttbytes::QoS;
use support::*;
use tokio::io::AsyncReadExt;

fn limited(vehicle: VehicleLimits) -> DoorSettings {
    DoorSettings { vehicle, ..DoorSettings::new(loopback()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_many_messages_waits_and_loses_none() {
    let limits = VehicleLimits { messages_per_second: 100, ..VehicleLimits::NONE };
    let mut stack = open_with(4_096, limited(limits)).await;
    let mut fast = Raw::login(stack.address, "FAST1").await;
    fast.say(&[subscribe("remuda/v1/FAST1/down")]).await;
    assert!(matches!(fast.hear().await, Some(Packet::SubAck(_))));
    let (_, _, downlink) = stack.connected().await;
    let mut healthy = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    let began = Instant::now();
    // A second's worth is free; 250 more take 2.5 s.
    fast.say(&vec![publish(&samples_topic("FAST1"), QoS::AtMostOnce, *b"x"); 350]).await;
    // Paused is not deaf: what comes down goes out, and others do not notice.
    soon("a pause", async {
        while stack.metric("remuda_ingress_refusals_total", "message_rate") == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(downlink.send(Bytes::from_static(b"hello")), Ok(()));
    assert!(matches!(fast.hear().await, Some(Packet::Publish(p)) if p.payload == "hello"));
    healthy.say(&[Packet::PingReq]).await;
    assert!(matches!(healthy.hear().await, Some(Packet::PingResp)));
    assert!(began.elapsed() < Duration::from_millis(2_500), "that was during the pause");
    for _ in 0..350 {
        assert_eq!(stack.payload().await.0, vehicle("FAST1"));
    }
    // What a read brought is taken at once, so the last of them may be early by one read of 16 KiB.
    assert!(began.elapsed() > Duration::from_millis(300), "took {:?}", began.elapsed());
    let pauses = stack.metric("remuda_ingress_refusals_total", "message_rate");
    assert!(pauses > 0);
    stack.refused("FAST1", DoorRefusal::MessageRate, pauses).await;
    fast.say(&[Packet::PingReq]).await;
    assert!(matches!(fast.hear().await, Some(Packet::PingResp)), "it is still connected");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_too_many_bytes_waits_and_loses_none() {
    let limits = VehicleLimits { bytes_per_second: 100_000, ..VehicleLimits::NONE };
    let mut stack = open_with(64, limited(limits)).await;
    let mut fast = Raw::login(stack.address, "FAST1").await;
    stack.connected().await;
    let began = Instant::now();
    let said = vec![publish(&samples_topic("FAST1"), QoS::AtMostOnce, vec![7; 10_000]); 25];
    let writing = tokio::spawn(async move { fast.say(&said).await });
    for _ in 0..25 {
        assert_eq!(stack.payload().await.2.len(), 10_000);
    }
    // 250 kB, of which 100 kB are free and one read may be early.
    assert!(began.elapsed() > Duration::from_millis(1_200), "took {:?}", began.elapsed());
    writing.await.expect("all was taken");
    let pauses = stack.metric("remuda_ingress_refusals_total", "byte_rate");
    while stack.refused.is_empty() {
        assert!(stack.next_any().await.is_none(), "only refusals are to come");
    }
    assert!(pauses > 0 && stack.refused.iter().all(|(_, reason, _)| *reason == DoorRefusal::ByteRate));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_too_often_is_turned_away_with_a_reason() {
    let limits = VehicleLimits { logins_per_minute: 3, ..VehicleLimits::NONE };
    let mut stack = open_with(64, limited(limits)).await;
    let mut last = None;
    for _ in 0..3 {
        last = Some(Raw::login(stack.address, "VAN1").await);
    }
    for _ in 0..5 {
        let mut again = Raw::open(stack.address).await;
        again.say(&[connect("VAN1")]).await;
        // MQTT 3.1.1 has no better word than "server unavailable".
        assert!(matches!(again.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 == 3));
        let mut again = Raw::open(stack.address).await;
        again.write(&five::connect("VAN1", &[])).await;
        assert_eq!(again.hear_five().await, Some(vec![0x20, 3, 0, 0x9f, 0]), "connection rate exceeded");
        assert!(again.hear_five().await.is_none());
    }
    // Others come in, and its last connection lives.
    Raw::login(stack.address, "VAN2").await;
    let mut last = last.expect("three of them");
    last.say(&[Packet::PingReq]).await;
    assert!(matches!(last.hear().await, Some(Packet::PingResp)));
    assert_eq!(stack.metric("remuda_ingress_refusals_total", "connect_rate"), 10);
    while stack.refused.is_empty() {
        stack.next_any().await;
    }
    assert_eq!(stack.refused, [(vehicle("VAN1"), DoorRefusal::ConnectRate, 10)], "told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_only_fails_is_not_listened_to_any_more() {
    let limits = VehicleLimits { failures_per_minute: 5, ..VehicleLimits::NONE };
    let mut stack = open_with(64, limited(limits)).await;
    let mut healthy = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    for _ in 0..5 {
        let mut failing = Raw::open(stack.address).await;
        failing.say(&[Packet::PingReq]).await;
        assert!(failing.hear().await.is_none());
    }
    soon("the failures to be counted", async {
        while stack.metric("remuda_ingress_refusals_total", "malformed") < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut shut_out = Raw::open(stack.address).await;
    let mut nothing = [0; 1];
    let read = soon("the end", shut_out.stream.read(&mut nothing)).await;
    assert!(matches!(read, Ok(0) | Err(_)), "closed before a word was read");
    assert_eq!(stack.metric("remuda_ingress_refusals_total", "failure_rate"), 1);
    // Other addresses are not held responsible, nor is who is in already.
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0))).expect("a neighbour's address");
    let mut neighbour = Raw::over(socket.connect(stack.address).await.expect("connected"));
    neighbour.say(&[connect("VAN2")]).await;
    assert!(matches!(neighbour.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 == 0));
    healthy.say(&[Packet::PingReq]).await;
    assert!(matches!(healthy.hear().await, Some(Packet::PingResp)));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_of_a_known_vehicle_is_told_to_its_shard() {
    let mut stack = open_with(64, limited(VehicleLimits::NONE)).await;
    let wrong = (remuda_model::ShardId::of(&vehicle("VAN1")).number() + 1) % 1024;
    let large = five::packet(0x30, &vec![0; 200_000])[..64].to_vec();
    let cases = [
        (five::publish(&samples_topic("VAN2"), None, &[], b"x"), DoorRefusal::ForeignTopic, 0x87),
        (
            five::publish(&format!("remuda/v1/VAN1/up/{wrong}/live"), None, &[], b"x"),
            DoorRefusal::WrongShard,
            0x87,
        ),
        (five::publish("elsewhere", None, &[], b"x"), DoorRefusal::BadTopic, 0x87),
        (large, DoorRefusal::TooLarge, 0x95),
        (five::packet(0x34, b"\0\x01x\0\x07\0"), DoorRefusal::Protocol, 0x9b),
    ];
    for (bytes, reason, code) in cases {
        let mut client = Raw::login_five(stack.address, "VAN1").await;
        stack.connected().await;
        client.write(&bytes).await;
        let disconnect = client.hear_five().await.expect("a reason");
        assert_eq!((disconnect[0], disconnect[2]), (0xe0, code), "{reason:?}: {disconnect:x?}");
        assert!(client.hear_five().await.is_none(), "closed");
        stack.disconnected().await;
        stack.refused("VAN1", reason, 1).await;
    }
    let mut client = Raw::login_five(stack.address, "VAN1").await;
    stack.connected().await;
    client.write(&five::subscribe(&["#", "remuda/v1/VAN2/down", "remuda/v1/VAN1/down"])).await;
    let suback = client.hear_five().await.expect("an answer");
    assert_eq!(suback[suback.len() - 3..], [0xa2, 0x87, 0]);
    stack.refused("VAN1", DoorRefusal::ForeignFilter, 2).await;
    assert!(stack.door.deny(vehicle("VAN1")));
    let disconnect = client.hear_five().await.expect("a reason");
    assert_eq!((disconnect[0], disconnect[2]), (0xe0, 0x98), "administrative action");
    stack.disconnected().await;
    let mut again = Raw::open(stack.address).await;
    again.write(&five::connect("VAN1", &[])).await;
    assert_eq!(again.hear_five().await, Some(vec![0x20, 3, 0, 0x8a, 0]), "banned");
    stack.refused("VAN1", DoorRefusal::Denied, 2).await;
}
