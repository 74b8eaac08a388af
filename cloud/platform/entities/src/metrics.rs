//! What the shell counts.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::error::AskError;

/// Which kind of entity.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct KindLabel {
    /// `Aggregate::TYPE`.
    pub aggregate: &'static str,
}

/// Which kind of entity, and what came of it.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct OutcomeLabel {
    /// `Aggregate::TYPE`.
    pub aggregate: &'static str,
    /// `accepted`, `repeated`, `refused`, `version-mismatch`, `invalid`, `overloaded`, `unavailable` or `unreadable`.
    pub outcome: &'static str,
}

/// Which reader of the feeds.
#[derive(Debug, Clone, Hash, PartialEq, Eq, EncodeLabelSet)]
pub struct ReaderLabel {
    /// Name of the projection or reactor.
    pub reader: &'static str,
}

/// Figures of the shell. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub struct EntityMetrics {
    asks: Family<OutcomeLabel, Counter>,
    ask_seconds: Family<KindLabel, Histogram>,
    activation_seconds: Family<KindLabel, Histogram>,
    active: Family<KindLabel, Gauge>,
    passivations: Family<KindLabel, Counter>,
    failures: Family<KindLabel, Counter>,
    snapshots: Family<KindLabel, Counter>,
    append_entities: Histogram,
    reader_lag: Family<ReaderLabel, Gauge>,
    reader_stopped: Family<ReaderLabel, Gauge>,
    reader_events: Family<ReaderLabel, Counter>,
}

impl Default for EntityMetrics {
    fn default() -> Self {
        let seconds = || Histogram::new(exponential_buckets(0.000_25, 2.0, 16));
        Self {
            asks: Family::default(),
            ask_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            activation_seconds: Family::new_with_constructor(seconds as fn() -> Histogram),
            active: Family::default(),
            passivations: Family::default(),
            failures: Family::default(),
            snapshots: Family::default(),
            append_entities: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
            reader_lag: Family::default(),
            reader_stopped: Family::default(),
            reader_events: Family::default(),
        }
    }
}

impl EntityMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("remuda_entities_asks", "Commands by outcome", self.asks.clone());
        registry.register(
            "remuda_entities_ask_seconds",
            "From asked to answered, durable",
            self.ask_seconds.clone(),
        );
        registry.register(
            "remuda_entities_activation_seconds",
            "Reading an entity's past",
            self.activation_seconds.clone(),
        );
        registry.register("remuda_entities_active", "Entities in memory", self.active.clone());
        registry.register(
            "remuda_entities_passivations",
            "Entities that left the memory",
            self.passivations.clone(),
        );
        registry.register("remuda_entities_failures", "Entities that broke", self.failures.clone());
        registry.register("remuda_entities_snapshots", "Snapshots written", self.snapshots.clone());
        registry.register(
            "remuda_entities_append_entities",
            "Entities of a shard whose events shared an append",
            self.append_entities.clone(),
        );
        registry.register(
            "remuda_projection_lag_events",
            "Events a projection or reactor has not taken in",
            self.reader_lag.clone(),
        );
        registry.register(
            "remuda_projection_stopped",
            "1 when an event stopped a projection or reactor",
            self.reader_stopped.clone(),
        );
        registry.register(
            "remuda_projection_events",
            "Events taken in by a projection or reactor",
            self.reader_events.clone(),
        );
    }

    pub(crate) fn asked(&self, aggregate: &'static str, outcome: &'static str, took: Duration) {
        self.asks.get_or_create(&OutcomeLabel { aggregate, outcome }).inc();
        self.ask_seconds.get_or_create(&KindLabel { aggregate }).observe(took.as_secs_f64());
    }

    pub(crate) fn activated(&self, aggregate: &'static str, took: Duration) {
        self.activation_seconds.get_or_create(&KindLabel { aggregate }).observe(took.as_secs_f64());
    }

    pub(crate) fn active(&self, aggregate: &'static str, by: i64) {
        self.active.get_or_create(&KindLabel { aggregate }).inc_by(by);
    }

    pub(crate) fn passivated(&self, aggregate: &'static str) {
        self.passivations.get_or_create(&KindLabel { aggregate }).inc();
    }

    pub(crate) fn failed(&self, aggregate: &'static str) {
        self.failures.get_or_create(&KindLabel { aggregate }).inc();
    }

    pub(crate) fn snapshot(&self, aggregate: &'static str) {
        self.snapshots.get_or_create(&KindLabel { aggregate }).inc();
    }

    pub(crate) fn append(&self, entities: usize) {
        self.append_entities.observe(entities as f64);
    }

    /// A reader took events in; so many are left.
    pub(crate) fn reader(&self, reader: &'static str, lag: u64, events: u64) {
        let label = ReaderLabel { reader };
        self.reader_lag.get_or_create(&label).set(i64::try_from(lag).unwrap_or(i64::MAX));
        self.reader_events.get_or_create(&label).inc_by(events);
    }

    /// A reader stopped at an event, or goes on.
    pub(crate) fn reader_stopped(&self, reader: &'static str, stopped: bool) {
        self.reader_stopped.get_or_create(&ReaderLabel { reader }).set(stopped.into());
    }
}

/// The outcome's name in metrics.
pub(crate) fn outcome_of(error: &AskError) -> &'static str {
    match error {
        AskError::Refused { .. } => "refused",
        AskError::VersionMismatch { .. } => "version-mismatch",
        AskError::Invalid { .. } => "invalid",
        AskError::Overloaded { .. } => "overloaded",
        AskError::Unavailable { .. } => "unavailable",
        AskError::Unreadable(_) => "unreadable",
    }
}
