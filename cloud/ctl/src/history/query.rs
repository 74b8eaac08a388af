//! Asking for samples, and handing the answer on part by part.

use std::io::Write;

use remuda_api::telemetry::v1::query_history_request::Mode;
use remuda_api::telemetry::v1::query_history_response::Part;
use remuda_api::telemetry::v1::{AsOf, Buckets, HistoryEnd, Plot, QueryHistoryRequest, Raw};
use tonic::Request;

use super::columns::{Aggregate, Batch, Column, batch, columns};
use super::plot::Plotter;
use super::print::{CsvPrinter, JsonPrinter, LinePrinter, TablePrinter, say_cut};
use super::range::timestamp;
use super::session::{Scope, Session};
use super::signals::{explain, resolve};
use super::{QueryArgs, ScopeArgs, SignalArgs};
use crate::args::Output;
use crate::error::CtlError;

/// Rows of a table when nothing else is said.
const TABLE_ROWS: i64 = 1_000;

/// A question for samples.
#[derive(Debug, Clone)]
pub(crate) struct Question {
    pub scope: Scope,
    pub signals: Vec<String>,
    pub mode: Option<Mode>,
    pub aggregates: Vec<Aggregate>,
    pub limit: i64,
}

impl Question {
    pub fn new(scope: &ScopeArgs, signals: &SignalArgs) -> Result<Self, CtlError> {
        let scope = Scope::new(scope)?;
        if signals.signals.is_empty() {
            return Err(CtlError::Usage(
                "which signals? name them with --signal, such as --signal Vehicle.Speed",
            ));
        }
        let mode = match (signals.bucket, signals.points) {
            (Some(0), _) => return Err(CtlError::Usage("a bucket lasts a millisecond at least")),
            (Some(bucket_ms), _) => Some(Mode::Buckets(Buckets { bucket_ms })),
            (None, Some(points)) => Some(Mode::Plot(Plot { points })),
            (None, None) => None,
        };
        let mut paths: Vec<String> = Vec::new();
        for text in &signals.signals {
            let path = resolve(text)?;
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        Ok(Self { scope, signals: paths, mode, aggregates: signals.agg.clone(), limit: 0 })
    }

    /// Whether so many samples are asked for that nobody could hold them.
    pub const fn is_raw(&self) -> bool {
        self.mode.is_none()
    }

    fn message(&self, session: &Session) -> QueryHistoryRequest {
        QueryHistoryRequest {
            parent: session.parent(),
            vehicles: session.names(&self.scope.vehicles),
            filter: self.scope.filter.clone(),
            signals: self.signals.clone(),
            start_time: Some(timestamp(self.scope.from_ns)),
            end_time: Some(timestamp(self.scope.to_ns)),
            limit: self.limit,
            page_token: String::new(),
            mode: Some(self.mode.unwrap_or(Mode::Raw(Raw {}))),
        }
    }
}

/// Takes an answer.
pub(crate) trait Sink {
    fn begin(&mut self, columns: &[Column], as_of: Option<&AsOf>) -> Result<(), CtlError>;
    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError>;
    fn end(&mut self, end: &HistoryEnd) -> Result<(), CtlError>;
}

/// Asks, and hands on everything until the end.
pub(crate) async fn ask(
    session: &mut Session,
    question: &Question,
    sink: &mut dyn Sink,
) -> Result<HistoryEnd, CtlError> {
    // Its deadline is for each part, not for the whole.
    let request = Request::new(question.message(session));
    let mut client = session.client.clone();
    let explained = |error| explain(error, &question.signals);
    let mut stream = session.wait(client.query_history(request)).await.map_err(explained)?.into_inner();
    let mut known: Option<Vec<Column>> = None;
    while let Some(response) = session.next(&mut stream).await.map_err(explained)? {
        match (response.part, &known) {
            (Some(Part::Begin(begin)), None) => {
                let buckets = matches!(question.mode, Some(Mode::Buckets(_)));
                let found = columns(&begin, buckets, &question.aggregates);
                sink.begin(&found, begin.as_of.as_ref())?;
                known = Some(found);
            }
            (Some(Part::Samples(samples)), Some(columns)) => {
                for part in &samples.columns {
                    sink.batch(columns, &batch(part, columns)?)?;
                }
            }
            (Some(Part::End(end)), Some(_)) => {
                sink.end(&end)?;
                return Ok(end);
            }
            _ => return Err(CtlError::Answer("its parts come in another order; is it of another version?")),
        }
    }
    Err(CtlError::Answer("it ended before it was complete; ask again"))
}

/// Shows samples.
pub(crate) async fn run(
    mut session: Session,
    mut question: Question,
    args: &QueryArgs,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    let print = session.global.print;
    if args.plot {
        let mut plotter = Plotter::new(&question, args, colours);
        if question.is_raw() {
            question.mode = Some(Mode::Plot(Plot { points: plotter.points() }));
        }
        let end = ask(&mut session, &question, &mut plotter).await?;
        if !plotter.draw(out)? {
            say_empty(&question);
        }
        say_cut(end.as_of.as_ref());
        return Ok(());
    }
    let table = matches!(print, Output::Table | Output::Wide);
    question.limit = args.limit.unwrap_or(if table { TABLE_ROWS } else { 0 });
    let mut sink: Box<dyn Sink + '_> = match print {
        Output::Table | Output::Wide => Box::new(TablePrinter::new(&mut *out, colours)),
        Output::Json | Output::Yaml => Box::new(JsonPrinter::new(&mut *out)),
        Output::Ndjson => Box::new(LinePrinter::new(&mut *out)),
        Output::Csv => Box::new(CsvPrinter::new(&mut *out)),
        Output::Name => {
            return Err(CtlError::Usage("samples have no names; say -o table, csv, ndjson, json or yaml"));
        }
    };
    let end = ask(&mut session, &question, sink.as_mut()).await?;
    drop(sink);
    if end.rows == 0 {
        say_empty(&question);
    }
    say_cut(end.as_of.as_ref());
    if end.limited {
        eprintln!(
            "remudactl: there are more than {} rows; --limit 0 shows all, --bucket or --points fewer",
            end.rows
        );
    }
    Ok(())
}

fn say_empty(question: &Question) {
    let (from, to) = (question.scope.from_ns, question.scope.to_ns);
    let (from, to) = (remuda_exports::iso_8601(from), remuda_exports::iso_8601(to));
    eprintln!("no samples from {from} to {to}; --from and --to choose another range");
}
