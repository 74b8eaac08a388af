//! A user's key, and what it does.
//!
//! AES-256-GCM-SIV (RFC 8452) with a fixed nonce: deterministic, so that a repeated command carries the same bytes and a
//! pure decision sees that nothing changed. What that shows is that a field of one user has again the value it had; the
//! RFC allows it (section 9: misuse of nonces leaks equality only). User and field are bound in as additional data, so that
//! a ciphertext cannot be moved to another field or user.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use remuda_contracts::sealed::Sealed;
use remuda_model::OrganizationId;

use crate::limits;

/// First byte of what this code seals.
const VERSION: u8 = 1;

/// A user of an organisation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserRef {
    organization: OrganizationId,
    user: String,
}

impl UserRef {
    /// Checks the id: `[A-Za-z0-9_-]{1,64}`. It becomes part of a file's name.
    ///
    /// # Errors
    /// A sentence that says what an id is.
    pub fn new(organization: OrganizationId, user: &str) -> Result<Self, &'static str> {
        let permitted = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        if user.is_empty() || user.len() > limits::ID_BYTES_MAX || !user.bytes().all(permitted) {
            return Err("a user's id has 1 to 64 letters, digits, `-` and `_`");
        }
        Ok(Self { organization, user: user.to_owned() })
    }

    /// Whose.
    pub const fn organization(&self) -> &OrganizationId {
        &self.organization
    }

    /// Who.
    pub fn user(&self) -> &str {
        &self.user
    }

    fn bound_to(&self, field: &str) -> Aad<Vec<u8>> {
        // No part contains a line break but the last, so that no two places give the same bytes.
        Aad::from(format!("remuda user 1\n{}\n{}\n{field}", self.organization, self.user).into_bytes())
    }
}

/// 32 secret bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct UserKey([u8; 32]);

impl UserKey {
    /// Takes the bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(super) const fn secret(&self) -> &[u8; 32] {
        &self.0
    }

    fn cipher(&self) -> LessSafeKey {
        LessSafeKey::new(
            UnboundKey::new(&AES_256_GCM_SIV, &self.0).expect("32 bytes are a key of this algorithm"),
        )
    }

    /// Encrypts a field of this user.
    pub fn seal(&self, owner: &UserRef, field: &str, plain: &str) -> Sealed {
        let mut text = plain.as_bytes().to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        self.cipher()
            .seal_in_place_append_tag(nonce, owner.bound_to(field), &mut text)
            .expect("a field is far shorter than the algorithm allows");
        text.insert(0, VERSION);
        Sealed::new(text)
    }

    /// Decrypts a field of this user; none when it is not theirs, another field's, or damaged.
    pub fn open(&self, owner: &UserRef, field: &str, sealed: &Sealed) -> Option<String> {
        let (&VERSION, text) = sealed.as_bytes().split_first()? else { return None };
        let mut text = text.to_vec();
        let nonce = Nonce::assume_unique_for_key([0; NONCE_LEN]);
        let plain = self.cipher().open_in_place(nonce, owner.bound_to(field), &mut text).ok()?;
        String::from_utf8(plain.to_vec()).ok()
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserKey(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ada() -> UserRef {
        UserRef::new(OrganizationId::default(), "ada").unwrap()
    }

    #[test]
    fn a_field_opens_under_its_key_user_and_name_only() {
        let key = UserKey::new([7; 32]);
        let sealed = key.seal(&ada(), "name", "Ada Lovelace");
        assert_eq!(key.open(&ada(), "name", &sealed).as_deref(), Some("Ada Lovelace"));
        assert_eq!(key.seal(&ada(), "name", "Ada Lovelace"), sealed, "the same again is the same");
        assert_ne!(key.seal(&ada(), "email", "Ada Lovelace"), sealed);
        let bob = UserRef::new(OrganizationId::default(), "bob").unwrap();
        assert_eq!(key.open(&bob, "name", &sealed), None);
        assert_eq!(key.open(&ada(), "email", &sealed), None);
        assert_eq!(UserKey::new([8; 32]).open(&ada(), "name", &sealed), None);
        for at in 0..sealed.as_bytes().len() {
            let mut bytes = sealed.as_bytes().to_vec();
            bytes[at] ^= 1;
            assert_eq!(key.open(&ada(), "name", &Sealed::new(bytes)), None, "byte {at}");
        }
        assert_eq!(key.open(&ada(), "name", &Sealed::new(vec![])), None);
    }

    #[test]
    fn what_was_sealed_once_opens_for_ever() {
        let key = UserKey::new([7; 32]);
        let hex: String =
            key.seal(&ada(), "name", "Ada").as_bytes().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(hex, "01b8dfa32ccb943ae175021c0689ceee2e75f3be");
    }

    #[test]
    fn ids_and_keys_show_no_secret_and_name_no_path() {
        assert_eq!(format!("{:?}", UserKey::new([7; 32])), "UserKey(..)");
        for wrong in ["", "../x", "a/b", "a.b", &"x".repeat(65)] {
            assert!(UserRef::new(OrganizationId::default(), wrong).is_err(), "{wrong}");
        }
    }
}
