//! Trouble codes.

use remuda_api::diagnostics::v1::diagnostics_service_server::DiagnosticsService;
use remuda_api::diagnostics::v1::{
    AcknowledgeTroubleCodeRequest, FrozenSignal, GetTroubleCodeRequest, ListTroubleCodesRequest,
    ListTroubleCodesResponse, ReportTroubleCodeRequest, TroubleCode,
};
use remuda_contracts::business::vehicles::{TroubleFilter, TroubleReport, TroubleView};
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page_for};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{sight, who};
use crate::sight::Sight;
use crate::time::now_ms;

impl Business {
    fn trouble_of(&self, view: TroubleView) -> TroubleCode {
        let (by, note, time_ms) = view.acknowledged.unwrap_or_default();
        let frame = view.freeze_frame.into_iter().map(|(path, raw)| FrozenSignal { path, raw });
        TroubleCode {
            name: convert::name_of(self.scope.organization, "vehicles", &view.vehicle),
            ecu: view.ecu,
            code: view.code,
            severity: view.severity.to_owned(),
            active: view.active,
            first_seen_time: convert::some_time(view.first_seen_ms),
            last_seen_time: convert::some_time(view.last_seen_ms),
            occurrences: view.occurrences,
            freeze_frame: frame.collect(),
            acknowledged_by: by,
            note,
            acknowledge_time: convert::some_time(time_ms),
        }
    }

    async fn troubles(
        &self,
        request: ListTroubleCodesRequest,
        sight: &Sight,
    ) -> Result<ListTroubleCodesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("troubles {} {}", request.gone, request.vehicle);
        let (size, after) = page_for(sight, request.page_size, &request.page_token, &of)?;
        let vehicle = Some(request.vehicle.as_str()).filter(|vehicle| !vehicle.is_empty());
        // An id alone is not held against what the caller sees before it comes here.
        if let Some(vehicle) = vehicle
            && !sight.sees_named_now(vehicle).map_err(Refusal::business)?
        {
            return Ok(ListTroubleCodesResponse::default());
        }
        let filter = TroubleFilter { vehicle, gone: request.gone };
        let found = self.desk.troubles(&self.scope.organization, filter, after.as_deref(), size).await;
        let ((found, next), seen) = (found.map_err(Refusal::business)?, sight.seen()?);
        Ok(ListTroubleCodesResponse {
            // A page may be shorter for it; the next one goes on behind what was left out.
            trouble_codes: found
                .into_iter()
                .filter(|view| seen.has_named(&view.vehicle))
                .map(|view| self.trouble_of(view))
                .collect(),
            next_page_token: next.map(|next| PageToken::write_for(sight, &next, &of)).unwrap_or_default(),
        })
    }

    async fn trouble(&self, request: GetTroubleCodeRequest) -> Result<TroubleCode, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let (organization, GetTroubleCodeRequest { ecu, code, .. }) = (&self.scope.organization, &request);
        let view = self.desk.trouble(organization, vehicle.as_str(), ecu, code).await;
        view.map(|view| self.trouble_of(view)).map_err(Refusal::business)
    }

    async fn report(&self, request: ReportTroubleCodeRequest, who: String) -> Result<TroubleCode, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let at_ms = match &request.seen_time {
            None => now_ms(),
            time => convert::needed_time("seen_time", time.as_ref())?,
        };
        let report = TroubleReport {
            ecu: request.ecu,
            code: request.code,
            severity: request.severity,
            freeze_frame: request.freeze_frame.into_iter().map(|signal| (signal.path, signal.raw)).collect(),
            at_ms,
            cleared: request.cleared,
        };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.report_trouble(&self.scope.organization, vehicle.as_str(), report, asker).await;
        view.map(|view| self.trouble_of(view)).map_err(Refusal::business)
    }

    async fn acknowledge(
        &self,
        request: AcknowledgeTroubleCodeRequest,
        who: String,
    ) -> Result<TroubleCode, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let asker = asker(who, request.request_id.clone())?;
        let AcknowledgeTroubleCodeRequest { ecu, code, note, .. } = &request;
        let organization = &self.scope.organization;
        let view =
            self.desk.acknowledge_trouble(organization, vehicle.as_str(), ecu, code, note, asker).await;
        view.map(|view| self.trouble_of(view)).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl DiagnosticsService for Business {
    async fn list_trouble_codes(
        &self,
        request: Request<ListTroubleCodesRequest>,
    ) -> Result<Response<ListTroubleCodesResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListTroubleCodes", self.troubles(request.into_inner(), &sight)).await
    }

    async fn get_trouble_code(
        &self,
        request: Request<GetTroubleCodeRequest>,
    ) -> Result<Response<TroubleCode>, Status> {
        self.scope.measured("GetTroubleCode", self.trouble(request.into_inner())).await
    }

    async fn report_trouble_code(
        &self,
        request: Request<ReportTroubleCodeRequest>,
    ) -> Result<Response<TroubleCode>, Status> {
        let who = who(&request);
        self.scope.measured("ReportTroubleCode", self.report(request.into_inner(), who)).await
    }

    async fn acknowledge_trouble_code(
        &self,
        request: Request<AcknowledgeTroubleCodeRequest>,
    ) -> Result<Response<TroubleCode>, Status> {
        let who = who(&request);
        self.scope.measured("AcknowledgeTroubleCode", self.acknowledge(request.into_inner(), who)).await
    }
}
