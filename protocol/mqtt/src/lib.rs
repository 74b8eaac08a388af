//! A sans-IO MQTT 3.1.1 server session (docs/adr/0003): bytes in, events and bytes out; no sockets, no clock.
//!
//! Owns: the protocol's rules as our doors need them: who logs in, QoS 0 and 1 in, a will, one filter a client may
//! subscribe to, keep-alive. Deliberately absent: routing, retained messages, QoS 2, sessions that outlive their
//! connection; and who may do what, which is a [`Policy`] handed in.

mod session;

pub use rumqttc::mqttbytes::v4 as codec;
pub use session::{CloseReason, Event, Limits, Login, Policy, Session};
