//! MQTT 5, byte for byte, by the standard's normative statements. What is not here cannot be said to an endpoint
//! without retained messages, QoS 2, sessions and routing.

use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;

use super::{RECEIVE_MAX, Session};
use crate::event::{CloseReason, Event, Limits, NotSent, Parting, Policy, Refusal};

struct Own;

impl Policy for Own {
    fn publish(&self, topic: &str) -> Result<(), &'static str> {
        if topic.starts_with("own/") { Ok(()) } else { Err("foreign_topic") }
    }
    fn subscribe(&self, filter: &str) -> bool {
        filter == "own/down"
    }
    fn client_id(&self) -> String {
        "given".to_owned()
    }
}

const T0: Duration = Duration::from_secs(100);

/// A packet: first byte, body.
fn packet(first: u8, body: &[u8]) -> Vec<u8> {
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

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u16).to_be_bytes(), text.as_bytes()].concat()
}

/// CONNECT with clean start and a user name, and these properties; keep-alive 60 s.
fn connect_with(properties: &[u8]) -> Vec<u8> {
    connect_raw(0b1000_0010, 60, properties, &[text("anything"), text("vehicle")].concat())
}

fn connect_raw(flags: u8, keep_alive: u16, properties: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut body = b"\0\x04MQTT\x05".to_vec();
    body.push(flags);
    body.extend_from_slice(&keep_alive.to_be_bytes());
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    body.extend_from_slice(payload);
    packet(0x10, &body)
}

fn connect() -> Vec<u8> {
    connect_with(&[])
}

fn publish(first: u8, topic: &str, packet_id: Option<u16>, properties: &[u8]) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(packet_id.into_iter().flat_map(u16::to_be_bytes));
    body.push(properties.len() as u8);
    body.extend_from_slice(properties);
    body.extend_from_slice(b"payload");
    packet(first, &body)
}

fn subscribe(properties: &[u8], filters: &[(&str, u8)]) -> Vec<u8> {
    let mut body = vec![0, 9, properties.len() as u8];
    body.extend_from_slice(properties);
    for (filter, options) in filters {
        body.extend(text(filter));
        body.push(*options);
    }
    packet(0x82, &body)
}

fn user_property(name: &str, value: &str) -> Vec<u8> {
    [vec![0x26], text(name), text(value)].concat()
}

/// Everything a session says about a stream of reads.
fn run(reads: &[&[u8]]) -> (Vec<Event>, Option<CloseReason>, Vec<u8>) {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    let mut events = Vec::new();
    for read in reads {
        session.input().extend_from_slice(read);
        loop {
            match session.poll(T0) {
                Ok(Some(event)) => {
                    match &event {
                        Event::Login(_) => {
                            if let Err(reason) = session.accept(Own, T0) {
                                return (events, Some(reason), session.take_output().to_vec());
                            }
                        }
                        Event::Publish { packet_id: Some(id), .. } => session.acknowledge(*id),
                        Event::Publish { .. } => {}
                    }
                    events.push(event);
                }
                Ok(None) => break,
                Err(reason) => return (events, Some(reason), session.take_output().to_vec()),
            }
        }
    }
    (events, None, session.take_output().to_vec())
}

/// A session that is logged in, and what it was told.
fn open(connect: &[u8]) -> (Session<Own>, Vec<u8>) {
    let mut session = Session::<Own>::new(Limits::default(), T0);
    session.input().extend_from_slice(connect);
    assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
    session.accept(Own, T0).expect("room for the answer");
    let told = session.take_output().to_vec();
    (session, told)
}

/// What an open session answers.
fn ask(session: &mut Session<Own>, bytes: &[u8]) -> (Result<Option<Event>, CloseReason>, Vec<u8>) {
    session.input().extend_from_slice(bytes);
    let event = session.poll(T0);
    (event, session.take_output().to_vec())
}

/// A DISCONNECT of ours: its reason, and the words in it.
fn disconnect(code: u8, words: &str) -> Vec<u8> {
    let properties = [vec![0x1f], text(words)].concat();
    packet(0xe0, &[vec![code, properties.len() as u8], properties].concat())
}

/// A CONNACK of ours that turns away.
fn turned_away(code: u8, words: &str) -> Vec<u8> {
    let properties = [vec![0x1f], text(words)].concat();
    packet(0x20, &[vec![0, code, properties.len() as u8], properties].concat())
}

const GRANTED: &[u8] = &[
    0x21, 0, 64, // receive maximum
    0x24, 1, // maximum QoS
    0x25, 0, // no retained messages
    0x27, 0, 2, 2, 0, // maximum packet size
    0x22, 0, 8, // topic alias maximum
    0x28, 0, 0x29, 0, 0x2a, 0, // no wildcards, subscription identifiers, shared subscriptions
];

/// The CONNACK that lets in, with these properties besides.
fn let_in(before: &[u8], after: &[u8]) -> Vec<(u8, Vec<u8>)> {
    properties(&[before, GRANTED, after].concat())
}

/// Properties in any order: the standard gives them none.
fn properties(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut found = Vec::new();
    while let [id, rest @ ..] = bytes {
        let length = match id {
            0x24 | 0x25 | 0x28..=0x2a => 1,
            0x13 | 0x21 | 0x22 => 2,
            0x11 | 0x27 => 4,
            0x12 | 0x1f => 2 + usize::from(rest[1]),
            other => panic!("a property nobody expects: {other:#x}"),
        };
        found.push((*id, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    found.sort();
    found
}

/// The properties of a CONNACK that lets in.
fn told(connack: &[u8]) -> Vec<(u8, Vec<u8>)> {
    assert_eq!(
        (connack[0], connack[2], connack[3]),
        (0x20, 0, 0),
        "a CONNACK without a session: {connack:x?}"
    );
    assert_eq!(usize::from(connack[4]), connack.len() - 5);
    properties(&connack[5..])
}

#[test]
fn a_client_logs_in_publishes_and_leaves() {
    let stream = [
        connect(),
        subscribe(&[], &[("own/down", 1)]),
        publish(0x30, "own/a", None, &[]),
        publish(0x32, "own/b", Some(7), &[]),
        vec![0xc0, 0],
        packet(0xa2, &[&[0, 10, 0][..], &text("own/down"), &text("own/down"), &text("x")].concat()),
        vec![0xe0, 0],
    ];
    let (events, closed, output) = run(&[&stream.concat()]);
    assert_eq!((events.len(), closed), (3, Some(CloseReason::Goodbye)));
    let connack = usize::from(output[1]) + 2;
    // [MQTT-3.2.2-1 to -3, -9, -11, -14]: no session, and what we do not have is said.
    assert_eq!(told(&output[..connack]), let_in(&[], &[]));
    let answers: &[&[u8]] = &[
        // [MQTT-3.8.4-1, -2, -6], [MQTT-3.9.3-1]
        &[0x90, 4, 0, 9, 0, 0],
        // [MQTT-4.3.2-4]
        &[0x40, 2, 0, 7],
        // [MQTT-3.12.4-1]
        &[0xd0, 0],
        // [MQTT-3.10.4-4, -5], [MQTT-3.11.3-1, -2]
        &[0xb0, 6, 0, 10, 0, 0, 0x11, 0x11],
    ];
    assert_eq!(output[connack..], answers.concat());
}

#[test]
fn what_a_connect_asks_for_is_answered() {
    // [MQTT-3.1.2-11 and 3.2.2.3.2]: a session that we do not keep; clean start or not, there is none [MQTT-3.2.2-2].
    let keeping = connect_raw(0b1000_0000, 60, &[0x11, 0, 0, 1, 0], &[text("c"), text("v")].concat());
    assert_eq!(told(&open(&keeping).1), let_in(&[0x11, 0, 0, 0, 0], &[]));
    // [MQTT-3.1.3-6, -7], [MQTT-3.2.2-16]: an id for who has none.
    let nameless = connect_raw(0b1000_0010, 60, &[], &[text(""), text("v")].concat());
    assert_eq!(told(&open(&nameless).1), let_in(&[], &[&[0x12][..], &text("given")].concat()));
    // [MQTT-3.2.2-21]: a keep-alive of ours where theirs is none or too long.
    for (asked, given) in
        [(0, Some(800_u16)), (u16::MAX, Some(800)), (801, Some(800)), (800, None), (1, None)]
    {
        let (session, connack) = open(&connect_raw(0b10, asked, &[], &text("c")));
        let after = given.map_or_else(Vec::new, |s| [&[0x13][..], &s.to_be_bytes()].concat());
        assert_eq!(told(&connack), let_in(&[], &after), "keep-alive {asked}");
        // [MQTT-3.1.2-22]
        let silence_ms = u64::from(given.unwrap_or(asked)) * 1_500;
        assert_eq!(session.poll_timeout(), T0 + Duration::from_millis(silence_ms));
    }
}

#[test]
fn a_login_that_is_refused_hears_why() {
    for (refusal, code) in [
        (Refusal::NotAuthorized, 0x87),
        (Refusal::Unavailable, 0x88),
        (Refusal::Banned, 0x8a),
        (Refusal::RateExceeded, 0x9f),
    ] {
        let mut session = Session::<Own>::new(Limits::default(), T0);
        session.input().extend_from_slice(&connect());
        assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
        assert_eq!(session.refuse(refusal), CloseReason::Refused);
        // [MQTT-3.2.2-6]: no session present with a reason.
        assert_eq!(session.take_output()[..], [0x20, 3, 0, code, 0]);
    }
}

/// What is wrong with a CONNECT, the statement that says so, and the CONNACK it gets [MQTT-4.13.2-1].
#[test]
fn a_broken_connect_is_turned_away_with_its_reason() {
    use CloseReason::{Malformed, Protocol, TooLarge, Unsupported};
    let login = [text("c"), text("v")].concat();
    let will =
        |payload_before: &[u8]| [text("c"), payload_before.to_vec(), text("own/w"), text("x")].concat();
    let cases: Vec<(&str, Vec<u8>, CloseReason, u8)> = vec![
        ("MQTT-3.1.2-3 reserved flag", connect_raw(0b1000_0011, 60, &[], &login), Malformed, 0x81),
        ("MQTT-3.1.2-11 will QoS without a will", connect_raw(0b1000_1010, 60, &[], &login), Malformed, 0x81),
        ("MQTT-3.1.2-12 will QoS 3", connect_raw(0b0001_1110, 60, &[], &will(&[0])), Malformed, 0x81),
        ("MQTT-3.1.2-13 retained without a will", connect_raw(0b1010_0010, 60, &[], &login), Malformed, 0x81),
        ("MQTT-3.1.3-1 a field is missing", connect_raw(0b1000_0010, 60, &[], &text("c")), Malformed, 0x81),
        ("MQTT-1.5.4-1 not UTF-8", connect_raw(0b10, 60, &[], &[0, 2, 0xc3, 0x28]), Malformed, 0x81),
        ("MQTT-1.5.4-2 NUL in the client id", connect_raw(0b10, 60, &[], &text("a\0")), Malformed, 0x81),
        (
            "MQTT-1.5.4-2 NUL in the user name",
            connect_raw(0b1000_0010, 60, &[], &[text("c"), text("v\0")].concat()),
            Malformed,
            0x81,
        ),
        (
            "something after the end",
            connect_raw(0b10, 60, &[], &[text("c"), text("v")].concat()),
            Malformed,
            0x81,
        ),
        ("2.2.2.2 not CONNECT's property", connect_with(&[0x23, 0, 1]), Malformed, 0x81),
        ("2.2.2.2 nobody's property", connect_with(&[0x7f, 0]), Malformed, 0x81),
        ("3.1.2.11.3 twice", connect_with(&[0x21, 0, 5, 0x21, 0, 5]), Protocol, 0x82),
        ("3.1.2.11.3 receive maximum 0", connect_with(&[0x21, 0, 0]), Protocol, 0x82),
        ("3.1.2.11.4 maximum packet size 0", connect_with(&[0x27, 0, 0, 0, 0]), Protocol, 0x82),
        ("3.1.2.11.7 neither 0 nor 1", connect_with(&[0x17, 2]), Protocol, 0x82),
        ("3.1.2.11.10 data without method", connect_with(&[0x16, 0, 1, 9]), Protocol, 0x82),
        ("MQTT-4.12.0-1 a method we lack", connect_with(&[0x15, 0, 1, b'X']), Unsupported, 0x8c),
        ("MQTT-3.2.2-12 will of QoS 2", connect_raw(0b0001_0110, 60, &[], &will(&[0])), Unsupported, 0x9b),
        ("MQTT-3.2.2-13 will retained", connect_raw(0b0010_0110, 60, &[], &will(&[0])), Unsupported, 0x9a),
        ("3.2.2.2 too long", connect_raw(0b10, 60, &[], &text(&"x".repeat(5_000))), TooLarge, 0x95),
    ];
    for (what, bytes, reason, code) in cases {
        let (events, closed, output) = run(&[&bytes]);
        assert_eq!((events.len(), closed), (0, Some(reason)), "{what}");
        assert_eq!(output, turned_away(code, reason.code()), "{what}");
        let (front, back) = bytes.split_at(11);
        assert_eq!(run(&[front, back]), (events, closed, output), "{what}, cut");
    }
    // [MQTT-3.1.0-1], [MQTT-3.1.2-1, -2]: what is not MQTT 5 is not answered in its words.
    let flagged = [&[0x11], &connect()[1..]].concat();
    for bytes in [publish(0x30, "own/a", None, &[]), vec![0xe0, 0], vec![0xf0, 2, 0, 0], flagged] {
        assert_eq!(run(&[&bytes]), (vec![], Some(Malformed), vec![]));
    }
    let other_name = b"\x10\x0d\0\x04MQTX\x05\x02\0\x3c\0\0\0";
    assert_eq!(run(&[other_name]).1, Some(CloseReason::Version));
}

/// What an open session must not be told, the statement that says so, and the DISCONNECT it answers [MQTT-4.13.1-1].
#[test]
fn what_the_standard_forbids_ends_the_session_with_its_reason() {
    use CloseReason::{Forbidden, Malformed, Protocol, TooLarge, TopicAlias, Unsupported};
    let large = packet(0x30, &[text("own/a"), vec![0; 132_000]].concat());
    let cases: Vec<(&str, Vec<u8>, CloseReason, u8)> = vec![
        ("MQTT-3.1.0-2 a second CONNECT", connect(), Unsupported, 0x82),
        ("MQTT-3.3.1-2 DUP with QoS 0", publish(0x38, "own/a", None, &[]), Protocol, 0x82),
        ("MQTT-3.3.1-4 QoS 3", publish(0x36, "own/a", Some(1), &[]), Malformed, 0x81),
        ("MQTT-3.2.2-11 QoS 2", publish(0x34, "own/a", Some(1), &[]), Unsupported, 0x9b),
        ("MQTT-3.2.2-14 retained", publish(0x31, "own/a", None, &[]), Unsupported, 0x9a),
        ("MQTT-3.3.2-1 not UTF-8", packet(0x30, &[0, 2, 0xc3, 0x28, 0]), Malformed, 0x81),
        ("MQTT-3.3.2-2 a wildcard", publish(0x30, "own/+", None, &[]), Malformed, 0x81),
        ("MQTT-2.2.1-3 packet id 0", publish(0x32, "own/a", Some(0), &[]), Protocol, 0x82),
        ("MQTT-3.3.2-8 alias 0", publish(0x30, "own/a", None, &[0x23, 0, 0]), TopicAlias, 0x94),
        ("MQTT-3.3.2-9 alias 9", publish(0x30, "own/a", None, &[0x23, 0, 9]), TopicAlias, 0x94),
        ("3.3.2.3.4 alias of nothing", publish(0x30, "", None, &[0x23, 0, 1]), Protocol, 0x82),
        ("3.3.2.1 no topic at all", publish(0x30, "", None, &[]), Protocol, 0x82),
        (
            "MQTT-3.3.2-14 a wildcard to answer to",
            publish(0x30, "own/a", None, &[8, 0, 1, b'#']),
            Protocol,
            0x82,
        ),
        ("MQTT-3.3.4-6 a subscription id", publish(0x30, "own/a", None, &[0x0b, 1]), Protocol, 0x82),
        (
            "MQTT-1.5.4-2 NUL in a property",
            publish(0x30, "own/a", None, &user_property("a\0", "b")),
            Malformed,
            0x81,
        ),
        ("2.2.2.1 a length that is not so", publish(0x30, "own/a", None, &[0x02, 0]), Malformed, 0x81),
        ("another's topic", publish(0x32, "other/a", Some(1), &[]), Forbidden("foreign_topic"), 0x87),
        (
            "MQTT-3.8.1-1 flags of SUBSCRIBE",
            packet(0x80, &subscribe(&[], &[("own/down", 0)])[2..]),
            Malformed,
            0x81,
        ),
        ("MQTT-3.8.3-2 no filter", subscribe(&[], &[]), Protocol, 0x82),
        ("MQTT-3.8.3-4 shared and no local", subscribe(&[], &[("$share/g/own/down", 4)]), Protocol, 0x82),
        ("MQTT-3.8.3-5 reserved options", subscribe(&[], &[("own/down", 0x40)]), Malformed, 0x81),
        ("3.8.3.1 QoS 3", subscribe(&[], &[("own/down", 3)]), Protocol, 0x82),
        ("MQTT-4.7.1-1 not a filter", subscribe(&[], &[("own/#/x", 0)]), Malformed, 0x81),
        ("MQTT-4.7.3-1 an empty filter", subscribe(&[], &[("", 0)]), Malformed, 0x81),
        ("3.2.2.3.12 a subscription id", subscribe(&[0x0b, 1], &[("own/down", 0)]), Unsupported, 0xa1),
        ("MQTT-3.10.3-2 nothing to unsubscribe", packet(0xa2, &[0, 1, 0]), Protocol, 0x82),
        (
            "MQTT-3.10.1-1 flags of UNSUBSCRIBE",
            packet(0xa0, &[&[0, 1, 0][..], &text("x")].concat()),
            Malformed,
            0x81,
        ),
        ("PUBREL", packet(0x62, &[0, 1]), Unsupported, 0x82),
        ("PUBREC", packet(0x50, &[0, 1]), Unsupported, 0x82),
        ("CONNACK", packet(0x20, &[0, 0, 0]), Unsupported, 0x82),
        ("MQTT-4.12.0-7 AUTH", packet(0xf0, &[0x18, 0]), Unsupported, 0x82),
        ("a packet of type 0", packet(0x00, &[]), Malformed, 0x81),
        ("MQTT-3.14.1-1 flags of DISCONNECT", vec![0xe1, 0], Malformed, 0x81),
        ("3.14.2.2.2 a session after all", packet(0xe0, &[0, 5, 0x11, 0, 0, 0, 9]), Protocol, 0x82),
        ("a ping with a body", packet(0xc0, &[1]), Malformed, 0x81),
        ("MQTT-3.2.2-15 too long", large[..20].to_vec(), TooLarge, 0x95),
        ("1.5.5 a length of five bytes", vec![0x30, 0x80, 0x80, 0x80, 0x80, 1], Malformed, 0x81),
    ];
    for (what, bytes, reason, code) in cases {
        let (mut session, _) = open(&connect());
        let (event, output) = ask(&mut session, &bytes);
        assert_eq!(event, Err(reason), "{what}");
        assert_eq!(output, disconnect(code, reason.code()), "{what}");
        // [MQTT-3.14.4-1]: nothing comes after it.
        assert_eq!(session.send("own/down", Bytes::new()), Err(NotSent::Closed));
        assert!(session.take_output().is_empty());
    }
}

#[test]
fn filters_are_answered_one_by_one() {
    let (mut session, _) = open(&connect());
    let filters = [
        ("own/down", 2),
        ("other/down", 0),
        ("own/#", 1),
        ("+/down", 0),
        ("$share/g/own/down", 0),
        ("own/down", 0),
    ];
    let (event, output) = ask(&mut session, &subscribe(&[], &filters));
    assert_eq!(event, Ok(None));
    // [MQTT-3.8.4-6, -7]: as many codes as filters, in their order; granted is QoS 0, whatever was asked for.
    assert_eq!(output[output.len() - 6..], [0, 0x87, 0xa2, 0xa2, 0x9e, 0]);
    assert!(output.windows(8).any(|w| w == b"own down"), "with words for people");
    assert_eq!((session.take_filters_refused(), session.take_filters_refused()), (4, 0));
    // [MQTT-3.1.2-29]: no words for who wants none.
    let (mut terse, _) = open(&connect_with(&[0x17, 0]));
    assert_eq!(ask(&mut terse, &subscribe(&[], &[("#", 0)])).1, [0x90, 4, 0, 9, 0, 0xa2]);
    // [MQTT-3.8.4-3]: subscribing again replaces.
    assert_eq!(ask(&mut session, &subscribe(&[], &[("own/down", 1)])).1, [0x90, 4, 0, 9, 0, 0]);
}

#[test]
fn an_alias_stands_for_its_newest_topic() {
    let (mut session, _) = open(&connect());
    let mut hear =
        |topic: &str, alias: u8| match ask(&mut session, &publish(0x30, topic, None, &[0x23, 0, alias])) {
            (Ok(Some(Event::Publish { topic, .. })), _) => topic,
            other => panic!("{other:?}"),
        };
    // [MQTT-3.3.2-7, -10, -12]
    assert_eq!(hear("own/a", 1), "own/a");
    assert_eq!(hear("own/b", 8), "own/b");
    assert_eq!(hear("", 1), "own/a");
    assert_eq!(hear("own/c", 1), "own/c");
    assert_eq!((hear("", 1), hear("", 8)), ("own/c".to_owned(), "own/b".to_owned()));
    let (mut session, _) = open(&connect());
    // An alias is no way around the policy.
    let (event, _) = ask(&mut session, &publish(0x30, "other/a", None, &[0x23, 0, 1]));
    assert_eq!(event, Err(CloseReason::Forbidden("foreign_topic")));
}

#[test]
fn the_receive_maximum_is_kept() {
    let burst =
        |count: u16| (1..=count).flat_map(|id| publish(0x32, "own/a", Some(id), &[])).collect::<Vec<_>>();
    let (events, closed, _) = run(&[&connect(), &burst(RECEIVE_MAX)]);
    assert_eq!((events.len(), closed), (1 + usize::from(RECEIVE_MAX), None));
    // [MQTT-3.3.4-7]
    let (_, closed, output) = run(&[&connect(), &burst(RECEIVE_MAX + 1)]);
    assert_eq!(closed, Some(CloseReason::ReceiveMaximum));
    assert!(output.ends_with(&disconnect(0x93, "receive_maximum")));
    // Who waits for acknowledgements may send for ever.
    let (mut session, _) = open(&connect());
    for _ in 0..3 {
        session.input().extend_from_slice(&burst(RECEIVE_MAX));
        while let Some(event) = session.poll(T0).expect("within the maximum") {
            let Event::Publish { packet_id: Some(id), .. } = event else { panic!("{event:?}") };
            session.acknowledge(id);
        }
        assert_eq!(session.take_output().len(), 4 * usize::from(RECEIVE_MAX));
    }
}

#[test]
fn nothing_is_longer_than_the_client_takes() {
    let (mut session, _) = open(&connect_with(&[0x27, 0, 0, 0, 100]));
    assert_eq!(ask(&mut session, &subscribe(&[], &[("own/down", 0)])).0, Ok(None));
    // Topic, its length, no properties, two bytes of header: 13 bytes besides the payload [MQTT-3.1.2-24, -25].
    assert_eq!(session.send("own/down", Bytes::from(vec![7; 88])), Err(NotSent::TooLarge));
    assert!(session.take_output().is_empty());
    assert_eq!(session.send("own/down", Bytes::from(vec![7; 87])), Ok(()));
    let said = session.take_output();
    assert_eq!((said.len(), &said[..13]), (100, &b"\x30\x62\0\x08own/down\0"[..]));
    // [MQTT-3.9.2-1], [MQTT-3.14.2-3]: words go before anything else does.
    let (mut short, _) = open(&connect_with(&[0x27, 0, 0, 0, 40]));
    assert_eq!(ask(&mut short, &subscribe(&[], &[("#", 0)])).1, [0x90, 4, 0, 9, 0, 0xa2]);
    let (_, output) = ask(&mut short, &[0xf0, 0]);
    assert!(output.len() <= 40 && output[2] == 0x82, "{output:x?}");
    // A client without room for a CONNACK cannot be let in.
    let (events, closed, output) = run(&[&connect_with(&[0x27, 0, 0, 0, 10])]);
    assert_eq!((events.len(), closed, output.len()), (0, Some(CloseReason::NoRoomForAnswer), 0));
}

#[test]
fn a_will_is_delivered_unless_the_end_is_normal() {
    // Will delay 1 h, for a session that ends with the connection [MQTT-3.1.2-8].
    let payload = [text("c"), vec![5, 0x18, 0, 0, 14, 16], text("own/will"), text("gone")].concat();
    let with_will = connect_raw(0b0000_0110, 60, &[], &payload);
    for (bytes, reason, delivered) in [
        (vec![0xe0, 0], CloseReason::Goodbye, false),
        // [MQTT-3.14.4-3]
        (packet(0xe0, &[0]), CloseReason::Goodbye, false),
        (packet(0xe0, &[4]), CloseReason::GoodbyeWithWill, true),
        (packet(0xe0, &[0x80, 0]), CloseReason::GoodbyeWithWill, true),
        (vec![0xe1, 0], CloseReason::Malformed, true),
    ] {
        let (mut session, _) = open(&with_will);
        assert_eq!(ask(&mut session, &bytes).0, Err(reason));
        let will = delivered.then(|| ("own/will".to_owned(), Bytes::from_static(b"gone")));
        assert_eq!(session.take_will(), will, "{reason:?}");
    }
}

#[test]
fn trace_context_is_passed_on_within_bounds() {
    let trace = |properties: &[u8]| {
        let (mut session, _) = open(&connect());
        match ask(&mut session, &publish(0x30, "own/a", None, properties)).0 {
            Ok(Some(Event::Publish { trace_parent, .. })) => trace_parent,
            other => panic!("{other:?}"),
        }
    };
    let both = [user_property("tracestate", "x"), user_property("traceparent", "00-ab-cd-01")].concat();
    assert_eq!(trace(&both).as_deref(), Some("00-ab-cd-01"));
    assert_eq!(trace(&user_property("traceparent", &"x".repeat(65))), None);
    assert_eq!(trace(&[]), None);
}

#[test]
fn whose_session_we_end_hears_why() {
    for (parting, code, words) in [
        (Parting::TakenOver, 0x8e, "taken_over"),
        (Parting::ShuttingDown, 0x8b, "shutting_down"),
        (Parting::Busy, 0x89, "busy"),
        (Parting::Administrative, 0x98, "administrative"),
    ] {
        let (mut session, _) = open(&connect());
        session.part(parting);
        assert_eq!(session.take_output()[..], disconnect(code, words));
    }
    // [MQTT-3.1.2-22]
    let (mut session, _) = open(&connect());
    assert_eq!(session.handle_timeout(T0 + Duration::from_secs(89)), Ok(()));
    assert_eq!(session.handle_timeout(T0 + Duration::from_secs(90)), Err(CloseReason::KeepAlive));
    assert_eq!(session.take_output()[..], disconnect(0x8d, "keep_alive"));
    // [MQTT-3.14.0-1]: no DISCONNECT before a CONNACK that lets in.
    let mut session = Session::<Own>::new(Limits::default(), T0);
    assert_eq!(session.handle_timeout(T0 + Duration::from_secs(5)), Err(CloseReason::ConnectTimeout));
    assert!(session.take_output().is_empty());
}

fn stream() -> Vec<u8> {
    let traced = [user_property("traceparent", "00-ab-cd-01"), vec![0x23, 0, 3]].concat();
    [
        connect_with(
            &[&[0x11, 0, 0, 0, 9, 0x27, 0, 1, 0, 0, 0x22, 0, 2][..], &user_property("a", "b")].concat(),
        ),
        subscribe(&user_property("c", "d"), &[("own/down", 1), ("$share/g/x", 0)]),
        publish(0x32, "own/a", Some(1), &traced),
        publish(0x30, "", None, &[0x23, 0, 3]),
        vec![0xc0, 0],
        packet(0x40, &[0, 1, 0x10, 0]),
        packet(0xa2, &[&[0, 10, 0][..], &text("own/down")].concat()),
        packet(0xe0, &[0, 0]),
    ]
    .concat()
}

fn mutate(bytes: &mut [u8], changes: &[(prop::sample::Index, u8)]) {
    for (at, with) in changes {
        bytes[at.index(bytes.len())] = *with;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_mutated_stream_panics_and_cuts_change_nothing(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let mut bytes = stream();
        mutate(&mut bytes, &changes);
        let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
        at.extend([0, bytes.len()]);
        at.sort_unstable();
        let reads: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
        let cut = run(&reads);
        prop_assert!(cut.2.len() < 2048, "what is answered is bounded by what was asked");
        prop_assert_eq!(cut, run(&[&bytes]));
    }

    #[test]
    fn no_bytes_at_all_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        greeted in any::<Option<bool>>(),
        cut in any::<prop::sample::Index>(),
    ) {
        // After a login of either version, or as the very first.
        let login = match greeted {
            None => Vec::new(),
            Some(false) => connect(),
            Some(true) => b"\x10\x0d\0\x04MQTT\x04\x02\0\x3c\0\x01c".to_vec(),
        };
        bytes.splice(0..0, login);
        let (front, back) = bytes.split_at(cut.index(bytes.len().max(1)).min(bytes.len()));
        prop_assert_eq!(run(&[front, back]), run(&[&bytes]));
    }
}

#[test]
fn byte_by_byte_is_the_same() {
    let bytes = stream();
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(run(&single), run(&[&bytes]));
    let (events, closed, _) = run(&[&bytes]);
    assert_eq!((events.len(), closed), (3, Some(CloseReason::Goodbye)));
}
