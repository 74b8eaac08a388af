//! `remudactl history`.

mod columns;
mod erase;
mod export;
mod file;
mod journeys;
mod plot;
mod print;
mod query;
pub(crate) mod range;
mod session;
mod signals;
mod tracks;

use std::io::Write;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use crate::args::Global;
use crate::error::CtlError;
pub use columns::Aggregate;
use range::When;
use session::Session;

/// What can be asked of history.
#[derive(Debug, Subcommand)]
pub enum HistoryCommand {
    /// Shows samples of signals: a table, a plot, or lines for other programs.
    Query(QueryArgs),
    /// Writes samples, positions or journeys to a file that other programs open.
    Export(ExportArgs),
    /// Lists journeys: driving from one standstill to the next.
    Journeys(JourneysArgs),
    /// Has history forgotten, of a vehicle or of all, of a range of times: first what would go, then for good.
    Erase(erase::EraseArgs),
    /// Lists erasures, newest first, and how far they are.
    Erasures(erase::ErasuresArgs),
}

/// Which vehicles, and when.
#[derive(Debug, Clone, Args)]
pub struct ScopeArgs {
    /// Vehicles: their ids, or their whole resource names.
    #[arg(conflicts_with_all = ["filter", "all"])]
    vehicles: Vec<String>,
    /// Which vehicles, as in `vehicles list`, such as `charge_percent < 20`.
    #[arg(long, conflicts_with = "all")]
    filter: Option<String>,
    /// All vehicles.
    #[arg(long)]
    all: bool,
    /// The first instant: `-1h`, `-2d12h`, `2026-11-30` (midnight UTC) or `2026-11-30T14:00:00Z`.
    #[arg(long, default_value = "-1h", allow_hyphen_values = true, value_parser = range::when)]
    from: When,
    /// The first instant no more.
    #[arg(long, default_value = "now", allow_hyphen_values = true, value_parser = range::when)]
    to: When,
}

/// Which signals, and how many samples of them.
#[derive(Debug, Clone, Args)]
pub struct SignalArgs {
    /// A signal: its VSS path, or the end of it where that is clear (`speed`); may be repeated, or separated by commas.
    #[arg(short, long = "signal", value_delimiter = ',')]
    signals: Vec<String>,
    /// One value for each span of time, such as `10s` or `1h`.
    #[arg(long, value_parser = range::span_ms, conflicts_with = "points")]
    bucket: Option<i64>,
    /// What stands for a bucket: the mean of numbers and the last of others when not said; may be repeated.
    #[arg(long, value_enum, value_delimiter = ',', requires = "bucket")]
    agg: Vec<Aggregate>,
    /// So many samples of each signal of each vehicle, those that keep the shape of the line (LTTB).
    #[arg(long, value_parser = clap::value_parser!(i32).range(2..=100_000))]
    points: Option<i32>,
}

/// What to show.
#[derive(Debug, Args)]
pub struct QueryArgs {
    /// Which vehicles, and when.
    #[command(flatten)]
    scope: ScopeArgs,
    /// Which signals.
    #[command(flatten)]
    signals: SignalArgs,
    /// Rows at most; 0 for all. 1000 when not said, where people read them: in a table.
    #[arg(long, value_parser = clap::value_parser!(i64).range(0..))]
    limit: Option<i64>,
    /// Draw it here.
    #[arg(long)]
    plot: bool,
    /// Draw without the characters of Unicode.
    #[arg(long, requires = "plot")]
    ascii: bool,
    /// Lines of a plot's area.
    #[arg(long, requires = "plot", default_value_t = 12, value_parser = clap::value_parser!(u16).range(3..=200))]
    height: u16,
}

/// What to write.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Which vehicles, and when.
    #[command(flatten)]
    scope: ScopeArgs,
    /// Which signals, for the formats that hold them.
    #[command(flatten)]
    signals: SignalArgs,
    /// The format; known by the file's ending when not said.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file; one that is there is replaced once the new one is whole. `-` is standard output.
    #[arg(long)]
    out: PathBuf,
    /// A track for each journey, in place of one for each vehicle.
    #[arg(long)]
    journeys: bool,
    /// Positions at least so far apart, such as `5s`.
    #[arg(long, value_parser = range::span_ms)]
    interval: Option<i64>,
}

/// Formats of files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// One line a sample: vehicle, time, signal, value, unit.
    Csv,
    /// One line an instant, one column a signal.
    CsvWide,
    /// One row a sample.
    Parquet,
    /// Positions, and signals where asked for; opens in Foxglove.
    Mcap,
    /// Tracks as lines.
    Geojson,
    /// Each position a point.
    GeojsonPoints,
    /// Tracks.
    Gpx,
    /// Tracks.
    Kml,
}

/// Which journeys.
#[derive(Debug, Args)]
pub struct JourneysArgs {
    /// Which vehicles, and when: journeys that touch this range are answered whole.
    #[command(flatten)]
    scope: ScopeArgs,
    /// Journeys at most.
    #[arg(long)]
    limit: Option<usize>,
}

/// Runs one of them.
pub(crate) async fn run(
    command: HistoryCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    match command {
        HistoryCommand::Query(args) => {
            // Checked before anybody is called.
            let question = query::Question::new(&args.scope, &args.signals)?;
            query::run(Session::open(global).await?, question, &args, out, colours).await?;
        }
        HistoryCommand::Export(args) => {
            let plan = export::Plan::new(args)?;
            export::run(Session::open(global).await?, plan, out).await?;
        }
        HistoryCommand::Journeys(args) => {
            let scope = session::Scope::new(&args.scope)?;
            journeys::run(Session::open(global).await?, scope, args.limit, out, colours).await?;
        }
        HistoryCommand::Erase(args) => {
            erase::erase(Session::open(global).await?, args, out, colours).await?;
        }
        HistoryCommand::Erasures(args) => {
            erase::erasures(Session::open(global).await?, &args, out, colours).await?;
        }
    }
    out.flush()?;
    Ok(())
}
