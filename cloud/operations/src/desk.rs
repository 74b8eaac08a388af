//! The way to ask, for the console.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_contracts::commands::CommandRequest;
use remuda_contracts::operations::{
    ApprovalPhase as PhaseView, ApprovalView, FailureThreshold, Given, GroupCounts, GroupOutcome, GroupPhase,
    GroupRequest, GroupVehicle, GroupView, OperationsDesk, OperationsError, Party, Steering,
};
use remuda_entities::AskError;
use remuda_entities::projection::Poisoned;
use remuda_model::{OrganizationId, VehicleId};
use remuda_wire::CommandKind;
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::approvals::{Approval, ApprovalCommand, ApprovalPhase, Content, Person};
use crate::groups::{Group, GroupCommand, Line, Outcome, Phase, Spec, Threshold};
use crate::limits;
use crate::start::Parts;

/// See [`OperationsDesk`].
pub(crate) struct Desk(pub Arc<Parts>);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (n, byte) in bytes.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[n * 2..n * 2 + 2], 16).ok()?;
    }
    Some(bytes)
}

/// The id of a group command follows from who asks and what they call their request: two callers never meet in one.
fn group_id(organization: &OrganizationId, by: &str, request_id: &str) -> String {
    let length = by.len();
    let hash =
        Sha256::digest(format!("remuda command group 2\0{organization}\0{length}\0{by}\0{request_id}"));
    hex(&hash[..16])
}

/// The id that one had before it followed from the caller as well.
fn group_id_1(organization: &OrganizationId, request_id: &str) -> String {
    let hash = Sha256::digest(format!("remuda command group\0{organization}\0{request_id}"));
    hex(&hash[..16])
}

pub(crate) fn failed(what: &'static str, id: &str, error: AskError) -> OperationsError {
    match error {
        AskError::Refused { code, .. } if code.starts_with("no-such-") => {
            OperationsError::NotFound { what, id: id.to_owned() }
        }
        AskError::Refused { code, text } => OperationsError::Refused { code, text },
        AskError::VersionMismatch { .. } => OperationsError::Changed,
        AskError::Invalid { .. } => OperationsError::NotFound { what, id: id.to_owned() },
        other => OperationsError::Unavailable(other.to_string()),
    }
}

pub(crate) fn unlisted(error: Poisoned) -> OperationsError {
    OperationsError::Unavailable(error.to_string())
}

fn refused(code: &str, text: String) -> OperationsError {
    OperationsError::Refused { code: code.into(), text }
}

const fn phase_of(phase: Phase) -> GroupPhase {
    match phase {
        Phase::New | Phase::AwaitingApproval => GroupPhase::AwaitingApproval,
        Phase::Running => GroupPhase::Running,
        Phase::Paused => GroupPhase::Paused,
        Phase::Aborting => GroupPhase::Aborting,
        Phase::Completed => GroupPhase::Completed,
        Phase::Aborted => GroupPhase::Aborted,
        Phase::Denied => GroupPhase::Denied,
    }
}

const fn outcome_of(outcome: Outcome) -> GroupOutcome {
    match outcome {
        Outcome::Waiting => GroupOutcome::Waiting,
        Outcome::Given => GroupOutcome::Given,
        Outcome::Done => GroupOutcome::Done,
        Outcome::Failed => GroupOutcome::Failed,
        Outcome::Expired => GroupOutcome::Expired,
        Outcome::Refused => GroupOutcome::Refused,
        Outcome::Unknown => GroupOutcome::Unknown,
        Outcome::Cancelled => GroupOutcome::Cancelled,
        Outcome::Rejected => GroupOutcome::Rejected,
    }
}

/// None before it is created.
fn view_of(id: &str, line: &Line, version: u64) -> Option<GroupView> {
    let spec = line.spec.as_ref()?;
    let threshold = |t: Threshold| FailureThreshold { percent: t.percent, after_vehicles: t.after_vehicles };
    Some(GroupView {
        id: id.to_owned(),
        kind: spec.kind.clone(),
        reason: spec.reason.clone(),
        filter: spec.filter.clone(),
        requested_by: spec.requested_by.clone(),
        request_id: spec.request_id.clone(),
        vehicles_per_1000_s: spec.vehicles_per_1000_s,
        under_way_max: spec.under_way_max,
        ttl_ms: spec.ttl_ms,
        threshold: spec.threshold.map(threshold),
        excluded: spec.excluded,
        phase: phase_of(line.phase),
        phase_by: line.phase_by.clone(),
        phase_reason: line.phase_reason.clone(),
        counts: GroupCounts {
            vehicles: line.vehicles,
            waiting: line.count(Outcome::Waiting),
            given: line.count(Outcome::Given),
            done: line.count(Outcome::Done),
            failed: line.count(Outcome::Failed),
            expired: line.count(Outcome::Expired),
            refused: line.count(Outcome::Refused),
            unknown: line.count(Outcome::Unknown),
            cancelled: line.count(Outcome::Cancelled),
            rejected: line.count(Outcome::Rejected),
        },
        created_ms: line.created_ms,
        changed_ms: line.changed_ms,
        version,
        progress: u64::from(line.events),
    })
}

fn vehicles_of(group: &Group) -> Vec<GroupVehicle> {
    let with_place = (0u32..).zip(&group.members);
    let vehicle = |(index, member): (u32, &crate::groups::Member)| GroupVehicle {
        vehicle: member.vehicle,
        outcome: outcome_of(member.outcome),
        detail: group.details.get(&index).cloned().unwrap_or_default(),
        progress: u64::from(member.at),
    };
    with_place.map(vehicle).collect()
}

fn approval_of(id: &str, approval: &Approval) -> Option<ApprovalView> {
    let asked = approval.asked.as_ref()?;
    let (vehicle, vehicles, kind, reason, request_id, ttl_ms) = match &asked.content {
        Content::Command { vehicle, kind, reason, request_id, ttl_ms } => {
            (Some(*vehicle), 1, kind, reason, request_id, *ttl_ms)
        }
        Content::Group { kind, reason, request_id, vehicles, ttl_ms, .. } => {
            (None, *vehicles, kind, reason, request_id, *ttl_ms)
        }
    };
    let (phase, decided) = match &approval.phase {
        ApprovalPhase::New | ApprovalPhase::Pending => (PhaseView::Pending, None),
        ApprovalPhase::Approved(decided) => (PhaseView::Approved, Some(decided)),
        ApprovalPhase::Denied(decided) => (PhaseView::Denied, Some(decided)),
        ApprovalPhase::Expired => (PhaseView::Expired, None),
    };
    Some(ApprovalView {
        id: id.to_owned(),
        vehicle,
        vehicles,
        kind: kind.clone(),
        reason: reason.clone(),
        because: asked.because.clone(),
        requested_by: asked.by.subject.clone(),
        request_id: request_id.clone(),
        ttl_ms,
        content_hash: hex(&asked.digest),
        phase,
        decided_by: decided.map(|decided| decided.by.subject.clone()).unwrap_or_default(),
        decision_reason: decided.map(|decided| decided.reason.clone()).unwrap_or_default(),
        result: approval.result.clone().unwrap_or_default(),
        requested_ms: asked.time_ms,
        expires_ms: asked.expires_ms,
        changed_ms: approval.changed_ms,
    })
}

fn person(party: &Party) -> Person {
    Person { subject: party.subject.clone(), identity: party.identity.clone() }
}

impl Desk {
    /// The id of the group command that a request makes, or has made: one of before that its caller repeats keeps its id.
    async fn id_of_group(
        &self,
        organization: &OrganizationId,
        by: &str,
        request_id: &str,
    ) -> Result<String, OperationsError> {
        let before = group_id_1(organization, request_id);
        let seen = self.0.groups.read(organization, &before).await;
        let seen = seen.map_err(|e| failed("command-group", &before, e))?;
        let theirs = seen.state.line.spec.is_some_and(|spec| spec.requested_by == by);
        Ok(if theirs { before } else { group_id(organization, by, request_id) })
    }

    /// Has something wait for a second person.
    async fn ask_second(
        &self,
        organization: &OrganizationId,
        id: &str,
        content: Content,
        because: String,
        by: &Party,
    ) -> Result<ApprovalView, OperationsError> {
        let parts = &self.0;
        let ask =
            ApprovalCommand::Ask { content, because, by: person(by), ttl_ms: parts.two_persons.wait_ms };
        // Decided anew each time: a repetition is recognised by what is there.
        let context = parts.context(&by.subject, format!("ask/{:032x}", rand::random::<u128>()), id);
        let asked = parts.approvals.ask(organization, id, ask, context).await;
        if !asked.map_err(|e| failed("approval", id, e))?.events.is_empty() {
            parts.metrics.approval("asked");
        }
        self.approval(organization, id).await
    }

    async fn decided(
        &self,
        organization: &OrganizationId,
        id: &str,
        command: ApprovalCommand,
        outcome: &'static str,
        by: &Party,
    ) -> Result<ApprovalView, OperationsError> {
        let parts = &self.0;
        let context = parts.context(&by.subject, format!("{outcome}/{:032x}", rand::random::<u128>()), id);
        let done = parts.approvals.ask(organization, id, command, context).await;
        if !done.map_err(|e| failed("approval", id, e))?.events.is_empty() {
            parts.metrics.approval(outcome);
        }
        // Now; what cannot be done now is done by the sweep.
        if let Err(error) = parts.advance(organization, id).await {
            tracing::warn!(approval = id, %error, "an approval is carried out later");
        }
        parts.look();
        self.approval(organization, id).await
    }
}

#[async_trait]
impl OperationsDesk for Desk {
    fn needs_second(&self, kind: &CommandKind, vehicles: usize, moving: bool) -> Option<String> {
        self.0.two_persons.because(kind, vehicles, moving)
    }

    async fn give(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
        by: Party,
        moving: bool,
    ) -> Result<Given, OperationsError> {
        let parts = &self.0;
        let because = match parts.two_persons.because(&request.kind, 1, moving) {
            Some(because) if !request.validate_only => because,
            _ => {
                let view = parts.desk.queue(organization, vehicle, request).await;
                return view.map(Given::Command).map_err(OperationsError::Command);
            }
        };
        // Whether it would be taken, and which id it would have.
        let dry = CommandRequest { validate_only: true, ..request.clone() };
        let view = parts.desk.queue(organization, vehicle, dry).await.map_err(OperationsError::Command)?;
        let seen = parts.approvals.read(organization, &view.id).await;
        let known = seen.map_err(|e| failed("approval", &view.id, e))?.state.asked.is_some();
        if !known && parts.pending() >= limits::APPROVALS_PENDING_MAX {
            let text = format!("{} requests wait for a second person already", limits::APPROVALS_PENDING_MAX);
            return Err(refused("too-many", text));
        }
        let content = Content::Command {
            vehicle: *vehicle,
            kind: request.kind,
            reason: request.reason,
            request_id: request.request_id,
            ttl_ms: request.ttl_ms,
        };
        let approval = self.ask_second(organization, &view.id, content, because, &by).await?;
        if approval.phase == PhaseView::Approved {
            // A repetition of what was given meanwhile: the command says more.
            let all = parts.desk.list(organization, vehicle).await.map_err(OperationsError::Command)?;
            if let Some(given) = all.into_iter().find(|command| command.id == view.id) {
                return Ok(Given::Command(given));
            }
        }
        Ok(Given::Approval(approval))
    }

    async fn create_group(
        &self,
        organization: &OrganizationId,
        request: GroupRequest,
        by: Party,
    ) -> Result<GroupView, OperationsError> {
        let parts = &self.0;
        let id = self.id_of_group(organization, &by.subject, &request.request_id).await?;
        let because = parts.two_persons.because(&request.kind, request.vehicles.len(), request.moving);
        let spec = Spec {
            kind: request.kind,
            reason: request.reason,
            filter: request.filter,
            requested_by: by.subject.clone(),
            identity: by.identity.clone(),
            request_id: request.request_id,
            excluded: request.excluded,
            vehicles_per_1000_s: request.vehicles_per_1000_s,
            under_way_max: request.under_way_max,
            ttl_ms: request.ttl_ms,
            threshold: request
                .threshold
                .map(|t| Threshold { percent: t.percent, after_vehicles: t.after_vehicles }),
        };
        let seen = parts.groups.read(organization, &id).await.map_err(|e| failed("command-group", &id, e))?;
        if seen.version == 0 && !parts.has_room() {
            let text = format!("{} group commands are under way already", limits::GROUPS_ACTIVE_MAX);
            return Err(refused("too-many", text));
        }
        let create = GroupCommand::Create { spec, vehicles: request.vehicles, because };
        let context = parts.context(&by.subject, format!("create/{:032x}", rand::random::<u128>()), &id);
        let created = parts.groups.ask(organization, &id, create, context).await;
        created.map_err(|e| failed("command-group", &id, e))?;
        // From what is there: a repetition found other vehicles, perhaps.
        let seen = parts.groups.read(organization, &id).await.map_err(|e| failed("command-group", &id, e))?;
        let line = &seen.state.line;
        if line.phase == Phase::AwaitingApproval
            && let Some(spec) = &line.spec
        {
            let content = Content::Group {
                kind: spec.kind.clone(),
                reason: spec.reason.clone(),
                request_id: spec.request_id.clone(),
                vehicles: line.vehicles,
                ttl_ms: spec.ttl_ms,
                digest: line.digest,
            };
            let asker = Party { subject: spec.requested_by.clone(), identity: spec.identity.clone() };
            self.ask_second(organization, &id, content, line.phase_reason.clone(), &asker).await?;
        }
        parts.wake(*organization, &id);
        self.group(organization, &id).await.map(|(view, _)| view)
    }

    async fn group(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<(GroupView, Vec<GroupVehicle>), OperationsError> {
        let seen = self.0.groups.read(organization, id).await.map_err(|e| failed("command-group", id, e))?;
        let view = view_of(id, &seen.state.line, seen.version);
        let view = view.ok_or_else(|| OperationsError::NotFound { what: "command-group", id: id.into() })?;
        Ok((view, vehicles_of(&seen.state)))
    }

    async fn groups(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<GroupView>, OperationsError> {
        let lists = &self.0.group_lists;
        lists.projected().caught_up().await.map_err(unlisted)?;
        let found = lists.groups(organization, after, limit.min(limits::PAGE_MAX)).map_err(unlisted)?;
        Ok(found.iter().filter_map(|line| view_of(&line.id, &line.line, line.version)).collect())
    }

    async fn steer(
        &self,
        organization: &OrganizationId,
        id: &str,
        steering: Steering,
        reason: &str,
        expected: Option<u64>,
        by: Party,
    ) -> Result<GroupView, OperationsError> {
        let parts = &self.0;
        let reason = reason.to_owned();
        let command = match steering {
            Steering::Pause => GroupCommand::Pause { reason },
            Steering::Resume => GroupCommand::Resume { reason },
            Steering::Abort => GroupCommand::Abort { reason },
        };
        let context = parts.context(&by.subject, format!("steer/{:032x}", rand::random::<u128>()), id);
        let steered = parts.groups.ask_at(organization, id, expected, command, context).await;
        steered.map_err(|e| failed("command-group", id, e))?;
        parts.wake(*organization, id);
        if steering == Steering::Abort {
            // Nobody need decide about it any more; when nobody was to, there is nothing to deny.
            let deny =
                ApprovalCommand::Deny { by: person(&by), reason: "the group command was called off".into() };
            let context = parts.context(&by.subject, format!("deny/{:032x}", rand::random::<u128>()), id);
            let denied = parts.approvals.ask(organization, id, deny, context).await;
            if let Err(error @ OperationsError::Unavailable(_)) =
                denied.map_err(|e| failed("approval", id, e))
            {
                // It runs out by itself, and approving it has nothing begin any more.
                tracing::warn!(%id, %error, "the approval of a group command that was called off stays open");
            }
            parts.look();
        }
        self.group(organization, id).await.map(|(view, _)| view)
    }

    async fn approval(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<ApprovalView, OperationsError> {
        let seen = self.0.approvals.read(organization, id).await.map_err(|e| failed("approval", id, e))?;
        approval_of(id, &seen.state)
            .ok_or_else(|| OperationsError::NotFound { what: "approval", id: id.to_owned() })
    }

    async fn approvals(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ApprovalView>, OperationsError> {
        let lists = &self.0.approval_lists;
        lists.projected().caught_up().await.map_err(unlisted)?;
        let found = lists.approvals(organization, after, limit.min(limits::PAGE_MAX)).map_err(unlisted)?;
        Ok(found.iter().filter_map(|line| approval_of(&line.id, &line.approval)).collect())
    }

    async fn approve(
        &self,
        organization: &OrganizationId,
        id: &str,
        content_hash: &str,
        reason: &str,
        by: Party,
    ) -> Result<ApprovalView, OperationsError> {
        let digest = unhex(content_hash).ok_or_else(|| {
            refused(
                "bad-value",
                "the content hash has 64 hexadecimal digits; get the approval to see it".into(),
            )
        })?;
        if let Ok(seen) = self.0.approvals.read(organization, id).await
            && let Some(Content::Group { .. }) = seen.state.asked.map(|asked| asked.content)
            && !self.0.has_room()
        {
            return Err(refused("too-many", "too many group commands are under way already".into()));
        }
        let command = ApprovalCommand::Approve { digest, by: person(&by), reason: reason.to_owned() };
        self.decided(organization, id, command, "approved", &by).await
    }

    async fn deny(
        &self,
        organization: &OrganizationId,
        id: &str,
        reason: &str,
        by: Party,
    ) -> Result<ApprovalView, OperationsError> {
        let command = ApprovalCommand::Deny { by: person(&by), reason: reason.to_owned() };
        self.decided(organization, id, command, "denied", &by).await
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.0.groups.shards().changes()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn hashes_are_read_and_written() {
        let bytes = [0xA5; 32];
        assert_eq!(unhex(&hex(&bytes)), Some(bytes));
        for wrong in ["", "a5", &"g".repeat(64), &"é".repeat(32)] {
            assert_eq!(unhex(wrong), None, "{wrong}");
        }
        let organization = OrganizationId::default();
        let ids = [("ada", "a"), ("ada", "b"), ("bob", "a"), ("ada\0a", ""), ("", "ada\0a")];
        let ids: BTreeSet<String> = ids.iter().map(|(by, id)| group_id(&organization, by, id)).collect();
        assert!(ids.len() == 5 && ids.iter().all(|id| id.len() == 32), "{ids:?}");
        assert_eq!(group_id_1(&organization, "drill"), "0eda4d9498b9f3826ec406e7a3dd35bc");
    }
}
