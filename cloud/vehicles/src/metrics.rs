//! Metrics of the vehicle domain. Labels have a bounded set of values, never a vehicle's id.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// A frame's lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LaneLabel {
    /// `events` or `samples`.
    pub lane: &'static str,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReasonLabel {
    /// A stable code.
    pub reason: &'static str,
}

/// A rule's decision.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DecisionLabel {
    /// Which rule.
    pub rule: &'static str,
    /// `raised` or `cleared`.
    pub kind: &'static str,
}

/// What happened to a command.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OrderLabel {
    /// The event's type, such as `vehicle-orders.sent`.
    pub event: &'static str,
}

/// How much an alert matters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct SeverityLabel {
    /// `info`, `warning` or `critical`.
    pub severity: &'static str,
}

/// What people did about alerts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct AlertLabel {
    /// The event's type, such as `vehicle.alert-acknowledged`.
    pub event: &'static str,
}

/// What a geofence is for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct GeofenceLabel {
    /// `keep-in`, `keep-out` or `notify`.
    pub kind: &'static str,
}

/// A vehicle's crossing of a geofence's edge.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CrossingLabel {
    /// What the geofence is for.
    pub kind: &'static str,
    /// `entered`, `left` or `released`.
    pub step: &'static str,
}

/// Everything the vehicle domain counts.
#[derive(Debug, Clone)]
pub struct VehicleMetrics {
    /// Frames taken in sequence.
    pub frames_accepted: Family<LaneLabel, Counter>,
    /// Frames that became durable.
    pub frames_durable: Family<LaneLabel, Counter>,
    /// Frames recorded as gaps.
    pub frames_gapped: Family<LaneLabel, Counter>,
    /// Frames recorded in quarantine.
    pub frames_quarantined: Family<LaneLabel, Counter>,
    /// Frames that a vehicle saw acked and the cloud no longer had: an alarm.
    pub frames_cloud_lost: Counter,
    /// Messages and frames refused.
    pub refusals: Family<ReasonLabel, Counter>,
    /// Decisions of rules that became durable.
    pub decisions: Family<DecisionLabel, Counter>,
    /// What happened to commands.
    pub orders: Family<OrderLabel, Counter>,
    /// Alerts that are not over.
    pub open_alerts: Family<SeverityLabel, Gauge>,
    /// Times that an alert began to want somebody's attention: raised in time, or back from a snooze.
    pub alert_calls: Family<SeverityLabel, Counter>,
    /// What people, and time, did about alerts.
    pub alert_steps: Family<AlertLabel, Counter>,
    /// From the sample that raised an alert to its acknowledgement, seconds.
    pub alert_acknowledge_seconds: Histogram,
    /// Geofences there are.
    pub geofences: Family<GeofenceLabel, Gauge>,
    /// Crossings of geofences that became durable.
    pub geofence_crossings: Family<CrossingLabel, Counter>,
    /// Vehicles greeted on a living connection.
    pub online: Gauge,
    /// Vehicle actors alive.
    pub actors: Gauge,
    /// Vehicles whose actor failed again and again.
    pub parked: Gauge,
    /// Shards with a supervisor.
    pub shards_active: Gauge,
    /// Actors that ended by a fault.
    pub actor_failures: Family<ReasonLabel, Counter>,
    /// Actors passivated.
    pub passivations: Counter,
    /// Snapshots written.
    pub snapshots: Counter,
    /// Snapshots that could not be written.
    pub snapshot_failures: Counter,
    /// Shards stopped because a newer owner has them or a commit could not be made definite.
    pub shards_lost: Counter,
    /// Vehicles for which two agents answer.
    pub cloned: Counter,
    /// Hellos that had seen a higher epoch than the shard's.
    pub epochs_behind: Counter,
    /// Messages down that were dropped.
    pub downlink_dropped: Family<ReasonLabel, Counter>,
    /// Policies sent to vehicles.
    pub policies_sent: Counter,
    /// Watches over trips sent to vehicles.
    pub watches_sent: Counter,
    /// Policies that vehicles did not take over.
    pub policies_refused: Counter,
    /// From the door to durable, seconds.
    pub ack_seconds: Histogram,
}

impl Default for VehicleMetrics {
    fn default() -> Self {
        Self {
            frames_accepted: Family::default(),
            frames_durable: Family::default(),
            frames_gapped: Family::default(),
            frames_quarantined: Family::default(),
            frames_cloud_lost: Counter::default(),
            refusals: Family::default(),
            decisions: Family::default(),
            orders: Family::default(),
            open_alerts: Family::default(),
            alert_calls: Family::default(),
            alert_steps: Family::default(),
            // 5 s to 10 days.
            alert_acknowledge_seconds: Histogram::new(exponential_buckets(5.0, 3.0, 12)),
            geofences: Family::default(),
            geofence_crossings: Family::default(),
            online: Gauge::default(),
            actors: Gauge::default(),
            parked: Gauge::default(),
            shards_active: Gauge::default(),
            actor_failures: Family::default(),
            passivations: Counter::default(),
            snapshots: Counter::default(),
            snapshot_failures: Counter::default(),
            shards_lost: Counter::default(),
            cloned: Counter::default(),
            epochs_behind: Counter::default(),
            downlink_dropped: Family::default(),
            policies_sent: Counter::default(),
            watches_sent: Counter::default(),
            policies_refused: Counter::default(),
            ack_seconds: Histogram::new(exponential_buckets(0.01, 2.0, 13)),
        }
    }
}

impl VehicleMetrics {
    /// Registers all of them.
    pub fn register(&self, registry: &mut Registry) {
        let mut add = |name: &str, help: &str, metric: Box<dyn prometheus_client::registry::Metric>| {
            registry.register(format!("remuda_vehicles_{name}"), help, Erased(metric));
        };
        add("frames_accepted", "Frames taken in sequence", Box::new(self.frames_accepted.clone()));
        add("frames_durable", "Frames that became durable", Box::new(self.frames_durable.clone()));
        add("frames_gapped", "Frames recorded as gaps", Box::new(self.frames_gapped.clone()));
        add("frames_quarantined", "Frames in quarantine", Box::new(self.frames_quarantined.clone()));
        add("frames_cloud_lost", "Acked frames the cloud lost", Box::new(self.frames_cloud_lost.clone()));
        add("refusals", "Messages and frames refused", Box::new(self.refusals.clone()));
        add("decisions", "Decisions of rules", Box::new(self.decisions.clone()));
        add("orders", "What happened to commands", Box::new(self.orders.clone()));
        add("open_alerts", "Alerts that are not over", Box::new(self.open_alerts.clone()));
        add("alert_calls", "Alerts that began to want attention", Box::new(self.alert_calls.clone()));
        add("alert_steps", "What people did about alerts", Box::new(self.alert_steps.clone()));
        let acknowledge = self.alert_acknowledge_seconds.clone();
        add("alert_acknowledge_seconds", "From an alert to its acknowledgement", Box::new(acknowledge));
        add("geofences", "Geofences there are", Box::new(self.geofences.clone()));
        let crossings = self.geofence_crossings.clone();
        add("geofence_crossings", "Vehicles' crossings of geofences", Box::new(crossings));
        add("online_vehicles", "Vehicles greeted on a living connection", Box::new(self.online.clone()));
        add("active_actors", "Vehicle actors alive", Box::new(self.actors.clone()));
        add("parked_vehicles", "Vehicles whose actor failed again and again", Box::new(self.parked.clone()));
        add("active_shards", "Shards with a supervisor", Box::new(self.shards_active.clone()));
        add("actor_failures", "Actors that ended by a fault", Box::new(self.actor_failures.clone()));
        add("passivations", "Actors passivated", Box::new(self.passivations.clone()));
        add("snapshots", "Snapshots written", Box::new(self.snapshots.clone()));
        add("snapshot_failures", "Snapshots not written", Box::new(self.snapshot_failures.clone()));
        add("shards_lost", "Shards stopped here", Box::new(self.shards_lost.clone()));
        add("cloned", "Vehicles for which two agents answer", Box::new(self.cloned.clone()));
        add("epochs_behind", "Hellos that saw a higher epoch", Box::new(self.epochs_behind.clone()));
        add("downlink_dropped", "Messages down that were dropped", Box::new(self.downlink_dropped.clone()));
        add("policies_sent", "Policies sent to vehicles", Box::new(self.policies_sent.clone()));
        add("watches_sent", "Watches over trips sent to vehicles", Box::new(self.watches_sent.clone()));
        add("policies_refused", "Policies not taken over", Box::new(self.policies_refused.clone()));
        add("ack_seconds", "From the door to durable", Box::new(self.ack_seconds.clone()));
    }

    /// Counts a refusal.
    pub fn refused(&self, refusal: crate::error::Refusal, count: u64) {
        self.refusals.get_or_create(&ReasonLabel { reason: refusal.code() }).inc_by(count);
    }
}

/// A boxed metric, so that the list above stays a list.
#[derive(Debug)]
struct Erased(Box<dyn prometheus_client::registry::Metric>);

impl prometheus_client::encoding::EncodeMetric for Erased {
    fn encode(&self, encoder: prometheus_client::encoding::MetricEncoder) -> Result<(), std::fmt::Error> {
        self.0.encode(encoder)
    }

    fn metric_type(&self) -> prometheus_client::metrics::MetricType {
        self.0.metric_type()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The label of a lane.
pub(crate) fn lane_label(lane: remuda_model::Lane) -> LaneLabel {
    LaneLabel { lane: lane.as_str() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_rendered_under_its_name() {
        let metrics = VehicleMetrics::default();
        let mut registry = Registry::default();
        metrics.register(&mut registry);
        metrics.refused(crate::error::Refusal::Ahead, 3);
        metrics.frames_durable.get_or_create(&lane_label(remuda_model::Lane::Samples)).inc_by(2);
        metrics.ack_seconds.observe(0.5);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        for line in [
            "remuda_vehicles_refusals_total{reason=\"ahead\"} 3",
            "remuda_vehicles_frames_durable_total{lane=\"samples\"} 2",
            "remuda_vehicles_ack_seconds_count 1",
            "remuda_vehicles_online_vehicles 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
