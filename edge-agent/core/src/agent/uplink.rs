//! Sending, going back, trimming (docs/uplink.md section 3).

use bytes::Bytes;
use remuda_model::{Incarnation, Lane, Seq};
use remuda_policy::Collection;
use remuda_wire::topic::Channel;
use remuda_wire::{Ack, Body, Frames, LaneAck, Live, Up, frame, limits as wire_limits, message};

use super::Agent;
use crate::lane::Book;
use crate::limits;
use crate::output::{Output, Record};

const NS_PER_MS: u64 = 1_000_000;
const MESSAGE_BYTES_MAX: usize =
    wire_limits::PAYLOAD_BYTES_MAX - message::frames_overhead(limits::MESSAGE_FRAMES_MAX);

impl Agent {
    pub(super) fn book(&mut self, lane: Lane, incarnation: Incarnation) -> Option<&mut Book> {
        self.books.iter_mut().rev().find(|b| b.lane == lane && b.incarnation == incarnation)
    }

    /// A lane's older incarnations are drained first, each until all of it is durable.
    fn first(&self, lane: Lane) -> Option<usize> {
        let first = self.books.iter().position(|b| b.lane == lane && !b.is_empty());
        first.filter(|_| self.session.is_welcome())
    }

    /// The one that may send now: bulk may have to wait for a link that costs nothing.
    fn active(&self, lane: Lane) -> Option<usize> {
        self.first(lane).filter(|_| lane == Lane::Events || !self.holds_bulk())
    }

    /// Asks the outbox for what may be sent now.
    pub(super) fn pump(&mut self, now: u64) {
        self.weigh(now);
        for lane in Lane::ALL {
            let Some(at) = self.active(lane) else { continue };
            let book = &mut self.books[at];
            if let Some(room) = book.room(now) {
                let bytes_max = usize::try_from(room).unwrap_or(usize::MAX).min(MESSAGE_BYTES_MAX);
                let (from, most) = (book.next_send, limits::MESSAGE_FRAMES_MAX as u64);
                book.reading = Some(from);
                let (incarnation, to) = (book.incarnation, book.made.min(from + most - 1));
                self.outputs.push_back(Output::Read { lane, incarnation, from, to, bytes_max });
            }
        }
    }

    /// Records read from the outbox.
    pub fn handle_read(
        &mut self,
        lane: Lane,
        incarnation: Incarnation,
        from: Seq,
        records: Vec<Record>,
        now: u64,
    ) {
        let welcome = self.session.is_welcome();
        let Some(at) = self.books.iter().position(|b| b.lane == lane && b.incarnation == incarnation) else {
            return;
        };
        // A read that going back, an Ack or a new connection has overtaken.
        if self.books[at].reading != Some(from) || from != self.books[at].next_send || !welcome {
            return;
        }
        self.books[at].reading = None;
        if lane == Lane::Samples && self.holds_bulk() {
            return;
        }
        let mut frames = Vec::with_capacity(records.len());
        let mut bytes = 0;
        for record in records {
            let seq = self.books[at].next_send;
            let encoded = match record {
                Record::Frame(encoded) => encoded,
                Record::Damaged => {
                    self.figures.frames_damaged += 1;
                    Bytes::from(frame::encode(&self.header(seq, now / NS_PER_MS), &Body::Damaged))
                }
            };
            if !self.take_one(at, encoded.len(), bytes, now) {
                break;
            }
            bytes += encoded.len();
            frames.push(encoded);
        }
        if frames.is_empty() {
            self.books[at].blocked = true;
            return;
        }
        self.figures.frames_sent += frames.len() as u64;
        let Book { floor, floor_reason, .. } = self.books[at];
        let message = Frames { lane, incarnation, floor, floor_reason, first_seq: from, frames };
        self.send(Channel::Lane(lane), &Up::Frames(message));
        self.pump(now);
    }

    /// Counts one frame as sent, if credit or a probe allows it.
    fn take_one(&mut self, at: usize, size: usize, message_bytes: usize, now: u64) -> bool {
        let book = &mut self.books[at];
        let fits = message_bytes == 0 || message_bytes + size <= MESSAGE_BYTES_MAX;
        let credited = book.in_flight_bytes + size as u64 <= book.credit;
        let probe = book.in_flight.is_empty() && now >= book.probe_ns;
        if !fits || book.next_send > book.made || !(credited || probe) {
            return false;
        }
        if !credited {
            book.probe_ns = now + limits::PROBE_INTERVAL_MS * NS_PER_MS;
        }
        book.sent(u32::try_from(size).unwrap_or(u32::MAX), now);
        true
    }

    pub(super) fn handle_ack(&mut self, ack: &Ack, now: u64) {
        self.clock.acked(ack.server_time_ms, now);
        self.note_epoch(ack.epoch);
        if ack.greet {
            self.greet_again(now);
        }
        if !self.session.is_welcome() {
            return;
        }
        self.take_ack(&ack.ack, now);
        let round_trip = self.session.round_trip_ns;
        if let Some(book) = self.book(ack.ack.lane, ack.ack.incarnation) {
            let lower = ack.ack.received < book.received;
            book.received = ack.ack.received;
            if (ack.missing || lower) && book.received + 1 < book.next_send.max(2) {
                go_back(book, round_trip, now);
            }
        }
        self.drop_empty_books();
    }

    pub(super) fn take_ack(&mut self, ack: &LaneAck, now: u64) {
        let Some(book) = self.book(ack.lane, ack.incarnation) else { return };
        let before = book.floor;
        if let Some(up_to) = book.acked(ack, now) {
            self.figures.frames_acked += up_to + 1 - before;
            self.session.progressed = true;
            let (lane, incarnation) = (ack.lane, ack.incarnation);
            self.outputs.push_back(Output::Trim { lane, incarnation, up_to });
        }
    }

    pub(super) fn drop_empty_books(&mut self) {
        let present = self.settings.incarnation;
        self.books.retain(|b| b.incarnation == present || !b.is_empty());
    }

    pub(super) fn uplink_timeout(&mut self, now: u64) {
        if !self.session.is_welcome() {
            return;
        }
        if self.books.iter().any(|b| b.stalls_at().is_some_and(|at| now >= at)) {
            return self.greet_again(now);
        }
        let round_trip = self.session.round_trip_ns;
        for book in &mut self.books {
            if book.missed_at.is_some() && now >= book.back_until_ns {
                let still = book.missed_at.take() == Some(book.received);
                if still && book.received + 1 < book.next_send {
                    go_back(book, round_trip, now);
                }
            }
            if book.blocked && book.in_flight.is_empty() && now >= book.probe_ns {
                book.blocked = false;
            }
        }
        if self.owes_live() && now >= self.session.live_ns {
            self.say_live(now);
        }
    }

    pub(super) fn uplink_deadline(&self) -> Option<u64> {
        if !self.session.is_welcome() {
            return None;
        }
        let stalls = self.books.iter().filter_map(Book::stalls_at);
        let missed = self.books.iter().filter(|b| b.missed_at.is_some()).map(|b| b.back_until_ns);
        let probes = Lane::ALL.into_iter().filter_map(|lane| self.books[self.active(lane)?].probe_at());
        let live = self.owes_live().then_some(self.session.live_ns);
        stalls.chain(missed).chain(probes).chain(live).min()
    }

    /// Samples wait behind the credit or behind an older incarnation: the newest would come late.
    fn owes_live(&self) -> bool {
        if self.intake.level() == Collection::EventsOnly {
            return false;
        }
        let Some(at) = self.first(Lane::Samples) else { return false };
        let book = &self.books[at];
        book.incarnation != self.settings.incarnation
            || (book.next_send <= book.made && book.reading.is_none())
    }

    pub(super) fn say_live(&mut self, now: u64) {
        let pause = if self.holds_bulk() { limits::LIVE_HELD_INTERVAL_MS } else { limits::LIVE_INTERVAL_MS };
        self.session.live_ns = now + pause * NS_PER_MS;
        let values = self.intake.live();
        if !values.is_empty() {
            let (incarnation, boot) = (self.settings.incarnation, self.state.boot);
            let wall_ms = self.clock.wall_ms(now / NS_PER_MS);
            self.send(Channel::Live, &Up::Live(Live { incarnation, boot, wall_ms, values }));
        }
    }
}

/// At most once per round trip: what was under way while we went back says nothing new.
fn go_back(book: &mut Book, round_trip_ns: u64, now: u64) {
    if now < book.back_until_ns {
        book.missed_at = Some(book.received);
        return;
    }
    book.missed_at = None;
    book.back_until_ns = now + round_trip_ns;
    book.go_back(book.received + 1);
}
