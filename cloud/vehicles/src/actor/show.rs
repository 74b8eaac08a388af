//! What a loaded vehicle shows: acks to the vehicle, a line to the index, its twin to whoever asks, snapshots to the
//! journal.

use bytes::Bytes;
use remuda_contracts::fleet::{
    AlertView, Presence, ReportView, SamplesSeen, TwinView, VehicleDetail, VehicleSummary,
};
use remuda_contracts::uplink::DownlinkError;
use remuda_eventsourcing::{ManifestPosition, NewEvent, Snapshot};
use remuda_model::{ConnectionId, Incarnation, Lane, VehicleId};
use remuda_wire::{Ack, Down, LaneAck};
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::AckDue;
use super::node::Node;
use super::snapshots::SnapshotJob;
use super::warm::Warm;
use crate::event::stream_of;
use crate::index::{LineUpdate, PolicyLine};
use crate::limits;
use crate::metrics::ReasonLabel;
use crate::policies::Desired;
use crate::vehicle::Vehicle;

impl Warm {
    /// A lane's numbers; from what is durable when there is no room for them in memory.
    pub(super) fn lane_ack(&self, lane: Lane, incarnation: Incarnation, credit: u32) -> LaneAck {
        if self.reception.knows(lane, incarnation) {
            return self.reception.ack(lane, incarnation, credit);
        }
        let durable = self.vehicle.durable(lane, incarnation);
        LaneAck { lane, incarnation, received: durable, durable, credit }
    }

    /// Sends what is due.
    pub(super) fn send_acks(&self, due: &[AckDue]) {
        if due.is_empty() {
            return;
        }
        let credit = self.node.credit();
        let epoch = self.slot().owner().epoch;
        for AckDue { lane, incarnation, missing, greet } in due {
            let ack = self.lane_ack(*lane, *incarnation, credit);
            let (missing, greet) = (*missing, *greet);
            self.send(&Down::Ack(Ack { ack, epoch, server_time_ms: self.node.now_ms(), missing, greet }));
        }
    }

    pub(super) fn send(&self, message: &Down) {
        let sent = match &self.downlink {
            Some((_, downlink)) => downlink.send(Bytes::from(message.encode())),
            None => Err(DownlinkError::Gone),
        };
        if let Err(error) = sent {
            let reason = match error {
                DownlinkError::Full => "full",
                DownlinkError::Gone => "gone",
            };
            self.node.metrics.downlink_dropped.get_or_create(&ReasonLabel { reason }).inc();
        }
    }

    /// After a fault the connection is still there, but what was agreed on it is not: ask for a Hello.
    pub fn greet_again(&self) {
        if self.downlink.is_none() || self.reception.greeted().is_some() {
            return;
        }
        let incarnation = self.vehicle.memory.greetings.newest().unwrap_or(Incarnation(0));
        let ack = self.lane_ack(Lane::Samples, incarnation, self.node.credit());
        let epoch = self.slot().owner().epoch;
        self.send(&Down::Ack(Ack {
            ack,
            epoch,
            server_time_ms: self.node.now_ms(),
            missing: false,
            greet: true,
        }));
    }

    /// The connection greeted.
    pub fn greeted(&self) -> Option<ConnectionId> {
        self.reception.greeted()
    }

    /// Nothing waits for a round or an append.
    pub fn is_settled(&self) -> bool {
        self.tickets.is_empty() && self.deferred.is_empty()
    }

    /// A snapshot is due: enough time, or enough events.
    pub(super) fn snapshot_due(&self) -> bool {
        self.snapshot_at.elapsed() >= self.node.settings.snapshot_interval
            || self.vehicle.state.version >= self.snapshot_version + limits::SNAPSHOT_EVENTS
    }

    pub(super) fn stream(&self) -> remuda_eventsourcing::StreamId {
        stream_of(self.node.settings.organization, &self.id)
    }

    /// A job for the present state and this memory.
    pub(super) fn snapshot_job(
        &mut self,
        memory: Vec<u8>,
        covered_to: ManifestPosition,
        done: Option<oneshot::Sender<bool>>,
    ) -> SnapshotJob {
        self.snapshot_at = Instant::now();
        self.snapshot_version = self.vehicle.state.version;
        let state = Vehicle::snapshot(&self.vehicle.state, memory, covered_to);
        let snapshot = Snapshot { version: self.vehicle.state.version, state };
        SnapshotJob { shard: self.shard, vehicle: self.id, stream: self.stream(), snapshot, covered_to, done }
    }

    /// Snapshots a settled vehicle; false when that could not be done.
    pub async fn snapshot_and_wait(&mut self) -> bool {
        if !self.changed {
            return true;
        }
        let (done, written) = oneshot::channel();
        let memory = self.vehicle.memory.encode();
        let job = self.snapshot_job(memory, self.position, Some(done));
        if self.node.snapshots.send(job).await.is_err() {
            return false;
        }
        let written = written.await.unwrap_or(false);
        self.changed &= !written;
        written
    }

    fn line(&self) -> LineUpdate {
        let memory = &self.vehicle.memory;
        let presence = match (self.reception.is_online(), memory.last_seen_ms) {
            (true, _) => Presence::Online,
            (false, 0) => Presence::Unknown,
            (false, _) => Presence::Offline,
        };
        line_of(&self.vehicle, presence)
    }

    /// Shows the vehicle in the index.
    pub(super) fn publish(&mut self) {
        self.node.index.update(self.node.settings.organization, self.id, self.line());
    }

    /// The whole twin.
    pub fn view(&self) -> TwinView {
        let organization = self.node.settings.organization;
        let summary = self.node.index.get(&organization, &self.id);
        let summary = summary.unwrap_or_else(|| blank_summary(&self.node, self.id));
        let mut view = view_of(&self.vehicle, summary, self.node.shelf.desired(&self.id));
        for seen in &mut view.detail.samples {
            seen.received = self.lane_ack(Lane::Samples, seen.incarnation, 0).received.max(seen.durable);
        }
        view
    }

    /// Packs events for the journal behind `version`.
    pub(super) fn envelopes(
        &self,
        events: &[crate::event::VehicleEvent],
        version: u64,
        time_ms: i64,
    ) -> Vec<NewEvent> {
        let stream = self.stream();
        let numbered = events.iter().zip(version + 1..);
        numbered.map(|(event, version)| event.envelope(stream.clone(), version, time_ms)).collect()
    }
}

/// What the index shows of a vehicle.
pub(crate) fn line_of(vehicle: &Vehicle, presence: Presence) -> LineUpdate {
    let memory = &vehicle.memory;
    LineUpdate {
        presence,
        last_seen_ms: memory.last_seen_ms,
        position: memory.twin.position(),
        charge_percent: memory.twin.charge_percent(),
        open_alerts: u16::try_from(vehicle.state.alerts.len()).unwrap_or(u16::MAX),
        policy: policy_line(memory.notes.report.as_deref()),
    }
}

/// What is shown of a vehicle.
pub(crate) fn view_of(vehicle: &Vehicle, summary: VehicleSummary, desired: Desired) -> TwinView {
    let memory = &vehicle.memory;
    let notes = &memory.notes;
    let reprocessed = vehicle.state.reprocessed;
    let alerts = vehicle.state.alerts.iter().map(|fact| AlertView {
        rule: fact.cause.rule.as_str().to_owned(),
        raised_ms: fact.sampled_ms,
        value: fact.value,
        of_geofence: fact.cause.rule.geofence().is_some(),
    });
    TwinView {
        summary,
        values: memory.twin.values(),
        alerts: alerts.collect(),
        frames_durable: memory.frames + reprocessed.samples,
        frames_in_gaps: memory.gaps + vehicle.state.events_in_gaps,
        frames_quarantined: (memory.quarantined + vehicle.state.events_quarantined)
            .saturating_sub(reprocessed.samples + reprocessed.events),
        refusals: memory.refusals.iter().map(|(refusal, n)| (refusal.code().to_owned(), *n)).collect(),
        detail: VehicleDetail {
            gaps: notes.gaps.iter().cloned().collect(),
            quarantined: notes.quarantined.iter().cloned().collect(),
            frames_reprocessed: reprocessed.samples + reprocessed.events,
            cloned_ms: notes.cloned_ms,
            policy: desired.name,
            policy_revision: desired.sent.revision,
            report: notes.report.as_deref().cloned(),
            samples: memory
                .greetings
                .known()
                .map(|incarnation| {
                    let durable = vehicle.durable(Lane::Samples, incarnation);
                    SamplesSeen { incarnation, received: durable, durable }
                })
                .collect(),
        },
    }
}

/// Which policy a vehicle says it follows.
pub(crate) fn policy_line(report: Option<&ReportView>) -> PolicyLine {
    report.map_or_else(PolicyLine::default, |report| PolicyLine {
        revision: Some(report.policy_revision),
        fingerprint: report.policy_fingerprint,
        refused: report.policy_refused.clone().map(Box::new),
    })
}

fn blank_summary(node: &Node, vehicle: VehicleId) -> VehicleSummary {
    VehicleSummary {
        organization: node.settings.organization,
        vehicle,
        presence: Presence::Unknown,
        last_seen_ms: 0,
        position: None,
        charge_percent: None,
        open_alerts: 0,
        revision: 0,
    }
}
