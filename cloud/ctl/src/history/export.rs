//! Writing history to a file.

use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use remuda_api::telemetry::v1::{AsOf, HistoryEnd};
use remuda_exports::{
    GeoJsonLines, GeoJsonPoints, Gpx, Kml, LongCsv, LongParquet, Mcap, Sample, Series, Summary, Track, Tracks,
};
use serde_json::json;

use super::columns::{Batch, Column};
use super::file::{Destination, Shared};
use super::journeys::{self, each_journey};
use super::print::{CsvPrinter, as_of_json, say_cut};
use super::query::{Question, Sink, ask};
use super::session::{Scope, Session};
use super::tracks::positions;
use super::{ExportArgs, Format};
use crate::args::Output;
use crate::error::CtlError;

/// What is to be written, checked.
pub(crate) struct Plan {
    format: Format,
    out: PathBuf,
    scope: Scope,
    question: Option<Question>,
    journeys: bool,
    interval_ms: i64,
}

impl Plan {
    pub fn new(args: ExportArgs) -> Result<Self, CtlError> {
        let format = match args.format {
            Some(format) => format,
            None => format_of(&args.out)?,
        };
        let tracks = matches!(format, Format::Geojson | Format::GeojsonPoints | Format::Gpx | Format::Kml);
        let shaped = args.signals.bucket.is_some() || args.signals.points.is_some();
        if tracks && (shaped || !args.signals.signals.is_empty()) {
            return Err(CtlError::Usage(
                "this format holds positions; signals go into csv, csv-wide, parquet or mcap",
            ));
        }
        if args.journeys && !tracks {
            return Err(CtlError::Usage("journeys go into geojson, geojson-points, gpx or kml"));
        }
        if args.interval.is_some() && !tracks && format != Format::Mcap {
            return Err(CtlError::Usage("--interval is about positions; --bucket thins out signals"));
        }
        let wanted = !tracks && (format != Format::Mcap || shaped || !args.signals.signals.is_empty());
        let question = wanted.then(|| Question::new(&args.scope, &args.signals)).transpose()?;
        let scope = match &question {
            Some(question) => question.scope.clone(),
            None => Scope::new(&args.scope)?,
        };
        let interval_ms = args.interval.unwrap_or_default();
        Ok(Self { format, out: args.out, scope, question, journeys: args.journeys, interval_ms })
    }

    fn title(&self) -> String {
        let (from, to) =
            (remuda_exports::iso_8601(self.scope.from_ns), remuda_exports::iso_8601(self.scope.to_ns));
        format!("Remuda {from} to {to}")
    }
}

fn format_of(path: &Path) -> Result<Format, CtlError> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or_default().to_ascii_lowercase();
    Ok(match ending.as_str() {
        "csv" => Format::Csv,
        "parquet" => Format::Parquet,
        "mcap" => Format::Mcap,
        "geojson" | "json" => Format::Geojson,
        "gpx" => Format::Gpx,
        "kml" => Format::Kml,
        _ => {
            return Err(CtlError::Usage(
                "which format? --format csv, csv-wide, parquet, mcap, geojson, geojson-points, gpx or kml",
            ));
        }
    })
}

/// Says how far it is.
struct Progress {
    out: Shared,
    begun: Instant,
    shown: Option<Instant>,
    records: u64,
    terminal: bool,
}

/// Often enough for eyes.
const SHOW_EVERY: Duration = Duration::from_millis(200);

impl Progress {
    fn new(out: Shared) -> Self {
        let terminal = std::io::stderr().is_terminal();
        Self { out, begun: Instant::now(), shown: None, records: 0, terminal }
    }

    fn add(&mut self, records: usize, vehicle: &str) {
        self.records += records as u64;
        if !self.terminal || self.shown.is_some_and(|at| at.elapsed() < SHOW_EVERY) {
            return;
        }
        self.shown = Some(Instant::now());
        let per_second = self.records as f64 / self.begun.elapsed().as_secs_f64().max(1e-3);
        let (records, megabytes) = (self.records, self.out.bytes() as f64 / 1e6);
        eprint!("\r\x1b[K{records} records, {megabytes:.1} MB, {per_second:.0} a second, at {vehicle}");
    }

    fn clear(&self) {
        if self.shown.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.clear();
    }
}

/// One row a sample; what is missing has no row.
struct SeriesSink<'a> {
    series: &'a mut dyn Series,
    progress: &'a mut Progress,
}

impl Sink for SeriesSink<'_> {
    fn begin(&mut self, _: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        Ok(())
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        let mut samples: Vec<Sample> = Vec::with_capacity(batch.times.len());
        for (column, cells) in columns.iter().zip(&batch.values) {
            samples.clear();
            let present = batch.times.iter().zip(cells).filter_map(|(time, cell)| Some((*time, (*cell)?)));
            samples.extend(present.map(|(time_ns, raw)| Sample { time_ns, value: Some(column.value(raw)) }));
            self.series.samples(&batch.vehicle, &column.signal, &samples)?;
            self.progress.add(samples.len(), &batch.vehicle);
        }
        Ok(())
    }

    fn end(&mut self, _: &HistoryEnd) -> Result<(), CtlError> {
        Ok(())
    }
}

/// One row an instant.
struct WideSink<'a> {
    csv: CsvPrinter<Shared>,
    progress: &'a mut Progress,
}

impl Sink for WideSink<'_> {
    fn begin(&mut self, columns: &[Column], as_of: Option<&AsOf>) -> Result<(), CtlError> {
        self.csv.begin(columns, as_of)
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        self.csv.batch(columns, batch)?;
        self.progress.add(batch.times.len(), &batch.vehicle);
        Ok(())
    }

    fn end(&mut self, end: &HistoryEnd) -> Result<(), CtlError> {
        self.csv.end(end)
    }
}

type Written = (Summary, Option<AsOf>);

/// Writes it, whole or not at all.
pub(crate) async fn run(mut session: Session, plan: Plan, out: &mut dyn Write) -> Result<(), CtlError> {
    let to_stdout = plan.out.as_os_str() == "-";
    let (destination, file) = Destination::open(&plan.out)?;
    let mut progress = Progress::new(file.clone());
    let written = write(&mut session, &plan, &file, &mut progress).await;
    if written.is_err() && !to_stdout {
        progress.clear();
        eprintln!("remudactl: {} was not written", plan.out.display());
    }
    let (summary, as_of) = written?;
    destination.keep()?;
    progress.clear();
    let (seconds, bytes) = (progress.begun.elapsed().as_secs_f64(), file.bytes());
    let Summary { records, tracks, skipped, .. } = summary;
    let name = if to_stdout { "standard output".to_owned() } else { plan.out.display().to_string() };
    let of_tracks = if tracks > 0 { format!(" in {tracks} tracks") } else { String::new() };
    let left_out =
        if skipped > 0 { format!(", {skipped} that the format cannot hold left out") } else { String::new() };
    eprintln!("wrote {records} records{of_tracks} to {name}{left_out}: {bytes} bytes in {seconds:.1} s");
    say_cut(as_of.as_ref());
    if records == 0 {
        eprintln!("remudactl: nothing was found in this range; --from and --to choose another");
    }
    if !to_stdout && matches!(session.global.print, Output::Json | Output::Yaml | Output::Ndjson) {
        let document = json!({
            "file": name,
            "records": records,
            "tracks": tracks,
            "segments": summary.segments,
            "skipped": skipped,
            "bytes": bytes,
            "asOf": as_of_json(as_of.as_ref()),
        });
        writeln!(out, "{document}")?;
    }
    Ok(())
}

async fn write(
    session: &mut Session,
    plan: &Plan,
    file: &Shared,
    progress: &mut Progress,
) -> Result<Written, CtlError> {
    let to = file.clone();
    match plan.format {
        Format::Csv => series(session, plan, Box::new(LongCsv::new(to)?), progress).await,
        Format::Parquet => series(session, plan, Box::new(LongParquet::new(to)?), progress).await,
        Format::CsvWide => {
            let question = plan.question.as_ref().ok_or(CtlError::Usage("which signals?"))?;
            let mut sink = WideSink { csv: CsvPrinter::new(to), progress };
            let end = ask(session, question, &mut sink).await?;
            let records = u64::try_from(end.rows).unwrap_or_default();
            Ok((Summary { records, ..Summary::default() }, end.as_of))
        }
        Format::Mcap => mcap(session, plan, to, progress).await,
        Format::Geojson => tracks(session, plan, Box::new(GeoJsonLines::new(to)?), progress).await,
        Format::GeojsonPoints => tracks(session, plan, Box::new(GeoJsonPoints::new(to)?), progress).await,
        Format::Gpx => tracks(session, plan, Box::new(Gpx::new(to, &plan.title())?), progress).await,
        Format::Kml => tracks(session, plan, Box::new(Kml::new(to, &plan.title())?), progress).await,
    }
}

async fn series(
    session: &mut Session,
    plan: &Plan,
    mut series: Box<dyn Series>,
    progress: &mut Progress,
) -> Result<Written, CtlError> {
    let question = plan.question.as_ref().ok_or(CtlError::Usage("which signals?"))?;
    let end = ask(session, question, &mut SeriesSink { series: series.as_mut(), progress }).await?;
    Ok((series.finish()?, end.as_of))
}

async fn mcap(
    session: &mut Session,
    plan: &Plan,
    to: Shared,
    progress: &mut Progress,
) -> Result<Written, CtlError> {
    let mut mcap = Box::new(Mcap::new(to)?);
    let mut as_of = positions(session, &plan.scope, plan.interval_ms, &mut |vehicle, positions| {
        // Vehicles may take turns: a message says by itself whose it is.
        mcap.begin(&Track { vehicle: vehicle.to_owned(), ..Track::default() })?;
        mcap.positions(positions)?;
        progress.add(positions.len(), vehicle);
        Ok(())
    })
    .await?;
    if let Some(question) = &plan.question {
        as_of = ask(session, question, &mut SeriesSink { series: mcap.as_mut(), progress }).await?.as_of;
    }
    let summary = Series::finish(mcap)?;
    Ok((Summary { tracks: 0, segments: 0, ..summary }, as_of))
}

/// Tracks vehicle by vehicle, or journey by journey: the formats want one after the other.
async fn tracks(
    session: &mut Session,
    plan: &Plan,
    mut tracks: Box<dyn Tracks>,
    progress: &mut Progress,
) -> Result<Written, CtlError> {
    let mut as_of = None;
    if plan.journeys {
        let mut journeys = Vec::new();
        each_journey(session, &plan.scope, usize::MAX, &mut |journey| {
            journeys.push(journey);
            Ok(())
        })
        .await?;
        for journey in &journeys {
            let scope = journeys::scope(journey);
            tracks.begin(&journeys::track(journey))?;
            as_of = one_track(session, &scope, plan.interval_ms, tracks.as_mut(), progress).await?;
        }
    } else {
        for vehicle in session.ids(&plan.scope).await? {
            tracks.begin(&Track {
                vehicle: vehicle.clone(),
                name: vehicle.clone(),
                properties: Vec::new(),
            })?;
            let scope = Scope { vehicles: vec![vehicle], filter: String::new(), ..plan.scope.clone() };
            as_of = one_track(session, &scope, plan.interval_ms, tracks.as_mut(), progress).await?;
        }
    }
    Ok((tracks.finish()?, as_of))
}

async fn one_track(
    session: &mut Session,
    scope: &Scope,
    interval_ms: i64,
    tracks: &mut dyn Tracks,
    progress: &mut Progress,
) -> Result<Option<AsOf>, CtlError> {
    positions(session, scope, interval_ms, &mut |vehicle, positions| {
        tracks.positions(positions)?;
        progress.add(positions.len(), vehicle);
        Ok(())
    })
    .await
}
