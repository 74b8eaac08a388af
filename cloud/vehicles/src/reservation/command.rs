//! What is asked of a vehicle's reservation.

/// A wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReservationCommand {
    /// It can be had.
    PutInService,
    /// It cannot be had.
    TakeOutOfService {
        /// Why.
        reason: String,
        /// When somebody has it: wait until they are done, instead of refusing.
        when_free: bool,
    },
    /// Have it.
    Reserve {
        /// Whose reservation it is: the same key is the same reservation.
        key: String,
        /// What for.
        holder: String,
        /// When it ends by itself, ms since 1970 UTC.
        expires_ms: i64,
    },
    /// Have it for longer, or for less long.
    Extend {
        /// Which.
        key: String,
        /// When it ends by itself, ms since 1970 UTC.
        expires_ms: i64,
    },
    /// Be done with it. One that was never made is called off: a late [`ReservationCommand::Reserve`] with its key is refused.
    Release {
        /// Which.
        key: String,
    },
    /// Time has passed.
    Expire,
}
