//! Share links: whoever has the token may follow the trip, until it expires or is taken back. Pure.

use sha2::{Digest, Sha256};

use crate::limits;
use crate::state::Trip;

/// What is kept of a token: 32 random bytes or more, made by the caller.
pub fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// May whoever shows this token see where the trip is? Looks at every link, whichever fits: how long it takes says nothing.
pub fn may_follow(trip: &Trip, token: &[u8], now_ms: i64) -> bool {
    let shown = hash(token);
    let ended = trip.phase.is_final()
        && trip.ended_ms.is_none_or(|ended_ms| now_ms > ended_ms + limits::SHARE_AFTER_END_MS);
    let mut fits = false;
    for share in &trip.shares {
        let differs = share.token_hash.iter().zip(shown).fold(0, |differs, (a, b)| differs | (a ^ b));
        fits |= differs == 0 && now_ms < share.expires_ms;
    }
    fits && !ended
}
