//! `remudactl trips`, `users` and `sagas`; what else there is of the business is in the modules below.

pub mod feedback;
pub mod figures;
pub mod messages;
pub mod money;
pub mod reactors;
pub mod records;
pub mod sharing;
pub mod troubles;

use std::io::Write;
use std::time::Duration;

use clap::{Subcommand, ValueEnum};
use remuda_api::sagas::v1::saga_service_client::SagaServiceClient;
use remuda_api::sagas::v1::{
    GetSagaRequest, HistoryLine, ListSagasRequest, Resolution, ResolveSagaRequest, Saga,
};
use remuda_api::trips::v1::trip_service_client::TripServiceClient;
use remuda_api::trips::v1::{
    BookTripRequest, CancelTripRequest, GetTripRequest, ListTripsRequest, Place, SetVehicleServiceRequest,
    Trip,
};
use remuda_api::users::v1::user_service_client::UserServiceClient;
use remuda_api::users::v1::{
    AddCreditsRequest, CreateUserRequest, EraseUserRequest, GetUserRequest, ListUsersRequest, User,
};
use remuda_api::{ChildName, MESSAGE_BYTES_MAX, OrganizationName, VehicleName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::table::{Cell, cell, write};
use crate::text::{id, rfc3339};

/// What can be done with trips.
#[derive(Debug, Subcommand)]
pub enum TripsCommand {
    /// Lists trips.
    List {
        /// Only trips in this state: requested, assigned, arriving, boarding, under-way, completed, cancelled, no-show.
        #[arg(long)]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows one trip.
    Get {
        /// Its id.
        trip: String,
    },
    /// Books a ride: credits, vehicle, trip and confirmation, all or nothing.
    Book {
        /// Who rides: a user's id.
        rider: String,
        /// Pick-up, stops, drop-off, each as LATITUDE,LONGITUDE.
        #[arg(required = true, num_args = 2..=16, value_parser = place)]
        stops: Vec<Place>,
        /// Only these vehicles, the best first; without any, the nearest that are free.
        #[arg(long = "vehicle")]
        vehicles: Vec<String>,
        /// Names the trip, so that the same booking again is the same trip.
        #[arg(long)]
        request_id: Option<String>,
    },
    /// Calls a trip off.
    Cancel {
        /// Its id.
        trip: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
    /// Links with which others follow a trip.
    #[command(flatten)]
    Sharing(sharing::SharingCommand),
    /// What riders say of their trips.
    #[command(subcommand)]
    Feedback(feedback::FeedbackCommand),
    /// Puts a vehicle in service for rides.
    Serve {
        /// Which.
        vehicle: String,
    },
    /// Takes a vehicle out of service, once it is free.
    Withdraw {
        /// Which.
        vehicle: String,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// What can be done with users.
#[derive(Debug, Subcommand)]
pub enum UsersCommand {
    /// Lists users and their credits.
    List {
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows one user.
    Get {
        /// Their id.
        user: String,
    },
    /// Registers a rider.
    Create {
        /// Their id.
        user: String,
        /// What they are called; sealed under a key of their own.
        #[arg(long)]
        name: String,
        /// Where to write to; sealed as well.
        #[arg(long)]
        email: Option<String>,
    },
    /// Adds credits.
    AddCredits {
        /// To whom.
        user: String,
        /// How much, minor units (cents).
        #[arg(value_parser = clap::value_parser!(i64).range(1..))]
        amount_minor: i64,
        /// The payment's own name: the same name counts once.
        #[arg(long)]
        request_id: String,
    },
    /// Erases a person: nothing personal that was said of them can be read again.
    Erase {
        /// Whom.
        user: String,
        /// Why.
        #[arg(long)]
        reason: String,
        /// Give up credits that are left.
        #[arg(long)]
        forfeit_credits: bool,
    },
}

/// How a saga is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// Try again what it is stuck on.
    Retry,
    /// Take a step off that cannot be undone, or end a timer.
    Skip,
    /// Undo all of it.
    Compensate,
}

/// What can be done with sagas.
#[derive(Debug, Subcommand)]
pub enum SagasCommand {
    /// Lists sagas: those under way, then those that ended, each the newest first.
    List {
        /// Only sagas in this state: running, unwinding, stuck, completed, compensated.
        #[arg(long)]
        state: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
    },
    /// Shows one saga with its steps and its history.
    Get {
        /// Its id.
        saga: String,
    },
    /// Resolves a saga that is stuck.
    Resolve {
        /// Its id.
        saga: String,
        /// How.
        how: How,
        /// The step to skip.
        #[arg(long)]
        step: Option<String>,
        /// Why.
        #[arg(long)]
        reason: String,
    },
}

/// `LATITUDE,LONGITUDE`, degrees.
fn place(text: &str) -> Result<Place, String> {
    let wrong = || "write a place as LATITUDE,LONGITUDE, such as 60.17,24.94".to_owned();
    let (latitude, longitude) = text.split_once(',').ok_or_else(wrong)?;
    let degrees = |text: &str| text.trim().parse::<f64>().map_err(|_| wrong());
    Ok(Place { latitude: degrees(latitude)?, longitude: degrees(longitude)? })
}

struct Session<'a> {
    service: Service,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

/// Entries that one call answers.
const PAGE: i32 = 1_000;

impl<'a> Session<'a> {
    async fn open(global: Global, out: &'a mut dyn Write, colours: bool) -> Result<Self, CtlError> {
        Ok(Self { service: open(&global).await?, global, out, colours })
    }
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn name(&self, collection: &'static str, id: &str) -> String {
        if id.contains('/') {
            return id.to_owned();
        }
        ChildName { organization: self.global.organization.clone(), collection, id: id.to_owned() }
            .to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    /// Prints things in the form that was asked for.
    fn print(
        &mut self,
        (what, heads): (&str, &[&str]),
        names: &[&str],
        documents: Vec<Value>,
        rows: &[Vec<Cell>],
    ) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => writeln!(self.out, "{:#}", json!({ what: documents }))?,
            OutputFormat::Name => {
                for name in names {
                    writeln!(self.out, "{name}")?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                write(self.out, Some(heads), rows, &mut Vec::new(), self.colours)?;
            }
        }
        self.out.flush()?;
        Ok(())
    }

    fn trips(&mut self, trips: &[Trip]) -> Result<(), CtlError> {
        let names: Vec<&str> = trips.iter().map(|trip| trip.name.as_str()).collect();
        let documents = trips.iter().map(trip_json).collect();
        let rows: Vec<Vec<Cell>> = trips.iter().map(trip_row).collect();
        let heads = ["TRIP", "STATE", "RIDER", "VEHICLE", "REQUESTED", "DISTANCE", "DETAIL"];
        self.print(("trips", &heads), &names, documents, &rows)
    }

    fn users(&mut self, users: &[User]) -> Result<(), CtlError> {
        let names: Vec<&str> = users.iter().map(|user| user.name.as_str()).collect();
        let documents = users.iter().map(user_json).collect();
        let row = |user: &User| {
            vec![
                cell(id(&user.name)),
                cell(user.state.clone()),
                cell(user.available_minor.to_string()).right(),
                cell(user.held_minor.to_string()).right(),
            ]
        };
        let rows: Vec<Vec<Cell>> = users.iter().map(row).collect();
        self.print(("users", &["USER", "STATE", "AVAILABLE", "HELD"]), &names, documents, &rows)
    }

    fn sagas(&mut self, sagas: &[Saga]) -> Result<(), CtlError> {
        let names: Vec<&str> = sagas.iter().map(|saga| saga.name.as_str()).collect();
        let documents = sagas.iter().map(saga_json).collect();
        let row = |saga: &Saga| {
            vec![
                cell(id(&saga.name)),
                cell(saga.definition.clone()),
                cell(saga.state.clone()),
                cell(saga.create_time.as_ref().map_or_else(String::new, rfc3339)),
                cell(saga.detail.clone()),
            ]
        };
        let rows: Vec<Vec<Cell>> = sagas.iter().map(row).collect();
        self.print(("sagas", &["SAGA", "DEFINITION", "STATE", "STARTED", "DETAIL"]), &names, documents, &rows)
    }
}

fn trip_json(trip: &Trip) -> Value {
    json!({
        "name": trip.name,
        "state": trip.state,
        "rider": trip.rider,
        "vehicle": trip.vehicle,
        "createTime": trip.create_time.as_ref().map(rfc3339),
        "updateTime": trip.update_time.as_ref().map(rfc3339),
        "distanceM": trip.distance_m,
        "sagaState": trip.saga_state,
        "detail": trip.detail,
    })
}

fn trip_row(trip: &Trip) -> Vec<Cell> {
    vec![
        cell(id(&trip.name)),
        cell(trip.state.clone()),
        cell(trip.rider.clone()),
        cell(trip.vehicle.clone()),
        cell(trip.create_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(trip.distance_m.map_or_else(String::new, |metres| format!("{metres} m"))).right(),
        cell(trip.detail.clone()),
    ]
}

fn user_json(user: &User) -> Value {
    json!({
        "name": user.name,
        "state": user.state,
        "availableMinor": user.available_minor,
        "heldMinor": user.held_minor,
        "createTime": user.create_time.as_ref().map(rfc3339),
    })
}

fn saga_json(saga: &Saga) -> Value {
    let steps: Vec<Value> = saga
        .steps
        .iter()
        .map(|step| json!({ "name": step.name, "what": step.what, "state": step.state, "tries": step.tries }))
        .collect();
    json!({
        "name": saga.name,
        "definition": saga.definition,
        "version": saga.version,
        "state": saga.state,
        "detail": saga.detail,
        "createTime": saga.create_time.as_ref().map(rfc3339),
        "endTime": saga.end_time.as_ref().map(rfc3339),
        "steps": steps,
    })
}

fn line_json(line: &HistoryLine) -> Value {
    json!({
        "time": line.time.as_ref().map(rfc3339),
        "event": line.event,
        "step": line.step,
        "what": line.what,
        "by": line.by,
    })
}

/// Runs a command about trips.
pub(crate) async fn trips(
    command: TripsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session { service: open(&global).await?, global, out, colours };
    let mut client =
        TripServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let trip = match command {
        TripsCommand::List { state, limit } => {
            let (mut trips, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListTripsRequest {
                    parent: session.parent(),
                    page_size: PAGE,
                    page_token,
                    state: state.clone().unwrap_or_default(),
                });
                let page = client.list_trips(request).await?.into_inner();
                trips.extend(page.trips);
                page_token = page.next_page_token;
                if page_token.is_empty() || trips.len() >= limit {
                    break;
                }
            }
            trips.truncate(limit);
            return session.trips(&trips);
        }
        TripsCommand::Get { trip } => {
            let request = session.request(GetTripRequest { name: session.name("trips", &trip) });
            client.get_trip(request).await?.into_inner()
        }
        TripsCommand::Book { rider, stops, vehicles, request_id } => {
            let request = session.request(BookTripRequest {
                parent: session.parent(),
                rider,
                stops,
                vehicles,
                request_id: request_id.unwrap_or_default(),
            });
            client.book_trip(request).await?.into_inner()
        }
        TripsCommand::Cancel { trip, reason } => {
            let name = session.name("trips", &trip);
            let request = session.request(CancelTripRequest { name, reason, request_id: String::new() });
            client.cancel_trip(request).await?.into_inner()
        }
        TripsCommand::Sharing(command) => return session.sharing(client, command).await,
        TripsCommand::Feedback(command) => return session.feedback(command).await,
        TripsCommand::Serve { vehicle } => return session.serve(client, &vehicle, true, String::new()).await,
        TripsCommand::Withdraw { vehicle, reason } => {
            return session.serve(client, &vehicle, false, reason).await;
        }
    };
    session.trips(std::slice::from_ref(&trip))
}

impl Session<'_> {
    async fn serve(
        &mut self,
        mut client: TripServiceClient<Service>,
        vehicle: &str,
        in_service: bool,
        reason: String,
    ) -> Result<(), CtlError> {
        let organization = self.global.organization.clone();
        let name = VehicleName { organization, vehicle: vehicle.to_owned() }.to_string();
        let request = self.request(SetVehicleServiceRequest { name, in_service, reason });
        client.set_vehicle_service(request).await?;
        let now = if in_service { "is in service" } else { "leaves the service once it is free" };
        eprintln!("{vehicle} {now}");
        Ok(())
    }
}

/// Runs a command about users.
pub(crate) async fn users(
    command: UsersCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session { service: open(&global).await?, global, out, colours };
    let mut client =
        UserServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let user = match command {
        UsersCommand::List { limit } => {
            let (mut users, mut page_token) = (Vec::new(), String::new());
            loop {
                let parent = session.parent();
                let request = session.request(ListUsersRequest { parent, page_size: PAGE, page_token });
                let page = client.list_users(request).await?.into_inner();
                users.extend(page.users);
                page_token = page.next_page_token;
                if page_token.is_empty() || users.len() >= limit {
                    break;
                }
            }
            users.truncate(limit);
            return session.users(&users);
        }
        UsersCommand::Get { user } => {
            let request = session.request(GetUserRequest { name: session.name("users", &user) });
            client.get_user(request).await?.into_inner()
        }
        UsersCommand::Create { user, name, email } => {
            let request = session.request(CreateUserRequest {
                parent: session.parent(),
                user_id: user,
                display_name: name,
                email: email.unwrap_or_default(),
            });
            client.create_user(request).await?.into_inner()
        }
        UsersCommand::AddCredits { user, amount_minor, request_id } => {
            let name = session.name("users", &user);
            let currency = String::new();
            let request = session.request(AddCreditsRequest { name, amount_minor, currency, request_id });
            client.add_credits(request).await?.into_inner()
        }
        UsersCommand::Erase { user, reason, forfeit_credits } => {
            let name = session.name("users", &user);
            let request = session.request(EraseUserRequest { name, forfeit_credits, reason });
            client.erase_user(request).await?.into_inner()
        }
    };
    session.users(std::slice::from_ref(&user))
}

/// Runs a command about sagas.
pub(crate) async fn sagas(
    command: SagasCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session { service: open(&global).await?, global, out, colours };
    let mut client =
        SagaServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    match command {
        SagasCommand::List { state, limit } => {
            let (mut sagas, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListSagasRequest {
                    parent: session.parent(),
                    page_size: i32::try_from(limit).unwrap_or(PAGE).clamp(1, PAGE),
                    state: state.clone().unwrap_or_default(),
                    page_token,
                });
                let page = client.list_sagas(request).await?.into_inner();
                sagas.extend(page.sagas);
                page_token = page.next_page_token;
                if page_token.is_empty() || sagas.len() >= limit {
                    break;
                }
            }
            sagas.truncate(limit);
            session.sagas(&sagas)
        }
        SagasCommand::Get { saga } => {
            let request = session.request(GetSagaRequest { name: session.name("sagas", &saga) });
            let answer = client.get_saga(request).await?.into_inner();
            let saga = answer.saga.unwrap_or_default();
            if session.global.output == OutputFormat::Json {
                let history: Vec<Value> = answer.history.iter().map(line_json).collect();
                let document = json!({ "saga": saga_json(&saga), "history": history });
                writeln!(session.out, "{document:#}")?;
                return Ok(());
            }
            session.sagas(std::slice::from_ref(&saga))?;
            let row = |line: &HistoryLine| {
                vec![
                    cell(line.time.as_ref().map_or_else(String::new, rfc3339)),
                    cell(line.event.clone()),
                    cell(line.step.clone()),
                    cell(line.what.clone()),
                    cell(line.by.clone()),
                ]
            };
            let rows: Vec<Vec<Cell>> = answer.history.iter().map(row).collect();
            writeln!(session.out)?;
            write(
                session.out,
                Some(&["TIME", "EVENT", "STEP", "WHAT", "BY"]),
                &rows,
                &mut Vec::new(),
                session.colours,
            )?;
            Ok(())
        }
        SagasCommand::Resolve { saga, how, step, reason } => {
            let resolution = match how {
                How::Retry => Resolution::Retry,
                How::Skip => Resolution::Skip,
                How::Compensate => Resolution::Compensate,
            };
            let request = session.request(ResolveSagaRequest {
                name: session.name("sagas", &saga),
                resolution: resolution.into(),
                step: step.unwrap_or_default(),
                reason,
                request_id: String::new(),
            });
            let saga = client.resolve_saga(request).await?.into_inner();
            session.sagas(std::slice::from_ref(&saga))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_read() {
        assert_eq!(place("60.17, 24.94"), Ok(Place { latitude: 60.17, longitude: 24.94 }));
        for wrong in ["60.17", "north,east", ""] {
            assert!(place(wrong).is_err(), "{wrong}");
        }
    }
}
