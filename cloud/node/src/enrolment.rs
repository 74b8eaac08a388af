//! `remuda vehicles`: enrolling a vehicle on the node's own machine, whether the node runs or not.

use std::fs::OpenOptions;
use std::io::Write;
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Subcommand;
use remuda_identity::{NewVehicle, Who};
use remuda_model::{OrganizationId, VehicleId};
use serde::Serialize;

use crate::config::Config;
use crate::{identity, wiring};

/// What can be done with vehicles.
#[derive(Subcommand)]
pub enum VehiclesAction {
    /// Prints a new one-time token for `remuda-agent enroll --token`; registers the vehicle if it is new. An earlier
    /// token is void; a revoked vehicle is admitted again once it has used the new one.
    Token {
        /// The vehicle's id: letters and digits, at most 48.
        #[arg(long)]
        vehicle: VehicleId,
        /// A name for people, for a new vehicle.
        #[arg(long)]
        display_name: Option<String>,
    },
    /// Makes a new secret for the plain door (an older one is void) and writes it to a file for `remuda-agent enroll`.
    Enroll {
        /// The vehicle's id: letters and digits, at most 48.
        #[arg(long)]
        vehicle: VehicleId,
        /// The file; it must not exist.
        #[arg(long)]
        out: PathBuf,
    },
}

/// What `remuda-agent enroll` reads.
#[derive(Serialize)]
struct Enrolment {
    vehicle: VehicleId,
    organization: OrganizationId,
    secret: String,
    door: String,
}

/// Runs it on the data folder of the configuration; a running node sees it at once.
pub fn run(config: &Config, action: VehiclesAction) -> Result<(), String> {
    match action {
        VehiclesAction::Token { vehicle, display_name } => token(config, vehicle, display_name),
        VehiclesAction::Enroll { vehicle, out } => secret(config, vehicle, &out),
    }
}

fn token(config: &Config, vehicle: VehicleId, display_name: Option<String>) -> Result<(), String> {
    let (register, authority) = identity::open(config).map_err(|e| e.to_string())?;
    let organization = OrganizationId::default();
    let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
    let who = Who { by: "remuda vehicles token".into(), at_ms };
    let (valid_ms, fingerprint) = (config.enrolment.token_valid_ms(), authority.fingerprint());
    let new = if register.contains(&vehicle) {
        register.new_token(organization, vehicle, valid_ms, fingerprint, &who)
    } else {
        let new = [NewVehicle { vehicle, display_name }];
        // One vehicle, one token.
        register.create(organization, &new, valid_ms, fingerprint, &who).map(|mut made| made.remove(0))
    };
    let new = new.map_err(|e| e.to_string())?;
    eprintln!(
        "{vehicle} may enrol once within {} h with this token, which is shown only here:",
        config.enrolment.token_valid_h
    );
    println!("{}", new.token.reveal());
    Ok(())
}

fn secret(config: &Config, vehicle: VehicleId, out: &std::path::Path) -> Result<(), String> {
    // Where there is no plain door yet, the agent is told of it with --door.
    let door = config.door.plain_listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 1883)));
    let unwritable = |e: std::io::Error| format!("{} cannot be written: {e}; name a new file", out.display());
    // Readable by its owner only, and never over a file that is there.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(unwritable)?;
    let secrets = wiring::secrets(config);
    let secret = secrets
        .enroll(&vehicle)
        .map_err(|e| format!("the secret cannot be kept in {}: {e}", secrets.folder().display()))?;
    let enrolment =
        Enrolment { vehicle, organization: OrganizationId::default(), secret, door: door.to_string() };
    let text = toml::to_string(&enrolment).map_err(|e| e.to_string())?;
    file.write_all(text.as_bytes()).map_err(unwritable)?;
    eprintln!(
        "{vehicle} is enrolled; carry {} to the vehicle and delete it there after `remuda-agent enroll`",
        out.display()
    );
    Ok(())
}
