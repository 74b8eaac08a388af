//! A vehicle's agent with its disk; a cloned disk makes a second one of the same vehicle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use remuda_edge_agent_core::{Agent, Output, Reading, RefuseAll, SavedState, Settings};
use remuda_model::{ConnectionId, Incarnation, Lane, Seq, VehicleId, signal};
use remuda_wire::{Body, Channel, Event, FloorReason, Up, frame};

use crate::disk::{Disk, Image, Place};
use crate::door::Link;
use crate::ground::Ground;
use crate::plan::Sabotage;

const NS_PER_MS: u64 = 1_000_000;

/// What one vehicle's agents made, and what became of it on their side.
#[derive(Debug, Default)]
pub(crate) struct Made {
    /// Rows of every frame ever appended.
    rows: BTreeMap<Place, usize>,
    /// Durable on a disk at some time, with its rows.
    pub made: BTreeMap<Place, usize>,
    pub shed: BTreeSet<Place>,
    pub damaged: BTreeSet<Place>,
    /// On a disk that was replaced by an older copy.
    pub replaced: BTreeSet<Place>,
    /// An older copy or a clone ever woke up.
    pub odd: bool,
    pub odometer: i64,
}

impl Made {
    fn durable(&mut self, place: Place) {
        if let Some(rows) = self.rows.get(&place) {
            self.made.insert(place, *rows);
        }
    }
}

/// What the world must do for an instance.
#[derive(Debug)]
pub(crate) enum Effect {
    Connect {
        connection: ConnectionId,
        will: Vec<u8>,
    },
    Disconnect,
    Send {
        channel: Channel,
        payload: Vec<u8>,
    },
    /// A sync begins.
    Sync,
    /// It crashed on the way.
    Crash,
}

/// Something to be told once it is synced.
#[derive(Debug)]
enum Wait {
    Made(Lane, Seq),
    Saved,
    Shed(Lane, Incarnation, (Seq, Seq), FloorReason),
}

/// See the module.
pub(crate) struct Instance {
    pub vehicle: VehicleId,
    /// Off: only its disk is left.
    pub agent: Option<Agent>,
    pub disk: Disk,
    /// Counts its starts.
    pub life: u64,
    pub link: Option<Link>,
    pub made: usize,
    skew_ns: u64,
    waiting: Vec<Wait>,
    syncing: Option<(Image, Vec<Wait>)>,
}

impl Instance {
    /// Off, with this disk. `made` says where its vehicle's books are.
    pub fn new(vehicle: VehicleId, disk: Disk, made: usize) -> Self {
        Self {
            vehicle,
            agent: None,
            disk,
            life: 0,
            link: None,
            made,
            skew_ns: 0,
            waiting: Vec::new(),
            syncing: None,
        }
    }

    /// Its own monotonic clock.
    pub fn now(&self, now_ms: u64) -> u64 {
        now_ms * NS_PER_MS + self.skew_ns
    }

    /// When its agent wants to be called, ms.
    pub fn deadline_ms(&self) -> Option<u64> {
        let at = self.agent.as_ref()?.poll_timeout()?;
        Some(at.saturating_sub(self.skew_ns).div_ceil(NS_PER_MS))
    }

    /// Starts its agent on what the disk holds.
    pub fn start(&mut self, ground: &Ground, now_ms: u64) {
        self.life += 1;
        self.skew_ns = ground.roll(1..1_000_000) * NS_PER_MS;
        let mut state = SavedState::decode(&self.disk.live.state).unwrap_or_default();
        state.boot += 1;
        self.disk.live.state = state.encode();
        let mut settings = Settings::new(self.vehicle, Incarnation(ground.name()), ground.name());
        settings.outbox_bytes_max = ground.plan.outbox_bytes;
        settings.shed_bytes = ground.plan.outbox_bytes / 4;
        settings.reconnect_ms_max = 8_000;
        ground.note(format_args!("{} starts as {:x}", self.vehicle, settings.incarnation.0));
        let held = self.disk.lanes();
        self.agent = Some(Agent::new(settings, Arc::new(RefuseAll), state, &held, self.now(now_ms)));
    }

    /// The power is cut. A sync under way may be through or not.
    pub fn crash(&mut self, ground: &Ground, made: &mut Made) {
        if let Some((image, _)) = self.syncing.take()
            && ground.chance(500_000)
        {
            self.disk.synced = image;
        }
        self.waiting.clear();
        self.agent = None;
        self.link = None;
        self.disk.crash();
        self.disk.held().for_each(|place| made.durable(place));
    }

    /// Something was sensed.
    pub fn sense(&mut self, ground: &Ground, made: &mut Made, now_ms: u64) {
        let now = self.now(now_ms);
        let Some(agent) = &mut self.agent else { return };
        made.odometer += 1;
        let phase = made.odometer % 60;
        let mut readings = vec![
            Reading { signal: signal::ODOMETER, raw: made.odometer, mono_ns: now },
            Reading { signal: signal::CHARGE, raw: (phase - 30).abs() * 10 + 20, mono_ns: now },
        ];
        if ground.chance(300_000) {
            let hard = if ground.chance(500_000) { -900 } else { 0 };
            let signal = signal::ACCELERATION_LONGITUDINAL;
            readings.push(Reading { signal, raw: hard, mono_ns: now });
        }
        agent.handle_readings(&readings, now);
        if ground.chance(40_000) {
            let mark = Event::TripMark { departed: true, latitude_e7: 1, longitude_e7: 2 };
            agent.handle_event(&mark, now);
        }
    }

    /// A sync is through.
    pub fn synced(&mut self, made: &mut Made, now_ms: u64) {
        let now = self.now(now_ms);
        let Some((image, waits)) = self.syncing.take() else { return };
        self.disk.synced = image;
        for wait in waits {
            self.tell(wait, made, now);
        }
    }

    fn tell(&mut self, wait: Wait, made: &mut Made, now: u64) {
        let bytes = self.disk.bytes();
        let Some(agent) = &mut self.agent else { return };
        let incarnation = agent.incarnation();
        match wait {
            Wait::Made(lane, seq) => {
                made.durable(((lane, incarnation), seq));
                agent.handle_made(lane, seq, bytes, now);
            }
            Wait::Saved => agent.handle_saved(now),
            Wait::Shed(lane, incarnation, range, reason) => {
                made.shed.extend((range.0..=range.1).map(|seq| ((lane, incarnation), seq)));
                agent.handle_shed(lane, incarnation, Some(range), reason, bytes, now);
            }
        }
    }

    /// Does what the agent asks for.
    pub fn drive(&mut self, ground: &Ground, made: &mut Made, now_ms: u64) -> Vec<Effect> {
        let now = self.now(now_ms);
        let mut effects = Vec::new();
        while let Some(agent) = &mut self.agent {
            let incarnation = agent.incarnation();
            let Some(output) = agent.poll_output() else { break };
            if ground.fault("agent crashes at an output", ground.plan.agent_crash_at_output) {
                effects.push(Effect::Crash);
                break;
            }
            match output {
                Output::Append { lane, first, frames, .. } => {
                    let key = (lane, incarnation);
                    let last = first + frames.len() as u64 - 1;
                    for (frame, seq) in frames.iter().zip(first..) {
                        made.rows.insert((key, seq), rows_of(frame));
                    }
                    self.disk.append(key, first, frames);
                    self.wait(ground, Wait::Made(lane, last), made, now);
                }
                Output::Read { lane, incarnation, from, to, bytes_max } => {
                    let records = self.disk.read((lane, incarnation), from, to, bytes_max);
                    agent.handle_read(lane, incarnation, from, records, now);
                }
                Output::Trim { lane, incarnation, up_to } => {
                    let beyond = u64::from(ground.plan.sabotage == Some(Sabotage::TrimBeyondDurable));
                    self.disk.trim((lane, incarnation), up_to + beyond);
                }
                Output::Shed { lane, incarnation, until, reason } => {
                    match self.disk.shed((lane, incarnation), until, reason) {
                        Some(range) => {
                            ground.note(format_args!("{} sheds {range:?}", self.vehicle));
                            self.wait(ground, Wait::Shed(lane, incarnation, range, reason), made, now);
                        }
                        None => {
                            let bytes = self.disk.bytes();
                            agent.handle_shed(lane, incarnation, None, reason, bytes, now);
                        }
                    }
                }
                Output::Save(state) => {
                    self.disk.live.state = state;
                    self.wait(ground, Wait::Saved, made, now);
                }
                Output::Connect { connection, will } => effects.push(Effect::Connect { connection, will }),
                Output::Disconnect => effects.push(Effect::Disconnect),
                Output::Send { channel, payload } => {
                    if let Some(place) = unmade(made, &payload) {
                        ground.broken(format!("{} sent {place:?} before it was made", self.vehicle));
                    }
                    effects.push(Effect::Send { channel, payload });
                }
                Output::Perform { .. } | Output::Act { .. } => {
                    ground.broken("a command was obeyed that nobody gave".into());
                }
            }
        }
        if self.syncing.is_none() && !self.waiting.is_empty() && self.agent.is_some() {
            self.syncing = Some((self.disk.live.clone(), std::mem::take(&mut self.waiting)));
            effects.push(Effect::Sync);
        }
        effects
    }

    fn wait(&mut self, ground: &Ground, wait: Wait, made: &mut Made, now: u64) {
        if ground.plan.sabotage == Some(Sabotage::SentBeforeSynced) && matches!(wait, Wait::Made(..)) {
            self.tell(wait, made, now);
            self.waiting.push(Wait::Saved);
        } else {
            self.waiting.push(wait);
        }
    }

    /// Everything it made is safe elsewhere, and nothing is under way.
    pub fn is_drained(&self) -> bool {
        self.agent.as_ref().is_some_and(Agent::is_drained)
            && self.waiting.is_empty()
            && self.syncing.is_none()
    }
}

fn rows_of(bytes: &[u8]) -> usize {
    match frame::decode(bytes).map(|frame| frame.body) {
        Ok(Body::Samples(block)) => block.rows().max(1),
        _ => 1,
    }
}

/// A frame in a message that no disk ever held for certain.
fn unmade(made: &Made, payload: &[u8]) -> Option<Place> {
    let Ok(Up::Frames(frames)) = Up::decode(&bytes::Bytes::copy_from_slice(payload)) else { return None };
    let key = (frames.lane, frames.incarnation);
    let places = (frames.first_seq..).take(frames.frames.len()).map(|seq| (key, seq));
    places.into_iter().find(|place| !made.made.contains_key(place))
}
