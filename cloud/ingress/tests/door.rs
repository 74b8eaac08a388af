//! What the door promises to vehicles and shards.

mod support;

use std::time::Duration;

use bytes::Bytes;
use remuda_contracts::uplink::{Arrival, DownlinkError};
use remuda_ingress::{Door, DoorError, DoorMetrics, DoorSettings, TrustLoopback};
use remuda_model::Lane;
use remuda_mqtt::codec::{Connect, LastWill, Packet};
use remuda_wire::{Channel, Down, Topic};
use rumqttc::mqttbytes::QoS;
use support::*;
use tokio::io::AsyncWriteExt;

#[tokio::test(flavor = "multi_thread")]
async fn the_newer_connection_wins_and_the_older_ends_under_its_own_number() {
    let mut stack = open(64).await;
    let mut older = Raw::login(stack.address, "VAN1").await;
    let (first, van, _) = stack.connected().await;
    let mut newer = Raw::login(stack.address, "VAN1").await;
    let mut seen = [stack.next().await, stack.next().await];
    // Which is said first does not matter, the numbers do.
    seen.sort_by_key(|arrival| matches!(arrival, Arrival::Disconnected { .. }));
    let [Arrival::Connected { generation: second, .. }, Arrival::Disconnected { generation: ended, vehicle }] =
        seen
    else {
        panic!("expected one beginning and one end, not {seen:?}")
    };
    assert_eq!((ended, vehicle), (first, van));
    assert!(second > first);
    assert!(older.hear().await.is_none(), "the older one is closed");
    newer.say(&[publish(&samples_topic("VAN1"), QoS::AtLeastOnce, *b"here")]).await;
    assert_eq!(stack.payload().await, (van, Channel::Lane(Lane::Samples), b"here".to_vec()));
    assert!(matches!(newer.hear().await, Some(Packet::PubAck(ack)) if ack.pkid == 7));
    assert!(stack.door.kick(&van, "test"), "the newer one is still known");
    assert_eq!(stack.disconnected().await, (second, van));
    assert!(newer.hear().await.is_none());
    assert!(!stack.door.kick(&van, "test"), "nobody is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_intake_stalls_its_sender_and_nothing_is_lost() {
    const MESSAGES: u64 = 4_000;
    let mut stack = open(4).await;
    let mut sender = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    let said = bytes_of(
        &(0..MESSAGES)
            .map(|number| {
                let mut payload = number.to_le_bytes().to_vec();
                payload.resize(8 * 1024, 0);
                publish(&samples_topic("VAN1"), QoS::AtMostOnce, payload)
            })
            .collect::<Vec<_>>(),
    );
    let writing = tokio::spawn(async move {
        sender.stream.write_all(&said).await.expect("written");
        sender
    });
    // 32 MB are more than any socket buffers: while nobody takes, the door must have stopped reading.
    let mut read = 0;
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = stack.metric("remuda_ingress_received_bytes_total", "");
        if now == read && read > 0 {
            break;
        }
        read = now;
    }
    assert!(read < 200_000, "the door read {read} bytes for which there was no room");
    assert!(!writing.is_finished(), "TCP pushes back");
    // Another vehicle's connection does not hang on it: it is admitted as soon as the intake has room again.
    for number in 0..MESSAGES {
        let (_, _, payload) = stack.payload().await;
        assert_eq!(payload[..8], number.to_le_bytes());
    }
    soon("the writer", writing).await.expect("ended");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_does_not_wait_for_a_full_intake() {
    let mut stack = open(1).await;
    let mut sender = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    let message = publish(&samples_topic("VAN1"), QoS::AtMostOnce, *b"x");
    sender.say(&vec![message; 10]).await;
    soon("a full intake", async {
        while stack.metric("remuda_ingress_messages_total", "samples") == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert!(stack.door.kick(&vehicle("VAN1"), "test"));
    assert!(sender.hear().await.is_none(), "closed while the intake is full");
    while !matches!(stack.next().await, Arrival::Disconnected { .. }) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_dropped_after_the_write_timeout() {
    let settings = DoorSettings { write_within: Duration::from_millis(300), ..DoorSettings::new(loopback()) };
    let mut stack = open_with(64, settings).await;
    let mut slow = Raw::login(stack.address, "VAN1").await;
    let (generation, van, downlink) = stack.connected().await;
    slow.say(&[subscribe("remuda/v1/VAN1/down")]).await;
    assert!(matches!(slow.hear().await, Some(Packet::SubAck(_))));
    // It never reads again; the door's queue and the sockets fill.
    let message = Bytes::from(vec![0; 60_000]);
    let mut full = 0;
    let gone = soon("the end of the slow reader", async {
        loop {
            match downlink.send(message.clone()) {
                Ok(()) => {}
                Err(DownlinkError::Full) => full += 1,
                Err(DownlinkError::Gone) => break,
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    });
    gone.await;
    assert!(full > 0, "the queue is bounded");
    assert_eq!(stack.metric("remuda_ingress_downlink_drops_total", "full"), full);
    assert_eq!(stack.disconnected().await, (generation, van));
    assert_eq!(stack.metric("remuda_ingress_closes_total", "slow_reader"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_will_speaks_for_who_is_torn_away_and_only_for_them() {
    let mut stack = open(64).await;
    let topic = Topic::up(vehicle("VAN1"), Channel::Session).to_string();
    let mut connect = Connect::new("c");
    connect.set_login("VAN1", "");
    connect.last_will = Some(LastWill::new(topic, "farewell", QoS::AtMostOnce, false));
    let connect = Packet::Connect(connect);
    let mut torn = Raw::open(stack.address).await;
    torn.say(std::slice::from_ref(&connect)).await;
    stack.connected().await;
    drop(torn);
    assert_eq!(stack.payload().await, (vehicle("VAN1"), Channel::Session, b"farewell".to_vec()));
    stack.disconnected().await;
    let mut polite = Raw::open(stack.address).await;
    polite.say(&[connect, Packet::Disconnect]).await;
    stack.connected().await;
    stack.disconnected().await;
    assert_eq!(stack.metric("remuda_ingress_closes_total", "goodbye"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_lets_the_last_words_out_and_ends_everybody_also_the_silent() {
    let mut stack = open(64).await;
    let mut client = Raw::login(stack.address, "VAN1").await;
    let (generation, van, downlink) = stack.connected().await;
    client.say(&[subscribe("remuda/v1/VAN1/down")]).await;
    assert!(matches!(client.hear().await, Some(Packet::SubAck(_))));
    let mut silent = Raw::open(stack.address).await;
    for text in ["one", "two", "three"] {
        assert_eq!(downlink.send(Bytes::from(text)), Ok(()));
    }
    let (address, began) = (stack.address, std::time::Instant::now());
    let Stack { door, mut arrivals, .. } = stack;
    soon("the stop", door.stop()).await;
    assert!(began.elapsed() < Duration::from_secs(4), "a silent socket does not hold up a stop");
    for text in ["one", "two", "three"] {
        let heard = client.hear().await;
        assert!(matches!(&heard, Some(Packet::Publish(p)) if p.payload == text), "{heard:?}");
    }
    // The last word: come back spread out.
    let Some(Packet::Publish(farewell)) = client.hear().await else { panic!("a farewell") };
    assert!(matches!(Down::decode(&farewell.payload), Ok(Down::HandOver(_))), "{farewell:?}");
    assert!(client.hear().await.is_none() && silent.hear().await.is_none());
    let end = arrivals.recv().await;
    assert!(
        matches!(end, Some(Arrival::Disconnected { generation: g, vehicle: v }) if (g, v) == (generation, van))
    );
    assert!(tokio::net::TcpStream::connect(address).await.is_err(), "nobody listens");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_denied_stay_out_and_the_paused_wait() {
    let mut stack = open(64).await;
    let mut client = Raw::login(stack.address, "VAN1").await;
    stack.connected().await;
    assert!(stack.door.deny(vehicle("VAN1")));
    assert!(client.hear().await.is_none(), "kicked at once");
    stack.disconnected().await;
    let mut again = Raw::open(stack.address).await;
    again.say(&[connect("VAN1")]).await;
    assert!(matches!(again.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 == 5));
    assert_eq!(stack.metric("remuda_ingress_refusals_total", "denied"), 1);
    stack.door.allow(&vehicle("VAN1"));
    stack.door.pause(true);
    let accepted = stack.metric("remuda_ingress_accepts_total", "");
    let mut waiting = Raw::open(stack.address).await;
    waiting.say(&[connect("VAN1")]).await;
    assert!(tokio::time::timeout(Duration::from_millis(300), waiting.stream.readable()).await.is_err());
    assert_eq!(stack.metric("remuda_ingress_accepts_total", ""), accepted);
    stack.door.pause(false);
    assert!(matches!(waiting.hear().await, Some(Packet::ConnAck(ack)) if ack.code as u8 == 0));
    stack.connected().await;
}

#[tokio::test]
async fn a_door_that_cannot_open_says_what_to_do() {
    let stack = open(1).await;
    let metrics = DoorMetrics::default;
    let intake = || std::sync::Arc::new(Recorder::into_nowhere());
    let bind = |address| {
        Door::bind(DoorSettings::new(address), std::sync::Arc::new(TrustLoopback), intake(), metrics())
    };
    let error = bind(stack.address).await.err().expect("in use");
    assert!(
        matches!(error, DoorError::InUse(_)) && error.to_string().contains("the port is in use"),
        "{error}"
    );
    let error = bind(([0, 0, 0, 0], 0).into()).await.err().expect("not loopback");
    assert!(error.to_string().contains("loopback only"), "{error}");
    assert!(!error.to_string().contains('\n'));
}
