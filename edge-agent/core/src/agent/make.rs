//! From readings and events to frames that are durable.

use bytes::Bytes;
use remuda_model::signal::REGISTRY_REVISION;
use remuda_model::{Incarnation, Lane, Seq};
use remuda_policy::Collection;
use remuda_wire::frame::{self, FrameHeader};
use remuda_wire::{Body, Event, FloorReason, SampleBlock};

use super::Agent;
use crate::intake::{self, Reading};
use crate::limits;
use crate::output::{Output, ShedUntil};

impl Agent {
    /// What was sensed, in the order of time. Readings of one time that belong together come in one call.
    pub fn handle_readings(&mut self, readings: &[Reading], now: u64) {
        if self.intake.level() != Collection::Full {
            // Nothing else may happen for days, and a month begins.
            self.weigh(now);
        }
        let mut moves = false;
        for reading in readings {
            moves |= self.instruments.take(*reading);
            if let Some(batch) = self.intake.take(*reading, now) {
                self.make_samples(batch);
            }
        }
        if moves {
            self.look(now);
        }
    }

    /// Something to tell at once.
    pub fn handle_event(&mut self, event: &Event, now: u64) {
        self.make_event(event, now);
    }

    /// The outbox has these on its disk. `outbox_bytes` is what it holds now.
    pub fn handle_made(&mut self, lane: Lane, up_to: Seq, outbox_bytes: u64, now: u64) {
        let incarnation = self.settings.incarnation;
        if let Some(book) = self.book(lane, incarnation) {
            let made = up_to.max(book.made);
            let new = made - book.made;
            book.made = made;
            self.figures.frames_made += new;
        }
        if lane == Lane::Events {
            self.marks_made(up_to);
        }
        self.shed_when_full(outbox_bytes);
        self.pump(now);
    }

    /// Frames `from..=to` were shed, and the record of it is durable.
    #[allow(clippy::too_many_arguments, reason = "one record, spelt out")]
    pub fn handle_shed(
        &mut self,
        lane: Lane,
        incarnation: Incarnation,
        range: Option<(Seq, Seq)>,
        reason: FloorReason,
        outbox_bytes: u64,
        now: u64,
    ) {
        if let Some(book) = self.book(lane, incarnation) {
            book.shedding = false;
            if let Some((_, to)) = range {
                book.shed(to, reason);
            }
        }
        if let Some((from, to)) = range {
            self.figures.frames_shed += to - from + 1;
            if lane == Lane::Samples {
                self.make_event(&Event::Shed { incarnation, from, to }, now);
            }
            self.drop_empty_books();
            self.shed_when_full(outbox_bytes);
        }
        self.pump(now);
    }

    /// Closes what is open, before a farewell or to have everything sent.
    pub fn handle_flush(&mut self, now: u64) {
        self.close_batches(now, true);
    }

    pub(super) fn close_batches(&mut self, now: u64, force: bool) {
        for batch in self.intake.close(now, force) {
            self.make_samples(batch);
        }
    }

    pub(super) fn make_samples(&mut self, batch: Vec<Reading>) {
        self.figures.samples_taken += batch.len() as u64;
        let (mono_ms, block) = intake::block(batch);
        self.append_block(mono_ms, block);
    }

    fn append_block(&mut self, mono_ms: u64, block: SampleBlock) {
        let Some(seq) = self.book(Lane::Samples, self.settings.incarnation).map(|b| b.next_seq) else {
            return;
        };
        let body = Body::Samples(block);
        let bytes = frame::encode(&self.header(seq, mono_ms), &body);
        let Body::Samples(block) = body else { return };
        let fits = bytes.len() <= remuda_wire::limits::FRAME_BYTES_MAX && block.is_valid();
        if !fits && block.rows() > 1 {
            let (first, second) = halves(block);
            self.append_block(mono_ms, first);
            return self.append_block(mono_ms, second);
        }
        self.append(Lane::Samples, seq, bytes, false);
    }

    pub(super) fn make_event(&mut self, event: &Event, now: u64) {
        let Some(seq) = self.book(Lane::Events, self.settings.incarnation).map(|b| b.next_seq) else {
            return;
        };
        let header = self.header(seq, now / 1_000_000);
        let bytes = frame::encode(&header, &Body::Event(event.clone()));
        self.append(Lane::Events, seq, bytes, true);
    }

    fn append(&mut self, lane: Lane, seq: Seq, bytes: Vec<u8>, at_once: bool) {
        if let Some(book) = self.book(lane, self.settings.incarnation) {
            book.next_seq = seq + 1;
        }
        self.outputs.push_back(Output::Append {
            lane,
            first: seq,
            frames: vec![Bytes::from(bytes)],
            at_once,
        });
    }

    pub(super) fn header(&self, seq: Seq, mono_ms: u64) -> FrameHeader {
        FrameHeader {
            seq,
            boot: self.state.boot,
            mono_ms,
            wall_ms: self.clock.wall_ms(mono_ms),
            clock: self.clock.quality(),
            registry: REGISTRY_REVISION,
            trace: None,
        }
    }

    /// The oldest samples go first; events only when no samples are left.
    fn shed_when_full(&mut self, outbox_bytes: u64) {
        if outbox_bytes <= self.settings.outbox_bytes_max || self.books.iter().any(|b| b.shedding) {
            return;
        }
        let bytes = (outbox_bytes - self.settings.outbox_bytes_max).max(self.settings.shed_bytes);
        let of = |lane: Lane| self.books.iter().position(|b| b.lane == lane && !b.is_empty());
        let Some(at) = of(Lane::Samples).or_else(|| of(Lane::Events)) else { return };
        let book = &mut self.books[at];
        book.shedding = true;
        let (lane, incarnation) = (book.lane, book.incarnation);
        let until = ShedUntil::Bytes(bytes);
        self.outputs.push_back(Output::Shed { lane, incarnation, until, reason: FloorReason::Full });
    }

    /// Looks for old frames now and then, also while nobody is connected: a vehicle may be away for half a year.
    pub(super) fn age_timeout(&mut self, now: u64) {
        if now >= self.age_ns {
            self.age_ns = now + limits::AGE_CHECK_MS * 1_000_000;
            // Only time that came from the cloud says how old something is.
            if let Some(trusted) = self.clock.wall_ms(now / 1_000_000) {
                self.shed_old(trusted);
            }
        }
    }

    pub(super) fn age_deadline(&self) -> Option<u64> {
        self.books.iter().any(|book| !book.is_empty()).then_some(self.age_ns)
    }

    /// What is older than the cloud remembers cannot be stored safely any more.
    pub(super) fn shed_old(&mut self, server_ms: i64) {
        let until = ShedUntil::Before { wall_ms: server_ms.saturating_sub(limits::AGE_MS_MAX) };
        for book in self.books.iter_mut().filter(|b| !b.is_empty() && !b.shedding) {
            book.shedding = true;
            let (lane, incarnation) = (book.lane, book.incarnation);
            self.outputs.push_back(Output::Shed { lane, incarnation, until, reason: FloorReason::Age });
        }
    }
}

fn halves(mut block: SampleBlock) -> (SampleBlock, SampleBlock) {
    let at = block.rows() / 2;
    let offsets = block.offsets.split_off(at);
    let mut columns = block.columns.clone();
    for (first, second) in block.columns.iter_mut().zip(&mut columns) {
        second.values.drain(..at);
        first.values.truncate(at);
    }
    let some = |c: &remuda_wire::Column| c.values.iter().any(Option::is_some);
    columns.retain(some);
    block.columns.retain(some);
    let second = SampleBlock { unit: block.unit, offsets, columns };
    (block, second)
}
