//! `remuda.vehicles.v1.VehicleService`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_api::vehicles::v1::vehicle_service_server::VehicleService;
use remuda_api::vehicles::v1::{
    FleetStatus, GetFleetStatusRequest, GetVehicleRequest, ListVehiclesRequest, ListVehiclesResponse,
    Vehicle, VehicleEncoding, WatchVehicleRequest, WatchVehiclesRequest, WatchVehiclesResponse,
};
use remuda_contracts::fleet::{FleetView, VehicleSummary};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;
use tonic::{Request, Response, Status};

use crate::columns::Rows;
use crate::convert::{vehicle_of, vehicle_with_twin};
use crate::fleet_status::fleet_status;
use crate::follow::{Follow, Responses, counted};
use crate::limits;
use crate::mirror::{Mark, Mirror};
use crate::order::{First, Order};
use crate::page::{self, PageToken, page_size};
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::scope::{Scope, sight};
use crate::seats::{Seat, Seats};
use crate::sight::{Sight, Wanted};
use crate::time::now_ms;
use crate::watch::{Watch, stopped};

/// How often a watched twin is read without a change of its line: the safety net under lost wake-ups.
const TWIN_RECHECK: Duration = Duration::from_secs(2);

/// The service, over the vehicle domain's read side.
pub(crate) struct Vehicles {
    pub view: Arc<dyn FleetView>,
    pub mirror: Arc<Mirror>,
    pub scope: Scope,
    pub watchers: Seats,
    pub stopping: watch::Receiver<bool>,
}

impl Vehicles {
    /// How exactly a caller sees positions.
    fn precision<T>(&self, request: &Request<T>) -> Precision {
        Precision::of(request, self.scope.organization)
    }

    async fn get(&self, request: GetVehicleRequest, precision: Precision) -> Result<Vehicle, Refusal> {
        let vehicle = self.scope.vehicle(&request.name, "name")?;
        let twin = self.view.twin(&self.scope.organization, &vehicle).await;
        let twin = twin.ok_or_else(|| Refusal::NoSuchVehicle(vehicle.to_string()))?;
        Ok(vehicle_with_twin(&twin, now_ms(), precision))
    }

    fn list(
        &self,
        request: &ListVehiclesRequest,
        precision: Precision,
        sight: Sight,
    ) -> Result<ListVehiclesResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let filter = Wanted::parse(&request.filter, sight)?;
        let size = page_size(request.page_size)?;
        let wrong = |field, problem: String| Refusal::Field { field, problem };
        let order = Order::parse(&request.order_by).map_err(|problem| wrong("order_by", problem))?;
        let bound_to = match order.is_by_name() {
            true => request.filter.clone(),
            false => format!("{}\n{}", request.filter, request.order_by),
        };
        let no_token = |problem: &'static str| wrong("page_token", problem.into());
        let now_ms = now_ms();
        // One more than wanted tells whether there is another page.
        let mut found = if order.is_by_name() {
            let after = PageToken::read(&request.page_token, &bound_to).map_err(no_token)?;
            let matches = |vehicle: &VehicleSummary| filter.matches(vehicle, now_ms);
            self.view.list(&self.scope.organization, after.as_ref(), size + 1, &matches)
        } else {
            let after = PageToken::read_text(&request.page_token, &bound_to).map_err(no_token)?;
            let place = |text: String| Order::read_cursor(&text).ok_or_else(|| no_token(page::FOREIGN));
            let after = after.map(place).transpose()?;
            let mut first = First::new(&order, after, size + 1);
            self.mirror.visit(|line| {
                if filter.matches(&line.vehicle, now_ms) {
                    first.offer(&line.vehicle);
                }
            });
            first.ordered()
        };
        let more = found.len() > size;
        found.truncate(size);
        let next_page_token = match found.last() {
            Some(last) if more && order.is_by_name() => PageToken::write(&last.vehicle, &bound_to),
            Some(last) if more => PageToken::write_text(&order.cursor(last), &bound_to),
            _ => String::new(),
        };
        Ok(ListVehiclesResponse {
            vehicles: found.iter().map(|vehicle| vehicle_of(vehicle, precision)).collect(),
            next_page_token,
            total_size: filter.total(&self.mirror, self.view.count(&self.scope.organization)),
        })
    }

    fn status(&self, request: &GetFleetStatusRequest, sight: &Sight) -> Result<FleetStatus, Refusal> {
        self.scope.parent(&request.parent)?;
        Ok(fleet_status(&self.mirror, &sight.seen()?, now_ms()))
    }

    fn watch(
        &self,
        request: &Request<WatchVehiclesRequest>,
    ) -> Result<Responses<WatchVehiclesResponse>, Refusal> {
        let seat = self.seat(request)?;
        let (precision, sight, request) = (self.precision(request), sight(request), request.get_ref());
        self.scope.parent(&request.parent)?;
        let encoding = VehicleEncoding::try_from(request.encoding).map_err(|_| Refusal::Field {
            field: "encoding",
            problem: format!("there is no encoding {}", request.encoding),
        })?;
        let watch = Watch {
            mirror: Arc::clone(&self.mirror),
            metrics: self.scope.metrics.clone(),
            organization: self.scope.organization,
            filter: Wanted::parse(&request.filter, sight)?,
            encoding,
            precision,
            rows: Rows::default(),
            total: 0,
        };
        let follow = Follow {
            lines_max: watch.lines_max(),
            what: watch,
            interval: interval_of(request.interval_ms)?,
            since: Mark::from_token(&request.resume_token),
            stopping: self.stopping.clone(),
        };
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(follow.run(to));
        Ok(counted(&self.scope.metrics, from, seat, "WatchVehicles"))
    }

    async fn watch_one(&self, request: &Request<WatchVehicleRequest>) -> Result<Responses<Vehicle>, Refusal> {
        let seat = self.seat(request)?;
        let (precision, sight, request) = (self.precision(request), sight(request), request.get_ref());
        let interval = interval_of(request.interval_ms)?;
        let first = self.get(GetVehicleRequest { name: request.name.clone() }, precision).await?;
        let twin = TwinWatch {
            vehicle: self.scope.vehicle(&request.name, "name")?,
            view: Arc::clone(&self.view),
            mirror: Arc::clone(&self.mirror),
            organization: self.scope.organization,
            interval,
            precision,
            sight,
            stopping: self.stopping.clone(),
        };
        let (to, from) = mpsc::channel(limits::WATCH_AHEAD_MAX);
        tokio::spawn(twin.run(first, to));
        Ok(counted(&self.scope.metrics, from, seat, "WatchVehicle"))
    }

    fn seat<T>(&self, request: &Request<T>) -> Result<Seat, Refusal> {
        if *self.stopping.borrow() {
            return Err(Refusal::Stopping);
        }
        self.watchers.take(request)
    }
}

#[tonic::async_trait]
impl VehicleService for Vehicles {
    async fn get_vehicle(&self, request: Request<GetVehicleRequest>) -> Result<Response<Vehicle>, Status> {
        let precision = self.precision(&request);
        self.scope.measured("GetVehicle", self.get(request.into_inner(), precision)).await
    }

    async fn list_vehicles(
        &self,
        request: Request<ListVehiclesRequest>,
    ) -> Result<Response<ListVehiclesResponse>, Status> {
        let (precision, sight) = (self.precision(&request), sight(&request));
        self.scope.measured("ListVehicles", async { self.list(request.get_ref(), precision, sight) }).await
    }

    async fn get_fleet_status(
        &self,
        request: Request<GetFleetStatusRequest>,
    ) -> Result<Response<FleetStatus>, Status> {
        let sight = sight(&request);
        self.scope.measured("GetFleetStatus", async { self.status(request.get_ref(), &sight) }).await
    }

    type WatchVehiclesStream = Responses<WatchVehiclesResponse>;

    async fn watch_vehicles(
        &self,
        request: Request<WatchVehiclesRequest>,
    ) -> Result<Response<Self::WatchVehiclesStream>, Status> {
        self.scope.begun("WatchVehicles", self.watch(&request))
    }

    type WatchVehicleStream = Responses<Vehicle>;

    async fn watch_vehicle(
        &self,
        request: Request<WatchVehicleRequest>,
    ) -> Result<Response<Self::WatchVehicleStream>, Status> {
        self.scope.begun("WatchVehicle", self.watch_one(&request).await)
    }
}

fn interval_of(ms: i32) -> Result<Duration, Refusal> {
    let wrong = || Refusal::Field {
        field: "interval_ms",
        problem: format!(
            "it is 0 or from {} to {}",
            limits::WATCH_INTERVAL_MIN.as_millis(),
            limits::WATCH_INTERVAL_MAX.as_millis()
        ),
    };
    match u64::try_from(ms).map(Duration::from_millis) {
        Ok(Duration::ZERO) => Ok(limits::WATCH_INTERVAL),
        Ok(asked) if (limits::WATCH_INTERVAL_MIN..=limits::WATCH_INTERVAL_MAX).contains(&asked) => Ok(asked),
        _ => Err(wrong()),
    }
}

/// One watched twin.
struct TwinWatch {
    vehicle: VehicleId,
    view: Arc<dyn FleetView>,
    mirror: Arc<Mirror>,
    organization: OrganizationId,
    interval: Duration,
    precision: Precision,
    sight: Sight,
    stopping: watch::Receiver<bool>,
}

impl TwinWatch {
    async fn run(mut self, first: Vehicle, to: mpsc::Sender<Result<Vehicle, Status>>) {
        let mut seen = self.mirror.change_of(&self.vehicle);
        let mut etag = first.etag.clone();
        let (mut read, mut sent) = (Instant::now(), Instant::now());
        if to.send(Ok(first)).await.is_err() {
            return;
        }
        loop {
            tokio::select! {
                () = sleep(self.interval) => {}
                () = to.closed() => return,
                () = stopped(&mut self.stopping) => {
                    let _ = to.send(Err(Refusal::Stopping.into())).await;
                    return;
                }
            }
            let change = self.mirror.change_of(&self.vehicle);
            if change == seen && read.elapsed() < TWIN_RECHECK {
                continue;
            }
            (seen, read) = (change, Instant::now());
            // It may have gone to a fleet that is not theirs.
            let twin = match self.sight.check(&self.vehicle) {
                Ok(()) => {
                    let twin = self.view.twin(&self.organization, &self.vehicle).await;
                    twin.ok_or_else(|| Refusal::NoSuchVehicle(self.vehicle.to_string()))
                }
                Err(refusal) => Err(refusal),
            };
            let twin = match twin {
                Ok(twin) => twin,
                Err(refusal) => {
                    let _ = to.send(Err(refusal.into())).await;
                    return;
                }
            };
            let vehicle = vehicle_with_twin(&twin, now_ms(), self.precision);
            if vehicle.etag == etag && sent.elapsed() < limits::WATCH_HEARTBEAT {
                continue;
            }
            etag.clone_from(&vehicle.etag);
            sent = Instant::now();
            if to.send(Ok(vehicle)).await.is_err() {
                return;
            }
        }
    }
}
