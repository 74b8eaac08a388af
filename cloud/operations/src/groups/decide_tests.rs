use proptest::prelude::*;
use remuda_eventsourcing::Context;
use remuda_model::VehicleId;
use remuda_wire::CommandKind;

use super::super::*;
use crate::limits;

fn context() -> Context {
    Context { now_ms: 7, command_id: "c".into(), actor: "ada".into(), correlation_id: "g".into() }
}

fn vehicles(count: usize) -> Vec<VehicleId> {
    (0..count).map(|n| VehicleId::new(&format!("V{n:05}")).unwrap()).collect()
}

fn spec(threshold: Option<Threshold>) -> Spec {
    Spec {
        kind: CommandKind::Honk,
        reason: "a drill".into(),
        filter: "presence = ONLINE".into(),
        requested_by: "ada".into(),
        identity: "ada".into(),
        request_id: "r".into(),
        excluded: 0,
        vehicles_per_1000_s: 1_000,
        under_way_max: 4,
        ttl_ms: 60_000,
        threshold,
    }
}

fn apply(state: &mut Group, command: GroupCommand) -> Result<Vec<GroupEvent>, GroupRefusal> {
    let events = decide(state, &command, &context())?;
    events.iter().for_each(|event| evolve(state, event));
    Ok(events)
}

fn created(count: usize, threshold: Option<Threshold>, because: Option<&str>) -> Group {
    let mut state = Group::default();
    let because = because.map(str::to_owned);
    let create = GroupCommand::Create { spec: spec(threshold), vehicles: vehicles(count), because };
    apply(&mut state, create).unwrap();
    state
}

fn end(index: u32, outcome: Outcome) -> Ending {
    Ending { index, outcome, detail: String::new() }
}

fn why() -> String {
    "because".into()
}

#[test]
fn every_vehicle_has_one_turn_and_one_end() {
    let mut state = created(3, None, None);
    let first = GroupCommand::Dispatch { from: 0, count: 2 };
    assert_eq!(apply(&mut state, first.clone()).unwrap().len(), 1);
    assert!(apply(&mut state, first).unwrap().is_empty(), "the same turn again");
    let far = GroupCommand::Dispatch { from: 3, count: 9 };
    assert!(apply(&mut state, far).unwrap().is_empty(), "nobody is left out");
    let early = GroupCommand::Settle(vec![end(2, Outcome::Done), end(9, Outcome::Done)]);
    assert!(apply(&mut state, early).unwrap().is_empty(), "what was not given cannot end");
    apply(&mut state, GroupCommand::Settle(vec![end(0, Outcome::Done), end(0, Outcome::Failed)])).unwrap();
    assert_eq!((state.line.count(Outcome::Done), state.line.count(Outcome::Failed)), (1, 0));
    let again = GroupCommand::Settle(vec![end(0, Outcome::Failed)]);
    assert!(apply(&mut state, again).unwrap().is_empty(), "the first end counts");
    apply(&mut state, GroupCommand::Dispatch { from: 2, count: 9 }).unwrap();
    let last = GroupCommand::Settle(vec![end(1, Outcome::Expired), end(2, Outcome::Done)]);
    apply(&mut state, last).unwrap();
    assert_eq!((state.line.phase, state.line.open()), (Phase::Completed, 0));
    assert_eq!(
        apply(&mut state, GroupCommand::Pause { reason: why() }),
        Err(GroupRefusal::WrongPhase("completed"))
    );
}

#[test]
fn it_pauses_by_itself_and_counts_anew_when_it_goes_on() {
    let mut state = created(20, Some(Threshold { percent: 50, after_vehicles: 2 }), None);
    apply(&mut state, GroupCommand::Dispatch { from: 0, count: 6 }).unwrap();
    apply(&mut state, GroupCommand::Settle(vec![end(0, Outcome::Failed)])).unwrap();
    assert_eq!(state.line.phase, Phase::Running, "one is too few to tell");
    apply(&mut state, GroupCommand::Settle(vec![end(1, Outcome::Expired)])).unwrap();
    assert_eq!(state.line.phase, Phase::Running, "one that was away says nothing");
    apply(&mut state, GroupCommand::Settle(vec![end(2, Outcome::Done)])).unwrap();
    assert_eq!((state.line.phase, state.line.phase_by.as_str()), (Phase::Paused, "threshold"));
    assert!(apply(&mut state, GroupCommand::Dispatch { from: 6, count: 1 }).unwrap().is_empty());
    apply(&mut state, GroupCommand::Resume { reason: why() }).unwrap();
    apply(&mut state, GroupCommand::Settle(vec![end(3, Outcome::Failed)])).unwrap();
    assert_eq!(state.line.phase, Phase::Running, "what was before was looked at");
    apply(&mut state, GroupCommand::Settle(vec![end(4, Outcome::Refused)])).unwrap();
    assert_eq!(state.line.phase, Phase::Paused);
}

#[test]
fn called_off_it_waits_for_what_is_under_way() {
    let mut state = created(5, None, None);
    apply(&mut state, GroupCommand::Dispatch { from: 0, count: 2 }).unwrap();
    apply(&mut state, GroupCommand::Abort { reason: why() }).unwrap();
    assert_eq!(state.line.phase, Phase::Aborting);
    assert!(apply(&mut state, GroupCommand::Dispatch { from: 2, count: 1 }).unwrap().is_empty());
    let ends = GroupCommand::Settle(vec![end(0, Outcome::Cancelled), end(1, Outcome::Done)]);
    apply(&mut state, ends).unwrap();
    assert_eq!((state.line.phase, state.line.count(Outcome::Waiting)), (Phase::Aborted, 3));
    let mut idle = created(5, None, None);
    apply(&mut idle, GroupCommand::Abort { reason: why() }).unwrap();
    assert_eq!(idle.line.phase, Phase::Aborted, "nothing was under way");
}

#[test]
fn a_second_person_starts_what_they_saw_and_nothing_else() {
    let mut state = created(5, None, Some("it is large"));
    assert!(apply(&mut state, GroupCommand::Dispatch { from: 0, count: 1 }).unwrap().is_empty());
    let other = GroupCommand::Start { by: "bob".into(), digest: digest(&spec(None), &vehicles(4)) };
    assert_eq!(apply(&mut state, other), Err(GroupRefusal::OtherContent));
    let mut denied = state.clone();
    apply(&mut denied, GroupCommand::Deny { by: "bob".into(), reason: why() }).unwrap();
    assert_eq!(denied.line.phase, Phase::Denied);
    let seen = GroupCommand::Start { by: "bob".into(), digest: digest(&spec(None), &vehicles(5)) };
    assert_eq!(apply(&mut denied, seen.clone()), Err(GroupRefusal::WrongPhase("denied")));
    apply(&mut state, seen).unwrap();
    assert_eq!((state.line.phase, state.line.phase_by.as_str()), (Phase::Running, "bob"));
}

#[test]
fn what_cannot_be_is_refused() {
    let with = |edit: &dyn Fn(&mut Spec), count: usize| {
        let mut spec = spec(None);
        edit(&mut spec);
        let command = GroupCommand::Create { spec, vehicles: vehicles(count), because: None };
        decide(&Group::default(), &command, &context())
    };
    assert_eq!(with(&|_| {}, 0), Err(GroupRefusal::NoVehicles));
    assert_eq!(with(&|_| {}, limits::VEHICLES_MAX + 1), Err(GroupRefusal::TooManyVehicles(10_001)));
    let bad: [&dyn Fn(&mut Spec); 6] = [
        &|s| s.reason.clear(),
        &|s| s.vehicles_per_1000_s = 0,
        &|s| s.under_way_max = 0,
        &|s| s.ttl_ms = 1,
        &|s| s.kind = CommandKind::SpeedLimit(300),
        &|s| s.threshold = Some(Threshold { percent: 0, after_vehicles: 1 }),
    ];
    for edit in bad {
        assert!(matches!(with(edit, 1), Err(GroupRefusal::BadValue(_))));
    }
    let largest = with(&|_| {}, limits::VEHICLES_MAX).unwrap();
    let bytes = largest.iter().map(|event| event.encode().payload.len()).max().unwrap();
    assert!(bytes < remuda_entities::limits::PAYLOAD_BYTES_MAX, "{bytes}");
    let mut state = created(2, None, None);
    let again = |spec| GroupCommand::Create { spec, vehicles: vehicles(3), because: None };
    assert!(apply(&mut state, again(spec(None))).unwrap().is_empty(), "the same request again");
    let other = Spec { kind: CommandKind::Reboot, ..spec(None) };
    assert_eq!(apply(&mut state, again(other)), Err(GroupRefusal::RequestIdReused));
    assert_eq!(apply(&mut Group::default(), GroupCommand::Settle(vec![])), Err(GroupRefusal::NoSuchGroup));
}

fn any_command() -> impl Strategy<Value = GroupCommand> {
    let outcome = (1..Outcome::COUNT).prop_map(|n| OUTCOMES[n]);
    prop_oneof![
        4 => (0u32..12, 0u32..4).prop_map(|(from, count)| GroupCommand::Dispatch { from, count }),
        8 => prop::collection::vec((0u32..12, outcome), 0..4)
            .prop_map(|all| GroupCommand::Settle(all.into_iter().map(|(i, o)| end(i, o)).collect())),
        1 => Just(GroupCommand::Pause { reason: why() }),
        2 => Just(GroupCommand::Resume { reason: why() }),
        1 => Just(GroupCommand::Abort { reason: why() }),
    ]
}

proptest! {
    /// Whatever is asked in whatever order: counts agree with the vehicles, an end stays, turns come in order, and what
    /// is stored comes back.
    #[test]
    fn counts_agree_and_ends_stay(
        commands in prop::collection::vec(any_command(), 0..60),
        threshold in prop::option::of((1u8..=100, 1u32..5)),
    ) {
        let threshold = threshold.map(|(percent, after_vehicles)| Threshold { percent, after_vehicles });
        let mut state = created(10, threshold, None);
        for command in commands {
            let before = state.clone();
            for event in apply(&mut state, command).unwrap_or_default() {
                let stored = event.encode();
                prop_assert_eq!(
                    Groups::decode(stored.event_type, stored.schema_version, &stored.payload),
                    Ok(event)
                );
            }
            for outcome in OUTCOMES {
                let members = state.members.iter().filter(|m| m.outcome == outcome).count() as u32;
                prop_assert_eq!(members, state.line.count(outcome), "{:?}", outcome);
            }
            let given = state.members.iter().position(|m| m.outcome == Outcome::Waiting).unwrap_or(10);
            prop_assert_eq!(given as u32, state.line.dispatched);
            for (was, is) in before.members.iter().zip(&state.members) {
                prop_assert!(!was.outcome.is_final() || was == is);
            }
            prop_assert!(!before.line.phase.is_final() || before == state);
            let idle = state.line.open() == 0 && state.line.dispatched == 10;
            prop_assert!(!idle || state.line.phase.is_final());
        }
    }
}
