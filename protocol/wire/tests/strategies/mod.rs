//! Arbitrary values of everything on the wire, shared by the property tests.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use remuda_model::signal::REGISTRY;
use remuda_model::{ConnectionId, Epoch, Incarnation, Lane, SignalId};
use remuda_wire::frame::{CommandOutcome, Event};
use remuda_wire::{
    Ack, Ask, Body, BudgetStatus, ClockQuality, CollectionLevel, Column, Command, CommandKind, Decided, Down,
    Farewell, FarewellReason, Fence, FloorReason, FrameHeader, Frames, HandOver, Hello, LaneAck, LaneState,
    LinkKind, Live, Observation, Policy, PolicyRefused, PositionE7, Question, QuestionStep, SampleBlock,
    Status, TimeUnit, TraceContext, TripMarked, TripPlace, TripWatch, Up, WatchedTrip, Watching, Welcome,
    limits,
};

fn clock() -> impl Strategy<Value = ClockQuality> {
    prop_oneof![Just(ClockQuality::Unknown), Just(ClockQuality::Server), Just(ClockQuality::Gnss)]
}

fn lane() -> impl Strategy<Value = Lane> {
    prop_oneof![Just(Lane::Events), Just(Lane::Samples)]
}

fn incarnation() -> impl Strategy<Value = Incarnation> {
    any::<u64>().prop_map(Incarnation)
}

fn connection() -> impl Strategy<Value = ConnectionId> {
    (incarnation(), any::<u32>()).prop_map(|(incarnation, counter)| ConnectionId { incarnation, counter })
}

/// Frame headers.
pub fn header() -> impl Strategy<Value = FrameHeader> {
    let trace = option::weighted(
        0.2,
        any::<([u8; 16], [u8; 8], u8)>().prop_map(|(trace_id, span_id, flags)| TraceContext {
            trace_id,
            span_id,
            flags,
        }),
    );
    (1..u64::MAX, any::<u32>(), any::<u64>(), any::<Option<i64>>(), clock(), any::<u16>(), trace).prop_map(
        |(seq, boot, mono_ms, wall_ms, clock, registry, trace)| FrameHeader {
            seq,
            boot,
            mono_ms,
            wall_ms,
            clock,
            registry,
            trace,
        },
    )
}

/// Frame bodies.
pub fn body() -> impl Strategy<Value = Body> {
    prop_oneof![
        4 => block().prop_map(Body::Samples),
        2 => event().prop_map(Body::Event),
        1 => Just(Body::Damaged),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    let text = || "\\PC{0,40}";
    let outcome = prop_oneof![
        Just(CommandOutcome::Accepted),
        Just(CommandOutcome::Done),
        text().prop_map(CommandOutcome::Failed),
        Just(CommandOutcome::Expired),
        text().prop_map(CommandOutcome::Refused),
        Just(CommandOutcome::Unknown),
    ];
    let step = prop_oneof![
        (any::<u8>(), decided()).prop_map(|(option, why)| QuestionStep::Decided { option, why }),
        outcome.clone().prop_map(QuestionStep::Acted),
    ];
    prop_oneof![
        question().prop_map(Event::Asked),
        trip_marked().prop_map(Event::TripMarked),
        (any::<[u8; 16]>(), step).prop_map(|(question, step)| Event::QuestionMoved { question, step }),
        text().prop_map(|agent_version| Event::Started { agent_version }),
        (any::<[u8; 16]>(), outcome).prop_map(|(command, outcome)| Event::CommandResult { command, outcome }),
        any::<(bool, i32, i32)>().prop_map(|(departed, latitude_e7, longitude_e7)| Event::TripMark {
            departed,
            latitude_e7,
            longitude_e7,
        }),
        (incarnation(), any::<u64>(), any::<u64>()).prop_map(|(incarnation, from, to)| Event::Shed {
            incarnation,
            from,
            to,
        }),
    ]
}

fn question() -> impl Strategy<Value = Question> {
    let options = vec("\\PC{1,20}", 2..=8);
    let position = option::of(
        (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000)
            .prop_map(|(latitude_e7, longitude_e7)| PositionE7 { latitude_e7, longitude_e7 }),
    );
    (any::<[u8; 16]>(), "\\PC{1,40}", options, any::<u8>(), 1_000..=3_600_000_u32, any::<u32>(), position)
        .prop_map(|(id, text, options, default, timeout_ms, waited_ms, position)| {
            let safe_default = default % options.len() as u8;
            Question { id, text, options, safe_default, timeout_ms, waited_ms, position }
        })
}

fn place() -> impl Strategy<Value = (i32, i32)> {
    (-900_000_000..=900_000_000, -1_800_000_000..=1_800_000_000)
}

fn fence() -> impl Strategy<Value = Fence> {
    (place(), 1..=u16::MAX).prop_map(|((latitude_e7, longitude_e7), radius_m)| Fence {
        latitude_e7,
        longitude_e7,
        radius_m,
    })
}

fn trip_marked() -> impl Strategy<Value = TripMarked> {
    let observation = prop_oneof![
        Just((Observation::SetOff, None)),
        Just((Observation::AtRest, None)),
        (0..16_u16, fence()).prop_map(|(stop, fence)| (Observation::Entered(stop), Some(fence))),
        (0..16_u16, fence()).prop_map(|(stop, fence)| (Observation::Left(stop), Some(fence))),
    ];
    let instruments = any::<(Option<i64>, u32, Option<u64>, Option<i64>, u64)>();
    ("\\PC{1,40}", incarnation(), 1..=u32::MAX, observation, place(), instruments, incarnation()).prop_map(
        |(trip, noticed_by, number, (observation, stop), (latitude_e7, longitude_e7), told, incarnation)| {
            let (time_ms, speed_e2, odometer_m, energy_wh, samples) = told;
            TripMarked {
                trip,
                noticed_by,
                number,
                observation,
                stop,
                time_ms,
                latitude_e7,
                longitude_e7,
                speed_e2,
                odometer_m,
                energy_wh,
                incarnation,
                samples,
            }
        },
    )
}

fn trip_watch() -> impl Strategy<Value = TripWatch> {
    let stops = vec(fence(), 2..=limits::STOPS_MAX);
    let watched = ("\\PC{1,40}", any::<u64>(), stops, any::<(u16, Option<u16>, bool)>()).prop_map(
        |(trip, version, stops, (next, inside, moving))| {
            let count = stops.len() as u16;
            let place = TripPlace { next: next % (count + 1), inside: inside.map(|at| at % count), moving };
            WatchedTrip { trip, version, stops, place }
        },
    );
    option::of(watched).prop_map(|trip| TripWatch { trip })
}

fn watching() -> impl Strategy<Value = Watching> {
    (connection(), option::of(("\\PC{1,40}", any::<u64>())))
        .prop_map(|(connection, trip)| Watching { connection, trip })
}

fn decided() -> impl Strategy<Value = Decided> {
    prop_oneof![Just(Decided::Answered), Just(Decided::TimedOut), Just(Decided::Restarted)]
}

fn values(rows: usize) -> impl Strategy<Value = Vec<Option<i64>>> {
    prop_oneof![
        vec(option::of(any::<i64>()), rows),
        vec(option::weighted(0.9, -300..300_i64), rows),
        vec(option::weighted(0.05, -300..300_i64), rows),
        vec((-5..5_i64).prop_map(Some), rows),
        any::<i64>().prop_map(move |v| vec![Some(v); rows]),
        any::<(i64, i8)>().prop_map(move |(v, step)| ramp(v, i64::from(step), rows)),
        Just(vec![None; rows]),
    ]
}

fn ramp(from: i64, step: i64, rows: usize) -> Vec<Option<i64>> {
    (0..rows as i64).map(|i| Some(from.wrapping_add(step.wrapping_mul(i)))).collect()
}

/// Sample blocks of up to 80 rows and 12 signals.
pub fn block() -> impl Strategy<Value = SampleBlock> {
    let unit =
        prop_oneof![Just(TimeUnit::Millisecond), Just(TimeUnit::Microsecond), Just(TimeUnit::Nanosecond)];
    let times = prop_oneof![
        vec(any::<u64>(), 0..10),
        vec(0..1_000_000_000_u64, 0..80),
        vec(0..3_u64, 0..80),
        (0..80_u64, 0..100_u64).prop_map(|(rows, step)| (0..rows).map(|i| i * step).collect()),
    ];
    let own = (0x8000..=u16::MAX).prop_map(|id| vec![id]);
    let signals = proptest::collection::btree_set(1..=REGISTRY.len() as u16, 0..12);
    let signals = (signals, option::weighted(0.2, own))
        .prop_map(|(built_in, own)| built_in.into_iter().chain(own.into_iter().flatten()).collect());
    (unit, times, signals).prop_flat_map(|(unit, mut offsets, signals): (_, Vec<u64>, Vec<u16>)| {
        offsets.sort_unstable();
        let rows = offsets.len();
        let columns: Vec<_> = signals
            .into_iter()
            .map(|id| values(rows).prop_map(move |values| Column { signal: SignalId(id), values }))
            .collect();
        (columns, any::<u16>()).prop_map(move |(mut columns, alike)| {
            // Signals of one bus message: present in the same rows as the one before.
            for i in (1..columns.len()).filter(|i| alike >> i & 1 == 1) {
                let (before, from) = columns.split_at_mut(i);
                for (value, like) in from[0].values.iter_mut().zip(&before[i - 1].values) {
                    *value = like.map(|v| value.unwrap_or(v));
                }
            }
            SampleBlock { unit, offsets: offsets.clone(), columns }
        })
    })
}

fn hello() -> impl Strategy<Value = Hello> {
    let state = (lane(), incarnation(), any::<(u64, u64, u64)>()).prop_map(
        |(lane, incarnation, (next_seq, floor, acked))| LaneState {
            lane,
            incarnation,
            next_seq,
            floor,
            acked,
        },
    );
    let lists =
        (vec(state, 0..=limits::HELLO_LANES_MAX), vec(any::<[u8; 16]>(), 0..=limits::HELLO_LANES_MAX));
    (connection(), "\\PC{0,60}", lists, any::<(u8, u8, u32, u16, u64, u64, u32)>(), clock()).prop_map(
        |(connection, agent_version, (lanes, open_commands), numbers, clock)| Hello {
            connection,
            wire_min: numbers.0,
            wire_max: numbers.1,
            agent_version,
            boot: numbers.2,
            registry: numbers.3,
            registry_hash: numbers.4,
            lanes,
            highest_epoch: Epoch(numbers.5),
            open_commands,
            policy_revision: numbers.6,
            clock,
        },
    )
}

fn frames() -> impl Strategy<Value = Frames> {
    let reason = prop_oneof![
        Just(FloorReason::Acked),
        Just(FloorReason::Full),
        Just(FloorReason::Age),
        Just(FloorReason::Damaged)
    ];
    let frames = vec(vec(any::<u8>(), 0..300).prop_map(Bytes::from), 1..20);
    (lane(), incarnation(), any::<u64>(), reason, 1..u64::MAX - 20, frames).prop_map(
        |(lane, incarnation, floor, floor_reason, first_seq, frames)| Frames {
            lane,
            incarnation,
            floor,
            floor_reason,
            first_seq,
            frames,
        },
    )
}

fn status() -> impl Strategy<Value = Status> {
    let link = prop_oneof![Just(LinkKind::Unknown), Just(LinkKind::Metered), Just(LinkKind::Wifi)];
    let collection = prop_oneof![
        Just(CollectionLevel::Full),
        Just(CollectionLevel::Stretched),
        Just(CollectionLevel::EventsOnly)
    ];
    let budget = option::of(any::<(u32, u64, u64)>());
    let refused = option::of((any::<u32>(), "\\PC{0,60}"));
    let rest = (any::<(u32, u32, bool)>(), any::<(u64, u64, u64, u64)>());
    (connection(), clock(), link, collection, budget, refused, rest).prop_map(
        |(connection, clock, link, collection, budget, refused, (policy, counts))| Status {
            connection,
            policy_revision: policy.0,
            policy_fingerprint: policy.1,
            policy_refused: refused.map(|(revision, reason)| PolicyRefused { revision, reason }),
            clock,
            link,
            collection,
            bulk_held: policy.2,
            budget: budget.map(|(month, spent_bytes, bytes)| BudgetStatus { month, spent_bytes, bytes }),
            frames_held: counts.0,
            frames_shed: counts.1,
            frames_damaged: counts.2,
            readings_dropped: counts.3,
        },
    )
}

/// Messages of the vehicle.
pub fn up() -> impl Strategy<Value = Up> {
    let value = any::<(u16, i64, u64)>().prop_map(|(id, raw, at)| (SignalId(id), raw, at));
    let live = (incarnation(), any::<u32>(), any::<Option<i64>>(), vec(value, 0..100))
        .prop_map(|(incarnation, boot, wall_ms, values)| Live { incarnation, boot, wall_ms, values });
    let reason = prop_oneof![
        Just(FarewellReason::Lost),
        Just(FarewellReason::Stopping),
        Just(FarewellReason::Sleeping)
    ];
    prop_oneof![
        hello().prop_map(Up::Hello),
        frames().prop_map(Up::Frames),
        live.prop_map(Up::Live),
        (connection(), reason).prop_map(|(connection, reason)| Up::Farewell(Farewell { connection, reason })),
        status().prop_map(Up::Status),
        watching().prop_map(Up::Watching),
    ]
}

fn lane_ack() -> impl Strategy<Value = LaneAck> {
    (lane(), incarnation(), any::<(u64, u64, u32)>()).prop_map(
        |(lane, incarnation, (received, durable, credit))| LaneAck {
            lane,
            incarnation,
            received,
            durable,
            credit,
        },
    )
}

/// Messages of the cloud.
pub fn down() -> impl Strategy<Value = Down> {
    let acks = vec(lane_ack(), 0..=limits::HELLO_LANES_MAX);
    let welcome = (connection(), any::<(u8, u64, i64, bool)>(), acks).prop_map(
        |(connection, (wire, epoch, server_time_ms, resync), acks)| Welcome {
            connection,
            wire,
            epoch: Epoch(epoch),
            server_time_ms,
            acks,
            resync,
        },
    );
    let ack = (lane_ack(), any::<(u64, i64, bool, bool)>()).prop_map(
        |(ack, (epoch, server_time_ms, missing, greet))| Ack {
            ack,
            epoch: Epoch(epoch),
            server_time_ms,
            missing,
            greet,
        },
    );
    let kind = prop_oneof![
        any::<bool>().prop_map(CommandKind::Lock),
        Just(CommandKind::Honk),
        any::<u16>().prop_map(CommandKind::SpeedLimit),
        Just(CommandKind::Reboot),
        any::<([u8; 16], u8)>().prop_map(|(question, option)| CommandKind::Answer { question, option }),
    ];
    let command = (any::<([u8; 16], u64, i64)>(), incarnation(), kind, vec(any::<u8>(), 64)).prop_map(
        |((id, epoch, expires_ms), incarnation, kind, signature)| Command {
            id,
            epoch: Epoch(epoch),
            expires_ms,
            incarnation,
            kind,
            signature,
        },
    );
    let policy = (any::<u32>(), "\\PC{0,300}").prop_map(|(revision, document)| Policy { revision, document });
    prop_oneof![
        welcome.prop_map(Down::Welcome),
        ack.prop_map(Down::Ack),
        command.prop_map(Down::Command),
        policy.prop_map(Down::Policy),
        any::<u16>().prop_map(|interval_s| Down::Ask(Ask { interval_s })),
        any::<u32>().prop_map(|spread_ms| Down::HandOver(HandOver { spread_ms })),
        trip_watch().prop_map(Down::Watch),
    ]
}

/// Changes to bytes: places, and what to put there; then how many bytes to keep.
pub type Mutation = (Vec<(prop::sample::Index, u8)>, Option<prop::sample::Index>);

/// Mutations that change a few bytes and sometimes cut.
pub fn mutation() -> impl Strategy<Value = Mutation> {
    let byte = prop_oneof![any::<u8>(), Just(0), Just(0xff), Just(0x80), Just(0x7f)];
    (vec((any::<prop::sample::Index>(), byte), 0..6), option::weighted(0.2, any::<prop::sample::Index>()))
}

/// Applies one.
pub fn mutate(bytes: &mut Vec<u8>, (changes, keep): &Mutation) {
    for (at, with) in changes {
        let at = at.index(bytes.len());
        bytes[at] = *with;
    }
    if let Some(keep) = keep {
        bytes.truncate(keep.index(bytes.len()));
    }
}

/// Gives changed bytes of a frame a CRC that fits again, so that they get past it.
pub fn seal(mut content: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&content);
    content.extend_from_slice(&crc.to_le_bytes());
    content
}
