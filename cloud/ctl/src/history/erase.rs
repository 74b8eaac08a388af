//! Having history forgotten, and the proofs.

use std::io::Write;

use clap::Args;
use remuda_api::telemetry::v1::{
    EraseHistoryRequest, Erasure, ErasurePreview, ErasureState, ListErasuresRequest,
};
use serde_json::{Value as Json, json};

use super::range::{self, When, timestamp};
use super::session::Session;
use crate::args::Output;
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{id, now_ns, rfc3339};

/// Erasures of a page.
const PAGE: i32 = 500;

/// What is to be forgotten.
#[derive(Debug, Args)]
pub struct EraseArgs {
    /// The vehicle: its id, or its whole resource name.
    #[arg(required_unless_present = "all_vehicles", conflicts_with = "all_vehicles")]
    vehicle: Option<String>,
    /// Every vehicle of the organisation.
    #[arg(long)]
    all_vehicles: bool,
    /// The first instant, such as `-2d` or `2026-11-30T14:00:00Z`; from the first one on when not said.
    #[arg(long, allow_hyphen_values = true, value_parser = range::when)]
    from: Option<When>,
    /// The first instant no more; up to now when not said.
    #[arg(long, allow_hyphen_values = true, value_parser = range::when)]
    to: Option<When>,
    /// Only values of this class of signals: position, driver-behaviour, cabin, technical; may be repeated. Everything when not
    /// said.
    #[arg(long = "class", value_delimiter = ',')]
    classes: Vec<String>,
    /// Why; it stays in the proof for ever, so it should name no person.
    #[arg(long)]
    reason: String,
    /// The same again is the same erasure.
    #[arg(long, default_value = "")]
    request_id: String,
    /// Changes nothing; shows what would go.
    #[arg(long)]
    dry_run: bool,
    /// Erases without a preview first.
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
}

/// Which erasures.
#[derive(Debug, Args)]
pub struct ErasuresArgs {
    /// Erasures at most.
    #[arg(long)]
    limit: Option<usize>,
}

/// Shows what would go, or has it go.
pub(crate) async fn erase(
    mut session: Session,
    args: EraseArgs,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    if !args.dry_run && !args.yes {
        return Err(CtlError::Usage(
            "what is erased never comes back: look at it with --dry-run, then say --yes",
        ));
    }
    let now = now_ns();
    let vehicle = args.vehicle.map(|vehicle| session.names(&[vehicle]).remove(0));
    let request = session.request(EraseHistoryRequest {
        parent: session.parent(),
        vehicle: vehicle.unwrap_or_default(),
        all_vehicles: args.all_vehicles,
        start_time: args.from.map(|at| timestamp(at.ns(now))),
        end_time: args.to.map(|at| timestamp(at.ns(now))),
        classes: args.classes,
        reason: args.reason,
        request_id: args.request_id,
        validate_only: args.dry_run,
    });
    let mut client = session.client.clone();
    let answer = session.wait(client.erase_history(request)).await?.into_inner();
    match (answer.erasure, answer.preview) {
        (Some(erasure), _) => {
            show(out, &[erasure], session.global.print, colours)?;
            eprintln!(
                "nobody is shown any of it from now on; remudactl history erasures tells when its files are rewritten"
            );
            Ok(())
        }
        (None, Some(preview)) => show_preview(out, &preview, session.global.print),
        (None, None) => Err(CtlError::Answer("it says neither what was erased nor what would be")),
    }
}

fn show_preview(out: &mut dyn Write, preview: &ErasurePreview, print: Output) -> Result<(), CtlError> {
    let ErasurePreview { files, rows, blanked_rows, files_not_looked_at } = *preview;
    if matches!(print, Output::Json | Output::Yaml | Output::Ndjson) {
        let document = json!({
            "files": files, "rows": rows, "blankedRows": blanked_rows, "filesNotLookedAt": files_not_looked_at,
        });
        writeln!(out, "{document:#}")?;
    } else {
        writeln!(out, "{rows} rows would go, {blanked_rows} would lose values, in {files} files")?;
    }
    if files_not_looked_at > 0 {
        eprintln!(
            "remudactl: {files_not_looked_at} files were not looked at in time; they may have more of it"
        );
    }
    Ok(())
}

/// Shows the proofs.
pub(crate) async fn erasures(
    mut session: Session,
    args: &ErasuresArgs,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let limit = args.limit.unwrap_or(usize::MAX);
    let mut found: Vec<Erasure> = Vec::new();
    let mut page_token = String::new();
    while found.len() < limit {
        let left = i32::try_from(limit - found.len()).unwrap_or(i32::MAX);
        let request = session.request(ListErasuresRequest {
            parent: session.parent(),
            page_size: PAGE.min(left),
            page_token,
        });
        let mut client = session.client.clone();
        let page = session.wait(client.list_erasures(request)).await?.into_inner();
        found.extend(page.erasures);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    show(out, &found, session.global.print, colours)
}

fn state(erasure: &Erasure) -> &'static str {
    match erasure.state() {
        ErasureState::Unspecified => "unknown",
        ErasureState::Hidden => "hidden",
        ErasureState::Rewritten => "rewritten",
        ErasureState::Finished => "finished",
    }
}

fn document(erasure: &Erasure) -> Json {
    let time = |time: &Option<prost_types::Timestamp>| time.as_ref().map(rfc3339);
    json!({
        "erasure": id(&erasure.name),
        "vehicle": Some(id(&erasure.vehicle)).filter(|vehicle| !vehicle.is_empty()),
        "startTime": time(&erasure.start_time),
        "endTime": time(&erasure.end_time),
        "classes": erasure.classes,
        "requestTime": time(&erasure.request_time),
        "requestedBy": erasure.requested_by,
        "reason": erasure.reason,
        "state": state(erasure),
        "dueTime": time(&erasure.due_time),
        "rows": erasure.rows,
        "blankedRows": erasure.blanked_rows,
        "files": erasure.files,
        "rewriteTime": time(&erasure.rewrite_time),
        "finishTime": time(&erasure.finish_time),
    })
}

const HEADS: &[&str] =
    &["ERASURE", "VEHICLE", "FROM", "TO", "WHAT", "ASKED", "BY", "STATE", "DUE", "ROWS", "BLANKED", "REASON"];

fn row(erasure: &Erasure) -> Vec<Cell> {
    let time = |time: &Option<prost_types::Timestamp>, none: &str| {
        cell(time.as_ref().map_or_else(|| none.to_owned(), rfc3339))
    };
    let vehicle = Some(id(&erasure.vehicle)).filter(|vehicle| !vehicle.is_empty()).unwrap_or("all");
    let what = if erasure.classes.is_empty() { "everything".to_owned() } else { erasure.classes.join(",") };
    let said = cell(state(erasure));
    vec![
        cell(id(&erasure.name)),
        cell(vehicle),
        time(&erasure.start_time, "the beginning"),
        time(&erasure.end_time, "-"),
        cell(what),
        time(&erasure.request_time, "-"),
        cell(erasure.requested_by.clone()),
        if erasure.state() == ErasureState::Finished { said.tint(Tint::Good) } else { said },
        time(&erasure.due_time, "-"),
        cell(erasure.rows.to_string()).right(),
        cell(erasure.blanked_rows.to_string()).right(),
        cell(erasure.reason.clone()),
    ]
}

fn show(out: &mut dyn Write, erasures: &[Erasure], print: Output, colours: bool) -> Result<(), CtlError> {
    match print {
        Output::Json | Output::Yaml => {
            let documents: Vec<Json> = erasures.iter().map(document).collect();
            writeln!(out, "{:#}", json!({ "erasures": documents }))?;
        }
        Output::Ndjson => erasures.iter().try_for_each(|erasure| writeln!(out, "{}", document(erasure)))?,
        Output::Name => erasures.iter().try_for_each(|erasure| writeln!(out, "{}", erasure.name))?,
        Output::Csv => return Err(CtlError::Usage("erasures come as a table, json, ndjson or name")),
        _ if erasures.is_empty() => eprintln!("no erasure was asked for"),
        _ => {
            let rows: Vec<Vec<Cell>> = erasures.iter().map(row).collect();
            write(out, Some(HEADS), &rows, &mut Vec::new(), colours)?;
        }
    }
    Ok(())
}
