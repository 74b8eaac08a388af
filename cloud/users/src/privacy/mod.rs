//! Crypto-shredding: each user has a key of their own, kept outside the journal; delete the key, and what the journal
//! says of the person is noise for ever, while its events stay valid and are replayed as before.
//!
//! Keys must not be in the backups of the journal, and a restored key store must be settled before it is used: see
//! [`Vault::settle`].

mod erasure;
mod export;
mod file;
mod key;
mod store;
mod vault;

pub use erasure::{Retained, Retention};
pub use export::{ERASED, export, licence_field};
pub use file::FileKeyStore;
pub use key::{UserKey, UserRef};
pub use store::{KeyError, KeyStore, MemoryKeyStore};
pub use vault::{Opened, Vault, VaultError};
