//! Events that must be read for ever. Cases are only ever added.

// In a test, also in what it is made of, a panic is the answer.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use remuda_eventsourcing::Aggregate;
use remuda_eventsourcing::testing::{golden_event, written_now};
use remuda_model::VehicleId;
use remuda_operations::approvals::event as approval;
use remuda_operations::approvals::{ApprovalEvent as Ap, Approvals, Content, Person};
use remuda_operations::assistance::event as assistance;
use remuda_operations::assistance::{AssistanceEvent as As, Requests};
use remuda_operations::groups::event as group;
use remuda_operations::groups::{GroupEvent as Gr, Groups, Outcome, Spec, Threshold};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{CommandKind, Decided as Why, PositionE7, Question};

fn vehicle() -> VehicleId {
    VehicleId::new("V1").unwrap()
}

fn assistance_cases() -> Vec<(As, &'static str)> {
    let question = Question {
        id: [7; 16],
        text: "pass?".into(),
        options: vec!["wait".into(), "go".into()],
        safe_default: 0,
        timeout_ms: 60_000,
        waited_ms: 5,
        position: Some(PositionE7 { latitude_e7: 601_700_000, longitude_e7: -249_400_000 }),
    };
    let asked = |question: &Question| {
        let (vehicle, question) = (vehicle(), question.clone());
        As::Asked(assistance::Asked {
            vehicle,
            question,
            asked_ms: 1_000,
            deadline_ms: 61_000,
            time_ms: 1_200,
        })
    };
    let by = || "ada".to_owned();
    let given = |given| As::Given(assistance::Given { given, time_ms: 6 });
    let decided = |why| As::Decided(assistance::Decided { option: 1, why, time_ms: 8 });
    let acted = |outcome| As::Acted(assistance::Acted { outcome, time_ms: 9 });
    vec![
        (
            asked(&question),
            "0256310707070707070707070707070707070705706173733f02047761697402676f00e0d4030501c0dae9bd04ffaaeced01d00f90b907e012",
        ),
        (
            asked(&Question { position: None, ..question }),
            "0256310707070707070707070707070707070705706173733f02047761697402676f00e0d4030500d00f90b907e012",
        ),
        (As::Taken(assistance::Taken { by: by(), time_ms: 3 }), "0361646106"),
        (As::Released(assistance::Released { by: by(), reason: "x".into(), time_ms: 4 }), "03616461017808"),
        (
            As::Answered(assistance::Answered { by: by(), option: 1, reason: "y".into(), time_ms: 5 }),
            "036164610101790a",
        ),
        (given(Ok("c1".into())), "000263310c"),
        (given(Err("no".into())), "01026e6f0c"),
        (As::Returned(assistance::Returned { why: "no".into(), time_ms: 7 }), "026e6f0e"),
        (As::Expired(assistance::Expired { time_ms: 61_000 }), "90b907"),
        (decided(Why::Answered), "010010"),
        (decided(Why::TimedOut), "010110"),
        (decided(Why::Restarted), "010210"),
        (acted(CommandOutcome::Accepted), "0012"),
        (acted(CommandOutcome::Done), "0112"),
        (acted(CommandOutcome::Failed("f".into())), "02016612"),
        (acted(CommandOutcome::Expired), "0312"),
        (acted(CommandOutcome::Refused("r".into())), "04017212"),
        (acted(CommandOutcome::Unknown), "0512"),
        (As::Forgotten(assistance::Forgotten { time_ms: 10 }), "14"),
    ]
}

fn group_cases() -> Vec<(Gr, &'static str)> {
    let created = |kind, because: Option<&str>, threshold| {
        let spec = Spec {
            kind,
            reason: "drill".into(),
            filter: "f".into(),
            requested_by: "ada".into(),
            identity: "i".into(),
            request_id: "r".into(),
            excluded: 2,
            vehicles_per_1000_s: 1_000,
            under_way_max: 4,
            ttl_ms: 60_000,
            threshold,
        };
        let because = because.map(str::to_owned);
        Gr::Created(group::Created { spec, vehicles: 3, digest: [9; 32], because, time_ms: 1 })
    };
    let threshold = Some(Threshold { percent: 20, after_vehicles: 10 });
    let steered = || group::Steered { by: "bob".into(), reason: "x".into(), time_ms: 2 };
    let outcomes = [
        Outcome::Waiting,
        Outcome::Given,
        Outcome::Done,
        Outcome::Failed,
        Outcome::Expired,
        Outcome::Refused,
        Outcome::Unknown,
        Outcome::Cancelled,
        Outcome::Rejected,
    ];
    let endings = (0..).zip(outcomes).map(|(place, outcome)| (place, outcome, "w".to_owned())).collect();
    vec![
        (
            created(CommandKind::Lock(true), None, None),
            "0001056472696c6c0166036164610169017202e80704c0a907000309090909090909090909090909090909090909090909090909090909090909090002",
        ),
        (
            created(CommandKind::Honk, Some("many"), threshold),
            "01056472696c6c0166036164610169017202e80704c0a90701140a03090909090909090909090909090909090909090909090909090909090909090901046d616e7902",
        ),
        (
            created(CommandKind::SpeedLimit(300), None, None),
            "02ac02056472696c6c0166036164610169017202e80704c0a907000309090909090909090909090909090909090909090909090909090909090909090002",
        ),
        (
            created(CommandKind::Reboot, None, None),
            "03056472696c6c0166036164610169017202e80704c0a907000309090909090909090909090909090909090909090909090909090909090909090002",
        ),
        (Gr::VehiclesNamed(group::VehiclesNamed { vehicles: vec![vehicle()] }), "01025631"),
        (Gr::Approved(steered()), "03626f62017804"),
        (Gr::Denied(steered()), "03626f62017804"),
        (Gr::Dispatched(group::Dispatched { from: 1, count: 2, time_ms: 3 }), "010206"),
        (
            Gr::Settled(group::Settled { endings, time_ms: 4 }),
            "0900000177010101770202017703030177040401770505017706060177070701770808017708",
        ),
        (Gr::Paused(steered()), "03626f62017804"),
        (Gr::Resumed(steered()), "03626f62017804"),
        (Gr::Aborted(steered()), "03626f62017804"),
        (Gr::Completed(group::Completed { time_ms: 5 }), "0a"),
    ]
}

fn approval_cases() -> Vec<(Ap, &'static str)> {
    let person = |subject: &str| Person { subject: subject.into(), identity: "i".into() };
    let asked = |content| {
        let (because, by) = ("many".to_owned(), person("ada"));
        Ap::Asked(approval::Asked { content, because, by, digest: [9; 32], time_ms: 1, expires_ms: 60_001 })
    };
    let command = Content::Command {
        vehicle: vehicle(),
        kind: CommandKind::Lock(false),
        reason: "x".into(),
        request_id: "r".into(),
        ttl_ms: 60_000,
    };
    let group = Content::Group {
        kind: CommandKind::Reboot,
        reason: "x".into(),
        request_id: "r".into(),
        vehicles: 300,
        ttl_ms: 60_000,
        digest: [8; 32],
    };
    let decided = || approval::Decided { by: person("bob"), reason: "y".into(), time_ms: 2 };
    vec![
        (
            asked(command),
            "00025631000001780172c0a907046d616e79036164610169090909090909090909090909090909090909090909090909090909090909090902c2a907",
        ),
        (
            asked(group),
            "010301780172ac02c0a9070808080808080808080808080808080808080808080808080808080808080808046d616e79036164610169090909090909090909090909090909090909090909090909090909090909090902c2a907",
        ),
        (Ap::Approved(decided()), "03626f620169017904"),
        (Ap::Denied(decided()), "03626f620169017904"),
        (Ap::Expired(approval::Expired { time_ms: 3 }), "06"),
        (Ap::Concluded(approval::Concluded { result: "z".into(), time_ms: 4 }), "017a08"),
    ]
}

/// Each case is read as it was meant, and each type of event has one.
fn read<A: Aggregate>(cases: Vec<(A::Event, &str)>, types: &[(&str, u16)]) {
    let mut seen = BTreeSet::new();
    for (event, hex) in cases {
        let event_type = A::encode(&event).event_type;
        if std::env::var_os("REMUDA_WRITE_TABLES").is_some() {
            println!("golden {event_type} {}", written_now::<A>(&event));
            continue;
        }
        golden_event::<A>(event_type, 1, hex, &event);
        seen.insert(event_type);
    }
    if std::env::var_os("REMUDA_WRITE_TABLES").is_none() {
        assert_eq!(seen, types.iter().map(|(name, _)| *name).collect(), "every event has a case");
    }
}

#[test]
fn what_was_written_of_assistance_is_read_for_ever() {
    read::<Requests>(assistance_cases(), As::TYPES);
}

#[test]
fn what_was_written_of_groups_is_read_for_ever() {
    read::<Groups>(group_cases(), Gr::TYPES);
}

#[test]
fn what_was_written_of_approvals_is_read_for_ever() {
    read::<Approvals>(approval_cases(), Ap::TYPES);
}
