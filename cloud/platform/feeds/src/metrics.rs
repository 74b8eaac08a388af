//! What is counted. The label is a feed's name: there are at most as many as may be registered.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Of {
    feed: String,
    sink: &'static str,
}

/// Figures of the feeds. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct FeedMetrics {
    delivered: Family<Of, Counter>,
    retried: Family<Of, Counter>,
    dead: Family<Of, Counter>,
    missed: Family<Of, Counter>,
    lag_positions: Family<Of, Gauge>,
    lag_seconds: Family<Of, Gauge>,
    streams: Gauge,
}

impl FeedMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "remuda_feeds_items_delivered",
            "Items that a sink confirmed",
            self.delivered.clone(),
        );
        registry.register("remuda_feeds_retries", "Batches that were sent again", self.retried.clone());
        registry.register(
            "remuda_feeds_dead_letters",
            "Batches that a sink refused for good",
            self.dead.clone(),
        );
        let help = "Messages that something was gone before it was told";
        registry.register("remuda_feeds_missed", help, self.missed.clone());
        let help = "Events and commits of the lake that a feed has not looked at";
        registry.register("remuda_feeds_lag_positions", help, self.lag_positions.clone());
        let help = "Age of the oldest thing that a feed has not told";
        registry.register("remuda_feeds_lag_seconds", help, self.lag_seconds.clone());
        registry.register("remuda_feeds_streams", "Open gRPC streams", self.streams.clone());
    }

    /// Of one feed.
    pub(crate) fn of(&self, feed: &str, sink: &'static str) -> OneFeed {
        let of = Of { feed: feed.to_owned(), sink };
        OneFeed {
            delivered: self.delivered.get_or_create_owned(&of),
            retried: self.retried.get_or_create_owned(&of),
            dead: self.dead.get_or_create_owned(&of),
            missed: self.missed.get_or_create_owned(&of),
            lag_positions: self.lag_positions.get_or_create_owned(&of),
            lag_seconds: self.lag_seconds.get_or_create_owned(&of),
        }
    }

    /// A feed is gone.
    pub(crate) fn remove(&self, feed: &str, sink: &'static str) {
        let of = Of { feed: feed.to_owned(), sink };
        for family in [&self.delivered, &self.retried, &self.dead, &self.missed] {
            family.remove(&of);
        }
        self.lag_positions.remove(&of);
        self.lag_seconds.remove(&of);
    }

    pub(crate) fn stream_opened(&self) {
        self.streams.inc();
    }

    pub(crate) fn stream_closed(&self) {
        self.streams.dec();
    }
}

/// Figures of one feed.
#[derive(Debug, Clone)]
pub(crate) struct OneFeed {
    pub delivered: Counter,
    pub retried: Counter,
    pub dead: Counter,
    pub missed: Counter,
    pub lag_positions: Gauge,
    pub lag_seconds: Gauge,
}
