//! What the vehicle domain shows of the fleet. Reading never activates an actor.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::{Incarnation, Lane, OrganizationId, Seq, SignalId, VehicleId};
use remuda_wire::{BudgetStatus, ClockQuality, CollectionLevel, LinkKind};
use serde::{Deserialize, Serialize};
use tokio::sync::broadcast;

/// Is it there?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Presence {
    /// Known, never seen by this node.
    #[default]
    Unknown,
    /// Greeted on a living connection.
    Online,
    /// Its connection ended, or it said farewell.
    Offline,
}

/// Where it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Position {
    /// 1e-7 degrees, north positive.
    pub latitude_e7: i32,
    /// 1e-7 degrees, east positive.
    pub longitude_e7: i32,
    /// Degrees clockwise from north.
    pub heading_deg: f32,
    /// km/h.
    pub speed_kmh: f32,
}

/// A vehicle's line in the fleet index.
#[derive(Debug, Clone, PartialEq)]
pub struct VehicleSummary {
    /// Whose.
    pub organization: OrganizationId,
    /// Which.
    pub vehicle: VehicleId,
    /// Is it there?
    pub presence: Presence,
    /// When the cloud last heard of it, ms since 1970 UTC; 0 = never.
    pub last_seen_ms: i64,
    /// Where, when known.
    pub position: Option<Position>,
    /// State of charge or fuel level, percent, when known.
    pub charge_percent: Option<f32>,
    /// Alerts raised and not cleared.
    pub open_alerts: u16,
    /// Grows with every change of this line or of the twin; the source of etags and resume tokens.
    pub revision: u64,
}

/// One signal of a twin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TwinValue {
    /// Which signal.
    pub signal: SignalId,
    /// Raw scaled integer.
    pub raw: i64,
    /// When it was sampled, ms since 1970 UTC by the best clock known; 0 when unknown.
    pub sampled_ms: i64,
}

/// An alert on a vehicle.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertView {
    /// The rule that raised it, such as `low-charge`.
    pub rule: String,
    /// When the samples that raised it were taken, ms since 1970 UTC.
    pub raised_ms: i64,
    /// The value that raised it, in the rule's unit.
    pub value: f64,
    /// Its rule is that of a geofence: the value is how far beyond its edge the vehicle was found, m.
    pub of_geofence: bool,
}

/// Everything the cloud shows of one vehicle.
#[derive(Debug, Clone, PartialEq)]
pub struct TwinView {
    /// Its line in the index.
    pub summary: VehicleSummary,
    /// Newest value of each signal, ascending by id.
    pub values: Vec<TwinValue>,
    /// Open alerts.
    pub alerts: Vec<AlertView>,
    /// Frames of `samples` that are durable, over all incarnations known.
    pub frames_durable: u64,
    /// Frames that were lost at the edge and recorded as gaps.
    pub frames_in_gaps: u64,
    /// Frames in quarantine.
    pub frames_quarantined: u64,
    /// Messages refused, by stable reason code.
    pub refusals: Vec<(String, u64)>,
    /// What else is known of its delivery.
    pub detail: VehicleDetail,
}

/// How far the samples of one start of a vehicle's agent have come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SamplesSeen {
    /// The start.
    pub incarnation: Incarnation,
    /// The last frame that was received, or is known never to come, without a hole before it.
    pub received: Seq,
    /// The last of them that is durable.
    pub durable: Seq,
}

/// What people want to know of a vehicle's delivery besides counts.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VehicleDetail {
    /// The newest gaps, oldest first.
    pub gaps: Vec<GapView>,
    /// The newest frames in quarantine, oldest first; those read since stay listed.
    pub quarantined: Vec<QuarantineView>,
    /// Frames that were in quarantine and could be read since.
    pub frames_reprocessed: u64,
    /// When two agents last answered for it, ms since 1970 UTC; 0 = never.
    pub cloned_ms: i64,
    /// The policy it should follow; none for its built-in one.
    pub policy: Option<String>,
    /// That policy's revision; 0 for its built-in one.
    pub policy_revision: u32,
    /// What it last said of itself.
    pub report: Option<ReportView>,
    /// Samples of the starts of its agent that are known, the one greeted last at the end.
    pub samples: Vec<SamplesSeen>,
}

/// Frames that will never come. Stored in snapshots: fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GapView {
    /// Lane.
    pub lane: Lane,
    /// Start of the agent that made them.
    pub incarnation: Incarnation,
    /// The first.
    pub from: Seq,
    /// The last.
    pub to: Seq,
    /// `shed`, `age`, `damaged`, `cloud-lost`.
    pub reason: String,
    /// When the cloud recorded it, ms since 1970 UTC.
    pub recorded_ms: i64,
}

/// A frame in quarantine. Stored in snapshots: fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuarantineView {
    /// Lane.
    pub lane: Lane,
    /// Start of the agent that made it.
    pub incarnation: Incarnation,
    /// Which.
    pub seq: Seq,
    /// Stable code of why it could not be used.
    pub reason: String,
    /// Its size.
    pub bytes: u64,
    /// When the cloud received it, ms since 1970 UTC.
    pub recorded_ms: i64,
}

/// What a vehicle last said of itself. Stored in snapshots: fields stay as they are.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReportView {
    /// When, ms since 1970 UTC.
    pub reported_ms: i64,
    /// Its agent's version.
    pub agent_version: String,
    /// Starts of its agent.
    pub boot: u32,
    /// Revision of the policy in force; 0 = its built-in one.
    pub policy_revision: u32,
    /// Fingerprint of the policy in force, when it said that.
    pub policy_fingerprint: Option<u32>,
    /// The last policy it did not take over: revision and reason.
    pub policy_refused: Option<(u32, String)>,
    /// State of its wall clock.
    pub clock: ClockQuality,
    /// Its link.
    pub link: LinkKind,
    /// How much of its policy it collects.
    pub collection: CollectionLevel,
    /// Samples wait on it for a link that costs nothing, or for the next month.
    pub bulk_held: bool,
    /// Its data budget, if there is one.
    pub budget: Option<BudgetStatus>,
    /// Frames in its outbox.
    pub frames_held: u64,
    /// Frames shed since its agent started.
    pub frames_shed: u64,
    /// Records that its disk damaged, since its agent started.
    pub frames_damaged: u64,
    /// Readings dropped since its agent started.
    pub readings_dropped: u64,
}

/// A change of the fleet, as watchers get it.
#[derive(Debug, Clone)]
pub struct FleetChange {
    /// Lines that changed, newest state of each.
    pub vehicles: Arc<[VehicleSummary]>,
}

/// The vehicle domain's read side: on this node, later also over the cluster.
#[async_trait]
pub trait FleetView: Send + Sync + 'static {
    /// One vehicle's twin, from its actor's memory or its snapshot.
    async fn twin(&self, organization: &OrganizationId, vehicle: &VehicleId) -> Option<TwinView>;

    /// Lines after `after` in order of vehicle id, at most `limit` that `matches` accepts.
    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&VehicleId>,
        limit: usize,
        matches: &(dyn Fn(&VehicleSummary) -> bool + Sync),
    ) -> Vec<VehicleSummary>;

    /// How many vehicles the index holds for the organisation.
    fn count(&self, organization: &OrganizationId) -> usize;

    /// Changes from now on, coalesced a few times a second. A slow reader gets `Lagged` and must list again.
    fn changes(&self) -> broadcast::Receiver<FleetChange>;
}
