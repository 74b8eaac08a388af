//! What a client says, whichever version it speaks.

use bytes::Bytes;

use crate::event::{CloseReason, Login};

/// A packet of a client.
pub(crate) enum Packet {
    Connect(Box<Connect>),
    Publish(Publish),
    Subscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    Unsubscribe {
        packet_id: u16,
        filters: Vec<String>,
    },
    /// PUBACK. We send QoS 0 only, so it acknowledges nothing; it harms nobody either.
    Acknowledged,
    Ping,
    Disconnect {
        with_will: bool,
        session_expiry: bool,
    },
    /// One that only servers say, or that belongs to a feature we do not have.
    Foreign,
}

/// A CONNECT.
pub(crate) struct Connect {
    pub login: Login,
    pub keep_alive: u16,
    pub will: Option<Will>,
    pub wishes: Wishes,
}

/// What a client of MQTT 5 wants of us; the defaults are what the standard assumes.
pub(crate) struct Wishes {
    /// Longest packet that it takes, bytes.
    pub packet_bytes_max: u32,
    /// Whether it wants reason strings where they are optional.
    pub problem_information: bool,
    /// Whether it wants its session kept.
    pub session_expiry: bool,
}

impl Default for Wishes {
    fn default() -> Self {
        Self { packet_bytes_max: u32::MAX, problem_information: true, session_expiry: false }
    }
}

/// A last will.
pub(crate) struct Will {
    pub topic: String,
    pub payload: Bytes,
    pub retain: bool,
}

/// A PUBLISH of QoS 0 or 1, not retained.
pub(crate) struct Publish {
    /// Empty: by its alias.
    pub topic: String,
    pub alias: Option<u16>,
    pub payload: Bytes,
    pub packet_id: Option<u16>,
    pub trace_parent: Option<Box<str>>,
}

/// What is wrong with what was read: why the session ends, and the reason code that MQTT 5 has for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flaw {
    pub reason: CloseReason,
    pub code: u8,
}

impl Flaw {
    pub const MALFORMED: Self = Self::new(CloseReason::Malformed, 0x81);
    pub const PROTOCOL: Self = Self::new(CloseReason::Protocol, 0x82);
    pub const TOO_LARGE: Self = Self::new(CloseReason::TooLarge, 0x95);
    pub const RETAIN: Self = Self::new(CloseReason::Unsupported, 0x9a);
    pub const QOS: Self = Self::new(CloseReason::Unsupported, 0x9b);

    pub const fn new(reason: CloseReason, code: u8) -> Self {
        Self { reason, code }
    }
}
