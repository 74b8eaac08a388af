//! MQTT 3.1.1 on the wire, by rumqttc's codec.

use bytes::{Bytes, BytesMut};
use rumqttc::mqttbytes::v4::{
    self, ConnAck, ConnectReturnCode, PubAck, SubAck, SubscribeReasonCode, UnsubAck,
};
use rumqttc::mqttbytes::{Error, QoS};

use crate::event::{CloseReason, Login, Refusal};
use crate::packet::{Connect, Flaw, Packet, Publish, Will, Wishes};

/// The next packet; `None`: read more.
pub(crate) fn read(input: &mut BytesMut, bytes_max: usize) -> Result<Option<Packet>, Flaw> {
    match v4::Packet::read(input, bytes_max) {
        Ok(packet) => understand(packet).map(Some),
        Err(Error::InsufficientBytes(_)) => Ok(None),
        Err(Error::PayloadSizeLimitExceeded { .. }) => Err(Flaw::TOO_LARGE),
        Err(_) => Err(Flaw::MALFORMED),
    }
}

fn understand(packet: v4::Packet) -> Result<Packet, Flaw> {
    Ok(match packet {
        v4::Packet::Connect(connect) => {
            // [MQTT-3.1.3-8]
            if connect.client_id.is_empty() && !connect.clean_session {
                return Err(Flaw::new(CloseReason::ClientId, 0x85));
            }
            let v4::Login { username, password } = connect.login.unwrap_or_else(|| v4::Login::new("", ""));
            let login = Login { client_id: connect.client_id, username, password };
            let will = connect.last_will.map(|will| Will {
                topic: will.topic,
                payload: will.message,
                retain: will.retain,
            });
            let keep_alive = connect.keep_alive;
            Packet::Connect(Box::new(Connect { login, keep_alive, will, wishes: Wishes::default() }))
        }
        v4::Packet::Publish(publish) => {
            if publish.qos == QoS::ExactlyOnce {
                return Err(Flaw::QOS);
            }
            if publish.retain {
                return Err(Flaw::RETAIN);
            }
            Packet::Publish(Publish {
                topic: publish.topic,
                alias: None,
                payload: publish.payload,
                packet_id: (publish.qos == QoS::AtLeastOnce).then_some(publish.pkid),
                trace_parent: None,
            })
        }
        v4::Packet::Subscribe(subscribe) => Packet::Subscribe {
            packet_id: subscribe.pkid,
            filters: subscribe.filters.into_iter().map(|filter| filter.path).collect(),
        },
        v4::Packet::Unsubscribe(unsubscribe) => {
            Packet::Unsubscribe { packet_id: unsubscribe.pkid, filters: unsubscribe.topics }
        }
        v4::Packet::PingReq => Packet::Ping,
        v4::Packet::PubAck(_) => Packet::Acknowledged,
        v4::Packet::Disconnect => Packet::Disconnect { with_will: false, session_expiry: false },
        _ => Packet::Foreign,
    })
}

fn write(output: &mut BytesMut, packet: &v4::Packet) {
    // The packets are our own and small, or bounded by the owner: the codec has nothing to refuse.
    let _ = packet.write(output, usize::MAX);
}

pub(crate) fn accept(output: &mut BytesMut) {
    write(output, &v4::Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)));
}

pub(crate) fn refuse(output: &mut BytesMut, refusal: Refusal) {
    let code = match refusal {
        Refusal::NotAuthorized | Refusal::Banned => ConnectReturnCode::NotAuthorized,
        Refusal::Unavailable | Refusal::RateExceeded => ConnectReturnCode::ServiceUnavailable,
    };
    write(output, &v4::Packet::ConnAck(ConnAck::new(code, false)));
}

pub(crate) fn refuse_client_id(output: &mut BytesMut) {
    write(output, &v4::Packet::ConnAck(ConnAck::new(ConnectReturnCode::BadClientId, false)));
}

pub(crate) fn refuse_version(output: &mut BytesMut) {
    write(output, &v4::Packet::ConnAck(ConnAck::new(ConnectReturnCode::RefusedProtocolVersion, false)));
}

pub(crate) fn acknowledge(output: &mut BytesMut, packet_id: u16) {
    write(output, &v4::Packet::PubAck(PubAck::new(packet_id)));
}

/// Whatever is asked for, what we send is QoS 0.
pub(crate) fn subscribed(output: &mut BytesMut, packet_id: u16, granted: impl Iterator<Item = bool>) {
    let code = |granted| match granted {
        false => SubscribeReasonCode::Failure,
        true => SubscribeReasonCode::Success(QoS::AtMostOnce),
    };
    write(output, &v4::Packet::SubAck(SubAck::new(packet_id, granted.map(code).collect())));
}

pub(crate) fn unsubscribed(output: &mut BytesMut, packet_id: u16) {
    write(output, &v4::Packet::UnsubAck(UnsubAck::new(packet_id)));
}

pub(crate) fn pong(output: &mut BytesMut) {
    write(output, &v4::Packet::PingResp);
}

pub(crate) fn publish(output: &mut BytesMut, topic: &str, payload: Bytes) {
    write(output, &v4::Packet::Publish(v4::Publish::from_bytes(topic, QoS::AtMostOnce, payload)));
}
