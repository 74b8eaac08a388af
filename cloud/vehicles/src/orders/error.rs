//! What the orders refuse. Refusals are expected; each has a stable code.

/// Why a wish was not granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// Another order has this request id.
    #[error("another command with this request id exists and says something else; use a new request id")]
    RequestIdReused,
    /// Too many wait already.
    #[error("{0} commands wait for this vehicle already; cancel some, or wait for their expiry")]
    TooManyOpen(usize),
    /// Its time is over, or too far away.
    #[error("a command expires from 1 s to 7 days from now; give another time to live")]
    BadExpiry,
    /// A text is too long, or missing.
    #[error("{0}")]
    BadText(&'static str),
    /// A value the kind cannot have.
    #[error("a speed limit is from 5 to 250 km/h")]
    BadSpeedLimit,
    /// Nobody knows it (any more).
    #[error("this vehicle has no such command; list its commands to see which there are")]
    NoSuchOrder,
    /// It went out: whether it is obeyed is the vehicle's to say.
    #[error("the command was sent and cannot be taken back; the vehicle obeys it or it expires")]
    AlreadySent,
    /// It is final.
    #[error("the command has ended and does not change any more")]
    AlreadyFinal,
}

impl OrderRefusal {
    /// Its stable code.
    pub const fn code(self) -> &'static str {
        match self {
            Self::RequestIdReused => "request_id_reused",
            Self::TooManyOpen(_) => "too_many_open_commands",
            Self::BadExpiry => "bad_expiry",
            Self::BadText(_) => "bad_text",
            Self::BadSpeedLimit => "bad_speed_limit",
            Self::NoSuchOrder => "no_such_command",
            Self::AlreadySent => "command_already_sent",
            Self::AlreadyFinal => "command_already_final",
        }
    }
}
