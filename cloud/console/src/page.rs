//! Page tokens: the last vehicle of the page, bound to the filter it was made with. Stable while vehicles come and go,
//! since the next page starts after a name and not at a number.
//!
//! Where a page is cut before what its caller does not see is left out, the last of it may be another fleet's: then the token is
//! sealed under a key that lives as long as the process (AES-256-GCM-SIV), and only such a token is taken, so that nobody asks
//! what comes after an id that they made up.

use std::sync::LazyLock;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use remuda_model::{VehicleId, shard};

use crate::limits;
use crate::refusal::Refusal;
use crate::scope::field;
use crate::sight::Sight;

/// See the module.
#[derive(Debug)]
pub struct PageToken;

pub(crate) const FOREIGN: &str = "this is not a token that this method gave out";
const SEALED_BEFORE: &str = "this is not a token that this method gave out, or it did before the node was started anew; begin without one";
/// What a sealed id is filled up to, bytes: its length tells nothing.
const BLOCK: usize = 64;

/// Of this process. 32 bytes always are a key.
static KEY: LazyLock<Option<LessSafeKey>> = LazyLock::new(|| {
    let key = rand::random::<[u8; 32]>();
    UnboundKey::new(&AES_256_GCM_SIV, &key).ok().map(LessSafeKey::new)
});

/// The same id always gives the same token, which tells that it is the same id and nothing else.
fn nonce() -> Nonce {
    Nonce::assume_unique_for_key([0; NONCE_LEN])
}

fn bound_to(filter: &str) -> Aad<String> {
    Aad::from(format!("remuda page 1\n{filter}"))
}

impl PageToken {
    /// A token that goes on after a vehicle.
    pub fn write(last: &VehicleId, filter: &str) -> String {
        Self::write_text(last.as_str(), filter)
    }

    /// For pages of anything that has an id.
    pub fn write_text(last: &str, filter: &str) -> String {
        format!("1.{:016x}.{last}", fingerprint(filter))
    }

    /// For pages of which a caller who does not see everything sees a part.
    pub(crate) fn write_for(sight: &Sight, last: &str, filter: &str) -> String {
        if sight.is_whole() { Self::write_text(last, filter) } else { seal(last, filter).unwrap_or_default() }
    }

    /// The id to start after; none for an empty token.
    ///
    /// # Errors
    /// When it is no token that was given out to somebody who sees as much, or was given out for another filter.
    pub(crate) fn read_for(sight: &Sight, token: &str, filter: &str) -> Result<Option<String>, &'static str> {
        if sight.is_whole() || token.is_empty() {
            return Self::read_text(token, filter);
        }
        open(token, filter).map(Some).ok_or(SEALED_BEFORE)
    }

    /// The vehicle to start after; none for an empty token.
    ///
    /// # Errors
    /// When it is no token, or was given out for another filter.
    pub fn read(token: &str, filter: &str) -> Result<Option<VehicleId>, &'static str> {
        let after = Self::read_text(token, filter)?;
        after.map(|vehicle| VehicleId::new(&vehicle).map_err(|_| FOREIGN)).transpose()
    }

    /// The id to start after; none for an empty token.
    ///
    /// # Errors
    /// When it is no token, or was given out for another filter.
    pub fn read_text(token: &str, filter: &str) -> Result<Option<String>, &'static str> {
        if token.is_empty() {
            return Ok(None);
        }
        let mut parts = token.splitn(3, '.');
        let (Some("1"), Some(print), Some(id)) = (parts.next(), parts.next(), parts.next()) else {
            return Err(FOREIGN);
        };
        let print = u64::from_str_radix(print, 16).map_err(|_| FOREIGN)?;
        if print != fingerprint(filter) {
            return Err("it was given out for another filter");
        }
        Ok(Some(id.to_owned()))
    }
}

/// How many lines a page holds: what its field says.
pub(crate) fn page_size(asked: i32) -> Result<usize, Refusal> {
    match usize::try_from(asked) {
        Ok(0) => Ok(limits::PAGE_DEFAULT),
        Ok(size) => Ok(size.min(limits::PAGE_MAX)),
        Err(_) => Err(field("page_size", "it is below 0")),
    }
}

/// How many, and after which: what a page's fields say.
pub(crate) fn page(size: i32, token: &str, of: &str) -> Result<(usize, Option<String>), Refusal> {
    Ok((page_size(size)?, PageToken::read_text(token, of).map_err(|e| field("page_token", e))?))
}

/// As [`page`], where the page is cut before what its caller does not see is left out.
pub(crate) fn page_for(
    sight: &Sight,
    size: i32,
    token: &str,
    of: &str,
) -> Result<(usize, Option<String>), Refusal> {
    let after = PageToken::read_for(sight, token, of).map_err(|e| field("page_token", e))?;
    Ok((page_size(size)?, after))
}

/// The token of the next page: what was asked for is one more than the page holds.
pub(crate) fn next_page<T>(found: &mut Vec<T>, size: usize, of: &str, id: impl Fn(&T) -> &str) -> String {
    last_of_page(found, size, id).map(|last| PageToken::write_text(last, of)).unwrap_or_default()
}

/// As [`next_page`], where the page is cut before what its caller does not see is left out.
pub(crate) fn next_page_for<T>(
    sight: &Sight,
    found: &mut Vec<T>,
    size: usize,
    of: &str,
    id: impl Fn(&T) -> &str,
) -> String {
    last_of_page(found, size, id).map(|last| PageToken::write_for(sight, last, of)).unwrap_or_default()
}

fn last_of_page<T>(found: &mut Vec<T>, size: usize, id: impl Fn(&T) -> &str) -> Option<&str> {
    let more = found.len() > size;
    found.truncate(size);
    found.last().filter(|_| more).map(id)
}

fn seal(last: &str, filter: &str) -> Option<String> {
    let mut text = last.as_bytes().to_vec();
    text.resize(text.len().next_multiple_of(BLOCK), 0);
    KEY.as_ref()?.seal_in_place_append_tag(nonce(), bound_to(filter), &mut text).ok()?;
    Some(text.iter().fold(String::from("2."), |token, byte| token + &format!("{byte:02x}")))
}

fn open(token: &str, filter: &str) -> Option<String> {
    let hex = token.strip_prefix("2.").filter(|hex| hex.is_ascii() && hex.len().is_multiple_of(2))?;
    let bytes = (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16));
    let mut bytes: Vec<u8> = bytes.collect::<Result<_, _>>().ok()?;
    let text = KEY.as_ref()?.open_in_place(nonce(), bound_to(filter), &mut bytes).ok()?;
    Some(std::str::from_utf8(text).ok()?.trim_end_matches('\0').to_owned())
}

fn fingerprint(filter: &str) -> u64 {
    shard::fnv1a_64(filter.as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use remuda_access::{Part, Reach};
    use remuda_model::OrganizationId;

    use super::*;
    use crate::sight::Homes;

    #[test]
    fn tokens_are_bound_to_their_filter() {
        let vehicle = VehicleId::new("V7").unwrap();
        let token = PageToken::write(&vehicle, "open_alerts > 0");
        assert_eq!(PageToken::read(&token, "open_alerts > 0"), Ok(Some(vehicle)));
        assert!(PageToken::read(&token, "").is_err());
        assert_eq!(PageToken::read("", "x"), Ok(None));
        for text in ["x", "1", "1.2", "2.0.V7", "1.zz.V7", &token[..token.len() - 2], &format!("{token}/")] {
            assert!(PageToken::read(text, "open_alerts > 0").is_err(), "{text}");
        }
    }

    #[test]
    fn who_sees_a_part_gets_tokens_that_say_nothing_and_shows_no_others() {
        let homes = Arc::new(Homes::new(None, OrganizationId::default()));
        let part = Sight::new(Reach::of(&[Part::Fleet("north".into())]), Arc::clone(&homes));
        let whole = Sight::new(Reach::Everywhere, homes);
        let token = PageToken::write_for(&part, "V7", "trips");
        assert_eq!(PageToken::read_for(&part, &token, "trips"), Ok(Some("V7".into())));
        assert_eq!(PageToken::read_for(&part, "", "trips"), Ok(None));
        assert_eq!(token.len(), PageToken::write_for(&part, "a-much-longer-id", "trips").len());
        assert!(!token.contains("V7") && !token.contains("5637"), "{token}");
        let plain = PageToken::write_for(&whole, "V7", "trips");
        assert_eq!(PageToken::read_for(&whole, &plain, "trips"), Ok(Some("V7".into())));
        assert!(PageToken::read_for(&part, &plain, "trips").is_err(), "an id that they made up");
        assert!(PageToken::read_for(&whole, &token, "trips").is_err());
        assert!(PageToken::read_for(&part, &token, "records").is_err());
        for at in 2..token.len() {
            let other = if token.as_bytes()[at] == b'0' { "1" } else { "0" };
            let changed = [&token[..at], other, &token[at + 1..]].concat();
            assert!(PageToken::read_for(&part, &changed, "trips").is_err(), "{at}");
        }
        for text in ["2.", "2.0", "2.zz", "2.é", "2.+1"] {
            assert!(PageToken::read_for(&part, text, "trips").is_err(), "{text}");
        }
    }
}
