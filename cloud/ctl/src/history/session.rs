//! The connection, whom and when to ask, and how an answer is read until it ends or the person has enough.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use remuda_api::telemetry::v1::telemetry_service_client::TelemetryServiceClient;
use remuda_api::vehicles::v1::ListVehiclesRequest;
use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::{MESSAGE_BYTES_MAX, OrganizationName, VehicleName};
use tonic::{Request, Status, Streaming};

use super::ScopeArgs;
use crate::args::Global;
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::text::{id, now_ns};

/// Vehicles of one question, as the server has it.
pub(crate) const VEHICLES_MAX: usize = 1_000;
/// Vehicles of one page when a filter is turned into ids.
const VEHICLES_PAGE: i32 = 1_000;

/// Whom and when.
#[derive(Debug, Clone)]
pub(crate) struct Scope {
    /// Ids or names; none when a filter says which.
    pub vehicles: Vec<String>,
    pub filter: String,
    pub from_ns: i64,
    pub to_ns: i64,
}

impl Scope {
    pub fn new(args: &ScopeArgs) -> Result<Self, CtlError> {
        let filter = match (&args.filter, args.all) {
            (Some(filter), _) if !filter.trim().is_empty() => filter.clone(),
            (_, true) => "vehicle = *".to_owned(),
            _ => String::new(),
        };
        if args.vehicles.is_empty() && filter.is_empty() {
            return Err(CtlError::Usage("which vehicles? name them, or say --filter or --all"));
        }
        if args.vehicles.len() > VEHICLES_MAX {
            return Err(CtlError::Usage("at most 1000 vehicles can be named; --filter takes more"));
        }
        let now_ns = now_ns();
        let (from_ns, to_ns) = (args.from.ns(now_ns), args.to.ns(now_ns));
        if from_ns >= to_ns {
            return Err(CtlError::Usage("the range is empty: --from must be before --to"));
        }
        Ok(Self { vehicles: args.vehicles.clone(), filter, from_ns, to_ns })
    }
}

/// A connection.
pub(crate) struct Session {
    pub client: TelemetryServiceClient<Service>,
    pub global: Global,
    service: Service,
    interrupt: Interrupt,
}

/// Ctrl-C or the end of the session; remembered from the first look on.
struct Interrupt(Pin<Box<dyn Future<Output = ()> + Send>>);

impl Interrupt {
    fn new() -> Self {
        Self(Box::pin(async {
            #[cfg(unix)]
            if let Ok(mut terminate) =
                tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = tokio::signal::ctrl_c() => {}
                }
                return;
            }
            let _ = tokio::signal::ctrl_c().await;
        }))
    }
}

impl Session {
    pub async fn open(global: Global) -> Result<Self, CtlError> {
        let service = open(&global).await?;
        let client =
            TelemetryServiceClient::new(service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        Ok(Self { client, global, service, interrupt: Interrupt::new() })
    }

    pub fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    /// Whole resource names of ids.
    pub fn names(&self, vehicles: &[String]) -> Vec<String> {
        let name = |vehicle: &String| match vehicle.contains('/') {
            true => vehicle.clone(),
            false => VehicleName { organization: self.global.organization.clone(), vehicle: vehicle.clone() }
                .to_string(),
        };
        vehicles.iter().map(name).collect()
    }

    /// A request with the deadline.
    pub fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    /// Waits for a call, but not longer than the deadline, nor than the person wants.
    pub async fn wait<T>(&mut self, call: impl Future<Output = Result<T, Status>>) -> Result<T, CtlError> {
        let timeout = Duration::from_secs(self.global.timeout);
        tokio::select! {
            answer = tokio::time::timeout(timeout, call) => match answer {
                Ok(answer) => Ok(answer?),
                Err(_) => Err(Status::deadline_exceeded("").into()),
            },
            () = &mut self.interrupt.0 => Err(CtlError::Interrupted),
        }
    }

    /// The next part of an answer. The deadline is for each of them: a long answer may take its time. Who drops the stream ends
    /// the server's work.
    pub async fn next<T>(&mut self, stream: &mut Streaming<T>) -> Result<Option<T>, CtlError> {
        self.wait(stream.message()).await
    }

    /// The ids of a scope's vehicles, in order.
    pub async fn ids(&mut self, scope: &Scope) -> Result<Vec<String>, CtlError> {
        if scope.filter.is_empty() {
            let mut ids: Vec<String> = scope.vehicles.iter().map(|name| id(name).to_owned()).collect();
            ids.sort_unstable();
            ids.dedup();
            return Ok(ids);
        }
        let mut client =
            VehicleServiceClient::new(self.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        let mut ids = Vec::new();
        let mut page_token = String::new();
        loop {
            let request = self.request(ListVehiclesRequest {
                parent: self.parent(),
                page_size: VEHICLES_PAGE,
                page_token,
                filter: scope.filter.clone(),
                ..ListVehiclesRequest::default()
            });
            let page = self.wait(client.list_vehicles(request)).await?.into_inner();
            ids.extend(page.vehicles.iter().map(|vehicle| id(&vehicle.name).to_owned()));
            page_token = page.next_page_token;
            if page_token.is_empty() {
                return Ok(ids);
            }
        }
    }
}
