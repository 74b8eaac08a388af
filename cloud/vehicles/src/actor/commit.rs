//! A loaded vehicle's writes: contributions to rounds, appends of the events lane, and what their answers mean.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use remuda_eventsourcing::{Appended, ManifestPosition};
use remuda_lake::{Contribution, Verdict};
use remuda_model::{Lane, VehicleId};

use super::batch::{AckDue, Batch, Ticket, add_ack};
use super::fault::Fault;
use super::slot::Slot;
use super::warm::{Active, Warm};
use crate::command::Command;
use crate::decide::decide;
use crate::error::CommandRefusal;
use crate::event::VehicleEvent;
use crate::evolve::evolve;
use crate::metrics::{DecisionLabel, lane_label};
use crate::state::VehicleState;

impl Warm {
    pub(super) fn decisions_in_flight(&self) -> bool {
        self.tickets.iter().any(|ticket| !ticket.decisions.is_empty())
    }

    /// The state as it will be when everything in flight is committed.
    fn state_ahead(&self) -> VehicleState {
        let mut state = self.vehicle.state.clone();
        for event in self.tickets.iter().flat_map(|ticket| &ticket.decisions) {
            evolve(&mut state, event);
        }
        state
    }

    /// Appends what the events lane brought, unless decisions are in flight: versions are given when submitted, so
    /// an append behind them must know whether they were committed.
    pub(super) async fn append_deferred(&mut self, acks: &mut Vec<AckDue>) -> Result<(), Fault> {
        if self.deferred.is_empty() || self.decisions_in_flight() {
            return Ok(());
        }
        let mut state = self.vehicle.state.clone();
        let mut events = Vec::with_capacity(self.deferred.len());
        let (mut asks, mut marks) = (false, false);
        for deferred in &self.deferred {
            match decide(&state, deferred.command()) {
                Ok(Some(event)) => {
                    evolve(&mut state, &event);
                    events.push(event);
                    asks |= deferred.is_question();
                    marks |= deferred.is_mark();
                }
                Ok(None) | Err(CommandRefusal::AlreadyRecorded) => {}
                Err(CommandRefusal::OutOfSequence) => {
                    return Err(Fault::Conflict("the events lane's numbers are not the stream's"));
                }
            }
        }
        let now = self.node.now_ms();
        if !events.is_empty() {
            self.append(&events, now).await?;
            // A memory encoded before would lack their notes, though its snapshot says that they are in it.
            self.candidate = None;
            events.iter().for_each(|event| self.vehicle.note(event, now));
        }
        self.vehicle.state = state;
        if asks {
            self.node.questions.send_modify(|count| *count += 1);
        }
        if marks {
            self.node.marked.send_modify(|count| *count += 1);
        }
        // An effect of the reports, made after they are durable (I3).
        Box::pin(self.answer_orders(&events)).await?;
        for deferred in std::mem::take(&mut self.deferred) {
            self.reception.durable(Lane::Events, deferred.incarnation, deferred.last());
            let due = AckDue {
                lane: Lane::Events,
                incarnation: deferred.incarnation,
                missing: false,
                greet: false,
            };
            add_ack(acks, due);
            if !deferred.is_gap() {
                self.durable(Lane::Events, 1, 0, deferred.received_ms, now);
            }
        }
        Ok(())
    }

    pub(super) async fn append(&self, events: &[VehicleEvent], now_ms: i64) -> Result<(), Fault> {
        let envelopes = self.envelopes(events, self.vehicle.state.version, now_ms);
        let appended = self.slot().append(self.node.journal.as_ref(), envelopes).await;
        match appended.map_err(|error| Fault::Journal("appending reports", error))? {
            Appended::Committed { .. } => Ok(()),
            Appended::Fenced { .. } => {
                self.node.shard_lost(self.shard);
                Err(Fault::Lost)
            }
            Appended::Conflict { .. } => Err(Fault::Conflict("an append was refused")),
        }
    }

    fn durable(&self, lane: Lane, frames: u64, samples: u64, received_ms: i64, now_ms: i64) {
        self.node.metrics.frames_durable.get_or_create(&lane_label(lane)).inc_by(frames);
        let figures = &self.node.figures;
        figures.durable.fetch_add(frames, Relaxed);
        figures.samples.fetch_add(samples, Relaxed);
        figures.latency(now_ms - received_ms, frames);
        self.node.metrics.ack_seconds.observe((now_ms - received_ms).max(0) as f64 / 1e3);
    }

    /// What the rules' wishes come to, given everything in flight.
    fn decide_wishes(&self, wishes: Vec<Command>) -> (u64, Vec<VehicleEvent>) {
        if wishes.is_empty() {
            return (0, Vec::new());
        }
        let mut state = self.state_ahead();
        let version = state.version;
        let mut events = Vec::new();
        for wish in wishes {
            // Rules' findings are never out of sequence.
            if let Ok(Some(event)) = decide(&state, wish) {
                evolve(&mut state, &event);
                events.push(event);
            }
        }
        (version, events)
    }

    /// Hands the batch's rows and decisions to the open round.
    pub(super) async fn contribute(&mut self, batch: Batch) -> Result<(), Fault> {
        if batch.rows.is_empty() {
            return Ok(());
        }
        let received_ms = batch.received_ms.unwrap_or_default();
        let (version, decisions) = self.decide_wishes(batch.wishes);
        let envelopes = self.envelopes(&decisions, version, received_ms);
        let number = self.next_ticket;
        self.next_ticket += 1;
        let contribution = Contribution {
            shard: self.shard,
            vehicle: self.id,
            ticket: number,
            rows: batch.rows,
            decisions: envelopes,
            bytes: batch.permit.as_ref().map_or(0, tokio::sync::OwnedSemaphorePermit::num_permits),
        };
        if self.candidate.is_none() && self.snapshot_due() {
            self.candidate = Some((number, self.vehicle.memory.encode()));
        }
        let early = acks_before_commit().then(|| batch.marks.clone());
        self.slot().contributing(decisions.len());
        let node = Arc::clone(&self.node);
        let booked = Booked::new(node.slot(self.shard), self.id);
        self.active.get_or_insert_with(|| Active::new(&self.node));
        self.tickets.push_back(Ticket {
            number,
            marks: batch.marks,
            decisions,
            frames: batch.frames,
            samples: batch.samples,
            received_ms,
            permit: batch.permit,
        });
        let Some(rounds) = node.rounds.get() else { return Err(Fault::Stopping) };
        rounds.contribute(contribution).await.map_err(|_| Fault::Stopping)?;
        booked.handed_over();
        if let Some(marks) = early {
            self.ack_early(&marks);
        }
        Ok(())
    }

    /// Takes a round's answers, in order.
    pub async fn answered(
        &mut self,
        position: ManifestPosition,
        answers: &[(u64, Verdict)],
    ) -> Result<(), Fault> {
        let now = self.node.now_ms();
        let mut acks = Vec::new();
        let mut decided = false;
        for (number, verdict) in answers {
            let Some(ticket) = self.next_answered(*number) else { continue };
            if *verdict == Verdict::Dropped {
                if forgets_set_back() {
                    continue;
                }
                return Err(Fault::Dropped);
            }
            decided |= !ticket.decisions.is_empty();
            for event in &ticket.decisions {
                evolve(&mut self.vehicle.state, event);
                self.count_decision(event);
            }
            for (incarnation, seq) in ticket.marks.as_slice() {
                self.reception.durable(Lane::Samples, *incarnation, *seq);
                let (lane, incarnation) = (Lane::Samples, *incarnation);
                add_ack(&mut acks, AckDue { lane, incarnation, missing: false, greet: false });
            }
            self.slot().books.lock().raise(self.id, ticket.marks.as_slice());
            self.durable(Lane::Samples, ticket.frames, ticket.samples, ticket.received_ms, now);
            if let Some((_, memory)) = self.candidate.take_if(|(at, _)| at == number) {
                // Of the round's file it covers what was contributed up to then: all of it only when nothing came later.
                let is_last = answers.last().is_some_and(|(last, _)| last == number);
                let covered_to = if is_last { position } else { self.position };
                let job = self.snapshot_job(memory, covered_to, None);
                // Closed only when the node stops, which snapshots by itself.
                let _ = self.node.snapshots.send(job).await;
            }
        }
        self.position = self.position.max(position);
        if self.tickets.is_empty() {
            self.active = None;
        }
        if decided {
            self.show_alerts();
        }
        self.append_deferred(&mut acks).await?;
        Box::pin(self.work_alerts()).await?;
        Box::pin(self.work_orders()).await?;
        self.publish();
        effects_crash_point();
        self.send_acks(&acks);
        Ok(())
    }

    /// The ticket of this answer; those of an earlier life of the actor are none of ours.
    fn next_answered(&mut self, number: u64) -> Option<Ticket> {
        self.tickets.front().filter(|ticket| ticket.number == number)?;
        self.tickets.pop_front()
    }

    pub(super) fn count_decision(&self, event: &VehicleEvent) {
        self.count_crossing(event);
        let (fact, kind) = match event {
            VehicleEvent::AlertRaised(fact) => (fact, "raised"),
            VehicleEvent::AlertCleared(fact) => (fact, "cleared"),
            _ => return,
        };
        self.count_alert(event);
        let label = DecisionLabel { rule: fact.cause.rule.as_str(), kind };
        self.node.metrics.decisions.get_or_create(&label).inc();
        self.node.figures.decisions.fetch_add(1, Relaxed);
    }

    /// The deliberate fault that shows that the kill test bites: says *durable* before it is.
    fn ack_early(&mut self, marks: &crate::state::Marks) {
        let mut acks = Vec::new();
        for (incarnation, seq) in marks.as_slice() {
            self.reception.durable(Lane::Samples, *incarnation, *seq);
            let incarnation = *incarnation;
            acks.push(AckDue { lane: Lane::Samples, incarnation, missing: false, greet: false });
        }
        self.send_acks(&acks);
    }
}

/// A contribution in the shard's books that the rounds may never see: an actor can be ended while it waits for them.
struct Booked<'a> {
    slot: &'a Slot,
    vehicle: VehicleId,
    handed_over: bool,
}

impl<'a> Booked<'a> {
    fn new(slot: &'a Slot, vehicle: VehicleId) -> Self {
        slot.books.lock().contributing(vehicle);
        Self { slot, vehicle, handed_over: false }
    }

    fn handed_over(mut self) {
        self.handed_over = true;
    }
}

impl Drop for Booked<'_> {
    fn drop(&mut self) {
        if !self.handed_over {
            self.slot.books.lock().withdrawn(&self.vehicle);
        }
    }
}

fn acks_before_commit() -> bool {
    fail::fail_point!("ack-before-commit", |_| true);
    false
}

/// The deliberate fault that shows that the proving ground bites: what was dropped stays in our hands.
fn forgets_set_back() -> bool {
    fail::fail_point!("forget-set-back", |_| true);
    false
}

fn effects_crash_point() {
    fail::fail_point!("effects-before-ack", |_| std::process::abort());
}
