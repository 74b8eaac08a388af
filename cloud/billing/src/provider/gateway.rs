//! The only way to the provider: every call is bounded in time and counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::{PaymentProvider, ProviderAnswer, ProviderError, ProviderRequest, StatementLine};
use crate::limits::PROVIDER_TIMEOUT;
use crate::metrics::PaymentMetrics;

/// A provider behind a meter. The rest of billing is given this and never the provider, so no path avoids the
/// figures.
#[derive(Clone)]
pub struct Gateway {
    provider: Arc<dyn PaymentProvider>,
    metrics: PaymentMetrics,
    bound: Duration,
}

impl Gateway {
    /// Around a provider.
    pub fn new(provider: Arc<dyn PaymentProvider>, metrics: PaymentMetrics) -> Self {
        Self { provider, metrics, bound: PROVIDER_TIMEOUT }
    }

    /// With another bound per call than [`PROVIDER_TIMEOUT`].
    #[must_use]
    pub fn with_timeout(mut self, bound: Duration) -> Self {
        self.bound = bound;
        self
    }

    /// Does an operation once per key.
    ///
    /// # Errors
    /// [`ProviderError`] when there is no definite answer in time.
    pub async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError> {
        let open = self.metrics.attempt(request.method, request.amount);
        let started = Instant::now();
        let answer = match timeout(self.bound, self.provider.call(request)).await {
            Ok(answer) => answer,
            Err(_) => Err(ProviderError::Timeout(self.bound.as_secs())),
        };
        open.ended(&answer, started.elapsed());
        answer
    }

    /// Answers that came by themselves.
    pub async fn late_answers(&self) -> Vec<(String, ProviderAnswer)> {
        timeout(self.bound, self.provider.late_answers()).await.unwrap_or_default()
    }

    /// The provider's statement.
    ///
    /// # Errors
    /// [`ProviderError`].
    pub async fn statement(&self, from_ms: i64, to_ms: i64) -> Result<Vec<StatementLine>, ProviderError> {
        let statement = timeout(self.bound, self.provider.statement(from_ms, to_ms)).await;
        statement.unwrap_or(Err(ProviderError::Timeout(self.bound.as_secs())))
    }
}
