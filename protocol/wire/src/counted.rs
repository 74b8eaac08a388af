//! Lists that keep no more entries than their limit and one: a decoder's memory is bounded before it allocates.
//!
//! An over-long list is read to its end, so that the caller can tell "over a limit" from "malformed".

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use crate::limits;

/// A list with at most an entry per lane and incarnation.
pub fn lanes<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Counted::<T> { max: limits::HELLO_LANES_MAX, entry: PhantomData })
}

/// A list with at most an entry per signal.
pub fn signals<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Counted::<T> { max: limits::BLOCK_SIGNALS_MAX, entry: PhantomData })
}

/// A list with at most an entry per option of a question.
pub fn options<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Counted::<T> { max: limits::OPTIONS_MAX, entry: PhantomData })
}

/// A list with at most an entry per stop of a trip.
pub fn stops<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Vec<T>, D::Error> {
    from.deserialize_seq(Counted::<T> { max: limits::STOPS_MAX, entry: PhantomData })
}

struct Counted<T> {
    max: usize,
    entry: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for Counted<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {} entries", self.max)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut entries: A) -> Result<Vec<T>, A::Error> {
        // postcard's hint is `None` for a count above the bytes that are left.
        let mut kept = Vec::with_capacity(entries.size_hint().unwrap_or(0).min(self.max + 1));
        while let Some(entry) = entries.next_element()? {
            if kept.len() <= self.max {
                kept.push(entry);
            }
        }
        Ok(kept)
    }
}
