//! Where keys are kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::rand;

use super::key::{UserKey, UserRef};

/// Why a key could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It was deleted and does not come back.
    #[error("the user is erased")]
    Erased,
    /// The store failed.
    #[error("the key store failed while {operation}: {source}")]
    Io {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The file is not what was written.
    #[error("the key of user {0} is damaged; restore the key store from its backup")]
    Damaged(String),
    /// No randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// Keys of users, outside the journal. Every change is durable when it answers.
pub trait KeyStore: Send + Sync + 'static {
    /// A user's key; none when there never was one.
    ///
    /// # Errors
    /// [`KeyError::Erased`] after [`KeyStore::delete`].
    fn key(&self, user: &UserRef) -> Result<Option<UserKey>, KeyError>;

    /// A user's key; made when there never was one.
    ///
    /// # Errors
    /// [`KeyError::Erased`] after [`KeyStore::delete`]: an erased user gets no second key.
    fn key_or_new(&self, user: &UserRef) -> Result<UserKey, KeyError>;

    /// Deletes the key for ever; also of a user who never had one. Again is the same.
    ///
    /// # Errors
    /// When the store failed: then nothing is sure.
    fn delete(&self, user: &UserRef) -> Result<(), KeyError>;
}

/// 32 random bytes.
pub(super) fn fresh() -> Result<UserKey, KeyError> {
    let mut bytes = [0; 32];
    rand::fill(&mut bytes).map_err(|_| KeyError::NoRandomness)?;
    Ok(UserKey::new(bytes))
}

/// Keys in memory: for tests, and a demo that leaves nothing behind.
#[derive(Debug, Default)]
pub struct MemoryKeyStore {
    /// None = deleted.
    keys: Mutex<BTreeMap<UserRef, Option<UserKey>>>,
}

impl KeyStore for MemoryKeyStore {
    fn key(&self, user: &UserRef) -> Result<Option<UserKey>, KeyError> {
        let keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(user) {
            None => Ok(None),
            Some(Some(key)) => Ok(Some(key.clone())),
            Some(None) => Err(KeyError::Erased),
        }
    }

    fn key_or_new(&self, user: &UserRef) -> Result<UserKey, KeyError> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(user) {
            Some(Some(key)) => Ok(key.clone()),
            Some(None) => Err(KeyError::Erased),
            None => {
                let key = fresh()?;
                keys.insert(user.clone(), Some(key.clone()));
                Ok(key)
            }
        }
    }

    fn delete(&self, user: &UserRef) -> Result<(), KeyError> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner).insert(user.clone(), None);
        Ok(())
    }
}
