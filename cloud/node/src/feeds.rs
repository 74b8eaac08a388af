//! Feeds to customers' systems: their section of the configuration, and what they read.

use std::path::Path;
use std::sync::Arc;

use remuda_entities::Decoders;
use remuda_eventsourcing::{Event, Journal, NewEvent};
use remuda_feeds::{EventJson, FeedError, FeedMetrics, FeedSettings, Feeds, Source};
use remuda_lake::Lake;
use remuda_model::ShardId;
use remuda_observability::Metrics;
use remuda_vehicles::event::VehicleEvent;
use remuda_webhooks::{AddressRules, Network, Sender, SenderConfig, SetupError, WebhookMetrics};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::ConfigError;

/// Feeds to customers' systems.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeedsConfig {
    /// Networks that feeds, and webhooks of people on call, may reach although they are not public, such as `10.1.0.0/16`:
    /// customers' servers beside this node. With any of them, a webhook may also be called by plain `http://`.
    pub allowed_networks: Vec<String>,
}

/// Why feeds do not start.
#[derive(Debug, thiserror::Error)]
pub enum FeedsStartError {
    /// What is registered cannot be read or used.
    #[error(transparent)]
    Feeds(#[from] FeedError),
    /// Nothing could be called.
    #[error(transparent)]
    Setup(#[from] SetupError),
}

impl FeedsConfig {
    fn networks(&self) -> Result<Vec<Network>, String> {
        let read = |text: &String| text.parse().map_err(|_| text.clone());
        self.allowed_networks.iter().map(read).collect()
    }

    /// Whether webhooks may be called by plain HTTP.
    pub(crate) fn reaches_private(&self) -> bool {
        !self.allowed_networks.is_empty()
    }

    /// Checks the section.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        let must = "networks such as 10.1.0.0/16";
        self.networks().map(|_| ()).map_err(|value| ConfigError::Range {
            key: "feeds.allowed_networks",
            value,
            must,
        })
    }
}

/// What an event's payload says. Vehicles' events are documents of their own; what the business writes is told in words,
/// its type, ids and versions beside it.
fn payload(decoders: Decoders) -> EventJson {
    Arc::new(move |event: &NewEvent| {
        if event.stream.aggregate_type == "vehicle" {
            let known = postcard::from_bytes::<VehicleEvent>(&event.payload).ok()?;
            return serde_json::to_value(known).ok();
        }
        let shard = ShardId::new(0)?;
        let described = decoders.describe(&Event { shard, position: 0, event: event.clone() });
        described.fact.map(|text| json!({ "text": Value::from(text) }))
    })
}

/// What calls webhooks: one for the whole node.
pub(crate) fn webhooks(config: &FeedsConfig, metrics: &Metrics) -> Result<Sender, FeedsStartError> {
    let webhook_metrics = WebhookMetrics::default();
    metrics.register(|registry| webhook_metrics.register(registry));
    let sender = SenderConfig { addresses: addresses(config), ..SenderConfig::default() };
    Ok(Sender::new(sender, webhook_metrics)?)
}

fn addresses(config: &FeedsConfig) -> AddressRules {
    // Checked with the configuration.
    AddressRules { allowed: config.networks().unwrap_or_default() }
}

/// Starts every feed that is registered.
pub(crate) async fn start(
    config: &FeedsConfig,
    data_dir: &Path,
    lake: &Lake,
    journals: Vec<(&'static str, Arc<dyn Journal>)>,
    decoders: Decoders,
    webhooks: Sender,
    metrics: &Metrics,
) -> Result<Feeds, FeedsStartError> {
    let feed_metrics = FeedMetrics::default();
    metrics.register(|registry| feed_metrics.register(registry));
    let source = Source::new(lake, journals, payload(decoders));
    let settings = FeedSettings::new(data_dir.join("feeds"), webhooks, addresses(config));
    Ok(Feeds::open(settings, source, feed_metrics).await?)
}
