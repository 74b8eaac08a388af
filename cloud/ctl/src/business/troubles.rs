//! `remudactl diagnostics`.

use std::io::Write;

use clap::Subcommand;
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::diagnostics::v1::diagnostics_service_client::DiagnosticsServiceClient;
use remuda_api::diagnostics::v1::{
    AcknowledgeTroubleCodeRequest, FrozenSignal, GetTroubleCodeRequest, ListTroubleCodesRequest,
    ReportTroubleCodeRequest, TroubleCode,
};
use serde_json::{Value, json};

use super::{PAGE, Session};
use crate::args::Global;
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell};
use crate::text::{id, rfc3339};

/// What can be done with trouble codes.
#[derive(Debug, Subcommand)]
pub enum DiagnosticsCommand {
    /// Lists trouble codes that are there now, of the whole fleet or of one vehicle.
    List {
        /// Only those of this vehicle.
        #[arg(long)]
        vehicle: Option<String>,
        /// Those that are gone as well.
        #[arg(long, requires = "vehicle")]
        gone: bool,
        /// At most so many.
        #[arg(long, default_value_t = 1_000)]
        limit: usize,
    },
    /// Shows one trouble code with its freeze frame.
    Get {
        /// Which vehicle.
        vehicle: String,
        /// Which ECU.
        ecu: String,
        /// SAE J2012, such as P0420.
        code: String,
    },
    /// Says that somebody has looked at it.
    Acknowledge {
        /// Which vehicle.
        vehicle: String,
        /// Which ECU.
        ecu: String,
        /// SAE J2012, such as P0420.
        code: String,
        /// What they say.
        #[arg(long)]
        note: String,
    },
    /// Takes a report in, as a workshop reads it.
    Report {
        /// Which vehicle.
        vehicle: String,
        /// Which ECU.
        ecu: String,
        /// SAE J2012, such as P0420.
        code: String,
        /// info, warning or critical.
        #[arg(long, default_value = "warning")]
        severity: String,
        /// A signal at that moment, as PATH=RAW; several may be given.
        #[arg(long = "signal", value_parser = signal)]
        signals: Vec<FrozenSignal>,
        /// It is gone.
        #[arg(long)]
        cleared: bool,
    },
}

fn signal(text: &str) -> Result<FrozenSignal, String> {
    let wrong = || format!("{text} is no signal; write PATH=RAW, such as Vehicle.Speed=523");
    let (path, raw) = text.split_once('=').ok_or_else(wrong)?;
    Ok(FrozenSignal { path: path.to_owned(), raw: raw.parse().map_err(|_| wrong())? })
}

fn document(code: &TroubleCode) -> Value {
    let frame = code.freeze_frame.iter().map(|signal| json!({ "path": signal.path, "raw": signal.raw }));
    json!({
        "name": code.name,
        "ecu": code.ecu,
        "code": code.code,
        "severity": code.severity,
        "active": code.active,
        "firstSeenTime": code.first_seen_time.as_ref().map(rfc3339),
        "lastSeenTime": code.last_seen_time.as_ref().map(rfc3339),
        "occurrences": code.occurrences,
        "freezeFrame": frame.collect::<Vec<_>>(),
        "acknowledgedBy": code.acknowledged_by,
        "note": code.note,
        "acknowledgeTime": code.acknowledge_time.as_ref().map(rfc3339),
    })
}

fn row(code: &TroubleCode) -> Vec<Cell> {
    let tint = match (code.active, code.severity.as_str()) {
        (true, "critical") => Tint::Warn,
        (true, _) => Tint::Plain,
        (false, _) => Tint::Faint,
    };
    vec![
        cell(id(&code.name)),
        cell(code.ecu.clone()),
        cell(code.code.clone()),
        cell(code.severity.clone()).tint(tint),
        cell(if code.active { "active" } else { "gone" }),
        cell(code.first_seen_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(code.last_seen_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(code.occurrences.to_string()).right(),
        cell(code.acknowledged_by.clone()),
        cell(code.note.clone()),
    ]
}

/// Runs a command about trouble codes.
pub(crate) async fn run(
    command: DiagnosticsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client =
        DiagnosticsServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let request_id = String::new();
    let codes = match command {
        DiagnosticsCommand::List { vehicle, gone, limit } => {
            let (mut codes, mut page_token) = (Vec::new(), String::new());
            loop {
                let request = session.request(ListTroubleCodesRequest {
                    parent: session.parent(),
                    page_size: PAGE,
                    page_token,
                    vehicle: vehicle.clone().unwrap_or_default(),
                    gone,
                });
                let page = client.list_trouble_codes(request).await?.into_inner();
                codes.extend(page.trouble_codes);
                page_token = page.next_page_token;
                if page_token.is_empty() || codes.len() >= limit {
                    break;
                }
            }
            codes.truncate(limit);
            codes
        }
        DiagnosticsCommand::Get { vehicle, ecu, code } => {
            let request = GetTroubleCodeRequest { name: session.vehicle(&vehicle), ecu, code };
            vec![client.get_trouble_code(session.request(request)).await?.into_inner()]
        }
        DiagnosticsCommand::Acknowledge { vehicle, ecu, code, note } => {
            let name = session.vehicle(&vehicle);
            let request = AcknowledgeTroubleCodeRequest { name, ecu, code, note, request_id };
            vec![client.acknowledge_trouble_code(session.request(request)).await?.into_inner()]
        }
        DiagnosticsCommand::Report { vehicle, ecu, code, severity, signals, cleared } => {
            let request = ReportTroubleCodeRequest {
                name: session.vehicle(&vehicle),
                ecu,
                code,
                severity,
                freeze_frame: signals,
                seen_time: None,
                cleared,
                request_id,
            };
            vec![client.report_trouble_code(session.request(request)).await?.into_inner()]
        }
    };
    let names: Vec<&str> = codes.iter().map(|code| code.name.as_str()).collect();
    let documents = codes.iter().map(document).collect();
    let rows: Vec<Vec<Cell>> = codes.iter().map(row).collect();
    let heads = [
        "VEHICLE",
        "ECU",
        "CODE",
        "SEVERITY",
        "STATE",
        "FIRST SEEN",
        "LAST SEEN",
        "TIMES",
        "SEEN BY",
        "NOTE",
    ];
    session.print(("troubleCodes", &heads), &names, documents, &rows)
}
