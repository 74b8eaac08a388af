//! What can go wrong with feeds, in sentences for people.

use remuda_eventsourcing::JournalError;
use remuda_lake::LakeError;

use crate::cursor::TokenError;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// There is no such feed.
    #[error("there is no feed `{0}`; list the feeds to see which there are")]
    NoSuchFeed(String),
    /// The name is taken.
    #[error("there is a feed `{0}` already; choose another name, or delete that one first")]
    Exists(String),
    /// A setting that makes no sense.
    #[error("{field}: {problem}")]
    Setting {
        /// Which.
        field: &'static str,
        /// Why, and what to write instead.
        problem: String,
    },
    /// There are too many.
    #[error("{0} is the most there can be; delete one first")]
    TooMany(usize),
    /// A cursor that is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// There is no such dead letter.
    #[error("the feed has no dead letter {0}; list them to see which there are")]
    NoSuchDeadLetter(u64),
    /// A dead letter that the sink still does not take.
    #[error("the sink does not take it: {0}")]
    NotTaken(String),
    /// The journal.
    #[error("the journal cannot be read")]
    Journal(#[from] JournalError),
    /// The lake.
    #[error("the lake cannot be read")]
    Lake(#[from] LakeError),
    /// The feed's own files.
    #[error("the feeds' files cannot be {operation}: {source}; check the disk and the folder's owner")]
    Files {
        /// What was tried.
        operation: &'static str,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
}

impl FeedError {
    pub(crate) fn setting(field: &'static str, problem: impl Into<String>) -> Self {
        Self::Setting { field, problem: problem.into() }
    }
}
