//! What is counted, from the first call on: an attempt ends as exactly one success or one failure.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::currency::decimals;
use crate::money::Money;
use crate::payment::Method;
use crate::provider::{ProviderAnswer, ProviderError};

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    payment_method: &'static str,
    amount_range: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    error_type: &'static str,
}

/// Figures of payments. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct PaymentMetrics {
    attempts: Family<Attempt, Counter>,
    success: Counter,
    failure: Family<Failed, Counter>,
    duration: Histogram,
}

impl Default for PaymentMetrics {
    fn default() -> Self {
        Self {
            attempts: Family::default(),
            success: Counter::default(),
            failure: Family::default(),
            duration: Histogram::new(exponential_buckets(0.005, 2.0, 14)),
        }
    }
}

impl PaymentMetrics {
    /// Adds them to a registry. The text format adds `_total` to counters.
    pub fn register(&self, registry: &mut Registry) {
        let name = "remuda_billing_payment_attempts";
        registry.register(name, "Calls to the payment provider", self.attempts.clone());
        let name = "remuda_billing_payment_success";
        registry.register(name, "Calls to the payment provider that it did", self.success.clone());
        let name = "remuda_billing_payment_failure";
        let help = "Calls to the payment provider that were declined or had no answer, by kind";
        registry.register(name, help, self.failure.clone());
        let name = "remuda_billing_payment_duration_seconds";
        registry.register(name, "Time of a call to the payment provider", self.duration.clone());
    }

    /// A call begins.
    pub(crate) fn attempt(&self, method: Method, amount: Option<Money>) -> OpenAttempt<'_> {
        let labels = Attempt { payment_method: method.name(), amount_range: amount_range(amount) };
        self.attempts.get_or_create(&labels).inc();
        OpenAttempt { metrics: self, ended: false }
    }

    fn failed(&self, error_type: &'static str) {
        self.failure.get_or_create(&Failed { error_type }).inc();
    }
}

/// A call that has begun; dropped without an end, it counts as cancelled.
pub(crate) struct OpenAttempt<'a> {
    metrics: &'a PaymentMetrics,
    ended: bool,
}

impl OpenAttempt<'_> {
    pub(crate) fn ended(mut self, answer: &Result<ProviderAnswer, ProviderError>, took: Duration) {
        self.ended = true;
        match answer {
            Ok(ProviderAnswer::Done { .. }) => {
                self.metrics.success.inc();
            }
            Ok(ProviderAnswer::Declined { .. }) => self.metrics.failed("declined"),
            Err(error) => self.metrics.failed(error.kind()),
        }
        self.metrics.duration.observe(took.as_secs_f64());
    }
}

impl Drop for OpenAttempt<'_> {
    fn drop(&mut self) {
        if !self.ended {
            self.metrics.failed("cancelled");
        }
    }
}

/// In major units, so that the label means the same in every currency's notation.
fn amount_range(amount: Option<Money>) -> &'static str {
    let Some(amount) = amount else { return "none" };
    let unit = 10_i64.pow(u32::from(decimals(amount.currency).unwrap_or(2)));
    match amount.minor_units / unit {
        ..10 => "0-10",
        10..50 => "10-50",
        50..100 => "50-100",
        100..500 => "100-500",
        _ => "500+",
    }
}
