//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::groups::Outcome;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabel {
    step: &'static str,
}

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Seconds that a vehicle waited: from a glance to the longest that it may wait.
const WAIT_SECONDS: [f64; 12] =
    [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0];

fn waits() -> Histogram {
    Histogram::new(WAIT_SECONDS)
}

/// Figures of group commands, approvals and assistance. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct OperationsMetrics {
    vehicles: Family<OutcomeLabel, Counter>,
    groups: Gauge,
    approvals: Family<OutcomeLabel, Counter>,
    pending: Gauge,
    assistance: Family<OutcomeLabel, Counter>,
    assistance_wait: Family<StepLabel, Histogram, fn() -> Histogram>,
    assistance_waiting: Gauge,
    assistance_dropped: Family<ReasonLabel, Counter>,
}

impl Default for OperationsMetrics {
    fn default() -> Self {
        Self {
            vehicles: Family::default(),
            groups: Gauge::default(),
            approvals: Family::default(),
            pending: Gauge::default(),
            assistance: Family::default(),
            assistance_wait: Family::new_with_constructor(waits as fn() -> Histogram),
            assistance_waiting: Gauge::default(),
            assistance_dropped: Family::default(),
        }
    }
}

impl OperationsMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "remuda_operations_group_vehicles",
            "Vehicles of group commands whose command ended, by how",
            self.vehicles.clone(),
        );
        registry.register(
            "remuda_operations_groups_active",
            "Group commands that have not ended",
            self.groups.clone(),
        );
        registry.register(
            "remuda_operations_approvals",
            "What a second person had to agree to, by what came of it",
            self.approvals.clone(),
        );
        registry.register(
            "remuda_operations_approvals_pending",
            "What waits for a second person",
            self.pending.clone(),
        );
        registry.register(
            "remuda_operations_assistance",
            "Questions of vehicles to people, by what became of them",
            self.assistance.clone(),
        );
        registry.register(
            "remuda_operations_assistance_wait_seconds",
            "How long vehicles waited until somebody took their question, and until somebody answered it",
            self.assistance_wait.clone(),
        );
        registry.register(
            "remuda_operations_assistance_waiting",
            "Vehicles that wait for an answer",
            self.assistance_waiting.clone(),
        );
        registry.register(
            "remuda_operations_assistance_dropped",
            "Reports about questions that were not taken up, by why",
            self.assistance_dropped.clone(),
        );
    }

    pub(crate) fn vehicle(&self, outcome: Outcome) {
        self.vehicles.get_or_create(&OutcomeLabel { outcome: outcome.as_str() }).inc();
    }

    pub(crate) fn groups(&self, active: usize) {
        self.groups.set(active as i64);
    }

    /// `outcome`: `asked`, `approved`, `denied`, `expired`.
    pub(crate) fn approval(&self, outcome: &'static str) {
        self.approvals.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// `outcome`: `asked`, `not-given`, `answered`, `timed-out`, `restarted`, `action-failed`, `unknown`.
    pub(crate) fn assistance(&self, outcome: &'static str) {
        self.assistance.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// `step`: `taken`, `answered`.
    pub(crate) fn assistance_wait(&self, step: &'static str, waited_ms: i64) {
        self.assistance_wait.get_or_create(&StepLabel { step }).observe(waited_ms as f64 / 1e3);
    }

    pub(crate) fn assistance_waiting(&self, count: usize) {
        self.assistance_waiting.set(count as i64);
    }

    /// `reason`: `too-many-of-vehicle`, `too-many`, `unreadable`.
    pub(crate) fn assistance_dropped(&self, reason: &'static str) {
        self.assistance_dropped.get_or_create(&ReasonLabel { reason }).inc();
    }

    pub(crate) fn pending(&self, count: usize) {
        self.pending.set(count as i64);
    }
}
