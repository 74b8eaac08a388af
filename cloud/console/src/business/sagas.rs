//! Sagas.

use remuda_api::sagas::v1::saga_service_server::SagaService;
use remuda_api::sagas::v1::{
    GetSagaRequest, GetSagaResponse, ListSagasRequest, ListSagasResponse, Resolution as ApiResolution,
    ResolveSagaRequest, Saga,
};
use remuda_contracts::business::Resolution;
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, page};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, who};

impl Business {
    async fn saga(&self, request: GetSagaRequest) -> Result<GetSagaResponse, Refusal> {
        let id = self.scope.child("sagas", &request.name)?;
        let found = self.desk.saga(&self.scope.organization, &id).await.map_err(Refusal::business)?;
        let saga = Some(convert::saga(self.scope.organization, found.0));
        Ok(GetSagaResponse { saga, history: found.1.into_iter().map(convert::line).collect() })
    }

    async fn sagas(&self, request: ListSagasRequest) -> Result<ListSagasResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("sagas {}", request.state);
        let (size, after) = page(request.page_size, &request.page_token, &of)?;
        let state = Some(request.state.as_str()).filter(|state| !state.is_empty());
        let found = self.desk.sagas(&self.scope.organization, state, after.as_deref(), size).await;
        let (found, next) = found.map_err(Refusal::business)?;
        let sagas = found.into_iter().map(|view| convert::saga(self.scope.organization, view)).collect();
        let next_page_token = next.map(|next| PageToken::write_text(&next, &of)).unwrap_or_default();
        Ok(ListSagasResponse { sagas, next_page_token })
    }

    async fn resolve(&self, request: ResolveSagaRequest, who: String) -> Result<Saga, Refusal> {
        let id = self.scope.child("sagas", &request.name)?;
        if request.reason.trim().is_empty() {
            return Err(field("reason", "it is empty; say why"));
        }
        let resolution = match request.resolution() {
            ApiResolution::Retry => Resolution::Retry,
            ApiResolution::Compensate => Resolution::Compensate,
            ApiResolution::Skip if request.step.is_empty() => return Err(field("step", "it is empty")),
            ApiResolution::Skip => Resolution::Skip(request.step.clone()),
            ApiResolution::Unspecified => {
                return Err(field("resolution", "say what to do: retry, skip or compensate"));
            }
        };
        let asker = asker(who, request.request_id)?;
        let organization = &self.scope.organization;
        let view = self.desk.resolve(organization, &id, resolution, request.reason.trim(), asker).await;
        view.map(|view| convert::saga(self.scope.organization, view)).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl SagaService for Business {
    async fn get_saga(&self, request: Request<GetSagaRequest>) -> Result<Response<GetSagaResponse>, Status> {
        self.scope.measured("GetSaga", self.saga(request.into_inner())).await
    }

    async fn list_sagas(
        &self,
        request: Request<ListSagasRequest>,
    ) -> Result<Response<ListSagasResponse>, Status> {
        self.scope.measured("ListSagas", self.sagas(request.into_inner())).await
    }

    async fn resolve_saga(&self, request: Request<ResolveSagaRequest>) -> Result<Response<Saga>, Status> {
        let who = who(&request);
        self.scope.measured("ResolveSaga", self.resolve(request.into_inner(), who)).await
    }
}
