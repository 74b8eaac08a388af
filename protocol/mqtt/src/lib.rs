//! A sans-IO MQTT server session (docs/adr/0003): bytes in, events and bytes out; no sockets, no clock. Versions 3.1.1
//! and 5 on one port; the CONNECT says which.
//!
//! Owns: the protocol's rules as our doors need them: who logs in, QoS 0 and 1 in, topic aliases, a will, one filter a
//! client may subscribe to, keep-alive, reason codes. Deliberately absent: routing, retained messages, QoS 2, sessions
//! that outlive their connection; and who may do what, which is a [`Policy`] handed in.

mod event;
mod five;
mod packet;
mod session;
mod three;

pub use event::{CloseReason, Event, Limits, Login, NotSent, Parting, Policy, Refusal};
pub use rumqttc::mqttbytes::v4 as codec;
pub use session::{RECEIVE_MAX, Session, TOPIC_ALIAS_MAX};
