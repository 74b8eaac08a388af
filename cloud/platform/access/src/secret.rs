//! A secret that is only compared.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use constant_time_eq::constant_time_eq_32;

/// SHA-256 of a bearer token: what is kept, so that a leaked configuration opens nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Of a token.
    pub fn of(token: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, token.as_bytes()).as_ref());
        Self(bytes)
    }

    /// From 64 hexadecimal digits.
    pub fn from_hex(text: &str) -> Option<Self> {
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        let mut bytes = [0; 32];
        for (byte, digits) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }

    /// As [`Secret::from_hex`] reads it.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// Whether a token is the one. Takes the same time wherever they differ.
    pub fn opens(&self, token: &str) -> bool {
        self.is(&Self::of(token))
    }

    /// Whether another is the same. Takes the same time wherever they differ.
    pub fn is(&self, other: &Self) -> bool {
        constant_time_eq_32(&self.0, &other.0)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_token_opens() {
        let hex = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
        let secret = Secret::from_hex(hex).unwrap();
        assert!(secret.opens("test"));
        assert!(!secret.opens("Test") && !secret.opens(""));
        assert_eq!(secret, Secret::of("test"));
        assert!(Secret::from_hex(&hex[1..]).is_none() && Secret::from_hex(&hex.replace('9', "x")).is_none());
        assert!(!format!("{secret:?}").contains("9f86"));
    }
}
