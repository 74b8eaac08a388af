//! Commands are obeyed at most once, never late, never unsigned; policies are followed and remembered.

use std::sync::Arc;

use remuda_edge_agent_core::{Agent, Output, Reading, SavedState, Settings, Verifier};
use remuda_model::signal::{CHARGE, SPEED};
use remuda_model::{Epoch, Incarnation, Lane, VehicleId};
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{Ack, Body, Command, CommandKind, Down, Event, LaneAck, Policy, Up, Welcome, frame};

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
    saved: Vec<u8>,
    samples: usize,
    live: usize,
    hold_saves: bool,
    resync: bool,
}

impl Bench {
    fn new(state: SavedState, incarnation: u64) -> Self {
        let settings = Settings::new(VehicleId::new("VAN1").expect("an id"), Incarnation(incarnation), 1);
        let agent = Agent::new(settings, Arc::new(Signed), state, &[], 0);
        let mut bench = Self {
            agent,
            events: vec![],
            performed: vec![],
            saved: vec![],
            samples: 0,
            live: 0,
            hold_saves: false,
            resync: false,
        };
        bench.drive(0);
        bench
    }

    fn drive(&mut self, now: u64) {
        while let Some(output) = self.agent.poll_output() {
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
                    self.saved = state;
                    if !self.hold_saves {
                        self.agent.handle_saved(now);
                    }
                }
                Output::Perform { id, .. } => self.performed.push(id),
                Output::Send { payload, .. } => {
                    if let Ok(Up::Live(live)) = Up::decode(&payload.into()) {
                        self.live += live.values.len();
                    }
                }
                _ => {}
            }
        }
    }

    fn say(&mut self, message: &Down, now: u64) {
        self.agent.handle_payload(&message.encode(), now);
        self.drive(now);
    }

    fn connect(&mut self, hello_at: u64, welcome_at: u64) {
        self.agent.handle_timeout(hello_at);
        let mut connection = None;
        while let Some(output) = self.agent.poll_output() {
            if let Output::Connect { connection: c, will } = output {
                connection = Some(c);
                assert!(matches!(Up::decode(&will.into()), Ok(Up::Farewell(f)) if f.connection == c));
            }
        }
        self.agent.handle_connected(hello_at);
        self.drive(hello_at);
        let connection = connection.expect("asked for one");
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
