//! Having history forgotten.

use remuda_api::telemetry::v1::{
    EraseHistoryRequest, EraseHistoryResponse, Erasure, ErasurePreview, ErasureState, GetErasureRequest,
    ListErasuresRequest, ListErasuresResponse,
};
use remuda_api::{ChildName, VehicleName};
use remuda_contracts::erasures::{ErasureAsk, ErasureDesk, ErasureError, ErasureView};
use remuda_model::{OrganizationId, SignalClass};

use super::History;
use super::ask::instant;
use super::tell::timestamp_ns;
use crate::convert::timestamp_of;
use crate::limits;
use crate::page::page_size;
use crate::refusal::Refusal;
use crate::scope::field;

impl History {
    fn desk(&self) -> Result<&dyn ErasureDesk, Refusal> {
        self.book.erasures().ok_or(Refusal::Erasure(ErasureError::Unavailable))
    }

    fn asked(&self, request: EraseHistoryRequest, by: String) -> Result<ErasureAsk, Refusal> {
        self.scope.parent(&request.parent)?;
        let vehicle = match (request.vehicle.is_empty(), request.all_vehicles) {
            (false, false) => Some(self.scope.vehicle(&request.vehicle, "vehicle")?),
            (true, true) => None,
            _ => return Err(field("vehicle", "name one vehicle here, or set all_vehicles, and not both")),
        };
        let from_ns = request.start_time.map(|at| instant(Some(at), "start_time")).transpose()?;
        let until_ns = request.end_time.map(|at| instant(Some(at), "end_time")).transpose()?;
        let class = |text: &String| {
            text.parse::<SignalClass>().map_err(|_| {
                let known = "position, driver-behaviour, cabin, technical";
                field("classes", format!("there is no class `{text}`; there are {known}"))
            })
        };
        let classes = request.classes.iter().map(class).collect::<Result<_, _>>()?;
        if request.reason.trim().is_empty() || request.reason.len() > limits::ERASURE_REASON_MAX {
            let max = limits::ERASURE_REASON_MAX;
            return Err(field("reason", format!("say why, in at most {max} bytes: it stays in the proof")));
        }
        if request.request_id.len() > limits::ERASURE_REQUEST_ID_MAX {
            let max = limits::ERASURE_REQUEST_ID_MAX;
            return Err(field("request_id", format!("it has more than {max} bytes")));
        }
        Ok(ErasureAsk {
            organization: self.scope.organization,
            vehicle,
            from_ns,
            until_ns,
            classes,
            by,
            reason: request.reason,
            request_id: request.request_id,
        })
    }

    pub(super) async fn erase(
        &self,
        request: EraseHistoryRequest,
        by: String,
    ) -> Result<EraseHistoryResponse, Refusal> {
        let validate_only = request.validate_only;
        let ask = self.asked(request, by)?;
        if validate_only {
            let found = self.desk()?.preview(ask).await.map_err(Refusal::Erasure)?;
            let preview = ErasurePreview {
                files: count(found.files),
                rows: count(found.rows),
                blanked_rows: count(found.blanked),
                files_not_looked_at: count(found.files_not_looked_at),
            };
            return Ok(EraseHistoryResponse { erasure: None, preview: Some(preview) });
        }
        let view = self.desk()?.erase(ask).await.map_err(Refusal::Erasure)?;
        Ok(EraseHistoryResponse { erasure: Some(erasure_of(view)), preview: None })
    }

    async fn newest_first(&self, organization: OrganizationId) -> Result<Vec<ErasureView>, Refusal> {
        let mut views = self.desk()?.list(organization).await.map_err(Refusal::Erasure)?;
        views.reverse();
        Ok(views)
    }

    pub(super) async fn erasures(
        &self,
        request: ListErasuresRequest,
    ) -> Result<ListErasuresResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let page = page_size(request.page_size)?;
        let views = self.newest_first(self.scope.organization).await?;
        let begin = match request.page_token.as_str() {
            "" => 0,
            after => {
                let last = views.iter().position(|view| view.id == after);
                last.ok_or_else(|| field("page_token", "it is none of ListErasures"))? + 1
            }
        };
        let more = views.len() > begin + page;
        let erasures: Vec<ErasureView> = views.into_iter().skip(begin).take(page).collect();
        let last = erasures.last().filter(|_| more);
        let next_page_token = last.map(|view| view.id.clone()).unwrap_or_default();
        Ok(ListErasuresResponse { erasures: erasures.into_iter().map(erasure_of).collect(), next_page_token })
    }

    pub(super) async fn erasure(&self, request: GetErasureRequest) -> Result<Erasure, Refusal> {
        let id = self.scope.child("erasures", &request.name)?;
        let views = self.newest_first(self.scope.organization).await?;
        let found = views.into_iter().find(|view| view.id == id);
        found.map(erasure_of).ok_or(Refusal::Erasure(ErasureError::NoSuchErasure(id)))
    }
}

fn count(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn erasure_of(view: ErasureView) -> Erasure {
    let ErasureView { id, ask, requested_ms, due_ms, rows, blanked, files, rewritten_ms, finished_ms } = view;
    let organization = ask.organization.to_string();
    let state = match (rewritten_ms, finished_ms) {
        (_, Some(_)) => ErasureState::Finished,
        (Some(_), None) => ErasureState::Rewritten,
        (None, None) => ErasureState::Hidden,
    };
    let vehicle = ask.vehicle.map(|vehicle| {
        VehicleName { organization: organization.clone(), vehicle: vehicle.to_string() }.to_string()
    });
    Erasure {
        name: ChildName { organization, collection: "erasures", id }.to_string(),
        vehicle: vehicle.unwrap_or_default(),
        start_time: ask.from_ns.map(timestamp_ns),
        end_time: ask.until_ns.map(timestamp_ns),
        classes: ask.classes.iter().map(|class| class.as_str().to_owned()).collect(),
        request_time: timestamp_of(requested_ms),
        requested_by: ask.by,
        reason: ask.reason,
        state: state.into(),
        due_time: timestamp_of(due_ms),
        rows: count(rows),
        blanked_rows: count(blanked),
        files: count(files),
        rewrite_time: rewritten_ms.and_then(timestamp_of),
        finish_time: finished_ms.and_then(timestamp_of),
    }
}
