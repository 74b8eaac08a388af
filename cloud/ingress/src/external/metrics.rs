//! What is counted of the broker itself. What comes of vehicles is counted as at our own door.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::metrics::ByReason;

/// Figures of an external broker. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct BrokerMetrics {
    pub(crate) connected: Gauge,
    pub(crate) checked: Gauge,
    pub(crate) losses: Family<ByReason, Counter>,
    pub(crate) asks: Counter,
    stalled: Counter<f64, AtomicU64>,
}

impl BrokerMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { connected, checked, losses, asks, stalled } = self.clone();
        registry.register(
            "remuda_ingress_broker_connected",
            "1: all connections to the broker stand",
            connected,
        );
        registry.register(
            "remuda_ingress_broker_checked",
            "1: messages of every size go round through the broker",
            checked,
        );
        registry.register(
            "remuda_ingress_broker_losses",
            "Connections to the broker that ended or could not be made, by reason",
            losses,
        );
        registry.register("remuda_ingress_broker_asks", "Silent vehicles asked whether they are there", asks);
        registry.register(
            "remuda_ingress_broker_stalled_seconds",
            "Time during which nothing was read from the broker because the shards were full",
            stalled,
        );
    }

    pub(crate) fn lost(&self, reason: &'static str) {
        self.losses.get_or_create(&ByReason { reason }).inc();
    }

    pub(crate) fn stalled(&self, time: Duration) {
        self.stalled.inc_by(time.as_secs_f64());
    }
}
