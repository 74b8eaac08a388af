//! A host in memory: for tests, with every event passed through its stored form.

use std::collections::BTreeMap;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_eventsourcing::{Aggregate, Context};

use crate::aggregate::{Command, Saga, SagaEvent, State};
use crate::host::{Executed, HostError, Recorded, SagaHost, SagaId};

/// Sagas that are gone with their process, unless somebody keeps the host.
#[derive(Debug, Default)]
pub struct MemoryHost {
    sagas: Mutex<BTreeMap<SagaId, Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    state: State,
    events: Vec<Recorded>,
    commands: BTreeMap<String, Vec<SagaEvent>>,
}

impl MemoryHost {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Ids of all sagas.
    pub fn ids(&self) -> Vec<SagaId> {
        self.sagas.lock().keys().cloned().collect()
    }

    /// Decides, and writes what follows, in one moment.
    ///
    /// # Errors
    /// What the saga refuses.
    pub fn write(&self, id: &SagaId, command: &Command, context: &Context) -> Result<Executed, HostError> {
        let mut sagas = self.sagas.lock();
        let fresh = !sagas.contains_key(id);
        let kept = sagas.entry(id.clone()).or_default();
        if let Some(events) = kept.commands.get(&context.command_id) {
            return Ok(Executed { events: events.clone(), repeated: true });
        }
        let decided = match Saga::decide(&kept.state, command, context) {
            Ok(events) => events,
            Err(refusal) => {
                if fresh {
                    sagas.remove(id);
                }
                return Err(refusal.into());
            }
        };
        for event in &decided {
            let stored = Saga::encode(event);
            let event = Saga::decode(stored.event_type, stored.schema_version, &stored.payload)
                .map_err(|e| HostError::Unreadable(e.to_string()))?;
            Saga::evolve(&mut kept.state, &event);
            let version = kept.events.len() as u64 + 1;
            kept.events.push(Recorded {
                version,
                time_ms: context.now_ms,
                actor: context.actor.clone(),
                event,
            });
        }
        kept.commands.insert(context.command_id.clone(), decided.clone());
        Ok(Executed { events: decided, repeated: false })
    }

    /// A saga's events.
    pub fn events(&self, id: &SagaId) -> Vec<SagaEvent> {
        self.sagas
            .lock()
            .get(id)
            .map(|k| k.events.iter().map(|r| r.event.clone()).collect())
            .unwrap_or_default()
    }
}

#[async_trait]
impl SagaHost for MemoryHost {
    async fn execute(&self, id: &SagaId, command: Command, context: Context) -> Result<Executed, HostError> {
        // Others get their turn between a decision and its answer, as they would with a disk.
        tokio::task::yield_now().await;
        let written = self.write(id, &command, &context);
        tokio::task::yield_now().await;
        written
    }

    async fn state(&self, id: &SagaId) -> Result<State, HostError> {
        Ok(self.sagas.lock().get(id).map(|kept| kept.state.clone()).unwrap_or_default())
    }

    async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError> {
        Ok(self.sagas.lock().get(id).map(|kept| kept.events.clone()).unwrap_or_default())
    }

    async fn unended(&self) -> Result<Vec<SagaId>, HostError> {
        let sagas = self.sagas.lock();
        Ok(sagas.iter().filter(|(_, kept)| !kept.state.is_ended()).map(|(id, _)| id.clone()).collect())
    }
}
