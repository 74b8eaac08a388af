//! How far a feed has come, and its text.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use remuda_eventsourcing::FeedPosition;
use remuda_lake::Place;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

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

impl Cursor {
    /// As a text for clients to keep: opaque, a few bytes to 8 KiB. It is a bookmark and no secret, and grants nothing.
    pub fn token(&self, organization: &OrganizationId) -> String {
        // Of numbers and short texts: it is always encoded.
        let mut bytes = postcard::to_allocvec(&(organization.as_str(), self)).unwrap_or_default();
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        format!("{VERSION}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Reads a text.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn parse(token: &str, organization: &OrganizationId) -> Result<Self, TokenError> {
        let text = token.trim().strip_prefix(VERSION).ok_or(TokenError::Unreadable)?;
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Unreadable)?;
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
    fn one_that_was_given_out_is_read_for_ever() {
        let ours = OrganizationId::default();
        let kept = cursor(700, Some((5, 1)), BTreeMap::from([(7, 300), (1023, 1)]));
        assert_eq!(kept.token(&ours), GOLDEN);
        assert_eq!(Cursor::parse(GOLDEN, &ours), Ok(kept));
    }

    /// Append another one when the form changes; this one must be read all the same.
    const GOLDEN: &str = "c1.B2RlZmF1bHQJvAUBBFZBTjH___________8BBQEDAQh2ZWhpY2xlcwIHrAL_BwGcL29z";
}
