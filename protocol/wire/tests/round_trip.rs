//! What is encoded decodes to itself, and no bytes make a decoder panic.

mod strategies;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use remuda_wire::message::frames_overhead;
use remuda_wire::{Body, DecodeError, Down, Frame, FrameError, Hello, Live, Up, Welcome, frame, limits};
use strategies::{body, down, header, mutate, mutation, seal, up};

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn frames_come_back(header in header(), body in body()) {
        let bytes = frame::encode(&header, &body);
        prop_assert!(frame::is_sound(&bytes));
        if let Body::Samples(block) = &body {
            prop_assert!(block.is_valid());
        }
        prop_assert_eq!(frame::decode(&bytes), Ok(Frame { header, body }));
    }

    #[test]
    fn messages_of_the_vehicle_come_back(message in up()) {
        let payload = Bytes::from(message.encode());
        let decoded = Up::decode(&payload);
        prop_assert_eq!(decoded.as_ref(), Ok(&message));
        prop_assert!(matches!(Down::decode(&payload), Err(DecodeError::Kind(_))));
        if let (Up::Frames(sent), Ok(Up::Frames(got))) = (&message, &decoded) {
            let own: usize = sent.frames.iter().map(Bytes::len).sum();
            prop_assert!(payload.len() - own <= frames_overhead(sent.frames.len()));
            let memory = payload.as_ptr_range();
            prop_assert!(got.frames.iter().all(|f| f.is_empty() || memory.contains(&f.as_ptr())), "frames are copied");
        }
    }

    #[test]
    fn messages_of_the_cloud_come_back(message in down()) {
        let payload = message.encode();
        prop_assert_eq!(Down::decode(&payload), Ok(message));
        prop_assert!(matches!(Up::decode(&Bytes::from(payload)), Err(DecodeError::Kind(_))));
    }

    #[test]
    fn a_broken_frame_is_not_sound(header in header(), body in body(), at in any::<prop::sample::Index>(), bit in 0..8_u8) {
        let mut bytes = frame::encode(&header, &body);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        prop_assert_eq!(frame::decode(&bytes), Err(FrameError::Checksum));
    }

    #[test]
    fn a_header_is_read_whatever_the_body(header in header(), rest in vec(any::<u8>(), 0..60)) {
        let mut content = frame::encode(&header, &Body::Damaged);
        content.truncate(content.len() - 5);
        content.extend_from_slice(&rest);
        match frame::decode(&seal(content)) {
            Ok(frame) => prop_assert_eq!(frame.header, header),
            Err(FrameError::Unusable { header: read, .. }) => prop_assert_eq!(read, Some(header)),
            Err(FrameError::Checksum) => prop_assert!(false, "the checksum fits"),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_bytes_panic(bytes in vec(any::<u8>(), 0..400), kind in 0..80_u8) {
        let _ = frame::decode(&bytes);
        let _ = frame::decode(&seal([&[1, 1, 1, 1, 0, 0, 1, 0, kind % 3], &bytes[..]].concat()));
        let _ = Down::decode(&[&[1, kind], &bytes[..]].concat());
        let _ = Up::decode(&Bytes::from([&[1, kind], &bytes[..]].concat()));
        let _ = Down::decode(&bytes);
        let _ = Up::decode(&Bytes::from(bytes));
    }

    #[test]
    fn no_changed_frame_panics(header in header(), body in body(), mutation in mutation()) {
        let mut bytes = frame::encode(&header, &body);
        bytes.truncate(bytes.len() - 4);
        mutate(&mut bytes, &mutation);
        if let Ok(decoded) = frame::decode(&seal(bytes)) {
            // What the changed bytes still mean is said the same way again, up to a shorter coding.
            let again = frame::encode(&decoded.header, &decoded.body);
            if let Body::Samples(block) = &decoded.body {
                prop_assert!(block.is_valid());
            }
            prop_assert_eq!(frame::decode(&again), Ok(decoded));
        }
    }

    #[test]
    fn no_changed_message_panics(up in up(), down in down(), mutation in mutation()) {
        let mut bytes = up.encode();
        mutate(&mut bytes, &mutation);
        if let Ok(decoded) = Up::decode(&Bytes::from(bytes)) {
            prop_assert_eq!(Up::decode(&Bytes::from(decoded.encode())), Ok(decoded));
        }
        let mut bytes = down.encode();
        mutate(&mut bytes, &mutation);
        if let Ok(decoded) = Down::decode(&bytes) {
            prop_assert_eq!(Down::decode(&decoded.encode()), Ok(decoded));
        }
    }
}

#[test]
fn lists_and_payloads_over_their_limits_are_refused() {
    let hello = |lanes, commands| {
        let Ok(Up::Hello(hello)) = Up::decode(&Bytes::from(bare_hello().encode())) else {
            panic!("a Hello decodes")
        };
        let lane = remuda_wire::LaneState {
            lane: remuda_model::Lane::Samples,
            incarnation: remuda_model::Incarnation(1),
            next_seq: 1,
            floor: 1,
            acked: 0,
        };
        let hello = Hello { lanes: vec![lane; lanes], open_commands: vec![[0; 16]; commands], ..hello };
        Up::decode(&Bytes::from(Up::Hello(hello).encode())).map(|_| ())
    };
    let max = limits::HELLO_LANES_MAX;
    assert_eq!(hello(max, max), Ok(()));
    assert_eq!(hello(max + 1, 0), Err(DecodeError::Limit));
    assert_eq!(hello(0, max + 1), Err(DecodeError::Limit));

    let incarnation = remuda_model::Incarnation(1);
    let live = |count| {
        let values = vec![(remuda_model::SignalId(1), 0, 0); count];
        let live = Up::Live(Live { incarnation, boot: 0, wall_ms: None, values });
        Up::decode(&Bytes::from(live.encode())).map(|_| ())
    };
    assert_eq!(live(limits::BLOCK_SIGNALS_MAX), Ok(()));
    assert_eq!(live(limits::BLOCK_SIGNALS_MAX + 1), Err(DecodeError::Limit));

    let frames = |count| {
        let frames = remuda_wire::Frames {
            lane: remuda_model::Lane::Samples,
            incarnation,
            floor: 1,
            floor_reason: remuda_wire::FloorReason::Acked,
            first_seq: 1,
            frames: vec![Bytes::new(); count],
        };
        Up::decode(&Bytes::from(Up::Frames(frames).encode())).map(|_| ())
    };
    assert_eq!(frames(limits::FRAMES_MAX), Ok(()));
    assert_eq!(frames(limits::FRAMES_MAX + 1), Err(DecodeError::Limit));

    let welcome = |count| {
        let ack = remuda_wire::LaneAck {
            lane: remuda_model::Lane::Events,
            incarnation,
            received: 0,
            durable: 0,
            credit: 0,
        };
        let welcome = Welcome {
            connection: remuda_model::ConnectionId { incarnation, counter: 1 },
            wire: 1,
            epoch: remuda_model::Epoch(1),
            server_time_ms: 0,
            acks: vec![ack; count],
            resync: false,
        };
        Down::decode(&Down::Welcome(welcome).encode()).map(|_| ())
    };
    assert_eq!(welcome(max), Ok(()));
    assert_eq!(welcome(max + 1), Err(DecodeError::Limit));

    let large = vec![1; limits::PAYLOAD_BYTES_MAX + 1];
    assert_eq!(Down::decode(&large), Err(DecodeError::Size(large.len())));
    assert_eq!(Up::decode(&Bytes::from(large)), Err(DecodeError::Size(limits::PAYLOAD_BYTES_MAX + 1)));
}

fn bare_hello() -> Up {
    Up::Hello(Hello {
        connection: remuda_model::ConnectionId { incarnation: remuda_model::Incarnation(1), counter: 1 },
        wire_min: 1,
        wire_max: 1,
        agent_version: String::new(),
        boot: 1,
        registry: 1,
        registry_hash: 0,
        lanes: vec![],
        highest_epoch: remuda_model::Epoch(0),
        open_commands: vec![],
        policy_revision: 0,
        clock: remuda_wire::ClockQuality::Unknown,
    })
}

#[test]
fn a_frame_over_its_limit_keeps_its_header() {
    let header = remuda_wire::FrameHeader {
        seq: 5,
        boot: 1,
        mono_ms: 1,
        wall_ms: None,
        clock: remuda_wire::ClockQuality::Unknown,
        registry: 1,
        trace: None,
    };
    let mut content = frame::encode(&header, &Body::Damaged);
    content.truncate(content.len() - 4);
    content.resize(limits::FRAME_BYTES_MAX - 3, 0);
    let refused = frame::decode(&seal(content));
    assert_eq!(refused, Err(FrameError::Unusable { header: Some(header), reason: "limit" }));
}
