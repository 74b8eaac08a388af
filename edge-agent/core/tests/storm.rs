//! A fleet whose connections all end at one moment: when it comes back, under virtual time.

use std::sync::Arc;

use remuda_edge_agent_core::{Agent, Output, RefuseAll, SavedState, Settings, limits};
use remuda_model::{ConnectionId, Epoch, Incarnation, VehicleId};
use remuda_wire::{Down, HandOver, Welcome};

const MS: u64 = 1_000_000;
const S: u64 = 1_000 * MS;
const FLEET: u64 = 2_000;

fn drain(agent: &mut Agent) -> bool {
    let mut connects = false;
    while let Some(output) = agent.poll_output() {
        connects |= matches!(output, Output::Connect { .. });
    }
    connects
}

/// Greeted at 0.
fn welcome(n: u64) -> Agent {
    let vehicle = VehicleId::new(&format!("VAN{n}")).expect("an id");
    let incarnation = Incarnation(n + 1);
    let settings = Settings::new(vehicle, incarnation, n);
    let mut agent = Agent::new(settings, Arc::new(RefuseAll), SavedState::default(), &[], 0);
    agent.handle_timeout(0);
    agent.handle_connected(0);
    let welcome = Welcome {
        connection: ConnectionId { incarnation, counter: 1 },
        wire: 1,
        epoch: Epoch(1),
        server_time_ms: 0,
        acks: vec![],
        resync: false,
    };
    agent.handle_payload(&Down::Welcome(welcome).encode(), 0);
    assert!(agent.figures().online);
    drain(&mut agent);
    agent
}

fn say(agent: &mut Agent, spread_ms: u32, now: u64) {
    agent.handle_payload(&Down::HandOver(HandOver { spread_ms }).encode(), now);
}

/// When it begins to connect again.
fn connects_at(agent: &mut Agent, from: u64) -> u64 {
    let mut now = from;
    loop {
        agent.handle_timeout(now);
        if drain(agent) {
            return now;
        }
        let next = agent.poll_timeout().expect("it will");
        assert!(next > now && next < from + 3_600 * S, "at {now} it waits for {next}");
        now = next;
    }
}

#[test]
fn after_a_farewell_a_fleet_comes_back_spread_out() {
    let (told, closed, spread) = (S, 2 * S, 20_000);
    let mut at = Vec::new();
    for n in 0..FLEET {
        let mut agent = welcome(n);
        say(&mut agent, spread, told);
        drain(&mut agent);
        agent.handle_disconnected(closed);
        at.push(connects_at(&mut agent, closed) - closed);
    }
    let mut seconds = [0; 20];
    at.iter().for_each(|at| seconds[(at / S) as usize] += 1);
    // A hundred are expected in each second.
    assert!(seconds.iter().all(|n| (50..170).contains(n)), "{seconds:?}");
}

#[test]
fn without_one_it_comes_back_at_once_and_ever_later_while_nobody_is_there() {
    for n in 0..50 {
        let mut agent = welcome(n);
        let mut now = S;
        for attempt in 0..10 {
            agent.handle_disconnected(now);
            let at = connects_at(&mut agent, now);
            let most = (limits::RECONNECT_MS << attempt).min(limits::RECONNECT_MS_MAX) * MS;
            assert!((most / 2..=most).contains(&(at - now)), "attempt {attempt}: {} of {most}", at - now);
            now = at;
        }
    }
}

#[test]
fn a_farewell_holds_for_the_close_it_announced_and_for_no_other() {
    // Closed long after: an outage like any other.
    let mut agent = welcome(1);
    say(&mut agent, 600_000, S);
    let later = S + limits::HAND_OVER_HOLDS_MS * MS;
    agent.handle_disconnected(later);
    assert!(connects_at(&mut agent, later) <= later + limits::RECONNECT_MS * MS);
    // Of the connection before.
    let mut agent = welcome(2);
    say(&mut agent, 600_000, S);
    agent.handle_disconnected(S);
    let back = connects_at(&mut agent, S);
    agent.handle_connected(back);
    agent.handle_disconnected(back + MS);
    assert!(connects_at(&mut agent, back + MS) <= back + MS + limits::RECONNECT_MS * MS);
    // Nobody is there yet: the pauses begin with the shortest.
    let mut agent = welcome(3);
    say(&mut agent, 5_000, S);
    agent.handle_disconnected(S);
    let back = connects_at(&mut agent, S);
    agent.handle_disconnected(back);
    assert!(connects_at(&mut agent, back) <= back + limits::RECONNECT_MS * MS);
    // A spread without sense is cut, and none at all is no pause.
    for n in 0..200 {
        let mut agent = welcome(n);
        say(&mut agent, if n % 2 == 0 { u32::MAX } else { 0 }, S);
        agent.handle_disconnected(S);
        let most = if n % 2 == 0 { limits::HAND_OVER_MS_MAX * MS } else { 0 };
        assert!(connects_at(&mut agent, S) <= S + most);
    }
}
