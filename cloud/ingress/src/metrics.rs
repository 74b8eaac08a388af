//! What the door counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use remuda_model::Lane;
use remuda_wire::Channel;

/// A stable reason code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByReason {
    pub reason: &'static str,
}

/// A channel of the uplink.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ByChannel {
    pub channel: &'static str,
}

/// Figures of the door. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub struct DoorMetrics {
    pub(crate) connections: Gauge,
    pub(crate) accepts: Counter,
    pub(crate) closes: Family<ByReason, Counter>,
    pub(crate) refusals: Family<ByReason, Counter>,
    pub(crate) messages: Family<ByChannel, Counter>,
    pub(crate) bytes_in: Counter,
    pub(crate) bytes_out: Counter,
    pub(crate) downlink_drops: Family<ByReason, Counter>,
}

impl DoorMetrics {
    /// Adds them to a registry.
    pub fn register(&self, registry: &mut Registry) {
        let Self { connections, accepts, closes, refusals, messages, bytes_in, bytes_out, downlink_drops } =
            self.clone();
        registry.register("remuda_ingress_connections", "Vehicles connected", connections);
        registry.register("remuda_ingress_accepts", "TCP connections accepted", accepts);
        registry.register("remuda_ingress_closes", "Connections ended, by reason", closes);
        registry.register("remuda_ingress_refusals", "Logins and messages refused, by reason", refusals);
        registry.register("remuda_ingress_messages", "Messages taken, by channel", messages);
        registry.register("remuda_ingress_received_bytes", "Bytes read from vehicles", bytes_in);
        registry.register("remuda_ingress_sent_bytes", "Bytes written to vehicles", bytes_out);
        registry.register(
            "remuda_ingress_downlink_drops",
            "Messages to vehicles dropped, by reason",
            downlink_drops,
        );
    }

    pub(crate) fn refused(&self, reason: &'static str) {
        self.refused_many(reason, 1);
    }

    pub(crate) fn refused_many(&self, reason: &'static str, count: u64) {
        self.refusals.get_or_create(&ByReason { reason }).inc_by(count);
    }

    #[cfg(test)]
    pub(crate) fn refusals(&self, reason: &'static str) -> u64 {
        self.refusals.get_or_create(&ByReason { reason }).get()
    }

    pub(crate) fn dropped(&self, reason: &'static str) {
        self.downlink_drops.get_or_create(&ByReason { reason }).inc();
    }

    #[cfg(test)]
    pub(crate) fn downlink_drops(&self, reason: &'static str) -> u64 {
        self.downlink_drops.get_or_create(&ByReason { reason }).get()
    }

    pub(crate) fn message(&self, channel: Channel) {
        let channel = match channel {
            Channel::Session => "session",
            Channel::Live => "live",
            Channel::Lane(Lane::Events) => "events",
            Channel::Lane(Lane::Samples) => "samples",
        };
        self.messages.get_or_create(&ByChannel { channel }).inc();
    }
}
