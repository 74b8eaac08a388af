//! What goes wrong, from a seed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_billing::provider::{
    PaymentProvider, ProviderAnswer, ProviderError, ProviderRequest, StatementLine,
};
use remuda_saga::{ActionSpec, Service, StepContext, StepError};
use serde_json::{Value, json};

/// SplitMix64.
pub fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

/// Dies at a write, before or after it reached the disk, with this chance in a hundred thousand.
///
/// # Errors
/// When the crash points cannot be set.
pub fn die_at_writes(chance: u64, seed: u64) -> Result<(), String> {
    if chance == 0 {
        return Ok(());
    }
    // One after so many writes: drawn here, so that the seed says when.
    let after = |what| mix(seed ^ what) % (200_000 / chance).max(1);
    fail::cfg("append-before-sync", &format!("{}*off->return", after(1)))?;
    fail::cfg("append-after-sync", &format!("{}*off->return", after(2)))
}

/// Draws faults, and counts them.
pub struct Chance {
    seed: u64,
    draws: AtomicU64,
    faults: AtomicU64,
}

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self { seed, draws: AtomicU64::new(0), faults: AtomicU64::new(0) }
    }

    /// 0 to 999.
    fn draw(&self) -> u64 {
        mix(self.seed ^ mix(self.draws.fetch_add(1, Ordering::Relaxed))) % 1_000
    }

    fn fault(&self) {
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    pub fn drawn(&self) -> u64 {
        self.faults.load(Ordering::Relaxed)
    }
}

/// A provider whose calls fail before, fail after, hang for a while, happen twice, and are answered once more later.
pub struct Flaky {
    pub provider: Arc<dyn PaymentProvider>,
    pub chance: Arc<Chance>,
    pub echoes: Mutex<Vec<(String, ProviderAnswer)>>,
}

#[async_trait]
impl PaymentProvider for Flaky {
    async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError> {
        let drawn = self.chance.draw();
        if drawn < 180 {
            self.chance.fault();
        }
        match drawn {
            0..40 => return Err(ProviderError::Unavailable("503".into())),
            40..60 => tokio::time::sleep(Duration::from_millis(400)).await,
            60..90 => drop(self.provider.call(request).await),
            _ => {}
        }
        let answer = self.provider.call(request).await?;
        match drawn {
            90..140 => Err(ProviderError::Lost("connection reset".into())),
            140..180 => {
                self.echoes.lock().push((request.key.clone(), answer.clone()));
                Ok(answer)
            }
            _ => Ok(answer),
        }
    }

    async fn late_answers(&self) -> Vec<(String, ProviderAnswer)> {
        std::mem::take(&mut self.echoes.lock())
    }

    async fn statement(&self, from_ms: i64, to_ms: i64) -> Result<Vec<StatementLine>, ProviderError> {
        self.provider.statement(from_ms, to_ms).await
    }
}

/// Tells riders, mostly: sometimes not at all, sometimes without saying so.
pub struct Herald(pub Arc<Chance>);

#[async_trait]
impl Service for Herald {
    fn name(&self) -> &'static str {
        "notification-service"
    }

    fn actions(&self) -> &'static [ActionSpec] {
        const {
            &[
                ActionSpec::undone_by("send-confirmation", "send-cancellation"),
                ActionSpec::plain("send-cancellation"),
            ]
        }
    }

    async fn call(&self, action: &str, _: &str, _: &StepContext) -> Result<Value, StepError> {
        let drawn = self.0.draw();
        if drawn < 80 {
            self.0.fault();
        }
        match (drawn, action) {
            (0..30, "send-confirmation") => Err(StepError::refused("no-address", "nobody knows where to")),
            (30..60, _) => Err(StepError::Transient("the relay is busy".into())),
            (60..80, _) => Err(StepError::Unknown("the answer was lost".into())),
            _ => Ok(json!({})),
        }
    }
}
