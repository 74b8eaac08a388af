//! A host whose process dies at a write.

use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_eventsourcing::Context;
use tokio::sync::watch;

use crate::aggregate::{Command, State};
use crate::host::{Executed, HostError, Recorded, SagaHost, SagaId};

/// Where in a write the process dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing is written.
    Before,
    /// It is written, and nobody hears of it.
    After,
}

/// Passes on to a host that outlives it, until it dies: then no call ever returns.
pub struct DyingHost {
    host: Arc<dyn SagaHost>,
    left: Mutex<Option<(u64, Moment)>>,
    dead: watch::Sender<bool>,
}

impl DyingHost {
    /// Dies at the `at`-th write, from 1; never for 0.
    pub fn new(host: Arc<dyn SagaHost>, at: u64, moment: Moment) -> Self {
        let left = Mutex::new((at > 0).then_some((at, moment)));
        Self { host, left, dead: watch::Sender::new(false) }
    }

    /// Returns when it has died.
    pub async fn died(&self) {
        let mut dead = self.dead.subscribe();
        // The sender is in `self`.
        let _ = dead.wait_for(|dead| *dead).await;
    }

    /// Whether it has died.
    pub fn is_dead(&self) -> bool {
        *self.dead.borrow()
    }

    /// Counts a write down; answers where it dies, if this is the one.
    fn strike(&self) -> Option<Moment> {
        let mut left = self.left.lock();
        let (writes, moment) = (*left)?;
        *left = Some((writes.saturating_sub(1), moment));
        (writes == 1).then_some(moment)
    }

    async fn alive(&self) {
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
    }

    async fn die(&self) -> ! {
        self.dead.send_replace(true);
        std::future::pending().await
    }
}

#[async_trait]
impl SagaHost for DyingHost {
    async fn execute(&self, id: &SagaId, command: Command, context: Context) -> Result<Executed, HostError> {
        self.alive().await;
        match self.strike() {
            Some(Moment::Before) => self.die().await,
            Some(Moment::After) => {
                // Dead from here on for everybody else, too.
                let _ = self.host.execute(id, command, context).await;
                self.die().await
            }
            None => {
                let executed = self.host.execute(id, command, context).await;
                self.alive().await;
                executed
            }
        }
    }

    async fn state(&self, id: &SagaId) -> Result<State, HostError> {
        self.alive().await;
        self.host.state(id).await
    }

    async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError> {
        self.alive().await;
        self.host.history(id).await
    }

    async fn unended(&self) -> Result<Vec<SagaId>, HostError> {
        self.alive().await;
        self.host.unended().await
    }
}
