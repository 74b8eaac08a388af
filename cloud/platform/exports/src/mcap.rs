//! MCAP (<https://mcap.dev/spec>), as Foxglove opens it: JSON messages with JSON Schemas, chunked, zstd, indexed.

mod schemas;

use std::collections::{BTreeMap, HashMap};
use std::io::Write;

use mcap::records::MessageHeader;
use mcap::write::NoSeek;
use mcap::{Compression, WriteOptions, Writer};
use serde::Serialize;
use serde_json::json;

use crate::error::ExportError;
use crate::limits::MCAP_CHUNK_BYTES;
use crate::model::{Position, Sample, Signal, Summary, Track, Value};
use crate::text::{rounded, topic_part};
use crate::track::Segments;
use crate::{Series, Tracks};
use schemas::Kind;

#[derive(Serialize)]
struct Time {
    sec: u64,
    nsec: u64,
}

#[derive(Serialize)]
struct Message<T> {
    timestamp: Time,
    value: T,
}

struct Channel {
    id: u16,
    kind: Kind,
    messages: u32,
}

/// Channels `/vehicle/{id}/position` (foxglove.LocationFix) and `/vehicle/{id}/{signal}`, whose messages have a `timestamp` and
/// a `value`; the unit stands in the channel's metadata. There is no message where a value is missing.
pub struct Mcap<W: Write> {
    writer: Writer<NoSeek<W>>,
    channels: HashMap<String, Channel>,
    /// Whose positions come, and whether there was one.
    track: Option<(Track, bool)>,
    segments: Segments,
    buffer: Vec<u8>,
    summary: Summary,
}

impl<W: Write> Mcap<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let options = WriteOptions::new()
            .compression(Some(Compression::Zstd))
            .compression_threads(0)
            .chunk_size(Some(MCAP_CHUNK_BYTES))
            .disable_seeking(true)
            .library("remuda");
        let writer = options.create(NoSeek::new(out))?;
        let (segments, summary) = (Segments::default(), Summary::default());
        Ok(Self { writer, channels: HashMap::new(), track: None, segments, buffer: Vec::new(), summary })
    }

    /// The channel's id and the next sequence number on it.
    fn channel(
        &mut self,
        vehicle: &str,
        name: &str,
        kind: Kind,
        metadata: &[(&str, &str)],
    ) -> Result<(u16, u32), ExportError> {
        let topic = format!("/vehicle/{}/{}", topic_part(vehicle), topic_part(name));
        if !self.channels.contains_key(&topic) {
            let (schema, text) = kind.schema();
            let schema = self.writer.add_schema(schema, "jsonschema", text.as_bytes())?;
            let metadata: BTreeMap<String, String> =
                metadata.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
            let id = self.writer.add_channel(schema, &topic, "json", &metadata)?;
            self.channels.insert(topic.clone(), Channel { id, kind, messages: 0 });
        }
        match self.channels.get_mut(&topic) {
            Some(channel) if channel.kind == kind => {
                channel.messages = channel.messages.wrapping_add(1);
                Ok((channel.id, channel.messages))
            }
            _ => Err(ExportError::Type { vehicle: vehicle.to_owned(), signal: name.to_owned() }),
        }
    }

    /// Writes `buffer` as a message.
    fn message(&mut self, (channel_id, sequence): (u16, u32), time_ns: u64) -> Result<(), ExportError> {
        let header = MessageHeader { channel_id, sequence, log_time: time_ns, publish_time: time_ns };
        self.writer.write_to_known_channel(&header, &self.buffer)?;
        self.summary.records += 1;
        Ok(())
    }

    fn sample(
        &mut self,
        vehicle: &str,
        signal: &Signal,
        value: &Value,
        time_ns: u64,
    ) -> Result<(), ExportError> {
        self.buffer.clear();
        let timestamp = time(time_ns);
        let kind = match value {
            Value::Number(n) => {
                let Some(value) = rounded(*n, signal.decimals) else {
                    self.summary.skipped += 1;
                    return Ok(());
                };
                serde_json::to_writer(&mut self.buffer, &Message { timestamp, value })?;
                Kind::Number
            }
            Value::Boolean(value) => {
                serde_json::to_writer(&mut self.buffer, &Message { timestamp, value })?;
                Kind::Boolean
            }
            Value::Text(value) => {
                serde_json::to_writer(&mut self.buffer, &Message { timestamp, value: value.as_ref() })?;
                Kind::Text
            }
        };
        let metadata =
            [("vehicle", vehicle), ("signal", signal.path.as_str()), ("unit", signal.unit.as_str())];
        let channel = self.channel(vehicle, &signal.path, kind, &metadata)?;
        self.message(channel, time_ns)
    }

    fn fix(&mut self, vehicle: &str, position: &Position, time_ns: u64) -> Result<(), ExportError> {
        let variance = position.accuracy_m.map_or(0.0, |metres| metres * metres);
        let mut fix = json!({
            "timestamp": time(time_ns),
            "frame_id": vehicle,
            "latitude": rounded(position.latitude, Some(7)),
            "longitude": rounded(position.longitude, Some(7)),
            // The schema demands one.
            "altitude": position.altitude_m.unwrap_or(0.0),
            "position_covariance": [variance, 0.0, 0.0, 0.0, variance, 0.0, 0.0, 0.0, 0.0],
            "position_covariance_type": u8::from(position.accuracy_m.is_some()),
        });
        if position.altitude_m.is_none() {
            fix["metadata"] = json!([{ "key": "altitude", "value": "unknown" }]);
        }
        if let Some(heading) = position.heading_deg.map(f64::to_radians) {
            fix["heading"] = heading.into();
            if let Some(speed) = position.speed_kmh.map(|kmh| kmh / 3.6) {
                // East, north, up.
                fix["velocity"] = json!({ "x": speed * heading.sin(), "y": speed * heading.cos(), "z": 0.0 });
            }
        }
        self.buffer.clear();
        serde_json::to_writer(&mut self.buffer, &fix)?;
        let channel = self.channel(vehicle, "position", Kind::Position, &[("vehicle", vehicle)])?;
        self.message(channel, time_ns)
    }

    fn end(&mut self) -> Result<Summary, ExportError> {
        self.writer.finish()?;
        Ok(self.summary)
    }
}

fn time(time_ns: u64) -> Time {
    Time { sec: time_ns / 1_000_000_000, nsec: time_ns % 1_000_000_000 }
}

impl<W: Write> Series for Mcap<W> {
    fn samples(&mut self, vehicle: &str, signal: &Signal, samples: &[Sample]) -> Result<(), ExportError> {
        for Sample { time_ns, value } in samples {
            // The format has no time before 1970.
            match (u64::try_from(*time_ns), value) {
                (Ok(time_ns), Some(value)) => self.sample(vehicle, signal, value, time_ns)?,
                _ => self.summary.skipped += 1,
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.end()
    }
}

impl<W: Write> Tracks for Mcap<W> {
    fn begin(&mut self, track: &Track) -> Result<(), ExportError> {
        self.track = Some((track.clone(), false));
        self.segments = Segments::default();
        Ok(())
    }

    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError> {
        let Some((track, mut begun)) = self.track.take() else { return Err(ExportError::NoTrack) };
        for position in positions {
            match (position.checked(), u64::try_from(position.time_ns)) {
                (Some(position), Ok(time_ns)) => {
                    self.fix(&track.vehicle, &position, time_ns)?;
                    self.summary.segments += u64::from(self.segments.begins(&position));
                    self.summary.tracks += u64::from(!std::mem::replace(&mut begun, true));
                }
                _ => self.summary.skipped += 1,
            }
        }
        self.track = Some((track, begun));
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.end()
    }
}
