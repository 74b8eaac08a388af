//! Share links: whoever has the token may follow the trip, until it expires or is taken back. Pure.

use sha2::{Digest, Sha256};

use crate::limits;
use crate::state::{Share, Trip};

/// What is kept of a token: 32 random bytes or more, made by the caller.
pub fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

/// The name of a link: the first 8 bytes of its hash, which open nothing.
pub fn id_of(token_hash: &[u8; 32]) -> String {
    token_hash[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The link of this name.
pub fn find<'a>(trip: &'a Trip, id: &str) -> Option<&'a Share> {
    trip.shares.iter().find(|share| id_of(&share.token_hash) == id)
}

/// When a link ends: by its own time, or some time after its trip, ms since 1970 UTC.
pub fn ends_ms(trip: &Trip, share: &Share) -> i64 {
    let after_trip = trip.ended_ms.filter(|_| trip.phase.is_final());
    after_trip
        .map_or(share.expires_ms, |ended_ms| share.expires_ms.min(ended_ms + limits::SHARE_AFTER_END_MS))
}

/// May whoever shows this token see where the trip is? Looks at every link, whichever fits: how long it takes says nothing.
pub fn may_follow(trip: &Trip, token: &[u8], now_ms: i64) -> bool {
    let shown = hash(token);
    let mut fits = false;
    for share in &trip.shares {
        let differs = share.token_hash.iter().zip(shown).fold(0, |differs, (a, b)| differs | (a ^ b));
        fits |= differs == 0 && now_ms < ends_ms(trip, share);
    }
    fits
}
