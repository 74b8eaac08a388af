//! What is counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::channels::Channel;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    channel: &'static str,
    outcome: &'static str,
}

/// Figures of notifications. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct NotificationMetrics {
    attempts: Family<Outcome, Counter>,
    open: Gauge,
}

impl NotificationMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Attempts to deliver, by channel and outcome: sent, failed, dead";
        registry.register("remuda_notifications_attempts", help, self.attempts.clone());
        let help = "Messages due or waiting that the runner saw in its last round";
        registry.register("remuda_notifications_open_messages", help, self.open.clone());
    }

    pub(crate) fn attempted(&self, channel: Channel, outcome: &'static str) {
        self.attempts.get_or_create(&Outcome { channel: channel.name(), outcome }).inc();
    }

    pub(crate) fn open(&self, messages: usize) {
        self.open.set(i64::try_from(messages).unwrap_or(i64::MAX));
    }
}
