//! `remuda vehicles enroll`: a secret for one vehicle, handed over in a file.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

use clap::Subcommand;
use remuda_model::{OrganizationId, VehicleId};
use serde::Serialize;

use crate::config::Config;
use crate::wiring;

/// What can be done with vehicles.
#[derive(Subcommand)]
pub enum VehiclesAction {
    /// Makes a new secret for a vehicle (an older one is void) and writes it to a file for `remuda-agent enroll`.
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
    let VehiclesAction::Enroll { vehicle, out } = action;
    let unwritable = |e: std::io::Error| format!("{} cannot be written: {e}; name a new file", out.display());
    // Readable by its owner only, and never over a file that is there.
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&out).map_err(unwritable)?;
    let secrets = wiring::secrets(config);
    let secret = secrets
        .enroll(&vehicle)
        .map_err(|e| format!("the secret cannot be kept in {}: {e}", secrets.folder().display()))?;
    let door = config.door.listen.to_string();
    let enrolment = Enrolment { vehicle, organization: OrganizationId::default(), secret, door };
    let text = toml::to_string(&enrolment).map_err(|e| e.to_string())?;
    file.write_all(text.as_bytes()).map_err(unwritable)?;
    eprintln!(
        "{vehicle} is enrolled; carry {} to the vehicle and delete it there after `remuda-agent enroll`",
        out.display()
    );
    Ok(())
}
