//! A loaded vehicle: from messages to contributions and appends, from answers to acks.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use remuda_contracts::business::vehicles::Home;
use remuda_contracts::uplink::{Arrival, ConnectionGeneration, Downlink};
use remuda_eventsourcing::ManifestPosition;
use remuda_model::{Incarnation, Lane, Seq, ShardId, VehicleId};
use remuda_wire::{
    Ask, Channel, DecodeError, Down, Frames, Hello, Policy, PolicyRefused, Status, Up, WIRE_VERSION, Welcome,
};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::alerts::AlertAsk;
use super::batch::{AckDue, Batch, Deferred, Ticket};
use super::fault::Fault;
use super::node::Node;
use super::orders::Desk;
use super::recovery::Loaded;
use super::show::policy_line;
use super::slot::{Admitted, Slot};
use super::vehicle::Connection;
use crate::error::Refusal;
use crate::geofences::Surroundings;
use crate::limits;
use crate::metrics::lane_label;
use crate::reception::{FramesOutcome, Reception, Taken};
use crate::vehicle::{Context, Vehicle, cost};

/// A loaded vehicle.
pub(crate) struct Warm {
    pub(super) node: Arc<Node>,
    pub(super) shard: ShardId,
    pub(super) id: VehicleId,
    pub(super) vehicle: Vehicle,
    pub(super) reception: Reception,
    pub(super) downlink: Option<(ConnectionGeneration, Downlink)>,
    pub(super) tickets: VecDeque<Ticket>,
    pub(super) next_ticket: u64,
    pub(super) deferred: VecDeque<Deferred>,
    /// Counts this vehicle as active while it has contributions in flight.
    pub(super) active: Option<Active>,
    pub(super) candidate: Option<(u64, Vec<u8>)>,
    /// Up to where rows are in `vehicle`, when nothing is in flight.
    pub(super) position: ManifestPosition,
    pub(super) changed: bool,
    pub(super) snapshot_at: Instant,
    pub(super) snapshot_version: u64,
    /// What was asked of its alerts and waits for decisions in flight; bounded by the node's count of asks.
    pub(super) alert_asks: VecDeque<(AlertAsk, OwnedSemaphorePermit)>,
    /// Its orders, while there are open ones.
    pub(super) desk: Option<Box<Desk>>,
    /// Last reports of earlier starts that the vehicle still held when it greeted.
    pub(super) lanes_behind: Vec<(Incarnation, Seq)>,
    /// It greeted: orders may go out.
    pub(super) orders_due: bool,
    /// The policy sent last on this connection, by revision and fingerprint, and when.
    offered: Option<(u32, u32, Instant)>,
    /// When a gap last made us ask for every current value.
    resync_at: Option<Instant>,
    /// Where it belongs, and when that was read.
    pub(super) home: Option<(Instant, Option<Home>)>,
}

/// One vehicle with contributions in flight.
pub(crate) struct Active(Arc<Node>);

impl Active {
    pub fn new(node: &Arc<Node>) -> Self {
        node.figures.active.fetch_add(1, Relaxed);
        Self(Arc::clone(node))
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.figures.active.fetch_sub(1, Relaxed);
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        self.node.metrics.actors.dec();
    }
}

impl Warm {
    pub fn new(
        node: Arc<Node>,
        shard: ShardId,
        id: VehicleId,
        loaded: Loaded,
        connection: Option<Connection>,
    ) -> Self {
        node.metrics.actors.inc();
        let mut reception = Reception::default();
        let mut downlink = None;
        if let Some(connection) = connection {
            reception.resume(connection.generation, connection.greeted);
            downlink = Some((connection.generation, connection.downlink));
        }
        let snapshot_version = loaded.vehicle.state.version;
        // Spread by vehicle, so that a fleet that started together does not snapshot together.
        let interval = node.settings.snapshot_interval;
        let spread =
            interval.mul_f64(f64::from(remuda_model::shard::fnv1a_64(id.as_str().as_bytes()) as u8) / 256.0);
        let now = Instant::now();
        let mut warm = Self {
            node,
            shard,
            id,
            vehicle: loaded.vehicle,
            reception,
            downlink,
            tickets: VecDeque::new(),
            next_ticket: 1,
            deferred: VecDeque::new(),
            active: None,
            candidate: None,
            position: loaded.position,
            changed: loaded.replayed,
            snapshot_at: now.checked_sub(spread).unwrap_or(now),
            snapshot_version,
            alert_asks: VecDeque::new(),
            desk: None,
            lanes_behind: Vec::new(),
            orders_due: false,
            offered: None,
            resync_at: None,
            home: None,
        };
        warm.publish();
        warm.show_alerts();
        warm
    }

    pub(super) fn slot(&self) -> &Slot {
        self.node.slot(self.shard)
    }

    /// Takes a batch.
    pub async fn arrivals(&mut self, arrivals: Vec<Admitted>) -> Result<(), Fault> {
        let mut batch = Batch::default();
        for Admitted { arrival, permit } in arrivals {
            match arrival {
                Arrival::Connected { generation, downlink, .. } => {
                    if self.reception.connected(generation) {
                        self.downlink = Some((generation, downlink));
                    }
                }
                Arrival::Disconnected { generation, .. } => {
                    if self.reception.disconnected(generation) {
                        self.downlink = None;
                        self.left_watches();
                    }
                }
                Arrival::Refused { reason, count, .. } => self.refuse(Refusal::Door(reason), count),
                Arrival::Payload { generation, channel, payload, received_ms, .. } => {
                    assert!(!is_poisoned(&self.id), "a test made this vehicle's messages deadly");
                    match Up::decode(&payload) {
                        Ok(up) => {
                            self.learn(&up).await?;
                            self.message(generation, channel, up, received_ms, &mut batch);
                        }
                        Err(DecodeError::Version(_)) => self.refuse(Refusal::Version, 1),
                        Err(_) => self.refuse(Refusal::Malformed, 1),
                    }
                }
            }
            // Evaluated: from here on its rows hold their own share.
            drop(permit);
        }
        self.changed = true;
        self.append_deferred(&mut batch.acks).await?;
        let acks = std::mem::take(&mut batch.acks);
        self.contribute(batch).await?;
        self.send_acks(&acks);
        Box::pin(self.work_orders()).await?;
        self.publish();
        Ok(())
    }

    /// Asks the lake about incarnations that nobody here remembers: one that was closed must not begin at 1 again.
    async fn learn(&mut self, up: &Up) -> Result<(), Fault> {
        let mut unknown: Vec<Incarnation> = Vec::new();
        match up {
            Up::Hello(hello) => unknown.extend(hello.lanes.iter().map(|state| state.incarnation)),
            Up::Frames(frames) => unknown.push(frames.incarnation),
            _ => {}
        }
        unknown.sort_unstable();
        unknown.dedup();
        unknown.retain(|incarnation| {
            self.vehicle.durable(Lane::Samples, *incarnation) == 0
                && !self.reception.knows(Lane::Samples, *incarnation)
        });
        for incarnation in unknown {
            let closed = self.node.lake.closed_watermark(&self.id, incarnation).await.map_err(Fault::Lake)?;
            if let Some(seq) = closed {
                self.vehicle.memory.marks.raise(incarnation, seq);
            }
        }
        Ok(())
    }

    fn message(
        &mut self,
        generation: ConnectionGeneration,
        channel: Channel,
        up: Up,
        received_ms: i64,
        batch: &mut Batch,
    ) {
        self.vehicle.memory.last_seen_ms = self.vehicle.memory.last_seen_ms.max(received_ms);
        match (channel, up) {
            (Channel::Session, Up::Hello(hello)) => self.hello(generation, &hello, received_ms, batch),
            (Channel::Session, Up::Farewell(farewell)) => {
                self.reception.farewell(generation, &farewell);
            }
            (Channel::Session, Up::Status(status)) => self.status(generation, status, received_ms),
            (Channel::Session, Up::Watching(watching)) => self.watching(generation, watching),
            (Channel::Live, Up::Live(_)) if !self.reception.is_current(generation) => {
                self.refuse(Refusal::StaleConnection, 1);
            }
            // Unsequenced and lossy: no answer, and nothing that a Hello would not bring.
            (Channel::Live, Up::Live(_)) if self.reception.greeted().is_none() => {
                self.refuse(Refusal::NoHello, 1);
            }
            (Channel::Live, Up::Live(live)) => {
                self.vehicle.memory.notes.values_lost = false;
                let forgotten = self.node.forgotten();
                self.vehicle.live(&live, received_ms, |sampled_ms, signal| {
                    let at_ns = sampled_ms.saturating_mul(1_000_000);
                    forgotten.covers(&self.node.settings.organization, &self.id, at_ns, Some(signal))
                });
            }
            (Channel::Lane(lane), Up::Frames(frames)) if frames.lane == lane => {
                self.frames(generation, &frames, received_ms, batch);
            }
            _ => self.refuse(Refusal::Channel, 1),
        }
    }

    pub(super) fn refuse(&mut self, refusal: Refusal, count: u64) {
        self.vehicle.memory.refuse(refusal, count);
        self.node.metrics.refused(refusal, count);
    }

    /// Loads a lane's numbers if they are not in memory: zero for an incarnation that nobody ever heard of.
    fn open(&mut self, lane: Lane, incarnation: Incarnation) -> bool {
        let durable = self.vehicle.durable(lane, incarnation);
        self.reception.open(lane, incarnation, durable)
    }

    fn hello(
        &mut self,
        generation: ConnectionGeneration,
        hello: &Hello,
        received_ms: i64,
        batch: &mut Batch,
    ) {
        if hello.wire_min > WIRE_VERSION {
            return self.refuse(Refusal::Version, 1);
        }
        let current = hello.connection.incarnation;
        let listed = hello.lanes.iter().map(|state| (state.lane, state.incarnation));
        let mut lanes: Vec<(Lane, Incarnation)> = listed.collect();
        for lane in Lane::ALL {
            if !lanes.contains(&(lane, current)) {
                lanes.push((lane, current));
            }
        }
        if !lanes.iter().all(|(lane, incarnation)| self.open(*lane, *incarnation)) {
            self.refuse(Refusal::UnknownLane, 1);
        }
        let outcome = self.reception.hello(generation, hello);
        if !outcome.stale {
            for (_, incarnation) in &lanes {
                self.vehicle.memory.greetings.rank(*incarnation);
            }
            // Where there is no room the first frames after the gap will tell of it.
            if self.deferred.len() + lanes.len() < limits::DEFERRED_MAX {
                for (lane, incarnation, lost) in self.reception.lost(hello) {
                    self.keep(lane, incarnation, received_ms, lost, None, batch);
                }
            }
        }
        if outcome.cloned {
            self.vehicle.memory.notes.cloned_ms = self.node.now_ms();
            tracing::error!(vehicle_id = %self.id, "two agents answer for this vehicle: is its disk cloned?");
            self.node.metrics.cloned.inc();
        }
        let epoch = self.slot().owner().epoch;
        if hello.highest_epoch > epoch {
            let (seen, ours) = (hello.highest_epoch.0, epoch.0);
            tracing::error!(vehicle_id = %self.id, seen, ours, "the vehicle saw a higher epoch: was the journal restored?");
            self.node.metrics.epochs_behind.inc();
        }
        let credit = self.node.credit();
        let acks =
            lanes.iter().map(|(lane, incarnation)| self.lane_ack(*lane, *incarnation, credit)).collect();
        self.send(&Down::Welcome(Welcome {
            connection: hello.connection,
            wire: WIRE_VERSION.min(hello.wire_max),
            epoch,
            server_time_ms: self.node.now_ms(),
            acks,
            resync: self.vehicle.memory.twin.is_empty() || self.vehicle.memory.notes.values_lost,
        }));
        if !outcome.stale {
            self.vehicle.memory.notes.greeted(hello, self.node.now_ms());
            self.greeted_for_orders(&hello.lanes);
            self.offered = None;
            self.send(&Down::Ask(Ask { interval_s: limits::STATUS_INTERVAL_S }));
            self.offer_policy();
            self.greeted_for_watches();
        }
    }

    fn status(&mut self, generation: ConnectionGeneration, status: Status, received_ms: i64) {
        if !self.reception.is_current(generation) || self.reception.greeted() != Some(status.connection) {
            return self.refuse(Refusal::StaleConnection, 1);
        }
        let refused = status.policy_refused.clone();
        if self.vehicle.memory.notes.reported(status, received_ms)
            && let Some(refused) = refused
        {
            let PolicyRefused { revision, reason } = refused;
            tracing::warn!(vehicle_id = %self.id, revision, reason, "the vehicle does not take over a policy");
            self.node.metrics.policies_refused.inc();
        }
        self.offer_policy();
    }

    /// Sends the policy that this vehicle should follow, unless it follows it, or said no to it on this connection.
    pub(super) fn offer_policy(&mut self) {
        let Some(report) = self.vehicle.memory.notes.report.as_deref().filter(|_| self.reception.is_online())
        else {
            return;
        };
        let desired = self.node.shelf.desired(&self.id);
        let line = policy_line(Some(report));
        let said_no = line.fingerprint.is_some()
            && report.policy_refused.as_ref().is_some_and(|(revision, _)| *revision == desired.sent.revision);
        let (revision, fingerprint) = (desired.sent.revision, desired.fingerprint);
        // What was said before the policy came down asks for nothing.
        let under_way = self.offered.is_some_and(|(r, f, at)| {
            (r, f) == (revision, fingerprint) && at.elapsed() < limits::POLICY_ANSWER
        });
        if !said_no && !under_way && !line.follows(revision, fingerprint) {
            self.offered = Some((revision, fingerprint, Instant::now()));
            self.send(&Down::Policy(Policy::clone(&desired.sent)));
            self.node.metrics.policies_sent.inc();
        }
    }

    fn frames(
        &mut self,
        generation: ConnectionGeneration,
        frames: &Frames,
        received_ms: i64,
        batch: &mut Batch,
    ) {
        let (lane, incarnation) = (frames.lane, frames.incarnation);
        if !self.open(lane, incarnation) {
            return self.refuse(Refusal::UnknownLane, frames.frames.len() as u64);
        }
        let node = Arc::clone(&self.node);
        let in_flight = self.tickets.iter().filter_map(|ticket| ticket.permit.as_ref());
        let of_batch = batch.permit.iter();
        let mut held: usize = in_flight.chain(of_batch).map(OwnedSemaphorePermit::num_permits).sum();
        let mut permits: Option<OwnedSemaphorePermit> = None;
        let mut room = limits::DEFERRED_MAX.saturating_sub(self.deferred.len());
        let outcome = self.reception.frames(generation, frames, &mut |taken| {
            if lane == Lane::Events {
                if room == 0 {
                    return false;
                }
                room -= 1;
            }
            let bytes = cost(taken);
            let Some(permit) = node.admit_rows(held, bytes) else { return false };
            held += bytes;
            match &mut permits {
                Some(all) => all.merge(permit),
                None => permits = Some(permit),
            }
            true
        });
        if let Some((refusal, count)) = outcome.refused {
            self.refuse(refusal, count);
        }
        if outcome.answer {
            batch.ack(AckDue { lane, incarnation, missing: outcome.missing, greet: outcome.greet });
        }
        self.keep(lane, incarnation, received_ms, outcome, permits, batch);
    }

    /// Takes what was taken to where its lane keeps it.
    fn keep(
        &mut self,
        lane: Lane,
        incarnation: Incarnation,
        received_ms: i64,
        outcome: FramesOutcome,
        mut permits: Option<OwnedSemaphorePermit>,
        batch: &mut Batch,
    ) {
        self.alarm(lane, incarnation, &outcome);
        self.count(lane, &outcome.taken, batch);
        match lane {
            Lane::Events => {
                let items = outcome.taken.into_iter();
                self.deferred.extend(items.map(|taken| Deferred {
                    incarnation,
                    received_ms,
                    taken,
                    _permit: permits.take(),
                }));
            }
            Lane::Samples => self.samples(incarnation, received_ms, outcome.taken, permits, batch),
        }
    }

    fn samples(
        &mut self,
        incarnation: Incarnation,
        received_ms: i64,
        taken: Vec<Taken>,
        permits: Option<OwnedSemaphorePermit>,
        batch: &mut Batch,
    ) {
        if taken.is_empty() {
            return;
        }
        let rules = self.node.settings.rules;
        let organization = self.node.settings.organization;
        let forgotten = self.node.forgotten();
        let fences = self.node.atlas.fences();
        let home = fences.has_parts().then(|| self.home_lately()).flatten();
        let around = Surroundings { fences: &fences, home: home.as_ref() };
        let context =
            Context { organization, vehicle: self.id, rules: &rules, forgotten: &forgotten, around };
        if taken.iter().any(|taken| matches!(taken, Taken::Gap { .. })) && self.may_resync() {
            // Values that are told on change alone may have been in there: a greeting asks for all of them.
            batch.ack(AckDue { lane: Lane::Samples, incarnation, missing: false, greet: true });
        }
        for taken in taken {
            self.vehicle.take(&context, incarnation, received_ms, taken, &mut batch.rows, &mut batch.wishes);
        }
        batch.marks.raise(incarnation, self.vehicle.durable(Lane::Samples, incarnation));
        batch.received_ms.get_or_insert(received_ms);
        match (&mut batch.permit, permits) {
            (Some(all), Some(more)) => all.merge(more),
            (none @ None, more) => *none = more,
            _ => {}
        }
    }

    fn may_resync(&mut self) -> bool {
        let lately = self.resync_at.is_some_and(|at| at.elapsed() < limits::RESYNC_INTERVAL);
        if !lately {
            self.resync_at = Some(Instant::now());
        }
        !lately
    }

    fn count(&self, lane: Lane, taken: &[Taken], batch: &mut Batch) {
        let metrics = &self.node.metrics;
        let label = lane_label(lane);
        let mut accepted = 0;
        for taken in taken {
            match taken {
                Taken::Gap { from, to, .. } => {
                    metrics.frames_gapped.get_or_create(&label).inc_by(to - from + 1);
                }
                Taken::Quarantined { .. } => {
                    accepted += 1;
                    metrics.frames_quarantined.get_or_create(&label).inc();
                }
                Taken::Frame { frame, .. } => {
                    accepted += 1;
                    if let remuda_wire::Body::Samples(block) = &frame.body {
                        batch.samples += block.samples() as u64;
                    }
                }
            }
        }
        if lane == Lane::Samples {
            batch.frames += accepted;
        }
        metrics.frames_accepted.get_or_create(&label).inc_by(accepted);
        self.node.figures.accepted.fetch_add(accepted, Relaxed);
    }

    fn alarm(&self, lane: Lane, incarnation: Incarnation, outcome: &FramesOutcome) {
        if let Some((from, to)) = outcome.cloud_lost {
            let lane = lane.as_str();
            tracing::error!(vehicle_id = %self.id, lane, %incarnation, from, to, "the cloud lost acked frames");
            self.node.metrics.frames_cloud_lost.inc_by(to - from + 1);
        }
    }
}

/// Lets tests see what a panic does, and does not, to others.
fn is_poisoned(_id: &VehicleId) -> bool {
    fail::fail_point!("vehicle-poison", |name| name.is_some_and(|name| name == _id.as_str()));
    false
}
