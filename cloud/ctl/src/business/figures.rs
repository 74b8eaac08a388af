//! `remudactl analytics`.

use std::io::Write;

use clap::{Args, ValueEnum};
use remuda_api::MESSAGE_BYTES_MAX;
use remuda_api::analytics::v1::analytics_service_client::AnalyticsServiceClient;
use remuda_api::analytics::v1::{FiguresRow, QueryFiguresRequest};
use serde_json::{Value, json};

use super::Session;
use crate::args::Global;
use crate::error::CtlError;
use crate::history::range::{When, timestamp, when};
use crate::table::{Cell, cell};
use crate::text::{now_ns, rfc3339};

/// How long a bucket is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// An hour of the clock.
    Hour,
    /// A day of the calendar.
    Day,
    /// A month of the calendar.
    Month,
}

/// What figures are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Dimension {
    /// The whole organisation.
    Organization,
    /// Fleets.
    Fleet,
    /// Depots.
    Depot,
    /// Vehicles.
    Vehicle,
    /// Models.
    Model,
    /// Tariffs.
    Tariff,
}

/// Mileage, consumption and revenue by time and dimension.
#[derive(Debug, Args)]
pub struct AnalyticsCommand {
    /// How long a bucket is.
    #[arg(long, value_enum, default_value_t = By::Day)]
    by: By,
    /// What figures are grouped by.
    #[arg(long, value_enum, default_value_t = Dimension::Organization)]
    dimension: Dimension,
    /// Only this value, such as a vehicle's id.
    #[arg(long)]
    value: Option<String>,
    /// From the bucket that holds this moment.
    #[arg(long, default_value = "-7d", allow_hyphen_values = true, value_parser = when)]
    from: When,
    /// To before this moment.
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_parser = when)]
    to: When,
    /// Rows at most.
    #[arg(long, default_value_t = 1_000)]
    limit: usize,
}

fn name<T: ValueEnum>(value: T) -> String {
    value.to_possible_value().map(|value| value.get_name().to_owned()).unwrap_or_default()
}

fn document(row: &FiguresRow) -> Value {
    let revenue = row
        .revenue
        .iter()
        .map(|sum| json!({ "currencyCode": sum.currency_code, "minorUnits": sum.minor_units }));
    json!({
        "startTime": row.start_time.as_ref().map(rfc3339),
        "value": row.value,
        "trips": row.trips,
        "provisionalTrips": row.provisional_trips,
        "unpricedTrips": row.unpriced_trips,
        "distanceM": row.distance_m,
        "durationMs": row.duration_ms,
        "energyWh": row.energy_wh,
        "energyTrips": row.energy_trips,
        "chargingSessions": row.charging_sessions,
        "chargedWh": row.charged_wh,
        "revenue": revenue.collect::<Vec<_>>(),
    })
}

fn cells(row: &FiguresRow) -> Vec<Cell> {
    let revenue = row.revenue.iter().map(|sum| format!("{} {}", sum.minor_units, sum.currency_code));
    let number = |value: i64| cell(value.to_string()).right();
    vec![
        cell(row.start_time.as_ref().map_or_else(String::new, rfc3339)),
        cell(row.value.clone()),
        number(row.trips),
        number(row.provisional_trips),
        cell(format!("{:.1}", row.distance_m as f64 / 1_000.0)).right(),
        cell(format!("{:.1}", row.duration_ms as f64 / 60_000.0)).right(),
        cell(format!("{:.2}", row.energy_wh as f64 / 1_000.0)).right(),
        cell(format!("{:.2}", row.charged_wh as f64 / 1_000.0)).right(),
        cell(revenue.collect::<Vec<_>>().join(", ")).right(),
    ]
}

/// Asks for figures.
pub(crate) async fn run(
    command: AnalyticsCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let mut session = Session::open(global, out, colours).await?;
    let mut client =
        AnalyticsServiceClient::new(session.service.clone()).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let now = now_ns();
    let (mut rows, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = session.request(QueryFiguresRequest {
            parent: session.parent(),
            granularity: name(command.by),
            dimension: name(command.dimension),
            value: command.value.clone().unwrap_or_default(),
            from_time: Some(timestamp(command.from.ns(now))),
            to_time: Some(timestamp(command.to.ns(now))),
            page_size: super::PAGE,
            page_token,
        });
        let page = client.query_figures(request).await?.into_inner();
        rows.extend(page.rows);
        page_token = page.next_page_token;
        if page_token.is_empty() || rows.len() >= command.limit {
            break;
        }
    }
    rows.truncate(command.limit);
    let names: Vec<&str> = rows.iter().map(|row| row.value.as_str()).collect();
    let documents = rows.iter().map(document).collect();
    let table: Vec<Vec<Cell>> = rows.iter().map(cells).collect();
    let heads =
        ["FROM", "VALUE", "TRIPS", "PROVISIONAL", "KM", "MINUTES", "KWH USED", "KWH CHARGED", "REVENUE"];
    session.print(("rows", &heads), &names, documents, &table)
}
