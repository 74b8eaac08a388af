use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// Why an outbox cannot do what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum OutboxError {
    /// A file operation failed.
    #[error("the outbox cannot {what} {path}: {source}; check space and permissions")]
    File {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: Arc<io::Error>,
    },
    /// Somebody else has it.
    #[error("the outbox {0} is in use by another process; stop it, or name another directory")]
    InUse(PathBuf),
    /// A write failed earlier: what is on disk is not known any more.
    #[error("the outbox stopped after a failed write: {0}; restart the agent once the disk is well")]
    Poisoned(String),
    /// It was closed; a handle of it is still in use.
    #[error("the outbox is closed; stop its agents first")]
    Closed,
    /// Segment ids are used up, or a frame is larger than any can be.
    #[error("the outbox is used up; move its directory away and start again")]
    UsedUp,
}

impl OutboxError {
    pub(crate) fn file(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { what, path, source: Arc::new(source) }
    }
}
