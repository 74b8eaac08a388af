//! The commands.

use std::io::Write;
use std::ops::ControlFlow;
use std::time::Duration;

use remuda_api::vehicles::v1::{
    GetVehicleRequest, ListVehiclesRequest, VehicleEncoding, WatchVehicleRequest, WatchVehiclesRequest,
    WatchVehiclesResponse,
};
use remuda_api::{OrganizationName, VehicleName};
use serde_json::{Value, json};
use tonic::{Code, Request, Response, Status, Streaming};

use crate::args::{Cli, Command, Global, Output, OutputFormat, VehiclesCommand};
use crate::client::{Client, connect};
use crate::contexts::ContextsFile;
use crate::error::CtlError;
use crate::print::{VehiclePrinter, vehicle_json};
use crate::target::resolve;
use crate::text::id;
use crate::yaml::Yaml;

/// Runs one command, writing its answer to `out`.
///
/// # Errors
/// A sentence for the person who typed it.
pub async fn run(mut cli: Cli, out: &mut dyn Write, colours: bool) -> Result<(), CtlError> {
    let history = matches!(cli.command, Command::History(_));
    cli.global.output = match cli.global.print {
        Output::Csv | Output::Ndjson if !history => {
            return Err(CtlError::Usage(
                "csv and ndjson are for history; say -o table, wide, json, yaml or name",
            ));
        }
        Output::Table | Output::Csv => OutputFormat::Table,
        Output::Wide => OutputFormat::Wide,
        Output::Json | Output::Yaml | Output::Ndjson => OutputFormat::Json,
        Output::Name => OutputFormat::Name,
    };
    match &cli.command {
        Command::Completion(args) => return crate::manual::completion(args, out),
        Command::Man(args) => return crate::manual::man(args, out),
        _ => {}
    }
    if cli.global.print == Output::Yaml {
        return dispatch(cli, &mut Yaml::new(out), false).await;
    }
    dispatch(cli, out, colours).await
}

async fn dispatch(cli: Cli, out: &mut dyn Write, colours: bool) -> Result<(), CtlError> {
    let Cli { mut global, command } = cli;
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let contexts = ContextsFile::of(&env);
    let command = match command {
        Command::Contexts(command) => {
            return crate::context_commands::run(command, &global, &contexts, out, colours);
        }
        Command::Login(args) => return crate::login::run(args, &global, &env, &contexts, out).await,
        command => command,
    };
    let (target, organization) = resolve(&global, &env, || contexts.load())?;
    global.target = crate::login::fresh(target, &contexts).await?;
    global.organization = organization;
    let certified = global.target.certificate.is_some();
    let plain = global.target.address.starts_with("http://");
    let done = carry_out(command, global, out, colours).await;
    done.map_err(|error| {
        if certified {
            error.by_certificate()
        } else if plain {
            error.in_plain_text()
        } else {
            error
        }
    })
}

async fn carry_out(
    command: Command,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let command = match command {
        // Answered above, and before.
        Command::Contexts(_) | Command::Login(_) | Command::Completion(_) | Command::Man(_) => return Ok(()),
        Command::Vehicles(VehiclesCommand::Identity(command)) => {
            return crate::identities::run(command, global, out, colours).await;
        }
        Command::Vehicles(VehiclesCommand::Records(command)) => {
            return crate::business::records::run(command, global, out, colours).await;
        }
        Command::Vehicles(command) => command,
        Command::Commands(command) => return crate::commands::run(command, global, out, colours).await,
        Command::Alerts(command) => return crate::alerts::run(command, global, out, colours).await,
        Command::Geofences(command) => return crate::geofences::run(command, global, out, colours).await,
        Command::Policies(command) => return crate::policies::run(command, global, out, colours).await,
        Command::Trips(command) => return crate::business::trips(command, global, out, colours).await,
        Command::Users(command) => return crate::business::users(command, global, out, colours).await,
        Command::Sagas(command) => return crate::business::sagas(command, global, out, colours).await,
        Command::Invoices(command) => {
            return crate::business::money::invoices(command, global, out, colours).await;
        }
        Command::Payments(command) => {
            return crate::business::money::payments(command, global, out, colours).await;
        }
        Command::Ledger(command) => {
            return crate::business::money::ledger(command, global, out, colours).await;
        }
        Command::Analytics(command) => {
            return crate::business::figures::run(command, global, out, colours).await;
        }
        Command::Notifications(command) => {
            return crate::business::messages::run(command, global, out, colours).await;
        }
        Command::Diagnostics(command) => {
            return crate::business::troubles::run(command, global, out, colours).await;
        }
        Command::Reactors(command) => {
            return crate::business::reactors::run(command, global, out, colours).await;
        }
        Command::Assistance(command) => return crate::assistance::run(command, global, out, colours).await,
        Command::Feeds(command) => return crate::feeds::run(command, global, out, colours).await,
        Command::Audit(command) => return crate::audit::run(command, global, out, colours).await,
        Command::System(command) => return crate::system::run(command, global, out, colours).await,
        Command::History(command) => return crate::history::run(command, global, out, colours).await,
    };
    let client = connect(&global).await?;
    let printer = VehiclePrinter::new(out, global.output, colours);
    let session = Session { client, global, printer };
    match command {
        VehiclesCommand::List { filter, order_by, page_size, limit } => {
            session.list(&filter, &order_by, page_size, limit).await
        }
        VehiclesCommand::Get { vehicle } => session.get(&vehicle).await,
        VehiclesCommand::Watch { vehicle: Some(vehicle), interval_ms, updates, .. } => {
            session.watch_one(&vehicle, interval_ms, updates).await
        }
        VehiclesCommand::Watch { vehicle: None, filter, interval_ms, updates } => {
            session.watch(filter, interval_ms, updates).await
        }
        // Answered above.
        VehiclesCommand::Identity(_) | VehiclesCommand::Records(_) => Ok(()),
    }
}

struct Session<'a> {
    client: Client,
    global: Global,
    printer: VehiclePrinter<'a>,
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    /// An id, or a whole name.
    fn name(&self, vehicle: &str) -> String {
        if vehicle.contains('/') {
            return vehicle.to_owned();
        }
        VehicleName { organization: self.global.organization.clone(), vehicle: vehicle.to_owned() }
            .to_string()
    }

    /// A request with the deadline.
    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn list(
        mut self,
        filter: &str,
        order_by: &str,
        page_size: i32,
        limit: Option<usize>,
    ) -> Result<(), CtlError> {
        let mut left = limit.unwrap_or(usize::MAX);
        let mut documents: Vec<Value> = Vec::new();
        let mut page_token = String::new();
        let mut printed = 0;
        while left > 0 {
            let request = self.request(ListVehiclesRequest {
                parent: self.parent(),
                page_size: page_size.min(i32::try_from(left).unwrap_or(i32::MAX)),
                page_token,
                filter: filter.to_owned(),
                order_by: order_by.to_owned(),
            });
            let page = self.client.list_vehicles(request).await?.into_inner();
            left -= page.vehicles.len().min(left);
            printed += page.vehicles.len();
            if self.global.output == OutputFormat::Json {
                documents.extend(page.vehicles.iter().map(vehicle_json));
            } else if !page.vehicles.is_empty() {
                self.printer.rows(&page.vehicles)?;
            }
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if self.global.output == OutputFormat::Json {
            writeln!(self.printer.out, "{:#}", json!({ "vehicles": documents }))?;
        } else if printed == 0 {
            eprintln!("no vehicle{}", if filter.is_empty() { " yet" } else { " matches" });
        }
        self.printer.out.flush()?;
        Ok(())
    }

    async fn get(mut self, vehicle: &str) -> Result<(), CtlError> {
        let request = self.request(GetVehicleRequest { name: self.name(vehicle) });
        let vehicle = self.client.get_vehicle(request).await?.into_inner();
        self.printer.twin(&vehicle)?;
        self.printer.out.flush()?;
        Ok(())
    }

    async fn watch(mut self, filter: String, interval_ms: i32, updates: Option<u64>) -> Result<(), CtlError> {
        let request = WatchVehiclesRequest {
            parent: self.parent(),
            filter,
            resume_token: String::new(),
            encoding: VehicleEncoding::Messages.into(),
            interval_ms,
        };
        let mut stream = self.client.watch_vehicles(request).await?.into_inner();
        let mut seen = 0;
        while let Some(response) = next_or_ctrl_c(&mut stream).await? {
            self.show(&response)?;
            if response.lagged {
                eprintln!("remudactl: this terminal is slower than the fleet; some states were skipped");
            }
            if !response.resume_token.is_empty() {
                seen += 1;
            }
            if updates.is_some_and(|most| seen >= most) {
                break;
            }
        }
        Ok(())
    }

    fn show(&mut self, response: &WatchVehiclesResponse) -> Result<(), CtlError> {
        if self.global.output == OutputFormat::Json {
            for vehicle in &response.vehicles {
                writeln!(self.printer.out, "{}", vehicle_json(vehicle))?;
            }
            for name in &response.removed {
                writeln!(self.printer.out, "{}", json!({ "name": name, "removed": true }))?;
            }
        } else {
            if !response.vehicles.is_empty() {
                self.printer.rows(&response.vehicles)?;
            }
            for name in &response.removed {
                writeln!(self.printer.out, "{}  no longer matches", id(name))?;
            }
        }
        self.printer.out.flush()?;
        Ok(())
    }

    async fn watch_one(
        mut self,
        vehicle: &str,
        interval_ms: i32,
        updates: Option<u64>,
    ) -> Result<(), CtlError> {
        let request = WatchVehicleRequest { name: self.name(vehicle), interval_ms };
        let mut stream = self.client.watch_vehicle(request).await?.into_inner();
        let mut seen = 0;
        while let Some(vehicle) = next_or_ctrl_c(&mut stream).await? {
            if self.global.output == OutputFormat::Json {
                writeln!(self.printer.out, "{}", vehicle_json(&vehicle))?;
            } else {
                if self.printer.colours {
                    // On a terminal the twin stays in place: home, and clear below.
                    write!(self.printer.out, "\x1b[H\x1b[J")?;
                } else if seen > 0 {
                    writeln!(self.printer.out)?;
                }
                self.printer.twin(&vehicle)?;
            }
            self.printer.out.flush()?;
            seen += 1;
            if updates.is_some_and(|most| seen >= most) {
                break;
            }
        }
        Ok(())
    }
}

/// The next message; none when the stream ends or the person does not want more.
pub(crate) async fn next_or_ctrl_c<T>(stream: &mut Streaming<T>) -> Result<Option<T>, Status> {
    tokio::select! {
        message = stream.message() => message,
        _ = tokio::signal::ctrl_c() => Ok(None),
    }
}

/// How long a server that went away is waited for, and how often it is tried.
const PATIENCE: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(500);

/// Follows until `each` has enough, the server ends the stream or the person does not want more. A server that restarts is
/// waited for, and nothing is missed: the last token that `each` was shown goes on where it was.
pub(crate) async fn follow<T, O>(
    mut resume_token: String,
    mut open: impl FnMut(String) -> O,
    token_of: impl Fn(&T) -> &str,
    mut each: impl FnMut(T) -> Result<ControlFlow<()>, CtlError>,
) -> Result<(), CtlError>
where
    O: Future<Output = Result<Response<Streaming<T>>, Status>>,
{
    let (mut waited, mut has_answered) = (Duration::ZERO, false);
    loop {
        let gone = match open(resume_token.clone()).await {
            Err(status) => status,
            Ok(stream) => {
                let mut stream = stream.into_inner();
                loop {
                    match next_or_ctrl_c(&mut stream).await {
                        Ok(Some(response)) => {
                            (waited, has_answered) = (Duration::ZERO, true);
                            // Parts of a state have none before the last.
                            if !token_of(&response).is_empty() {
                                token_of(&response).clone_into(&mut resume_token);
                            }
                            if each(response)?.is_break() {
                                return Ok(());
                            }
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                }
            }
        };
        // One that never answered, or says no, is not waited for.
        let went = matches!(gone.code(), Code::Unavailable | Code::Unknown);
        if !went || !has_answered || waited >= PATIENCE {
            return Err(gone.into());
        }
        if waited.is_zero() {
            eprintln!("remudactl: the connection is gone ({}); trying again", gone.message());
        }
        tokio::time::sleep(PAUSE).await;
        waited += PAUSE;
    }
}
