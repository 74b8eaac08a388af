//! Vehicles as tables and as JSON.

use std::io::{self, Write};

use remuda_api::vehicles::v1::signal_value::Value as SignalNumber;
use remuda_api::vehicles::v1::{Presence, SignalValue, Twin, Vehicle};
use serde_json::{Value, json};

use crate::args::OutputFormat;
use crate::table::{Cell, Tint, cell, write};
use crate::text::{age_of, id, now_ms, presence, rfc3339, value};

const HEADS: &[&str] = &["VEHICLE", "PRESENCE", "SEEN", "SPEED", "CHARGE", "ALERTS"];
const WIDE_HEADS: &[&str] =
    &["VEHICLE", "PRESENCE", "SEEN", "SPEED", "CHARGE", "ALERTS", "LATITUDE", "LONGITUDE", "HEADING", "ETAG"];

/// Below this a charge is worth a colour.
const LOW_CHARGE_PERCENT: f32 = 20.0;

/// Prints vehicles, page after page or change after change, as one table or list.
pub(crate) struct VehiclePrinter<'a> {
    pub out: &'a mut dyn Write,
    pub format: OutputFormat,
    pub colours: bool,
    headed: bool,
    widths: Vec<usize>,
}

impl<'a> VehiclePrinter<'a> {
    pub fn new(out: &'a mut dyn Write, format: OutputFormat, colours: bool) -> Self {
        Self { out, format, colours, headed: false, widths: Vec::new() }
    }

    /// Lines of a table, or names. JSON is the caller's: a document for a list, lines for a watch.
    pub fn rows(&mut self, vehicles: &[Vehicle]) -> io::Result<()> {
        if self.format == OutputFormat::Name {
            for vehicle in vehicles {
                writeln!(self.out, "{}", vehicle.name)?;
            }
            return Ok(());
        }
        let wide = self.format == OutputFormat::Wide;
        let now_ms = now_ms();
        let rows: Vec<Vec<Cell>> = vehicles.iter().map(|v| row(v, wide, now_ms)).collect();
        let heads = if wide { WIDE_HEADS } else { HEADS };
        let heads = (!self.headed).then_some(heads);
        self.headed = true;
        write(self.out, heads, &rows, &mut self.widths, self.colours)
    }

    /// One vehicle with its twin.
    pub fn twin(&mut self, vehicle: &Vehicle) -> io::Result<()> {
        match self.format {
            OutputFormat::Name => writeln!(self.out, "{}", vehicle.name),
            OutputFormat::Json => writeln!(self.out, "{:#}", vehicle_json(vehicle)),
            OutputFormat::Table | OutputFormat::Wide => self.twin_table(vehicle),
        }
    }

    fn twin_table(&mut self, vehicle: &Vehicle) -> io::Result<()> {
        self.headed = false;
        self.widths.clear();
        self.rows(std::slice::from_ref(vehicle))?;
        let Some(twin) = &vehicle.twin else { return Ok(()) };
        // Ages by the server's clock: ours may be off.
        let now_ms = twin.read_time.as_ref().map_or_else(now_ms, crate::text::millis);
        for alert in &twin.alerts {
            let since = age_of(alert.raise_time.as_ref(), now_ms);
            let line = [
                cell(format!("alert {}", alert.rule)).tint(Tint::Warn),
                cell(format!("at {:.1}, {since} ago", alert.value)),
            ];
            writeln!(self.out)?;
            write(self.out, None, &[line.to_vec()], &mut Vec::new(), self.colours)?;
        }
        writeln!(self.out)?;
        if twin.signals.is_empty() {
            writeln!(self.out, "no signal has been received from this vehicle yet")?;
        } else {
            let rows: Vec<Vec<Cell>> = twin.signals.iter().map(|s| signal_row(s, now_ms)).collect();
            write(self.out, Some(&["SIGNAL", "VALUE", "UNIT", "AGE"]), &rows, &mut Vec::new(), self.colours)?;
        }
        if let Some(delivery) = &twin.delivery {
            writeln!(
                self.out,
                "\nframes: {} stored, {} lost at the vehicle, {} quarantined",
                delivery.frames_durable, delivery.frames_in_gaps, delivery.frames_quarantined
            )?;
            for refusal in &delivery.refusals {
                writeln!(self.out, "refused: {} ({})", refusal.count, refusal.reason)?;
            }
            crate::delivery::write_delivery(self.out, delivery, now_ms)?;
        }
        if let Some(report) = &twin.report {
            crate::delivery::write_report(self.out, report, now_ms)?;
        }
        Ok(())
    }
}

fn row(vehicle: &Vehicle, wide: bool, now_ms: i64) -> Vec<Cell> {
    let dash = || "-".to_owned();
    let position = vehicle.position.as_ref();
    let tint = if vehicle.presence() == Presence::Online { Tint::Good } else { Tint::Faint };
    let charge = vehicle.charge_percent;
    let low = charge.is_some_and(|c| c < LOW_CHARGE_PERCENT);
    let mut cells = vec![
        cell(id(&vehicle.name)),
        cell(presence(vehicle)).tint(tint),
        cell(age_of(vehicle.last_seen_time.as_ref(), now_ms)).right(),
        cell(position.map_or_else(dash, |p| format!("{:.0} km/h", p.speed_kmh))).right(),
        cell(charge.map_or_else(dash, |c| format!("{c:.0} %"))).right().tint(if low {
            Tint::Warn
        } else {
            Tint::Plain
        }),
        cell(vehicle.open_alerts.to_string()).right().tint(if vehicle.open_alerts > 0 {
            Tint::Warn
        } else {
            Tint::Faint
        }),
    ];
    if wide {
        cells.extend([
            cell(position.map_or_else(dash, |p| format!("{:.6}", p.latitude))).right(),
            cell(position.map_or_else(dash, |p| format!("{:.6}", p.longitude))).right(),
            cell(position.map_or_else(dash, |p| format!("{:.0}°", p.heading_deg))).right(),
            cell(vehicle.etag.trim_matches('"')),
        ]);
    }
    cells
}

fn signal_row(signal: &SignalValue, now_ms: i64) -> Vec<Cell> {
    let name =
        if signal.path.is_empty() { format!("signal {}", signal.signal_id) } else { signal.path.clone() };
    vec![
        cell(name),
        cell(value(signal)).right(),
        cell(signal.unit.clone()),
        cell(age_of(signal.sample_time.as_ref(), now_ms)).right().tint(Tint::Faint),
    ]
}

/// As protobuf's JSON mapping writes it, but with 64-bit counts as numbers.
pub(crate) fn vehicle_json(vehicle: &Vehicle) -> Value {
    let mut object = json!({
        "name": vehicle.name,
        "etag": vehicle.etag,
        "presence": presence(vehicle).to_uppercase(),
        "openAlerts": vehicle.open_alerts,
    });
    if let Some(time) = &vehicle.last_seen_time {
        object["lastSeenTime"] = rfc3339(time).into();
    }
    if let Some(p) = &vehicle.position {
        object["position"] = json!({
            "latitude": p.latitude,
            "longitude": p.longitude,
            "headingDeg": p.heading_deg,
            "speedKmh": p.speed_kmh,
        });
    }
    if let Some(charge) = vehicle.charge_percent {
        object["chargePercent"] = charge.into();
    }
    if let Some(twin) = &vehicle.twin {
        object["twin"] = twin_json(twin);
    }
    object
}

fn twin_json(twin: &Twin) -> Value {
    let delivery = twin.delivery.clone().unwrap_or_default();
    let refusals: Vec<Value> =
        delivery.refusals.iter().map(|r| json!({ "reason": r.reason, "count": r.count })).collect();
    json!({
        "readTime": twin.read_time.as_ref().map(rfc3339),
        "signals": twin.signals.iter().map(signal_json).collect::<Vec<_>>(),
        "alerts": twin.alerts.iter().map(|a| json!({
            "rule": a.rule,
            "raiseTime": a.raise_time.as_ref().map(rfc3339),
            "value": a.value,
        })).collect::<Vec<_>>(),
        "delivery": {
            "framesDurable": delivery.frames_durable,
            "framesInGaps": delivery.frames_in_gaps,
            "framesQuarantined": delivery.frames_quarantined,
            "refusals": refusals,
            "gaps": delivery.gaps.iter().map(crate::delivery::gap_json).collect::<Vec<_>>(),
            "quarantined": delivery.quarantined.iter().map(crate::delivery::frame_json).collect::<Vec<_>>(),
            "framesReprocessed": delivery.frames_reprocessed,
            "cloneTime": delivery.clone_time.as_ref().map(rfc3339),
        },
        "report": twin.report.as_ref().map(crate::delivery::report_json),
    })
}

fn signal_json(signal: &SignalValue) -> Value {
    let (kind, value) = match &signal.value {
        Some(SignalNumber::Number(n)) => ("number", json!(n)),
        Some(SignalNumber::Boolean(yes)) => ("boolean", json!(yes)),
        Some(SignalNumber::Text(text)) => ("text", json!(text)),
        Some(SignalNumber::Raw(raw)) => ("raw", json!(raw)),
        None => ("number", Value::Null),
    };
    let mut object = json!({ "signalId": signal.signal_id, "path": signal.path, "unit": signal.unit });
    object[kind] = value;
    object["sampleTime"] = signal.sample_time.as_ref().map(rfc3339).into();
    object
}
