//! The network: directed edges, the turns between them, and what can be asked of them.

use std::path::Path;

use crate::error::MapError;
use crate::geometry::{Bounds, Plane, Position, heading};
use crate::raw::RawMap;
use crate::route::{Guide, Place, Route, Router};
use crate::snap::{Snap, SnapIndex};
use crate::tags::RoadClass;
use crate::{generate, geojson, graph, read};

/// A directed edge's number, from 0 without gaps; the same for the same map, in every process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
pub struct EdgeId(pub(crate) u32);

impl EdgeId {
    /// Its place in [`RoadNetwork::edges`].
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Whether something moves as an edge runs or the other way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the edge's first vertex to its last.
    Along,
    /// From its last to its first.
    Against,
}

/// A corner of an edge's geometry.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vertex {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
    /// Distance from the edge's start, m.
    pub along_m: f64,
}

/// A piece of road between two junctions, in one direction.
#[derive(Debug, Clone, PartialEq)]
pub struct Edge {
    /// Its number.
    pub id: EdgeId,
    /// The OpenStreetMap way it is part of (generated networks number their own).
    pub way: i64,
    /// Junction where it starts.
    pub from: u32,
    /// Junction where it ends.
    pub to: u32,
    /// How important the road is.
    pub class: RoadClass,
    /// Limit in this direction, km/h.
    pub limit_kmh: f64,
    /// Length, m.
    pub length_m: f64,
    /// The same piece in the other direction, where that is permitted.
    pub reverse: Option<EdgeId>,
    /// Part of a roundabout.
    pub roundabout: bool,
    /// A traffic signal stands at its end.
    pub signal_at_end: bool,
    /// Time at the limit, ms, rounded up.
    pub time_ms: u32,
    pub(crate) name: Option<u32>,
    pub(crate) vertices: (u32, u32),
}

/// A permitted way on from an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Turn {
    /// The next edge.
    pub to: EdgeId,
    /// What choosing it costs: the time on it and the time lost at the junction, ms.
    pub cost_ms: u32,
    /// Back where one came from, at the end of a road.
    pub back: bool,
}

/// What was found in a map, beside what became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct MapCounts {
    /// Ways of a class that cars use, also private and closed ones.
    pub road_ways: usize,
    /// Of these, the ones a car may use.
    pub drivable_ways: usize,
    /// Turn restrictions in the file.
    pub restrictions: usize,
    /// Of these, the ones that forbid a turn in the network (not: for other vehicles, via ways, beyond the map).
    pub restrictions_applied: usize,
    /// Traffic signals in the file.
    pub signals: usize,
    /// Of these, the ones on roads of the network.
    pub signals_on_roads: usize,
    /// Directed edges of drivable ways.
    pub edges_found: usize,
    /// Of these, the ones in the network: from each, every other can be reached.
    pub edges: usize,
}

/// Roads on which one can drive from everywhere to everywhere.
pub struct RoadNetwork {
    pub(crate) edges: Vec<Edge>,
    pub(crate) vertices: Vec<Vertex>,
    pub(crate) turn_starts: Vec<u32>,
    pub(crate) turns: Vec<Turn>,
    pub(crate) names: Vec<String>,
    pub(crate) counts: MapCounts,
    pub(crate) bounds: Bounds,
    pub(crate) guide: Guide,
    pub(crate) snap_index: SnapIndex,
    pub(crate) plane: Plane,
    pub(crate) junctions: u32,
    pub(crate) attribution: &'static str,
}

impl std::fmt::Debug for RoadNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RoadNetwork").field("counts", &self.counts).field("bounds", &self.bounds).finish()
    }
}

impl RoadNetwork {
    /// Reads an OpenStreetMap extract: PBF or XML, plain or in gzip.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, MapError> {
        let path = path.as_ref();
        Self::build(read::read(path)?, &path.display().to_string())
    }

    /// Makes up a small town: the same for the same seed, for ever within a release.
    pub fn generate(seed: u64) -> Result<Self, MapError> {
        Self::build(generate::town(seed), &format!("of the town generated from seed {seed}"))
    }

    pub(crate) fn build(map: RawMap, name: &str) -> Result<Self, MapError> {
        graph::build(map, name)
    }

    /// Every directed edge, by its number.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// One edge.
    pub fn edge(&self, id: EdgeId) -> &Edge {
        &self.edges[id.index()]
    }

    /// The edge at this place of [`Self::edges`].
    pub fn edge_at(&self, index: usize) -> Option<EdgeId> {
        self.edges.get(index).map(|edge| edge.id)
    }

    /// How many junctions (and other ends of edges) there are; `Edge::from` and `Edge::to` are below it.
    pub fn junctions(&self) -> usize {
        self.junctions as usize
    }

    /// The line an edge follows, at least two vertices.
    pub fn vertices(&self, id: EdgeId) -> &[Vertex] {
        let (start, end) = self.edge(id).vertices;
        &self.vertices[start as usize..end as usize]
    }

    /// The street's name, or its number.
    pub fn name(&self, id: EdgeId) -> Option<&str> {
        self.edge(id).name.map(|n| self.names[n as usize].as_str())
    }

    /// Where one may go on from an edge's end; never empty.
    pub fn turns(&self, from: EdgeId) -> &[Turn] {
        let range = self.turn_starts[from.index()] as usize..self.turn_starts[from.index() + 1] as usize;
        &self.turns[range]
    }

    /// The turn from one edge onto another, when it is permitted.
    pub fn turn(&self, from: EdgeId, to: EdgeId) -> Option<Turn> {
        self.turns(from).iter().find(|turn| turn.to == to).copied()
    }

    /// Whether one may drive an edge's piece of road in this direction.
    pub fn is_allowed(&self, id: EdgeId, direction: Direction) -> bool {
        match direction {
            Direction::Along => true,
            Direction::Against => self.edge(id).reverse.is_some(),
        }
    }

    /// The limit on an edge, km/h.
    pub fn limit_kmh(&self, id: EdgeId) -> f64 {
        self.edge(id).limit_kmh
    }

    /// The place `offset_m` from an edge's start, and where the road points there.
    pub fn position(&self, id: EdgeId, offset_m: f64) -> Position {
        let vertices = self.vertices(id);
        let after = vertices.partition_point(|v| v.along_m <= offset_m).clamp(1, vertices.len() - 1);
        let (a, b) = (&vertices[after - 1], &vertices[after]);
        let share = ((offset_m - a.along_m) / (b.along_m - a.along_m)).clamp(0.0, 1.0);
        Position {
            latitude: a.latitude + (b.latitude - a.latitude) * share,
            longitude: a.longitude + (b.longitude - a.longitude) * share,
            heading: heading((a.latitude, a.longitude), (b.latitude, b.longitude)),
        }
    }

    /// The nearest place on a road. On a two-way road the edge with the lower number stands for both.
    pub fn snap(&self, latitude: f64, longitude: f64) -> Snap {
        self.snap_index.nearest(self, latitude, longitude)
    }

    /// Every edge within `radius_m`, both directions of two-way roads, nearest first, then by number.
    pub fn snap_within(&self, latitude: f64, longitude: f64, radius_m: f64) -> Vec<Snap> {
        self.snap_index.within(self, latitude, longitude, radius_m)
    }

    /// The quickest permitted way between two places. Everything is reachable, so there is always one.
    ///
    /// Whoever asks often keeps a [`Router`], which reuses its memory.
    pub fn route(&self, from: Place, to: Place) -> Route {
        Router::new().route(self, from, to)
    }

    /// The box that holds every road.
    pub fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// What was found in the map.
    pub fn counts(&self) -> MapCounts {
        self.counts
    }

    /// Length of all roads, m, a two-way road counted once.
    pub fn length_m(&self) -> f64 {
        let once = self.edges.iter().filter(|e| e.reverse.is_none_or(|r| e.id < r));
        once.map(|e| e.length_m).sum()
    }

    /// What has to be shown beside the roads; empty for a generated town.
    pub fn attribution(&self) -> &'static str {
        self.attribution
    }

    /// The roads as a GeoJSON FeatureCollection: one LineString per run of a way, with `class`, `name`, `oneway`.
    pub fn geojson(&self) -> String {
        geojson::write(self)
    }
}
