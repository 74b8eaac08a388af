//! MQTT 5 on the wire, by mqtt-proto's codec, which is strict about properties. The numbers in brackets are the
//! standard's normative statements.

use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use mqtt_proto::v5::{
    self, Connack, ConnectReasonCode, Disconnect, DisconnectReasonCode, ErrorV5, Header, PacketType,
    PublishProperties, Suback, SubackProperties, SubscribeReasonCode, Unsuback, UnsubscribeReasonCode,
    UserProperty,
};
use mqtt_proto::{Error, Pid, QoS, TopicName};

use crate::event::{CloseReason, Login};
use crate::packet::{Connect, Flaw, Packet, Publish, Will, Wishes};

/// The user property that carries trace context.
const TRACE_PARENT: &str = "traceparent";
/// Longest that is passed on, bytes; the one version of it that there is has 55.
const TRACE_PARENT_BYTES_MAX: usize = 64;
/// Where CONNECT has its flags: after the protocol's name and level.
const CONNECT_FLAGS_AT: usize = 7;

/// The next packet; `None`: read more.
pub(crate) fn read(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Packet>, Flaw> {
    let Some((header_bytes, body_bytes)) = lengths(input)? else { return Ok(None) };
    let total = header_bytes + body_bytes;
    if total > bytes_max {
        return Err(Flaw::TOO_LARGE);
    }
    if input.len() < total {
        return Ok(None);
    }
    let frame = input.split_to(total).freeze();
    // Both fit: a length has at most four bytes of seven bits.
    let header = Header::new_with(frame[0], body_bytes as u32, total as u32).map_err(flaw)?;
    understand(header, &frame.slice(header_bytes..)).map(Some)
}

/// Bytes of the fixed header and of what follows it, once they are there.
fn lengths(input: &[u8]) -> Result<Option<(usize, usize)>, Flaw> {
    let mut length = 0;
    for (index, byte) in input.iter().skip(1).take(4).enumerate() {
        length |= usize::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok(Some((index + 2, length)));
        }
    }
    if input.len() > 4 { Err(Flaw::MALFORMED) } else { Ok(None) }
}

fn understand(header: Header, body: &Bytes) -> Result<Packet, Flaw> {
    let at = &mut 0;
    let packet = match header.typ {
        PacketType::Connect => {
            Packet::Connect(Box::new(connect(v5::Connect::decode(body, at, header).map_err(flaw)?, body)?))
        }
        PacketType::Publish => return publish(header, body).map(Packet::Publish),
        PacketType::Subscribe => subscribe(v5::Subscribe::decode(body, at, header).map_err(flaw)?)?,
        PacketType::Unsubscribe => {
            let unsubscribe = v5::Unsubscribe::decode(body, at, header).map_err(flaw)?;
            texts(&unsubscribe.properties.user_properties)?;
            let filters = unsubscribe.topics.iter().map(|filter| filter.to_string()).collect();
            Packet::Unsubscribe { packet_id: unsubscribe.pid.value(), filters }
        }
        PacketType::Puback => {
            v5::Puback::decode(body, at, header).map_err(flaw)?;
            Packet::Acknowledged
        }
        PacketType::Pingreq => Packet::Ping,
        PacketType::Disconnect => {
            let disconnect = Disconnect::decode(body, at, header).map_err(flaw)?;
            let expiry = disconnect.properties.session_expiry_interval;
            Packet::Disconnect {
                // [MQTT-3.14.4-3]: only a normal end voids the will.
                with_will: disconnect.reason_code != DisconnectReasonCode::NormalDisconnect,
                session_expiry: expiry.is_some_and(|seconds| seconds > 0),
            }
        }
        _ => return Ok(Packet::Foreign),
    };
    // The codec reads what it expects; what follows it belongs to nothing.
    if *at == body.len() { Ok(packet) } else { Err(Flaw::MALFORMED) }
}

fn connect(connect: v5::Connect, body: &[u8]) -> Result<Connect, Flaw> {
    let properties = &connect.properties;
    texts(&properties.user_properties)?;
    // [MQTT-3.1.2-13]: a will that is not there is not retained either.
    let will_flags = body.get(CONNECT_FLAGS_AT).map_or(0, |flags| flags & 0b10_0100);
    if will_flags == 0b10_0000 || connect.client_id.contains('\0') {
        return Err(Flaw::MALFORMED);
    }
    if properties.receive_max == Some(0)
        || properties.max_packet_size == Some(0)
        || (properties.auth_method.is_none() && properties.auth_data.is_some())
    {
        return Err(Flaw::PROTOCOL);
    }
    if properties.auth_method.is_some() {
        // [MQTT-4.12.0-1]
        return Err(Flaw::new(CloseReason::Unsupported, 0x8c));
    }
    let will = match connect.last_will {
        // [MQTT-3.2.2-12]
        Some(will) if will.qos == QoS::Level2 => return Err(Flaw::QOS),
        // [MQTT-3.2.2-13]
        Some(will) if will.retain => return Err(Flaw::RETAIN),
        // Its delay ends with the session at the latest [MQTT-3.1.2-8], and ours ends with the connection.
        will => {
            will.map(|will| Will { topic: will.topic_name.to_string(), payload: will.payload, retain: false })
        }
    };
    let username = connect.username.map_or_else(String::new, |name| name.to_string());
    if username.contains('\0') {
        return Err(Flaw::MALFORMED);
    }
    let password = connect.password.unwrap_or_default();
    Ok(Connect {
        login: Login {
            client_id: connect.client_id.to_string(),
            username,
            // Ours are text; any other is wrong and stays wrong.
            password: String::from_utf8_lossy(&password).into_owned(),
        },
        keep_alive: connect.keep_alive,
        will,
        wishes: Wishes {
            packet_bytes_max: properties.max_packet_size.unwrap_or(u32::MAX),
            problem_information: properties.request_problem_info.unwrap_or(true),
            session_expiry: properties.session_expiry_interval.is_some_and(|seconds| seconds > 0),
        },
    })
}

/// Read by hand, so that the payload stays where it is.
fn publish(header: Header, body: &Bytes) -> Result<Publish, Flaw> {
    match header.qos {
        QoS::Level2 => return Err(Flaw::QOS),
        // [MQTT-3.3.1-2]
        QoS::Level0 if header.dup => return Err(Flaw::PROTOCOL),
        _ => {}
    }
    if header.retain {
        return Err(Flaw::RETAIN);
    }
    let (length, rest) = body.split_first_chunk::<2>().ok_or(Flaw::MALFORMED)?;
    let length = usize::from(u16::from_be_bytes(*length));
    let topic =
        rest.get(..length).and_then(|topic| std::str::from_utf8(topic).ok()).ok_or(Flaw::MALFORMED)?;
    // [MQTT-3.3.2-2], [MQTT-1.5.4-2]
    if TopicName::is_invalid(topic) {
        return Err(Flaw::MALFORMED);
    }
    let mut at = 2 + length;
    let mut packet_id = None;
    if header.qos == QoS::Level1 {
        let bytes = body.get(at..at + 2).and_then(|bytes| bytes.try_into().ok()).ok_or(Flaw::MALFORMED)?;
        packet_id = Some(u16::from_be_bytes(bytes));
        at += 2;
    }
    let properties = PublishProperties::decode(body, &mut at, PacketType::Publish).map_err(flaw)?;
    texts(&properties.user_properties)?;
    if packet_id == Some(0) || properties.subscription_id.is_some() {
        // [MQTT-2.2.1-3], [MQTT-3.3.4-6]
        return Err(Flaw::PROTOCOL);
    }
    if topic.is_empty() && properties.topic_alias.is_none() {
        return Err(Flaw::PROTOCOL);
    }
    let is_trace = |property: &&UserProperty| {
        &*property.name == TRACE_PARENT && property.value.len() <= TRACE_PARENT_BYTES_MAX
    };
    Ok(Publish {
        topic: topic.to_owned(),
        alias: properties.topic_alias,
        payload: body.slice(at..),
        packet_id,
        trace_parent: properties
            .user_properties
            .iter()
            .find(is_trace)
            .map(|property| Box::from(&*property.value)),
    })
}

fn subscribe(subscribe: v5::Subscribe) -> Result<Packet, Flaw> {
    texts(&subscribe.properties.user_properties)?;
    if subscribe.properties.subscription_id.is_some() {
        return Err(Flaw::new(CloseReason::Unsupported, 0xa1));
    }
    // [MQTT-3.8.3-4]
    if subscribe.topics.iter().any(|(filter, options)| filter.is_shared() && options.no_local) {
        return Err(Flaw::PROTOCOL);
    }
    let filters = subscribe.topics.iter().map(|(filter, _)| filter.to_string()).collect();
    Ok(Packet::Subscribe { packet_id: subscribe.pid.value(), filters })
}

/// [MQTT-1.5.4-2]: no text has a NUL in it.
fn texts(properties: &[UserProperty]) -> Result<(), Flaw> {
    let broken =
        properties.iter().any(|property| property.name.contains('\0') || property.value.contains('\0'));
    if broken { Err(Flaw::MALFORMED) } else { Ok(()) }
}

fn flaw(error: ErrorV5) -> Flaw {
    match error {
        ErrorV5::DuplicatedProperty(_)
        | ErrorV5::InvalidByteProperty(..)
        | ErrorV5::InvalidResponseTopic
        | ErrorV5::Common(Error::EmptySubscription | Error::ZeroPid) => Flaw::PROTOCOL,
        // [MQTT-3.8.3-5] is about the reserved bits; a QoS or retain handling of 3 is a protocol error.
        ErrorV5::InvalidSubscriptionOption(byte) if byte & 0b1100_0000 == 0 => Flaw::PROTOCOL,
        _ => Flaw::MALFORMED,
    }
}

/// What a client that was let in is told.
pub(crate) struct Granted {
    pub packet_bytes_max: u32,
    pub receive_max: u16,
    pub topic_alias_max: u16,
    /// Only for a client that came without one.
    pub client_id: Option<String>,
    /// Only where it is not what the client asked for, s.
    pub keep_alive: Option<u16>,
}

/// Why something must be said and cannot: the client takes no packet of that length.
#[derive(Debug)]
pub(crate) struct NoRoom;

/// What we say to a client of MQTT 5.
pub(crate) struct Writer<'a> {
    pub output: &'a mut BytesMut,
    pub wishes: &'a Wishes,
}

impl Writer<'_> {
    fn write(&mut self, packet: &v5::Packet) -> Result<(), NoRoom> {
        // Our own packets are never too long for the standard, so they always encode.
        let Ok(bytes) = packet.encode() else { return Err(NoRoom) };
        let bytes = bytes.as_ref();
        // [MQTT-3.1.2-24]
        if bytes.len() as u64 > u64::from(self.wishes.packet_bytes_max) {
            return Err(NoRoom);
        }
        self.output.extend_from_slice(bytes);
        Ok(())
    }

    pub fn accept(&mut self, granted: Granted) -> Result<(), NoRoom> {
        let mut connack = Connack::new(false, ConnectReasonCode::Success);
        let properties = &mut connack.properties;
        // We keep none, whatever was asked for.
        properties.session_expiry_interval = self.wishes.session_expiry.then_some(0);
        properties.receive_max = Some(granted.receive_max);
        properties.max_qos = Some(QoS::Level1);
        properties.retain_available = Some(false);
        properties.max_packet_size = Some(granted.packet_bytes_max);
        properties.assigned_client_id = granted.client_id.map(Arc::from);
        properties.topic_alias_max = Some(granted.topic_alias_max);
        properties.wildcard_subscription_available = Some(false);
        properties.subscription_id_available = Some(false);
        properties.shared_subscription_available = Some(false);
        properties.server_keep_alive = granted.keep_alive;
        self.write(&connack.into())
    }

    /// A CONNACK that turns away; the reason in words where there is room for it.
    pub fn refuse(&mut self, code: u8, words: Option<&str>) -> Result<(), NoRoom> {
        let code = ConnectReasonCode::from_u8(code).unwrap_or(ConnectReasonCode::UnspecifiedError);
        let mut connack = Connack::new(false, code);
        connack.properties.reason_string = words.map(Arc::from);
        let said = self.write(&connack.into());
        if words.is_some() { said.or_else(|_| self.write(&Connack::new(false, code).into())) } else { said }
    }

    /// A DISCONNECT; the reason in words where there is room for it.
    pub fn disconnect(&mut self, code: u8, words: Option<&str>) -> Result<(), NoRoom> {
        let code = DisconnectReasonCode::from_u8(code).unwrap_or(DisconnectReasonCode::UnspecifiedError);
        let mut disconnect = Disconnect::new(code);
        disconnect.properties.reason_string = words.map(Arc::from);
        let said = self.write(&disconnect.into());
        if words.is_some() { said.or_else(|_| self.write(&Disconnect::new(code).into())) } else { said }
    }

    pub fn acknowledge(&mut self, packet_id: u16) {
        let [high, low] = packet_id.to_be_bytes();
        self.output.extend_from_slice(&[0x40, 2, high, low]);
    }

    pub fn pong(&mut self) {
        self.output.extend_from_slice(&[0xd0, 0]);
    }

    /// What we send is QoS 0, whatever is asked for.
    pub fn subscribed(&mut self, packet_id: u16, filters: &[String], granted: &[bool]) -> Result<(), NoRoom> {
        let code = |(filter, granted): (&String, &bool)| match granted {
            true => SubscribeReasonCode::GrantedQoS0,
            false if filter.starts_with(mqtt_proto::SHARED_PREFIX) => {
                SubscribeReasonCode::SharedSubscriptionNotSupported
            }
            false if filter.contains(['+', '#']) => SubscribeReasonCode::WildcardSubscriptionsNotSupported,
            false => SubscribeReasonCode::NotAuthorized,
        };
        let refused = granted.contains(&false);
        let mut properties = SubackProperties::default();
        // [MQTT-3.1.2-29]
        if refused && self.wishes.problem_information {
            properties.reason_string = Some(Arc::from("only your own down topic may be subscribed to"));
        }
        let mut suback = Suback {
            pid: pid(packet_id)?,
            properties,
            topics: filters.iter().zip(granted).map(code).collect(),
        };
        let said = self.write(&suback.clone().into());
        if said.is_ok() || suback.properties.reason_string.is_none() {
            return said;
        }
        // [MQTT-3.9.2-1]
        suback.properties.reason_string = None;
        self.write(&suback.into())
    }

    pub fn unsubscribed(&mut self, packet_id: u16, existed: &[bool]) -> Result<(), NoRoom> {
        let code = |existed: &bool| match existed {
            true => UnsubscribeReasonCode::Success,
            false => UnsubscribeReasonCode::NoSubscriptionExisted,
        };
        let topics = existed.iter().map(code).collect();
        self.write(&Unsuback { pid: pid(packet_id)?, properties: Default::default(), topics }.into())
    }

    /// A message, QoS 0, without properties. By hand, so that the payload is copied once.
    pub fn publish(&mut self, topic: &str, payload: &[u8]) -> Result<(), NoRoom> {
        let body = 2 + topic.len() + 1 + payload.len();
        let total = mqtt_proto::total_len(body).map_err(|_| NoRoom)?;
        let length = u16::try_from(topic.len()).map_err(|_| NoRoom)?;
        // [MQTT-3.1.2-24]
        if total as u64 > u64::from(self.wishes.packet_bytes_max) {
            return Err(NoRoom);
        }
        self.output.reserve(total);
        self.output.put_u8(0x30);
        let mut rest = body;
        while rest >= 0x80 {
            self.output.put_u8((rest & 0x7f) as u8 | 0x80);
            rest >>= 7;
        }
        self.output.put_u8(rest as u8);
        self.output.put_u16(length);
        self.output.extend_from_slice(topic.as_bytes());
        self.output.put_u8(0);
        self.output.extend_from_slice(payload);
        Ok(())
    }
}

/// The codec let no packet with id 0 through.
fn pid(packet_id: u16) -> Result<Pid, NoRoom> {
    Pid::try_from(packet_id).map_err(|_| NoRoom)
}
