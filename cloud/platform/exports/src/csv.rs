//! CSV, RFC 4180.

use std::io::Write;

use crate::Series;
use crate::error::ExportError;
use crate::model::{Sample, Signal, Summary, Value};
use crate::text::{iso_8601, number};

fn writer<W: Write>(out: W) -> csv::Writer<W> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out)
}

/// A value as a cell; empty where there is none.
fn cell(value: Option<&Value>, decimals: Option<u8>) -> String {
    match value {
        Some(Value::Number(n)) => number(*n, decimals).unwrap_or_default(),
        Some(Value::Boolean(yes)) => yes.to_string(),
        Some(Value::Text(text)) => text.to_string(),
        None => String::new(),
    }
}

/// One row a sample: `vehicle,time,signal,value,unit`. Takes any mixture of signals.
pub struct LongCsv<W: Write> {
    writer: csv::Writer<W>,
    summary: Summary,
}

impl<W: Write> LongCsv<W> {
    /// Begins a file with its head.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let mut writer = writer(out);
        writer.write_record(["vehicle", "time", "signal", "value", "unit"])?;
        Ok(Self { writer, summary: Summary::default() })
    }
}

impl<W: Write> Series for LongCsv<W> {
    fn samples(&mut self, vehicle: &str, signal: &Signal, samples: &[Sample]) -> Result<(), ExportError> {
        for Sample { time_ns, value } in samples {
            let (time, value) = (iso_8601(*time_ns), cell(value.as_ref(), signal.decimals));
            self.writer.write_record([vehicle, &time, &signal.path, &value, &signal.unit])?;
            self.summary.records += 1;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.writer.flush()?;
        Ok(self.summary)
    }
}

/// One row an instant of a vehicle, one column a signal: `vehicle,time,Vehicle.Speed [km/h],...`.
pub struct WideCsv<W: Write> {
    writer: csv::Writer<W>,
    decimals: Vec<Option<u8>>,
    summary: Summary,
}

impl<W: Write> WideCsv<W> {
    /// Begins a file with its head.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W, signals: &[Signal]) -> Result<Self, ExportError> {
        let mut writer = writer(out);
        let head = |signal: &Signal| match signal.unit.as_str() {
            "" => signal.path.clone(),
            unit => format!("{} [{unit}]", signal.path),
        };
        let heads = ["vehicle", "time"].into_iter().map(str::to_owned).chain(signals.iter().map(head));
        writer.write_record(heads)?;
        let decimals = signals.iter().map(|signal| signal.decimals).collect();
        Ok(Self { writer, decimals, summary: Summary::default() })
    }

    /// Adds a row; `values` stand in the order of the signals.
    ///
    /// # Errors
    /// When there are more or fewer values than columns, or the output cannot be written.
    pub fn row(&mut self, vehicle: &str, time_ns: i64, values: &[Option<Value>]) -> Result<(), ExportError> {
        if values.len() != self.decimals.len() {
            return Err(ExportError::Columns { columns: self.decimals.len(), got: values.len() });
        }
        self.writer.write_field(vehicle)?;
        self.writer.write_field(iso_8601(time_ns))?;
        for (value, decimals) in values.iter().zip(&self.decimals) {
            self.writer.write_field(cell(value.as_ref(), *decimals))?;
        }
        self.writer.write_record(None::<&[u8]>)?;
        self.summary.records += 1;
        Ok(())
    }

    /// Ends the file and flushes it.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn finish(mut self) -> Result<Summary, ExportError> {
        self.writer.flush()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signal(path: &str, unit: &str, decimals: Option<u8>) -> Signal {
        Signal { path: path.into(), unit: unit.into(), decimals }
    }

    #[test]
    fn long_form() {
        let mut out = Vec::new();
        let mut csv = Box::new(LongCsv::new(&mut out).unwrap());
        let sample = |time_ns, value| Sample { time_ns, value };
        let values = [
            sample(0, Some(Value::Number(12.340_000_000_000_002))),
            sample(1, Some(Value::Number(f64::NAN))),
            sample(2_000_000, None),
        ];
        csv.samples("V,\"1\"", &signal("Vehicle.Speed", "km/h", Some(2)), &values).unwrap();
        let text =
            [sample(3_000, Some(Value::Text("OFF\nON".into()))), sample(4, Some(Value::Boolean(true)))];
        csv.samples("V2", &signal("Mine", "", None), &text).unwrap();
        assert_eq!(csv.finish().unwrap().records, 5);
        let expected = "vehicle,time,signal,value,unit\r\n\
            \"V,\"\"1\"\"\",1970-01-01T00:00:00.000Z,Vehicle.Speed,12.34,km/h\r\n\
            \"V,\"\"1\"\"\",1970-01-01T00:00:00.000000001Z,Vehicle.Speed,,km/h\r\n\
            \"V,\"\"1\"\"\",1970-01-01T00:00:00.002Z,Vehicle.Speed,,km/h\r\n\
            V2,1970-01-01T00:00:00.000003Z,Mine,\"OFF\nON\",\r\n\
            V2,1970-01-01T00:00:00.000000004Z,Mine,true,\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }

    #[test]
    fn wide_form() {
        let mut out = Vec::new();
        let signals = [signal("Vehicle.Speed", "km/h", Some(1)), signal("Vehicle.IsMoving", "", None)];
        let mut csv = WideCsv::new(&mut out, &signals).unwrap();
        csv.row("V1", 0, &[Some(Value::Number(5.0)), None]).unwrap();
        csv.row("V1", 1_000_000_000, &[None, Some(Value::Boolean(false))]).unwrap();
        let wrong = csv.row("V1", 2, &[None]);
        assert!(matches!(wrong, Err(ExportError::Columns { columns: 2, got: 1 })), "{wrong:?}");
        assert_eq!(csv.finish().unwrap().records, 2);
        let expected = "vehicle,time,Vehicle.Speed [km/h],Vehicle.IsMoving\r\n\
            V1,1970-01-01T00:00:00.000Z,5,\r\nV1,1970-01-01T00:00:01.000Z,,false\r\n";
        assert_eq!(String::from_utf8(out).unwrap(), expected);
    }
}
