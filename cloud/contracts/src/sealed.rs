//! Personal data that only its owner's key opens.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A personal field, encrypted under the key of the user it is about (`cloud/users`). Pure code compares and carries it
/// without ever reading it; with the key gone it is noise, and what holds it stays valid.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sealed(Vec<u8>);

impl Sealed {
    /// Wraps ciphertext.
    pub const fn new(ciphertext: Vec<u8>) -> Self {
        Self(ciphertext)
    }

    /// The ciphertext.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sealed({} bytes)", self.0.len())
    }
}
