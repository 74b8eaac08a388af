//! What follows from a wish, given how far a request for assistance is.

use remuda_eventsourcing::Context;
use remuda_model::VehicleId;
use remuda_wire::{Question, QuestionStep};

use super::command::AssistanceCommand;
use super::error::AssistanceRefusal;
use super::event::{
    Acted, Answered, Asked, AssistanceEvent, Decided, Expired, Forgotten, Given, Released, Returned, Taken,
};
use super::state::{Assistance, Phase};
use crate::limits;

type Decision = Result<Vec<AssistanceEvent>, AssistanceRefusal>;

/// The facts that follow; none when it is already so.
pub fn decide(state: &Assistance, command: &AssistanceCommand, context: &Context) -> Decision {
    use AssistanceCommand as C;
    let time_ms = context.now_ms;
    if let C::Ask { vehicle, question, asked_ms } = command {
        return Ok(ask(state, *vehicle, question, *asked_ms, time_ms));
    }
    let asked = state.asked.as_ref().ok_or(AssistanceRefusal::NoSuchRequest)?;
    match command {
        C::Ask { .. } => Ok(vec![]),
        C::Report { step } => Ok(report(state, step, time_ms)),
        C::Take { by } => take(state, asked, by, time_ms),
        C::Release { by, reason } => release(state, by, reason, time_ms),
        C::Answer { by, option, reason } => {
            answer(state, asked, (by.as_str(), *option, reason.as_str()), time_ms)
        }
        C::Give { command } if state.answered.is_some() && state.given.is_none() => {
            Ok(vec![AssistanceEvent::Given(Given { given: Ok(command.clone()), time_ms })])
        }
        // Once the vehicle has decided it does not matter which way.
        C::Return { why } if state.awaits_decision() => {
            Ok(vec![AssistanceEvent::Returned(Returned { why: why.clone(), time_ms })])
        }
        C::Give { .. } | C::Return { .. } => Ok(vec![]),
        C::Sweep => Ok(sweep(state, asked, time_ms)),
    }
}

fn ask(
    state: &Assistance,
    vehicle: VehicleId,
    question: &Question,
    asked_ms: i64,
    time_ms: i64,
) -> Vec<AssistanceEvent> {
    // Said again after a restart of the agent: the first time counts.
    if state.asked.is_some() {
        return vec![];
    }
    let deadline_ms = asked_ms.saturating_add(i64::from(question.timeout_ms));
    vec![AssistanceEvent::Asked(Asked {
        vehicle,
        question: question.clone(),
        asked_ms,
        deadline_ms,
        time_ms,
    })]
}

/// The first decision and the first end count, as in the vehicle itself.
fn report(state: &Assistance, step: &QuestionStep, time_ms: i64) -> Vec<AssistanceEvent> {
    match step {
        _ if state.ending.is_some() => vec![],
        QuestionStep::Decided { .. } if state.decided.is_some() => vec![],
        QuestionStep::Decided { option, why } => {
            vec![AssistanceEvent::Decided(Decided { option: *option, why: *why, time_ms })]
        }
        QuestionStep::Acted(outcome) => {
            vec![AssistanceEvent::Acted(Acted { outcome: outcome.clone(), time_ms })]
        }
    }
}

/// Whether the vehicle may still take an answer, whether or not anybody has noticed that its time is over.
fn still_waits(state: &Assistance, asked: &Asked, time_ms: i64) -> Result<(), AssistanceRefusal> {
    if state.decided.is_some() || state.ending.is_some() {
        return Err(AssistanceRefusal::AlreadyDecided);
    }
    if state.phase == Phase::Expired || time_ms >= asked.deadline_ms {
        return Err(AssistanceRefusal::Expired);
    }
    Ok(())
}

fn take(state: &Assistance, asked: &Asked, by: &str, time_ms: i64) -> Decision {
    if state.phase == Phase::Answered {
        return Err(AssistanceRefusal::AlreadyAnswered);
    }
    still_waits(state, asked, time_ms)?;
    match &state.taken {
        Some(taken) if taken.by == by => Ok(vec![]),
        Some(taken) => Err(AssistanceRefusal::TakenByAnother(taken.by.clone())),
        None => Ok(vec![AssistanceEvent::Taken(Taken { by: by.to_owned(), time_ms })]),
    }
}

fn release(state: &Assistance, by: &str, reason: &str, time_ms: i64) -> Decision {
    text(reason)?;
    if state.decided.is_some() || state.ending.is_some() {
        return Err(AssistanceRefusal::AlreadyDecided);
    }
    match (&state.taken, state.phase) {
        (Some(taken), Phase::Taken) => {
            if taken.by != by && reason.is_empty() {
                return Err(AssistanceRefusal::BadText(
                    "another has taken it; say in 1 to 256 bytes why you release it",
                ));
            }
            let (by, reason) = (by.to_owned(), reason.to_owned());
            Ok(vec![AssistanceEvent::Released(Released { by, reason, time_ms })])
        }
        (_, Phase::Answered) => Err(AssistanceRefusal::AlreadyAnswered),
        (_, Phase::Expired) => Err(AssistanceRefusal::Expired),
        _ => Ok(vec![]),
    }
}

fn answer(
    state: &Assistance,
    asked: &Asked,
    (by, option, reason): (&str, u8, &str),
    time_ms: i64,
) -> Decision {
    if let Some(known) = &state.answered {
        // The same again, whose answer was lost.
        let same = known.by == by && known.option == option;
        return if same { Ok(vec![]) } else { Err(AssistanceRefusal::AlreadyAnswered) };
    }
    still_waits(state, asked, time_ms)?;
    match &state.taken {
        None => return Err(AssistanceRefusal::NotTaken),
        Some(taken) if taken.by != by => return Err(AssistanceRefusal::TakenByAnother(taken.by.clone())),
        Some(_) => {}
    }
    let options = asked.question.options.len();
    if usize::from(option) >= options {
        return Err(AssistanceRefusal::BadOption(options.saturating_sub(1)));
    }
    text(reason)?;
    let (by, reason) = (by.to_owned(), reason.to_owned());
    Ok(vec![AssistanceEvent::Answered(Answered { by, option, reason, time_ms })])
}

fn text(reason: &str) -> Result<(), AssistanceRefusal> {
    let fits = reason.len() <= limits::TEXT_BYTES_MAX;
    if fits { Ok(()) } else { Err(AssistanceRefusal::BadText("what you say has at most 256 bytes")) }
}

fn sweep(state: &Assistance, asked: &Asked, time_ms: i64) -> Vec<AssistanceEvent> {
    if !state.is_open() {
        return vec![];
    }
    if time_ms >= asked.deadline_ms.saturating_add(limits::ASSISTANCE_SILENCE_MS_MAX) {
        return vec![AssistanceEvent::Forgotten(Forgotten { time_ms })];
    }
    if state.waits() && time_ms >= asked.deadline_ms {
        return vec![AssistanceEvent::Expired(Expired { time_ms })];
    }
    vec![]
}

#[cfg(test)]
mod tests {
    use remuda_wire::Decided as Why;
    use remuda_wire::frame::CommandOutcome;

    use super::super::*;
    use super::*;

    fn at(now_ms: i64) -> Context {
        Context { now_ms, command_id: "c".into(), actor: "x".into(), correlation_id: String::new() }
    }

    fn asking(asked_ms: i64) -> AssistanceCommand {
        let question = Question {
            id: [1; 16],
            text: "pass?".into(),
            options: vec!["wait".into(), "pass".into()],
            safe_default: 0,
            timeout_ms: 60_000,
            waited_ms: 0,
            position: None,
        };
        AssistanceCommand::Ask { vehicle: VehicleId::new("V1").unwrap(), question, asked_ms }
    }

    fn apply(
        state: &mut Assistance,
        command: &AssistanceCommand,
        now_ms: i64,
    ) -> Result<usize, &'static str> {
        use remuda_eventsourcing::Refusal as _;
        let events = decide(state, command, &at(now_ms)).map_err(|refusal| refusal.code())?;
        events.iter().for_each(|event| evolve(state, event));
        Ok(events.len())
    }

    fn asked() -> Assistance {
        let mut state = Assistance::default();
        assert_eq!(apply(&mut state, &asking(1_000), 1_200), Ok(1));
        state
    }

    fn take(by: &str) -> AssistanceCommand {
        AssistanceCommand::Take { by: by.into() }
    }

    fn release(by: &str, reason: &str) -> AssistanceCommand {
        AssistanceCommand::Release { by: by.into(), reason: reason.into() }
    }

    fn answer(by: &str, option: u8) -> AssistanceCommand {
        AssistanceCommand::Answer { by: by.into(), option, reason: String::new() }
    }

    fn decided(option: u8, why: Why) -> AssistanceCommand {
        AssistanceCommand::Report { step: QuestionStep::Decided { option, why } }
    }

    #[test]
    fn one_person_takes_and_answers_it_once() {
        let mut state = asked();
        assert_eq!(apply(&mut state, &asking(5_000), 5_000), Ok(0), "told again after a restart");
        assert_eq!(state.asked.as_ref().unwrap().deadline_ms, 61_000);
        assert_eq!(apply(&mut state, &answer("ada", 1), 2_000), Err("assistance-not-taken"));
        assert_eq!(apply(&mut state, &take("ada"), 2_000), Ok(1));
        assert_eq!(apply(&mut state, &take("ada"), 2_001), Ok(0));
        assert_eq!(apply(&mut state, &take("bob"), 2_001), Err("assistance-taken"));
        assert_eq!(apply(&mut state, &answer("bob", 1), 2_001), Err("assistance-taken"));
        assert_eq!(apply(&mut state, &release("bob", ""), 2_001), Err("bad-value"));
        assert_eq!(apply(&mut state, &release("bob", "ada has left"), 2_001), Ok(1));
        assert_eq!(apply(&mut state, &take("bob"), 2_002), Ok(1));
        assert_eq!(apply(&mut state, &answer("bob", 2), 2_003), Err("bad-option"));
        assert_eq!(apply(&mut state, &answer("bob", 1), 60_999), Ok(1));
        assert_eq!(apply(&mut state, &answer("bob", 1), 99_000), Ok(0), "the answer to the call was lost");
        assert_eq!(apply(&mut state, &answer("bob", 0), 61_000), Err("assistance-answered"));
        for late in [take("bob"), release("bob", "")] {
            assert_eq!(apply(&mut state, &late, 61_000), Err("assistance-answered"));
        }
        assert_eq!(
            apply(&mut state, &AssistanceCommand::Sweep, 62_000),
            Ok(0),
            "the vehicle's word is awaited"
        );
        let give = AssistanceCommand::Give { command: "c1".into() };
        assert_eq!(apply(&mut state, &give, 62_000), Ok(1));
        assert_eq!(apply(&mut state, &give, 62_000), Ok(0));
        assert_eq!(apply(&mut state, &decided(1, Why::Answered), 62_000), Ok(1));
        let done = AssistanceCommand::Report { step: QuestionStep::Acted(CommandOutcome::Done) };
        assert_eq!(apply(&mut state, &done, 62_001), Ok(1));
        assert_eq!(apply(&mut state, &done, 62_002), Ok(0));
        assert!(!state.is_open());
    }

    #[test]
    fn an_answer_that_does_not_arrive_can_be_given_again_by_whoever_took_it_or_it_expires() {
        let mut state = asked();
        apply(&mut state, &take("ada"), 2_000).unwrap();
        let lost = AssistanceCommand::Return { why: "too many commands are open".into() };
        assert_eq!(apply(&mut state, &lost, 2_000), Ok(0), "there is none");
        apply(&mut state, &answer("ada", 1), 2_001).unwrap();
        assert_eq!(apply(&mut state, &lost, 2_002), Ok(1));
        assert_eq!(apply(&mut state, &lost, 2_003), Ok(0));
        assert_eq!((state.phase, state.not_given.as_str()), (Phase::Taken, "too many commands are open"));
        assert_eq!(apply(&mut state, &take("bob"), 2_004), Err("assistance-taken"));
        assert_eq!(apply(&mut state, &answer("ada", 0), 2_005), Ok(1), "another answer, even");
        assert_eq!((state.answered.as_ref().unwrap().option, state.not_given.as_str()), (0, ""));
        let give = AssistanceCommand::Give { command: "c1".into() };
        apply(&mut state, &give, 2_006).unwrap();
        let (mut decided_first, mut over) = (state.clone(), state);
        apply(&mut decided_first, &decided(0, Why::Answered), 2_007).unwrap();
        assert_eq!(apply(&mut decided_first, &lost, 2_008), Ok(0), "the vehicle's word counts");
        assert_eq!(decided_first.given.as_deref(), Some("c1"));
        assert_eq!(apply(&mut over, &lost, 61_000), Ok(1));
        assert_eq!(apply(&mut over, &answer("ada", 0), 61_000), Err("assistance-expired"));
        assert_eq!(apply(&mut over, &AssistanceCommand::Sweep, 61_000), Ok(1));
        assert_eq!((over.phase, over.returns), (Phase::Expired, 2));
        // As it was written before answers came back.
        let mut old = asked();
        apply(&mut old, &take("ada"), 2_000).unwrap();
        apply(&mut old, &answer("ada", 1), 2_001).unwrap();
        evolve(&mut old, &AssistanceEvent::Given(Given { given: Err("no".into()), time_ms: 2_002 }));
        assert_eq!((old.phase, old.not_given.as_str(), old.answered), (Phase::Taken, "no", None));
    }

    #[test]
    fn at_the_deadline_nobody_can_answer_any_more_and_what_the_vehicle_says_counts() {
        let mut state = asked();
        apply(&mut state, &take("ada"), 2_000).unwrap();
        for late in [answer("ada", 1), take("bob")] {
            assert_eq!(
                apply(&mut state, &late, 61_000),
                Err("assistance-expired"),
                "whether or not it was noticed"
            );
        }
        assert_eq!(apply(&mut state, &AssistanceCommand::Sweep, 60_999), Ok(0));
        assert_eq!(apply(&mut state, &AssistanceCommand::Sweep, 61_000), Ok(1));
        assert_eq!(apply(&mut state, &AssistanceCommand::Sweep, 61_001), Ok(0));
        assert_eq!(apply(&mut state, &answer("ada", 1), 61_001), Err("assistance-expired"));
        assert_eq!(apply(&mut state, &decided(0, Why::TimedOut), 70_000), Ok(1));
        assert_eq!(
            apply(&mut state, &decided(1, Why::Restarted), 70_001),
            Ok(0),
            "the first decision counts"
        );
        assert_eq!(apply(&mut state, &answer("ada", 1), 70_001), Err("assistance-decided"));
        assert!(state.is_open() && state.decided.unwrap().option == 0);
    }

    #[test]
    fn a_vehicle_that_never_speaks_again_is_not_waited_for_for_ever() {
        let mut state = asked();
        let forgotten_ms = 61_000 + limits::ASSISTANCE_SILENCE_MS_MAX;
        assert_eq!(apply(&mut state, &AssistanceCommand::Sweep, forgotten_ms - 1), Ok(1), "expired");
        assert_eq!(apply(&mut state, &AssistanceCommand::Sweep, forgotten_ms), Ok(1));
        assert_eq!(state.ending, Some(Ending::Forgotten));
        assert_eq!(apply(&mut state, &decided(0, Why::TimedOut), forgotten_ms + 1), Ok(0));
    }

    #[test]
    fn nothing_can_be_done_about_what_nobody_asked_and_what_is_stored_comes_back() {
        let mut state = Assistance::default();
        for command in [take("ada"), release("ada", ""), answer("ada", 0), AssistanceCommand::Sweep] {
            assert_eq!(apply(&mut state, &command, 0), Err("no-such-assistance-request"));
        }
        let events = decide(&state, &asking(1), &at(2)).unwrap();
        let stored = events[0].encode();
        assert_eq!(AssistanceEvent::decode(stored.event_type, 1, &stored.payload), Ok(events[0].clone()));
        let vehicle = |id| VehicleId::new(id).unwrap();
        let organization = OrganizationId::default();
        let id = id_of(&organization, &vehicle("V1"), &[1; 16]);
        assert_eq!(id.len(), 32);
        assert_ne!(id, id_of(&organization, &vehicle("V2"), &[1; 16]), "no vehicle speaks of another's");
    }

    #[test]
    fn whatever_is_asked_in_whatever_order_one_person_answers_once_and_in_time() {
        use proptest::prelude::*;
        let command = prop_oneof![
            (0..2_usize).prop_map(|n| take(["ada", "bob"][n])),
            (0..2_usize, any::<bool>())
                .prop_map(|(n, why)| release(["ada", "bob"][n], if why { "x" } else { "" })),
            (0..2_usize, 0..3_u8).prop_map(|(n, option)| answer(["ada", "bob"][n], option)),
            Just(AssistanceCommand::Sweep),
            (0..2_u8).prop_map(|option| decided(option, Why::TimedOut)),
            Just(AssistanceCommand::Report { step: QuestionStep::Acted(CommandOutcome::Done) }),
            Just(AssistanceCommand::Give { command: "c".into() }),
            Just(AssistanceCommand::Return { why: "x".into() }),
        ];
        proptest!(|(steps in proptest::collection::vec((command, 0..20_000_i64), 0..30))| {
            let mut state = asked();
            let mut now_ms = 1_200;
            let (mut answers, mut returns) = (0, 0);
            for (command, passed) in steps {
                now_ms += passed;
                let holder = state.taken.as_ref().map(|taken| taken.by.clone());
                let events = decide(&state, &command, &at(now_ms)).unwrap_or_default();
                for event in &events {
                    if let AssistanceEvent::Returned(_) = event {
                        returns += 1;
                        prop_assert!(state.decided.is_none());
                    }
                    if let AssistanceEvent::Answered(answered) = event {
                        answers += 1;
                        prop_assert!(now_ms < 61_000 && answered.option < 2);
                        prop_assert_eq!(Some(&answered.by), holder.as_ref());
                        prop_assert!(state.decided.is_none());
                    }
                    // Which command brought the answer may be written down after the vehicle has obeyed it.
                    let belated = matches!(event, AssistanceEvent::Given(_));
                    prop_assert!(belated || state.ending.is_none(), "nothing follows an end: {event:?}");
                    evolve(&mut state, event);
                }
                // Once more changes nothing.
                if !events.is_empty() {
                    let again = decide(&state, &command, &at(now_ms));
                    prop_assert!(again.is_err() || again == Ok(vec![]), "{command:?}: {again:?}");
                }
            }
            prop_assert!(answers <= returns + 1 && returns <= answers, "one at a time");
            prop_assert_eq!(state.returns, returns);
            // It waits for somebody or for the vehicle's word: nothing is left over.
            let waits = state.waits() || state.awaits_decision() || state.phase == Phase::Expired;
            prop_assert!(!state.is_open() || state.decided.is_some() || waits);
        });
    }
}
