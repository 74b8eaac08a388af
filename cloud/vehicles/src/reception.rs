//! Which frames are taken (UPLINK section 3, cloud's half): pure bookkeeping of sequences and connections.

use bytes::Bytes;
use remuda_contracts::uplink::ConnectionGeneration;
use remuda_model::{ConnectionId, Incarnation, Lane, Seq};
use remuda_wire::frame::{self, Frame, FrameError};
use remuda_wire::{Body, Farewell, FloorReason, Frames, Hello, LaneAck};

use crate::error::Refusal;
use crate::limits;

/// The two numbers of one lane and incarnation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneNumbers {
    /// Lane.
    pub lane: Lane,
    /// Incarnation.
    pub incarnation: Incarnation,
    /// In our hands up to here.
    pub received: Seq,
    /// Safe up to here.
    pub durable: Seq,
    /// Highest durable the vehicle says it ever saw acked.
    pub acked: Seq,
}

/// Something taken, in sequence; each must be stored.
#[derive(Debug, Clone, PartialEq)]
pub enum Taken {
    /// Frames that will never come.
    Gap {
        /// First.
        from: Seq,
        /// Last.
        to: Seq,
        /// `shed`, `age`, `damaged`, `cloud-lost`.
        reason: &'static str,
    },
    /// A usable frame.
    Frame {
        /// It, decoded.
        frame: Frame,
        /// It, as it came.
        raw: Bytes,
    },
    /// A sound frame that this code cannot use.
    Quarantined {
        /// Its number.
        seq: Seq,
        /// Stable code of why.
        reason: &'static str,
        /// It, as it came.
        raw: Bytes,
    },
}

/// What a message of frames led to.
#[derive(Debug, Default, PartialEq)]
pub struct FramesOutcome {
    /// What was taken, in order.
    pub taken: Vec<Taken>,
    /// An Ack must go out now, whatever rounds do.
    pub answer: bool,
    /// With `missing`: something above `received + 1` was dropped.
    pub missing: bool,
    /// With `greet`: no Hello was heard on this connection.
    pub greet: bool,
    /// Why frames were not taken, and how many.
    pub refused: Option<(Refusal, u64)>,
    /// Acked frames that the cloud no longer has: an alarm.
    pub cloud_lost: Option<(Seq, Seq)>,
}

/// What a Hello led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct HelloOutcome {
    /// An older connection's: answered, but nothing changed.
    pub stale: bool,
    /// Two agents answer for one vehicle.
    pub cloned: bool,
}

/// Sequences and the connection of one vehicle.
#[derive(Debug, Clone, Default)]
pub struct Reception {
    lanes: Vec<LaneNumbers>,
    generation: Option<ConnectionGeneration>,
    connected: bool,
    greeted: Option<ConnectionId>,
    // The last incarnations greeted as current, newest last: a return to an older one is a flip.
    seen: Vec<Incarnation>,
    flips: u32,
}

impl Reception {
    /// A connection was admitted. False when an even newer one is already there.
    pub fn connected(&mut self, generation: ConnectionGeneration) -> bool {
        if self.generation.is_some_and(|newest| generation < newest) {
            return false;
        }
        if self.generation != Some(generation) {
            self.greeted = None;
        }
        self.generation = Some(generation);
        self.connected = true;
        true
    }

    /// A connection is gone. False when it was not the newest: then presence does not change.
    pub fn disconnected(&mut self, generation: ConnectionGeneration) -> bool {
        if self.generation != Some(generation) {
            return false;
        }
        self.connected = false;
        self.greeted = None;
        true
    }

    /// A farewell, or a last will. True when it was the greeted connection's: only then the vehicle is gone.
    pub fn farewell(&mut self, generation: ConnectionGeneration, farewell: &Farewell) -> bool {
        if !self.is_current(generation) || self.greeted != Some(farewell.connection) {
            return false;
        }
        self.greeted = None;
        true
    }

    /// Is this the newest connection known?
    pub fn is_current(&self, generation: ConnectionGeneration) -> bool {
        self.generation.is_none_or(|newest| generation >= newest)
    }

    /// Greeted on a living connection.
    pub fn is_online(&self) -> bool {
        self.connected && self.greeted.is_some()
    }

    /// The connection greeted.
    pub fn greeted(&self) -> Option<ConnectionId> {
        self.greeted
    }

    /// Restores what an actor knew before it was passivated.
    pub fn resume(&mut self, generation: ConnectionGeneration, greeted: Option<ConnectionId>) {
        if self.connected(generation) {
            self.greeted = greeted;
        }
    }

    /// Lanes with numbers in memory.
    pub fn lanes(&self) -> &[LaneNumbers] {
        &self.lanes
    }

    /// Are the numbers of this lane in memory?
    pub fn knows(&self, lane: Lane, incarnation: Incarnation) -> bool {
        self.lane(lane, incarnation).is_some()
    }

    /// Sets up a lane from what is durable. False when there is no room: the caller refuses.
    pub fn open(&mut self, lane: Lane, incarnation: Incarnation, durable: Seq) -> bool {
        if self.knows(lane, incarnation) {
            return true;
        }
        if self.lanes.len() >= limits::LANES_MAX {
            return false;
        }
        self.lanes.push(LaneNumbers { lane, incarnation, received: durable, durable, acked: 0 });
        true
    }

    /// The numbers of a lane.
    pub fn lane(&self, lane: Lane, incarnation: Incarnation) -> Option<&LaneNumbers> {
        self.lanes.iter().find(|l| l.lane == lane && l.incarnation == incarnation)
    }

    fn lane_mut(&mut self, lane: Lane, incarnation: Incarnation) -> Option<&mut LaneNumbers> {
        self.lanes.iter_mut().find(|l| l.lane == lane && l.incarnation == incarnation)
    }

    /// Takes a Hello. Every lane it lists, and both of the greeting incarnation, must have been opened.
    pub fn hello(&mut self, generation: ConnectionGeneration, hello: &Hello) -> HelloOutcome {
        let older = self.greeted.is_some_and(|g| {
            g.incarnation == hello.connection.incarnation && hello.connection.counter < g.counter
        });
        if !self.is_current(generation) || older {
            return HelloOutcome { stale: true, cloned: false };
        }
        self.generation = Some(generation);
        self.connected = true;
        self.greeted = Some(hello.connection);
        for state in &hello.lanes {
            if let Some(lane) = self.lane_mut(state.lane, state.incarnation) {
                lane.acked = lane.acked.max(state.acked);
            }
        }
        let current = hello.connection.incarnation;
        // Drained lanes need no numbers in memory; the shard's table keeps them.
        self.lanes.retain(|l| {
            l.incarnation == current
                || l.received != l.durable
                || hello.lanes.iter().any(|s| s.lane == l.lane && s.incarnation == l.incarnation)
        });
        HelloOutcome { stale: false, cloned: self.flipped(current) }
    }

    /// Frames that a Hello says were acked and are held no more, and that are not here: the journal was set back, and they
    /// are lost. They become gaps at once, since on a lane where nothing more is said nothing else would tell of them.
    /// After a [`Self::hello`] that was not stale.
    pub fn lost(&mut self, hello: &Hello) -> Vec<(Lane, Incarnation, FramesOutcome)> {
        let mut lost = Vec::new();
        for state in &hello.lanes {
            let Some(lane) = self.lane_mut(state.lane, state.incarnation) else { continue };
            let (from, to) = (lane.received + 1, state.acked.min(state.floor.saturating_sub(1)));
            if from <= to {
                lane.received = to;
                let gap = Taken::Gap { from, to, reason: "cloud-lost" };
                let outcome = FramesOutcome {
                    taken: vec![gap],
                    cloud_lost: Some((from, to)),
                    ..FramesOutcome::default()
                };
                lost.push((state.lane, state.incarnation, outcome));
            }
        }
        lost
    }

    fn flipped(&mut self, current: Incarnation) -> bool {
        if self.seen.last() == Some(&current) {
            return false;
        }
        if let Some(at) = self.seen.iter().position(|i| *i == current) {
            self.seen.remove(at);
            self.flips += 1;
        }
        if self.seen.len() == 4 {
            self.seen.remove(0);
        }
        self.seen.push(current);
        self.flips >= limits::FLIPS_MAX
    }

    /// Takes a message of frames. `admit` is asked for the memory that each decoded frame needs; when it says no,
    /// that frame and the rest are dropped. The lane must have been opened.
    pub fn frames(
        &mut self,
        generation: ConnectionGeneration,
        message: &Frames,
        admit: &mut dyn FnMut(&Taken) -> bool,
    ) -> FramesOutcome {
        let count = message.frames.len() as u64;
        let refuse = |refusal| FramesOutcome { refused: Some((refusal, count)), ..FramesOutcome::default() };
        if !self.is_current(generation) {
            return refuse(Refusal::StaleConnection);
        }
        if self.greeted.is_none() {
            return FramesOutcome { answer: true, greet: true, ..refuse(Refusal::NoHello) };
        }
        let Some(lane) = self.lane_mut(message.lane, message.incarnation) else {
            return refuse(Refusal::UnknownLane);
        };
        let overflows = message.first_seq.checked_add(count).is_none();
        if count == 0 || message.first_seq == 0 || message.floor > message.first_seq || overflows {
            return FramesOutcome { answer: true, ..refuse(Refusal::Inconsistent) };
        }
        let mut outcome = FramesOutcome::default();
        gaps(lane, message, &mut outcome);
        for (place, raw) in message.frames.iter().enumerate() {
            let seq = message.first_seq + place as u64;
            let left = count - place as u64;
            if seq <= lane.received {
                outcome.answer = true;
                let (_, n) = outcome.refused.get_or_insert((Refusal::Repeated, 0));
                *n += 1;
                continue;
            }
            let refusal = if seq > lane.received + 1 + tolerated() {
                Refusal::Ahead
            } else {
                match read(message.lane, seq, raw) {
                    None => Refusal::Checksum,
                    Some(taken) if !admit(&taken) => Refusal::Overload,
                    Some(taken) => {
                        lane.received = seq;
                        outcome.taken.push(taken);
                        continue;
                    }
                }
            };
            outcome.answer = true;
            outcome.missing = !forgets_missing();
            outcome.refused = Some((refusal, left));
            break;
        }
        outcome
    }

    /// Everything up to `seq` is safe.
    pub fn durable(&mut self, lane: Lane, incarnation: Incarnation, seq: Seq) {
        if let Some(lane) = self.lane_mut(lane, incarnation) {
            lane.durable = lane.durable.max(seq);
            lane.received = lane.received.max(lane.durable);
        }
    }

    /// What was received but is not safe was dropped.
    pub fn dropped(&mut self) {
        for lane in &mut self.lanes {
            lane.received = lane.durable;
        }
    }

    /// The numbers as an Ack carries them.
    pub fn ack(&self, lane: Lane, incarnation: Incarnation, credit: u32) -> LaneAck {
        let (received, durable) =
            self.lane(lane, incarnation).map_or((0, 0), |numbers| (numbers.received, numbers.durable));
        LaneAck { lane, incarnation, received, durable, credit }
    }
}

/// Lets tests have frames in quarantine that the code can read later.
fn is_from_the_future() -> bool {
    fail::fail_point!("frame-from-the-future", |_| true);
    false
}

/// A deliberate fault that shows that the proving ground bites: takes the one after the next.
fn tolerated() -> Seq {
    fail::fail_point!("accept-ahead", |_| 1);
    0
}

/// A deliberate fault that shows that the proving ground bites: drops without a word.
fn forgets_missing() -> bool {
    fail::fail_point!("forget-missing", |_| true);
    false
}

/// Frames between `received` and the floor will never come. Those that the vehicle once saw acked were lost by us.
fn gaps(lane: &mut LaneNumbers, message: &Frames, outcome: &mut FramesOutcome) {
    if message.floor <= lane.received + 1 {
        return;
    }
    let last = message.floor - 1;
    let mut from = lane.received + 1;
    let acked = match message.floor_reason {
        FloorReason::Acked => last,
        _ => lane.acked.min(last),
    };
    if acked >= from {
        outcome.cloud_lost = Some((from, acked));
        outcome.taken.push(Taken::Gap { from, to: acked, reason: "cloud-lost" });
        from = acked + 1;
    }
    if from <= last {
        let reason = match message.floor_reason {
            FloorReason::Acked => "cloud-lost",
            FloorReason::Full => "shed",
            FloorReason::Age => "age",
            FloorReason::Damaged => "damaged",
        };
        outcome.taken.push(Taken::Gap { from, to: last, reason });
    }
    lane.received = last;
}

/// Reads one frame at its place; `None` when its checksum is broken and nothing in it can be trusted.
pub(crate) fn read(lane: Lane, seq: Seq, raw: &Bytes) -> Option<Taken> {
    let quarantined = |reason| Taken::Quarantined { seq, reason, raw: raw.clone() };
    if is_from_the_future() && frame::is_sound(raw) {
        return Some(quarantined("version"));
    }
    Some(match frame::decode(raw) {
        Err(FrameError::Checksum) => return None,
        Err(FrameError::Unusable { reason, .. }) => quarantined(reason),
        // Sound, but not the frame of this place: taking it under either number could lose or double one.
        Ok(frame) if frame.header.seq != seq => quarantined("sequence"),
        Ok(frame) => match (lane, &frame.body) {
            (_, Body::Damaged) => Taken::Gap { from: seq, to: seq, reason: "damaged" },
            (Lane::Events, Body::Event(_)) | (Lane::Samples, Body::Samples(_)) => {
                Taken::Frame { frame, raw: raw.clone() }
            }
            _ => quarantined("lane"),
        },
    })
}
