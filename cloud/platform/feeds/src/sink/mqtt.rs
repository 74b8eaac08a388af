//! An MQTT broker, QoS 1. A connection that ends is not taken up again: the batch is sent again on a new one, from its
//! first message.

use std::time::Instant;

use async_trait::async_trait;
use remuda_webhooks::AddressRules;
use rumqttc::{
    AsyncClient, Event, EventLoop, Incoming, MqttOptions, NetworkOptions, QoS, TlsConfiguration, Transport,
};
use url::Url;

use super::{Sink, SinkError};
use crate::address;
use crate::item::Item;
use crate::limits;
use crate::spec::Secret;

/// Largest packet, bytes: an item with its topic; what brokers take by default is more.
const PACKET_BYTES_MAX: usize = 256 * 1_024;
/// Messages that are not confirmed at a time: what brokers take by default or more.
const INFLIGHT: u16 = 100;

/// Where and how.
pub(super) struct MqttSettings {
    pub url: Url,
    pub login: Option<(String, Secret)>,
    pub topic_prefix: String,
    pub client: String,
}

struct Connection {
    client: AsyncClient,
    events: EventLoop,
    used: Instant,
}

/// One broker.
pub(super) struct Mqtt {
    settings: MqttSettings,
    rules: AddressRules,
    connection: Option<Connection>,
}

impl Mqtt {
    pub const fn new(settings: MqttSettings, rules: AddressRules) -> Self {
        Self { settings, rules, connection: None }
    }
}

impl MqttSettings {
    async fn connect(&self, rules: &AddressRules) -> Result<Connection, SinkError> {
        let Self { url, login, client, .. } = self;
        let secure = url.scheme() == "mqtts";
        let address = address::checked(url, if secure { 8883 } else { 1883 }, rules).await?;
        // With TLS the name is needed to check the certificate; without, what was checked is what is called.
        let host =
            if secure { url.host_str().unwrap_or_default().to_owned() } else { address.ip().to_string() };
        let mut options = MqttOptions::new(client, host, address.port());
        options
            .set_clean_session(true)
            .set_keep_alive(limits::MQTT_QUIET * 3)
            .set_inflight(INFLIGHT)
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
        if let Some((username, password)) = login {
            options.set_credentials(username, &password.0);
        }
        if secure {
            options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(address::tls()?)));
        }
        let (client, mut events) = AsyncClient::new(options, limits::MQTT_ITEMS_MAX);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(limits::CONNECT_WITHIN.as_secs());
        events.set_network_options(network);
        loop {
            match events.poll().await {
                Ok(Event::Incoming(Incoming::ConnAck(_))) => {
                    return Ok(Connection { client, events, used: Instant::now() });
                }
                Ok(_) => {}
                Err(error) => {
                    return Err(SinkError::unavailable(format!("cannot connect to {url}: {error}")));
                }
            }
        }
    }

    async fn publish(&self, connection: &mut Connection, items: &[Item]) -> Result<(), SinkError> {
        for items in items.chunks(limits::MQTT_ITEMS_MAX) {
            for item in items {
                let prefix = &self.topic_prefix;
                let topic = format!("{prefix}/{}/{}", item.channel.as_str(), item.subject_part());
                let payload = item.to_json();
                if payload.len() + topic.len() + 16 > PACKET_BYTES_MAX {
                    return Err(SinkError::refused(format!("the item {} is too large for MQTT", item.id)));
                }
                // There is room for a whole batch, and nothing of the one before is left.
                let queued = connection.client.try_publish(topic, QoS::AtLeastOnce, false, payload);
                queued.map_err(|e| SinkError::unavailable(format!("the client takes no more: {e}")))?;
            }
            let mut confirmed = 0;
            while confirmed < items.len() {
                match connection.events.poll().await {
                    Ok(Event::Incoming(Incoming::PubAck(_))) => confirmed += 1,
                    Ok(_) => {}
                    Err(error) => return Err(SinkError::unavailable(format!("the broker: {error}"))),
                }
            }
        }
        Ok(())
    }
}

#[async_trait]
impl Sink for Mqtt {
    async fn send(&mut self, items: &[Item]) -> Result<(), SinkError> {
        // Taken out: whatever ends this call early, the connection is not used again.
        let mut connection = match self.connection.take().filter(|it| it.used.elapsed() < limits::MQTT_QUIET)
        {
            Some(connection) => connection,
            None => self.settings.connect(&self.rules).await?,
        };
        self.settings.publish(&mut connection, items).await?;
        connection.used = Instant::now();
        self.connection = Some(connection);
        Ok(())
    }
}
