//! The audit log over gRPC: read and checked, never written.

use std::path::PathBuf;
use std::sync::Arc;

use remuda_api::audit::v1::audit_service_server::AuditService;
use remuda_api::audit::v1::{
    Entry, ListEntriesRequest, ListEntriesResponse, Outcome as ApiOutcome, VerifyLogRequest,
    VerifyLogResponse,
};
use remuda_audit::{AuditLog, Broken, Checked, Hash, Outcome, Query, check_against};
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::page::page_size;
use crate::refusal::Refusal;
use crate::scope::{Scope, field};

/// The service.
pub(crate) struct Audits {
    pub log: Arc<AuditLog>,
    pub scope: Scope,
}

impl Audits {
    /// Reads where blocking is permitted.
    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(PathBuf) -> Result<T, Broken> + Send + 'static,
    ) -> Result<T, Refusal> {
        let folder = self.log.folder().to_owned();
        let done = tokio::task::spawn_blocking(move || work(folder)).await;
        done.map_err(|_| Refusal::Stopping)?.map_err(|broken| Refusal::AuditBroken(broken.to_string()))
    }

    async fn list(&self, request: ListEntriesRequest) -> Result<ListEntriesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let limit = page_size(request.page_size)?;
        let before = match request.page_token.as_str() {
            "" => 0,
            text => text.parse().map_err(|_| field("page_token", "it is none of ListEntries"))?,
        };
        let some = |text: String| Some(text).filter(|text| !text.is_empty());
        let (who, method, resource) = (some(request.who), some(request.method), some(request.resource));
        let query = Query { before, who, method, resource, limit };
        let page = self.read(move |folder| query.page(&folder)).await?;
        let next_page_token = if page.next == 0 { String::new() } else { page.next.to_string() };
        Ok(ListEntriesResponse { entries: page.entries.into_iter().map(entry_of).collect(), next_page_token })
    }

    async fn verify(&self, request: VerifyLogRequest) -> Result<VerifyLogResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let kept: Option<Hash> = match request.kept_hash.as_str() {
            "" => None,
            text => Some(text.parse().map_err(|problem| field("kept_hash", problem))?),
        };
        let (checked, found) = self.read(move |folder| check_against(&folder, kept)).await?;
        if kept.is_some() && found.is_none() {
            let sentence =
                "no line ends in the kept hash: the log was rewritten, or lines are missing at its end";
            return Err(Refusal::AuditBroken(sentence.into()));
        }
        let Checked { entries, head, .. } = checked;
        Ok(VerifyLogResponse { entries, head: head.to_string(), kept_entry: found.unwrap_or_default() })
    }
}

fn entry_of(entry: remuda_audit::Entry) -> Entry {
    let (outcome, begun, status) = match entry.outcome {
        Outcome::Begun => (ApiOutcome::Begun, 0, String::new()),
        Outcome::Ended { begun, status } => (ApiOutcome::Ended, begun, status),
        Outcome::Denied { permission } => (ApiOutcome::Denied, 0, permission),
    };
    let what = entry.what;
    Entry {
        number: entry.number,
        time: timestamp_of(entry.time_ms),
        who: what.who,
        from: what.from,
        via: what.via,
        method: what.method,
        resource: what.resource,
        reason: what.reason,
        detail: what.detail,
        outcome: outcome.into(),
        begun,
        status,
    }
}

#[tonic::async_trait]
impl AuditService for Audits {
    async fn list_entries(
        &self,
        request: Request<ListEntriesRequest>,
    ) -> Result<Response<ListEntriesResponse>, Status> {
        self.scope.measured("ListEntries", self.list(request.into_inner())).await
    }

    async fn verify_log(
        &self,
        request: Request<VerifyLogRequest>,
    ) -> Result<Response<VerifyLogResponse>, Status> {
        self.scope.measured("VerifyLog", self.verify(request.into_inner())).await
    }
}
