//! The session machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, LastWill, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeFilter,
    SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{self, Error, QoS};

/// Bounds of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a client may take to say CONNECT.
    pub connect_within: Duration,
    /// Longest CONNECT, bytes.
    pub connect_bytes_max: usize,
    /// Longest packet after it, bytes.
    pub packet_bytes_max: usize,
    /// How long a client without keep-alive may be silent; also the longest keep-alive that counts.
    pub idle_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_within: Duration::from_secs(5),
            connect_bytes_max: 4 * 1024,
            // A payload of 128 KiB with its topic.
            packet_bytes_max: 128 * 1024 + 512,
            idle_max: Duration::from_secs(1_200),
        }
    }
}

/// What a client may do once it is logged in.
pub trait Policy {
    /// Whether it may publish there; otherwise a stable reason, and the session ends.
    ///
    /// # Errors
    /// The reason.
    fn publish(&self, topic: &str) -> Result<(), &'static str>;
    /// Whether it may subscribe to this filter; otherwise the SUBACK says 0x80.
    fn subscribe(&self, filter: &str) -> bool;
}

/// What a client said in CONNECT.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name for the session; says nothing about who it is.
    pub client_id: String,
    /// Empty when there was none.
    pub username: String,
    /// Empty when there was none.
    pub password: String,
}

/// What the owner of the session must act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Decide, then call [`Session::accept`] or [`Session::refuse`]; nothing else is read before.
    Login(Login),
    /// A permitted message. With a packet id: call [`Session::acknowledge`] once it is in good hands.
    Publish {
        /// Its topic.
        topic: String,
        /// Its payload, shared with the read buffer.
        payload: Bytes,
        /// Only for QoS 1.
        packet_id: Option<u16>,
    },
}

/// Why a session ended; stable codes for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// DISCONNECT: the will is void.
    Goodbye,
    /// Not MQTT, or not as the standard wants it.
    Malformed,
    /// A packet over its limit.
    TooLarge,
    /// No CONNECT in time.
    ConnectTimeout,
    /// Silent for one and a half keep-alives.
    KeepAlive,
    /// A protocol version that is not spoken here.
    Version,
    /// The owner refused the login.
    Refused,
    /// A feature that this endpoint does not have (QoS 2, retained, a second CONNECT).
    Unsupported,
    /// The policy forbids the topic; its reason.
    Forbidden(&'static str),
}

impl CloseReason {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAlive => "keep_alive",
            Self::Version => "version",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::Forbidden(reason) => reason,
        }
    }
}

enum State<P> {
    /// Waiting for CONNECT.
    New,
    /// CONNECT was read; the owner decides.
    Deciding {
        keep_alive: u16,
        will: Option<LastWill>,
    },
    /// Logged in.
    Open(P),
    Closed,
}

/// One client's connection. Times are since any fixed instant, the same for every call.
pub struct Session<P> {
    limits: Limits,
    state: State<P>,
    input: BytesMut,
    output: BytesMut,
    will: Option<LastWill>,
    subscribed: bool,
    silence_max: Duration,
    deadline: Duration,
}

/// Buffers beyond this are given back when they are empty, so that an idle connection costs little.
const KEEP_CAPACITY: usize = 2 * 1024;

impl<P: Policy> Session<P> {
    /// A client that has just connected.
    pub fn new(limits: Limits, now: Duration) -> Self {
        Self {
            state: State::New,
            input: BytesMut::new(),
            output: BytesMut::new(),
            will: None,
            subscribed: false,
            silence_max: limits.idle_max,
            deadline: now + limits.connect_within,
            limits,
        }
    }

    /// Where the owner appends what it read from the socket.
    pub fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Bytes to be written to the socket; take them all.
    pub fn take_output(&mut self) -> Bytes {
        self.output.split().freeze()
    }

    /// Gives back buffers that are larger than an idle connection needs.
    pub fn release_buffers(&mut self) {
        for buffer in [&mut self.input, &mut self.output] {
            if buffer.is_empty() && buffer.capacity() > KEEP_CAPACITY {
                *buffer = BytesMut::new();
            }
        }
    }

    /// When [`Session::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Duration {
        self.deadline
    }

    /// Time has passed.
    ///
    /// # Errors
    /// When the client was silent for too long: the session has ended.
    pub fn handle_timeout(&mut self, now: Duration) -> Result<(), CloseReason> {
        if now < self.deadline {
            return Ok(());
        }
        let reason = if matches!(self.state, State::Open(_)) {
            CloseReason::KeepAlive
        } else {
            CloseReason::ConnectTimeout
        };
        Err(self.close(reason))
    }

    /// The owner listens again after a time in which it did not: that silence was its own, not the client's.
    pub fn resume(&mut self, now: Duration) {
        if matches!(self.state, State::Open(_)) {
            self.deadline = self.deadline.max(now + self.silence_max);
        }
    }

    /// The next event in what was read; `None`: read more.
    ///
    /// # Errors
    /// When the session has ended; write what is in the output, then close the socket.
    pub fn poll(&mut self, now: Duration) -> Result<Option<Event>, CloseReason> {
        loop {
            let packet = match &self.state {
                State::Closed => return Err(CloseReason::Malformed),
                State::Deciding { .. } => return Ok(None),
                State::New => self.read_connect()?,
                State::Open(_) => self.read_packet()?,
            };
            let Some(packet) = packet else { return Ok(None) };
            self.deadline = now + self.silence_max;
            if let Some(event) = self.handle(packet)? {
                return Ok(Some(event));
            }
        }
    }

    /// Lets the client in.
    pub fn accept(&mut self, policy: P, now: Duration) {
        if let State::Deciding { keep_alive, will } = std::mem::replace(&mut self.state, State::Closed) {
            // A will elsewhere is as void as a publish elsewhere.
            self.will = will.filter(|will| policy.publish(&will.topic).is_ok() && !will.retain);
            self.silence_max = match keep_alive {
                0 => self.limits.idle_max,
                seconds => (Duration::from_secs(seconds.into()) * 3 / 2).min(self.limits.idle_max),
            };
            self.deadline = now + self.silence_max;
            self.state = State::Open(policy);
            self.write(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)));
        }
    }

    /// Turns the client away.
    pub fn refuse(&mut self) -> CloseReason {
        self.write(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::NotAuthorized, false)));
        self.close(CloseReason::Refused)
    }

    /// Acknowledges a QoS 1 message.
    pub fn acknowledge(&mut self, packet_id: u16) {
        self.write(&Packet::PubAck(PubAck::new(packet_id)));
    }

    /// Sends a message to the client, QoS 0; false, and nothing is sent, when it subscribed to nothing.
    pub fn send(&mut self, topic: &str, payload: Bytes) -> bool {
        if self.subscribed {
            self.write(&Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, payload)));
        }
        self.subscribed
    }

    /// The will, if it is to be delivered: the connection ended without DISCONNECT.
    pub fn take_will(&mut self) -> Option<(String, Bytes)> {
        self.will.take().map(|will| (will.topic, will.message))
    }

    fn close(&mut self, reason: CloseReason) -> CloseReason {
        if reason == CloseReason::Goodbye {
            self.will = None;
        }
        self.state = State::Closed;
        reason
    }

    fn write(&mut self, packet: &Packet) {
        // The packets are our own and small, or bounded by the owner: the codec has nothing to refuse.
        let _ = packet.write(&mut self.output, usize::MAX);
    }

    fn read_connect(&mut self) -> Result<Option<Packet>, CloseReason> {
        let level = protocol_level(&self.input);
        let read = Packet::read(&mut self.input, self.limits.connect_bytes_max);
        match level {
            Some(level) if level != 4 && !matches!(read, Err(Error::PayloadSizeLimitExceeded(_))) => {
                // Other versions lay out the rest otherwise, so whatever the codec made of it does not count.
                self.refuse_version(level);
                Err(self.close(CloseReason::Version))
            }
            _ => self.understood(read),
        }
    }

    /// Each version is told so in its own words: 5 has its own CONNACK and code ("unsupported protocol version").
    fn refuse_version(&mut self, level: u8) {
        if level >= 5 {
            self.output.extend_from_slice(&[0x20, 3, 0, 0x84, 0]);
        } else {
            self.write(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::RefusedProtocolVersion, false)));
        }
    }

    fn read_packet(&mut self) -> Result<Option<Packet>, CloseReason> {
        let read = Packet::read(&mut self.input, self.limits.packet_bytes_max);
        self.understood(read)
    }

    fn understood(&mut self, read: Result<Packet, Error>) -> Result<Option<Packet>, CloseReason> {
        match read {
            Ok(packet) => Ok(Some(packet)),
            Err(Error::InsufficientBytes(_)) => Ok(None),
            Err(Error::PayloadSizeLimitExceeded { .. }) => Err(self.close(CloseReason::TooLarge)),
            Err(_) => Err(self.close(CloseReason::Malformed)),
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<Option<Event>, CloseReason> {
        match (packet, &self.state) {
            (Packet::Connect(connect), State::New) => {
                let login = connect.login.unwrap_or_else(|| mqttbytes::v4::Login::new("", ""));
                self.state = State::Deciding { keep_alive: connect.keep_alive, will: connect.last_will };
                let (username, password) = (login.username, login.password);
                Ok(Some(Event::Login(Login { client_id: connect.client_id, username, password })))
            }
            (Packet::Publish(publish), State::Open(policy)) => {
                if publish.qos == QoS::ExactlyOnce || publish.retain {
                    return Err(self.close(CloseReason::Unsupported));
                }
                if let Err(reason) = policy.publish(&publish.topic) {
                    return Err(self.close(CloseReason::Forbidden(reason)));
                }
                let packet_id = (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid);
                Ok(Some(Event::Publish { topic: publish.topic, payload: publish.payload, packet_id }))
            }
            (Packet::Subscribe(subscribe), State::Open(policy)) => {
                let (answer, granted) = answer_subscribe(policy, &subscribe);
                self.subscribed |= granted;
                self.write(&answer);
                Ok(None)
            }
            (Packet::Unsubscribe(unsubscribe), State::Open(policy)) => {
                self.subscribed &= !unsubscribe.topics.iter().any(|topic| policy.subscribe(topic));
                self.write(&Packet::UnsubAck(UnsubAck::new(unsubscribe.pkid)));
                Ok(None)
            }
            (Packet::PingReq, State::Open(_)) => {
                self.write(&Packet::PingResp);
                Ok(None)
            }
            // We send QoS 0 only, so this acknowledges nothing; it harms nobody either.
            (Packet::PubAck(_), State::Open(_)) => Ok(None),
            (Packet::Disconnect, State::Open(_)) => Err(self.close(CloseReason::Goodbye)),
            (_, State::New) => Err(self.close(CloseReason::Malformed)),
            _ => Err(self.close(CloseReason::Unsupported)),
        }
    }
}

fn answer_subscribe<P: Policy>(policy: &P, subscribe: &Subscribe) -> (Packet, bool) {
    let granted = |filter: &SubscribeFilter| policy.subscribe(&filter.path);
    let code = |filter: &SubscribeFilter| match granted(filter) {
        false => SubscribeReasonCode::Failure,
        // Whatever is asked for, what we send is QoS 0.
        true => SubscribeReasonCode::Success(QoS::AtMostOnce),
    };
    let answer = SubAck::new(subscribe.pkid, subscribe.filters.iter().map(code).collect());
    (Packet::SubAck(answer), subscribe.filters.iter().any(granted))
}

/// The protocol level of a CONNECT as soon as it is there, also of MQTT 3.1 (`MQIsdp`).
fn protocol_level(input: &[u8]) -> Option<u8> {
    let [0x10, rest @ ..] = input else { return None };
    let length_bytes = rest.iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let (length, rest) = rest.split_at(length_bytes);
    let length = length.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
    // What follows the packet is not its level, whether it was read already or not.
    let packet = &rest[..rest.len().min(length)];
    let name_length = usize::from(u16::from_be_bytes(packet.get(..2)?.try_into().ok()?));
    packet.get(2 + name_length).copied()
}

#[cfg(test)]
mod tests;
