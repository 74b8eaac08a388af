//! One thing that is told: a CloudEvents 1.0 event in JSON (docs/feeds.md has an example of each).

use std::fmt::Write as _;

use chrono::{DateTime, SecondsFormat};
use remuda_eventsourcing::{Event, NewEvent};
use remuda_lake::{Gone, Row, RowBody, row_time_ns};
use remuda_model::{OrganizationId, SignalId, signal};
use serde_json::{Value, json};

use crate::source::EventJson;

/// What an item is about: the second part of subjects and topics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Something was decided or happened.
    Events,
    /// Something was measured.
    Telemetry,
    /// The feed itself has something to say.
    Feed,
}

impl Channel {
    /// Its name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Telemetry => "telemetry",
            Self::Feed => "feed",
        }
    }
}

/// One thing that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Unique for ever, the same each time it is told.
    pub id: String,
    /// What about.
    pub channel: Channel,
    /// Such as `dev.remuda.telemetry.samples`.
    pub kind: String,
    /// `organizations/{organization}/{type}s/{id}`, such as a vehicle's resource name.
    pub source: String,
    /// The last part of the source: a vehicle's id. What is in order is in order by this.
    pub subject: String,
    /// RFC 3339.
    pub time: String,
    /// When the cloud had it, ms since 1970 UTC: what the lag is counted from.
    pub had_ms: i64,
    /// A JSON object.
    pub data: String,
}

fn milliseconds(at: i64) -> String {
    DateTime::from_timestamp_millis(at).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn nanoseconds(at: i64) -> String {
    DateTime::from_timestamp_nanos(at).to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Decimals that a signal's scale has.
fn decimals(scale: f64) -> usize {
    (0..12)
        .find(|n| (scale * 10_f64.powi(*n)).round() >= 1.0 && is_whole(scale * 10_f64.powi(*n)))
        .unwrap_or(12) as usize
}

fn is_whole(x: f64) -> bool {
    (x - x.round()).abs() < 1e-6
}

/// A signal's name and value as JSON, without float noise.
fn write_value(text: &mut String, id: SignalId, raw: i64) {
    let _ = match signal::by_id(id) {
        Some(def) if def.scale == 1.0 => write!(text, "\"{}\":{raw}", def.path),
        Some(def) => write!(text, "\"{}\":{:.*}", def.path, decimals(def.scale), def.to_physical(raw)),
        // A customer's own: its raw value, under its number.
        None => write!(text, "\"signal-{}\":{raw}", id.0),
    };
}

impl Item {
    /// Of an event.
    pub(crate) fn of_event(event: &Event, payload: &EventJson) -> Self {
        let Event { shard, position, event } = event;
        let NewEvent { stream, .. } = event;
        let known = payload(event);
        let data = json!({
            "event_type": event.event_type,
            "schema_version": event.schema_version,
            "version": event.version,
            "shard": shard.number(),
            "position": position,
            "actor": event.actor,
            "causation_id": event.causation_id,
            "correlation_id": event.correlation_id,
            "payload": known,
        });
        Self {
            id: hex(&event.event_id),
            channel: Channel::Events,
            kind: format!("dev.remuda.{}", event.event_type),
            source: format!(
                "organizations/{}/{}s/{}",
                stream.organization, stream.aggregate_type, stream.aggregate_id
            ),
            subject: stream.aggregate_id.clone(),
            time: milliseconds(event.time_ms),
            had_ms: event.time_ms,
            data: data.to_string(),
        }
    }

    /// Of a row.
    pub(crate) fn of_row(row: &Row) -> Self {
        let mut data = String::with_capacity(512);
        let _ = write!(
            data,
            "{{\"incarnation\":\"{:016x}\",\"seq\":{},\"row\":{},\"received\":\"{}\"",
            row.incarnation.0,
            row.seq,
            row.row_in_frame,
            milliseconds(row.receive_time_ms)
        );
        let kind = match &row.body {
            RowBody::Samples(values) => {
                data.push_str(",\"values\":{");
                for (i, (id, raw)) in values.iter().enumerate() {
                    if i > 0 {
                        data.push(',');
                    }
                    write_value(&mut data, *id, *raw);
                }
                data.push('}');
                "samples"
            }
            RowBody::Gap { to, reason } => {
                let _ = write!(data, ",\"to\":{to},\"reason\":{}", Value::from(reason.as_str()));
                "gap"
            }
            RowBody::Quarantine { reason, .. } => {
                let _ = write!(data, ",\"reason\":{}", Value::from(reason.as_str()));
                "unusable"
            }
            RowBody::Marker => "marker",
        };
        data.push('}');
        let time = row_time_ns(row.sample_time_ns, row.receive_time_ms);
        Self {
            id: format!("{}-{:016x}-{}-{}", row.vehicle, row.incarnation.0, row.seq, row.row_in_frame),
            channel: Channel::Telemetry,
            kind: format!("dev.remuda.telemetry.{kind}"),
            source: format!("organizations/{}/vehicles/{}", row.organization, row.vehicle),
            subject: row.vehicle.as_str().to_owned(),
            time: nanoseconds(time),
            had_ms: row.receive_time_ms,
            data,
        }
    }

    /// Of what can be told no more.
    pub(crate) fn of_gone(organization: &OrganizationId, gone: &Gone, now_ms: i64) -> Self {
        let (id, data) = match gone {
            Gone::Rows { commits: (from, to), rows_max, until_ms } => (
                format!("missed-rows-{from}-{to}-{until_ms}"),
                json!({
                    "what": "rows", "why": "retention", "commits": [from, to], "rows_max": rows_max,
                    "sampled_before": milliseconds(*until_ms),
                }),
            ),
            Gone::Values { commits: (from, to), classes } => (
                format!("missed-values-{from}-{to}"),
                json!({
                    "what": "values", "why": "retention", "commits": [from, to],
                    "classes": classes.iter().map(ToString::to_string).collect::<Vec<_>>(),
                }),
            ),
        };
        Self {
            id,
            channel: Channel::Feed,
            kind: "dev.remuda.feed.missed".into(),
            source: format!("organizations/{organization}"),
            subject: "missed".into(),
            time: milliseconds(now_ms),
            had_ms: now_ms,
            data: data.to_string(),
        }
    }

    /// As a CloudEvent in JSON.
    pub fn write_json(&self, into: &mut String) {
        // Ids, names and times of ours have nothing in them that JSON would escape; the rest is JSON already.
        let _ = write!(
            into,
            "{{\"specversion\":\"1.0\",\"id\":\"{}\",\"source\":\"{}\",\"type\":\"{}\",\"time\":\"{}\",\"datacontenttype\":\"application/json\",\"data\":{}}}",
            self.id,
            escaped(&self.source),
            escaped(&self.kind),
            self.time,
            self.data
        );
    }

    /// The same as a text of its own.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(self.data.len() + 256);
        self.write_json(&mut text);
        text
    }

    /// The id as one part of a subject, a topic or a header: other characters become `_`.
    pub(crate) fn subject_part(&self) -> String {
        self.subject
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' })
            .collect()
    }
}

fn escaped(text: &str) -> std::borrow::Cow<'_, str> {
    if text.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\') {
        text.into()
    } else {
        let quoted = Value::from(text).to_string();
        quoted[1..quoted.len() - 1].to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::{Incarnation, VehicleId};

    use super::*;

    fn row(body: RowBody) -> Row {
        Row {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new("VAN1").expect("an id"),
            incarnation: Incarnation(0xab),
            seq: 7,
            row_in_frame: 2,
            boot: 1,
            mono_ns: 5,
            sample_time_ns: Some(1_700_000_000_123_456_789),
            receive_time_ms: 1_700_000_000_500,
            commit: 3,
            body,
        }
    }

    #[test]
    fn a_row_is_a_cloud_event() {
        let values = vec![(signal::SPEED, 1234), (signal::CHARGE, -7), (SignalId(60_000), 9)];
        let item = Item::of_row(&row(RowBody::Samples(values)));
        let value: Value = serde_json::from_str(&item.to_json()).expect("JSON");
        assert_eq!(value["specversion"], "1.0");
        assert_eq!(value["id"], "VAN1-00000000000000ab-7-2");
        assert_eq!(value["type"], "dev.remuda.telemetry.samples");
        assert_eq!(value["source"], "organizations/default/vehicles/VAN1");
        assert_eq!(value["time"], "2023-11-14T22:13:20.123456Z");
        assert_eq!(value["data"]["values"]["Vehicle.Speed"], 12.34);
        assert_eq!(value["data"]["values"]["signal-60000"], 9);
        assert!(item.data.contains("\"Vehicle.Speed\":12.34,"), "without noise: {}", item.data);
        let gap = Item::of_row(&row(RowBody::Gap { to: 9, reason: "sh\"ed".into() }));
        let value: Value = serde_json::from_str(&gap.to_json()).expect("JSON");
        assert_eq!((&value["data"]["to"], &value["data"]["reason"]), (&9.into(), &"sh\"ed".into()));
    }

    #[test]
    fn scales_have_their_decimals() {
        for (scale, wanted) in [(1.0, 0), (0.1, 1), (0.01, 2), (0.5, 1), (0.25, 2), (1e-7, 7), (10.0, 0)] {
            assert_eq!(decimals(scale), wanted, "{scale}");
        }
    }
}
