//! KML 2.2 (OGC 07-147r2) with Google's `gx:Track` (<https://developers.google.com/kml/documentation/kmlreference#gxtrack>).

use std::io::Write;

use crate::Tracks;
use crate::error::ExportError;
use crate::limits::POSITIONS_HELD_MAX;
use crate::model::{Position, Summary, Track};
use crate::text::{degrees, iso_8601, number, plain, xml};
use crate::track::Segments;

/// What each position may say besides where it is: a name, how it is shown, and the value.
type Field = (&'static str, &'static str, fn(&Position) -> Option<f64>);
const FIELDS: &[Field] = &[
    ("speed_kmh", "Speed (km/h)", |p| p.speed_kmh),
    ("heading_deg", "Heading (degrees)", |p| p.heading_deg),
    ("accuracy_m", "Accuracy (m)", |p| p.accuracy_m),
];

/// A track is a `Placemark`, an unbroken part of it a `gx:Track`. The format wants all times of a part before its coordinates,
/// so a part is held until it ends; one longer than [`POSITIONS_HELD_MAX`] goes on in a further `gx:Track`.
pub struct Kml<W: Write> {
    out: W,
    /// Begun, and whether anything of it stands in the file.
    track: Option<(Track, bool)>,
    segments: Segments,
    held: Vec<Position>,
    summary: Summary,
}

impl<W: Write> Kml<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(mut out: W, title: &str) -> Result<Self, ExportError> {
        write!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <kml xmlns=\"http://www.opengis.net/kml/2.2\" xmlns:gx=\"http://www.google.com/kml/ext/2.2\">\n\
             <Document><name>{}</name>\n<Schema id=\"position\">",
            xml(title)
        )?;
        for (name, shown, _) in FIELDS {
            write!(
                out,
                "<gx:SimpleArrayField name=\"{name}\" type=\"float\"><displayName>{shown}</displayName></gx:SimpleArrayField>"
            )?;
        }
        out.write_all(b"</Schema>\n")?;
        let (segments, held, summary) = (Segments::default(), Vec::new(), Summary::default());
        Ok(Self { out, track: None, segments, held, summary })
    }

    fn end_track(&mut self) -> Result<(), ExportError> {
        self.flush()?;
        if let Some((_, true)) = self.track.take() {
            self.out.write_all(b"</gx:MultiTrack></Placemark>\n")?;
        }
        self.segments = Segments::default();
        Ok(())
    }

    /// Writes the part that is held.
    fn flush(&mut self) -> Result<(), ExportError> {
        let held = std::mem::take(&mut self.held);
        if held.is_empty() {
            return Ok(());
        }
        let Some((track, written)) = &mut self.track else { return Err(ExportError::NoTrack) };
        if !*written {
            *written = true;
            self.summary.tracks += 1;
            write!(self.out, "<Placemark><name>{}</name><ExtendedData>", xml(&track.name))?;
            let vehicle = serde_json::Value::from(track.vehicle.as_str());
            let vehicle = ("vehicle".to_owned(), vehicle);
            for (name, value) in std::iter::once(&vehicle).chain(&track.properties) {
                let (name, value) = (xml(name), xml(&plain(value)));
                write!(self.out, "<Data name=\"{name}\"><value>{value}</value></Data>")?;
            }
            self.out.write_all(b"</ExtendedData><gx:MultiTrack>\n")?;
        }
        self.out.write_all(b"<gx:Track>\n")?;
        for position in &held {
            writeln!(self.out, "<when>{}</when>", iso_8601(position.time_ns))?;
        }
        for position in &held {
            let altitude = position.altitude_m.and_then(|m| number(m, Some(2)));
            let (longitude, latitude) = (degrees(position.longitude), degrees(position.latitude));
            writeln!(
                self.out,
                "<gx:coord>{longitude} {latitude} {}</gx:coord>",
                altitude.as_deref().unwrap_or("0")
            )?;
        }
        self.fields(&held)?;
        self.out.write_all(b"</gx:Track>\n")?;
        self.summary.segments += 1;
        self.summary.records += held.len() as u64;
        self.held = held;
        self.held.clear();
        Ok(())
    }

    fn fields(&mut self, held: &[Position]) -> Result<(), ExportError> {
        let known: Vec<&Field> =
            FIELDS.iter().filter(|(_, _, of)| held.iter().any(|p| of(p).is_some())).collect();
        if known.is_empty() {
            return Ok(());
        }
        self.out.write_all(b"<ExtendedData><SchemaData schemaUrl=\"#position\">\n")?;
        for (name, _, of) in known {
            write!(self.out, "<gx:SimpleArrayData name=\"{name}\">")?;
            for position in held {
                // A place for each position, empty where nothing is known.
                let value = of(position).and_then(|v| number(v, Some(2))).unwrap_or_default();
                write!(self.out, "<gx:value>{value}</gx:value>")?;
            }
            self.out.write_all(b"</gx:SimpleArrayData>\n")?;
        }
        self.out.write_all(b"</SchemaData></ExtendedData>\n")?;
        Ok(())
    }
}

impl<W: Write> Tracks for Kml<W> {
    fn begin(&mut self, track: &Track) -> Result<(), ExportError> {
        self.end_track()?;
        self.track = Some((track.clone(), false));
        Ok(())
    }

    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError> {
        for position in positions {
            let Some(position) = position.checked() else {
                self.summary.skipped += 1;
                continue;
            };
            if self.track.is_none() {
                return Err(ExportError::NoTrack);
            }
            if self.segments.begins(&position) || self.held.len() == POSITIONS_HELD_MAX {
                self.flush()?;
            }
            self.held.push(position);
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.end_track()?;
        self.out.write_all(b"</Document></kml>\n")?;
        self.out.flush()?;
        Ok(self.summary)
    }
}
