//! Journeys.

use std::io::Write;

use remuda_api::telemetry::v1::{Journey, JourneyPlace, ListJourneysRequest};
use remuda_exports::{Track, iso_8601};
use serde_json::{Value as Json, json};

use super::print::say_cut;
use super::range::{nanoseconds, timestamp};
use super::session::{Scope, Session};
use crate::args::Output;
use crate::error::CtlError;
use crate::table::{Cell, Tint, cell, write};
use crate::text::id;

/// Journeys of a page.
const PAGE: i32 = 500;

/// Hands on each journey of a scope, in the server's order: by vehicle, then start.
pub(crate) async fn each_journey(
    session: &mut Session,
    scope: &Scope,
    limit: usize,
    take: &mut dyn FnMut(Journey) -> Result<(), CtlError>,
) -> Result<(), CtlError> {
    let mut left = limit;
    let mut page_token = String::new();
    while left > 0 {
        let request = session.request(ListJourneysRequest {
            parent: session.parent(),
            vehicles: session.names(&scope.vehicles),
            filter: scope.filter.clone(),
            start_time: Some(timestamp(scope.from_ns)),
            end_time: Some(timestamp(scope.to_ns)),
            page_size: PAGE.min(i32::try_from(left).unwrap_or(i32::MAX)),
            page_token,
            track_points: 0,
        });
        let mut client = session.client.clone();
        let page = session.wait(client.list_journeys(request)).await?.into_inner();
        if left == limit {
            say_cut(page.as_of.as_ref());
        }
        left -= page.journeys.len().min(left);
        page.journeys.into_iter().try_for_each(&mut *take)?;
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    Ok(())
}

fn ends(journey: &Journey) -> (i64, i64) {
    let of = |time: &Option<prost_types::Timestamp>| time.as_ref().map(nanoseconds).unwrap_or_default();
    (of(&journey.start_time), of(&journey.end_time))
}

/// Its positions: those from its first instant to its last.
pub(crate) fn scope(journey: &Journey) -> Scope {
    let (from_ns, to_ns) = ends(journey);
    let vehicles = vec![id(&journey.vehicle).to_owned()];
    Scope { vehicles, filter: String::new(), from_ns, to_ns: to_ns.saturating_add(1) }
}

/// It as a track of an export.
pub(crate) fn track(journey: &Journey) -> Track {
    let (from_ns, to_ns) = ends(journey);
    let vehicle = id(&journey.vehicle).to_owned();
    let name = format!("{vehicle} {}", iso_8601(from_ns));
    let properties = vec![
        ("begin".to_owned(), iso_8601(from_ns).into()),
        ("end".to_owned(), iso_8601(to_ns).into()),
        ("under_way".to_owned(), journey.under_way.into()),
        ("distance_m".to_owned(), rounded(journey.distance_m)),
        ("moving_s".to_owned(), (journey.moving_ms as f64 / 1e3).into()),
        ("max_speed_kmh".to_owned(), rounded(journey.max_speed_kmh)),
    ];
    Track { vehicle, name, properties }
}

fn rounded(value: f64) -> Json {
    ((value * 10.0).round() / 10.0).into()
}

fn document(journey: &Journey) -> Json {
    let (from_ns, to_ns) = ends(journey);
    let place = |place: &Option<JourneyPlace>| {
        place.as_ref().map(|p| json!({ "latitude": p.latitude, "longitude": p.longitude }))
    };
    json!({
        "vehicle": id(&journey.vehicle),
        "startTime": iso_8601(from_ns),
        "endTime": iso_8601(to_ns),
        "underWay": journey.under_way,
        "distanceM": rounded(journey.distance_m),
        "movingMs": journey.moving_ms,
        "maxSpeedKmh": rounded(journey.max_speed_kmh),
        "start": place(&journey.start),
        "end": place(&journey.end),
    })
}

const HEADS: &[&str] = &["VEHICLE", "START", "END", "LASTED", "MOVING", "DISTANCE", "FASTEST", "FROM", "TO"];

/// `1:05:09`, or `5:09`.
fn lasted(ms: i64) -> String {
    let seconds = ms.max(0) / 1_000;
    match seconds / 3_600 {
        0 => format!("{}:{:02}", seconds / 60, seconds % 60),
        hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
    }
}

fn row(journey: &Journey) -> Vec<Cell> {
    let (from_ns, to_ns) = ends(journey);
    let place = |place: &Option<JourneyPlace>| {
        place.as_ref().map_or_else(|| "-".to_owned(), |p| format!("{:.5} {:.5}", p.latitude, p.longitude))
    };
    // Milliseconds say nothing here.
    let time = |ns: i64| iso_8601(ns - ns.rem_euclid(1_000_000_000)).replace(".000Z", "Z");
    let end = if journey.under_way { cell("under way").tint(Tint::Good) } else { cell(time(to_ns)) };
    vec![
        cell(id(&journey.vehicle)),
        cell(time(from_ns)),
        end,
        cell(lasted(to_ns.saturating_sub(from_ns) / 1_000_000)).right(),
        cell(lasted(journey.moving_ms)).right(),
        cell(format!("{:.2} km", journey.distance_m / 1e3)).right(),
        cell(format!("{:.0} km/h", journey.max_speed_kmh)).right(),
        cell(place(&journey.start)),
        cell(place(&journey.end)),
    ]
}

/// The columns that `document` has, places in two columns each.
fn csv_lines(out: &mut dyn Write, journeys: &[Journey]) -> Result<(), CtlError> {
    let mut csv = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    let heads = "vehicle,start_time,end_time,under_way,distance_m,moving_ms,max_speed_kmh,start_latitude,start_longitude,end_latitude,end_longitude";
    csv.write_record(heads.split(',')).map_err(written)?;
    for journey in journeys {
        let (from_ns, to_ns) = ends(journey);
        let degrees = |place: &Option<JourneyPlace>| {
            place
                .as_ref()
                .map_or_else(Default::default, |p| [p.latitude.to_string(), p.longitude.to_string()])
        };
        let fixed = [
            id(&journey.vehicle).to_owned(),
            iso_8601(from_ns),
            iso_8601(to_ns),
            journey.under_way.to_string(),
            rounded(journey.distance_m).to_string(),
            journey.moving_ms.to_string(),
            rounded(journey.max_speed_kmh).to_string(),
        ];
        let cells = fixed.into_iter().chain(degrees(&journey.start)).chain(degrees(&journey.end));
        csv.write_record(cells).map_err(written)?;
    }
    csv.flush()?;
    Ok(())
}

fn written(error: csv::Error) -> CtlError {
    CtlError::from(remuda_exports::ExportError::from(error))
}

/// Shows journeys.
pub(crate) async fn run(
    mut session: Session,
    scope: Scope,
    limit: Option<usize>,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let print = session.global.print;
    if print == Output::Name {
        return Err(CtlError::Usage("journeys have no names; say -o table, csv, ndjson, json or yaml"));
    }
    let mut journeys: Vec<Journey> = Vec::new();
    each_journey(&mut session, &scope, limit.unwrap_or(usize::MAX), &mut |journey| {
        journeys.push(journey);
        Ok(())
    })
    .await?;
    match print {
        Output::Json | Output::Yaml => {
            let documents: Vec<Json> = journeys.iter().map(document).collect();
            writeln!(out, "{:#}", json!({ "journeys": documents }))?;
        }
        Output::Ndjson => journeys.iter().try_for_each(|journey| writeln!(out, "{}", document(journey)))?,
        Output::Csv => csv_lines(out, &journeys)?,
        _ if journeys.is_empty() => {}
        _ => {
            let rows: Vec<Vec<Cell>> = journeys.iter().map(row).collect();
            write(out, Some(HEADS), &rows, &mut Vec::new(), colours)?;
        }
    }
    if journeys.is_empty() {
        eprintln!("no journeys in this range; --from and --to choose another");
    }
    Ok(())
}
