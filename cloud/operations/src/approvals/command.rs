//! What is asked of an approval.

use super::event::{Content, Person};

/// A wish; [`super::decide()`] may refuse it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApprovalCommand {
    /// Have this wait for a second person.
    Ask {
        /// What.
        content: Content,
        /// Why it must.
        because: String,
        /// Who wants it.
        by: Person,
        /// How long it may wait, ms.
        ttl_ms: i64,
    },
    /// Agree to it.
    Approve {
        /// SHA-256 of what was seen.
        digest: [u8; 32],
        /// Who agrees.
        by: Person,
        /// What they say.
        reason: String,
    },
    /// Say no.
    Deny {
        /// Who.
        by: Person,
        /// Why.
        reason: String,
    },
    /// Time has passed.
    Expire,
    /// It was carried out, or could not be.
    Conclude {
        /// What came of it.
        result: String,
    },
}
