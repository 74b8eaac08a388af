//! Why a backup cannot be taken, read or restored: one sentence that says what to do.

use std::io;
use std::path::{Path, PathBuf};

use remuda_eventsourcing::JournalError;
use remuda_identity::RegisterError;
use remuda_lake::LakeError;

/// Why not.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// A file of the repository or of the data folder.
    #[error("{path} cannot be {what}: {source}")]
    File {
        /// Which.
        path: PathBuf,
        /// `read`, `written`, ...
        what: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// It is something else.
    #[error("{0} holds no backups of Remuda; name the folder that was given to remuda backup --to")]
    NotARepository(PathBuf),
    /// It holds other things.
    #[error("{0} is neither empty nor a folder of backups; name a new folder")]
    Occupied(PathBuf),
    /// A release of the future wrote it.
    #[error(
        "{path} has the format {format}, this release reads up to {known}; use the release that wrote it"
    )]
    Format {
        /// Which.
        path: PathBuf,
        /// What it has.
        format: u32,
        /// What we know.
        known: u32,
    },
    /// Somebody else is at work.
    #[error("another backup, prune or restore is at work in {0}; wait for its end")]
    Busy(PathBuf),
    /// The journal.
    #[error("{0}")]
    Journal(#[from] JournalError),
    /// The register.
    #[error("{0}")]
    Register(#[from] RegisterError),
    /// A committed file of the lake is not what was committed.
    #[error(
        "the lake file {path} {what}, so it cannot be backed up; run remuda lake verify on the stopped node, and put the \
         file back from an earlier backup"
    )]
    LakeFile {
        /// Its path below the lake's root.
        path: String,
        /// Such as `is missing`.
        what: &'static str,
    },
    /// The bucket that the lake lies in.
    #[error(
        "the lake's bucket {address} cannot be {what}; check lake.store, lake.s3 and the keys in the environment"
    )]
    Bucket {
        /// Its address.
        address: String,
        /// `listed`, `read`, ...
        what: &'static str,
        /// Why not.
        #[source]
        source: Box<LakeError>,
    },
    /// The snapshot names objects of another bucket.
    #[error(
        "the snapshot {snapshot} names files that lie in {named}, and this node's lake is {configured}; put {named} into \
         lake.store, or restore a snapshot that was taken with --copy"
    )]
    Elsewhere {
        /// Which snapshot.
        snapshot: String,
        /// The bucket that its files lie in.
        named: String,
        /// Where the lake of the node that is restored is.
        configured: String,
    },
    /// Copies go into an empty bucket only.
    #[error(
        "{address} holds {path}, which is not of this snapshot; put an empty folder of a bucket into lake.store: copies go \
         into a new lake only"
    )]
    BucketOccupied {
        /// The bucket.
        address: String,
        /// What is there.
        path: String,
    },
    /// Nobody could read it.
    #[error(
        "there is nobody to encrypt to; make a key with remuda backup keygen --out FILE, keep that file off this machine, and \
         put the line that it prints into backup.recipients"
    )]
    NoRecipients,
    /// Not an age recipient.
    #[error("{0:?} is no age recipient; it begins with age1")]
    Recipient(String),
    /// No key in it.
    #[error("{path} holds no age identity ({what}); name the file that remuda backup keygen wrote")]
    Identity {
        /// Which file.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// Encrypted, and no key was given.
    #[error("the backup is encrypted; name the key file of remuda backup keygen with --identity")]
    IdentityNeeded,
    /// Another key.
    #[error("{object} cannot be decrypted: {what}; is this the key of one of its recipients ({recipients})?")]
    Sealed {
        /// Which object.
        object: String,
        /// Why not.
        what: String,
        /// To whom it was encrypted.
        recipients: String,
    },
    /// Something is wrong with what was stored.
    #[error(
        "the backup is damaged: {what} ({object}); run remuda backup verify, and restore another snapshot"
    )]
    Damaged {
        /// Which object.
        object: String,
        /// What is wrong.
        what: String,
    },
    /// There is none of this name.
    #[error("there is no snapshot {0}; remuda backup list names those that are there")]
    NoSnapshot(String),
    /// Restoring goes onto an empty machine only.
    #[error(
        "{0} is not empty; a restore goes into a new or empty folder only, so move what is there away first (it may hold what \
         the backup lacks)"
    )]
    NotEmpty(PathBuf),
    /// What was restored does not agree with itself.
    #[error(
        "what was restored does not agree: {0}; nothing was put to use, restore another snapshot and keep this backup for a \
         look"
    )]
    Inconsistent(String),
    /// Too much.
    #[error("{what} has {bytes} bytes, more than the {max} that a backup takes")]
    TooLarge {
        /// What.
        what: String,
        /// How much.
        bytes: u64,
        /// How much it may have.
        max: u64,
    },
    /// A journal that is no part of the node as it is backed up.
    #[error(
        "{0} holds a journal that this release does not back up, so nothing was backed up; move it out of the data folder"
    )]
    LeftOut(PathBuf),
    /// Told to stop.
    #[error(
        "the backup was stopped before it was whole; what is copied is kept, and the next one goes on from there"
    )]
    Stopped,
}

impl BackupError {
    /// For `map_err` on calls about a file.
    pub(crate) fn file(path: &Path, what: &'static str) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::File { path, what, source }
    }

    pub(crate) fn damaged(object: &str, what: impl Into<String>) -> Self {
        Self::Damaged { object: object.to_owned(), what: what.into() }
    }
}
