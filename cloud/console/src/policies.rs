//! `remuda.policies.v1.PolicyService`.

use std::sync::Arc;

use remuda_api::PolicyName;
use remuda_api::policies::v1 as api;
use remuda_api::policies::v1::policy_service_server::PolicyService;
use remuda_api::policies::v1::{
    AssignPolicyRequest, AssignPolicyResponse, DeletePolicyRequest, DeletePolicyResponse, GetPolicyRequest,
    GetPolicyStatusRequest, ListPoliciesRequest, ListPoliciesResponse, Policy, PolicyStatus,
    SetPolicyRequest, SetPolicyResponse, UnassignPolicyRequest, UnassignPolicyResponse,
};
use remuda_contracts::policies::{Impact, PolicyBook, PolicyChange, PolicyView, Target};
use remuda_model::VehicleId;
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::refusal::Refusal;
use crate::scope::{Scope, etag_of, field, who};

/// The service, over the vehicle domain's book.
pub(crate) struct Policies {
    pub book: Arc<dyn PolicyBook>,
    pub scope: Scope,
}

impl Policies {
    fn named(&self, name: &str) -> Result<String, Refusal> {
        let parsed: PolicyName = name.parse().map_err(|e| field("name", e))?;
        self.scope.check(&parsed.organization)?;
        Ok(parsed.policy)
    }

    fn view(&self, name: &str) -> Option<Policy> {
        self.book.get(&self.scope.organization, name).map(|view| self.policy_of(view))
    }

    fn existing(&self, name: &str) -> Result<Policy, Refusal> {
        self.view(name).ok_or_else(|| Refusal::NoSuchPolicy(name.to_owned()))
    }

    fn policy_of(&self, view: PolicyView) -> Policy {
        let name = PolicyName { organization: self.scope.organization.to_string(), policy: view.name };
        let mut targets = Vec::new();
        if view.all {
            targets.push(api::target::Target::All(true));
        }
        targets.extend(view.prefixes.into_iter().map(api::target::Target::Prefix));
        if !view.vehicles.is_empty() {
            let ids = view.vehicles.iter().map(ToString::to_string).collect();
            targets.push(api::target::Target::Vehicles(api::Vehicles { ids }));
        }
        Policy {
            name: name.to_string(),
            etag: format!("\"{}\"", view.revision),
            revision: view.revision,
            document: view.document,
            update_time: timestamp_of(view.changed_ms),
            updated_by: view.changed_by,
            targets: targets.into_iter().map(|target| api::Target { target: Some(target) }).collect(),
        }
    }

    async fn change(&self, change: PolicyChange, who: &str, dry_run: bool) -> Result<Impact, Refusal> {
        self.book.change(&self.scope.organization, change, who, dry_run).await.map_err(Refusal::Policy)
    }

    async fn set(&self, request: SetPolicyRequest, who: String) -> Result<SetPolicyResponse, Refusal> {
        let name = self.named(&request.name)?;
        let expected = etag_of(&request.etag)?;
        let change = PolicyChange::Set { name: name.clone(), document: request.document, expected };
        let impact = self.change(change, &who, request.validate_only).await?;
        Ok(SetPolicyResponse { policy: self.view(&name), impact: Some(impact_of(impact)) })
    }

    async fn assign(
        &self,
        request: AssignPolicyRequest,
        who: String,
    ) -> Result<AssignPolicyResponse, Refusal> {
        let name = self.named(&request.name)?;
        let change = PolicyChange::Assign { name: name.clone(), target: target_of(request.target)? };
        let impact = self.change(change, &who, request.validate_only).await?;
        Ok(AssignPolicyResponse { policy: self.view(&name), impact: Some(impact_of(impact)) })
    }

    async fn unassign(
        &self,
        request: UnassignPolicyRequest,
        who: String,
    ) -> Result<UnassignPolicyResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let change = PolicyChange::Unassign { target: target_of(request.target)? };
        let impact = self.change(change, &who, request.validate_only).await?;
        Ok(UnassignPolicyResponse { impact: Some(impact_of(impact)) })
    }

    async fn delete(
        &self,
        request: DeletePolicyRequest,
        who: String,
    ) -> Result<DeletePolicyResponse, Refusal> {
        let name = self.named(&request.name)?;
        let change = PolicyChange::Delete { name, expected: etag_of(&request.etag)? };
        self.change(change, &who, request.validate_only).await?;
        Ok(DeletePolicyResponse {})
    }

    fn status(&self, name: &str) -> Result<PolicyStatus, Refusal> {
        let policy = self.named(name)?;
        let revision = self.existing(&policy)?.revision;
        let found = self.book.status(&self.scope.organization, Some(&policy));
        let status = found.ok_or(Refusal::NoSuchPolicy(policy))?;
        let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
        let refusals = status.refusals.into_iter();
        Ok(PolicyStatus {
            name: name.to_owned(),
            revision,
            desired: count(status.desired),
            applied: count(status.applied),
            refused: count(status.refused),
            pending: count(status.pending),
            refusals: refusals
                .map(|(vehicle, reason)| api::PolicyRefusal { vehicle: vehicle.to_string(), reason })
                .collect(),
            pending_vehicles: status.waiting.iter().map(ToString::to_string).collect(),
        })
    }
}

fn impact_of(impact: Impact) -> api::Impact {
    let count = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    api::Impact { vehicles: count(impact.vehicles), online: count(impact.online) }
}

fn target_of(target: Option<api::Target>) -> Result<Target, Refusal> {
    match target.and_then(|target| target.target) {
        Some(api::target::Target::All(true)) => Ok(Target::All),
        Some(api::target::Target::Prefix(prefix)) => Ok(Target::Prefix(prefix)),
        Some(api::target::Target::Vehicles(vehicles)) => {
            let ids = vehicles
                .ids
                .iter()
                .map(|id| VehicleId::new(id).map_err(|e| field("target", format!("`{id}`: {e}"))));
            Ok(Target::Vehicles(ids.collect::<Result<_, _>>()?))
        }
        Some(api::target::Target::All(false)) | None => {
            Err(field("target", "say all, a prefix, or vehicles"))
        }
    }
}

#[tonic::async_trait]
impl PolicyService for Policies {
    async fn list_policies(
        &self,
        request: Request<ListPoliciesRequest>,
    ) -> Result<Response<ListPoliciesResponse>, Status> {
        self.scope
            .measured("ListPolicies", async {
                self.scope.parent(&request.get_ref().parent)?;
                let views = self.book.list(&self.scope.organization).into_iter();
                Ok(ListPoliciesResponse { policies: views.map(|view| self.policy_of(view)).collect() })
            })
            .await
    }

    async fn get_policy(&self, request: Request<GetPolicyRequest>) -> Result<Response<Policy>, Status> {
        self.scope
            .measured("GetPolicy", async {
                let name = self.named(&request.get_ref().name)?;
                self.existing(&name)
            })
            .await
    }

    async fn set_policy(
        &self,
        request: Request<SetPolicyRequest>,
    ) -> Result<Response<SetPolicyResponse>, Status> {
        let who = who(&request);
        self.scope.measured("SetPolicy", self.set(request.into_inner(), who)).await
    }

    async fn assign_policy(
        &self,
        request: Request<AssignPolicyRequest>,
    ) -> Result<Response<AssignPolicyResponse>, Status> {
        let who = who(&request);
        self.scope.measured("AssignPolicy", self.assign(request.into_inner(), who)).await
    }

    async fn unassign_policy(
        &self,
        request: Request<UnassignPolicyRequest>,
    ) -> Result<Response<UnassignPolicyResponse>, Status> {
        let who = who(&request);
        self.scope.measured("UnassignPolicy", self.unassign(request.into_inner(), who)).await
    }

    async fn delete_policy(
        &self,
        request: Request<DeletePolicyRequest>,
    ) -> Result<Response<DeletePolicyResponse>, Status> {
        let who = who(&request);
        self.scope.measured("DeletePolicy", self.delete(request.into_inner(), who)).await
    }

    async fn get_policy_status(
        &self,
        request: Request<GetPolicyStatusRequest>,
    ) -> Result<Response<PolicyStatus>, Status> {
        self.scope.measured("GetPolicyStatus", async { self.status(&request.get_ref().name) }).await
    }
}
