//! What can go wrong.

use std::io;

/// Why an export failed.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The output did not take it.
    #[error("cannot write the export: {0}")]
    Write(#[from] io::Error),
    /// Positions before any track.
    #[error("positions were given before a track was begun")]
    NoTrack,
    /// A row with another number of values than there are columns.
    #[error("a row has {got} values for {columns} columns")]
    Columns {
        /// Columns of the file.
        columns: usize,
        /// Values of the row.
        got: usize,
    },
    /// A signal that is a number here and a text there.
    #[error("{signal} of {vehicle} changed its type inside the export; export it in CSV, or in parts")]
    Type {
        /// Whose.
        vehicle: String,
        /// Which.
        signal: String,
    },
    /// More channels than the format can number.
    #[error("MCAP holds at most 65,535 channels, one for each signal of each vehicle; choose fewer of them")]
    Channels,
    /// The MCAP writer's own.
    #[error("cannot write MCAP: {0}")]
    Mcap(#[source] mcap::McapError),
    /// The Parquet writer's own.
    #[error("cannot write Parquet: {0}")]
    Parquet(#[from] parquet::errors::ParquetError),
}

impl From<mcap::McapError> for ExportError {
    fn from(error: mcap::McapError) -> Self {
        match error {
            mcap::McapError::Io(error) => Self::Write(error),
            mcap::McapError::TooManyChannels => Self::Channels,
            other => Self::Mcap(other),
        }
    }
}

impl From<csv::Error> for ExportError {
    fn from(error: csv::Error) -> Self {
        match error.into_kind() {
            csv::ErrorKind::Io(error) => Self::Write(error),
            other => Self::Write(io::Error::other(format!("{other:?}"))),
        }
    }
}

impl From<serde_json::Error> for ExportError {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}
