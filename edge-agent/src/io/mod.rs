//! Connections to the cloud's door.

mod connect;
mod thin_mqtt;

use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use remuda_model::VehicleId;
use remuda_wire::topic::{Channel, Topic};

pub use thin_mqtt::ThinMqtt;

use crate::identity::Credentials;

/// What happens on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkEvent {
    /// Connected, and subscribed to the vehicle's `down` topic.
    Connected,
    /// Bytes from the cloud.
    Payload(Bytes),
    /// The connection ended or could not be made; why, in words.
    Closed(String),
    /// The same, and it will be so again until a person does something; what, in a sentence.
    Refused(String),
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

/// How a connection is secured.
#[derive(Clone)]
pub enum Security {
    /// Plain TCP, with a password that may be empty: to a door on this machine, for simulators and tests.
    Plain {
        /// Password.
        secret: String,
    },
    /// Mutual TLS. Each connection takes the certificate that is present then.
    Tls(Arc<Credentials>),
}

/// Where and as whom to connect.
#[derive(Clone)]
pub struct LinkSettings {
    /// `host:port` of the door.
    pub door: String,
    /// User name and client id.
    pub vehicle: VehicleId,
    /// How the connection is secured, and how the vehicle shows who it is.
    pub security: Security,
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
    /// Over plain TCP, with the default keep-alive.
    pub fn new(door: impl Into<String>, vehicle: VehicleId, secret: impl Into<String>) -> Self {
        let security = Security::Plain { secret: secret.into() };
        Self { door: door.into(), vehicle, security, keep_alive_s: 30 }
    }

    /// Over mutual TLS, with the default keep-alive.
    pub fn over_tls(door: impl Into<String>, vehicle: VehicleId, credentials: Arc<Credentials>) -> Self {
        Self { door: door.into(), vehicle, security: Security::Tls(credentials), keep_alive_s: 30 }
    }

    fn up(&self, channel: Channel) -> String {
        Topic::up(self.vehicle, channel).to_string()
    }

    fn down(&self) -> String {
        Topic::Down { vehicle: self.vehicle }.to_string()
    }
}

/// Longest time for connecting, the TLS handshake, logging in and subscribing together, s: four round trips by
/// satellite, or the queue at a door to which a whole fleet comes back.
const CONNECT_S: u64 = 20;
/// Longest time that the last messages may take to go out, s.
const CLOSE_S: u64 = 5;
/// Largest packet: a payload with its topic.
const PACKET_BYTES_MAX: usize = remuda_wire::limits::PAYLOAD_BYTES_MAX + 1024;
