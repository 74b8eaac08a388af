//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::groups::Outcome;

#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

/// Figures of group commands and approvals. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct OperationsMetrics {
    vehicles: Family<OutcomeLabel, Counter>,
    groups: Gauge,
    approvals: Family<OutcomeLabel, Counter>,
    pending: Gauge,
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

    pub(crate) fn pending(&self, count: usize) {
        self.pending.set(count as i64);
    }
}
