//! Reads a fleet with the generated client: how many vehicles are online, and those with little charge.
//!
//! `cargo run -p remuda-console --example fleet_report -- http://127.0.0.1:8080 TOKEN [ORGANIZATION]`

use std::process::ExitCode;

use remuda_api::vehicles::v1::vehicle_service_client::VehicleServiceClient;
use remuda_api::vehicles::v1::{GetFleetStatusRequest, ListVehiclesRequest};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Endpoint;
use tonic::{Request, Status};

type Failure = Box<dyn std::error::Error>;

async fn report(url: String, token: &str, organization: &str) -> Result<(), Failure> {
    let bearer: MetadataValue<Ascii> = format!("Bearer {token}").parse()?;
    let with_token = move |mut request: Request<()>| -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", bearer.clone());
        Ok(request)
    };
    let channel = Endpoint::from_shared(url)?.connect().await?;
    let mut vehicles = VehicleServiceClient::with_interceptor(channel, with_token);
    let parent = format!("organizations/{organization}");

    let status =
        vehicles.get_fleet_status(GetFleetStatusRequest { parent: parent.clone() }).await?.into_inner();
    println!("{} vehicles, {} online, {} with little charge", status.total, status.online, status.low_charge);
    let mut page_token = String::new();
    loop {
        let request = ListVehiclesRequest {
            parent: parent.clone(),
            page_size: 1_000,
            page_token,
            filter: "charge_percent < 20".into(),
            ..ListVehiclesRequest::default()
        };
        let page = vehicles.list_vehicles(request).await?.into_inner();
        for vehicle in page.vehicles {
            let id = vehicle.name.rsplit('/').next().unwrap_or_default();
            println!("{id} {:.0}%", vehicle.charge_percent.unwrap_or_default());
        }
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return Ok(());
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, token, rest @ ..] = arguments.as_slice() else {
        eprintln!("usage: fleet_report URL TOKEN [ORGANIZATION]");
        return ExitCode::from(2);
    };
    let organization = rest.first().map_or("default", String::as_str);
    match report(url.clone(), token, organization).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
