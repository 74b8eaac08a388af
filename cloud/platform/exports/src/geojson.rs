//! GeoJSON, RFC 7946: a FeatureCollection, coordinates in the order longitude, latitude, altitude.

use std::io::Write;

use serde_json::{Map, Value as Json, json};

use crate::Tracks;
use crate::error::ExportError;
use crate::limits::POSITIONS_HELD_MAX;
use crate::model::{Position, Summary, Track};
use crate::text::{iso_8601, rounded};
use crate::track::{Segments, split_at_antimeridian};

/// Features of a collection, one a line.
struct Collection<W: Write> {
    out: W,
    features: u64,
}

impl<W: Write> Collection<W> {
    fn new(mut out: W) -> Result<Self, ExportError> {
        out.write_all(b"{\"type\":\"FeatureCollection\",\"features\":[")?;
        Ok(Self { out, features: 0 })
    }

    fn feature(&mut self, geometry: &Json, properties: &Map<String, Json>) -> Result<(), ExportError> {
        self.out.write_all(if self.features == 0 { b"\n" } else { b",\n" })?;
        let feature = json!({ "type": "Feature", "geometry": geometry, "properties": properties });
        serde_json::to_writer(&mut self.out, &feature)?;
        self.features += 1;
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ExportError> {
        self.out.write_all(b"\n]}\n")?;
        self.out.flush()?;
        Ok(())
    }
}

fn coordinates(position: &Position, altitude: bool) -> Json {
    // What is checked is finite.
    let degrees = |value| rounded(value, Some(7)).unwrap_or_default();
    let (longitude, latitude) = (degrees(position.longitude), degrees(position.latitude));
    match position.altitude_m.filter(|_| altitude) {
        Some(metres) => json!([longitude, latitude, rounded(metres, Some(2))]),
        None => json!([longitude, latitude]),
    }
}

fn put(properties: &mut Map<String, Json>, name: &str, value: Option<f64>, decimals: u8) {
    if let Some(value) = value.and_then(|v| rounded(v, Some(decimals))) {
        properties.insert(name.to_owned(), value.into());
    }
}

/// Each position a Point with its time, speed, heading and accuracy.
pub struct GeoJsonPoints<W: Write> {
    collection: Collection<W>,
    track: Option<Track>,
    begun: bool,
    segments: Segments,
    summary: Summary,
}

impl<W: Write> GeoJsonPoints<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let collection = Collection::new(out)?;
        let (segments, summary) = (Segments::default(), Summary::default());
        Ok(Self { collection, track: None, begun: false, segments, summary })
    }
}

impl<W: Write> Tracks for GeoJsonPoints<W> {
    fn begin(&mut self, track: &Track) -> Result<(), ExportError> {
        self.track = Some(track.clone());
        self.begun = false;
        self.segments = Segments::default();
        Ok(())
    }

    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError> {
        let track = self.track.as_ref().ok_or(ExportError::NoTrack)?;
        for position in positions {
            let Some(position) = position.checked() else {
                self.summary.skipped += 1;
                continue;
            };
            let mut properties = Map::new();
            properties.insert("vehicle".to_owned(), track.vehicle.as_str().into());
            properties.insert("time".to_owned(), iso_8601(position.time_ns).into());
            put(&mut properties, "speed_kmh", position.speed_kmh, 2);
            put(&mut properties, "heading_deg", position.heading_deg, 1);
            put(&mut properties, "accuracy_m", position.accuracy_m, 2);
            properties.extend(track.properties.iter().cloned());
            let geometry = json!({ "type": "Point", "coordinates": coordinates(&position, true) });
            self.collection.feature(&geometry, &properties)?;
            self.summary.records += 1;
            self.summary.segments += u64::from(self.segments.begins(&position));
            self.summary.tracks += u64::from(!std::mem::replace(&mut self.begun, true));
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.collection.finish()?;
        Ok(self.summary)
    }
}

/// Each track a LineString; a MultiLineString where it has gaps or crosses the antimeridian. The times stand in
/// `coordinateProperties.times`, in the shape of the coordinates. A position alone between two gaps is a Point of its own: a
/// line needs two. A track longer than [`POSITIONS_HELD_MAX`] goes on in a further feature, numbered by `part`.
pub struct GeoJsonLines<W: Write> {
    collection: Collection<W>,
    track: Option<Track>,
    /// Features of the track so far.
    parts: u64,
    segments: Segments,
    /// Unbroken parts that are held.
    lines: Vec<Vec<Position>>,
    held: usize,
    summary: Summary,
}

impl<W: Write> GeoJsonLines<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(out: W) -> Result<Self, ExportError> {
        let collection = Collection::new(out)?;
        let (segments, summary) = (Segments::default(), Summary::default());
        Ok(Self { collection, track: None, parts: 0, segments, lines: Vec::new(), held: 0, summary })
    }

    /// Writes what is held; `more` says that the track goes on.
    fn flush(&mut self, more: bool) -> Result<(), ExportError> {
        if self.held == 0 {
            return Ok(());
        }
        let track = self.track.as_ref().ok_or(ExportError::NoTrack)?;
        self.held = 0;
        self.summary.tracks += u64::from(self.parts == 0);
        let (lines, alone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.lines)
            .into_iter()
            .flat_map(split_at_antimeridian)
            .partition(|line| line.len() > 1);
        let mut properties = Map::new();
        properties.insert("vehicle".to_owned(), track.vehicle.as_str().into());
        properties.insert("name".to_owned(), track.name.as_str().into());
        properties.extend(track.properties.iter().cloned());
        if more || self.parts > 0 {
            self.parts += 1;
            properties.insert("part".to_owned(), self.parts.into());
        }
        if !lines.is_empty() {
            let mut properties = properties.clone();
            let geometry = line_geometry(&lines, &mut properties);
            self.collection.feature(&geometry, &properties)?;
        }
        for position in alone.iter().flatten() {
            properties.insert("time".to_owned(), iso_8601(position.time_ns).into());
            let geometry = json!({ "type": "Point", "coordinates": coordinates(position, true) });
            self.collection.feature(&geometry, &properties)?;
        }
        self.parts = self.parts.max(1);
        Ok(())
    }

    fn end_track(&mut self) -> Result<(), ExportError> {
        self.flush(false)?;
        self.parts = 0;
        self.segments = Segments::default();
        Ok(())
    }
}

fn line_geometry(lines: &[Vec<Position>], properties: &mut Map<String, Json>) -> Json {
    // Readers expect all positions of a geometry to have the same number of elements.
    let altitude = lines.iter().flatten().all(|p| p.altitude_m.is_some());
    let of = |line: &Vec<Position>, what: &dyn Fn(&Position) -> Json| line.iter().map(what).collect::<Json>();
    let all = |what: &dyn Fn(&Position) -> Json| match lines {
        [line] => of(line, what),
        lines => lines.iter().map(|line| of(line, what)).collect(),
    };
    let times = all(&|p| iso_8601(p.time_ns).into());
    if let (Some(first), Some(last)) =
        (lines.first().and_then(|l| l.first()), lines.last().and_then(|l| l.last()))
    {
        properties.entry("begin").or_insert_with(|| iso_8601(first.time_ns).into());
        properties.entry("end").or_insert_with(|| iso_8601(last.time_ns).into());
    }
    properties.insert("coordinateProperties".to_owned(), json!({ "times": times }));
    let kind = if lines.len() == 1 { "LineString" } else { "MultiLineString" };
    json!({ "type": kind, "coordinates": all(&|p| coordinates(p, altitude)) })
}

impl<W: Write> Tracks for GeoJsonLines<W> {
    fn begin(&mut self, track: &Track) -> Result<(), ExportError> {
        self.end_track()?;
        self.track = Some(track.clone());
        Ok(())
    }

    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError> {
        if self.track.is_none() {
            return Err(ExportError::NoTrack);
        }
        for position in positions {
            let Some(position) = position.checked() else {
                self.summary.skipped += 1;
                continue;
            };
            if self.held == POSITIONS_HELD_MAX {
                self.flush(true)?;
            }
            let begins = self.segments.begins(&position);
            self.summary.segments += u64::from(begins);
            self.summary.records += 1;
            self.held += 1;
            match self.lines.last_mut().filter(|_| !begins) {
                Some(line) => line.push(position),
                None => self.lines.push(vec![position]),
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.end_track()?;
        self.collection.finish()?;
        Ok(self.summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64, longitude: f64, latitude: f64) -> Position {
        Position { time_ns: seconds * 1_000_000_000, latitude, longitude, ..Position::default() }
    }

    fn track() -> Track {
        Track { vehicle: "V1".into(), name: "journey 1".into(), properties: vec![("km".into(), json!(1.5))] }
    }

    fn lines(positions: &[Position]) -> (Json, Summary) {
        let mut out = Vec::new();
        let mut lines = Box::new(GeoJsonLines::new(&mut out).unwrap());
        lines.begin(&track()).unwrap();
        lines.positions(positions).unwrap();
        let summary = lines.finish().unwrap();
        (serde_json::from_slice(&out).unwrap(), summary)
    }

    #[test]
    fn a_journey_is_a_line() {
        let altitude = Position { altitude_m: Some(12.345), ..at(1, 24.123_456_78, 60.0) };
        let (json, _) = lines(&[Position { altitude_m: Some(1.0), ..at(0, 24.1, 60.1) }, altitude]);
        let feature = &json["features"][0];
        let expected =
            json!({ "type": "LineString", "coordinates": [[24.1, 60.1, 1.0], [24.123_456_8, 60.0, 12.35]] });
        assert_eq!(feature["geometry"], expected);
        assert_eq!(feature["properties"]["km"], 1.5);
        assert_eq!(feature["properties"]["begin"], "1970-01-01T00:00:00.000Z");
        assert_eq!(feature["properties"]["coordinateProperties"]["times"][1], "1970-01-01T00:00:01.000Z");
        // One altitude of two is none.
        let (json, _) = lines(&[altitude, at(2, 24.1, 60.1)]);
        assert_eq!(json["features"][0]["geometry"]["coordinates"][0], json!([24.123_456_8, 60.0]));
    }

    #[test]
    fn gaps_cut_it_and_what_is_alone_is_a_point() {
        let nowhere = Position { latitude: f64::NAN, ..at(3, 0.0, 0.0) };
        let positions = [
            at(0, 1.0, 1.0),
            at(1, 2.0, 1.0),
            nowhere,
            at(500, 3.0, 1.0),
            at(900, 4.0, 1.0),
            at(901, 5.0, 1.0),
        ];
        let (json, summary) = lines(&positions);
        let kinds: Vec<&str> = json["features"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(|f| f["geometry"]["type"].as_str())
            .collect();
        assert_eq!(kinds, ["MultiLineString", "Point"]);
        assert_eq!(
            json["features"][0]["properties"]["coordinateProperties"]["times"][1][1],
            "1970-01-01T00:15:01.000Z"
        );
        assert_eq!(json["features"][1]["geometry"]["coordinates"], json!([3.0, 1.0]));
        assert_eq!(summary, Summary { records: 5, tracks: 1, segments: 3, skipped: 1 });
        let (json, summary) = lines(&[]);
        assert_eq!((json["features"].as_array().map(Vec::len), summary), (Some(0), Summary::default()));
    }

    #[test]
    fn a_long_track_goes_on_in_a_further_feature() {
        let positions: Vec<Position> = (0..POSITIONS_HELD_MAX as i64 + 10).map(|s| at(s, 1.0, 1.0)).collect();
        let (json, summary) = lines(&positions);
        let parts: Vec<&Json> =
            json["features"].as_array().unwrap().iter().map(|f| &f["properties"]["part"]).collect();
        assert_eq!(parts, [1, 2]);
        assert_eq!((summary.tracks, summary.segments), (1, 1));
        assert_eq!(json["features"][1]["geometry"]["coordinates"].as_array().map(Vec::len), Some(10));
    }
}
