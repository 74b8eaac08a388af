//! `remudactl vehicles register`, `records` and the like: vehicles as things.

use std::io::Write;

use clap::{Args, Subcommand};
use remuda_api::registry::v1::registry_service_client::RegistryServiceClient;
use remuda_api::registry::v1::{
    ChangeVehicleRequest, Details, GetRecordRequest, ListRecordsRequest, PlanServiceRequest, Record,
    RecordServiceRequest, RegisterVehicleRequest, RetireVehicleRequest, ServicePlan,
};
use remuda_api::{MESSAGE_BYTES_MAX, VehicleName};
use serde_json::{Value, json};

use super::{PAGE, Session};
use crate::args::Global;
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell};
use crate::text::{id, rfc3339};

/// What a vehicle is, and where it belongs.
#[derive(Debug, Clone, Args)]
pub struct What {
    /// Who made it.
    #[arg(long)]
    manufacturer: String,
    /// What they call it.
    #[arg(long)]
    model: String,
    /// Model year.
    #[arg(long)]
    year: u32,
    /// electric, combustion, hybrid or fuel-cell.
    #[arg(long, default_value = "electric")]
    powertrain: String,
    /// Seats for riders.
    #[arg(long, default_value_t = 4)]
    seats: u32,
    /// What it can do besides, such as child-seat; several may be given.
    #[arg(long = "capability")]
    capabilities: Vec<String>,
    /// Class of licence that a driver needs.
    #[arg(long, default_value = "B")]
    licence_class: String,
    /// Number plate.
    #[arg(long)]
    plate: Option<String>,
    /// Fleet.
    #[arg(long)]
    fleet: Option<String>,
    /// Depot.
    #[arg(long)]
    depot: Option<String>,
}

/// What can be done with records of vehicles.
#[derive(Debug, Subcommand)]
pub enum RecordCommand {
    /// Registers a vehicle as a thing of the fleet: what it is, where it belongs.
    Register {
        /// Its id.
        vehicle: String,
        /// What it is.
        #[command(flatten)]
        what: What,
        /// Its odometer, m.
        #[arg(long, default_value_t = 0)]
        odometer_m: u64,
    },
    /// Says that it is something else, or belongs elsewhere: all of it.
    Change {
        /// Its id.
        vehicle: String,
        /// What it is.
        #[command(flatten)]
        what: What,
    },
    /// Takes it out of the fleet for good.
    Retire {
        /// Its id.
        vehicle: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Says how often it must be serviced.
    PlanService {
        /// Its id.
        vehicle: String,
        /// After so many kilometres.
        #[arg(long, required_unless_present = "every_days")]
        every_km: Option<u64>,
        /// After so many days.
        #[arg(long)]
        every_days: Option<u32>,
    },
    /// Says that it was serviced.
    Serviced {
        /// Its id.
        vehicle: String,
        /// Where the odometer stood, m.
        #[arg(long)]
        odometer_m: u64,
        /// What was done.
        #[arg(long)]
        note: String,
    },
    /// Shows its record.
    Record {
        /// Its id.
        vehicle: String,
    },
    /// Lists records.
    Records {
        /// Only those that must be serviced.
        #[arg(long)]
        service_due: bool,
        /// Those that were retired as well.
        #[arg(long)]
        retired: bool,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
}

fn details(what: What) -> Details {
    Details {
        manufacturer: what.manufacturer,
        model: what.model,
        year: what.year,
        powertrain: what.powertrain,
        seats: what.seats,
        capabilities: what.capabilities,
        licence_class: what.licence_class,
        plate: what.plate.unwrap_or_default(),
        fleet: what.fleet.unwrap_or_default(),
        depot: what.depot.unwrap_or_default(),
    }
}

fn document(record: &Record) -> Value {
    let details = record.details.clone().unwrap_or_default();
    let firmware = record.firmware.iter().map(|one| json!({ "ecu": one.ecu, "version": one.version }));
    json!({
        "name": record.name,
        "state": record.state,
        "details": {
            "manufacturer": details.manufacturer,
            "model": details.model,
            "year": details.year,
            "powertrain": details.powertrain,
            "seats": details.seats,
            "capabilities": details.capabilities,
            "licenceClass": details.licence_class,
            "plate": details.plate,
            "fleet": details.fleet,
            "depot": details.depot,
        },
        "odometerM": record.odometer_m,
        "trips": record.trips,
        "tripsM": record.trips_m,
        "servicePlan": record.service_plan.as_ref().map(|plan| {
            json!({ "everyM": plan.every_m, "everyDays": plan.every_days })
        }),
        "servicedM": record.serviced_m,
        "serviceTime": record.service_time.as_ref().map(rfc3339),
        "serviceDue": record.service_due,
        "firmware": firmware.collect::<Vec<_>>(),
    })
}

fn row(record: &Record) -> Vec<Cell> {
    let details = record.details.clone().unwrap_or_default();
    let due = if record.service_due { cell("due").tint(Tint::Warn) } else { cell("") };
    vec![
        cell(id(&record.name)),
        cell(record.state.clone()),
        cell(format!("{} {} {}", details.manufacturer, details.model, details.year)),
        cell(details.fleet),
        cell(details.depot),
        cell(format!("{:.1} km", record.odometer_m as f64 / 1_000.0)).right(),
        cell(record.trips.to_string()).right(),
        due,
    ]
}

/// Runs a command about records.
pub(crate) async fn run(
    command: RecordCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client =
        RegistryServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request_id = String::new();
    let records = match command {
        RecordCommand::Register { vehicle, what, odometer_m } => {
            let (name, details) = (session.vehicle(&vehicle), Some(details(what)));
            let request = RegisterVehicleRequest { name, details, odometer_m, request_id };
            vec![client.register_vehicle(session.request(request)).await?.into_inner()]
        }
        RecordCommand::Change { vehicle, what } => {
            let (name, details) = (session.vehicle(&vehicle), Some(details(what)));
            let request = ChangeVehicleRequest { name, details, request_id };
            vec![client.change_vehicle(session.request(request)).await?.into_inner()]
        }
        RecordCommand::Retire { vehicle, reason } => {
            let request = RetireVehicleRequest { name: session.vehicle(&vehicle), reason, request_id };
            vec![client.retire_vehicle(session.request(request)).await?.into_inner()]
        }
        RecordCommand::PlanService { vehicle, every_km, every_days } => {
            let every_m = every_km.unwrap_or_default().saturating_mul(1_000);
            let plan = Some(ServicePlan { every_m, every_days: every_days.unwrap_or_default() });
            let request = PlanServiceRequest { name: session.vehicle(&vehicle), plan, request_id };
            vec![client.plan_service(session.request(request)).await?.into_inner()]
        }
        RecordCommand::Serviced { vehicle, odometer_m, note } => {
            let name = session.vehicle(&vehicle);
            let request = RecordServiceRequest { name, odometer_m, service_time: None, note, request_id };
            vec![client.record_service(session.request(request)).await?.into_inner()]
        }
        RecordCommand::Record { vehicle } => {
            let request = GetRecordRequest { name: session.vehicle(&vehicle) };
            vec![client.get_record(session.request(request)).await?.into_inner()]
        }
        RecordCommand::Records { service_due, retired, limit } => {
            let (mut records, mut page_token) = (Vec::new(), String::new());
            loop {
                let parent = session.parent();
                let request =
                    ListRecordsRequest { parent, page_size: PAGE, page_token, service_due, retired };
                let page = client.list_records(session.request(request)).await?.into_inner();
                records.extend(page.records);
                page_token = page.next_page_token;
                if page_token.is_empty() || records.len() >= limit {
                    break;
                }
            }
            records.truncate(limit);
            records
        }
    };
    let names: Vec<&str> = records.iter().map(|record| record.name.as_str()).collect();
    let documents = records.iter().map(document).collect();
    let rows: Vec<Vec<Cell>> = records.iter().map(row).collect();
    let heads = ["VEHICLE", "STATE", "WHAT", "FLEET", "DEPOT", "ODOMETER", "TRIPS", "SERVICE"];
    session.print(("records", &heads), &names, documents, &rows)
}

impl Session<'_> {
    pub(super) fn vehicle(&self, vehicle: &str) -> String {
        if vehicle.contains('/') {
            return vehicle.to_owned();
        }
        let organization = self.global.organization.clone();
        VehicleName { organization, vehicle: vehicle.to_owned() }.to_string()
    }
}
