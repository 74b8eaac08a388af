//! What the runner counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::aggregate::Phase;

/// Figures of the runner. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct SagaMetrics {
    running: Gauge,
    stuck: Gauge,
    started: Counter,
    completed: Counter,
    compensated: Counter,
    refused: Counter,
    saga_seconds: Histogram,
    step_seconds: Family<StepLabels, Histogram>,
}

/// Bounded by the definitions that are loaded.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StepLabels {
    action: String,
    outcome: &'static str,
}

impl Default for SagaMetrics {
    fn default() -> Self {
        Self {
            running: Gauge::default(),
            stuck: Gauge::default(),
            started: Counter::default(),
            completed: Counter::default(),
            compensated: Counter::default(),
            refused: Counter::default(),
            saga_seconds: Histogram::new(exponential_buckets(0.005, 2.0, 16)),
            step_seconds: Family::new_with_constructor(|| {
                Histogram::new(exponential_buckets(0.001, 2.0, 14))
            }),
        }
    }
}

impl SagaMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("remuda_saga_running", "Sagas under way, stuck ones aside", self.running.clone());
        registry.register("remuda_saga_stuck", "Sagas that an operator must resolve", self.stuck.clone());
        registry.register("remuda_saga_started", "Sagas started", self.started.clone());
        registry.register("remuda_saga_completed", "Sagas that completed", self.completed.clone());
        registry.register("remuda_saga_compensated", "Sagas that were undone", self.compensated.clone());
        let refused = self.refused.clone();
        registry.register(
            "remuda_saga_starts_refused",
            "Starts refused because too many are under way",
            refused,
        );
        let saga_seconds = self.saga_seconds.clone();
        registry.register("remuda_saga_duration_seconds", "From a saga's start to its end", saga_seconds);
        let step_seconds = self.step_seconds.clone();
        registry.register("remuda_saga_step_seconds", "One call of an action", step_seconds);
    }

    /// Sagas under way, stuck ones aside.
    pub fn running(&self) -> i64 {
        self.running.get()
    }

    /// Sagas that are stuck.
    pub fn stuck(&self) -> i64 {
        self.stuck.get()
    }

    /// Sagas that completed.
    pub fn completed(&self) -> u64 {
        self.completed.get()
    }

    /// Sagas that were undone.
    pub fn compensated(&self) -> u64 {
        self.compensated.get()
    }

    pub(crate) fn on_start(&self) {
        self.started.inc();
    }

    pub(crate) fn on_start_refused(&self) {
        self.refused.inc();
    }

    /// A saga came to be, or ceased to be, running or stuck.
    pub(crate) fn moved(&self, from: Option<Standing>, to: Option<Standing>) {
        if from == to {
            return;
        }
        let gauge = |standing| match standing {
            Standing::Running => &self.running,
            Standing::Stuck => &self.stuck,
        };
        if let Some(from) = from {
            gauge(from).dec();
        }
        if let Some(to) = to {
            gauge(to).inc();
        }
    }

    pub(crate) fn ended(&self, phase: Phase, took_ms: i64) {
        match phase {
            Phase::Completed => self.completed.inc(),
            _ => self.compensated.inc(),
        };
        self.saga_seconds.observe(took_ms as f64 / 1_000.0);
    }

    pub(crate) fn call(&self, action: &str, outcome: &'static str, took: Duration) {
        let labels = StepLabels { action: action.to_owned(), outcome };
        self.step_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }
}

/// How the gauges see a saga.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    Running,
    Stuck,
}
