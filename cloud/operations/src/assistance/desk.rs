//! The way to ask, for the console.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::assistance::{
    AssistanceDesk, AssistanceOutcome, AssistanceState, AssistanceView, SeesVehicle,
};
use remuda_contracts::operations::OperationsError;
use remuda_model::OrganizationId;
use remuda_wire::Decided;
use tokio::sync::watch;

use super::runner::{Helping, words_of};
use super::{Assistance, AssistanceCommand, Ending, Phase};
use crate::desk::{failed, unlisted};
use crate::limits;

/// See [`AssistanceDesk`].
pub(crate) struct Desk(pub Arc<Helping>);

/// None before a vehicle asked.
fn view_of(id: &str, request: &Assistance, version: u64) -> Option<AssistanceView> {
    let asked = request.asked.as_ref()?;
    let question = &asked.question;
    let state = match (&request.ending, &request.decided, request.phase) {
        (Some(_), _, _) => AssistanceState::Ended,
        (None, Some(_), _) => AssistanceState::Acting,
        (None, None, Phase::New | Phase::Waiting) => AssistanceState::Asked,
        (None, None, Phase::Taken) => AssistanceState::Taken,
        (None, None, Phase::Answered) => AssistanceState::Answered,
        (None, None, Phase::Expired) => AssistanceState::Expired,
    };
    let outcome = match (&request.decided, &request.ending) {
        (Some(decided), _) => Some(match decided.why {
            Decided::Answered => AssistanceOutcome::Answered,
            Decided::TimedOut => AssistanceOutcome::TimedOut,
            Decided::Restarted => AssistanceOutcome::Restarted,
        }),
        (None, Some(_)) => Some(AssistanceOutcome::Unknown),
        (None, None) => None,
    };
    let taken = request.taken.as_ref();
    let answered = request.answered.as_ref();
    Some(AssistanceView {
        id: id.to_owned(),
        vehicle: asked.vehicle,
        question: question.text.clone(),
        options: question.options.clone(),
        safe_default: question.safe_default,
        position: question.position,
        state,
        taken_by: taken.map(|taken| taken.by.clone()).unwrap_or_default(),
        taken_ms: taken.map_or(0, |taken| taken.time_ms),
        answered_by: answered.map(|answered| answered.by.clone()).unwrap_or_default(),
        answered_ms: answered.map_or(0, |answered| answered.time_ms),
        answer: answered.map(|answered| answered.option),
        reason: answered.map(|answered| answered.reason.clone()).unwrap_or_default(),
        command: request.given.clone().unwrap_or_default(),
        not_given: request.not_given.clone(),
        outcome,
        decided: request.decided.map(|decided| decided.option),
        acted: match &request.ending {
            Some(Ending::Acted(outcome)) => words_of(outcome),
            Some(Ending::Forgotten) => "unknown".into(),
            None => String::new(),
        },
        asked_ms: asked.asked_ms,
        deadline_ms: asked.deadline_ms,
        changed_ms: request.changed_ms,
        version,
    })
}

impl Desk {
    async fn decided(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        command: AssistanceCommand,
        (by, word): (&str, &'static str),
    ) -> Result<AssistanceView, OperationsError> {
        // Decided anew each time: a repetition is recognised by what is there.
        let context = self.0.context(by, format!("{word}/{:032x}", rand::random::<u128>()), id);
        let done = self.0.ask(organization, id, expected, command, context).await;
        done.map_err(|e| failed("assistance-request", id, e))?;
        self.get(organization, id).await
    }
}

#[async_trait]
impl AssistanceDesk for Desk {
    async fn get(&self, organization: &OrganizationId, id: &str) -> Result<AssistanceView, OperationsError> {
        let seen = self.0.requests.read(organization, id).await;
        let seen = seen.map_err(|e| failed("assistance-request", id, e))?;
        view_of(id, &seen.state, seen.version)
            .ok_or_else(|| OperationsError::NotFound { what: "assistance-request", id: id.to_owned() })
    }

    async fn list(
        &self,
        organization: &OrganizationId,
        open: bool,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AssistanceView>, OperationsError> {
        let lists = &self.0.lists;
        lists.projected().caught_up().await.map_err(unlisted)?;
        let found =
            lists.requests(organization, open, after, limit.min(limits::PAGE_MAX)).map_err(unlisted)?;
        Ok(found.iter().filter_map(|line| view_of(&line.id, &line.request, line.version)).collect())
    }

    async fn changed_since(
        &self,
        organization: &OrganizationId,
        since_ms: i64,
        limit: usize,
        sees: SeesVehicle<'_>,
    ) -> Result<Vec<AssistanceView>, OperationsError> {
        let lists = &self.0.lists;
        lists.projected().caught_up().await.map_err(unlisted)?;
        let found = lists.changed(organization, since_ms, limit, sees).map_err(unlisted)?;
        Ok(found.iter().filter_map(|line| view_of(&line.id, &line.request, line.version)).collect())
    }

    async fn take(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
    ) -> Result<AssistanceView, OperationsError> {
        let take = AssistanceCommand::Take { by: by.to_owned() };
        self.decided(organization, id, expected, take, (by, "take")).await
    }

    async fn release(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
        reason: &str,
    ) -> Result<AssistanceView, OperationsError> {
        let release = AssistanceCommand::Release { by: by.to_owned(), reason: reason.to_owned() };
        self.decided(organization, id, expected, release, (by, "release")).await
    }

    async fn answer(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        by: &str,
        choice: (u32, &str),
    ) -> Result<AssistanceView, OperationsError> {
        let (option, reason) = choice;
        // A number that no vehicle can offer is refused as any other that this one did not.
        let option = u8::try_from(option).unwrap_or(u8::MAX);
        let answer = AssistanceCommand::Answer { by: by.to_owned(), option, reason: reason.to_owned() };
        self.decided(organization, id, expected, answer, (by, "answer")).await?;
        // Now; what cannot be given now is given by the sweep.
        if let Err(error) = self.0.advance(organization, id).await {
            tracing::warn!(assistance = id, %error, "an answer is given later");
            self.0.sweep.notify_one();
        }
        self.get(organization, id).await
    }

    fn now_ms(&self) -> i64 {
        (self.0.clock)()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.changed.subscribe()
    }
}
