//! A small MQTT 3.1.1 client: QoS 0, no state but its buffers, about 1 KB when idle. The same in a vehicle and, many
//! thousand times, in a simulator.

use std::future::Future;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use remuda_wire::topic::Channel;
use rumqttc::mqttbytes::v4::{
    Connect, ConnectReturnCode, Disconnect, LastWill, Packet, PingReq, Publish, Subscribe,
};
use rumqttc::mqttbytes::{Error as CodecError, QoS};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, sleep_until, timeout_at};

use super::connect::{Stream, connect};
use super::{CLOSE_S, CONNECT_S, Link, LinkEvent, LinkSettings, PACKET_BYTES_MAX, Security};
use crate::identity::explain;

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
    Connecting(Pin<Box<dyn Future<Output = Result<Connection, Failure>> + Send>>),
    GivenUp,
    Up(Box<Connection>),
}

struct Connection {
    stream: Stream,
    read: BytesMut,
    write: BytesMut,
    /// Something was written that the stream may still hold.
    unflushed: bool,
    subscribed: bool,
    /// Until then it must be subscribed.
    deadline: Instant,
    ping_at: Instant,
    heard: Instant,
    /// Until then the last messages must be out.
    closing: Option<Instant>,
}

/// Why there is no connection any more.
enum Failure {
    Io(io::Error),
    /// A person must do something; what, in a sentence.
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
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

    async fn establish(settings: LinkSettings, will: Vec<u8>) -> Result<Connection, Failure> {
        let deadline = Instant::now() + Duration::from_secs(CONNECT_S);
        let connecting = timeout_at(deadline, connect(&settings)).await;
        let stream = connecting.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let secret = match &settings.security {
            Security::Plain { secret } => secret.as_str(),
            Security::Tls(_) => "",
        };
        let mut login = Connect::new(settings.vehicle.as_str());
        login.keep_alive = settings.keep_alive_s;
        login.set_login(settings.vehicle.as_str(), secret);
        let will_topic = settings.up(Channel::Session);
        login.last_will = Some(LastWill::new(will_topic, will, QoS::AtMostOnce, false));
        let mut subscribe = Subscribe::new(settings.down(), QoS::AtMostOnce);
        subscribe.pkid = 1;
        let mut write = BytesMut::new();
        let written = login.write(&mut write).and_then(|_| subscribe.write(&mut write));
        written.map_err(|error| io::Error::other(format!("{error:?}")))?;
        let now = Instant::now();
        Ok(Connection {
            stream,
            read: BytesMut::new(),
            write,
            unflushed: false,
            subscribed: false,
            deadline,
            ping_at: now + Duration::from_secs(u64::from(settings.keep_alive_s)),
            heard: now,
            closing: None,
        })
    }

    /// What a failure means for whoever drives this.
    fn ended(&self, failure: Failure) -> LinkEvent {
        match failure {
            Failure::Refused(sentence) => LinkEvent::Refused(sentence),
            Failure::Io(error) => {
                let fault = explain(&error, &self.settings.door);
                if fault.lasting {
                    LinkEvent::Refused(fault.sentence)
                } else {
                    LinkEvent::Closed(fault.sentence)
                }
            }
        }
    }
}

impl Connection {
    /// Works until something happened.
    async fn drive(&mut self, keep_alive: Duration, written: &mut u64) -> Result<LinkEvent, Failure> {
        loop {
            if let Some(event) = self.take_packets()? {
                return Ok(event);
            }
            if self.closing.is_some() && self.write.is_empty() && !self.unflushed {
                self.say_goodbye().await;
                return Ok(LinkEvent::Closed("said farewell".to_owned()));
            }
            let wake = self.closing.unwrap_or(if self.subscribed { self.ping_at } else { self.deadline });
            tokio::select! {
                moved = std::future::poll_fn(|cx| self.poll_bytes(cx, written)) => moved?,
                () = sleep_until(wake) => self.keep_alive(keep_alive)?,
            }
        }
    }

    /// Moves bytes both ways; ready when some were.
    fn poll_bytes(&mut self, cx: &mut Context<'_>, written: &mut u64) -> Poll<io::Result<()>> {
        let mut moved = false;
        // First what the door says: it may be why it will not be written to any more.
        let mut space = [MaybeUninit::uninit(); READ_BYTES];
        let mut space = ReadBuf::uninit(&mut space);
        if Pin::new(&mut self.stream).poll_read(cx, &mut space)?.is_ready() {
            if space.filled().is_empty() {
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
            self.read.extend_from_slice(space.filled());
            self.heard = Instant::now();
            moved = true;
        }
        while !self.write.is_empty() {
            let Poll::Ready(bytes) = Pin::new(&mut self.stream).poll_write(cx, &self.write)? else { break };
            if bytes == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *written += bytes as u64;
            self.write.advance(bytes);
            (self.unflushed, moved) = (true, true);
            if self.write.is_empty() {
                // An idle vehicle keeps no buffer.
                self.write = BytesMut::new();
            }
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            (self.unflushed, moved) = (false, true);
        }
        if moved { Poll::Ready(Ok(())) } else { Poll::Pending }
    }

    /// TLS has a goodbye of its own; without it the door could not tell a farewell from a cut wire.
    async fn say_goodbye(&mut self) {
        let Some(until) = self.closing else { return };
        let closing = std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx));
        let _ = timeout_at(until, closing).await;
    }

    fn keep_alive(&mut self, interval: Duration) -> io::Result<()> {
        let now = Instant::now();
        if !self.subscribed || self.closing.is_some() || now.duration_since(self.heard) > interval * 5 / 2 {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.ping_at = now + interval;
        PingReq.write(&mut self.write).map(|_| ()).map_err(|error| io::Error::other(format!("{error:?}")))
    }

    fn take_packets(&mut self) -> Result<Option<LinkEvent>, Failure> {
        while !self.read.is_empty() {
            match Packet::read(&mut self.read, PACKET_BYTES_MAX) {
                Ok(Packet::ConnAck(ack)) if ack.code == ConnectReturnCode::Success => {}
                Ok(Packet::ConnAck(ack)) => {
                    return Err(refused(ack.code));
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
                    return Err(Failure::Refused(format!(
                        "the door does not speak MQTT ({error:?}); check the address and the port"
                    )));
                }
            }
        }
        self.read = BytesMut::new();
        Ok(None)
    }
}

/// Why the door does not let this vehicle in.
fn refused(code: ConnectReturnCode) -> Failure {
    match code {
        ConnectReturnCode::BadUserNamePassword | ConnectReturnCode::NotAuthorized => Failure::Refused(
            "the door does not let this vehicle in: it is not enrolled there, or was revoked; have it allowed, or enrol \
             again with remuda-agent enroll"
                .to_owned(),
        ),
        // The cloud is busy or stops: it will be better.
        ConnectReturnCode::ServiceUnavailable => {
            Failure::Io(io::Error::other("the door takes nobody at the moment"))
        }
        other => Failure::Refused(format!(
            "the door does not let this vehicle in ({other:?}); check that cloud and agent are of one release"
        )),
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
                connection.closing.get_or_insert(Instant::now() + Duration::from_secs(CLOSE_S));
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
                    Err(failure) => {
                        self.state = State::Idle;
                        return self.ended(failure);
                    }
                },
                State::Up(connection) => {
                    let keep_alive = Duration::from_secs(u64::from(self.settings.keep_alive_s));
                    let event = connection.drive(keep_alive, &mut self.written).await;
                    let ended = match event {
                        Ok(event @ (LinkEvent::Connected | LinkEvent::Payload(_))) => return event,
                        Ok(event) => event,
                        Err(failure) => self.ended(failure),
                    };
                    self.state = State::Idle;
                    return ended;
                }
            }
        }
    }
}
