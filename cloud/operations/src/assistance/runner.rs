//! Brings what vehicles say to their requests, gives answers to vehicles, and notices when time is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use remuda_contracts::assistance::{ReportOffsets, Reports, VehicleReport};
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest};
use remuda_entities::{AskError, Entities};
use remuda_eventsourcing::Context;
use remuda_model::OrganizationId;
use remuda_wire::frame::CommandOutcome;
use remuda_wire::{CommandKind, Event, Question};
use tokio::sync::{Notify, watch};

use super::event::Asked;
use super::lists::AssistanceDirectory;
use super::{Assistance, AssistanceCommand, AssistanceEvent, Requests, id_of};
use crate::groups::runner::stopped;
use crate::limits;
use crate::metrics::OperationsMetrics;
use crate::start::Clock;

/// What brings requests, answers and time together.
pub(crate) struct Helping {
    pub requests: Entities<Requests>,
    pub lists: AssistanceDirectory,
    pub desk: Arc<dyn CommandDesk>,
    pub clock: Clock,
    pub metrics: OperationsMetrics,
    pub organization: OrganizationId,
    /// Moves with every change of a request.
    pub changed: watch::Sender<u64>,
    /// Has open requests looked at now.
    pub sweep: Notify,
}

impl Helping {
    pub fn context(&self, actor: &str, command_id: String, id: &str) -> Context {
        Context { now_ms: (self.clock)(), command_id, actor: actor.to_owned(), correlation_id: id.to_owned() }
    }

    /// Asks the request, counts what followed, and tells watchers.
    pub async fn ask(
        &self,
        organization: &OrganizationId,
        id: &str,
        expected: Option<u64>,
        command: AssistanceCommand,
        context: Context,
    ) -> Result<(), AskError> {
        let done = self.requests.ask_at(organization, id, expected, command, context).await?;
        if done.repeated || done.events.is_empty() {
            return Ok(());
        }
        let state = self.requests.read(organization, id).await?.state;
        for event in &done.events {
            self.count(event, &state);
        }
        self.changed.send_modify(|count| *count += 1);
        Ok(())
    }

    fn count(&self, event: &AssistanceEvent, state: &Assistance) {
        use AssistanceEvent as E;
        let Some(Asked { asked_ms, .. }) = &state.asked else { return };
        let waited_ms = |time_ms: i64| (time_ms - asked_ms).max(0);
        match event {
            E::Asked(_) => self.metrics.assistance("asked"),
            E::Taken(e) => self.metrics.assistance_wait("taken", waited_ms(e.time_ms)),
            E::Answered(e) => self.metrics.assistance_wait("answered", waited_ms(e.time_ms)),
            E::Decided(e) => self.metrics.assistance(match e.why {
                remuda_wire::Decided::Answered => "answered",
                remuda_wire::Decided::TimedOut => "timed-out",
                remuda_wire::Decided::Restarted => "restarted",
            }),
            E::Acted(e) if !matches!(e.outcome, CommandOutcome::Done) => {
                self.metrics.assistance("action-failed");
            }
            E::Forgotten(_) => self.metrics.assistance("unknown"),
            E::Released(_) | E::Given(_) | E::Expired(_) | E::Acted(_) => {}
        }
    }

    /// Brings one report to its request. True: it need not be brought again.
    async fn bring(&self, report: &VehicleReport) -> bool {
        let (question, command) = match &report.event {
            Event::Asked(question) => {
                if !self.has_room(report, question).await {
                    return true;
                }
                let (vehicle, question) = (report.vehicle, question.clone());
                let asked_ms = report.time_ms - i64::from(question.waited_ms);
                (question.id, AssistanceCommand::Ask { vehicle, question, asked_ms })
            }
            Event::QuestionMoved { question, step } => {
                (*question, AssistanceCommand::Report { step: step.clone() })
            }
            _ => return true,
        };
        let id = id_of(&report.organization, &report.vehicle, &question);
        let actor = format!("vehicle/{}", report.vehicle);
        let context = self.context(&actor, format!("event/{}", report.event_id), &id);
        match self.ask(&report.organization, &id, None, command, context).await {
            Ok(()) => true,
            Err(AskError::Refused { code, .. }) => {
                // The end of a question that was not taken up, for instance.
                tracing::debug!(vehicle_id = %report.vehicle, assistance = id, code, "a report was passed over");
                true
            }
            Err(error) if error.is_transient() => {
                tracing::warn!(vehicle_id = %report.vehicle, %error, "a report is brought again soon");
                false
            }
            Err(error) => {
                self.metrics.assistance_dropped("unreadable");
                tracing::error!(vehicle_id = %report.vehicle, assistance = id, %error, "a report was dropped");
                true
            }
        }
    }

    /// Whether another question of this vehicle is taken up.
    async fn has_room(&self, report: &VehicleReport, question: &Question) -> bool {
        let id = id_of(&report.organization, &report.vehicle, &question.id);
        let known = self.requests.read(&report.organization, &id).await;
        if known.is_ok_and(|seen| seen.version > 0) {
            return true;
        }
        // A list that cannot be read is no reason to leave a vehicle alone.
        let _ = self.lists.projected().caught_up().await;
        let open =
            self.lists.open_of(&report.organization, &report.vehicle, limits::ASSISTANCE_OPEN_OF_VEHICLE_MAX);
        let all = self.lists.open(&report.organization, limits::ASSISTANCE_OPEN_MAX);
        let reason = if open.is_ok_and(|open| open >= limits::ASSISTANCE_OPEN_OF_VEHICLE_MAX) {
            "too-many-of-vehicle"
        } else if all.is_ok_and(|all| all.len() >= limits::ASSISTANCE_OPEN_MAX) {
            "too-many"
        } else {
            return true;
        };
        self.metrics.assistance_dropped(reason);
        tracing::warn!(vehicle_id = %report.vehicle, reason, "a question is not taken up; the vehicle takes its safe default");
        false
    }

    /// Gives an answer that is not on its way yet.
    pub async fn advance(&self, organization: &OrganizationId, id: &str) -> Result<(), AskError> {
        let request = self.requests.read(organization, id).await?.state;
        let Some(asked) = &request.asked else { return Ok(()) };
        if let (Some(answered), None) = (&request.answered, &request.given) {
            let now_ms = (self.clock)();
            let reason = match answered.reason.as_str() {
                "" => "an answer to its question",
                said => said,
            };
            let answer = CommandRequest {
                request_id: format!("assistance/{id}"),
                kind: CommandKind::Answer { question: asked.question.id, option: answered.option },
                reason: reason.to_owned(),
                requested_by: answered.by.clone(),
                // The vehicle's own clock decides whether it is in time; beyond that no command need live.
                ttl_ms: (asked.deadline_ms - now_ms).max(limits::ANSWER_TTL_MS_MIN),
                validate_only: false,
            };
            let given = match self.desk.queue(organization, &asked.vehicle, answer).await {
                Ok(command) => Ok(command.id),
                // It asked, so it exists: a node that has started anew may not know it again yet.
                Err(error @ (CommandError::Unavailable(_) | CommandError::NoSuchVehicle))
                    if now_ms < asked.deadline_ms =>
                {
                    return Err(AskError::Unavailable { reason: error.to_string() });
                }
                Err(error) => Err(error.to_string()),
            };
            let context = self.context("policy/assistance", format!("give/{id}"), id);
            self.ask(organization, id, None, AssistanceCommand::Give { given }, context).await?;
        }
        Ok(())
    }

    /// Looks at a request whose time may be over, or whose answer is not on its way.
    async fn look_at(&self, organization: &OrganizationId, id: &str) -> Result<(), AskError> {
        self.advance(organization, id).await?;
        let now_ms = (self.clock)();
        let context = self.context("policy/assistance", format!("sweep/{now_ms}"), id);
        self.ask(organization, id, None, AssistanceCommand::Sweep, context).await
    }
}

/// Looks at open requests until the node stops.
pub(crate) async fn sweep(helping: Arc<Helping>, mut stops: watch::Receiver<bool>) {
    loop {
        let _ = helping.lists.projected().caught_up().await;
        let open = helping.lists.open(&helping.organization, limits::ASSISTANCE_OPEN_MAX);
        let open = open.unwrap_or_else(|error| {
            tracing::warn!(%error, "open requests for assistance cannot be listed");
            Vec::new()
        });
        let waiting = open.iter().filter(|line| line.request.waits()).count();
        helping.metrics.assistance_waiting(waiting);
        let now_ms = (helping.clock)();
        for line in &open {
            let request = &line.request;
            let owed = request.answered.is_some() && request.given.is_none();
            let over = request.asked.as_ref().is_some_and(|asked| {
                let silent_ms = asked.deadline_ms.saturating_add(limits::ASSISTANCE_SILENCE_MS_MAX);
                now_ms >= if request.waits() { asked.deadline_ms } else { silent_ms }
            });
            if !owed && !over {
                continue;
            }
            if let Err(error) = helping.look_at(&helping.organization, &line.id).await {
                tracing::warn!(assistance = line.id, %error, "a request for assistance is looked at again soon");
            }
        }
        tokio::select! {
            () = stopped(&mut stops) => return,
            () = helping.sweep.notified() => {}
            () = tokio::time::sleep(limits::SWEEP) => {}
        }
    }
}

/// How far reports were read. Kept so that a start need not read them all; what is read again changes nothing.
pub(crate) struct Cursor {
    file: PathBuf,
}

impl Cursor {
    pub fn new(folder: &Path) -> Self {
        Self { file: folder.join("assistance.cursor") }
    }

    /// From the beginning, when it is not there or cannot be read.
    pub fn read(&self) -> ReportOffsets {
        let bytes = std::fs::read(&self.file).unwrap_or_default();
        postcard::from_bytes(&bytes).unwrap_or_default()
    }

    fn write(&self, offsets: &ReportOffsets) -> std::io::Result<()> {
        let bytes = postcard::to_allocvec(offsets).unwrap_or_default();
        let beside = self.file.with_extension("new");
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder)?;
        }
        std::fs::write(&beside, bytes)?;
        std::fs::rename(&beside, &self.file)
    }
}

/// Reads reports and brings them, until the node stops.
pub(crate) async fn read_reports(
    helping: Arc<Helping>,
    reports: Arc<dyn Reports>,
    cursor: Cursor,
    mut stops: watch::Receiver<bool>,
) {
    let mut changes = reports.changes();
    let mut offsets = cursor.read();
    let mut kept = offsets.clone();
    loop {
        changes.mark_unchanged();
        let read = async {
            loop {
                let page = match reports.questions(&offsets).await {
                    Ok(page) => page,
                    Err(error) => {
                        tracing::warn!(error, "what vehicles ask cannot be read; it is tried again");
                        return limits::AGAIN;
                    }
                };
                for report in &page.reports {
                    while !helping.bring(report).await {
                        tokio::time::sleep(limits::AGAIN).await;
                    }
                }
                offsets = page.offsets;
                if !page.more {
                    return limits::REPORTS_LOOK;
                }
            }
        };
        let pause = tokio::select! {
            pause = read => pause,
            () = stopped(&mut stops) => return,
        };
        if offsets != kept {
            match cursor.write(&offsets) {
                Ok(()) => kept.clone_from(&offsets),
                Err(error) => tracing::warn!(%error, "how far vehicles' questions were read is not kept"),
            }
        }
        tokio::select! {
            // The vehicles' part is gone: only time tells.
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stops) => return,
        }
    }
}

/// What a report of acting says, in a word and the vehicle's own words.
pub(crate) fn words_of(outcome: &CommandOutcome) -> String {
    match outcome {
        CommandOutcome::Accepted => "accepted".into(),
        CommandOutcome::Done => "done".into(),
        CommandOutcome::Failed(why) => format!("failed: {why}"),
        CommandOutcome::Expired => "expired".into(),
        CommandOutcome::Refused(why) => format!("refused: {why}"),
        CommandOutcome::Unknown => "unknown".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_and_one_that_is_torn_begins_anew() {
        let folder = tempfile::tempdir().unwrap();
        let cursor = Cursor::new(&folder.path().join("new"));
        assert!(cursor.read().is_empty());
        cursor.write(&vec![1, 0, 300]).unwrap();
        assert_eq!(Cursor::new(&folder.path().join("new")).read(), [1, 0, 300]);
        std::fs::write(&cursor.file, [200]).unwrap();
        assert!(cursor.read().is_empty());
    }
}
