//! Bytes of an aggregate's events: each type of event has its own payload, a struct in postcard.

use serde::{Serialize, de::DeserializeOwned};

use crate::aggregate::{Encoded, Unreadable};

/// A payload as it is stored.
///
/// # Panics
/// Never for plain data: postcard refuses only sequences that do not know their length.
pub fn encode<P: Serialize>(event_type: &'static str, schema_version: u16, payload: &P) -> Encoded {
    let payload =
        postcard::to_allocvec(payload).expect("payloads are plain data, which postcard always writes");
    Encoded { event_type, schema_version, payload }
}

/// A payload as it was stored, to its last byte.
///
/// # Errors
/// [`Unreadable`] when bytes are missing or left over.
pub fn decode<P: DeserializeOwned>(
    event_type: &str,
    schema_version: u16,
    payload: &[u8],
) -> Result<P, Unreadable> {
    match postcard::take_from_bytes(payload) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => {
            Err(unreadable(event_type, schema_version, format!("{} bytes are left over", rest.len())))
        }
        Err(error) => Err(unreadable(event_type, schema_version, error.to_string())),
    }
}

/// The answer to a type or a version that this program does not know.
pub fn unknown(event_type: &str, schema_version: u16) -> Unreadable {
    unreadable(event_type, schema_version, "this program does not know it; a newer one wrote it".to_owned())
}

fn unreadable(event_type: &str, schema_version: u16, reason: String) -> Unreadable {
    Unreadable { event_type: event_type.to_owned(), schema_version, reason }
}

/// Gives an enum of events (each variant holds its payload, a struct) its types, `encode` and `decode`:
/// `event_codec!(UserEvent { Registered = "user.registered" 1, ... })`. The number is the version that is written; an
/// older one is brought up by the domain before it asks `decode`.
#[macro_export]
macro_rules! event_codec {
    ($event:ident { $($variant:ident = $name:literal $version:literal),+ $(,)? }) => {
        impl $event {
            /// Every type of event with the version that is written.
            pub const TYPES: &'static [(&'static str, u16)] = &[$(($name, $version)),+];

            /// Its type.
            pub const fn event_type(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $name,)+
                }
            }

            /// As it is stored.
            pub fn encode(&self) -> $crate::Encoded {
                match self {
                    $(Self::$variant(payload) => $crate::codec::encode($name, $version, payload),)+
                }
            }

            /// As it was stored.
            ///
            /// # Errors
            /// For an unknown type or version, or damaged bytes.
            pub fn decode(
                event_type: &str,
                schema_version: u16,
                payload: &[u8],
            ) -> Result<Self, $crate::Unreadable> {
                match (event_type, schema_version) {
                    $(($name, $version) => {
                        $crate::codec::decode(event_type, schema_version, payload).map(Self::$variant)
                    })+
                    _ => Err($crate::codec::unknown(event_type, schema_version)),
                }
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Painted {
        colour: String,
        coats: u8,
    }
    #[derive(Debug, PartialEq)]
    enum Event {
        Painted(Painted),
    }
    crate::event_codec!(Event { Painted = "wall.painted" 2 });

    #[test]
    fn an_event_comes_back_and_anything_else_is_refused() {
        let event = Event::Painted(Painted { colour: "red".into(), coats: 3 });
        assert_eq!((Event::TYPES, event.event_type()), (&[("wall.painted", 2)][..], "wall.painted"));
        let stored = event.encode();
        assert_eq!((stored.event_type, stored.schema_version), ("wall.painted", 2));
        assert_eq!(stored.payload, [3, b'r', b'e', b'd', 3]);
        assert_eq!(Event::decode("wall.painted", 2, &stored.payload), Ok(event));
        for (event_type, version, payload, says) in [
            ("wall.painted", 3, &stored.payload[..], "newer"),
            ("wall.broken", 2, &stored.payload[..], "newer"),
            ("wall.painted", 2, &stored.payload[..4], "end"),
            ("wall.painted", 2, &[3, b'r', b'e', b'd', 3, 0][..], "left over"),
        ] {
            let error = Event::decode(event_type, version, payload).expect_err("refused");
            assert!(error.to_string().to_lowercase().contains(says), "{error}");
        }
    }
}
