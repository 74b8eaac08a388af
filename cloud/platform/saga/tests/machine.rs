//! The pure machine: given these events, when this command, then those events.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use remuda_eventsourcing::testing::{context, given, golden_event};
use remuda_eventsourcing::{Aggregate, Refusal};
use remuda_saga::aggregate::*;
use remuda_saga::{Definition, StepBuilder};

const NOW: i64 = 1_700_000_000_000;

fn booking() -> Arc<Definition> {
    let step = |n: u8| StepBuilder::call("s", &format!("do-{n}")).undone_by(&format!("undo-{n}")).tries(2);
    Arc::new(
        Definition::named("Booking").step(step(0)).step(step(1)).step(step(2)).build().expect("it is valid"),
    )
}

fn started(definition: &Arc<Definition>, opened: &[u16]) -> SagaEvent {
    SagaEvent::Started(Started {
        definition: Arc::clone(definition),
        input: "{}".into(),
        seed: 7,
        at_ms: NOW,
        opened: opened.to_vec(),
    })
}

fn start(definition: &Arc<Definition>) -> Command {
    Command::Start { definition: Arc::clone(definition), input: "{}".into(), seed: 7 }
}

fn opened(steps: &[u16]) -> SagaEvent {
    SagaEvent::StepsOpened(StepsOpened { steps: steps.to_vec() })
}

fn done(step: u16, opened: &[u16]) -> SagaEvent {
    SagaEvent::StepSucceeded(StepSucceeded { step, output: "1".into(), opened: opened.to_vec() })
}

fn succeed(step: u16) -> Command {
    Command::Succeeded { step, output: "1".into(), uncalled: Vec::new() }
}

fn failure(kind: FailureKind) -> Failure {
    Failure { kind, code: kind.code().into(), detail: String::new() }
}

fn fail(step: u16, kind: FailureKind, uncalled: &[u16]) -> Command {
    Command::Failed { step, failure: failure(kind), inherited: false, uncalled: uncalled.to_vec() }
}

fn failed(step: u16, kind: FailureKind) -> SagaEvent {
    SagaEvent::StepFailed(StepFailed { step, failure: failure(kind), doubtful: kind.may_have_happened() })
}

fn unwinding(step: u16, code: &str) -> SagaEvent {
    SagaEvent::UnwindingBegun(UnwindingBegun { cause: Cause::StepFailed { step, code: code.into() } })
}

fn undone(step: u16) -> SagaEvent {
    SagaEvent::StepUndone(StepUndone { step })
}

/// A past that these commands make.
fn after(commands: impl IntoIterator<Item = Command>) -> Vec<SagaEvent> {
    let (mut state, mut past, context) = (State::default(), Vec::new(), context());
    for command in commands {
        let events = Saga::decide(&state, &command, &context).expect("it is not refused");
        events.iter().for_each(|event| Saga::evolve(&mut state, event));
        past.extend(events);
    }
    past
}

const COMPLETED: SagaEvent = SagaEvent::Completed(Completed { at_ms: NOW });
const COMPENSATED: SagaEvent = SagaEvent::Compensated(Compensated { at_ms: NOW });

#[test]
fn steps_are_opened_one_ahead_and_all_done_is_completed() {
    let definition = booking();
    given::<Saga>([])
        .when(start(&definition))
        .then([started(&definition, &[0, 1])])
        .when(succeed(0))
        .then([done(0, &[2])])
        .when(succeed(1))
        .then([done(1, &[])])
        .when(succeed(2))
        .then([done(2, &[]), COMPLETED])
        .when(succeed(2))
        .then([]);
}

#[test]
fn a_refusal_unwinds_what_was_done_in_reverse() {
    let definition = booking();
    given::<Saga>([started(&definition, &[0, 1]), done(0, &[2]), done(1, &[])])
        .when(fail(2, FailureKind::Refused, &[]))
        .then([failed(2, FailureKind::Refused), unwinding(2, "refused")])
        .when(Command::Undone { step: 0 })
        .then_refused("out-of-order")
        .when(Command::Undone { step: 1 })
        .then([undone(1)])
        .when(Command::Undone { step: 0 })
        .then([undone(0), COMPENSATED]);
}

#[test]
fn a_step_that_may_have_happened_is_undone_and_one_that_was_never_called_is_not() {
    let definition = booking();
    let past = [started(&definition, &[0, 1]), done(0, &[2])];
    let closed = SagaEvent::StepsClosed(StepsClosed { steps: vec![2] });
    let doubtful = given::<Saga>(past.clone())
        .when(fail(1, FailureKind::TimedOut, &[2]))
        .then_events(|events| matches!(events, [SagaEvent::TryFailed(t)] if (NOW + 100..=NOW + 200).contains(&t.retry_at_ms)))
        // The last try is refused: but nobody knows about the one before.
        .when(fail(1, FailureKind::Refused, &[2]))
        .then([
            SagaEvent::StepFailed(StepFailed { step: 1, failure: failure(FailureKind::Refused), doubtful: true }),
            closed.clone(),
            unwinding(1, "refused"),
        ]);
    assert_eq!(next(doubtful.state(), NOW), [Intent::Undo { step: 1, attempt: 1 }]);
    let certain = given::<Saga>(past.clone()).when(fail(1, FailureKind::Refused, &[2])).then([
        failed(1, FailureKind::Refused),
        closed,
        unwinding(1, "refused"),
    ]);
    assert_eq!(next(certain.state(), NOW), [Intent::Undo { step: 0, attempt: 1 }]);
    let transient = Command::Failed {
        step: 1,
        failure: failure(FailureKind::Refused),
        inherited: true,
        uncalled: vec![2],
    };
    let inherited = given::<Saga>(past.clone()).when(transient).then_events(|events| events.len() == 3);
    assert_eq!(next(inherited.state(), NOW), [Intent::Undo { step: 1, attempt: 1 }]);
    // After a crash nobody knows whether the step ahead was called.
    let crashed = given::<Saga>(past)
        .when(fail(1, FailureKind::Refused, &[]))
        .then([failed(1, FailureKind::Refused), unwinding(1, "refused")]);
    assert_eq!(next(crashed.state(), NOW), [Intent::Undo { step: 2, attempt: 1 }]);
}

#[test]
fn an_undo_that_keeps_failing_is_stuck_until_somebody_resolves_it() {
    let definition = booking();
    let undo_failed = Command::UndoFailed { step: 0, failure: failure(FailureKind::Transient) };
    let first = [start(&definition), succeed(0), fail(1, FailureKind::Refused, &[1, 2]), undo_failed.clone()];
    let stuck = || {
        given::<Saga>(after(first.clone())).when(undo_failed.clone()).then_events(|events| {
        matches!(events, [SagaEvent::UndoFailed(_), SagaEvent::Stuck(s)] if s.step == 0 && s.why == StuckWhy::UndoGivenUp)
    })
    };
    assert_eq!(next(stuck().state(), NOW + 1_000_000), []);
    let reason = || "done by hand".to_owned();
    let again = stuck()
        .when(Command::Retry { reason: " ".into() })
        .then_refused("reason-missing")
        .when(Command::Skip { step: 1, reason: reason() })
        .then_refused("not-skippable")
        .when(Command::Compensate { reason: reason(), uncalled: vec![] })
        .then_refused("already-unwinding")
        .when(Command::Retry { reason: reason() })
        .then([SagaEvent::OperatorRetried(OperatorRetried { reason: reason() })]);
    assert_eq!(next(again.state(), NOW), [Intent::Undo { step: 0, attempt: 1 }]);
    again.when(Command::Undone { step: 0 }).then([undone(0), COMPENSATED]);
    stuck()
        .when(Command::Skip { step: 0, reason: reason() })
        .then([SagaEvent::OperatorSkipped(OperatorSkipped { step: 0, reason: reason() }), COMPENSATED]);
}

#[test]
fn cancelling_and_forcing_turn_round_and_a_completed_saga_stays() {
    let definition = booking();
    let cancel = || Command::Cancel { reason: "no longer needed".into(), uncalled: vec![0, 1] };
    let by_user = Cause::Cancelled { by: "user/tester".into(), reason: "no longer needed".into() };
    given::<Saga>([started(&definition, &[0, 1])])
        .when(cancel())
        .then([
            SagaEvent::StepsClosed(StepsClosed { steps: vec![0, 1] }),
            SagaEvent::UnwindingBegun(UnwindingBegun { cause: by_user }),
            COMPENSATED,
        ])
        .when(cancel())
        .then([]);
    let all = [started(&definition, &[0, 1]), done(0, &[2]), done(1, &[]), done(2, &[]), COMPLETED];
    given::<Saga>(all.clone()).when(cancel()).then_refused("already-completed");
    let force = || Command::Compensate { reason: "fraud".into(), uncalled: vec![] };
    given::<Saga>(all).when(force()).then_refused("already-completed");
    let by_hand = Cause::Forced { by: "user/tester".into(), reason: "fraud".into() };
    let forced = given::<Saga>([started(&definition, &[0, 1])])
        .when(Command::Hold { step: 0, reason: "no service".into() })
        .then_events(|events| matches!(events, [SagaEvent::Stuck(s)] if s.why == StuckWhy::NoService))
        .when(force())
        .then([SagaEvent::UnwindingBegun(UnwindingBegun { cause: by_hand })]);
    assert_eq!(forced.state().stuck, None);
}

#[test]
fn a_late_answer_of_a_step_counts_while_unwinding() {
    let definition = Arc::new(
        Definition::named("Pair")
            .parallel([
                StepBuilder::call("s", "a").undone_by("not-a"),
                StepBuilder::call("s", "b").undone_by("not-b"),
            ])
            .build()
            .expect("it is valid"),
    );
    let past = [started(&definition, &[0, 1]), failed(0, FailureKind::Refused), unwinding(0, "refused")];
    // While its action is under way the other is undone only when its answer is there: the runner sees to that.
    let open = given::<Saga>(past.clone());
    assert_eq!(next(open.state(), NOW), [Intent::Undo { step: 1, attempt: 1 }]);
    given::<Saga>(past.clone())
        .when(succeed(1))
        .then([done(1, &[])])
        .when(Command::Undone { step: 1 })
        .then([undone(1), COMPENSATED]);
    given::<Saga>(past.clone())
        .when(fail(1, FailureKind::Transient, &[]))
        .then([failed(1, FailureKind::Transient), COMPENSATED]);
    given::<Saga>(past).when(fail(1, FailureKind::TimedOut, &[])).then([failed(1, FailureKind::TimedOut)]);
}

#[test]
fn a_timer_is_set_when_its_turn_comes_and_nothing_opens_past_it() {
    let definition = Arc::new(
        Definition::named("Waits")
            .step(StepBuilder::call("s", "a"))
            .timer("grace", Duration::from_secs(60))
            .step(StepBuilder::call("s", "b"))
            .build()
            .expect("it is valid"),
    );
    let fires_at_ms = NOW + 60_000;
    let waiting = given::<Saga>([started(&definition, &[0])])
        .when(succeed(0))
        .then([done(0, &[]), SagaEvent::TimerSet(TimerSet { step: 1, fires_at_ms })]);
    assert_eq!(next(waiting.state(), NOW), [Intent::WakeAt(fires_at_ms)]);
    assert_eq!(next(waiting.state(), fires_at_ms), [Intent::Fire { step: 1 }]);
    waiting
        .when(Command::TimerFired { step: 1 })
        .then_refused("too-early")
        .at(fires_at_ms)
        .when(Command::TimerFired { step: 1 })
        .then([SagaEvent::TimerFired(TimerFired { step: 1 }), opened(&[2])]);
    given::<Saga>(after([start(&definition), succeed(0)]))
        .when(Command::Skip { step: 1, reason: "now".into() })
        .then([SagaEvent::OperatorSkipped(OperatorSkipped { step: 1, reason: "now".into() }), opened(&[2])]);
}

#[test]
fn starting_again_is_starting_once_and_an_id_is_taken_once() {
    let definition = booking();
    let past = [started(&definition, &[0, 1])];
    given::<Saga>(past.clone()).when(start(&definition)).then([]);
    let other = Command::Start { definition, input: "{\"rider\":1}".into(), seed: 7 };
    given::<Saga>(past).when(other).then_refused("id-taken");
    given::<Saga>([]).when(succeed(0)).then_refused("not-started");
    let big = Command::Start { definition: booking(), input: " ".repeat(20_000), seed: 7 };
    given::<Saga>([]).when(big).then_refused("input-too-large");
}

#[test]
fn an_output_that_cannot_be_kept_is_undone() {
    let definition = booking();
    let huge = Command::Succeeded { step: 0, output: "x".repeat(9_000), uncalled: vec![1] };
    given::<Saga>([started(&definition, &[0, 1])])
        .when(huge)
        .then_events(|events| matches!(events, [SagaEvent::StepFailed(f), SagaEvent::StepsClosed(_), SagaEvent::UnwindingBegun(_)] if f.failure.kind == FailureKind::OutputTooLarge))
        .when(Command::Undone { step: 0 })
        .then([undone(0), COMPENSATED]);
}

/// Bytes of the first released form. Cases are only added.
#[test]
fn old_events_are_read_for_ever() {
    let small = Arc::new(
        Definition::named("Small")
            .step(StepBuilder::call("s", "a").undone_by("b"))
            .timer("t", Duration::from_secs(1))
            .build()
            .expect("it is valid"),
    );
    let event = SagaEvent::Started(Started {
        definition: small,
        input: "{}".into(),
        seed: 300,
        at_ms: 1_000,
        opened: vec![0],
    });
    for (event_type, hex, event) in [
        ("saga.started", GOLDEN_STARTED, event),
        (
            "saga.step-succeeded",
            "02027b7d0103",
            SagaEvent::StepSucceeded(StepSucceeded { step: 2, output: "{}".into(), opened: vec![3] }),
        ),
        ("saga.steps-opened", "020001", opened(&[0, 1])),
        (
            "saga.try-failed",
            "010307696e2d7761697400d00f",
            SagaEvent::TryFailed(TryFailed {
                step: 1,
                failure: Failure {
                    kind: FailureKind::TimedOut,
                    code: "in-wait".into(),
                    detail: String::new(),
                },
                retry_at_ms: 1_000,
            }),
        ),
        ("saga.unwinding-begun", "00020178", unwinding(2, "x")),
        (
            "saga.stuck",
            "01000178d00f",
            SagaEvent::Stuck(Stuck { step: 1, why: StuckWhy::UndoGivenUp, reason: "x".into(), at_ms: 1_000 }),
        ),
        ("saga.compensated", "d00f", SagaEvent::Compensated(Compensated { at_ms: 1_000 })),
    ] {
        golden_event::<Saga>(event_type, 1, hex, &event);
    }
}

const GOLDEN_STARTED: &str =
    "05536d616c6c01020161000001730161010162904e05c801904e904e05c801904e01740101e807027b7dac02d00f0100";

fn any_command() -> impl Strategy<Value = Command> {
    let step = 0u16..5;
    let kind = prop::sample::select(vec![
        FailureKind::Refused,
        FailureKind::Transient,
        FailureKind::Unknown,
        FailureKind::TimedOut,
    ]);
    let uncalled = prop::collection::vec(0u16..5, 0..3);
    prop_oneof![
        6 => step.clone().prop_map(succeed),
        3 => (step.clone(), kind.clone(), uncalled.clone()).prop_map(|(s, k, u)| fail(s, k, &u)),
        6 => step.clone().prop_map(|step| Command::Undone { step }),
        2 => (step.clone(), kind).prop_map(|(step, kind)| Command::UndoFailed { step, failure: failure(kind) }),
        1 => step.clone().prop_map(|step| Command::TimerFired { step }),
        1 => step.clone().prop_map(|step| Command::Hold { step, reason: "r".into() }),
        1 => uncalled.clone().prop_map(|uncalled| Command::Cancel { reason: "r".into(), uncalled }),
        1 => uncalled.prop_map(|uncalled| Command::Compensate { reason: "r".into(), uncalled }),
        2 => Just(Command::Retry { reason: "r".into() }),
        2 => step.prop_map(|step| Command::Skip { step, reason: "r".into() }),
        1 => Just(start(&booking())),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    /// Whatever is asked of it in whatever order: a saga that ended did all or left nothing; what is done is undone from
    /// the end; and while it has not ended there is always something it wants, or somebody who is called.
    #[test]
    fn no_order_of_commands_breaks_a_saga(commands in prop::collection::vec(any_command(), 1..60)) {
        let mut state = State::default();
        let mut context = context();
        let decided = Saga::decide(&state, &start(&booking()), &context).expect("it starts");
        decided.iter().for_each(|event| Saga::evolve(&mut state, event));
        let mut last_undone = u16::MAX;
        for command in commands {
            context.now_ms += 1;
            let before = state.clone();
            match Saga::decide(&state, &command, &context) {
                Ok(events) => {
                    for event in &events {
                        let stored = Saga::encode(event);
                        prop_assert_eq!(&Saga::decode(stored.event_type, stored.schema_version, &stored.payload), &Ok(event.clone()));
                        Saga::evolve(&mut state, event);
                        if let SagaEvent::StepUndone(StepUndone { step }) = event {
                            prop_assert!(*step < last_undone, "{} undone after {}", step, last_undone);
                            last_undone = *step;
                        }
                    }
                }
                Err(refusal) => prop_assert!(!refusal.code().is_empty()),
            }
            if before.is_ended() {
                prop_assert_eq!(&before, &state);
            }
            match state.phase {
                Phase::Completed => prop_assert!(state.steps.iter().all(|s| s.status == StepStatus::Succeeded)),
                Phase::Compensated => prop_assert!(state.each().all(|(_, step, s)| !s.needs_undo(step))),
                _ if state.stuck.is_some() => prop_assert_eq!(next(&state, i64::MAX), []),
                _ => prop_assert!(!next(&state, i64::MAX).is_empty(), "{:?}", state),
            }
        }
    }
}
