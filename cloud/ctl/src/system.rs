//! `remudactl system`.

use std::io::Write;
use std::time::Duration;

use clap::Subcommand;
use remuda_api::system::v1::system_service_client::SystemServiceClient;
use remuda_api::system::v1::{Component, GetSystemRequest, Health, Process, System};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::open;
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell, write};
use crate::text::rfc3339;

/// What can be asked of the node itself.
#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Shows how the node is: each part, what is wrong with it and what to do, and what the process uses.
    Get,
}

/// Runs one command.
///
/// # Errors
/// When the console says no or cannot be reached.
pub(crate) async fn run(
    command: SystemCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let SystemCommand::Get = command;
    let mut client = SystemServiceClient::new(open(&global).await?);
    let name = format!("organizations/{}/system", global.organization);
    let mut request = Request::new(GetSystemRequest { name });
    request.set_timeout(Duration::from_secs(global.timeout));
    let system = client.get_system(request).await?.into_inner();
    match global.output {
        OutputFormat::Json => writeln!(out, "{:#}", document(&system))?,
        OutputFormat::Name => writeln!(out, "{}", system.name)?,
        OutputFormat::Table | OutputFormat::Wide => {
            let rows: Vec<Vec<Cell>> = system.components.iter().map(row).collect();
            write(out, Some(&["PART", "HEALTH", "DETAIL"]), &rows, &mut Vec::new(), colours)?;
            let since = system.start_time.as_ref().map(rfc3339).unwrap_or_default();
            write!(out, "\nversion {}, since {since}", system.version)?;
            if let Some(Process { memory_bytes, open_files, open_files_max, cpu_seconds, .. }) =
                system.process
            {
                let mb = memory_bytes / 1_000_000;
                write!(
                    out,
                    ", {mb} MB of memory, {open_files} of {open_files_max} files, {cpu_seconds:.0} s of processor time"
                )?;
            }
            writeln!(out)?;
        }
    }
    out.flush()?;
    Ok(())
}

fn health_of(health: i32) -> (&'static str, Tint) {
    match Health::try_from(health) {
        Ok(Health::Ok) => ("OK", Tint::Good),
        Ok(Health::Degraded) => ("DEGRADED", Tint::Warn),
        Ok(Health::Down) => ("DOWN", Tint::Warn),
        Ok(Health::Unspecified) | Err(_) => ("UNKNOWN", Tint::Faint),
    }
}

fn row(component: &Component) -> Vec<Cell> {
    let (health, tint) = health_of(component.health);
    vec![cell(&component.component), cell(health).tint(tint), cell(&component.detail)]
}

fn document(system: &System) -> Value {
    let components: Vec<Value> = system
        .components
        .iter()
        .map(|part| json!({ "component": part.component, "health": health_of(part.health).0, "detail": part.detail }))
        .collect();
    let process = system.process.unwrap_or_default();
    json!({
        "name": system.name,
        "version": system.version,
        "startTime": system.start_time.as_ref().map(rfc3339),
        "readTime": system.read_time.as_ref().map(rfc3339),
        "health": health_of(system.health).0,
        "components": components,
        "process": {
            "memoryBytes": process.memory_bytes,
            "memoryPeakBytes": process.memory_peak_bytes,
            "openFiles": process.open_files,
            "openFilesMax": process.open_files_max,
            "cpuSeconds": process.cpu_seconds,
            "diskFreeBytes": process.disk_free_bytes,
            "diskTotalBytes": process.disk_total_bytes,
        },
    })
}
