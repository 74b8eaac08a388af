//! A small MQTT 3.1.1 client for simulators: QoS 0, no state but its buffers, about 1 KB when idle.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use remuda_wire::topic::Channel;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Disconnect, LastWill, Packet, PingReq, Publish, Subscribe,
};
use rumqttc::mqttbytes::{Error as CodecError, QoS};
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::{CONNECT_S, Link, LinkEvent, LinkSettings, PACKET_BYTES_MAX};

/// Bytes read at once.
const READ_BYTES: usize = 4 * 1024;

/// See the module.
pub struct ThinMqtt {
    settings: LinkSettings,
    state: State,
    written: u64,
}

enum State {
    Idle,
    // Kept over calls of `next`: dropped, it would begin anew.
    Connecting(Pin<Box<dyn Future<Output = io::Result<Connection>> + Send>>),
    GivenUp,
    Up(Box<Connection>),
}

struct Connection {
    stream: TcpStream,
    read: BytesMut,
    write: BytesMut,
    subscribed: bool,
    deadline: Instant,
    ping_at: Instant,
    heard: Instant,
    closing: bool,
}

impl std::fmt::Debug for ThinMqtt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ThinMqtt").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl ThinMqtt {
    /// Not yet connected.
    pub fn new(settings: LinkSettings) -> Self {
        Self { settings, state: State::Idle, written: 0 }
    }

    async fn establish(settings: LinkSettings, will: Vec<u8>) -> io::Result<Connection> {
        let limit = Duration::from_secs(CONNECT_S);
        let connecting = TcpStream::connect(&settings.door);
        let stream = tokio::time::timeout(limit, connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let mut connect = Connect::new(settings.vehicle.as_str());
        connect.keep_alive = settings.keep_alive_s;
        connect.set_login(settings.vehicle.as_str(), settings.secret.as_str());
        let will_topic = settings.up(Channel::Session);
        connect.last_will = Some(LastWill::new(will_topic, will, QoS::AtMostOnce, false));
        let mut subscribe = Subscribe::new(settings.down(), QoS::AtMostOnce);
        subscribe.pkid = 1;
        let mut write = BytesMut::new();
        let written = connect.write(&mut write).and_then(|_| subscribe.write(&mut write));
        written.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let now = Instant::now();
        Ok(Connection {
            stream,
            read: BytesMut::new(),
            write,
            subscribed: false,
            deadline: now + limit,
            ping_at: now + Duration::from_secs(u64::from(settings.keep_alive_s)),
            heard: now,
            closing: false,
        })
    }
}

impl Connection {
    /// Works until something happened.
    async fn drive(&mut self, keep_alive: Duration, written: &mut u64) -> io::Result<LinkEvent> {
        loop {
            if let Some(event) = self.take_packets()? {
                return Ok(event);
            }
            if self.closing && self.write.is_empty() {
                return Ok(LinkEvent::Closed("said farewell".to_owned()));
            }
            let interest = if self.write.is_empty() {
                Interest::READABLE
            } else {
                Interest::READABLE | Interest::WRITABLE
            };
            let wake = if self.subscribed { self.ping_at } else { self.deadline };
            tokio::select! {
                ready = self.stream.ready(interest) => {
                    let ready = ready?;
                    if ready.is_writable() && !self.write.is_empty() {
                        self.write_some(written)?;
                    }
                    if ready.is_readable() || ready.is_read_closed() {
                        self.read_some()?;
                    }
                }
                () = sleep_until(wake) => self.keep_alive(keep_alive)?,
            }
        }
    }

    fn write_some(&mut self, written: &mut u64) -> io::Result<()> {
        match self.stream.try_write(&self.write) {
            Ok(bytes) => {
                *written += bytes as u64;
                self.write.advance(bytes);
                if self.write.is_empty() {
                    // An idle vehicle keeps no buffer.
                    self.write = BytesMut::new();
                }
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn read_some(&mut self) -> io::Result<()> {
        self.read.reserve(READ_BYTES);
        match self.stream.try_read_buf(&mut self.read) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => {
                self.heard = Instant::now();
                Ok(())
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn keep_alive(&mut self, interval: Duration) -> io::Result<()> {
        let now = Instant::now();
        if !self.subscribed || now.duration_since(self.heard) > interval * 5 / 2 {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the door does not answer"));
        }
        self.ping_at = now + interval;
        PingReq.write(&mut self.write).map(|_| ()).map_err(|error| io::Error::other(format!("{error:?}")))
    }

    fn take_packets(&mut self) -> io::Result<Option<LinkEvent>> {
        while !self.read.is_empty() {
            match Packet::read(&mut self.read, PACKET_BYTES_MAX) {
                Ok(Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success => {}
                Ok(Packet::ConnAck(ack)) => {
                    return Err(io::Error::other(format!("the door refuses this vehicle: {:?}", ack.code)));
                }
                Ok(Packet::SubAck(_)) => {
                    self.subscribed = true;
                    return Ok(Some(LinkEvent::Connected));
                }
                // Copied, so that a short answer does not hold on to the read buffer.
                Ok(Packet::Publish(publish)) => {
                    return Ok(Some(LinkEvent::Payload(Bytes::copy_from_slice(&publish.payload))));
                }
                Ok(_) => {}
                Err(CodecError::InsufficientBytes(_)) => return Ok(None),
                Err(error) => {
                    return Err(io::Error::other(format!("the door does not speak MQTT: {error:?}")));
                }
            }
        }
        self.read = BytesMut::new();
        Ok(None)
    }
}

impl Link for ThinMqtt {
    fn connect(&mut self, will: Vec<u8>) {
        self.state = State::Connecting(Box::pin(Self::establish(self.settings.clone(), will)));
    }

    fn send(&mut self, channel: Channel, payload: Vec<u8>) {
        if let State::Up(connection) = &mut self.state {
            let publish = Publish::from_bytes(self.settings.up(channel), QoS::AtMostOnce, payload.into());
            // Our topics are short and payloads below the limit: the codec has nothing to refuse.
            if let Err(error) = publish.write(&mut connection.write) {
                tracing::error!(?error, "a message cannot be encoded");
            }
            connection.ping_at = Instant::now() + Duration::from_secs(u64::from(self.settings.keep_alive_s));
        }
    }

    fn close(&mut self) {
        match &mut self.state {
            State::Up(connection) => {
                connection.closing = true;
                // Two bytes; see `send`.
                let _ = Disconnect.write(&mut connection.write);
            }
            State::Connecting(_) | State::Idle | State::GivenUp => self.state = State::GivenUp,
        }
    }

    fn queued(&self) -> usize {
        if let State::Up(connection) = &self.state { connection.write.len() } else { 0 }
    }

    fn bytes_written(&self) -> u64 {
        self.written
    }

    async fn next(&mut self) -> LinkEvent {
        loop {
            match &mut self.state {
                State::Idle => std::future::pending().await,
                State::GivenUp => {
                    self.state = State::Idle;
                    return LinkEvent::Closed("given up".to_owned());
                }
                State::Connecting(connecting) => match connecting.as_mut().await {
                    Ok(connection) => self.state = State::Up(Box::new(connection)),
                    Err(error) => {
                        self.state = State::Idle;
                        return LinkEvent::Closed(error.to_string());
                    }
                },
                State::Up(connection) => {
                    let keep_alive = Duration::from_secs(u64::from(self.settings.keep_alive_s));
                    let event = connection.drive(keep_alive, &mut self.written).await;
                    let event = event.unwrap_or_else(|error| LinkEvent::Closed(error.to_string()));
                    if matches!(event, LinkEvent::Closed(_)) {
                        self.state = State::Idle;
                    }
                    return event;
                }
            }
        }
    }
}
