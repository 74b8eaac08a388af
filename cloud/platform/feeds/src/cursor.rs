//! How far a feed has come, and its text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use remuda_eventsourcing::FeedPosition;
use remuda_lake::Place;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use crate::seal::Seal;

/// Everything before it was read: rows of the lake by commit, events by journal and shard.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Which life of the journals its numbers are of: after a restore from a backup they are given out again.
    pub era: u64,
    /// The lake's rows.
    pub lake: Place,
    /// Events: journal, shard, position of the last one read. Shards that are not named are unread.
    pub journals: BTreeMap<String, BTreeMap<u16, FeedPosition>>,
}

/// A text that is not a cursor of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not one at all, or cut.
    #[error("the cursor is not one that this service gave out, or it was cut; begin without one")]
    Unreadable,
    /// Of journals that were replaced by older ones.
    #[error(
        "the cursor is of before this node was restored from a backup, and its numbers mean other things now; begin with the earliest, and drop what you have by its id"
    )]
    OfAnotherLife,
    /// Of another organisation.
    #[error("the cursor is of another organization; begin without one")]
    Foreign,
}

/// Version of the form, in front of the text.
const VERSION: &str = "c1.";
/// Of one whose content is sealed.
const SEALED: &str = "c2.";

impl Cursor {
    /// As a text for clients to keep: opaque, a few bytes to 8 KiB. It is a bookmark and no secret, and grants nothing.
    pub fn token(&self, organization: &OrganizationId) -> String {
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(self.bytes(organization)))
    }

    /// As [`Cursor::token`], for clients who may not read it.
    pub(crate) fn sealed(&self, organization: &OrganizationId, seal: &Seal) -> String {
        format!("{SEALED}{}", URL_SAFE_NO_PAD.encode(seal.close(&self.bytes(organization))))
    }

    fn bytes(&self, organization: &OrganizationId) -> Vec<u8> {
        // Of numbers and short texts: it is always encoded.
        let mut bytes = postcard::to_allocvec(&(organization.as_str(), self)).unwrap_or_default();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// Reads a text of [`Cursor::token`].
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(token: &str, organization: &OrganizationId) -> Result<Self, TokenError> {
        let text = token.trim().strip_prefix(VERSION).ok_or(TokenError::Unreadable)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Unreadable)?;
        Self::of_bytes(&bytes, organization)
    }

    /// Reads a text of either form.
    pub(crate) fn open(token: &str, organization: &OrganizationId, seal: &Seal) -> Result<Self, TokenError> {
        let Some(text) = token.trim().strip_prefix(SEALED) else { return Self::parse(token, organization) };
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| seal.open(&bytes));
        Self::of_bytes(&bytes.ok_or(TokenError::Unreadable)?, organization)
    }

    fn of_bytes(bytes: &[u8], organization: &OrganizationId) -> Result<Self, TokenError> {
        let (body, sum) = bytes.split_last_chunk::<4>().ok_or(TokenError::Unreadable)?;
        if crc32c::crc32c(body) != u32::from_le_bytes(*sum) {
            return Err(TokenError::Unreadable);
        }
        let (whose, cursor): (String, Self) =
            postcard::from_bytes(body).map_err(|_| TokenError::Unreadable)?;
        if whose == organization.as_str() { Ok(cursor) } else { Err(TokenError::Foreign) }
    }

    /// The position of a shard's last event read.
    pub(crate) fn event(&self, journal: &str, shard: u16) -> FeedPosition {
        self.journals.get(journal).and_then(|shards| shards.get(&shard)).copied().unwrap_or_default()
    }

    pub(crate) fn set_event(&mut self, journal: &str, shard: u16, position: FeedPosition) {
        if let Some(shards) = self.journals.get_mut(journal) {
            shards.insert(shard, position);
        } else {
            self.journals.insert(journal.to_owned(), BTreeMap::from([(shard, position)]));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_lake::RowKey;
    use remuda_model::{Incarnation, VehicleId};

    use super::*;

    fn cursor(commit: u64, row: Option<(u64, u32)>, events: BTreeMap<u16, u64>) -> Cursor {
        let row = row.map(|(seq, row_in_frame)| RowKey {
            vehicle: VehicleId::new("VAN1").expect("an id"),
            incarnation: Incarnation(u64::MAX),
            seq,
            row_in_frame,
        });
        let lake = Place { commit, row, retention: 3 };
        Cursor { era: 9, lake, journals: BTreeMap::from([("vehicles".to_owned(), events)]) }
    }

    proptest! {
        #[test]
        fn a_cursor_is_its_text(
            commit in any::<u64>(),
            row in proptest::option::of(any::<(u64, u32)>()),
            events in prop::collection::btree_map(0..1024_u16, any::<u64>(), 0..40),
            at in any::<prop::sample::Index>(),
        ) {
            let (ours, cursor) = (OrganizationId::default(), cursor(commit, row, events));
            let token = cursor.token(&ours);
            prop_assert_eq!(Cursor::parse(&token, &ours), Ok(cursor));
            let other = OrganizationId::new("other").expect("an id");
            prop_assert_eq!(Cursor::parse(&token, &other), Err(TokenError::Foreign));
            let cut = &token[..at.index(token.len())];
            prop_assert_eq!(Cursor::parse(cut, &ours), Err(TokenError::Unreadable));
        }
    }

    #[test]
    fn a_sealed_one_says_nothing_and_is_read_with_its_seal_alone() {
        let ours = OrganizationId::default();
        let seal = |byte| Seal::new(&[byte; 32]).expect("a key");
        let kept = cursor(700, Some((5, 1)), BTreeMap::from([(7, 300), (1023, 1)]));
        let token = kept.sealed(&ours, &seal(1));
        assert_eq!(Cursor::open(&token, &ours, &seal(1)), Ok(kept.clone()));
        assert_eq!(Cursor::open(GOLDEN, &ours, &seal(1)), Ok(kept.clone()));
        let other = OrganizationId::new("other").expect("an id");
        assert_eq!(Cursor::open(&token, &other, &seal(1)), Err(TokenError::Foreign));
        for wrong in [Cursor::open(&token, &ours, &seal(2)), Cursor::parse(&token, &ours)] {
            assert_eq!(wrong, Err(TokenError::Unreadable));
        }
        for cut in [&token[..token.len() - 1], "c2.", "c2.AAAA", "c2.?"] {
            assert_eq!(Cursor::open(cut, &ours, &seal(1)), Err(TokenError::Unreadable), "{cut}");
        }
        let raw = URL_SAFE_NO_PAD.decode(&token[SEALED.len()..]).expect("base64");
        assert!(!raw.windows(4).any(|bytes| bytes == b"VAN1"), "the last row's vehicle");
        let one_more = cursor(u64::MAX, Some((5, 1)), BTreeMap::from([(7, 300), (1023, u64::MAX)]));
        assert_eq!(one_more.sealed(&ours, &seal(1)).len(), token.len());
    }

    #[test]
    fn one_that_was_given_out_is_read_for_ever() {
        let ours = OrganizationId::default();
        let kept = cursor(700, Some((5, 1)), BTreeMap::from([(7, 300), (1023, 1)]));
        assert_eq!(kept.token(&ours), GOLDEN);
        assert_eq!(Cursor::parse(GOLDEN, &ours), Ok(kept));
    }

    /// Append another one when the form changes; this one must be read all the same.
    const GOLDEN: &str = "c1.B2RlZmF1bHQJvAUBBFZBTjH___________8BBQEDAQh2ZWhpY2xlcwIHrAL_BwGcL29z";
}
