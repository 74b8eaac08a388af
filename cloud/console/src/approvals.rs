//! `remuda.commands.v1.ApprovalService`.

use std::sync::Arc;

use remuda_api::commands::v1::approval_service_server::ApprovalService;
use remuda_api::commands::v1::{
    Approval, ApprovalState, ApproveRequest, DenyRequest, GetApprovalRequest, ListApprovalsRequest,
    ListApprovalsResponse,
};
use remuda_api::{ChildName, CommandName};
use remuda_contracts::operations::{ApprovalPhase, ApprovalView, OperationsDesk, OperationsError, Party};
use tonic::{Request, Response, Status};

use crate::commands::action_of;
use crate::convert::timestamp_of;
use crate::groups::{check_group, duration_of, group, is_there, page_for};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{Scope, party, sight};
use crate::sight::{Seen, Sight};

/// The service, over the desk of operations.
pub(crate) struct Approvals {
    pub desk: Arc<dyn OperationsDesk>,
    pub scope: Scope,
}

impl Approvals {
    fn approval_of(&self, view: &ApprovalView) -> Approval {
        let organization = self.scope.organization.to_string();
        let child = |collection| {
            let organization = organization.clone();
            ChildName { organization, collection, id: view.id.clone() }.to_string()
        };
        let resource = match &view.vehicle {
            Some(vehicle) => {
                let (vehicle, command) = (vehicle.to_string(), view.id.clone());
                CommandName { organization: organization.clone(), vehicle, command }.to_string()
            }
            None => child("commandGroups"),
        };
        let state = match view.phase {
            ApprovalPhase::Pending => ApprovalState::Pending,
            ApprovalPhase::Approved => ApprovalState::Approved,
            ApprovalPhase::Denied => ApprovalState::Denied,
            ApprovalPhase::Expired => ApprovalState::Expired,
        };
        Approval {
            name: child("approvals"),
            resource,
            action: Some(action_of(&view.kind)),
            vehicles: i32::try_from(view.vehicles).unwrap_or(i32::MAX),
            reason: view.reason.clone(),
            because: view.because.clone(),
            requested_by: view.requested_by.clone(),
            time_to_live: Some(duration_of(view.ttl_ms)),
            content_hash: view.content_hash.clone(),
            state: state.into(),
            decided_by: view.decided_by.clone(),
            decision_reason: view.decision_reason.clone(),
            result: view.result.clone(),
            create_time: timestamp_of(view.requested_ms),
            expire_time: timestamp_of(view.expires_ms),
            update_time: timestamp_of(view.changed_ms),
        }
    }

    /// Whether all vehicles that it is about are among those.
    async fn is_seen(&self, view: &ApprovalView, seen: &Seen) -> Result<bool, Refusal> {
        match (seen, &view.vehicle) {
            (Seen::All, _) => Ok(true),
            (Seen::These(_), Some(vehicle)) => Ok(seen.has(vehicle)),
            (Seen::These(_), None) => is_there(group(&self.desk, &self.scope, &view.id, seen).await),
        }
    }

    /// One that is the caller's now; for others it is not there.
    async fn seen(&self, id: &str, sight: &Sight) -> Result<ApprovalView, Refusal> {
        let view = self.desk.approval(&self.scope.organization, id).await.map_err(Refusal::operations)?;
        let seen = match &view.vehicle {
            Some(vehicle) => sight.sees_now(vehicle).map_err(Refusal::business)?,
            None => is_there(check_group(&self.desk, &self.scope, &view.id, sight).await)?,
        };
        if seen {
            return Ok(view);
        }
        Err(Refusal::operations(OperationsError::NotFound { what: "approval", id: id.to_owned() }))
    }

    async fn get(&self, name: &str, sight: &Sight) -> Result<Approval, Refusal> {
        let id = self.scope.child("approvals", name)?;
        Ok(self.approval_of(&self.seen(&id, sight).await?))
    }

    async fn list(
        &self,
        request: ListApprovalsRequest,
        sight: &Sight,
    ) -> Result<ListApprovalsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let (size, after) = page_for(sight, request.page_size, &request.page_token, "approvals")?;
        let found = self.desk.approvals(&self.scope.organization, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::operations)?;
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more => PageToken::write_for(sight, &last.id, "approvals"),
            _ => String::new(),
        };
        // A page may be shorter for it; the next one goes on behind what was left out.
        let (seen, mut approvals) = (sight.seen()?, Vec::with_capacity(found.len()));
        for view in &found {
            if self.is_seen(view, &seen).await? {
                approvals.push(self.approval_of(view));
            }
        }
        Ok(ListApprovalsResponse { approvals, next_page_token })
    }

    async fn approved(&self, request: ApproveRequest, by: Party, sight: &Sight) -> Result<Approval, Refusal> {
        let id = self.scope.child("approvals", &request.name)?;
        if !sight.is_whole() {
            self.seen(&id, sight).await?;
        }
        let (hash, reason) = (request.content_hash.trim(), request.reason.trim());
        let done = self.desk.approve(&self.scope.organization, &id, hash, reason, by).await;
        done.map(|view| self.approval_of(&view)).map_err(Refusal::operations)
    }

    async fn denied(&self, request: DenyRequest, by: Party, sight: &Sight) -> Result<Approval, Refusal> {
        let id = self.scope.child("approvals", &request.name)?;
        if !sight.is_whole() {
            self.seen(&id, sight).await?;
        }
        let done = self.desk.deny(&self.scope.organization, &id, request.reason.trim(), by).await;
        done.map(|view| self.approval_of(&view)).map_err(Refusal::operations)
    }
}

#[tonic::async_trait]
impl ApprovalService for Approvals {
    async fn get_approval(&self, request: Request<GetApprovalRequest>) -> Result<Response<Approval>, Status> {
        let sight = sight(&request);
        self.scope.measured("GetApproval", self.get(&request.get_ref().name, &sight)).await
    }

    async fn list_approvals(
        &self,
        request: Request<ListApprovalsRequest>,
    ) -> Result<Response<ListApprovalsResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListApprovals", self.list(request.into_inner(), &sight)).await
    }

    async fn approve(&self, request: Request<ApproveRequest>) -> Result<Response<Approval>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        self.scope.measured("Approve", self.approved(request.into_inner(), by, &sight)).await
    }

    async fn deny(&self, request: Request<DenyRequest>) -> Result<Response<Approval>, Status> {
        let (by, sight) = (party(&request), sight(&request));
        self.scope.measured("Deny", self.denied(request.into_inner(), by, &sight)).await
    }
}
