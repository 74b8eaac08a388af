//! Readers of the business journal.

use remuda_api::reactors::v1::reactor_service_server::ReactorService;
use remuda_api::reactors::v1::{
    GetReactorRequest, ListReactorsRequest, ListReactorsResponse, Reactor, RetryReactorRequest, Skip,
    SkipEventRequest, Stop,
};
use remuda_contracts::business::reactors::ReactorView;
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, reason};
use crate::refusal::Refusal;
use crate::scope::{field, who};

fn shard(number: u32) -> Result<u16, Refusal> {
    u16::try_from(number).map_err(|_| field("shard", "a shard is a number from 0 to 1023"))
}

impl Business {
    fn reactor_of(&self, view: ReactorView) -> Reactor {
        Reactor {
            name: convert::name_of(self.scope.organization, "reactors", view.name),
            kind: view.kind.to_owned(),
            lag_events: view.lag_events,
            stops: view
                .stopped
                .into_iter()
                .map(|stop| Stop {
                    shard: u32::from(stop.shard),
                    position: stop.position,
                    event_type: stop.event_type,
                    reason: stop.reason,
                })
                .collect(),
            retrying_shards: view.retrying,
            detail: view.detail,
            skips: view
                .skipped
                .into_iter()
                .map(|skip| Skip {
                    shard: u32::from(skip.shard),
                    position: skip.position,
                    reason: skip.reason,
                })
                .collect(),
        }
    }

    async fn reactor(&self, request: GetReactorRequest) -> Result<Reactor, Refusal> {
        let id = self.scope.child("reactors", &request.name)?;
        let view = self.desk.reactor(&self.scope.organization, &id).await.map_err(Refusal::business)?;
        Ok(self.reactor_of(view))
    }

    async fn reactors(&self, request: ListReactorsRequest) -> Result<ListReactorsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let found = self.desk.reactors(&self.scope.organization).await.map_err(Refusal::business)?;
        Ok(ListReactorsResponse { reactors: found.into_iter().map(|view| self.reactor_of(view)).collect() })
    }

    async fn retry_stopped(&self, request: RetryReactorRequest, who: String) -> Result<Reactor, Refusal> {
        let id = self.scope.child("reactors", &request.name)?;
        let reason = reason(&request.reason)?;
        let (only, asker) = (request.shard.map(shard).transpose()?, asker(who, String::new())?);
        let view = self.desk.retry_reactor(&self.scope.organization, &id, only, reason, asker).await;
        view.map(|view| self.reactor_of(view)).map_err(Refusal::business)
    }

    async fn skip(&self, request: SkipEventRequest, who: String) -> Result<Reactor, Refusal> {
        let id = self.scope.child("reactors", &request.name)?;
        let reason = reason(&request.reason)?;
        let (shard, asker) = (shard(request.shard)?, asker(who, String::new())?);
        let organization = &self.scope.organization;
        let view = self.desk.skip_event(organization, &id, shard, request.position, reason, asker).await;
        view.map(|view| self.reactor_of(view)).map_err(Refusal::business)
    }
}

#[tonic::async_trait]
impl ReactorService for Business {
    async fn get_reactor(&self, request: Request<GetReactorRequest>) -> Result<Response<Reactor>, Status> {
        self.scope.measured("GetReactor", self.reactor(request.into_inner())).await
    }

    async fn list_reactors(
        &self,
        request: Request<ListReactorsRequest>,
    ) -> Result<Response<ListReactorsResponse>, Status> {
        self.scope.measured("ListReactors", self.reactors(request.into_inner())).await
    }

    async fn retry_reactor(
        &self,
        request: Request<RetryReactorRequest>,
    ) -> Result<Response<Reactor>, Status> {
        let who = who(&request);
        self.scope.measured("RetryReactor", self.retry_stopped(request.into_inner(), who)).await
    }

    async fn skip_event(&self, request: Request<SkipEventRequest>) -> Result<Response<Reactor>, Status> {
        let who = who(&request);
        self.scope.measured("SkipEvent", self.skip(request.into_inner(), who)).await
    }
}
