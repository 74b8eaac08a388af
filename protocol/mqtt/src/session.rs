//! The session machine.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use crate::event::{CloseReason, Event, Limits, NotSent, Parting, Policy, Refusal};
use crate::five::{self, Granted, NoRoom, Writer};
use crate::packet::{Connect, Flaw, Packet, Publish, Will, Wishes};
use crate::three;

/// QoS 1 messages of a client of MQTT 5 that may be on their way without an acknowledgement.
pub const RECEIVE_MAX: u16 = 64;
/// Topics that a client of MQTT 5 may give a number: twice what a vehicle publishes to.
pub const TOPIC_ALIAS_MAX: u16 = 8;

enum State<P> {
    /// Waiting for CONNECT.
    New,
    /// CONNECT was read; the owner decides.
    Deciding {
        keep_alive: u16,
        will: Option<Will>,
        anonymous: bool,
    },
    /// Logged in.
    Open(P),
    Closed,
}

/// Which language is spoken.
enum Version {
    /// 3.1.1, also before anything was said.
    Three,
    Five(Box<Five>),
}

/// What only MQTT 5 needs.
#[derive(Default)]
struct Five {
    wishes: Wishes,
    /// Numbers given to topics, at most [`TOPIC_ALIAS_MAX`].
    aliases: Vec<(u16, String)>,
    /// QoS 1 messages read whose acknowledgement the owner has not taken for writing yet.
    unacknowledged: u16,
}

/// One client's connection. Times are since any fixed instant, the same for every call.
pub struct Session<P> {
    limits: Limits,
    state: State<P>,
    version: Version,
    input: BytesMut,
    output: BytesMut,
    will: Option<Will>,
    subscribed: bool,
    filters_refused: u32,
    silence_max: Duration,
    deadline: Duration,
}

/// Buffers beyond this are given back when they are empty, so that an idle connection costs little.
const KEEP_CAPACITY: usize = 2 * 1024;
/// After so many bytes a CONNECT of MQTT has said its version.
const VERSION_WITHIN_BYTES: usize = 12;

impl<P: Policy> Session<P> {
    /// A client that has just connected.
    pub fn new(limits: Limits, now: Duration) -> Self {
        Self {
            state: State::New,
            version: Version::Three,
            input: BytesMut::new(),
            output: BytesMut::new(),
            will: None,
            subscribed: false,
            filters_refused: 0,
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
        if let Version::Five(five) = &mut self.version {
            five.unacknowledged = 0;
        }
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
        match self.state {
            State::Open(_) => Err(self.fail(Flaw::new(CloseReason::KeepAlive, 0x8d))),
            _ => Err(self.close(CloseReason::ConnectTimeout)),
        }
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
                State::Open(_) => self.read(self.limits.packet_bytes_max)?,
            };
            let Some(packet) = packet else { return Ok(None) };
            self.deadline = now + self.silence_max;
            match self.handle(packet) {
                Ok(Some(event)) => return Ok(Some(event)),
                Ok(None) => {}
                Err(flaw) => return Err(self.fail(flaw)),
            }
        }
    }

    /// Lets the client in.
    ///
    /// # Errors
    /// When the session has ended, because the client takes no packet of the length that the answer has.
    pub fn accept(&mut self, policy: P, now: Duration) -> Result<(), CloseReason> {
        let deciding = std::mem::replace(&mut self.state, State::Closed);
        let State::Deciding { keep_alive, will, anonymous } = deciding else { return Ok(()) };
        let (silence_max, keep_alive) = silence(keep_alive, self.limits.idle_max);
        let accepted = match &self.version {
            Version::Three => {
                three::accept(&mut self.output);
                Ok(())
            }
            Version::Five(five) => {
                Writer { output: &mut self.output, wishes: &five.wishes }.accept(Granted {
                    packet_bytes_max: u32::try_from(self.limits.packet_bytes_max).unwrap_or(u32::MAX),
                    receive_max: RECEIVE_MAX,
                    topic_alias_max: TOPIC_ALIAS_MAX,
                    client_id: anonymous.then(|| policy.client_id()),
                    keep_alive,
                })
            }
        };
        accepted.map_err(|NoRoom| CloseReason::NoRoomForAnswer)?;
        // A will elsewhere is as void as a publish elsewhere.
        self.will = will.filter(|will| policy.publish(&will.topic).is_ok() && !will.retain);
        self.silence_max = silence_max;
        self.deadline = now + silence_max;
        self.state = State::Open(policy);
        Ok(())
    }

    /// Turns the client away.
    pub fn refuse(&mut self, refusal: Refusal) -> CloseReason {
        match self.writer() {
            None => three::refuse(&mut self.output, refusal),
            Some(mut writer) => {
                let code = match refusal {
                    Refusal::NotAuthorized => 0x87,
                    Refusal::Unavailable => 0x88,
                    Refusal::Banned => 0x8a,
                    Refusal::RateExceeded => 0x9f,
                };
                // Who takes no packet of any length hears it from the socket.
                let _ = writer.refuse(code, None);
            }
        }
        self.close(CloseReason::Refused)
    }

    /// Ends an open session; the reason goes out with what is in the output.
    pub fn part(&mut self, parting: Parting) -> CloseReason {
        // With words, also because paho reads no reason from a DISCONNECT that has nothing else in it.
        let (code, words) = match parting {
            Parting::Busy => (0x89, "busy"),
            Parting::ShuttingDown => (0x8b, "shutting_down"),
            Parting::TakenOver => (0x8e, "taken_over"),
            Parting::Administrative => (0x98, "administrative"),
        };
        self.last_word(code, Some(words));
        self.close(CloseReason::Parted)
    }

    /// Acknowledges a QoS 1 message.
    pub fn acknowledge(&mut self, packet_id: u16) {
        match self.writer() {
            None => three::acknowledge(&mut self.output, packet_id),
            Some(mut writer) => writer.acknowledge(packet_id),
        }
    }

    /// Sends a message to the client, QoS 0.
    ///
    /// # Errors
    /// When nothing was sent.
    pub fn send(&mut self, topic: &str, payload: Bytes) -> Result<(), NotSent> {
        if !matches!(self.state, State::Open(_)) {
            return Err(NotSent::Closed);
        }
        if !self.subscribed {
            return Err(NotSent::NotSubscribed);
        }
        match self.writer() {
            None => three::publish(&mut self.output, topic, payload),
            Some(mut writer) => writer.publish(topic, &payload).map_err(|NoRoom| NotSent::TooLarge)?,
        }
        Ok(())
    }

    /// The will, if it is to be delivered: the connection ended without DISCONNECT, or with one that wants it.
    pub fn take_will(&mut self) -> Option<(String, Bytes)> {
        self.will.take().map(|will| (will.topic, will.payload))
    }

    /// Filters refused since this was last asked.
    pub fn take_filters_refused(&mut self) -> u32 {
        std::mem::take(&mut self.filters_refused)
    }

    fn writer(&mut self) -> Option<Writer<'_>> {
        match &self.version {
            Version::Three => None,
            Version::Five(five) => Some(Writer { output: &mut self.output, wishes: &five.wishes }),
        }
    }

    /// Says why it ends, in the packet that the standard has for that moment. MQTT 3.1.1 has none.
    fn last_word(&mut self, code: u8, words: Option<&str>) {
        let greeted = matches!(self.state, State::Open(_));
        let Some(mut writer) = self.writer() else { return };
        // Who takes no packet of any length hears it from the socket. [MQTT-3.14.0-1]: no DISCONNECT before CONNACK.
        let _ = if greeted { writer.disconnect(code, words) } else { writer.refuse(code, words) };
    }

    fn fail(&mut self, flaw: Flaw) -> CloseReason {
        if matches!(self.version, Version::Three) && flaw.reason == CloseReason::ClientId {
            three::refuse_client_id(&mut self.output);
        } else if !matches!(self.state, State::Closed) && flaw.code != 0 {
            self.last_word(flaw.code, Some(flaw.reason.code()));
        }
        self.close(flaw.reason)
    }

    fn close(&mut self, reason: CloseReason) -> CloseReason {
        if reason == CloseReason::Goodbye {
            self.will = None;
        }
        self.state = State::Closed;
        reason
    }

    fn read(&mut self, bytes_max: usize) -> Result<Option<Packet>, CloseReason> {
        let read = match &self.version {
            Version::Three => three::read(&mut self.input, bytes_max),
            Version::Five(_) => five::read(&mut self.input, bytes_max),
        };
        read.map_err(|flaw| self.fail(flaw))
    }

    fn read_connect(&mut self) -> Result<Option<Packet>, CloseReason> {
        let bytes_max = self.limits.connect_bytes_max;
        match protocol_level(&self.input) {
            Some(5) if is_mqtt(&self.input) => self.version = Version::Five(Box::default()),
            Some(4) => {}
            // One that is too long may say so in its own version's words, once that is known.
            None if self.input.first() == Some(&0x10) && self.input.len() < VERSION_WITHIN_BYTES => {
                return match three::read(&mut self.input, usize::MAX) {
                    Ok(None) => Ok(None),
                    Ok(Some(_)) | Err(_) => Err(self.close(CloseReason::Malformed)),
                };
            }
            None => {}
            Some(level) => {
                // Other versions lay out the rest otherwise, so that only its length is of interest.
                if let Err(flaw @ Flaw::TOO_LARGE) = three::read(&mut self.input, bytes_max) {
                    return Err(self.fail(flaw));
                }
                self.refuse_version(level);
                return Err(self.close(CloseReason::Version));
            }
        }
        self.read(bytes_max)
    }

    /// Each version is told so in its own words: 5 and later have their own CONNACK and code.
    fn refuse_version(&mut self, level: u8) {
        if level >= 5 {
            self.output.extend_from_slice(&[0x20, 3, 0, 0x84, 0]);
        } else {
            three::refuse_version(&mut self.output);
        }
    }

    fn handle(&mut self, packet: Packet) -> Result<Option<Event>, Flaw> {
        match (packet, &self.state) {
            (Packet::Connect(connect), State::New) => {
                let Connect { login, keep_alive, will, wishes } = *connect;
                if let Version::Five(five) = &mut self.version {
                    five.wishes = wishes;
                }
                let anonymous = login.client_id.is_empty();
                self.state = State::Deciding { keep_alive, will, anonymous };
                Ok(Some(Event::Login(login)))
            }
            (_, State::New) => Err(Flaw::MALFORMED),
            (Packet::Publish(publish), State::Open(policy)) => {
                take(policy, &mut self.version, publish).map(Some)
            }
            (Packet::Subscribe { packet_id, filters }, State::Open(policy)) => {
                let granted: Vec<bool> = filters.iter().map(|filter| policy.subscribe(filter)).collect();
                self.subscribed |= granted.contains(&true);
                let refused = granted.iter().filter(|granted| !**granted).count();
                self.filters_refused = self.filters_refused.saturating_add(refused as u32);
                match self.writer() {
                    None => three::subscribed(&mut self.output, packet_id, granted.into_iter()),
                    Some(mut writer) => writer.subscribed(packet_id, &filters, &granted).map_err(no_room)?,
                }
                Ok(None)
            }
            (Packet::Unsubscribe { packet_id, filters }, State::Open(policy)) => {
                let own: Vec<bool> = filters.iter().map(|filter| policy.subscribe(filter)).collect();
                let had = self.subscribed;
                self.subscribed &= !own.contains(&true);
                match self.writer() {
                    None => three::unsubscribed(&mut self.output, packet_id),
                    Some(mut writer) => {
                        let mut left = had;
                        // The same filter twice in one packet existed once.
                        let existed: Vec<bool> =
                            own.iter().map(|own| *own && std::mem::take(&mut left)).collect();
                        writer.unsubscribed(packet_id, &existed).map_err(no_room)?;
                    }
                }
                Ok(None)
            }
            (Packet::Ping, State::Open(_)) => {
                match self.writer() {
                    None => three::pong(&mut self.output),
                    Some(mut writer) => writer.pong(),
                }
                Ok(None)
            }
            (Packet::Acknowledged, State::Open(_)) => Ok(None),
            (Packet::Disconnect { with_will, session_expiry }, State::Open(_)) => Err(match &self.version {
                // 3.14.2.2.2: who asked for no session cannot ask for one now.
                Version::Five(five) if session_expiry && !five.wishes.session_expiry => Flaw::PROTOCOL,
                _ if with_will => Flaw::new(CloseReason::GoodbyeWithWill, 0),
                _ => Flaw::new(CloseReason::Goodbye, 0),
            }),
            // A second CONNECT [MQTT-3.1.0-2], QoS 2's packets, AUTH [MQTT-4.12.0-7], and what only servers say.
            _ => Err(Flaw::new(CloseReason::Unsupported, 0x82)),
        }
    }
}

fn no_room(NoRoom: NoRoom) -> Flaw {
    Flaw::new(CloseReason::NoRoomForAnswer, 0x95)
}

/// Takes a PUBLISH: resolves its alias, asks the policy, counts.
fn take<P: Policy>(policy: &P, version: &mut Version, publish: Publish) -> Result<Event, Flaw> {
    let Publish { mut topic, alias, payload, packet_id, trace_parent } = publish;
    if let (Some(alias), Version::Five(five)) = (alias, &*version) {
        // [MQTT-3.3.2-8], [MQTT-3.3.2-9]
        if alias == 0 || alias > TOPIC_ALIAS_MAX {
            return Err(Flaw::new(CloseReason::TopicAlias, 0x94));
        }
        if topic.is_empty() {
            let known = five.aliases.iter().find(|(number, _)| *number == alias);
            topic.clone_from(&known.ok_or(Flaw::PROTOCOL)?.1);
        }
    }
    policy.publish(&topic).map_err(|reason| Flaw::new(CloseReason::Forbidden(reason), 0x87))?;
    if let Version::Five(five) = version {
        if let Some(alias) = alias {
            five.learn(alias, &topic);
        }
        if packet_id.is_some() {
            five.unacknowledged += 1;
            // [MQTT-3.3.4-7]
            if five.unacknowledged > RECEIVE_MAX {
                return Err(Flaw::new(CloseReason::ReceiveMaximum, 0x93));
            }
        }
    }
    Ok(Event::Publish { topic, payload, packet_id, trace_parent })
}

impl Five {
    /// A number's newest topic is the one that counts.
    fn learn(&mut self, alias: u16, topic: &str) {
        match self.aliases.iter_mut().find(|(number, _)| *number == alias) {
            Some((_, known)) if known == topic => {}
            Some((_, known)) => topic.clone_into(known),
            None => self.aliases.push((alias, topic.to_owned())),
        }
    }
}

/// How long a client may be silent: one and a half keep-alives, within bounds. Where they cut it short, also the
/// keep-alive that it is to have instead, s [MQTT-3.2.2-21].
fn silence(keep_alive: u16, idle_max: Duration) -> (Duration, Option<u16>) {
    let wanted = Duration::from_secs(keep_alive.into()) * 3 / 2;
    if keep_alive > 0 && wanted <= idle_max {
        return (wanted, None);
    }
    (idle_max, Some(u16::try_from(idle_max.as_secs() * 2 / 3).unwrap_or(u16::MAX).max(1)))
}

/// Whether a CONNECT that has said its level has the protocol's name.
fn is_mqtt(input: &[u8]) -> bool {
    let length_bytes = input.iter().skip(1).take(4).take_while(|byte| *byte & 0x80 != 0).count() + 1;
    input.get(1 + length_bytes..).is_some_and(|packet| packet.starts_with(b"\0\x04MQTT"))
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
mod five_tests;
#[cfg(test)]
mod tests;
