//! Bookkeeping of one lane and incarnation: what is made, sent, acked, held (docs/uplink.md section 3).

use std::collections::VecDeque;

use remuda_model::{Incarnation, Lane, Seq};
use remuda_wire::{FloorReason, LaneAck, LaneState};

use crate::limits;
use crate::output::Held;

/// Numbers of one lane and incarnation.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) lane: Lane,
    pub(crate) incarnation: Incarnation,
    /// What the next frame will be called.
    pub(crate) next_seq: Seq,
    /// Durable in the outbox up to here.
    pub(crate) made: Seq,
    pub(crate) floor: Seq,
    pub(crate) floor_reason: FloorReason,
    /// Highest durable ever acked.
    pub(crate) acked: Seq,
    pub(crate) received: Seq,
    pub(crate) credit: u64,
    /// First seq not yet sent (since the last going back).
    pub(crate) next_send: Seq,
    /// Sizes of the frames sent and not known durable; the last one is `next_send - 1`.
    pub(crate) in_flight: VecDeque<u32>,
    pub(crate) in_flight_bytes: u64,
    /// When `durable` last moved, or frames were first out.
    pub(crate) progress_ns: u64,
    /// Until then a `missing` is about what was sent before going back.
    pub(crate) back_until_ns: u64,
    /// `received` of a `missing` that came within that time.
    pub(crate) missed_at: Option<Seq>,
    pub(crate) probe_ns: u64,
    /// A read is under way from this seq.
    pub(crate) reading: Option<Seq>,
    /// The next frame does not fit into the credit; nothing to do until an Ack.
    pub(crate) blocked: bool,
    pub(crate) shedding: bool,
}

impl Book {
    pub(crate) fn new(held: Held) -> Self {
        let Held { lane, incarnation, floor, floor_reason, made } = held;
        let acked = if floor_reason == FloorReason::Acked { floor - 1 } else { 0 };
        Self {
            lane,
            incarnation,
            next_seq: made + 1,
            made,
            floor,
            floor_reason,
            acked,
            received: 0,
            credit: 0,
            next_send: floor,
            in_flight: VecDeque::new(),
            in_flight_bytes: 0,
            progress_ns: 0,
            back_until_ns: 0,
            missed_at: None,
            probe_ns: 0,
            reading: None,
            blocked: false,
            shedding: false,
        }
    }

    pub(crate) fn state(&self) -> LaneState {
        LaneState {
            lane: self.lane,
            incarnation: self.incarnation,
            next_seq: self.next_seq,
            floor: self.floor,
            acked: self.acked,
        }
    }

    /// Nothing held.
    pub(crate) fn is_empty(&self) -> bool {
        self.floor > self.made
    }

    pub(crate) fn held(&self) -> u64 {
        (self.made + 1).saturating_sub(self.floor)
    }

    /// A new connection: nothing is in flight on it, and what is known of the cloud's hands is void.
    pub(crate) fn restart(&mut self) {
        self.in_flight = VecDeque::new();
        self.in_flight_bytes = 0;
        self.next_send = self.floor;
        self.reading = None;
        self.blocked = false;
        self.missed_at = None;
        self.back_until_ns = 0;
        self.probe_ns = 0;
    }

    /// Frames from `seq` on will be sent again.
    pub(crate) fn go_back(&mut self, seq: Seq) {
        let seq = seq.max(self.floor);
        while self.next_send > seq {
            if let Some(size) = self.in_flight.pop_back() {
                self.in_flight_bytes -= u64::from(size);
            }
            self.next_send -= 1;
        }
        self.reading = None;
        self.blocked = false;
    }

    pub(crate) fn sent(&mut self, size: u32, now: u64) {
        if self.in_flight.is_empty() {
            self.progress_ns = now;
        }
        self.in_flight.push_back(size);
        self.in_flight_bytes += u64::from(size);
        self.next_send += 1;
    }

    /// Forgets frames up to `seq`: they are acked or shed.
    pub(crate) fn forget(&mut self, seq: Seq) {
        let first = self.next_send - self.in_flight.len() as u64;
        for _ in first..=seq.min(self.next_send.saturating_sub(1)) {
            if let Some(size) = self.in_flight.pop_front() {
                self.in_flight_bytes -= u64::from(size);
            }
        }
        if self.in_flight.is_empty() {
            // An idle lane keeps no memory for a burst that is over.
            self.in_flight.shrink_to(8);
        }
        self.next_send = self.next_send.max(seq + 1);
        self.floor = self.floor.max(seq + 1);
    }

    /// Takes the cloud's numbers. Answers up to where frames can be trimmed, if anything moved.
    pub(crate) fn acked(&mut self, ack: &LaneAck, now: u64) -> Option<Seq> {
        self.credit = u64::from(ack.credit);
        self.blocked = false;
        // An Ack above our last seq means that all of it is durable.
        let durable = ack.durable.min(self.made);
        if durable <= self.acked.max(self.floor - 1) {
            self.acked = self.acked.max(durable);
            return None;
        }
        self.acked = durable;
        self.progress_ns = now;
        self.forget(durable);
        if self.reading.is_some_and(|from| from < self.next_send) {
            self.reading = None;
        }
        self.floor_reason = FloorReason::Acked;
        Some(durable)
    }

    /// Frames up to `to` were shed.
    pub(crate) fn shed(&mut self, to: Seq, reason: FloorReason) {
        self.shedding = false;
        if to >= self.floor {
            self.forget(to);
            self.floor_reason = reason;
            if self.reading.is_some_and(|from| from < self.next_send) {
                self.reading = None;
            }
        }
    }

    /// Bytes that may be sent now; `None` when nothing may. 0 is a probe: one frame, whatever its size.
    pub(crate) fn room(&self, now: u64) -> Option<u64> {
        if self.blocked || self.reading.is_some() || self.next_send > self.made {
            return None;
        }
        let free = self.credit.saturating_sub(self.in_flight_bytes);
        let probe = self.in_flight.is_empty() && now >= self.probe_ns;
        (free > 0 || probe).then_some(free)
    }

    /// When a probe may go out, if that is what the lane waits for.
    pub(crate) fn probe_at(&self) -> Option<u64> {
        let waits = self.next_send <= self.made && self.in_flight.is_empty() && self.reading.is_none();
        (waits && (self.credit == 0 || self.blocked)).then_some(self.probe_ns)
    }

    pub(crate) fn stalls_at(&self) -> Option<u64> {
        (!self.in_flight.is_empty()).then_some(self.progress_ns + limits::STALL_MS * 1_000_000)
    }
}
