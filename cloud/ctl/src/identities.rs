//! `remudactl vehicles create|enroll-token|revoke|provision|registered`.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use remuda_api::identity::v1::identity_service_client::IdentityServiceClient;
use remuda_api::identity::v1::{
    CreateEnrolmentTokenRequest, CreateVehiclesRequest, EnrolmentToken, GetRegistrationRequest,
    ListRegistrationsRequest, NewVehicle, Registration, RevokeVehicleRequest, Standing,
};
use remuda_api::{MESSAGE_BYTES_MAX, OrganizationName, VehicleName};
use remuda_model::VehicleId;
use serde_json::{Value, json};
use tonic::Request;
use tonic_types::StatusExt;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{id, rfc3339};

/// Vehicles of one call, and so of one file.
const VEHICLES_MAX: usize = 10_000;
/// Bad lines that are named.
const PROBLEMS_MAX: usize = 10;
/// Registrations read at once.
const PAGE_SIZE: i32 = 1_000;

/// What can be done with vehicles' identities.
#[derive(Debug, Subcommand)]
pub enum IdentityCommand {
    /// Registers a vehicle and prints its one-time enrolment token, which is shown only here.
    Create {
        /// Its id: 1 to 48 letters and digits.
        vehicle: String,
        /// A name for people.
        #[arg(long, default_value = "")]
        display_name: String,
        /// How long the token is valid.
        #[command(flatten)]
        valid: Valid,
    },
    /// Prints a new one-time enrolment token for a registered vehicle; an earlier one is void. A revoked vehicle is
    /// admitted again once it has used it.
    EnrollToken {
        /// Its id, or its whole resource name.
        vehicle: String,
        /// How long the token is valid.
        #[command(flatten)]
        valid: Valid,
    },
    /// Refuses a vehicle from now on; its connection ends at once.
    Revoke {
        /// Its id, or its whole resource name.
        vehicle: String,
        /// Why, for people.
        #[arg(long)]
        reason: String,
    },
    /// Registers many vehicles, all or none: ids from a CSV file, tokens into another.
    Provision {
        /// Lines of `vehicle,display name`; the name may be missing, and so may a head line that begins with `vehicle`.
        #[arg(long)]
        csv: PathBuf,
        /// A new file for lines of `vehicle,enrolment_token,expires`, readable by its owner only.
        #[arg(long)]
        out: PathBuf,
        /// How long the token is valid.
        #[command(flatten)]
        valid: Valid,
    },
    /// Shows registered vehicles and whether they may connect: all, or one.
    Registered {
        /// Its id, or its whole resource name.
        vehicle: Option<String>,
    },
}

/// How long a token is valid.
#[derive(Debug, Clone, Args)]
pub struct Valid {
    /// Hours that the token is valid, 1 to 2160; the server's usual time when absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=2160))]
    valid_hours: Option<u32>,
}

impl Valid {
    fn message(&self) -> Option<prost_types::Duration> {
        self.valid_hours.map(|hours| prost_types::Duration { seconds: i64::from(hours) * 3_600, nanos: 0 })
    }
}

struct Session<'a> {
    client: IdentityServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

/// Runs one of them.
pub(crate) async fn run(
    command: IdentityCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let tokens = matches!(command, IdentityCommand::Create { .. } | IdentityCommand::EnrollToken { .. });
    if tokens && global.output == OutputFormat::Name {
        return Err(CtlError::Usage(
            "-o name would not show the token, which is said only once; use -o json",
        ));
    }
    // The whole file is read and checked before anything is sent.
    let vehicles = match &command {
        IdentityCommand::Provision { csv, .. } => read(csv)?,
        _ => Vec::new(),
    };
    let client =
        IdentityServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours };
    match command {
        IdentityCommand::Create { vehicle, display_name, valid } => {
            session.create(NewVehicle { vehicle, display_name }, &valid).await
        }
        IdentityCommand::EnrollToken { vehicle, valid } => session.new_token(&vehicle, &valid).await,
        IdentityCommand::Revoke { vehicle, reason } => session.revoke(&vehicle, reason).await,
        IdentityCommand::Provision { csv, out, valid } => {
            session.provision(&csv, vehicles, &out, &valid).await
        }
        IdentityCommand::Registered { vehicle: Some(vehicle) } => session.registration(&vehicle).await,
        IdentityCommand::Registered { vehicle: None } => session.registrations().await,
    }?;
    session.out.flush()?;
    Ok(())
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

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn create(&mut self, vehicle: NewVehicle, valid: &Valid) -> Result<(), CtlError> {
        let (parent, token_valid) = (self.parent(), valid.message());
        let request = self.request(CreateVehiclesRequest { parent, vehicles: vec![vehicle], token_valid });
        let tokens = self.client.create_vehicles(request).await?.into_inner().tokens;
        tokens.iter().try_for_each(|token| self.show_token(token))
    }

    async fn new_token(&mut self, vehicle: &str, valid: &Valid) -> Result<(), CtlError> {
        let (name, token_valid) = (self.name(vehicle), valid.message());
        let request = self.request(CreateEnrolmentTokenRequest { name, token_valid });
        let token = self.client.create_enrolment_token(request).await?.into_inner();
        self.show_token(&token)
    }

    fn show_token(&mut self, token: &EnrolmentToken) -> Result<(), CtlError> {
        let expires = token.expire_time.as_ref().map(rfc3339).unwrap_or_default();
        if self.global.output == OutputFormat::Json {
            let document =
                json!({ "name": token.name, "enrolmentToken": token.token, "expireTime": expires });
            writeln!(self.out, "{document:#}")?;
        } else {
            let row = [cell(id(&token.name)), cell(expires), cell(&token.token)];
            let heads = ["VEHICLE", "EXPIRES", "ENROLMENT TOKEN"];
            write(self.out, Some(&heads), &[row.to_vec()], &mut Vec::new(), self.colours)?;
        }
        Ok(())
    }

    async fn revoke(&mut self, vehicle: &str, reason: String) -> Result<(), CtlError> {
        let request = self.request(RevokeVehicleRequest { name: self.name(vehicle), reason });
        let registration = self.client.revoke_vehicle(request).await?.into_inner();
        self.show(&[registration])
    }

    async fn registration(&mut self, vehicle: &str) -> Result<(), CtlError> {
        let request = self.request(GetRegistrationRequest { name: self.name(vehicle) });
        let registration = self.client.get_registration(request).await?.into_inner();
        self.show(&[registration])
    }

    async fn registrations(&mut self) -> Result<(), CtlError> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let parent = self.parent();
            let request = self.request(ListRegistrationsRequest { parent, page_size: PAGE_SIZE, page_token });
            let page = self.client.list_registrations(request).await?.into_inner();
            all.extend(page.registrations);
            page_token = page.next_page_token;
            if page_token.is_empty() {
                break;
            }
        }
        if all.is_empty() && self.global.output != OutputFormat::Json {
            eprintln!("no vehicle is registered yet; remudactl vehicles create registers one");
        }
        self.show(&all)
    }

    fn show(&mut self, registrations: &[Registration]) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = registrations.iter().map(registration_json).collect();
                writeln!(self.out, "{:#}", json!({ "registrations": documents }))?;
            }
            OutputFormat::Name => {
                for registration in registrations {
                    writeln!(self.out, "{}", registration.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let rows: Vec<Vec<Cell>> = registrations.iter().map(registration_row).collect();
                let heads = ["VEHICLE", "STANDING", "CERTIFICATE UNTIL", "TOKEN UNTIL", "NAME", "REASON"];
                if !rows.is_empty() {
                    write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?;
                }
            }
        }
        Ok(())
    }

    async fn provision(
        &mut self,
        csv: &Path,
        vehicles: Vec<(u64, NewVehicle)>,
        out: &Path,
        valid: &Valid,
    ) -> Result<(), CtlError> {
        let unwritable = |source| CtlError::Unwritable { file: out.display().to_string(), source };
        // Before anything is registered, and never over a file that is there: it may hold tokens.
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(unwritable)?;
        let lines: HashMap<String, u64> =
            vehicles.iter().map(|(line, new)| (new.vehicle.clone(), *line)).collect();
        let vehicles = vehicles.into_iter().map(|(_, new)| new).collect();
        let (parent, token_valid) = (self.parent(), valid.message());
        let request = self.request(CreateVehiclesRequest { parent, vehicles, token_valid });
        let tokens = match self.client.create_vehicles(request).await {
            Ok(answer) => answer.into_inner().tokens,
            Err(status) => {
                // Nothing was registered, and the file is empty. That it cannot be removed does no harm.
                let _ = fs::remove_file(out);
                return Err(with_line(status, csv, &lines));
            }
        };
        let written = write_tokens(&mut file, &tokens).and_then(|()| file.sync_all());
        written.map_err(|source| CtlError::TokensLost { file: out.display().to_string(), source })?;
        let count = tokens.len();
        if self.global.output == OutputFormat::Json {
            writeln!(self.out, "{:#}", json!({ "registered": count, "tokens": out.display().to_string() }))?;
        } else {
            let s = if count == 1 { " is" } else { "s are" };
            writeln!(self.out, "{count} vehicle{s} registered; their tokens are in {}", out.display())?;
        }
        Ok(())
    }
}

fn write_tokens(file: &mut fs::File, tokens: &[EnrolmentToken]) -> std::io::Result<()> {
    let mut text = String::from("vehicle,enrolment_token,expires\n");
    for token in tokens {
        // None of these has a comma or a quote in it.
        let expires = token.expire_time.as_ref().map(rfc3339).unwrap_or_default();
        text.push_str(&format!("{},{},{expires}\n", id(&token.name), token.token));
    }
    file.write_all(text.as_bytes())
}

/// A refusal that is about one vehicle is about its line.
fn with_line(status: tonic::Status, csv: &Path, lines: &HashMap<String, u64>) -> CtlError {
    let about_one = status.get_details_error_info().is_some_and(|info| info.reason == "VEHICLE_EXISTS");
    let line = status.message().split(' ').find_map(|word| lines.get(word));
    match line {
        Some(line) if about_one => CtlError::Csv {
            file: csv.display().to_string(),
            problems: format!("line {line}: {}; nothing was registered", status.message()),
        },
        _ => status.into(),
    }
}

/// Vehicles with their lines, from the first, 1.
fn read(csv: &Path) -> Result<Vec<(u64, NewVehicle)>, CtlError> {
    let name = || csv.display().to_string();
    let text = fs::read_to_string(csv).map_err(|source| CtlError::File { file: name(), source })?;
    parse(&text).map_err(|problems| CtlError::Csv { file: name(), problems })
}

fn parse(text: &str) -> Result<Vec<(u64, NewVehicle)>, String> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.as_bytes());
    let (mut vehicles, mut problems) = (Vec::new(), Vec::new());
    let mut lines: HashMap<String, u64> = HashMap::new();
    let (mut line, mut counted) = (1, 0);
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        // The reader takes the line breaks before a record for its beginning.
        let from = record.position().map_or(0, |at| at.byte() as usize);
        let begin = from + text[from..].bytes().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        line += text[counted..begin].bytes().filter(|byte| *byte == b'\n').count() as u64;
        counted = begin;
        let mut fields = record.iter();
        let vehicle = fields.next().unwrap_or_default().trim_start_matches('\u{feff}').to_owned();
        let display_name = fields.next().unwrap_or_default().to_owned();
        if vehicles.is_empty() && lines.is_empty() && vehicle.eq_ignore_ascii_case("vehicle") {
            continue;
        }
        if let Err(error) = VehicleId::new(&vehicle) {
            problems
                .push(format!("line {line}: `{}` is not a vehicle's id: {error}", vehicle.escape_debug()));
        } else if fields.next().is_some() {
            problems.push(format!("line {line}: there are more than two columns; quote a name with a comma"));
        } else if let Some(first) = lines.insert(vehicle.clone(), line) {
            problems.push(format!("line {line}: {vehicle} is on line {first} already"));
        } else {
            vehicles.push((line, NewVehicle { vehicle, display_name }));
        }
    }
    let bad = problems.len();
    if bad > 0 {
        problems.truncate(PROBLEMS_MAX);
        let more =
            if bad > PROBLEMS_MAX { format!("; and {} more", bad - PROBLEMS_MAX) } else { String::new() };
        return Err(format!("{}{more}; nothing was registered", problems.join("; ")));
    }
    match vehicles.len() {
        0 => Err("there is no vehicle in it".into()),
        count if count > VEHICLES_MAX => {
            Err(format!("there are {count} vehicles in it, and a file may have {VEHICLES_MAX}; make several"))
        }
        _ => Ok(vehicles),
    }
}

fn standing(registration: &Registration) -> (&'static str, Tint) {
    match registration.standing() {
        Standing::Enrolled => ("enrolled", Tint::Good),
        Standing::Waiting => ("waiting", Tint::Plain),
        Standing::Revoked => ("revoked", Tint::Warn),
        Standing::Unspecified => ("unknown", Tint::Faint),
    }
}

fn registration_row(registration: &Registration) -> Vec<Cell> {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map_or_else(|| "-".to_owned(), rfc3339);
    let (standing, tint) = standing(registration);
    vec![
        cell(id(&registration.name)),
        cell(standing).tint(tint),
        cell(time(&registration.certificate_expire_time)),
        cell(time(&registration.token_expire_time)),
        cell(registration.display_name.clone()),
        cell(registration.revoke_reason.clone()),
    ]
}

fn registration_json(registration: &Registration) -> Value {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(rfc3339);
    json!({
        "name": registration.name,
        "displayName": registration.display_name,
        "standing": standing(registration).0.to_uppercase(),
        "createTime": time(&registration.create_time),
        "createdBy": registration.created_by,
        "tokenExpireTime": time(&registration.token_expire_time),
        "certificateExpireTime": time(&registration.certificate_expire_time),
        "revokeTime": time(&registration.revoke_time),
        "revokedBy": registration.revoked_by,
        "revokeReason": registration.revoke_reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_with_its_lines() {
        let read = parse("\u{feff}vehicle,display name\r\nVAN1,\"Van, blue\"\n\n VAN2 \nVAN3,\n").unwrap();
        let shown: Vec<_> =
            read.iter().map(|(line, v)| (*line, &v.vehicle[..], &v.display_name[..])).collect();
        assert_eq!(shown, [(2, "VAN1", "Van, blue"), (4, "VAN2", ""), (5, "VAN3", "")]);
        assert_eq!(parse("VAN1").unwrap().len(), 1, "without a head line");
    }

    #[test]
    fn bad_lines_are_named() {
        let said = parse("VAN1\nVAN 2\nVAN1\nVAN3,a,b\n,x\nvehicle\n").unwrap_err();
        for part in
            ["line 2: `VAN 2` is not", "line 3: VAN1 is on line 1", "line 4: there are more", "line 5: `` is"]
        {
            assert!(said.contains(part), "{part}: {said}");
        }
        assert!(said.ends_with("nothing was registered") && !said.contains("line 6"));
        assert!(parse("").unwrap_err().contains("no vehicle"));
        let many: String = (0..20).map(|n| format!("é{n}\n")).collect();
        assert!(parse(&many).unwrap_err().contains("and 10 more"));
        let many: String = (0..=VEHICLES_MAX).map(|n| format!("V{n}\n")).collect();
        assert!(parse(&many).unwrap_err().contains("10001 vehicles"));
    }
}
