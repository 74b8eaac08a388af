//! Identifiers of vehicles and organisations: short, inline, copyable.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a text is not an identifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdError {
    /// Empty, or longer than the limit (the second field), in bytes.
    Length {
        /// Bytes it has.
        got: usize,
        /// Bytes it may have.
        max: usize,
    },
    /// A character outside the permitted set, at this byte offset.
    Character {
        /// Byte offset.
        at: usize,
    },
}

impl fmt::Display for IdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Length { got, max } => write!(f, "an id has 1 to {max} characters, this one has {got}"),
            Self::Character { at } => write!(f, "the character at byte {at} is not permitted in an id"),
        }
    }
}

impl core::error::Error for IdError {}

macro_rules! inline_id {
    ($(#[$doc:meta])* $name:ident, $max:literal, $permitted:expr) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name {
            // Padded with zeros, so that the derived order is that of the text.
            bytes: [u8; $max],
            len: u8,
        }

        impl $name {
            /// Longest permitted text, bytes.
            pub const MAX_LEN: usize = $max;

            /// Checks and copies `text`.
            pub fn new(text: &str) -> Result<Self, IdError> {
                if text.is_empty() || text.len() > Self::MAX_LEN {
                    return Err(IdError::Length { got: text.len(), max: Self::MAX_LEN });
                }
                let permitted: fn(u8) -> bool = $permitted;
                if let Some(at) = text.bytes().position(|b| !permitted(b)) {
                    return Err(IdError::Character { at });
                }
                let mut bytes = [0; $max];
                bytes[..text.len()].copy_from_slice(text.as_bytes());
                Ok(Self { bytes, len: text.len() as u8 })
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                // Built from checked ASCII only, so this never takes the default.
                core::str::from_utf8(&self.bytes[..self.len as usize]).unwrap_or_default()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an id")
                    }
                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::new(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Visitor)
            }
        }
    };
}

inline_id! {
    /// A vehicle: `[A-Za-z0-9]{1,48}`. Ours, not the VIN, which is personal data and an attribute of the vehicle.
    VehicleId, 48, |b| b.is_ascii_alphanumeric()
}

inline_id! {
    /// An organisation, the owner of everything else: `[a-z0-9-]{1,32}`.
    OrganizationId, 32, |b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'
}

impl Default for OrganizationId {
    fn default() -> Self {
        Self { bytes: *b"default\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", len: 7 }
    }
}

#[cfg(test)]
mod tests {
    extern crate std;

    use std::format;
    use std::string::{String, ToString};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn ids_are_their_text(text in "[A-Za-z0-9]{1,48}", other in "[A-Za-z0-9]{1,48}") {
            let id = VehicleId::new(&text).expect("an id");
            prop_assert_eq!(id.as_str(), &text);
            prop_assert_eq!(id.to_string().parse::<VehicleId>(), Ok(id));
            prop_assert_eq!(serde_json::from_value::<VehicleId>(serde_json::json!(text)).ok(), Some(id));
            prop_assert_eq!(id.cmp(&VehicleId::new(&other).expect("an id")), text.cmp(&other));
        }

        #[test]
        fn other_texts_are_refused(text in any::<String>()) {
            let permitted = (1..=48).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
            prop_assert_eq!(VehicleId::new(&text).is_ok(), permitted);
        }
    }

    #[test]
    fn refusals_say_what_is_wrong() {
        assert_eq!(VehicleId::new(""), Err(IdError::Length { got: 0, max: 48 }));
        assert_eq!(VehicleId::new("a/b"), Err(IdError::Character { at: 1 }));
        assert_eq!(OrganizationId::new("North"), Err(IdError::Character { at: 0 }));
        assert_eq!(format!("{}", OrganizationId::default()), "default");
        assert_eq!(OrganizationId::new("default"), Ok(OrganizationId::default()));
    }
}
