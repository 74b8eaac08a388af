//! Tracks and series in the formats other programs open: CSV, GeoJSON, GPX, KML, MCAP, Parquet.
//!
//! Owns: what a format wants (order, ranges, escaping, how a gap is said) and that a file of any length is written in bounded
//! memory, chunk by chunk, to any [`std::io::Write`]. Deliberately absent: where samples come from, the signal registry (values
//! come in physical units), files, and clocks.
//!
//! Missing values are missing in the file too; a number that is none (NaN, infinite) counts as missing. A position that cannot
//! be one is left out and counted in [`Summary::skipped`]. A track is cut where its time runs back or a gap is too long.

mod csv;
mod error;
mod geojson;
mod gpx;
mod kml;
pub mod limits;
mod mcap;
mod model;
mod parquet;
mod text;
mod track;

pub use csv::{LongCsv, WideCsv};
pub use error::ExportError;
pub use geojson::{GeoJsonLines, GeoJsonPoints};
pub use gpx::Gpx;
pub use kml::Kml;
pub use mcap::Mcap;
pub use model::{Position, Sample, Signal, Summary, Track, Value};
pub use parquet::LongParquet;
pub use text::{iso_8601, number};

/// A format for tracks. Dropping it without [`finish`](Tracks::finish) leaves a file that is not whole.
pub trait Tracks {
    /// Begins a track, and ends the one before.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn begin(&mut self, track: &Track) -> Result<(), ExportError>;

    /// Adds positions to the track, in order of time.
    ///
    /// # Errors
    /// When no track was begun, or the output cannot be written.
    fn positions(&mut self, positions: &[Position]) -> Result<(), ExportError>;

    /// Ends the file and flushes it.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finish(self: Box<Self>) -> Result<Summary, ExportError>;
}

/// A format for series of samples. Dropping it without [`finish`](Series::finish) leaves a file that is not whole.
pub trait Series {
    /// Adds samples of one signal of one vehicle, in order of time.
    ///
    /// # Errors
    /// When the output cannot be written, or the format has no place for them.
    fn samples(&mut self, vehicle: &str, signal: &Signal, samples: &[Sample]) -> Result<(), ExportError>;

    /// Ends the file and flushes it.
    ///
    /// # Errors
    /// When the output cannot be written.
    fn finish(self: Box<Self>) -> Result<Summary, ExportError>;
}
