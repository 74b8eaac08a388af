//! Commands are obeyed at most once, never late, never unsigned; questions are decided once; policies are followed and
//! remembered.

use std::sync::Arc;

use remuda_edge_agent_core::{Agent, AskRefusal, Output, Reading, SavedState, Settings, Verifier};
use remuda_model::signal::{CHARGE, SPEED};
use remuda_model::{Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{
    Ack, Body, Command, CommandKind, Decided, Down, Event, LaneAck, Policy, Question, QuestionStep, Up,
    Welcome, frame,
};

const MS: u64 = 1_000_000;
const SERVER_MS: i64 = 1_700_000_000_000;

#[derive(Debug)]
struct Signed;

impl Verifier for Signed {
    fn verify(&self, vehicle: &VehicleId, command: &Command) -> bool {
        command.signature == vehicle.as_str().as_bytes()
    }
}

struct Bench {
    agent: Agent,
    events: Vec<Event>,
    performed: Vec<[u8; 16]>,
    acts: Vec<(u8, Decided)>,
    /// Safe defaults of what could not be asked: which question, and which option.
    not_asked: Vec<(u8, u8)>,
    saved: Vec<u8>,
    /// All that was saved since the start, and when.
    disk: Vec<(u64, Vec<u8>)>,
    samples: usize,
    live: usize,
    connection: Option<remuda_model::ConnectionId>,
    hold_saves: bool,
    resync: bool,
}

impl Bench {
    fn new(state: SavedState, incarnation: u64) -> Self {
        Self::started(state, incarnation, 0, 0)
    }

    fn started(state: SavedState, incarnation: u64, machine: u64, now: u64) -> Self {
        let settings = Settings::new(VehicleId::new("VAN1").expect("an id"), Incarnation(incarnation), 1);
        let settings = Settings { machine, ..settings };
        // What the disk holds until it is written again.
        let saved = state.encode();
        let agent = Agent::new(settings, Arc::new(Signed), state, &[], now);
        let mut bench = Self {
            agent,
            events: vec![],
            performed: vec![],
            acts: vec![],
            not_asked: vec![],
            saved,
            disk: vec![],
            samples: 0,
            live: 0,
            connection: None,
            hold_saves: false,
            resync: false,
        };
        bench.drive(now);
        bench
    }

    fn drive(&mut self, now: u64) {
        while let Some(output) = self.agent.poll_output() {
            self.carry_out(output, now);
        }
    }

    fn carry_out(&mut self, output: Output, now: u64) {
        match output {
            Output::Append { lane, first, frames, .. } => {
                for bytes in &frames {
                    match frame::decode(bytes).expect("sound").body {
                        Body::Event(event) => self.events.push(event),
                        Body::Samples(block) => self.samples += block.samples(),
                        Body::Damaged => panic!("nothing is damaged"),
                    }
                }
                self.agent.handle_made(lane, first + frames.len() as u64 - 1, 0, now);
            }
            Output::Save(state) => {
                self.disk.push((now, state.clone()));
                self.saved = state;
                if !self.hold_saves {
                    self.agent.handle_saved(now);
                }
            }
            Output::Connect { connection, will } => {
                assert!(
                    matches!(Up::decode(&will.into()), Ok(Up::Farewell(f)) if f.connection == connection)
                );
                self.connection = Some(connection);
            }
            Output::Perform { id, .. } => self.performed.push(id),
            Output::Act { option, why: Some(why), .. } => self.acts.push((option, why)),
            Output::Act { question, option, why: None } => self.not_asked.push((question[0], option)),
            Output::Send { payload, .. } => {
                if let Ok(Up::Live(live)) = Up::decode(&payload.into()) {
                    self.live += live.values.len();
                }
            }
            _ => {}
        }
    }

    fn say(&mut self, message: &Down, now: u64) {
        self.agent.handle_payload(&message.encode(), now);
        self.drive(now);
    }

    fn connect(&mut self, hello_at: u64, welcome_at: u64) {
        self.agent.handle_timeout(hello_at);
        self.drive(hello_at);
        self.agent.handle_connected(hello_at);
        self.drive(hello_at);
        let connection = self.connection.take().expect("asked for one");
        let welcome = Welcome {
            connection,
            wire: 1,
            epoch: Epoch(5),
            server_time_ms: SERVER_MS,
            acks: vec![],
            resync: self.resync,
        };
        // One of another connection changes nothing.
        let other = Welcome {
            connection: remuda_model::ConnectionId { counter: 99, ..connection },
            ..welcome.clone()
        };
        self.say(&Down::Welcome(other), welcome_at);
        assert!(!self.agent.figures().online);
        self.say(&Down::Welcome(welcome), welcome_at);
        assert!(self.agent.figures().online);
    }

    fn outcomes(&self) -> Vec<CommandOutcome> {
        let outcome = |e: &Event| match e {
            Event::CommandResult { outcome, .. } => Some(outcome.clone()),
            _ => None,
        };
        self.events.iter().filter_map(outcome).collect()
    }
}

fn command(id: u8) -> Command {
    Command {
        id: [id; 16],
        epoch: Epoch(5),
        expires_ms: SERVER_MS + 30_000,
        incarnation: Incarnation(7),
        kind: CommandKind::Honk,
        signature: b"VAN1".to_vec(),
    }
}

fn refused(reason: &str) -> CommandOutcome {
    CommandOutcome::Refused(reason.to_owned())
}

#[test]
fn a_command_is_obeyed_once_and_only_after_its_id_is_on_disk() {
    let mut bench = Bench::new(SavedState::default(), 7);
    bench.connect(0, 100 * MS);
    bench.hold_saves = true;
    bench.say(&Down::Command(command(1)), 200 * MS);
    assert!(bench.performed.is_empty() && bench.outcomes().is_empty());
    let saved = SavedState::decode(&bench.saved).expect("ours");
    assert_eq!((saved.commands[0].id, saved.highest_epoch), ([1; 16], Epoch(5)));
    bench.agent.handle_saved(300 * MS);
    bench.drive(300 * MS);
    assert_eq!((bench.performed.len(), bench.outcomes()), (1, vec![CommandOutcome::Accepted]));
    bench.hold_saves = false;
    bench.say(&Down::Command(command(1)), 400 * MS);
    assert_eq!(bench.performed.len(), 1);
    bench.agent.handle_outcome([1; 16], CommandOutcome::Done, 500 * MS);
    bench.agent.handle_outcome([1; 16], CommandOutcome::Failed("late".into()), 600 * MS);
    bench.drive(600 * MS);
    assert_eq!(bench.outcomes(), [CommandOutcome::Accepted, CommandOutcome::Done]);
}

#[test]
fn a_command_begun_before_a_crash_ends_unknown() {
    let mut bench = Bench::new(SavedState::default(), 7);
    bench.connect(0, 100 * MS);
    bench.say(&Down::Command(command(1)), 200 * MS);
    let mut again = Bench::new(SavedState::decode(&bench.saved).expect("ours"), 8);
    assert_eq!(again.outcomes(), [CommandOutcome::Unknown]);
    again.connect(0, 100 * MS);
    again.say(&Down::Command(Command { incarnation: Incarnation(8), ..command(1) }), 200 * MS);
    assert!(again.performed.is_empty());
}

#[test]
fn what_must_not_be_obeyed_is_refused() {
    let mut bench = Bench::new(SavedState::default(), 7);
    bench.say(&Down::Command(command(1)), 10 * MS);
    assert_eq!(bench.outcomes(), [refused("clock")], "no Welcome since boot");
    bench.connect(0, 100 * MS);
    let cases = [
        (Command { signature: vec![], ..command(2) }, refused("signature")),
        (Command { incarnation: Incarnation(6), ..command(3) }, refused("incarnation")),
        (Command { epoch: Epoch(4), ..command(4) }, refused("stale")),
        // The Welcome's time may have been read 100 ms ago: the latest possible time counts.
        (Command { expires_ms: SERVER_MS + 150, ..command(5) }, CommandOutcome::Expired),
    ];
    for (command, outcome) in cases {
        bench.say(&Down::Command(command), 151 * MS);
        assert_eq!(bench.outcomes().last(), Some(&outcome));
    }
    assert!(bench.performed.is_empty());
    // A refusal is not the id's outcome: the owner may send it again, properly.
    bench.say(&Down::Command(command(3)), 200 * MS);
    assert_eq!(bench.performed, [[3; 16]]);
    let ack = LaneAck { lane: Lane::Events, incarnation: Incarnation(7), received: 0, durable: 0, credit: 0 };
    let (epoch, server_time_ms) = (Epoch(9), SERVER_MS + 300);
    bench.say(&Down::Ack(Ack { ack, epoch, server_time_ms, missing: false, greet: false }), 300 * MS);
    bench.say(&Down::Command(command(6)), 301 * MS);
    assert_eq!(bench.outcomes().last(), Some(&refused("stale")), "an Ack told of a higher epoch");
}

#[test]
fn a_policy_is_followed_and_remembered() {
    let mut bench = Bench::new(SavedState::default(), 7);
    let readings = |agent: &mut Agent, now: u64| {
        let reading = |signal| Reading { signal, raw: now as i64, mono_ns: now };
        agent.handle_readings(&[reading(SPEED), reading(CHARGE)], now);
        agent.handle_flush(now);
    };
    readings(&mut bench.agent, 0);
    bench.drive(0);
    assert_eq!(bench.samples, 2);
    let document = r#"{"signals":{"Vehicle.Speed":{}}}"#.to_owned();
    bench.say(&Down::Policy(Policy { revision: 3, document }), MS);
    bench.say(&Down::Policy(Policy { revision: 4, document: "nonsense".to_owned() }), MS);
    readings(&mut bench.agent, 5_000 * MS);
    bench.drive(5_000 * MS);
    assert_eq!(bench.samples, 3);
    let mut again = Bench::new(SavedState::decode(&bench.saved).expect("ours"), 8);
    readings(&mut again.agent, 0);
    again.drive(0);
    assert_eq!(again.samples, 1);
}

#[test]
fn a_cloud_without_a_twin_gets_every_value_as_newest_and_none_as_a_sample_twice() {
    let mut bench = Bench::new(SavedState::default(), 7);
    let reading = |signal| Reading { signal, raw: 5, mono_ns: 0 };
    bench.agent.handle_readings(&[reading(SPEED), reading(CHARGE)], 0);
    bench.agent.handle_flush(0);
    bench.drive(0);
    bench.resync = true;
    bench.connect(MS, 100 * MS);
    assert_eq!((bench.live, bench.samples), (2, 2));
}

fn question(id: u8) -> Question {
    Question {
        id: [id; 16],
        text: "a cone stands in my lane".into(),
        options: vec!["wait".into(), "pass".into()],
        safe_default: 0,
        timeout_ms: 60_000,
        waited_ms: 0,
        position: None,
    }
}

fn answer(command_id: u8, question: u8, option: u8) -> Command {
    // Far beyond the question's own time: that is what counts.
    let expires_ms = SERVER_MS + 3_600_000;
    Command {
        kind: CommandKind::Answer { question: [question; 16], option },
        expires_ms,
        ..command(command_id)
    }
}

impl Bench {
    fn ask(&mut self, question: Question, now: u64) {
        self.agent.handle_question(question, now).expect("can be asked");
        self.drive(now);
    }

    fn steps(&self) -> Vec<QuestionStep> {
        let step = |e: &Event| match e {
            Event::QuestionMoved { step, .. } => Some(step.clone()),
            _ => None,
        };
        self.events.iter().filter_map(step).collect()
    }

    fn asked(&self) -> Vec<Question> {
        let asked = |e: &Event| match e {
            Event::Asked(question) => Some(question.clone()),
            _ => None,
        };
        self.events.iter().filter_map(asked).collect()
    }
}

#[test]
fn an_answer_is_acted_on_once_and_only_after_it_is_on_disk() {
    let mut bench = Bench::new(SavedState::default(), 7);
    bench.connect(0, 100 * MS);
    bench.hold_saves = true;
    bench.ask(question(1), 200 * MS);
    assert!(bench.asked().is_empty(), "a crash now must not leave a question that nobody remembers");
    bench.hold_saves = false;
    bench.agent.handle_saved(300 * MS);
    bench.drive(300 * MS);
    assert_eq!(bench.asked(), [Question { waited_ms: 100, ..question(1) }]);
    bench.hold_saves = true;
    bench.say(&Down::Command(answer(9, 1, 1)), 400 * MS);
    assert!(bench.acts.is_empty() && bench.steps().is_empty(), "it is not durable yet");
    let saved = SavedState::decode(&bench.saved).expect("ours");
    let choice = saved.questions[0].choice.expect("in the same save as the command's id");
    assert_eq!((choice.option, choice.command, saved.commands[0].id), (1, Some([9; 16]), [9; 16]));
    bench.hold_saves = false;
    bench.agent.handle_saved(402 * MS);
    bench.drive(402 * MS);
    assert_eq!(bench.acts, [(1, Decided::Answered)]);
    let decided = QuestionStep::Decided { option: 1, why: Decided::Answered };
    assert_eq!((bench.steps(), bench.outcomes()), (vec![decided.clone()], vec![CommandOutcome::Accepted]));
    // Somebody else's answer, and the deadline, change nothing any more.
    bench.say(&Down::Command(answer(10, 1, 0)), 500 * MS);
    assert_eq!(bench.outcomes().last(), Some(&refused("late")));
    bench.agent.handle_timeout(70_000 * MS);
    bench.drive(70_000 * MS);
    bench.agent.handle_acted([1; 16], CommandOutcome::Done, 70_001 * MS);
    bench.agent.handle_acted([1; 16], CommandOutcome::Done, 70_002 * MS);
    bench.drive(70_002 * MS);
    assert_eq!(bench.acts.len(), 1);
    assert_eq!(bench.steps(), [decided, QuestionStep::Acted(CommandOutcome::Done)]);
    assert_eq!(bench.outcomes().last(), Some(&CommandOutcome::Done), "the command has ended too");
    bench.say(&Down::Command(answer(11, 1, 1)), 70_003 * MS);
    assert_eq!(bench.outcomes().last(), Some(&refused("late")), "it is remembered that it ended");
    assert_eq!(bench.agent.handle_question(question(1), 70_004 * MS), Err(AskRefusal::Repeated));
}

#[test]
fn unanswered_it_takes_the_safe_default_at_its_own_time_and_a_late_answer_is_refused() {
    let mut bench = Bench::new(SavedState::default(), 7);
    // Nobody is connected: the deadline needs no cloud.
    bench.ask(question(1), 1_000 * MS);
    let deadline = 61_000 * MS;
    assert!(bench.agent.poll_timeout().is_some_and(|at| at <= deadline));
    bench.agent.handle_timeout(deadline - 1);
    bench.drive(deadline - 1);
    assert!(bench.acts.is_empty());
    bench.agent.handle_timeout(deadline);
    bench.drive(deadline);
    assert_eq!(bench.acts, [(0, Decided::TimedOut)]);
    assert_eq!(bench.steps(), [QuestionStep::Decided { option: 0, why: Decided::TimedOut }]);
    bench.ask(question(2), deadline);
    bench.connect(deadline, deadline + 100 * MS);
    for (id, asked, option, reason) in [(20, 3, 0, "question"), (21, 2, 2, "option"), (22, 1, 1, "late")] {
        bench.say(&Down::Command(answer(id, asked, option)), deadline + 200 * MS);
        assert_eq!(bench.outcomes().last(), Some(&refused(reason)));
    }
    // To the very millisecond, also when nobody has looked at the clock yet.
    bench.say(&Down::Command(answer(23, 2, 1)), deadline + 60_000 * MS);
    assert_eq!(bench.outcomes().last(), Some(&refused("late")));
    assert_eq!(bench.acts.len(), 1);
}

#[test]
fn an_answer_that_expired_while_the_disk_was_slow_is_not_acted_on_and_another_may_be() {
    let mut bench = Bench::new(SavedState::default(), 7);
    bench.connect(0, 100 * MS);
    bench.ask(question(1), 200 * MS);
    bench.hold_saves = true;
    let short = Command { expires_ms: SERVER_MS + 10_000, ..answer(9, 1, 1) };
    bench.say(&Down::Command(short), 9_000 * MS);
    bench.hold_saves = false;
    bench.agent.handle_saved(10_000 * MS);
    bench.drive(10_000 * MS);
    assert!(bench.acts.is_empty() && bench.steps().is_empty());
    assert_eq!(bench.outcomes(), [CommandOutcome::Expired]);
    assert_eq!(SavedState::decode(&bench.saved).expect("ours").questions[0].choice, None);
    bench.say(&Down::Command(answer(10, 1, 1)), 11_000 * MS);
    assert_eq!(bench.acts, [(1, Decided::Answered)]);
    assert_eq!(bench.outcomes(), [CommandOutcome::Expired, CommandOutcome::Accepted]);
}

#[test]
fn a_crash_between_any_two_saves_leaves_no_question_that_its_answer_cannot_reach() {
    use proptest::prelude::*;
    // What comes, which question it is about, how much later; and at which of the saves it crashes.
    let steps = proptest::collection::vec((0..4_u8, 1..4_u8, 1..5_000_u64), 1..12);
    proptest!(|(steps in steps, crash in any::<proptest::sample::Index>())| {
        let mut bench = Bench::started(SavedState::default(), 7, 5, 0);
        bench.connect(0, MS);
        bench.hold_saves = true;
        let (mut now, mut given, mut durable) = (MS, Vec::new(), bench.disk.len());
        for (number, (what, about, wait_ms)) in (100..).zip(steps) {
            now += wait_ms * MS;
            match what {
                0 => _ = bench.agent.handle_question(question(about), now),
                1 => {
                    given.push((number, about));
                    bench.say(&Down::Command(answer(number, about, 1)), now);
                }
                2 => bench.agent.handle_acted([about; 16], CommandOutcome::Done, now),
                _ => bench.agent.handle_timeout(now),
            }
            bench.drive(now);
            while durable < bench.disk.len() {
                durable += 1;
                bench.agent.handle_saved(now);
                bench.drive(now);
            }
        }
        prop_assume!(!bench.disk.is_empty());
        let (at, saved) = crash.get(&bench.disk);
        let state = SavedState::decode(saved).expect("ours");
        let waits: Vec<u8> =
            state.questions.iter().filter(|open| open.choice.is_none()).map(|open| open.question.id[0]).collect();
        let ended: Vec<u8> = state.commands.iter().filter(|known| known.finished).map(|known| known.id[0]).collect();
        let mut again = Bench::started(state, 8, 5, *at);
        again.connect(*at, *at);
        for about in waits {
            // Whatever was sent to it and has not ended comes again.
            let before = again.acts.len();
            let again_sent = given.iter().filter(|(number, asked)| *asked == about && !ended.contains(number));
            let numbers: Vec<u8> = again_sent.map(|(number, _)| *number).collect();
            for number in &numbers {
                let command = Command { incarnation: Incarnation(8), ..answer(*number, about, 1) };
                again.say(&Down::Command(command), *at);
            }
            prop_assert_eq!(again.acts.len() - before, numbers.len().min(1), "question {}", about);
        }
    });
}

#[test]
fn what_cannot_be_asked_is_told_nobody_and_takes_its_safe_default_at_once() {
    let mut bench = Bench::new(SavedState::default(), 7);
    // An option that there is not cannot be taken; of any other fault the default is.
    for (id, faulty) in [
        (1, Question { safe_default: 2, ..question(1) }),
        (6, Question { timeout_ms: 0, safe_default: 1, ..question(6) }),
    ] {
        let refused = bench.agent.handle_question(faulty, 0);
        assert!(matches!(refused, Err(AskRefusal::Fault(_))), "{id}");
    }
    bench.drive(0);
    assert_eq!(bench.not_asked, [(6, 1)]);
    for id in 1..=4 {
        bench.ask(question(id), 0);
    }
    assert_eq!(bench.agent.handle_question(question(5), 0), Err(AskRefusal::TooMany));
    // Asked again while it is open: it is decided as it was asked first. After its end nothing more would come of it.
    assert_eq!(bench.agent.handle_question(question(4), 0), Err(AskRefusal::Repeated));
    bench.drive(0);
    assert_eq!(bench.not_asked, [(6, 1), (5, 0)]);
    bench.agent.handle_timeout(60_000 * MS);
    bench.drive(60_000 * MS);
    bench.agent.handle_acted([4; 16], CommandOutcome::Done, 60_001 * MS);
    assert_eq!(bench.agent.handle_question(question(4), 60_002 * MS), Err(AskRefusal::Repeated));
    bench.drive(60_002 * MS);
    assert_eq!(bench.not_asked, [(6, 1), (5, 0), (4, 0)]);
    // Only what was asked was told and remembered, whatever came of the others.
    bench.agent.handle_acted([5; 16], CommandOutcome::Done, 60_003 * MS);
    bench.drive(60_003 * MS);
    assert_eq!((bench.asked().len(), bench.acts.len(), bench.agent.figures().questions_refused), (4, 4, 5));
    assert_eq!(SavedState::decode(&bench.saved).expect("ours").questions.len(), 3);
    bench.ask(question(5), 60_004 * MS);
}

#[test]
fn a_question_survives_a_restart_of_the_agent_but_not_of_the_clock() {
    let mut bench = Bench::started(SavedState::default(), 7, 77, 0);
    bench.ask(question(1), 10_000 * MS);
    let saved = || SavedState::decode(&bench.saved).expect("ours");
    // The same machine: it waits for what is left.
    let mut again = Bench::started(saved(), 8, 77, 30_000 * MS);
    assert_eq!(
        again.asked(),
        [Question { waited_ms: 20_000, ..question(1) }],
        "told again, under the same id"
    );
    assert!(again.acts.is_empty());
    again.connect(30_000 * MS, 30_100 * MS);
    let mut late = Bench::started(saved(), 9, 77, 70_000 * MS);
    late.agent.handle_timeout(70_000 * MS);
    late.drive(70_000 * MS);
    assert_eq!(late.acts, [(0, Decided::TimedOut)], "the agent was away too long");
    again.say(&Down::Command(Command { incarnation: Incarnation(8), ..answer(9, 1, 1) }), 30_200 * MS);
    assert_eq!(again.acts, [(1, Decided::Answered)]);
    // Another start of the machine, or none that is known: nobody knows how long it has waited.
    for (machine, now) in [(78, 30_000 * MS), (77, 5_000 * MS), (0, 30_000 * MS)] {
        let other = Bench::started(saved(), 10, machine, now);
        assert_eq!(other.acts, [(0, Decided::Restarted)], "{machine} {now}");
        assert_eq!(other.steps(), [QuestionStep::Decided { option: 0, why: Decided::Restarted }]);
    }
    // An answer that was about to be acted on is not acted on again; a safe default is.
    let unsure = Bench::started(SavedState::decode(&again.saved).expect("ours"), 11, 77, 31_000 * MS);
    assert!(unsure.acts.is_empty());
    let decided = QuestionStep::Decided { option: 1, why: Decided::Answered };
    assert_eq!(
        unsure.steps(),
        [decided, QuestionStep::Acted(CommandOutcome::Unknown)],
        "what it had chosen is told"
    );
    assert_eq!(unsure.outcomes(), [CommandOutcome::Unknown]);
    let twice = Bench::started(SavedState::decode(&late.saved).expect("ours"), 12, 77, 71_000 * MS);
    assert_eq!(twice.acts, [(0, Decided::TimedOut)]);
    assert!(SavedState::decode(&unsure.saved).expect("ours").questions.is_empty(), "it has ended");
}

#[test]
fn whatever_comes_in_whatever_order_a_question_is_decided_once_and_never_by_a_late_answer() {
    use proptest::prelude::*;
    let steps = proptest::collection::vec((0..5_u8, 0..2_u8, 1..30_000_u64), 1..40);
    proptest!(|(steps in steps)| {
        let mut bench = Bench::started(SavedState::default(), 7, 5, 0);
        bench.connect(0, MS);
        bench.ask(question(1), MS);
        let (mut now, mut incarnation, mut id) = (MS, 7, 30);
        let mut acts = Vec::new();
        for (what, option, wait_ms) in steps {
            now += wait_ms * MS;
            id += 1;
            let in_time = now < 60_001 * MS;
            let before = bench.acts.len();
            match what {
                0 | 1 => {
                    let sent = Command { incarnation: Incarnation(incarnation), ..answer(id, 1, option) };
                    bench.say(&Down::Command(sent), now);
                }
                2 => {
                    bench.agent.handle_timeout(now);
                    bench.drive(now);
                }
                3 => {
                    bench.agent.handle_acted([1; 16], CommandOutcome::Done, now);
                    bench.drive(now);
                }
                _ => {
                    incarnation += 1;
                    let state = SavedState::decode(&bench.saved).expect("ours");
                    bench = Bench::started(state, incarnation, 5, now);
                    bench.connect(now, now);
                    acts.append(&mut bench.acts);
                    continue;
                }
            }
            for (option, why) in &bench.acts[before..] {
                prop_assert!(*why != Decided::Answered || in_time, "an answer was taken late");
                prop_assert!(*why == Decided::Answered || *option == 0);
            }
            acts.extend_from_slice(&bench.acts[before..]);
        }
        let before = bench.acts.len();
        let end = now.max(61_000 * MS);
        bench.agent.handle_timeout(end);
        bench.drive(end);
        acts.extend_from_slice(&bench.acts[before..]);
        // A safe default may be repeated; nothing else, and nothing beside it.
        acts.dedup();
        prop_assert_eq!(acts.len(), 1, "{:?}", acts);
    });
}
