//! A vehicle's end of a connection: MQTT packets to bytes and back.

use bytes::{Bytes, BytesMut};
use remuda_model::VehicleId;
use remuda_wire::{Channel, Topic};
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Disconnect, LastWill, Packet, PingReq, Publish, Subscribe,
};
use rumqttc::mqttbytes::{Error, QoS};

/// A ping is sent after so long without a word, ms.
pub(crate) const PING_MS: u64 = 20_000;
/// A door that says nothing for so long is gone, ms.
pub(crate) const SILENCE_MS: u64 = 75_000;
/// Connecting takes at most so long, ms.
pub(crate) const CONNECT_MS: u64 = 10_000;
const PACKET_BYTES_MAX: usize = 256 * 1024;

/// What the vehicle hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Logged in and subscribed.
    Connected,
    /// A message.
    Payload(Bytes),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Client {
    /// Whose: an instance, and which life of it.
    pub instance: usize,
    pub life: u64,
    /// With which process.
    pub process: Option<u64>,
    /// The vehicle knows that it is over.
    pub closed: bool,
    /// Bytes that would arrive after this time are lost, ms.
    pub cut_after: u64,
    /// The last bytes on their way arrive then, ms.
    pub up_free: u64,
    pub down_free: u64,
    pub said_ms: u64,
    pub heard_ms: u64,
    pub connected: bool,
    read: BytesMut,
    vehicle: VehicleId,
}

fn bytes_of(write: impl FnOnce(&mut BytesMut) -> Result<usize, Error>) -> Bytes {
    let mut bytes = BytesMut::new();
    // Our packets are within the codec's limits.
    let _ = write(&mut bytes);
    bytes.freeze()
}

impl Client {
    /// Not yet connected.
    pub fn new(vehicle: VehicleId, instance: usize, life: u64, process: Option<u64>, now_ms: u64) -> Self {
        Self {
            instance,
            life,
            process,
            closed: false,
            cut_after: u64::MAX,
            up_free: now_ms,
            down_free: now_ms,
            said_ms: now_ms,
            heard_ms: now_ms,
            connected: false,
            read: BytesMut::new(),
            vehicle,
        }
    }

    /// Its first words.
    pub fn hello(&self, will: Vec<u8>) -> Bytes {
        let mut connect = Connect::new(self.vehicle.as_str());
        connect.keep_alive = 30;
        connect.set_login(self.vehicle.as_str(), "simulated");
        let topic = Topic::up(self.vehicle, Channel::Session).to_string();
        connect.last_will = Some(LastWill::new(topic, will, QoS::AtMostOnce, false));
        let mut subscribe =
            Subscribe::new(Topic::Down { vehicle: self.vehicle }.to_string(), QoS::AtMostOnce);
        subscribe.pkid = 1;
        bytes_of(|out| connect.write(out).and_then(|_| subscribe.write(out)))
    }

    /// A message.
    pub fn publish(&self, channel: Channel, payload: Vec<u8>) -> Bytes {
        let topic = Topic::up(self.vehicle, channel).to_string();
        let publish = Publish::from_bytes(topic, QoS::AtMostOnce, payload.into());
        bytes_of(|out| publish.write(out))
    }

    /// A sign of life.
    pub fn ping() -> Bytes {
        bytes_of(|out| PingReq.write(out))
    }

    /// Its last words.
    pub fn goodbye() -> Bytes {
        bytes_of(|out| Disconnect.write(out))
    }

    /// Bytes arrived; what they say, or that they make no sense.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Vec<Heard>, String> {
        self.read.extend_from_slice(bytes);
        let mut heard = Vec::new();
        loop {
            match Packet::read(&mut self.read, PACKET_BYTES_MAX) {
                Ok(Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success => {}
                Ok(Packet::SubAck(_)) => {
                    self.connected = true;
                    heard.push(Heard::Connected);
                }
                Ok(Packet::Publish(publish)) => heard.push(Heard::Payload(publish.payload)),
                Ok(Packet::PingResp) => {}
                Err(Error::InsufficientBytes(_)) => return Ok(heard),
                Ok(packet) => return Err(format!("the door said {packet:?}")),
                Err(error) => return Err(format!("the door said something that is not MQTT: {error:?}")),
            }
        }
    }
}
