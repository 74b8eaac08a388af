//! The session machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    ConnAck, ConnectReturnCode, LastWill, Packet, PubAck, Publish, SubAck, Subscribe, SubscribeReasonCode,
    UnsubAck,
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

    /// Sends a message to the client, QoS 0.
    pub fn send(&mut self, topic: &str, payload: Bytes) {
        self.write(&Packet::Publish(Publish::from_bytes(topic, QoS::AtMostOnce, payload)));
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
        let version = protocol_level(&self.input);
        match Packet::read(&mut self.input, self.limits.connect_bytes_max) {
            // Other versions lay out the rest otherwise, so whatever the codec made of it does not count.
            Ok(_) | Err(_) if version.is_some_and(|level| level != 4) => {
                self.write(&Packet::ConnAck(ConnAck::new(ConnectReturnCode::RefusedProtocolVersion, false)));
                Err(self.close(CloseReason::Version))
            }
            other => self.understood(other),
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
                let answer = answer_subscribe(policy, &subscribe);
                self.write(&answer);
                Ok(None)
            }
            (Packet::Unsubscribe(unsubscribe), State::Open(_)) => {
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

fn answer_subscribe<P: Policy>(policy: &P, subscribe: &Subscribe) -> Packet {
    let code = |filter: &mqttbytes::v4::SubscribeFilter| {
        if !policy.subscribe(&filter.path) {
            return SubscribeReasonCode::Failure;
        }
        // Whatever is asked for, what we send is QoS 0.
        SubscribeReasonCode::Success(QoS::AtMostOnce)
    };
    Packet::SubAck(SubAck::new(subscribe.pkid, subscribe.filters.iter().map(code).collect()))
}

/// The protocol level of a CONNECT whose first bytes are there, also of MQTT 3.1 (`MQIsdp`).
fn protocol_level(input: &[u8]) -> Option<u8> {
    let [0x10, rest @ ..] = input else { return None };
    let length_bytes = rest.iter().take(4).position(|b| b & 0x80 == 0)? + 1;
    let name_length =
        usize::from(u16::from_be_bytes(rest.get(length_bytes..length_bytes + 2)?.try_into().ok()?));
    rest.get(length_bytes + 2 + name_length).copied()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rumqttc::mqttbytes::v4::{Connect, Disconnect, PingReq, Unsubscribe};

    use super::*;

    struct Own;

    impl Policy for Own {
        fn publish(&self, topic: &str) -> Result<(), &'static str> {
            if topic.starts_with("own/") { Ok(()) } else { Err("foreign_topic") }
        }
        fn subscribe(&self, filter: &str) -> bool {
            filter == "own/down"
        }
    }

    const T0: Duration = Duration::from_secs(100);

    fn bytes_of(packets: &[Packet]) -> BytesMut {
        let mut bytes = BytesMut::new();
        packets.iter().for_each(|p| drop(p.write(&mut bytes, usize::MAX)));
        bytes
    }

    fn connect() -> Packet {
        let mut connect = Connect::new("anything");
        connect.set_login("vehicle", "secret");
        connect.last_will = Some(LastWill::new("own/will", "gone", QoS::AtMostOnce, false));
        Packet::Connect(connect)
    }

    fn publish(topic: &str, qos: QoS) -> Packet {
        let mut publish = Publish::from_bytes(topic, qos, Bytes::from_static(b"payload"));
        publish.pkid = 7;
        Packet::Publish(publish)
    }

    /// Everything a session says about a stream of reads.
    fn run(reads: &[&[u8]]) -> (Vec<Event>, Option<CloseReason>, Bytes) {
        let mut session = Session::<Own>::new(Limits::default(), T0);
        let mut events = Vec::new();
        for read in reads {
            session.input().extend_from_slice(read);
            loop {
                match session.poll(T0) {
                    Ok(Some(event)) => {
                        match &event {
                            Event::Login(_) => session.accept(Own, T0),
                            Event::Publish { packet_id: Some(id), .. } => session.acknowledge(*id),
                            Event::Publish { .. } => {}
                        }
                        events.push(event);
                    }
                    Ok(None) => break,
                    Err(reason) => return (events, Some(reason), session.take_output()),
                }
            }
        }
        (events, None, session.take_output())
    }

    #[test]
    fn a_client_logs_in_publishes_and_leaves() {
        let bytes = bytes_of(&[
            connect(),
            Packet::Subscribe(Subscribe::new("own/down", QoS::AtLeastOnce)),
            Packet::Subscribe(Subscribe::new("own/#", QoS::AtMostOnce)),
            publish("own/a", QoS::AtMostOnce),
            publish("own/b", QoS::AtLeastOnce),
            Packet::PingReq,
            Packet::Unsubscribe(Unsubscribe::new("own/down")),
            Packet::Disconnect,
        ]);
        let (events, closed, output) = run(&[&bytes]);
        assert_eq!(events.len(), 3);
        assert_eq!(closed, Some(CloseReason::Goodbye));
        let expected: &[&[u8]] = &[
            &[0x20, 2, 0, 0],
            &[0x90, 3, 0, 0, 0],
            &[0x90, 3, 0, 0, 0x80],
            &[0x40, 2, 0, 7],
            &[0xd0, 0],
            &[0xb0, 2, 0, 0],
        ];
        assert_eq!(output, expected.concat());
        let _ = (PingReq, Disconnect);
    }

    #[test]
    fn what_is_not_permitted_ends_the_session() {
        let mut retained = Publish::from_bytes("own/a", QoS::AtMostOnce, Bytes::new());
        retained.retain = true;
        for (packet, reason) in [
            (publish("other/a", QoS::AtMostOnce), CloseReason::Forbidden("foreign_topic")),
            (publish("own/a", QoS::ExactlyOnce), CloseReason::Unsupported),
            (Packet::Publish(retained), CloseReason::Unsupported),
            (connect(), CloseReason::Unsupported),
        ] {
            let (_, closed, _) = run(&[&bytes_of(&[connect(), packet])]);
            assert_eq!(closed, Some(reason));
        }
        let (_, closed, _) = run(&[&bytes_of(&[publish("own/a", QoS::AtMostOnce)])]);
        assert_eq!(closed, Some(CloseReason::Malformed), "CONNECT comes first");
    }

    #[test]
    fn limits_hold() {
        let mut long = Connect::new("x".repeat(5_000));
        long.set_login("v", "s");
        let (events, closed, _) = run(&[&bytes_of(&[Packet::Connect(long)])]);
        assert_eq!((events.len(), closed), (0, Some(CloseReason::TooLarge)));
        let large = Publish::from_bytes("own/a", QoS::AtMostOnce, Bytes::from(vec![0; 200_000]));
        let (_, closed, _) = run(&[&bytes_of(&[connect(), Packet::Publish(large)])]);
        assert_eq!(closed, Some(CloseReason::TooLarge));
    }

    #[test]
    fn another_version_is_told_so() {
        for bytes in [
            &b"\x10\x10\x00\x04MQTT\x05\x02\x00\x3c\x00\x00\x03abc"[..],
            b"\x10\x11\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03abc",
        ] {
            let (events, closed, output) = run(&[bytes]);
            assert_eq!((events.len(), closed), (0, Some(CloseReason::Version)));
            assert_eq!(output, &[0x20, 2, 0, 1][..]);
        }
    }

    #[test]
    fn silence_ends_it() {
        let mut session = Session::<Own>::new(Limits::default(), T0);
        assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(5));
        assert_eq!(session.handle_timeout(T0 + Duration::from_secs(4)), Ok(()));
        session.input().extend_from_slice(&bytes_of(&[connect()]));
        assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
        session.accept(Own, T0);
        // The default keep-alive of the codec's CONNECT is 10 s.
        assert_eq!(session.poll_timeout(), T0 + Duration::from_secs(15));
        let late = T0 + Duration::from_secs(15);
        assert_eq!(session.handle_timeout(late), Err(CloseReason::KeepAlive));
        assert_eq!(session.take_will(), Some(("own/will".into(), Bytes::from_static(b"gone"))));
    }

    #[test]
    fn a_will_elsewhere_is_void() {
        let mut session = Session::<Own>::new(Limits::default(), T0);
        let mut connect = Connect::new("c");
        connect.last_will = Some(LastWill::new("other/will", "gone", QoS::AtMostOnce, false));
        session.input().extend_from_slice(&bytes_of(&[Packet::Connect(connect)]));
        assert!(matches!(session.poll(T0), Ok(Some(Event::Login(_)))));
        session.accept(Own, T0);
        assert_eq!(session.take_will(), None);
    }

    fn stream() -> BytesMut {
        bytes_of(&[
            connect(),
            Packet::Subscribe(Subscribe::new("own/down", QoS::AtMostOnce)),
            publish("own/a", QoS::AtLeastOnce),
            publish("own/b", QoS::AtMostOnce),
            Packet::PingReq,
            publish("own/c", QoS::AtMostOnce),
            Packet::Disconnect,
        ])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        #[test]
        fn however_it_is_cut_a_stream_means_the_same(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12)) {
            let bytes = stream();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len())).collect();
            at.extend([0, bytes.len()]);
            at.sort_unstable();
            let reads: Vec<&[u8]> = at.windows(2).map(|w| &bytes[w[0]..w[1]]).collect();
            prop_assert_eq!(run(&reads), run(&[&bytes]));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn no_mutated_stream_panics_or_is_kept(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let mut bytes = stream();
            for (at, with) in changes {
                let at = at.index(bytes.len());
                bytes[at] = with;
            }
            let (front, back) = bytes.split_at(cut.index(bytes.len()));
            let (_, _, output) = run(&[front, back]);
            prop_assert!(output.len() < 1024);
        }
    }
}
