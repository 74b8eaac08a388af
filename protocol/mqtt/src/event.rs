//! What a session and its owner say to each other.

use std::time::Duration;

use bytes::Bytes;

/// Bounds of a session.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long a client may take to say CONNECT.
    pub connect_within: Duration,
    /// Longest CONNECT, bytes.
    pub connect_bytes_max: usize,
    /// Longest packet after it, bytes.
    pub packet_bytes_max: usize,
    /// How long a client without keep-alive may be silent; also the longest silence that any keep-alive allows.
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
    /// Whether it may subscribe to this filter; otherwise the SUBACK says so.
    fn subscribe(&self, filter: &str) -> bool;
    /// The client id of who came without one and speaks MQTT 5; says nothing about who it is.
    fn client_id(&self) -> String;
}

/// What a client said in CONNECT.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    /// Its name for the session; says nothing about who it is.
    pub client_id: String,
    /// Empty when there was none.
    pub username: String,
    /// Empty when there was none.
    pub password: String,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Login").field("client_id", &self.client_id).field("username", &self.username).finish()
    }
}

/// What the owner of the session must act on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// Decide, then call [`crate::Session::accept`] or [`crate::Session::refuse`]; nothing else is read before.
    Login(Login),
    /// A permitted message. With a packet id: call [`crate::Session::acknowledge`] once it is in good hands.
    Publish {
        /// Its topic; an alias is resolved already.
        topic: String,
        /// Its payload, shared with the read buffer.
        payload: Bytes,
        /// Only for QoS 1.
        packet_id: Option<u16>,
        /// The user property `traceparent` (W3C Trace Context), at most 64 bytes, not checked further.
        trace_parent: Option<Box<str>>,
    },
}

/// Why a login is turned down. MQTT 3.1.1 knows fewer reasons: the last two are "server unavailable" there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Unknown, or with the wrong credentials.
    NotAuthorized,
    /// Known and kept out.
    Banned,
    /// The server is going away.
    Unavailable,
    /// It came too often.
    RateExceeded,
}

/// Why the owner ends an open session. MQTT 3.1.1 has no word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parting {
    /// Another connection of the same client took its place.
    TakenOver,
    /// The server is going away.
    ShuttingDown,
    /// An operator wants it.
    Administrative,
    /// The server cannot serve it now; it may come back.
    Busy,
}

/// Why a message was not sent to the client; stable codes for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotSent {
    /// It has not subscribed.
    NotSubscribed,
    /// It said in CONNECT that it takes no packet of this length.
    TooLarge,
    /// The session has ended.
    Closed,
}

impl NotSent {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotSubscribed => "not_subscribed",
            Self::TooLarge => "too_large_for_client",
            Self::Closed => "closed",
        }
    }
}

/// Why a session ended; stable codes for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// DISCONNECT: the will is void.
    Goodbye,
    /// DISCONNECT that asks for the will to be delivered.
    GoodbyeWithWill,
    /// Not MQTT, or not as the standard wants it.
    Malformed,
    /// Well formed, and not allowed by the standard there.
    Protocol,
    /// A packet over its limit.
    TooLarge,
    /// No CONNECT in time.
    ConnectTimeout,
    /// Silent for one and a half keep-alives.
    KeepAlive,
    /// A protocol version that is not spoken here.
    Version,
    /// Nameless, and wanting a session all the same (MQTT 3.1.1).
    ClientId,
    /// The owner refused the login.
    Refused,
    /// A feature that this endpoint does not have (QoS 2, retained, a second CONNECT, extended authentication).
    Unsupported,
    /// A topic alias that was not offered.
    TopicAlias,
    /// More QoS 1 messages on their way than were offered.
    ReceiveMaximum,
    /// The client's own limit leaves no room for an answer that it must have.
    NoRoomForAnswer,
    /// The owner ended it.
    Parted,
    /// The policy forbids the topic; its reason.
    Forbidden(&'static str),
}

impl CloseReason {
    /// The code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::GoodbyeWithWill => "goodbye_with_will",
            Self::Malformed => "malformed",
            Self::Protocol => "protocol_error",
            Self::TooLarge => "too_large",
            Self::ConnectTimeout => "connect_timeout",
            Self::KeepAlive => "keep_alive",
            Self::Version => "version",
            Self::ClientId => "client_id",
            Self::Refused => "refused",
            Self::Unsupported => "unsupported",
            Self::TopicAlias => "topic_alias",
            Self::ReceiveMaximum => "receive_maximum",
            Self::NoRoomForAnswer => "no_room_for_answer",
            Self::Parted => "parted",
            Self::Forbidden(reason) => reason,
        }
    }
}
