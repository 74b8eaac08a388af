//! What is counted.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Outcome {
    outcome: &'static str,
}

/// Figures of the attempts. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct WebhookMetrics {
    attempts: Family<Outcome, Counter>,
    seconds: Histogram,
}

impl Default for WebhookMetrics {
    fn default() -> Self {
        Self { attempts: Family::default(), seconds: Histogram::new(exponential_buckets(0.005, 2.0, 13)) }
    }
}

impl WebhookMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let help = "Webhook attempts by outcome: delivered, or the kind of failure";
        registry.register("remuda_webhooks_attempts", help, self.attempts.clone());
        registry.register("remuda_webhooks_attempt_seconds", "Time of one attempt", self.seconds.clone());
    }

    pub(crate) fn attempted(&self, outcome: &'static str, took: Duration) {
        self.attempts.get_or_create(&Outcome { outcome }).inc();
        self.seconds.observe(took.as_secs_f64());
    }
}
