//! Brings what vehicles say to their requests, gives answers to vehicles, and notices when time is over.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use remuda_contracts::assistance::{ReportOffsets, Reports, VehicleReport};
use remuda_contracts::commands::{CommandDesk, CommandError, CommandRequest, CommandState, CommandView};
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
            E::Returned(_) => self.metrics.assistance("not-given"),
            E::Released(_) | E::Given(_) | E::Expired(_) | E::Acted(_) => {}
        }
    }

    /// Whether whatever this report is about is forgotten by now: it would be made only to end, or come back.
    fn is_history(&self, report: &VehicleReport) -> bool {
        let waits_ms_max = i64::from(*remuda_wire::limits::QUESTION_TIMEOUT_MS.end());
        let forgotten_ms =
            report.received_ms.saturating_add(waits_ms_max + limits::ASSISTANCE_SILENCE_MS_MAX);
        forgotten_ms <= (self.clock)()
    }

    /// Brings one report to its request. True: it need not be brought again.
    async fn bring(&self, report: &VehicleReport) -> bool {
        if self.is_history(report) {
            return true;
        }
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
        let waiting = self.lists.waiting(&report.organization, limits::ASSISTANCE_WAITING_MAX);
        let reason = if open.is_ok_and(|open| open >= limits::ASSISTANCE_OPEN_OF_VEHICLE_MAX) {
            "too-many-of-vehicle"
        } else if waiting.is_ok_and(|waiting| waiting >= limits::ASSISTANCE_WAITING_MAX) {
            "too-many"
        } else {
            return true;
        };
        self.metrics.assistance_dropped(reason);
        tracing::warn!(vehicle_id = %report.vehicle, reason, "a question is not taken up; the vehicle takes its safe default");
        false
    }

    /// Gives an answer that is not on its way yet; takes back one that will not arrive, so that there can be another.
    pub async fn advance(&self, organization: &OrganizationId, id: &str) -> Result<(), AskError> {
        let seen = self.requests.read(organization, id).await?;
        let request = &seen.state;
        let Some(asked) = &request.asked else { return Ok(()) };
        let moved = match &request.given {
            None if request.owes_command() => match self.give(organization, id, asked, request).await? {
                Ok(command) => AssistanceCommand::Give { command },
                Err(why) => AssistanceCommand::Return { why },
            },
            Some(command) if request.awaits_decision() => {
                match self.lost(organization, asked, command).await? {
                    Some(why) => AssistanceCommand::Return { why },
                    None => return Ok(()),
                }
            }
            _ => return Ok(()),
        };
        let word = if matches!(moved, AssistanceCommand::Give { .. }) { "give" } else { "return" };
        // Each answer has its own.
        let context = self.context("policy/assistance", format!("{word}/{id}/{}", request.returns), id);
        match self.ask(organization, id, Some(seen.version), moved, context).await {
            // Another was faster, or the vehicle. It is looked at again.
            Err(AskError::VersionMismatch { .. }) => Ok(()),
            done => done,
        }
    }

    /// The command that brings the answer, or why there is none.
    async fn give(
        &self,
        organization: &OrganizationId,
        id: &str,
        asked: &Asked,
        request: &Assistance,
    ) -> Result<Result<String, String>, AskError> {
        let Some(answered) = &request.answered else { return Ok(Err(String::new())) };
        let now_ms = (self.clock)();
        let reason = match answered.reason.as_str() {
            "" => "an answer to its question",
            said => said,
        };
        // An answer after one that did not arrive is another command.
        let request_id = match request.returns {
            0 => format!("assistance/{id}"),
            before => format!("assistance/{id}/{before}"),
        };
        let answer = CommandRequest {
            request_id,
            kind: CommandKind::Answer { question: asked.question.id, option: answered.option },
            reason: reason.to_owned(),
            requested_by: answered.by.clone(),
            // The vehicle's own clock decides whether it is in time; beyond that no command need live.
            ttl_ms: (asked.deadline_ms - now_ms).max(limits::ANSWER_TTL_MS_MIN),
            validate_only: false,
        };
        match self.desk.queue(organization, &asked.vehicle, answer).await {
            Ok(command) => Ok(Ok(command.id)),
            // It asked, so it exists: a node that has started anew may not know it again yet.
            Err(error @ (CommandError::Unavailable(_) | CommandError::NoSuchVehicle))
                if now_ms < asked.deadline_ms =>
            {
                Err(AskError::Unavailable { reason: error.to_string() })
            }
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    /// Why the vehicle will not take the answer that this command brings; none while it may, or did.
    async fn lost(
        &self,
        organization: &OrganizationId,
        asked: &Asked,
        command: &str,
    ) -> Result<Option<String>, AskError> {
        let commands = self.desk.list(organization, &asked.vehicle).await;
        let commands = commands.map_err(|error| AskError::Unavailable { reason: error.to_string() })?;
        let Some(command) = commands.into_iter().find(|one| one.id == command) else { return Ok(None) };
        let settled = command.changed_ms.saturating_add(limits::ANSWER_SETTLES_MS) <= (self.clock)();
        Ok(why_lost(&command).filter(|_| settled || command.state == CommandState::Cancelled))
    }

    /// Looks at a request whose time may be over, whose answer is not on its way, or may not arrive.
    async fn look_at(&self, organization: &OrganizationId, id: &str) -> Result<(), AskError> {
        self.advance(organization, id).await?;
        let now_ms = (self.clock)();
        let context = self.context("policy/assistance", format!("sweep/{now_ms}"), id);
        self.ask(organization, id, None, AssistanceCommand::Sweep, context).await
    }

    /// Whether there may be something to do. `late_look`: also about answers that nobody waits for any more.
    fn is_due(&self, request: &Assistance, late_look: bool) -> bool {
        let now_ms = (self.clock)();
        let Some(asked) = &request.asked else { return false };
        let silent_ms = asked.deadline_ms.saturating_add(limits::ASSISTANCE_SILENCE_MS_MAX);
        let over = now_ms >= if request.waits() { asked.deadline_ms } else { silent_ms };
        let on_its_way = request.given.is_some() && request.awaits_decision();
        over || request.owes_command() || on_its_way && (late_look || now_ms < asked.deadline_ms)
    }
}

/// Why a command was not obeyed; none while it may be, or was.
fn why_lost(command: &CommandView) -> Option<String> {
    match command.state {
        CommandState::Cancelled => Some("the command that brings it was taken back".to_owned()),
        CommandState::Expired => Some("its command expired before the vehicle took it".to_owned()),
        CommandState::Unknown => Some("nobody knows what became of its command".to_owned()),
        CommandState::Refused => Some(format!("the vehicle refused its command: {}", command.detail)),
        CommandState::Queued
        | CommandState::Sent
        | CommandState::Accepted
        | CommandState::Done
        | CommandState::Failed => None,
    }
}

/// Looks at open requests until the node stops.
pub(crate) async fn sweep(helping: Arc<Helping>, mut stops: watch::Receiver<bool>) {
    for round in 0_u64.. {
        look_at_open(&helping, round.is_multiple_of(limits::SWEEPS_PER_LATE_LOOK)).await;
        tokio::select! {
            () = stopped(&mut stops) => return,
            () = helping.sweep.notified() => {}
            () = tokio::time::sleep(limits::SWEEP) => {}
        }
    }
}

/// Looks at all, page by page.
async fn look_at_open(helping: &Helping, late_look: bool) {
    let _ = helping.lists.projected().caught_up().await;
    let (mut waiting, mut after) = (0, None);
    loop {
        let page = helping.lists.open(&helping.organization, after.as_ref(), limits::PAGE_MAX);
        let page = page.unwrap_or_else(|error| {
            tracing::warn!(%error, "open requests for assistance cannot be listed");
            Vec::new()
        });
        waiting += page.iter().filter(|line| line.request.waits()).count();
        for line in page.iter().filter(|line| helping.is_due(&line.request, late_look)) {
            if let Err(error) = helping.look_at(&helping.organization, &line.id).await {
                tracing::warn!(assistance = line.id, %error, "a request for assistance is looked at again soon");
            }
        }
        if page.len() < limits::PAGE_MAX {
            break;
        }
        after = page.into_iter().next_back();
    }
    helping.metrics.assistance_waiting(waiting);
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
    loop {
        changes.mark_unchanged();
        let pause = tokio::select! {
            pause = catch_up(&helping, &*reports, &cursor, &mut offsets) => pause,
            () = stopped(&mut stops) => return,
        };
        tokio::select! {
            // The vehicles' part is gone: only time tells.
            Ok(()) = changes.changed() => {}
            () = tokio::time::sleep(pause) => {}
            () = stopped(&mut stops) => return,
        }
    }
}

/// Brings all there is. Answers how long to wait until it is looked again.
async fn catch_up(
    helping: &Helping,
    reports: &dyn Reports,
    cursor: &Cursor,
    offsets: &mut ReportOffsets,
) -> Duration {
    loop {
        let page = match reports.questions(offsets).await {
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
        // After each page: whoever reads a long past does not begin anew at every start.
        if page.offsets != *offsets {
            *offsets = page.offsets;
            if let Err(error) = cursor.write(offsets) {
                tracing::warn!(%error, "how far vehicles' questions were read is not kept");
            }
        }
        if !page.more {
            return limits::REPORTS_LOOK;
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
