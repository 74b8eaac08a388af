//! Connections to the cloud's door.

mod mqtt;
mod thin_mqtt;

use std::future::Future;

use bytes::Bytes;
use remuda_model::VehicleId;
use remuda_wire::topic::{Channel, Topic};

pub use mqtt::MqttLink;
pub use thin_mqtt::ThinMqtt;

/// What happens on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// Connected, and subscribed to the vehicle's `down` topic.
    Connected,
    /// Bytes from the cloud.
    Payload(Bytes),
    /// The connection ended or could not be made; why, in words.
    Closed(String),
}

/// One connection after the other to the door. Nothing here blocks: [`Link::next`] does the work.
pub trait Link: Send {
    /// Begins to connect; `will` is published on the session channel if the connection breaks.
    fn connect(&mut self, will: Vec<u8>);
    /// Queues a message. What waits here is bounded by the credit that the cloud gave.
    fn send(&mut self, channel: Channel, payload: Vec<u8>);
    /// Closes once everything queued is out; [`LinkEvent::Closed`] follows.
    fn close(&mut self);
    /// Bytes queued and not yet with the operating system.
    fn queued(&self) -> usize;
    /// Bytes of MQTT packets written so far.
    fn bytes_written(&self) -> u64;
    /// Reads, writes, keeps alive; answers what happened. Safe to be dropped and called again. Never answers while
    /// there is no connection to be had.
    fn next(&mut self) -> impl Future<Output = LinkEvent> + Send;
}

/// Where and as whom to connect.
#[derive(Clone)]
pub struct LinkSettings {
    /// `host:port` of the door.
    pub door: String,
    /// User name and client id.
    pub vehicle: VehicleId,
    /// Password.
    pub secret: String,
    /// A ping is sent after so long without traffic, s.
    pub keep_alive_s: u16,
}

impl std::fmt::Debug for LinkSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LinkSettings")
            .field("door", &self.door)
            .field("vehicle", &self.vehicle)
            .finish_non_exhaustive()
    }
}

impl LinkSettings {
    /// With the default keep-alive.
    pub fn new(door: impl Into<String>, vehicle: VehicleId, secret: impl Into<String>) -> Self {
        Self { door: door.into(), vehicle, secret: secret.into(), keep_alive_s: 30 }
    }

    fn up(&self, channel: Channel) -> String {
        Topic::up(self.vehicle, channel).to_string()
    }

    fn down(&self) -> String {
        Topic::Down { vehicle: self.vehicle }.to_string()
    }
}

/// Longest time for connecting, logging in and subscribing, s.
const CONNECT_S: u64 = 10;
/// Largest packet: a payload with its topic.
const PACKET_BYTES_MAX: usize = remuda_wire::limits::PAYLOAD_BYTES_MAX + 1024;
