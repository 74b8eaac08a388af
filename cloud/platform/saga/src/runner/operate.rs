//! Looking at sagas, and what callers and operators may do with them.

use std::time::Duration;

use remuda_eventsourcing::{Aggregate, Context};
use remuda_model::OrganizationId;
use tokio::sync::oneshot;

use super::driver::Request;
use super::{Filter, Requester, SagaError, Sagas, Status, Summary};
use crate::aggregate::{Command, Saga, SagaRefusal};
use crate::host::{Recorded, SagaId};

/// Before looking again at a saga whose task is leaving.
const PAUSE: Duration = Duration::from_millis(5);

impl Sagas {
    /// Waits for a saga's end, or until it is stuck.
    ///
    /// # Errors
    /// When there is no such saga, or the node shuts down before.
    pub async fn wait(&self, id: &SagaId) -> Result<Summary, SagaError> {
        let over = |summary: &Summary| summary.status.is_ended() || summary.status == Status::Stuck;
        loop {
            let shown = self.inner.active.lock().get(id).map(|active| active.shown.clone());
            if let Some(mut shown) = shown
                && let Ok(summary) = shown.wait_for(over).await
            {
                return Ok(summary.clone());
            }
            let summary = self.get(id).await?;
            if over(&summary) {
                return Ok(summary);
            }
            if *self.inner.stopping.borrow() {
                return Err(SagaError::Stopping);
            }
            // Its task broke, or it was never taken up.
            self.drive(id, None);
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How a saga stands.
    ///
    /// # Errors
    /// When there is none, or the journal cannot say.
    pub async fn get(&self, id: &SagaId) -> Result<Summary, SagaError> {
        let shown = self.inner.active.lock().get(id).map(|active| active.shown.borrow().clone());
        match shown {
            Some(summary) if summary.status != Status::Loading => Ok(summary),
            _ => {
                let state = self.inner.host.state(id).await?;
                if state.started.is_none() {
                    return Err(SagaRefusal::NotStarted.into());
                }
                Ok(Summary::of(id, &state))
            }
        }
    }

    /// A saga's events, for [`crate::timeline()`].
    ///
    /// # Errors
    /// When there is none, or the journal cannot say.
    pub async fn history(&self, id: &SagaId) -> Result<Vec<Recorded>, SagaError> {
        let history = self.inner.host.history(id).await?;
        if history.is_empty() { Err(SagaRefusal::NotStarted.into()) } else { Ok(history) }
    }

    /// Sagas of an organisation that are under way, and those that ended lately; the newest first.
    pub fn list(&self, organization: OrganizationId, filter: &Filter) -> Vec<Summary> {
        let mut all: Vec<Summary> =
            self.inner.active.lock().values().map(|active| active.shown.borrow().clone()).collect();
        all.extend(self.inner.ended.lock().iter().cloned());
        all.retain(|summary| {
            summary.id.organization == organization
                && (filter.statuses.is_empty() || filter.statuses.contains(&summary.status))
                && filter.saga.as_ref().is_none_or(|saga| *saga == summary.saga)
        });
        all.sort_by(|a, b| (b.started_ms, &b.id).cmp(&(a.started_ms, &a.id)));
        all.truncate(filter.limit);
        all
    }

    /// Its caller no longer wants it: what was done is undone. Answers when that is written.
    ///
    /// # Errors
    /// When it has completed, or there is none.
    pub async fn cancel(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Cancel { reason: reason.to_owned(), uncalled: Vec::new() }, by).await
    }

    /// An operator has it undone, running or stuck.
    ///
    /// # Errors
    /// When it unwinds already or has ended, or no reason is given.
    pub async fn compensate(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Compensate { reason: reason.to_owned(), uncalled: Vec::new() }, by).await
    }

    /// An operator has mended what it was stuck on: it is tried again, with all its tries.
    ///
    /// # Errors
    /// When it is not stuck, or no reason is given.
    pub async fn retry(&self, id: &SagaId, reason: &str, by: &Requester) -> Result<Summary, SagaError> {
        self.request(id, Command::Retry { reason: reason.to_owned() }, by).await
    }

    /// An operator takes off a step whose undo was given up (it was undone by hand, or need not be), or ends a timer.
    ///
    /// # Errors
    /// When the step is neither, or no reason is given.
    pub async fn skip(
        &self,
        id: &SagaId,
        step: &str,
        reason: &str,
        by: &Requester,
    ) -> Result<Summary, SagaError> {
        let state = self.inner.host.state(id).await?;
        let definition = state.definition().ok_or(SagaRefusal::NotStarted)?;
        let Some((step, _)) = definition.step_named(step) else {
            let known: Vec<&str> = definition.steps.iter().map(|s| s.name.as_str()).collect();
            let text = format!("the saga has no step \"{step}\"; it has: {}", known.join(", "));
            return Err(SagaError::Invalid(text));
        };
        self.request(id, Command::Skip { step, reason: reason.to_owned() }, by).await
    }

    async fn request(&self, id: &SagaId, command: Command, by: &Requester) -> Result<Summary, SagaError> {
        let context = Context {
            now_ms: self.inner.now_ms(),
            command_id: by.request_id.clone(),
            actor: by.actor.clone(),
            correlation_id: id.id.clone(),
        };
        loop {
            let requests = self.inner.active.lock().get(id).map(|active| active.requests.clone());
            if let Some(requests) = requests {
                let (reply, answer) = oneshot::channel();
                let (actor, request_id) = (by.actor.clone(), by.request_id.clone());
                let request = Request { command: command.clone(), actor, request_id, reply };
                if requests.send(request).await.is_ok()
                    && let Ok(answer) = answer.await
                {
                    return answer;
                }
                // Its task ended meanwhile; let it leave.
                tokio::time::sleep(PAUSE).await;
            }
            if *self.inner.stopping.borrow() {
                return Err(SagaError::Stopping);
            }
            let state = self.inner.host.state(id).await?;
            if state.started.is_none() || state.is_ended() {
                // The machine knows what to say; there is nothing to write.
                Saga::decide(&state, &command, &context)?;
                return Ok(Summary::of(id, &state));
            }
            self.drive(id, None);
        }
    }
}
