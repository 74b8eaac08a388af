//! GPX 1.1 (<https://www.topografix.com/GPX/1/1/>), with speed and course in Garmin's TrackPointExtension v2.

use std::io::Write;

use crate::Tracks;
use crate::error::ExportError;
use crate::model::{Position, Summary, Track};
use crate::text::{degrees, iso_8601, number, plain, xml};
use crate::track::Segments;

/// Metres per second in a km/h.
const MS_PER_KMH: f64 = 1.0 / 3.6;

/// A track is a `trk`, an unbroken part of it a `trkseg`.
pub struct Gpx<W: Write> {
    out: W,
    /// Begun, and whether anything of it stands in the file.
    track: Option<(Track, bool)>,
    segments: Segments,
    summary: Summary,
}

impl<W: Write> Gpx<W> {
    /// Begins a file.
    ///
    /// # Errors
    /// When the output cannot be written.
    pub fn new(mut out: W, title: &str) -> Result<Self, ExportError> {
        write!(
            out,
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <gpx version=\"1.1\" creator=\"Remuda\" xmlns=\"http://www.topografix.com/GPX/1/1\" \
             xmlns:gpxtpx=\"http://www.garmin.com/xmlschemas/TrackPointExtension/v2\">\n\
             <metadata><name>{}</name></metadata>\n",
            xml(title)
        )?;
        Ok(Self { out, track: None, segments: Segments::default(), summary: Summary::default() })
    }

    fn end_track(&mut self) -> Result<(), ExportError> {
        if let Some((_, true)) = self.track.take() {
            self.out.write_all(b"</trkseg></trk>\n")?;
        }
        self.segments = Segments::default();
        Ok(())
    }

    fn point(&mut self, position: &Position) -> Result<(), ExportError> {
        let Some((track, written)) = &mut self.track else { return Err(ExportError::NoTrack) };
        let begins = self.segments.begins(position);
        if !*written {
            *written = true;
            self.summary.tracks += 1;
            let known: Vec<String> =
                track.properties.iter().map(|(name, value)| format!("{name}: {}", plain(value))).collect();
            write!(self.out, "<trk><name>{}</name>", xml(&track.name))?;
            if !known.is_empty() {
                write!(self.out, "<desc>{}</desc>", xml(&known.join("; ")))?;
            }
            self.out.write_all(b"\n<trkseg>\n")?;
        } else if begins {
            self.out.write_all(b"</trkseg>\n<trkseg>\n")?;
        }
        self.summary.segments += u64::from(begins);
        self.summary.records += 1;
        // The schema's longitudes end below 180.
        let longitude = match degrees(position.longitude).as_str() {
            "180" => "-180".to_owned(),
            other => other.to_owned(),
        };
        write!(self.out, "<trkpt lat=\"{}\" lon=\"{longitude}\">", degrees(position.latitude))?;
        if let Some(altitude) = position.altitude_m.and_then(|m| number(m, Some(2))) {
            write!(self.out, "<ele>{altitude}</ele>")?;
        }
        write!(self.out, "<time>{}</time>", iso_8601(position.time_ns))?;
        let speed = position.speed_kmh.and_then(|v| number(v * MS_PER_KMH, Some(3)));
        // Below 360 also after rounding.
        let course = position.heading_deg.and_then(|v| number(v, Some(1)));
        let course = course.map(|c| if c == "360" { "0".to_owned() } else { c });
        if speed.is_some() || course.is_some() {
            self.out.write_all(b"<extensions><gpxtpx:TrackPointExtension>")?;
            if let Some(speed) = speed {
                write!(self.out, "<gpxtpx:speed>{speed}</gpxtpx:speed>")?;
            }
            if let Some(course) = course {
                write!(self.out, "<gpxtpx:course>{course}</gpxtpx:course>")?;
            }
            self.out.write_all(b"</gpxtpx:TrackPointExtension></extensions>")?;
        }
        self.out.write_all(b"</trkpt>\n")?;
        Ok(())
    }
}

impl<W: Write> Tracks for Gpx<W> {
    fn begin(&mut self, track: &Track) -> Result<(), ExportError> {
        self.end_track()?;
        self.track = Some((track.clone(), false));
        Ok(())
    }

    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError> {
        for position in positions {
            match position.checked() {
                Some(position) => self.point(&position)?,
                None => self.summary.skipped += 1,
            }
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<Summary, ExportError> {
        self.end_track()?;
        self.out.write_all(b"</gpx>\n")?;
        self.out.flush()?;
        Ok(self.summary)
    }
}
