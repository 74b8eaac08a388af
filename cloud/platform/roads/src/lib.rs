//! Road networks: reading OpenStreetMap, generating, snapping, routing, drawing.
//!
//! Owns: which ways a car may use, in which direction and how fast; turns that are permitted; the network in which
//! every edge can be reached from every other. A leaf: it knows nothing of vehicles, the cloud or time.
//!
//! Deliberately absent, and therefore ignored in a map: turn restrictions via ways, conditional restrictions and
//! limits (`:conditional`), lanes, elevation, toll, time-dependent directions (`oneway=reversible` is not driven).
//! A map's units (km/h or mph) are taken from its own `maxspeed` tags, since an extract does not name its country.

mod error;
mod generate;
mod geojson;
mod geometry;
mod graph;
pub mod limits;
mod network;
mod raw;
mod read;
mod route;
mod snap;
mod tags;

pub use error::MapError;
pub use geometry::{Bounds, Position, haversine_m};
pub use network::{Direction, Edge, EdgeId, MapCounts, RoadNetwork, Turn, Vertex};
pub use route::{Place, Route, Router};
pub use snap::Snap;
pub use tags::RoadClass;

/// What has to be shown wherever a map made from OpenStreetMap is shown (ODbL 1.0, section 4.3).
pub const OSM_ATTRIBUTION: &str = "© OpenStreetMap contributors, ODbL 1.0 (openstreetmap.org/copyright)";
