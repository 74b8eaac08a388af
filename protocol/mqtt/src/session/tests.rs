//! What the session says to whole, cut and broken streams.

use bytes::{Bytes, BytesMut};
use proptest::prelude::*;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, LastWill, Packet, Publish, Subscribe, Unsubscribe};

use super::{Duration, Session};
use crate::event::{CloseReason, Event, Limits, NotSent, Policy};

struct Own;

impl Policy for Own {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        if topic.starts_with("own/") { Ok(()) } else { Err("foreign_topic") }
    }
    fn subscribe(&self, filter: &str) -> bool {
        filter == "own/down"
    }
    fn client_id(&self) -> String {
        "vehicle".to_owned()
    }
}

const T0: Duration = Duration::from_secs(100);

fn bytes_of(packets: &[Packet]) -> BytesMut {
    let mut bytes = BytesMut::new();
    packets.iter().for_each(|p| drop(p.write(&mut bytes, usize::MAX)));
    bytes
}

fn connect() -> Packet {
    let mut connect = Connect::new("anything");
    connect.set_login("vehicle", "secret");
    connect.last_will = Some(LastWill::new("own/will", "gone", QoS::AtMostOnce, false));
    Packet::Connect(connect)
}

fn publish(topic: &str, qos: QoS) -> Packet {
    let mut publish = Publish::from_bytes(topic, qos, Bytes::from_static(b"payload"));
    publish.pkid = 7;
    Packet::Publish(publish)
}

/// Everything a session says about a stream of reads.
fn run(reads: &[&[u8]]) -> (Vec<Event>, Option<CloseReason>, Bytes) {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    let mut events = Vec::new();
    for read in reads {
        session.input().extend_from_slice(read);
        loop {
            match session.poll(T0) {
                Ok(Some(event)) => {
                    match &event {
                        Event::Login(_) => session.accept(Own, T0).expect("room"),
                        Event::Publish { packet_id: Some(id), .. } => session.acknowledge(*id),
                        Event::Publish { .. } => {}
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(reason) => return (events, Some(reason), session.take_output()),
            }
        }
    }
    (events, None, session.take_output())
}

/// A session that is logged in; the codec's CONNECT has a keep-alive of 10 s.
fn open() -> Session<Own> {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    session.input().extend_from_slice(&bytes_of(&[connect()]));
    assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
    session.accept(Own, T0).expect("room");
    session.take_output();
    session
}

#[test]
fn a_client_logs_in_publishes_and_leaves() {
    let bytes = bytes_of(&[
        connect(),
        Packet::Subscribe(Subscribe::new("own/down", QoS::AtLeastOnce)),
        Packet::Subscribe(Subscribe::new("own/#", QoS::AtMostOnce)),
        publish("own/a", QoS::AtMostOnce),
        publish("own/b", QoS::AtLeastOnce),
        Packet::PingReq,
        Packet::Unsubscribe(Unsubscribe::new("own/down")),
        Packet::Disconnect,
    ]);
    let (events, closed, output) = run(&[&bytes]);
    assert_eq!(events.len(), 3);
    assert_eq!(closed, Some(CloseReason::Goodbye));
    let expected: &[&[u8]] = &[
        &[0x20, 2, 0, 0],
        &[0x90, 3, 0, 0, 0],
        &[0x90, 3, 0, 0, 0x80],
        &[0x40, 2, 0, 7],
        &[0xd0, 0],
        &[0xb0, 2, 0, 0],
    ];
    assert_eq!(output, expected.concat());
}

#[test]
fn what_is_not_permitted_ends_the_session() {
    let mut retained = Publish::from_bytes("own/a", QoS::AtMostOnce, Bytes::new());
    retained.retain = true;
    for (packet, reason) in [
        (publish("other/a", QoS::AtMostOnce), CloseReason::Forbidden("foreign_topic")),
        (publish("own/a", QoS::ExactlyOnce), CloseReason::Unsupported),
        (Packet::Publish(retained), CloseReason::Unsupported),
        (connect(), CloseReason::Unsupported),
    ] {
        let (_, closed, _) = run(&[&bytes_of(&[connect(), packet])]);
        assert_eq!(closed, Some(reason));
    }
    let (_, closed, _) = run(&[&bytes_of(&[publish("own/a", QoS::AtMostOnce)])]);
    assert_eq!(closed, Some(CloseReason::Malformed), "CONNECT comes first");
}

#[test]
fn limits_hold() {
    let mut long = Connect::new("x".repeat(5_000));
    long.set_login("v", "s");
    let (events, closed, _) = run(&[&bytes_of(&[Packet::Connect(long)])]);
    assert_eq!((events.len(), closed), (0, Some(CloseReason::TooLarge)));
    let large = Publish::from_bytes("own/a", QoS::AtMostOnce, Bytes::from(vec![0; 200_000]));
    let (_, closed, _) = run(&[&bytes_of(&[connect(), Packet::Publish(large)])]);
    assert_eq!(closed, Some(CloseReason::TooLarge));
}

#[test]
fn another_version_is_told_so() {
    let six: (&[u8], &[u8]) =
        (b"\x10\x10\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03abc", &[0x20, 3, 0, 0x84, 0]);
    let three: (&[u8], &[u8]) = (b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03abc", &[0x20, 2, 0, 1]);
    for (bytes, answer) in [six, three] {
        let (events, closed, output) = run(&[bytes]);
        assert_eq!((events.len(), closed), (0, Some(CloseReason::Version)));
        assert_eq!(output, answer);
    }
}

#[test]
fn who_has_no_name_has_no_session() {
    let mut nameless = Connect::new("");
    assert_eq!(run(&[&bytes_of(&[Packet::Connect(nameless.clone())])]).0.len(), 1);
    nameless.clean_session = false;
    let (events, closed, output) = run(&[&bytes_of(&[Packet::Connect(nameless)])]);
    assert_eq!((events.len(), closed), (0, Some(CloseReason::ClientId)));
    // [MQTT-3.1.3-8]: identifier rejected.
    assert_eq!(output[..], [0x20, 2, 0, 2]);
}

#[test]
fn what_follows_a_short_connect_is_not_its_version() {
    let (_, closed, _) = run(&[&[0x10, 2, 0, 4, 0x4d, 0x51, 0x54, 0x54, 5]]);
    assert_eq!(closed, Some(CloseReason::Malformed));
}

#[test]
fn our_own_silence_is_not_the_clients() {
    let mut session = open();
    session.resume(T0 + Duration::from_secs(60));
    assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(75));
    session.resume(T0);
    assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(75), "a deadline never moves back");
}

#[test]
fn no_keep_alive_is_bounded_all_the_same() {
    for (keep_alive, silence_max) in [(0, 1_200), (60, 90), (u16::MAX, 1_200)] {
        let mut connect = Connect::new("c");
        connect.keep_alive = keep_alive;
        let mut session = Session::<Own>::new(Limits::default(), T0);
        session.input().extend_from_slice(&bytes_of(&[Packet::Connect(connect)]));
        assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
        session.accept(Own, T0).expect("room");
        assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(silence_max));
    }
}

#[test]
fn only_who_subscribed_is_sent_to() {
    let mut session = open();
    let mut hear = |packet: Packet| {
        session.input().extend_from_slice(&bytes_of(&[packet]));
        assert_eq!(session.poll(T0), Ok(None));
        session.take_output();
        (session.send("own/down", Bytes::from_static(b"hi")), session.take_output())
    };
    let refused = Packet::Subscribe(Subscribe::new("other/down", QoS::AtMostOnce));
    assert_eq!(hear(refused), (Err(NotSent::NotSubscribed), Bytes::new()));
    let (sent, output) = hear(Packet::Subscribe(Subscribe::new("own/down", QoS::AtMostOnce)));
    assert_eq!((sent, &output[..]), (Ok(()), &b"\x30\x0c\x00\x08own/downhi"[..]));
    assert_eq!(
        hear(Packet::Unsubscribe(Unsubscribe::new("own/down"))),
        (Err(NotSent::NotSubscribed), Bytes::new())
    );
}

#[test]
fn silence_ends_it() {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(5));
    assert_eq!(session.handle_timeout(T0 + Duration::from_secs(4)), Ok(()));
    session.input().extend_from_slice(&bytes_of(&[connect()]));
    assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
    session.accept(Own, T0).expect("room");
    // The default keep-alive of the codec's CONNECT is 10 s.
    assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(15));
    let late = T0 + Duration::from_secs(15);
    assert_eq!(session.handle_timeout(late), Err(CloseReason::KeepAlive));
    assert_eq!(session.take_will(), Some(("own/will".into(), Bytes::from_static(b"gone"))));
}

#[test]
fn a_will_elsewhere_is_void() {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    let mut connect = Connect::new("c");
    connect.last_will = Some(LastWill::new("other/will", "gone", QoS::AtMostOnce, false));
    session.input().extend_from_slice(&bytes_of(&[Packet::Connect(connect)]));
    assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
    session.accept(Own, T0).expect("room");
    assert_eq!(session.take_will(), None);
}

fn stream() -> BytesMut {
    bytes_of(&[
        connect(),
        Packet::Subscribe(Subscribe::new("own/down", QoS::AtMostOnce)),
        publish("own/a", QoS::AtLeastOnce),
        publish("own/b", QoS::AtMostOnce),
        Packet::PingReq,
        publish("own/c", QoS::AtMostOnce),
        Packet::Disconnect,
    ])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn however_it_is_cut_a_stream_means_the_same(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
        let bytes = stream();
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let reads: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        prop_assert_eq!(run(&reads), run(&[&bytes]));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_mutated_stream_panics_or_is_kept(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = stream();
        for (at, with) in changes {
            let at = at.index(bytes.len());
            bytes[at] = with;
        }
        let (front, back) = bytes.split_at(cut.index(bytes.len()));
        let cut = run(&[front, back]);
        prop_assert!(cut.2.len() < 1024, "what is answered is bounded by what was asked");
        prop_assert_eq!(cut, run(&[&bytes]), "a cut changes nothing");
    }
}
