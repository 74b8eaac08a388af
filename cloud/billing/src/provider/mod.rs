//! Who takes the money: the port to a payment provider, the meter around it, and a fake with every fault.

mod fake;
mod gateway;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use fake::{FakeProvider, Faults};
pub use gateway::Gateway;

use crate::money::Money;
use crate::payment::{Method, OperationKind};

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderRequest {
    /// Idempotency key: the same key is answered the same and done once.
    pub key: String,
    /// Whose payment: the ride.
    pub payment: String,
    /// Who pays: a user's id.
    pub payer: String,
    /// What.
    pub kind: OperationKind,
    /// How the rider pays.
    pub method: Method,
    /// How much; nothing for a void.
    pub amount: Option<Money>,
    /// The provider's name of the hold or capture that it acts on.
    pub reference: Option<String>,
    /// The key of the hold that it acts on, when the provider never told a name.
    pub on_key: Option<String>,
    /// Now, ms since 1970 UTC.
    pub now_ms: i64,
}

/// A definite answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProviderAnswer {
    /// Done.
    Done {
        /// Its name of what it did.
        reference: String,
    },
    /// No, for good.
    Declined {
        /// A short code.
        code: String,
    },
}

/// No definite answer. Ask again with the same key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProviderError {
    /// It said that nothing was done.
    #[error("the payment provider is not available: {0}")]
    Unavailable(String),
    /// Nobody knows.
    #[error("the payment provider's answer was lost: {0}")]
    Lost(String),
    /// Nobody knows; it took too long.
    #[error("the payment provider did not answer within {0} s")]
    Timeout(u64),
}

impl ProviderError {
    /// Stable name, for metrics.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Unavailable(_) => "unavailable",
            Self::Lost(_) => "lost",
            Self::Timeout(_) => "timeout",
        }
    }
}

/// A line of the provider's statement. What it took is positive, what it gave back negative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatementLine {
    /// Its name of the movement.
    pub reference: String,
    /// Ours, when it kept it.
    pub payment: Option<String>,
    /// How much.
    pub amount: Money,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// A payment provider.
#[async_trait]
pub trait PaymentProvider: Send + Sync + 'static {
    /// Does an operation once per key.
    ///
    /// # Errors
    /// [`ProviderError`] when there is no definite answer.
    async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError>;

    /// Answers that came by themselves (a provider's own webhooks), by key, since the last time: perhaps
    /// late, perhaps twice.
    async fn late_answers(&self) -> Vec<(String, ProviderAnswer)> {
        Vec::new()
    }

    /// What moved, from one time to before another, ms since 1970 UTC.
    ///
    /// # Errors
    /// [`ProviderError`].
    async fn statement(&self, from_ms: i64, to_ms: i64) -> Result<Vec<StatementLine>, ProviderError>;
}
