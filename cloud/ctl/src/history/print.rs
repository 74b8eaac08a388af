//! Samples as a table, as JSON, as lines.

use std::io::Write;

use remuda_api::telemetry::v1::{AsOf, HistoryEnd, HistoryKind};
use remuda_exports::{Value, WideCsv, iso_8601, number};
use serde_json::{Map, Value as Json, json};

use super::columns::{Batch, Column};
use super::query::Sink;
use crate::error::CtlError;
use crate::table::{Cell, cell, write};
use crate::text::rfc3339;

type Out<'a> = &'a mut dyn Write;

/// Columns under heads.
pub(crate) struct TablePrinter<'a> {
    out: Out<'a>,
    colours: bool,
    widths: Vec<usize>,
    heads: Option<Vec<String>>,
}

impl<'a> TablePrinter<'a> {
    pub fn new(out: Out<'a>, colours: bool) -> Self {
        Self { out, colours, widths: Vec::new(), heads: None }
    }
}

impl Sink for TablePrinter<'_> {
    fn begin(&mut self, columns: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        let fixed = ["VEHICLE", "TIME"].map(str::to_owned);
        self.heads = Some(fixed.into_iter().chain(columns.iter().map(Column::title)).collect());
        Ok(())
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        let row = |(row, time): (usize, &i64)| -> Vec<Cell> {
            let fixed = [cell(batch.vehicle.as_str()), cell(iso_8601(*time))];
            let values = columns.iter().zip(&batch.values).map(|(column, cells)| {
                cell(cells[row].map_or_else(|| "-".to_owned(), |value| column.text(value))).right()
            });
            fixed.into_iter().chain(values).collect()
        };
        let rows: Vec<Vec<Cell>> = batch.times.iter().enumerate().map(row).collect();
        if rows.is_empty() {
            return Ok(());
        }
        let heads = self.heads.take();
        let heads: Option<Vec<&str>> = heads.as_ref().map(|heads| heads.iter().map(String::as_str).collect());
        write(self.out, heads.as_deref(), &rows, &mut self.widths, self.colours)?;
        Ok(())
    }

    fn end(&mut self, _: &HistoryEnd) -> Result<(), CtlError> {
        Ok(())
    }
}

fn value_json(column: &Column, raw: f64) -> Json {
    match column.value(raw) {
        Value::Number(n) => {
            let text = number(n, column.signal.decimals);
            text.and_then(|text| text.parse::<f64>().ok()).map_or(Json::Null, Json::from)
        }
        Value::Boolean(yes) => yes.into(),
        Value::Text(text) => text.as_ref().into(),
    }
}

/// A row without what is missing.
fn row_json(columns: &[Column], batch: &Batch, row: usize) -> Json {
    let mut values = Map::new();
    for (column, cells) in columns.iter().zip(&batch.values) {
        if let Some(value) = cells[row] {
            values.insert(column.signal.path.clone(), value_json(column, value));
        }
    }
    json!({ "vehicle": batch.vehicle, "time": iso_8601(batch.times[row]), "values": values })
}

pub(crate) fn as_of_json(as_of: Option<&AsOf>) -> Json {
    as_of.map_or(Json::Null, |as_of| {
        json!({
            "manifestPosition": as_of.manifest_position,
            "readTime": as_of.read_time.as_ref().map(rfc3339),
            "freshFiles": as_of.fresh_files,
            "historyFiles": as_of.history_files,
            "completeSince": as_of.complete_since.as_ref().map(rfc3339),
        })
    })
}

/// What people must know of an answer that retention has cut.
pub(crate) fn cut(as_of: Option<&AsOf>) -> Option<String> {
    let since = as_of?.complete_since.as_ref()?;
    Some(format!(
        "retention has removed some of this before {}: the answer is complete since then",
        rfc3339(since)
    ))
}

/// Tells them.
pub(crate) fn say_cut(as_of: Option<&AsOf>) {
    if let Some(said) = cut(as_of) {
        eprintln!("remudactl: {said}");
    }
}

/// One document, written as it comes.
pub(crate) struct JsonPrinter<'a> {
    out: Out<'a>,
    rows: u64,
}

impl<'a> JsonPrinter<'a> {
    pub fn new(out: Out<'a>) -> Self {
        Self { out, rows: 0 }
    }
}

impl Sink for JsonPrinter<'_> {
    fn begin(&mut self, columns: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        let signals: Vec<Json> = columns
            .iter()
            .map(|column| {
                let kind = match column.kind {
                    HistoryKind::Unspecified => "raw",
                    HistoryKind::Number => "number",
                    HistoryKind::Boolean => "boolean",
                    HistoryKind::Enumeration => "enumeration",
                };
                json!({ "path": column.signal.path, "unit": column.signal.unit, "kind": kind })
            })
            .collect();
        write!(self.out, "{{\n  \"signals\": {},\n  \"rows\": [", Json::from(signals))?;
        Ok(())
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        for row in 0..batch.times.len() {
            let comma = if self.rows == 0 { "" } else { "," };
            write!(self.out, "{comma}\n    {}", row_json(columns, batch, row))?;
            self.rows += 1;
        }
        Ok(())
    }

    fn end(&mut self, end: &HistoryEnd) -> Result<(), CtlError> {
        let close = if self.rows == 0 { "]" } else { "\n  ]" };
        let about = json!({
            "rows": end.rows,
            "values": end.values,
            "rowsRead": end.rows_read,
            "bytesRead": end.bytes_read,
            "limited": end.limited,
        });
        writeln!(
            self.out,
            "{close},\n  \"end\": {about},\n  \"asOf\": {}\n}}",
            as_of_json(end.as_of.as_ref())
        )?;
        Ok(())
    }
}

/// One JSON object a row.
pub(crate) struct LinePrinter<'a> {
    out: Out<'a>,
}

impl<'a> LinePrinter<'a> {
    pub fn new(out: Out<'a>) -> Self {
        Self { out }
    }
}

impl Sink for LinePrinter<'_> {
    fn begin(&mut self, _: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        Ok(())
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        for row in 0..batch.times.len() {
            writeln!(self.out, "{}", row_json(columns, batch, row))?;
        }
        self.out.flush()?;
        Ok(())
    }

    fn end(&mut self, _: &HistoryEnd) -> Result<(), CtlError> {
        Ok(())
    }
}

/// CSV, one line an instant.
pub(crate) struct CsvPrinter<W: Write> {
    out: Option<W>,
    csv: Option<WideCsv<W>>,
}

impl<W: Write> CsvPrinter<W> {
    pub fn new(out: W) -> Self {
        Self { out: Some(out), csv: None }
    }
}

impl<W: Write> Sink for CsvPrinter<W> {
    fn begin(&mut self, columns: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        let signals: Vec<_> = columns.iter().map(|column| column.signal.clone()).collect();
        if let Some(out) = self.out.take() {
            self.csv = Some(WideCsv::new(out, &signals)?);
        }
        Ok(())
    }

    fn batch(&mut self, columns: &[Column], batch: &Batch) -> Result<(), CtlError> {
        let Some(csv) = &mut self.csv else { return Ok(()) };
        let mut values: Vec<Option<Value>> = Vec::with_capacity(columns.len());
        for (row, time) in batch.times.iter().enumerate() {
            values.clear();
            values.extend(columns.iter().zip(&batch.values).map(|(c, cells)| cells[row].map(|v| c.value(v))));
            csv.row(&batch.vehicle, *time, &values)?;
        }
        Ok(())
    }

    fn end(&mut self, _: &HistoryEnd) -> Result<(), CtlError> {
        if let Some(csv) = self.csv.take() {
            csv.finish()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost_types::Timestamp;

    #[test]
    fn an_answer_that_retention_has_cut_says_so() {
        let cut_at = Timestamp { seconds: 1_700_000_000, nanos: 0 };
        let as_of = AsOf { complete_since: Some(cut_at), ..AsOf::default() };
        let said = cut(Some(&as_of)).expect("cut");
        assert!(said.contains("before 2023-11-14T22:13:20"), "{said}");
        assert!(
            as_of_json(Some(&as_of))["completeSince"]
                .as_str()
                .expect("said")
                .starts_with("2023-11-14T22:13:20")
        );
        assert_eq!((cut(Some(&AsOf::default())), cut(None)), (None, None));
        assert!(as_of_json(Some(&AsOf::default()))["completeSince"].is_null());
    }
}
