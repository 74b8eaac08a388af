//! Seals and opens personal fields with the keys of a store.

use std::sync::Arc;

use remuda_contracts::sealed::Sealed;

use super::key::UserRef;
use super::store::{KeyError, KeyStore};
use crate::limits;

/// A personal field as it reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// Its value.
    Text(String),
    /// The user is erased.
    Erased,
}

/// Why a field could not be sealed or opened.
#[derive(Debug, thiserror::Error)]
pub enum VaultError {
    /// The store could not.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// It is empty or too long.
    #[error("a personal field has 1 to 512 bytes, this one ({field}) has {bytes}")]
    Length {
        /// Which.
        field: String,
        /// How long it is.
        bytes: usize,
    },
    /// The ciphertext is not this user's field, or there is no key for it.
    #[error(
        "the field {0} cannot be opened: it is damaged, another user's, or its key is missing from the key store"
    )]
    CannotOpen(String),
}

/// Seals and opens. Blocks on the store: call it outside of async code, or where a few small reads are no harm.
#[derive(Clone)]
pub struct Vault {
    store: Arc<dyn KeyStore>,
}

impl Vault {
    /// With these keys.
    pub fn new(store: Arc<dyn KeyStore>) -> Self {
        Self { store }
    }

    /// Seals a field; makes the user's key when it is their first.
    ///
    /// # Errors
    /// For an erased user, a field of a wrong length, and when the store fails.
    pub fn seal(&self, user: &UserRef, field: &str, plain: &str) -> Result<Sealed, VaultError> {
        if plain.is_empty() || plain.len() > limits::FIELD_BYTES_MAX {
            return Err(VaultError::Length { field: field.to_owned(), bytes: plain.len() });
        }
        Ok(self.store.key_or_new(user)?.seal(user, field, plain))
    }

    /// Opens a field.
    ///
    /// # Errors
    /// When the store fails, or the field is not what was sealed under this name for this user.
    pub fn open(&self, user: &UserRef, field: &str, sealed: &Sealed) -> Result<Opened, VaultError> {
        let cannot = || VaultError::CannotOpen(field.to_owned());
        match self.store.key(user) {
            Ok(Some(key)) => key.open(user, field, sealed).map(Opened::Text).ok_or_else(cannot),
            Ok(None) => Err(cannot()),
            Err(KeyError::Erased) => Ok(Opened::Erased),
            Err(error) => Err(error.into()),
        }
    }

    /// Deletes a user's key: the effect of `user.erasure-ordered`. Again is the same.
    ///
    /// # Errors
    /// When the store fails: try again.
    pub fn shred(&self, user: &UserRef) -> Result<(), VaultError> {
        Ok(self.store.delete(user)?)
    }

    /// Deletes again the keys of users who are erased by the journal: a key store that came back from a backup may have
    /// them still. At start-up, before anything is opened.
    ///
    /// # Errors
    /// When the store fails: do not start.
    pub fn settle<'a>(&self, erased: impl IntoIterator<Item = &'a UserRef>) -> Result<(), VaultError> {
        erased.into_iter().try_for_each(|user| self.shred(user))
    }
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault")
    }
}
