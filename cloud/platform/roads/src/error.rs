//! Why a map cannot be used, each in one sentence that says what to do.

use std::io;
use std::path::PathBuf;

use crate::limits::EDGES_MAX;

/// Why a map cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// The file cannot be opened or read.
    #[error("cannot read the map {}: {source}; check that the file exists and may be read", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The content is not OpenStreetMap data.
    #[error("{} is not an OpenStreetMap file; give an extract as .osm.pbf, .osm or .osm.gz", path.display())]
    NotOsm {
        /// Which file.
        path: PathBuf,
    },
    /// It begins like a map, but the rest does not decode.
    #[error("the map {} is damaged ({detail}); download it or cut the extract again", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What the decoder said.
        detail: String,
    },
    /// Nothing in it can be driven.
    #[error("the map {name} has no roads on which a car can drive around; give an extract that has streets")]
    NoRoads {
        /// File or generator.
        name: String,
    },
    /// More than this machine should be asked to prepare.
    #[error("the map {name} has more than {EDGES_MAX} road edges; cut a smaller extract, such as one city")]
    TooLarge {
        /// File or generator.
        name: String,
    },
}
