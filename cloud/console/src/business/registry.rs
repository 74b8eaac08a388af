//! Records of vehicles.

use remuda_api::registry::v1::registry_service_server::RegistryService;
use remuda_api::registry::v1::{
    ChangeVehicleRequest, Details, Firmware, GetRecordRequest, ListRecordsRequest, ListRecordsResponse,
    PlanServiceRequest, Record, RecordServiceRequest, RegisterVehicleRequest, RetireVehicleRequest,
    ServicePlan,
};
use remuda_contracts::business::vehicles::{RecordDetails, RecordFilter, RecordView, ServicePlanView};
use tonic::{Request, Response, Status};

use super::{Business, asker, convert, next_page_for, page_for, reason};
use crate::refusal::Refusal;
use crate::scope::{field, sight, who};
use crate::sight::Sight;
use crate::time::now_ms;

const DAY_MS: i64 = 86_400_000;

fn small(of: &'static str, number: u32) -> Result<u16, Refusal> {
    u16::try_from(number).map_err(|_| field(of, "it is too large"))
}

fn details_of(given: Option<Details>) -> Result<RecordDetails, Refusal> {
    let given = given.ok_or_else(|| field("details", "it is missing"))?;
    let some = |text: String| Some(text).filter(|text| !text.is_empty());
    Ok(RecordDetails {
        manufacturer: given.manufacturer,
        model: given.model,
        year: small("details.year", given.year)?,
        powertrain: given.powertrain,
        seats: small("details.seats", given.seats)?,
        capabilities: given.capabilities,
        licence_class: given.licence_class,
        plate: some(given.plate),
        fleet: some(given.fleet),
        depot: some(given.depot),
    })
}

fn details(details: RecordDetails) -> Details {
    Details {
        manufacturer: details.manufacturer,
        model: details.model,
        year: u32::from(details.year),
        powertrain: details.powertrain,
        seats: u32::from(details.seats),
        capabilities: details.capabilities,
        licence_class: details.licence_class,
        plate: details.plate.unwrap_or_default(),
        fleet: details.fleet.unwrap_or_default(),
        depot: details.depot.unwrap_or_default(),
    }
}

impl Business {
    fn record_of(&self, view: RecordView) -> Record {
        let plan = |plan: ServicePlanView| ServicePlan {
            every_m: plan.every_m.unwrap_or_default(),
            every_days: plan.every_ms.map_or(0, |ms| u32::try_from(ms / DAY_MS).unwrap_or(u32::MAX)),
        };
        let firmware = view.firmware.into_iter().map(|(ecu, version)| Firmware { ecu, version });
        Record {
            name: convert::name_of(self.scope.organization, "vehicles", &view.vehicle),
            state: view.state.to_owned(),
            details: Some(details(view.details)),
            odometer_m: view.odometer_m,
            trips: view.trips,
            trips_m: view.trips_m,
            service_plan: view.service.map(plan),
            serviced_m: view.serviced_m,
            service_time: convert::some_time(view.serviced_ms),
            service_due: view.service_due,
            firmware: firmware.collect(),
        }
    }

    async fn register(&self, request: RegisterVehicleRequest, who: String) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let details = details_of(request.details)?;
        let (organization, asker) = (&self.scope.organization, asker(who, request.request_id)?);
        let odometer_m = request.odometer_m;
        let view =
            self.desk.register_vehicle(organization, vehicle.as_str(), details, odometer_m, asker).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn change(&self, request: ChangeVehicleRequest, who: String) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let (details, asker) = (details_of(request.details)?, asker(who, request.request_id)?);
        let view = self.desk.change_vehicle(&self.scope.organization, vehicle.as_str(), details, asker).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn retire(&self, request: RetireVehicleRequest, who: String) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let (reason, asker) = (reason(&request.reason)?, asker(who, request.request_id.clone())?);
        let view = self.desk.retire_vehicle(&self.scope.organization, vehicle.as_str(), reason, asker).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn plan(&self, request: PlanServiceRequest, who: String) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let given = request.plan.ok_or_else(|| field("plan", "it is missing"))?;
        let plan = ServicePlanView {
            every_m: Some(given.every_m).filter(|m| *m > 0),
            every_ms: Some(i64::from(given.every_days) * DAY_MS).filter(|ms| *ms > 0),
        };
        let asker = asker(who, request.request_id)?;
        let view = self.desk.plan_service(&self.scope.organization, vehicle.as_str(), plan, asker).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn serviced(&self, request: RecordServiceRequest, who: String) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let at_ms = match &request.service_time {
            None => now_ms(),
            time => convert::needed_time("service_time", time.as_ref())?,
        };
        let (organization, note) = (&self.scope.organization, request.note.trim());
        let (odometer_m, asker) = (request.odometer_m, asker(who, request.request_id.clone())?);
        let view =
            self.desk.record_service(organization, vehicle.as_str(), odometer_m, at_ms, note, asker).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn record(&self, request: GetRecordRequest) -> Result<Record, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let view = self.desk.record(&self.scope.organization, vehicle.as_str()).await;
        view.map(|view| self.record_of(view)).map_err(Refusal::business)
    }

    async fn records(
        &self,
        request: ListRecordsRequest,
        sight: &Sight,
    ) -> Result<ListRecordsResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let of = format!("records {} {}", request.service_due, request.retired);
        let (size, after) = page_for(sight, request.page_size, &request.page_token, &of)?;
        let filter = RecordFilter { service_due: request.service_due, retired: request.retired };
        // One more than wanted tells whether there is another page.
        let found = self.desk.records(&self.scope.organization, filter, after.as_deref(), size + 1).await;
        let mut found = found.map_err(Refusal::business)?;
        let next_page_token = next_page_for(sight, &mut found, size, &of, |view| &view.vehicle);
        // A page may be shorter for it; the next one goes on behind what was left out.
        let seen = sight.seen()?;
        found.retain(|view| seen.has_named(&view.vehicle));
        let records = found.into_iter().map(|view| self.record_of(view)).collect();
        Ok(ListRecordsResponse { records, next_page_token })
    }
}

#[tonic::async_trait]
impl RegistryService for Business {
    async fn register_vehicle(
        &self,
        request: Request<RegisterVehicleRequest>,
    ) -> Result<Response<Record>, Status> {
        let who = who(&request);
        self.scope.measured("RegisterVehicle", self.register(request.into_inner(), who)).await
    }

    async fn change_vehicle(
        &self,
        request: Request<ChangeVehicleRequest>,
    ) -> Result<Response<Record>, Status> {
        let who = who(&request);
        self.scope.measured("ChangeVehicle", self.change(request.into_inner(), who)).await
    }

    async fn retire_vehicle(
        &self,
        request: Request<RetireVehicleRequest>,
    ) -> Result<Response<Record>, Status> {
        let who = who(&request);
        self.scope.measured("RetireVehicle", self.retire(request.into_inner(), who)).await
    }

    async fn plan_service(&self, request: Request<PlanServiceRequest>) -> Result<Response<Record>, Status> {
        let who = who(&request);
        self.scope.measured("PlanService", self.plan(request.into_inner(), who)).await
    }

    async fn record_service(
        &self,
        request: Request<RecordServiceRequest>,
    ) -> Result<Response<Record>, Status> {
        let who = who(&request);
        self.scope.measured("RecordService", self.serviced(request.into_inner(), who)).await
    }

    async fn get_record(&self, request: Request<GetRecordRequest>) -> Result<Response<Record>, Status> {
        self.scope.measured("GetRecord", self.record(request.into_inner())).await
    }

    async fn list_records(
        &self,
        request: Request<ListRecordsRequest>,
    ) -> Result<Response<ListRecordsResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("ListRecords", self.records(request.into_inner(), &sight)).await
    }
}
