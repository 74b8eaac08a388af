//! What riders say of their trips.

use std::fmt;

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};

/// What somebody said in their own words: personal, so it shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub struct Words(pub String);

impl fmt::Debug for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "words({} bytes)", self.0.len())
    }
}

/// A rider's wish to say something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GiveFeedback {
    /// Of which trip.
    pub trip: String,
    /// Who: the user who rode.
    pub rider: String,
    /// 1 to 5.
    pub stars: u8,
    /// In their words.
    pub comment: Option<Words>,
}

/// What a rider said of a trip.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackView {
    /// Of which trip.
    pub trip: String,
    /// Who rode.
    pub rider: String,
    /// Which vehicle.
    pub vehicle: String,
    /// 1 to 5.
    pub stars: u8,
    /// In their words; none when they said nothing, or when it cannot be read any more.
    pub comment: Option<Words>,
    /// They said something that nobody can read any more: they were erased.
    pub comment_erased: bool,
    /// When they first said it, ms since 1970 UTC.
    pub rated_ms: i64,
    /// When they last said it, ms since 1970 UTC.
    pub changed_ms: i64,
}

/// Feedback of riders.
#[async_trait]
pub trait FeedbackDesk: Send + Sync + 'static {
    /// Takes in what a rider says of their trip; said again within a day, it counts instead.
    async fn give_feedback(
        &self,
        organization: &OrganizationId,
        wish: GiveFeedback,
        asker: Asker,
    ) -> Result<FeedbackView, BusinessError>;

    /// What was said of one trip.
    async fn feedback(
        &self,
        organization: &OrganizationId,
        trip: &str,
    ) -> Result<FeedbackView, BusinessError>;

    /// Feedback, what was said last first, with so many stars when they are named; `after` is the token of the page before.
    async fn feedback_list(
        &self,
        organization: &OrganizationId,
        stars: Option<u8>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<FeedbackView>, Option<String>), BusinessError>;
}
