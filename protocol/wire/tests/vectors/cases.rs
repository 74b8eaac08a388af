//! The cases, by name. Their bytes stand in `protocol/vectors/v1`.

use bytes::Bytes;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, SignalId, signal};
use remuda_wire::frame::{self, CommandOutcome, Event};
use remuda_wire::{
    Ack, Ask, Body, BudgetStatus, ClockQuality, CollectionLevel, Column, Command, CommandKind, Decided, Down,
    Farewell, FarewellReason, Fence, FloorReason, Frame, FrameHeader, Frames, HandOver, Hello, LaneAck,
    LaneState, LinkKind, Live, Observation, Policy, PolicyRefused, PositionE7, Question, QuestionStep,
    SampleBlock, Status, TimeUnit, TraceContext, TripMarked, TripPlace, TripWatch, Up, WatchedTrip, Watching,
    Welcome, limits,
};

/// What a file's bytes are.
pub enum Case {
    /// A message of the vehicle.
    Up(Up),
    /// A message of the cloud.
    Down(Down),
    /// A frame.
    Frame(Frame),
    /// Bytes that decode to this frame, though the encoder has a shorter coding.
    Longer(Frame, Vec<u8>),
    /// A payload from a vehicle that must be refused.
    BadUp(Vec<u8>),
    /// A payload from the cloud that must be refused.
    BadDown(Vec<u8>),
    /// A frame that must be refused.
    BadFrame(Vec<u8>),
}

/// Name of the file, what it shows, and the case.
pub type Named = (&'static str, &'static str, Case);

/// All cases.
pub fn cases() -> Vec<Named> {
    [
        messages(),
        statuses(),
        commands(),
        events(),
        questions(),
        trip_marks(),
        blocks(),
        longer_codings(),
        bad_messages(),
        bad_frames(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const INCARNATION: Incarnation = Incarnation(0x0123_4567_89ab_cdef);
const CONNECTION: ConnectionId = ConnectionId { incarnation: INCARNATION, counter: 3 };
const NOW_MS: i64 = 1_767_225_600_000;

/// The header that most cases share.
pub fn header(seq: u64) -> FrameHeader {
    FrameHeader {
        seq,
        boot: 7,
        mono_ms: 123_456,
        wall_ms: Some(NOW_MS),
        clock: ClockQuality::Gnss,
        registry: 1,
        trace: None,
    }
}

fn plain(seq: u64, body: Body) -> Frame {
    Frame { header: header(seq), body }
}

fn samples(unit: TimeUnit, offsets: &[u64], columns: Vec<(SignalId, Vec<Option<i64>>)>) -> Body {
    let columns = columns.into_iter().map(|(signal, values)| Column { signal, values }).collect();
    Body::Samples(SampleBlock { unit, offsets: offsets.to_vec(), columns })
}

fn all(values: &[i64]) -> Vec<Option<i64>> {
    values.iter().copied().map(Some).collect()
}

fn bytes_of(frame: &Frame) -> Vec<u8> {
    frame::encode(&frame.header, &frame.body)
}

fn hello() -> Hello {
    Hello {
        connection: CONNECTION,
        wire_min: 1,
        wire_max: 1,
        agent_version: "0.1.0".to_owned(),
        boot: 7,
        registry: 1,
        registry_hash: 0,
        lanes: vec![
            LaneState {
                lane: Lane::Samples,
                incarnation: Incarnation(42),
                next_seq: 1001,
                floor: 900,
                acked: 899,
            },
            LaneState { lane: Lane::Events, incarnation: INCARNATION, next_seq: 2, floor: 1, acked: 0 },
        ],
        highest_epoch: Epoch(5),
        open_commands: vec![*b"command-00000001"],
        policy_revision: 12,
        clock: ClockQuality::Server,
    }
}

fn lane_ack() -> LaneAck {
    LaneAck { lane: Lane::Samples, incarnation: INCARNATION, received: 1200, durable: 1100, credit: 262_144 }
}

fn frames(floor_reason: FloorReason) -> Frames {
    let speed = samples(TimeUnit::Millisecond, &[0, 100], vec![(signal::SPEED, all(&[5000, 5012]))]);
    Frames {
        lane: Lane::Samples,
        incarnation: INCARNATION,
        floor: 8,
        floor_reason,
        first_seq: 10,
        frames: vec![
            Bytes::from(bytes_of(&plain(10, speed))),
            Bytes::from(bytes_of(&plain(11, Body::Damaged))),
        ],
    }
}

fn messages() -> Vec<Named> {
    let bare = Hello {
        agent_version: String::new(),
        lanes: vec![],
        open_commands: vec![],
        clock: ClockQuality::Unknown,
        ..hello()
    };
    let live = Live {
        incarnation: INCARNATION,
        boot: 7,
        wall_ms: None,
        values: vec![(signal::SPEED, 5012, 123_456), (signal::LATITUDE, -337_654_321, 123_400)],
    };
    let welcome = Welcome {
        connection: CONNECTION,
        wire: 1,
        epoch: Epoch(6),
        server_time_ms: NOW_MS,
        acks: vec![
            lane_ack(),
            LaneAck { lane: Lane::Events, received: 0, durable: 0, credit: 0, ..lane_ack() },
        ],
        resync: true,
    };
    let ack = Ack { ack: lane_ack(), epoch: Epoch(6), server_time_ms: NOW_MS, missing: false, greet: false };
    let farewell = |reason| Case::Up(Up::Farewell(Farewell { connection: CONNECTION, reason }));
    let with_floor = |reason| Case::Up(Up::Frames(frames(reason)));
    vec![
        (
            "up-hello",
            "Hello with an old incarnation's samples and its own events.",
            Case::Up(Up::Hello(hello())),
        ),
        ("up-hello-bare", "Hello of an agent that holds nothing.", Case::Up(Up::Hello(bare))),
        ("up-frames", "Two frames: samples, and a damaged record.", with_floor(FloorReason::Acked)),
        ("up-frames-shed", "The floor moved because the outbox was full.", with_floor(FloorReason::Full)),
        ("up-frames-aged", "The floor moved because frames were too old.", with_floor(FloorReason::Age)),
        (
            "up-frames-damaged",
            "The floor moved because the disk lost frames.",
            with_floor(FloorReason::Damaged),
        ),
        ("up-live", "Two newest values.", Case::Up(Up::Live(live))),
        ("up-farewell-lost", "The last will.", farewell(FarewellReason::Lost)),
        ("up-farewell-stopping", "The agent stops.", farewell(FarewellReason::Stopping)),
        ("up-farewell-sleeping", "The vehicle goes to sleep.", farewell(FarewellReason::Sleeping)),
        ("down-welcome", "Welcome with two lanes.", Case::Down(Down::Welcome(welcome))),
        ("down-ack", "An Ack.", Case::Down(Down::Ack(ack))),
        (
            "down-ack-missing",
            "An Ack that asks for more and for a Hello.",
            Case::Down(Down::Ack(Ack { missing: true, greet: true, ..ack })),
        ),
        (
            "down-policy",
            "A policy document.",
            Case::Down(Down::Policy(Policy { revision: 13, document: "{\"signals\":[]}".to_owned() })),
        ),
    ]
}

fn statuses() -> Vec<Named> {
    let full = Status {
        connection: CONNECTION,
        policy_revision: 12,
        policy_fingerprint: 0x89ab_cdef,
        policy_refused: None,
        clock: ClockQuality::Server,
        link: LinkKind::Wifi,
        collection: CollectionLevel::Full,
        bulk_held: false,
        budget: None,
        frames_held: 3,
        frames_shed: 0,
        frames_damaged: 0,
        readings_dropped: 0,
    };
    let spent = Status {
        link: LinkKind::Metered,
        collection: CollectionLevel::EventsOnly,
        bulk_held: true,
        budget: Some(BudgetStatus { month: 202_611, spent_bytes: 200_000_123, bytes: 200_000_000 }),
        frames_held: 86_400,
        frames_shed: 12,
        frames_damaged: 1,
        readings_dropped: 7,
        ..full.clone()
    };
    let refused = Status {
        policy_revision: 0,
        policy_fingerprint: 0,
        policy_refused: Some(PolicyRefused { revision: 13, reason: "the policy is not valid".to_owned() }),
        clock: ClockQuality::Unknown,
        link: LinkKind::Unknown,
        collection: CollectionLevel::Stretched,
        ..full.clone()
    };
    let up = |status| Case::Up(Up::Status(status));
    vec![
        ("up-status", "All is well, over Wi-Fi.", up(full)),
        ("up-status-spent", "The data budget is spent; samples wait.", up(spent)),
        ("up-status-refused", "A policy was not taken over.", up(refused)),
        (
            "down-ask",
            "Asks for the status, at most once in 30 s.",
            Case::Down(Down::Ask(Ask { interval_s: 30 })),
        ),
        (
            "down-hand-over",
            "The door closes as planned; come back within 20 s.",
            Case::Down(Down::HandOver(HandOver { spread_ms: 20_000 })),
        ),
        (
            "down-policy-none",
            "Back to the built-in policy.",
            Case::Down(Down::Policy(Policy { revision: 0, document: String::new() })),
        ),
    ]
}

fn commands() -> Vec<Named> {
    let command = |kind| {
        Case::Down(Down::Command(Command {
            id: *b"command-00000001",
            epoch: Epoch(6),
            expires_ms: NOW_MS + 30_000,
            incarnation: INCARNATION,
            kind,
            signature: (0..64).collect(),
        }))
    };
    vec![
        ("down-command-lock", "Lock. The signature is not a real one.", command(CommandKind::Lock(true))),
        ("down-command-honk", "Sound the horn.", command(CommandKind::Honk)),
        ("down-command-speed-limit", "Limit the speed to 300 km/h.", command(CommandKind::SpeedLimit(300))),
        ("down-command-reboot", "Restart the agent.", command(CommandKind::Reboot)),
        (
            "down-command-answer",
            "Answers a question with its second option.",
            command(CommandKind::Answer { question: *b"question-0000001", option: 1 }),
        ),
    ]
}

fn events() -> Vec<Named> {
    let event = |seq, event| Case::Frame(plain(seq, Body::Event(event)));
    let result = |seq, outcome| event(seq, Event::CommandResult { command: *b"command-00000001", outcome });
    let mark = Event::TripMark { departed: true, latitude_e7: 601_699_000, longitude_e7: -249_384_000 };
    vec![
        (
            "frame-event-started",
            "The agent started.",
            event(1, Event::Started { agent_version: "0.1.0".to_owned() }),
        ),
        ("frame-event-accepted", "A command was begun.", result(2, CommandOutcome::Accepted)),
        ("frame-event-done", "A command is finished.", result(3, CommandOutcome::Done)),
        (
            "frame-event-failed",
            "A command failed.",
            result(4, CommandOutcome::Failed("door jammed".to_owned())),
        ),
        ("frame-event-expired", "A command came too late.", result(5, CommandOutcome::Expired)),
        (
            "frame-event-refused",
            "A command was not obeyed.",
            result(6, CommandOutcome::Refused("stale".to_owned())),
        ),
        ("frame-event-unknown", "A command's end was not seen.", result(7, CommandOutcome::Unknown)),
        ("frame-event-trip-mark", "The vehicle set off.", event(8, mark)),
        (
            "frame-event-shed",
            "Frames were shed.",
            event(9, Event::Shed { incarnation: Incarnation(42), from: 1, to: 300 }),
        ),
        ("frame-damaged", "A record that the vehicle's disk damaged.", Case::Frame(plain(10, Body::Damaged))),
        (
            "frame-header-bare",
            "No wall clock; the smallest frame there is.",
            Case::Frame(Frame {
                header: FrameHeader {
                    seq: 1,
                    boot: 0,
                    mono_ms: 0,
                    wall_ms: None,
                    clock: ClockQuality::Unknown,
                    registry: 0,
                    trace: None,
                },
                body: Body::Damaged,
            }),
        ),
        (
            "frame-header-full",
            "The largest numbers and a trace context.",
            Case::Frame(Frame {
                header: FrameHeader {
                    seq: u64::MAX,
                    boot: u32::MAX,
                    mono_ms: u64::MAX,
                    wall_ms: Some(i64::MIN),
                    clock: ClockQuality::Server,
                    registry: u16::MAX,
                    trace: Some(TraceContext { trace_id: [0xaa; 16], span_id: [0xbb; 8], flags: 1 }),
                },
                body: Body::Damaged,
            }),
        ),
    ]
}

fn question() -> Question {
    Question {
        id: *b"question-0000001",
        text: "A cone stands in my lane.".to_owned(),
        options: vec!["wait".to_owned(), "pass on the left".to_owned()],
        safe_default: 0,
        timeout_ms: 60_000,
        waited_ms: 0,
        position: Some(PositionE7 { latitude_e7: 601_699_000, longitude_e7: -249_384_000 }),
    }
}

fn questions() -> Vec<Named> {
    let event = |seq, event| Case::Frame(plain(seq, Body::Event(event)));
    let moved = |seq, step| event(seq, Event::QuestionMoved { question: *b"question-0000001", step });
    let again = Question { waited_ms: 12_345, position: None, ..question() };
    vec![
        ("frame-event-asked", "The vehicle asks a person.", event(11, Event::Asked(question()))),
        ("frame-event-asked-again", "Said again after a restart.", event(12, Event::Asked(again))),
        (
            "frame-event-decided-answered",
            "Somebody answered in time.",
            moved(13, QuestionStep::Decided { option: 1, why: Decided::Answered }),
        ),
        (
            "frame-event-decided-timed-out",
            "Nobody did: the safe default.",
            moved(14, QuestionStep::Decided { option: 0, why: Decided::TimedOut }),
        ),
        (
            "frame-event-decided-restarted",
            "The agent started anew: the safe default.",
            moved(15, QuestionStep::Decided { option: 0, why: Decided::Restarted }),
        ),
        (
            "frame-event-question-acted",
            "It has done so.",
            moved(16, QuestionStep::Acted(CommandOutcome::Done)),
        ),
        (
            "frame-event-question-failed",
            "It tried in vain.",
            moved(17, QuestionStep::Acted(CommandOutcome::Failed("blocked".to_owned()))),
        ),
        (
            "bad-frame-event-question",
            "A question whose safe default is none of its options.",
            Case::BadFrame(bytes_of(&plain(
                18,
                Body::Event(Event::Asked(Question { safe_default: 2, ..question() })),
            ))),
        ),
        (
            "bad-frame-event-options",
            "A question with more options than there may be.",
            Case::BadFrame(bytes_of(&plain(
                19,
                Body::Event(Event::Asked(Question { options: vec!["x".to_owned(); 9], ..question() })),
            ))),
        ),
    ]
}

fn watched() -> WatchedTrip {
    let pick_up = Fence { latitude_e7: 601_699_000, longitude_e7: -249_384_000, radius_m: 80 };
    let drop_off = Fence { latitude_e7: 601_811_000, longitude_e7: -249_500_000, radius_m: 300 };
    let place = TripPlace { next: 1, inside: Some(0), moving: false };
    WatchedTrip { trip: "ride-1".to_owned(), version: 3, stops: vec![pick_up, drop_off], place }
}

fn trip_mark() -> TripMarked {
    TripMarked {
        trip: "ride-1".to_owned(),
        noticed_by: INCARNATION,
        number: 3,
        observation: Observation::Left(0),
        stop: Some(watched().stops[0]),
        time_ms: Some(NOW_MS + 4_321),
        latitude_e7: 601_699_123,
        longitude_e7: -249_384_321,
        speed_e2: 512,
        odometer_m: Some(123_456),
        energy_wh: Some(-2_500),
        incarnation: Incarnation(42),
        samples: 1_000,
    }
}

fn trip_marks() -> Vec<Named> {
    let watch = |trip| Case::Down(Down::Watch(TripWatch { trip }));
    let watching = |trip| Case::Up(Up::Watching(Watching { connection: CONNECTION, trip }));
    let marked = |seq, mark| plain(seq, Body::Event(Event::TripMarked(mark)));
    let bare = TripMarked {
        number: 1,
        observation: Observation::SetOff,
        stop: None,
        time_ms: None,
        odometer_m: None,
        energy_wh: None,
        samples: 0,
        ..trip_mark()
    };
    let rest = TripMarked { number: 5, observation: Observation::AtRest, stop: None, ..trip_mark() };
    let entered = TripMarked {
        number: 4,
        observation: Observation::Entered(1),
        stop: Some(watched().stops[1]),
        ..trip_mark()
    };
    let bad = |watched| Case::BadDown(Down::Watch(TripWatch { trip: Some(watched) }).encode());
    let too_many = WatchedTrip { stops: vec![watched().stops[0]; 17], ..watched() };
    let outside = TripPlace { next: 3, ..TripPlace::default() };
    vec![
        ("down-watch", "A trip with two stops; it stands at the pick-up.", watch(Some(watched()))),
        ("down-watch-none", "Nothing to watch any more.", watch(None)),
        ("up-watching", "It watches the third version of a trip.", watching(Some(("ride-1".to_owned(), 3)))),
        ("up-watching-none", "It watches nothing.", watching(None)),
        ("frame-event-trip-marked-left", "It left the pick-up.", Case::Frame(marked(21, trip_mark()))),
        ("frame-event-trip-marked-entered", "It reached the drop-off.", Case::Frame(marked(22, entered))),
        ("frame-event-trip-marked-rest", "It came to rest.", Case::Frame(marked(23, rest))),
        (
            "frame-event-trip-marked-bare",
            "It set off, and knows neither time nor odometer.",
            Case::Frame(marked(24, bare)),
        ),
        ("bad-down-watch-stops", "A trip with more stops than there may be.", bad(too_many)),
        (
            "bad-down-watch-place",
            "A trip whose next stop it does not have.",
            bad(WatchedTrip { place: outside, ..watched() }),
        ),
        (
            "bad-up-watching",
            "A trip without an id.",
            Case::BadUp(
                Up::Watching(Watching { connection: CONNECTION, trip: Some((String::new(), 1)) }).encode(),
            ),
        ),
        (
            "bad-frame-event-trip-marked",
            "A stop was left, and which is not said.",
            Case::BadFrame(bytes_of(&marked(25, TripMarked { stop: None, ..trip_mark() }))),
        ),
    ]
}

fn blocks() -> Vec<Named> {
    use TimeUnit::{Microsecond, Millisecond, Nanosecond};
    let block = |name, says, unit, offsets: &[u64], columns| {
        (name, says, Case::Frame(plain(20, samples(unit, offsets, columns))))
    };
    let every = |n: u64, step: u64| (0..n).map(|i| i * step).collect::<Vec<_>>();
    let some = |rows: usize, which: &[(usize, i64)]| {
        (0..rows).map(|row| which.iter().find(|(r, _)| *r == row).map(|(_, v)| *v)).collect::<Vec<_>>()
    };
    let noise = |n: i64| (0..n).map(|i| Some(9000 + (i * 7919 % 23) - 11)).collect::<Vec<_>>();
    vec![
        block("frame-samples-none", "A block without rows or columns.", Millisecond, &[], vec![]),
        block(
            "frame-samples-row",
            "One row of three signals.",
            Millisecond,
            &[250],
            vec![
                (signal::SPEED, all(&[5012])),
                (signal::LATITUDE, all(&[601_699_000])),
                (signal::HEADING, all(&[-1])),
            ],
        ),
        block(
            "frame-samples-constant",
            "A column that stays the same, even times.",
            Millisecond,
            &every(32, 10),
            vec![(signal::CHARGE, all(&[804; 32]))],
        ),
        block(
            "frame-samples-packed",
            "Differences packed in equal bits; two rows at the same time.",
            Microsecond,
            &[0, 0, 9_000, 20_000],
            vec![(signal::SPEED, all(&[5000, 5003, 4998, 5001]))],
        ),
        block(
            "frame-samples-varint",
            "One difference far wider than the others: varints.",
            Nanosecond,
            &[5, 6, 7, 8, 9, 900_000_000],
            vec![(signal::ODOMETER, all(&[1, 2, 3, 4, 5, 1_000_000_000]))],
        ),
        block(
            "frame-samples-even",
            "Even times and a ramp: one number says all differences.",
            Millisecond,
            &every(10, 100),
            vec![(signal::ODOMETER, (0..10).map(|i| Some(123_456 + 150 * i)).collect())],
        ),
        block(
            "frame-samples-rice",
            "Mostly small differences, some larger: Rice codes.",
            Millisecond,
            &every(40, 12),
            vec![(
                signal::WHEEL_SPEED_FRONT_LEFT,
                (0..40).map(|i: i64| Some(9000 + if i % 13 == 12 { 40 } else { i % 3 })).collect(),
            )],
        ),
        block(
            "frame-samples-bitmap",
            "Two messages take turns: a bitmap, and a column with the same rows.",
            Millisecond,
            &every(24, 7),
            vec![
                (
                    signal::SPEED,
                    noise(24).into_iter().enumerate().map(|(i, v)| v.filter(|_| i % 2 == 0)).collect(),
                ),
                (
                    signal::WHEEL_SPEED_FRONT_LEFT,
                    noise(24).into_iter().enumerate().map(|(i, v)| v.filter(|_| i % 2 == 0)).collect(),
                ),
                (
                    signal::STEERING_ANGLE,
                    noise(24).into_iter().enumerate().map(|(i, v)| v.filter(|_| i % 2 == 1)).collect(),
                ),
            ],
        ),
        block(
            "frame-samples-sparse",
            "A slow signal among fast ones: a list of rows; and one without a value.",
            Millisecond,
            &every(40, 25),
            vec![
                (signal::SPEED, noise(40)),
                (signal::CHARGE, some(40, &[(0, 804), (39, 803)])),
                (signal::DTC_COUNT, vec![None; 40]),
            ],
        ),
        block(
            "frame-samples-extremes",
            "Differences wrap: any 64-bit value follows any other. A customer's own signals.",
            Nanosecond,
            &[0, 1, u64::MAX],
            vec![
                (SignalId(0x8000), all(&[i64::MIN, i64::MAX, i64::MIN])),
                (SignalId(0xffff), all(&[0, i64::MIN, -1])),
            ],
        ),
    ]
}

/// The frame's bytes with another block, and a CRC that fits.
fn with_block(block: &[u8]) -> Vec<u8> {
    with_body(&[&[0], block].concat())
}

fn with_body(body: &[u8]) -> Vec<u8> {
    let mut bytes = bytes_of(&plain(20, Body::Damaged));
    // Kind and CRC.
    bytes.truncate(bytes.len() - 5);
    bytes.extend_from_slice(body);
    sealed(bytes)
}

fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// Codings that a decoder must know though our encoder would choose another here.
fn longer_codings() -> Vec<Named> {
    let two = |values| plain(20, samples(TimeUnit::Millisecond, &[1, 3], vec![(signal::SPEED, values)]));
    vec![
        (
            "frame-samples-longer-varint",
            "Two equal values as a dense column of varints.",
            Case::Longer(two(all(&[7, 7])), with_block(&[0, 2, 1, 0, 2, 1, 1, 0, 14, 0, 0])),
        ),
        (
            "frame-samples-longer-bitmap",
            "One of two rows by bitmap; times in Rice codes with k = 1.",
            Case::Longer(two(vec![None, Some(-1)]), with_block(&[0, 2, 1, 129, 0b001, 1, 1, 1, 0b10, 1])),
        ),
        (
            "frame-samples-longer-sparse",
            "Both rows by a list.",
            Case::Longer(
                two(all(&[7, 6])),
                with_block(&[0, 2, 1, 8, 2, 1, 1, 4, 2, 0, 0, 14, 64, 1, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ),
        (
            "frame-samples-longer-equal",
            "Differences of three rows said once: 2, 2.",
            Case::Longer(
                plain(20, samples(TimeUnit::Millisecond, &[1, 3, 5], vec![(signal::SPEED, all(&[7, 7, 7]))])),
                with_block(&[0, 3, 1, 254, 2, 1, 1, 0, 14, 254, 0]),
            ),
        ),
        (
            "frame-samples-longer-zeros",
            "Two equal values as a dense column whose differences are all zero.",
            Case::Longer(two(all(&[7, 7])), with_block(&[0, 2, 1, 2, 2, 1, 1, 0, 14, 255])),
        ),
    ]
}

fn bad_messages() -> Vec<Named> {
    let up = |message: Up| message.encode();
    let ack = Down::Ack(Ack {
        ack: lane_ack(),
        epoch: Epoch(6),
        server_time_ms: NOW_MS,
        missing: false,
        greet: false,
    })
    .encode();
    let many = Hello { lanes: vec![hello().lanes[0]; limits::HELLO_LANES_MAX + 1], ..hello() };
    let wordy = Hello { agent_version: "v".repeat(limits::TEXT_BYTES_MAX + 1), ..hello() };
    let trailing = [up(Up::Hello(hello())), vec![0]].concat();
    let no_frames = Frames { frames: vec![], ..frames(FloorReason::Acked) };
    let zeroth = Frames { first_seq: 0, ..frames(FloorReason::Acked) };
    let last = Frames { first_seq: u64::MAX - 1, ..frames(FloorReason::Acked) };
    let mut cut = up(Up::Frames(frames(FloorReason::Acked)));
    cut.pop();
    vec![
        ("bad-up-empty", "No byte.", Case::BadUp(vec![])),
        ("bad-up-no-kind", "Only a version.", Case::BadUp(vec![1])),
        ("bad-up-version", "A wire version of the future.", Case::BadUp(vec![2, 1])),
        ("bad-up-kind", "A kind of message that does not exist.", Case::BadUp(vec![1, 0])),
        ("bad-up-kind-down", "A message of the cloud, from a vehicle.", Case::BadUp(ack.clone())),
        ("bad-up-trailing", "A byte too many.", Case::BadUp(trailing)),
        ("bad-up-hello-lanes", "A Hello with 129 lanes.", Case::BadUp(up(Up::Hello(many)))),
        ("bad-up-hello-text", "A Hello with a long version.", Case::BadUp(up(Up::Hello(wordy)))),
        ("bad-up-frames-none", "Frames without one.", Case::BadUp(up(Up::Frames(no_frames)))),
        ("bad-up-frames-zeroth", "Frames from seq 0.", Case::BadUp(up(Up::Frames(zeroth)))),
        ("bad-up-frames-overflow", "Frames beyond the last seq.", Case::BadUp(up(Up::Frames(last)))),
        ("bad-up-frames-cut", "The last frame is cut short.", Case::BadUp(cut)),
        (
            "bad-up-live-count",
            "A Live that claims 2^32 values.",
            Case::BadUp(vec![1, 3, 1, 7, 0, 0x80, 0x80, 0x80, 0x80, 0x10]),
        ),
        ("bad-up-farewell-reason", "An unknown reason.", Case::BadUp(vec![1, 4, 1, 1, 9])),
        ("bad-down-trailing", "A byte too many.", Case::BadDown([ack, vec![0]].concat())),
        ("bad-down-kind", "A message of a vehicle, from the cloud.", Case::BadDown(up(Up::Hello(hello())))),
        ("bad-down-version", "A wire version before the first.", Case::BadDown(vec![0, 66])),
    ]
}

fn bad_frames() -> Vec<Named> {
    let good = bytes_of(&plain(10, Body::Damaged));
    let mut flipped = good.clone();
    flipped[3] ^= 1;
    let newer = sealed([&[2], &good[1..good.len() - 4]].concat());
    let text = Event::Started { agent_version: "v".repeat(limits::TEXT_BYTES_MAX + 1) };
    vec![
        ("bad-frame-empty", "No byte.", Case::BadFrame(vec![])),
        ("bad-frame-crc", "A flipped bit.", Case::BadFrame(flipped)),
        ("bad-frame-cut", "Cut short.", Case::BadFrame(good[..good.len() - 1].to_vec())),
        ("bad-frame-version", "A frame version of the future.", Case::BadFrame(newer)),
        ("bad-frame-header", "A sound CRC around half a header.", Case::BadFrame(sealed(vec![1, 5, 7]))),
        ("bad-frame-no-kind", "A header and no body.", Case::BadFrame(with_body(&[]))),
        ("bad-frame-kind", "A body kind of the future.", Case::BadFrame(with_body(&[9, 1, 2, 3]))),
        ("bad-frame-damaged-trailing", "Something behind `damaged`.", Case::BadFrame(with_body(&[2, 0]))),
        ("bad-frame-event", "An event of the future.", Case::BadFrame(with_body(&[1, 99]))),
        (
            "bad-frame-event-text",
            "An event with a long text.",
            Case::BadFrame(bytes_of(&plain(10, Body::Event(text)))),
        ),
        (
            "bad-frame-signal",
            "A signal of the future.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 0xff, 0xff, 1, 0, 2])),
        ),
        (
            "bad-frame-signal-zero",
            "Signal 0 does not exist.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 0, 0, 2])),
        ),
        (
            "bad-frame-signal-twice",
            "A signal twice.",
            Case::BadFrame(with_block(&[0, 1, 0, 2, 1, 0, 2, 0, 0, 2])),
        ),
        ("bad-frame-unit", "An unknown time unit.", Case::BadFrame(with_block(&[3, 0, 0]))),
        ("bad-frame-rows", "16,385 rows.", Case::BadFrame(with_block(&[0, 0x81, 0x80, 1]))),
        (
            "bad-frame-rows-claimed",
            "16,384 rows out of nothing.",
            Case::BadFrame(with_block(&[0, 0x80, 0x80, 1])),
        ),
        ("bad-frame-columns", "1,025 columns.", Case::BadFrame(with_block(&[0, 0, 0x81, 8]))),
        (
            "bad-frame-cells",
            "More than 128 Ki cells: 16,384 rows of nine columns.",
            Case::BadFrame(with_block(&[&[0, 0x80, 0x80, 1, 0, 1][..], &[0; 2048], &[9]].concat())),
        ),
        (
            "bad-frame-constant",
            "33 rows by one value.",
            Case::BadFrame(with_block(&[0, 33, 0, 1, 0, 0, 0, 0, 1, 1, 2, 2])),
        ),
        (
            "bad-frame-bitmap-full",
            "A bitmap of all rows.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 1, 1, 1, 2])),
        ),
        (
            "bad-frame-bitmap-outside",
            "A bitmap beyond the rows.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 1, 1, 2])),
        ),
        (
            "bad-frame-sparse-outside",
            "A list beyond the rows.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 1, 4, 1, 1, 2])),
        ),
        (
            "bad-frame-same-rows-first",
            "The first column like the one before.",
            Case::BadFrame(with_block(&[0, 1, 0, 1, 1, 3, 2])),
        ),
        ("bad-frame-mode", "An unknown column mode.", Case::BadFrame(with_block(&[0, 1, 0, 1, 1, 5, 2]))),
        ("bad-frame-series", "An unknown series coding.", Case::BadFrame(with_block(&[0, 2, 0, 100, 0, 0]))),
        ("bad-frame-zeros", "33 equal times by one byte.", Case::BadFrame(with_block(&[0, 34, 0, 255, 0]))),
        (
            "bad-frame-equal",
            "33 even times by two bytes.",
            Case::BadFrame(with_block(&[0, 34, 0, 254, 1, 0])),
        ),
        (
            "bad-frame-times",
            "Times that overflow.",
            Case::BadFrame(with_block(&[
                0, 2, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 1, 1, 0,
            ])),
        ),
        ("bad-frame-samples-trailing", "A byte behind the block.", Case::BadFrame(with_block(&[0, 0, 0, 0]))),
    ]
}
