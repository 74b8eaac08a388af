//! Sagas in the journal, as entities beside all others.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use remuda_entities::projection::{Place, Projected, project};
use remuda_entities::{AskError, Entities, Outcome, SHELL_EVENTS, Settings, Shards};
use remuda_eventsourcing::{Aggregate, Context};
use remuda_model::OrganizationId;

use crate::aggregate::{Command, Saga, State};
use crate::host::{Executed, HostError, Recorded, SagaHost, SagaId};
use crate::index::{self, Begun, Ended, SagaIndex};
use crate::limits;

/// The host of a node. Cheap to clone.
#[derive(Clone)]
pub struct EntityHost {
    sagas: Entities<Saga>,
    index: Projected<SagaIndex>,
}

impl EntityHost {
    /// Starts the sagas' entities, and their index at `place`. Once a node.
    ///
    /// # Errors
    /// When the index cannot be opened or the entities do not start; the text says why.
    pub async fn start(shards: &Arc<Shards>, place: &Place) -> Result<Self, String> {
        let idle = Duration::from_secs(limits::ENTITY_IDLE_S);
        let settings = Settings { idle, active_max: limits::SAGAS_AT_ONCE * 2, ..Settings::default() };
        let sagas = Entities::<Saga>::start(shards, settings).await?;
        let index = project(shards, place, SagaIndex).await.map_err(|e| e.to_string())?;
        Ok(Self { sagas, index })
    }

    /// The entities, for who follows their events.
    pub const fn entities(&self) -> &Entities<Saga> {
        &self.sagas
    }

    /// The index, for its status.
    pub const fn index(&self) -> &Projected<SagaIndex> {
        &self.index
    }

    /// Sagas of an organisation that ended, the newest first, after the key of the last of the page before.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn ended(
        &self,
        organization: OrganizationId,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, Ended)>, HostError> {
        self.index
            .scan(&index::ended(organization), after, limit)
            .map_err(|e| HostError::Failed(e.to_string()))
    }

    /// Stops: the index is made durable, entities leave.
    pub async fn stop(&self) {
        self.index.stop().await;
        self.sagas.drain().await;
    }
}

impl From<AskError> for HostError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::Refused { code, text } => Self::Refused { code, text },
            AskError::Unreadable(unreadable) => Self::Unreadable(unreadable.to_string()),
            AskError::Invalid { .. } => Self::Refused { code: "invalid".to_owned(), text: error.to_string() },
            AskError::VersionMismatch { .. } | AskError::Overloaded { .. } | AskError::Unavailable { .. } => {
                Self::Failed(error.to_string())
            }
        }
    }
}

#[async_trait]
impl SagaHost for EntityHost {
    async fn execute(&self, id: &SagaId, command: Command, context: Context) -> Result<Executed, HostError> {
        let Outcome { events, repeated, .. } =
            self.sagas.ask(&id.organization, &id.id, command, context).await?;
        Ok(Executed { events, repeated })
    }

    async fn state(&self, id: &SagaId) -> Result<State, HostError> {
        Ok(self.sagas.read(&id.organization, &id.id).await?.state)
    }

    async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, HostError> {
        let mut history = Vec::new();
        let mut from = 1;
        loop {
            let page = self.sagas.history(&id.organization, &id.id, from, limits::HISTORY_PAGE).await;
            let page = page.map_err(|e| HostError::Failed(e.to_string()))?;
            let Some(last) = page.last() else { return Ok(history) };
            from = last.event.version + 1;
            for stored in
                page.into_iter().map(|e| e.event).filter(|e| !e.event_type.starts_with(SHELL_EVENTS))
            {
                let event = Saga::decode(&stored.event_type, stored.schema_version, &stored.payload)
                    .map_err(|e| HostError::Unreadable(e.to_string()))?;
                let (version, time_ms, actor) = (stored.version, stored.time_ms, stored.actor);
                history.push(Recorded { version, time_ms, actor, event });
            }
        }
    }

    async fn unended(&self) -> Result<Vec<SagaId>, HostError> {
        let failed = |e: remuda_entities::projection::Poisoned| HostError::Failed(e.to_string());
        self.index.caught_up().await.map_err(failed)?;
        let mut all = Vec::new();
        let mut after: Option<Vec<u8>> = None;
        loop {
            let page: Vec<(Vec<u8>, Begun)> =
                self.index.scan(&index::unended(), after.as_deref(), limits::HISTORY_PAGE).map_err(failed)?;
            let Some((last, _)) = page.last() else { return Ok(all) };
            after = Some(last.clone());
            for (_, begun) in page {
                let organization = OrganizationId::new(&begun.organization)
                    .map_err(|e| HostError::Unreadable(format!("an organisation's id in the index: {e}")))?;
                all.push(SagaId::new(organization, begun.id));
            }
        }
    }
}
