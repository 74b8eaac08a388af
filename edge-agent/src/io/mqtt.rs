//! The product's connection: rumqttc.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use remuda_wire::topic::Channel;
use rumqttc::{
    AsyncClient, ConnectionError, Event, EventLoop, LastWill, MqttOptions, NetworkOptions, Packet, QoS,
};

use super::{CONNECT_S, Link, LinkEvent, LinkSettings, PACKET_BYTES_MAX};

/// Messages that may wait for the event loop: a credit of both lanes in small messages, and control.
const QUEUE_MESSAGES: usize = 8 * 1024;

/// A poll under way with its event loop. Kept over calls of `next`: a poll that is dropped begins to connect anew.
type Polling = Pin<Box<dyn Future<Output = (EventLoop, Result<Event, ConnectionError>)> + Send>>;

fn poll(mut events: EventLoop) -> Polling {
    Box::pin(async move {
        let event = events.poll().await;
        (events, event)
    })
}

/// See the module.
pub struct MqttLink {
    settings: LinkSettings,
    up: Option<(AsyncClient, Polling)>,
    given_up: bool,
    closing: bool,
    written: u64,
}

impl std::fmt::Debug for MqttLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MqttLink").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl MqttLink {
    /// Not yet connected.
    pub fn new(settings: LinkSettings) -> Self {
        Self { settings, up: None, given_up: false, closing: false, written: 0 }
    }

    fn options(&self, will: Vec<u8>) -> MqttOptions {
        let LinkSettings { door, vehicle, secret, keep_alive_s } = &self.settings;
        // The address was checked with the configuration.
        let (host, port) = door.rsplit_once(':').unwrap_or((door, "1883"));
        let mut options = MqttOptions::new(vehicle.as_str(), host, port.parse().unwrap_or(1883));
        options
            .set_credentials(vehicle.as_str(), secret)
            .set_clean_session(true)
            .set_keep_alive(Duration::from_secs(u64::from((*keep_alive_s).max(1))))
            .set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX)
            .set_last_will(LastWill::new(self.settings.up(Channel::Session), will, QoS::AtMostOnce, false));
        options
    }
}

impl Link for MqttLink {
    fn connect(&mut self, will: Vec<u8>) {
        let (client, mut events) = AsyncClient::new(self.options(will), QUEUE_MESSAGES);
        let mut network = NetworkOptions::new();
        network.set_tcp_nodelay(true);
        network.set_connection_timeout(CONNECT_S);
        events.set_network_options(network);
        // The queue is empty: this cannot be refused.
        let _ = client.try_subscribe(self.settings.down(), QoS::AtMostOnce);
        self.up = Some((client, poll(events)));
        self.closing = false;
    }

    fn send(&mut self, channel: Channel, payload: Vec<u8>) {
        let Some((client, _)) = &self.up else { return };
        let bytes = payload.len() as u64;
        let topic = self.settings.up(channel);
        let packet = bytes + topic.len() as u64 + 6;
        if client.try_publish(topic, QoS::AtMostOnce, false, payload).is_err() {
            // The cloud answers a hole with `missing`: as if the network had lost it.
            tracing::warn!(channel = ?channel, "the connection's queue is full, a message is dropped");
        } else {
            self.written += packet;
        }
    }

    fn close(&mut self) {
        match &self.up {
            Some((client, _)) => {
                self.closing = true;
                let _ = client.try_disconnect();
            }
            None => self.given_up = true,
        }
    }

    fn queued(&self) -> usize {
        // What waits in rumqttc's queue cannot be asked for; it is bounded by its length.
        0
    }

    fn bytes_written(&self) -> u64 {
        self.written
    }

    async fn next(&mut self) -> LinkEvent {
        if std::mem::take(&mut self.given_up) {
            return LinkEvent::Closed("given up".to_owned());
        }
        let Some((_, polling)) = &mut self.up else { return std::future::pending().await };
        loop {
            let (events, event) = polling.as_mut().await;
            *polling = poll(events);
            let closed = match event {
                Ok(Event::Incoming(Packet::SubAck(_))) => return LinkEvent::Connected,
                Ok(Event::Incoming(Packet::Publish(publish))) => return LinkEvent::Payload(publish.payload),
                Ok(Event::Outgoing(rumqttc::Outgoing::Disconnect)) if self.closing => {
                    "said farewell".to_owned()
                }
                Ok(_) => continue,
                Err(error) => error.to_string(),
            };
            self.up = None;
            return LinkEvent::Closed(closed);
        }
    }
}
