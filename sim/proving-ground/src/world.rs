//! The scheduler: one queue of what happens, vehicles and processes that work until the next of it.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use remuda_model::VehicleId;

use crate::client::{CONNECT_MS, Client, Heard, PING_MS, SILENCE_MS};
use crate::clock;
use crate::disk::Disk;
use crate::door::{Link, Said};
use crate::ground::Ground;
use crate::instance::{Effect, Instance, Made};
use crate::journal::Engine;
use crate::plan::Plan;
use crate::process::{Phase, Process};
use crate::store::FaultyStore;
use crate::verdict::{Report, balance};

/// Between two looks at what may go wrong, ms.
const TICK_MS: u64 = 100;
/// Steps after which a world is going in circles.
const STEPS_MAX: u64 = 3_000_000;

/// What happens at a time.
#[derive(Debug)]
enum Event {
    /// A connection reaches its process.
    Opened(Link),
    /// Bytes, or the end, reach the process.
    Up(Link, Option<Bytes>),
    /// Bytes, or the end, reach the vehicle.
    Down(Link, Option<Bytes>),
    /// The vehicle waits no longer for its connection.
    GiveUp(Link),
    /// A sync is through.
    Synced { instance: usize, life: u64 },
    /// Something is sensed.
    Sense(usize),
    /// An agent that crashed starts.
    Start(usize),
    /// A process starts.
    Process,
    /// Things may go wrong.
    Tick,
}

/// A whole run's result.
#[derive(Debug)]
pub struct Run {
    /// What it came to, or the first rule that was broken.
    pub outcome: Result<Report, String>,
    /// FNV-1a of the trace.
    pub digest: u64,
    /// Lines of the trace.
    pub lines: u64,
    /// The trace, if it was asked for.
    pub trace: String,
}

/// See the module.
pub(crate) struct World {
    pub(crate) ground: Arc<Ground>,
    engine: Arc<Engine>,
    store: FaultyStore,
    now_ms: u64,
    events: BTreeMap<(u64, u64), Event>,
    count: u64,
    pub(crate) vehicles: Vec<(VehicleId, Made)>,
    pub(crate) instances: Vec<Instance>,
    clients: BTreeMap<Link, Client>,
    links: Link,
    pub(crate) processes: Vec<Process>,
    started: u64,
    pub(crate) copies: Vec<(usize, Disk)>,
    feeding: bool,
}

/// Runs a plan to its end.
pub fn run(plan: Plan, keep_trace: bool) -> Run {
    clock::begin();
    let ground = Ground::new(plan, keep_trace);
    let mut world = World::new(Arc::clone(&ground));
    let outcome = world.whole();
    if let Err(what) = &outcome {
        ground.note(format_args!("FAILED {what}"));
    }
    drop(world);
    let (digest, lines, trace) = ground.take_trace();
    Run { outcome, digest, lines, trace }
}

impl World {
    fn new(ground: Arc<Ground>) -> Self {
        let store = FaultyStore::new(Arc::clone(&ground));
        let engine = Engine::new(Arc::clone(&ground), store.clone());
        let names = (1..=ground.plan.vehicles).filter_map(|n| VehicleId::new(&format!("CAR{n}")).ok());
        let vehicles: Vec<(VehicleId, Made)> = names.map(|name| (name, Made::default())).collect();
        let instances = vehicles.iter().zip(0..).map(|((id, _), at)| Instance::new(*id, Disk::default(), at));
        Self {
            instances: instances.collect(),
            vehicles,
            ground,
            engine,
            store,
            now_ms: 0,
            events: BTreeMap::new(),
            count: 0,
            clients: BTreeMap::new(),
            links: 0,
            processes: Vec::new(),
            started: 0,
            copies: Vec::new(),
            feeding: true,
        }
    }

    fn whole(&mut self) -> Result<Report, String> {
        self.later(0, Event::Process);
        for instance in 0..self.instances.len() {
            self.later(instance as u64 * 50, Event::Start(instance));
            self.later(500, Event::Sense(instance));
        }
        self.later(TICK_MS, Event::Tick);
        let chaos_ms = self.ground.plan.chaos_ms;
        self.work(&mut |world| world.now_ms >= chaos_ms)?;
        self.ground.heal();
        self.feeding = false;
        self.ground.note(format_args!("nothing goes wrong any more"));
        let healed_ms = self.now_ms;
        while self.processes.len() > 1 {
            self.kill(0);
        }
        let until = healed_ms + self.ground.plan.drain_ms;
        // Clones one after the other: somebody sees the alarm, and pulls a plug.
        for instance in (0..self.instances.len()).rev() {
            let rivals: Vec<usize> = (0..self.instances.len())
                .filter(|other| {
                    *other < instance && self.instances[*other].made == self.instances[instance].made
                })
                .collect();
            rivals.iter().for_each(|rival| self.crash(*rival));
            self.power_on(instance);
            self.work(&mut |world| world.instances[instance].is_drained() || world.now_ms >= until)?;
            if !self.instances[instance].is_drained() {
                let (held, stuck) = (self.instances[instance].disk.held().count(), &self.instances[instance]);
                let figures: Vec<_> =
                    self.processes.iter().map(|p| (p.name, p.phase(), p.figures())).collect();
                return Err(format!("{} did not drain: {held} frames, {figures:?}", stuck.vehicle));
            }
            if !rivals.is_empty() {
                self.crash(instance);
            }
        }
        let drained_ms = self.now_ms - healed_ms;
        self.verdict(drained_ms)
    }

    fn verdict(&mut self, drained_ms: u64) -> Result<Report, String> {
        let mut report = Report { drained_ms, faults: self.ground.faults(), ..Report::default() };
        self.check_twins()?;
        let mut truth = self.ground.truth.lock();
        for (vehicle, made) in &self.vehicles {
            balance(vehicle, made, truth.vehicles.entry(*vehicle).or_default(), &mut report)?;
        }
        Ok(report)
    }

    fn later(&mut self, ms: u64, event: Event) {
        self.at(self.now_ms + ms, event);
    }

    fn at(&mut self, at_ms: u64, event: Event) {
        self.count += 1;
        self.events.insert((at_ms.max(self.now_ms), self.count), event);
    }

    /// Goes on until `done`, or until a rule is broken.
    fn work(&mut self, done: &mut dyn FnMut(&Self) -> bool) -> Result<(), String> {
        let mut steps = 0;
        while !done(self) {
            steps += 1;
            if steps > STEPS_MAX {
                return Err("the world goes in circles".into());
            }
            self.step();
            if let Some(what) = self.ground.first_broken() {
                return Err(what);
            }
        }
        Ok(())
    }

    fn step(&mut self) {
        let event = self.events.first_key_value().map(|((at, _), _)| *at);
        let agents = self.instances.iter().filter_map(Instance::deadline_ms).min();
        let next = [event, agents, self.engine.next_late_ms()].into_iter().flatten().min();
        let mut until = next.unwrap_or(self.now_ms + TICK_MS).max(self.now_ms);
        for process in &self.processes {
            // One that has something to say is heard before anything later happens.
            until = until.min(process.run_until(until).max(self.now_ms));
        }
        self.now_ms = until;
        clock::set_world(until);
        self.hear();
        self.engine.late();
        for instance in 0..self.instances.len() {
            if self.instances[instance].deadline_ms().is_some_and(|at| at <= self.now_ms) {
                let now = self.instances[instance].now(self.now_ms);
                if let Some(agent) = &mut self.instances[instance].agent {
                    agent.handle_timeout(now);
                }
                self.drive(instance);
            }
        }
        while let Some(entry) = self.events.first_entry() {
            if entry.key().0 > self.now_ms {
                break;
            }
            let event = entry.remove();
            self.happen(event);
        }
        self.bury();
    }

    /// Takes what processes said, and puts it on its way.
    fn hear(&mut self) {
        let mut heard = Vec::new();
        for process in &self.processes {
            heard.extend(process.take_said());
        }
        for (link, said) in heard {
            let bytes = match said {
                Said::Bytes(bytes) => Some(bytes),
                Said::End => None,
            };
            self.send_down(link, bytes);
        }
    }

    fn send_down(&mut self, link: Link, bytes: Option<Bytes>) {
        let delay = self.ground.roll(self.ground.plan.link_ms.clone());
        let Some(client) = self.clients.get_mut(&link) else { return };
        client.down_free = client.down_free.max(self.now_ms + delay);
        let at = client.down_free;
        self.at(at, Event::Down(link, bytes));
    }

    fn send_up(&mut self, link: Link, mut bytes: Bytes) {
        let now_ms = self.now_ms;
        while !bytes.is_empty() {
            let whole = self.ground.chance(600_000);
            let length = bytes.len() as u64;
            let taken = if whole { length } else { self.ground.roll(1..length + 1) };
            let chunk = bytes.split_to(usize::try_from(taken).unwrap_or(bytes.len()));
            let delay = self.ground.roll(self.ground.plan.link_ms.clone());
            let Some(client) = self.clients.get_mut(&link) else { return };
            client.said_ms = now_ms;
            client.up_free = client.up_free.max(now_ms + delay);
            let at = client.up_free;
            if at <= client.cut_after {
                self.at(at, Event::Up(link, Some(chunk)));
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Opened(link) => {
                let process = self.clients.get(&link).and_then(|client| client.process);
                match self.processes.iter_mut().find(|p| Some(p.name) == process) {
                    Some(process) => process.connected(link),
                    None => self.send_down(link, None),
                }
            }
            Event::Up(link, bytes) => {
                let Some(client) = self.clients.get(&link) else { return };
                if bytes.is_some() && self.now_ms > client.cut_after {
                    return;
                }
                let process = client.process;
                if let Some(process) = self.processes.iter_mut().find(|p| Some(p.name) == process) {
                    process.heard(link, bytes);
                }
            }
            Event::Down(link, Some(bytes)) => self.heard(link, &bytes),
            Event::Down(link, None) => self.close(link, true),
            Event::GiveUp(link) => {
                if self.clients.get(&link).is_some_and(|client| !client.connected) {
                    self.send_end(link);
                    self.close(link, true);
                }
            }
            Event::Synced { instance, life } if life == self.instances[instance].life => {
                let made = &mut self.vehicles[self.instances[instance].made].1;
                self.instances[instance].synced(made, self.now_ms);
                self.drive(instance);
            }
            Event::Synced { .. } => {}
            Event::Sense(instance) => {
                if self.feeding {
                    let made = &mut self.vehicles[self.instances[instance].made].1;
                    self.instances[instance].sense(&self.ground, made, self.now_ms);
                    self.drive(instance);
                    let pause = self.ground.roll(self.ground.plan.reading_ms.clone());
                    self.later(pause, Event::Sense(instance));
                }
            }
            Event::Start(instance) => self.power_on(instance),
            Event::Process => self.start_process(),
            Event::Tick => self.tick(),
        }
    }

    pub(crate) fn power_on(&mut self, instance: usize) {
        if self.instances[instance].agent.is_none() {
            self.instances[instance].start(&self.ground, self.now_ms);
            self.drive(instance);
        }
    }

    /// Starts an agent a little later.
    pub(crate) fn power_on_later(&mut self, instance: usize) {
        let pause = self.ground.roll(10..3_000);
        self.later(pause, Event::Start(instance));
    }

    /// A new instance senses too.
    pub(crate) fn sense_later(&mut self, instance: usize) {
        self.later(300, Event::Sense(instance));
    }

    /// Starts a process a little later.
    pub(crate) fn process_later(&mut self) {
        let pause = self.ground.roll(10..2_000);
        self.later(pause, Event::Process);
    }

    pub(crate) fn start_process(&mut self) {
        self.started += 1;
        let name = self.started;
        self.ground.note(format_args!("process {name} starts"));
        self.processes.push(Process::start(name, &self.ground, &self.engine, &self.store));
    }

    /// Does what an instance's agent wants of the world.
    fn drive(&mut self, at: usize) {
        let made = &mut self.vehicles[self.instances[at].made].1;
        let effects = self.instances[at].drive(&self.ground, made, self.now_ms);
        for effect in effects {
            match effect {
                Effect::Connect { connection, will } => {
                    self.ground.note(format_args!(
                        "{} connects {:x}/{}",
                        self.instances[at].vehicle, connection.incarnation.0, connection.counter
                    ));
                    self.connect(at, will);
                }
                Effect::Disconnect => {
                    if let Some(link) = self.instances[at].link {
                        self.send_up(link, Client::goodbye());
                        self.send_end(link);
                        let pause = self.ground.roll(self.ground.plan.link_ms.clone());
                        self.later(pause, Event::Down(link, None));
                    }
                }
                Effect::Send { channel, payload } => {
                    if let Some(link) = self.instances[at].link
                        && let Some(client) = self.clients.get(&link)
                    {
                        let bytes = client.publish(channel, payload);
                        self.send_up(link, bytes);
                    }
                }
                Effect::Sync => {
                    let life = self.instances[at].life;
                    let took = self.ground.roll(self.ground.plan.sync_ms.clone());
                    self.later(took, Event::Synced { instance: at, life });
                }
                Effect::Crash => {
                    self.crash(at);
                    self.power_on_later(at);
                    return;
                }
            }
        }
    }

    fn connect(&mut self, at: usize, will: Vec<u8>) {
        self.links += 1;
        let link = self.links;
        let mut doors = self.processes.iter().rev().filter(|p| p.phase() == Phase::Serving).map(|p| p.name);
        let newest = doors.next();
        let older = doors.next().filter(|_| self.ground.is_faulty() && self.ground.chance(300_000));
        let process =
            older.or(newest).filter(|_| !self.ground.fault("no connection", self.ground.plan.connect_fails));
        let Instance { vehicle, life, .. } = self.instances[at];
        let client = Client::new(vehicle, at, life, process, self.now_ms);
        let hello = client.hello(will);
        self.clients.insert(link, client);
        self.instances[at].link = Some(link);
        let delay = self.ground.roll(self.ground.plan.link_ms.clone());
        if process.is_none() {
            return self.later(delay + 5, Event::Down(link, None));
        }
        if let Some(client) = self.clients.get_mut(&link) {
            client.up_free = self.now_ms + delay;
        }
        self.later(delay, Event::Opened(link));
        self.later(CONNECT_MS, Event::GiveUp(link));
        self.send_up(link, hello);
    }

    fn send_end(&mut self, link: Link) {
        let delay = self.ground.roll(self.ground.plan.link_ms.clone());
        if let Some(client) = self.clients.get(&link) {
            let at = client.up_free.max(self.now_ms + delay);
            self.at(at, Event::Up(link, None));
        }
    }

    fn heard(&mut self, link: Link, bytes: &[u8]) {
        let now_ms = self.now_ms;
        let Some(client) = self.clients.get_mut(&link).filter(|client| !client.closed) else { return };
        client.heard_ms = now_ms;
        let at = client.instance;
        let heard = match client.take(bytes) {
            Ok(heard) => heard,
            Err(what) => return self.ground.broken(what),
        };
        if self.instances[at].life != client.life || self.instances[at].link != Some(link) {
            return;
        }
        let now = self.instances[at].now(now_ms);
        for heard in heard {
            let Some(agent) = &mut self.instances[at].agent else { return };
            match heard {
                Heard::Connected => agent.handle_connected(now),
                Heard::Payload(payload) => agent.handle_payload(&payload, now),
            }
            self.drive(at);
        }
    }

    /// The vehicle's end is over; it is told if it lives on.
    fn close(&mut self, link: Link, tell: bool) {
        let Some(client) = self.clients.get_mut(&link) else { return };
        if std::mem::replace(&mut client.closed, true) {
            return;
        }
        let (at, life) = (client.instance, client.life);
        if self.instances[at].life == life && self.instances[at].link == Some(link) {
            self.instances[at].link = None;
            let now = self.instances[at].now(self.now_ms);
            if let Some(agent) = self.instances[at].agent.as_mut().filter(|_| tell) {
                agent.handle_disconnected(now);
                self.drive(at);
            }
        }
    }

    /// The network between a vehicle and the cloud breaks, somewhere in the middle of what is under way.
    pub(crate) fn cut(&mut self, link: Link, tell: bool) {
        let reaches = self.ground.roll(0..400);
        let late = self.ground.chance(400_000);
        if let Some(client) = self.clients.get_mut(&link) {
            // What is under way arrives all the same, perhaps after the next connection's first words; or a part.
            if !late {
                client.cut_after = self.now_ms + reaches / 4;
            }
        }
        // The process hears of it soon, or never.
        if self.ground.chance(500_000) {
            self.later(reaches * 5, Event::Up(link, None));
        }
        if tell {
            self.later(reaches, Event::Down(link, None));
        } else {
            self.close(link, false);
        }
    }

    pub(crate) fn crash(&mut self, at: usize) {
        if let Some(link) = self.instances[at].link {
            self.cut(link, false);
        }
        let made = &mut self.vehicles[self.instances[at].made].1;
        self.instances[at].crash(&self.ground, made);
    }

    /// A process is gone with everything it had in memory.
    pub(crate) fn kill(&mut self, at: usize) {
        let process = self.processes.remove(at);
        self.ground.note(format_args!("process {} is gone", process.name));
        self.engine.crashed(process.name);
        let of = Some(process.name);
        drop(process);
        let links: Vec<Link> = self
            .clients
            .iter()
            .filter(|(_, c)| c.process == of && !c.closed)
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            // Some hear of it, the others find out.
            if self.ground.chance(800_000) {
                let after = self.ground.roll(0..400);
                self.later(after, Event::Down(link, None));
            }
        }
    }

    /// Removes processes that ended, and sees to it that one lives.
    fn bury(&mut self) {
        while let Some(at) = self.processes.iter().position(|p| p.phase() == Phase::Ended) {
            self.hear();
            self.kill(at);
        }
        let starts = self.events.values().any(|event| matches!(event, Event::Process));
        // Whoever took the shards last must live: nobody else may write.
        let owner = self.processes.last().is_some_and(|process| process.name == self.started);
        if !owner && !starts {
            self.process_later();
        }
    }

    fn tick(&mut self) {
        self.later(TICK_MS, Event::Tick);
        let now_ms = self.now_ms;
        let quiet: Vec<(Link, bool)> = self
            .clients
            .iter()
            .filter(|(_, client)| !client.closed && now_ms >= client.said_ms + PING_MS)
            .map(|(link, client)| (*link, now_ms >= client.heard_ms + SILENCE_MS))
            .collect();
        for (link, is_gone) in quiet {
            if is_gone {
                self.send_end(link);
                self.close(link, true);
            } else {
                self.send_up(link, Client::ping());
            }
        }
        if self.ground.is_faulty() {
            self.trouble();
        }
    }

    /// A connection of an instance that is on its way.
    pub(crate) fn open_links(&self) -> Vec<Link> {
        self.instances.iter().filter_map(|instance| instance.link).collect()
    }
}
