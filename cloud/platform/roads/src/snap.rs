//! From a position to the road.

use rstar::primitives::{GeomWithData, Line};
use rstar::{AABB, PointDistance, RTree};

use crate::geometry::Plane;
use crate::network::{Edge, EdgeId, RoadNetwork, Vertex};

/// The nearest place on an edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Snap {
    /// Which edge.
    pub edge: EdgeId,
    /// Distance from its start, m.
    pub offset_m: f64,
    /// Distance from the position asked for, m.
    pub distance_m: f64,
}

type Segment = GeomWithData<Line<[f64; 2]>, (EdgeId, u32)>;

/// Straight pieces of roads in a tree; of a two-way road only the edge with the lower number.
pub(crate) struct SnapIndex {
    tree: RTree<Segment>,
}

impl SnapIndex {
    pub(crate) fn build(edges: &[Edge], vertices: &[Vertex], plane: Plane) -> Self {
        let mut segments = Vec::new();
        for edge in edges.iter().filter(|e| e.reverse.is_none_or(|r| e.id < r)) {
            let line = &vertices[edge.vertices.0 as usize..edge.vertices.1 as usize];
            for (at, pair) in line.windows(2).enumerate() {
                let [a, b] = [&pair[0], &pair[1]].map(|v| plane.project(v.latitude, v.longitude));
                segments.push(Segment::new(Line::new(a, b), (edge.id, at as u32)));
            }
        }
        Self { tree: RTree::bulk_load(segments) }
    }

    pub(crate) fn nearest(&self, network: &RoadNetwork, latitude: f64, longitude: f64) -> Snap {
        let point = network.plane.project(latitude, longitude);
        let mut nearest = self.tree.nearest_neighbor_iter_with_distance_2(point);
        // A network has edges, and an edge has at least one straight piece.
        let (first, least) = nearest.next().expect("a network has roads");
        // At a junction several are equally near: the lowest number, so that the answer is always the same.
        let tied = nearest.take_while(|(_, distance)| *distance <= least).map(|(segment, _)| segment);
        let chosen = tied.chain([first]).min_by_key(|segment| segment.data).unwrap_or(first);
        snapped(network, chosen, point)
    }

    pub(crate) fn within(
        &self,
        network: &RoadNetwork,
        latitude: f64,
        longitude: f64,
        radius_m: f64,
    ) -> Vec<Snap> {
        let point = network.plane.project(latitude, longitude);
        let corners = [point.map(|v| v - radius_m), point.map(|v| v + radius_m)];
        let envelope = AABB::from_corners(corners[0], corners[1]);
        let mut snaps: Vec<Snap> = self
            .tree
            .locate_in_envelope_intersecting(envelope)
            .map(|segment| snapped(network, segment, point))
            .filter(|snap| snap.distance_m <= radius_m)
            .collect();
        let order = |a: &Snap, b: &Snap| a.edge.cmp(&b.edge).then(a.distance_m.total_cmp(&b.distance_m));
        snaps.sort_by(order);
        snaps.dedup_by_key(|snap| snap.edge);
        let back: Vec<Snap> = snaps.iter().filter_map(|snap| reversed(network, snap)).collect();
        snaps.extend(back);
        snaps.sort_by(|a, b| a.distance_m.total_cmp(&b.distance_m).then(a.edge.cmp(&b.edge)));
        snaps
    }
}

fn reversed(network: &RoadNetwork, snap: &Snap) -> Option<Snap> {
    let edge = network.edge(snap.edge);
    let reverse = edge.reverse?;
    Some(Snap { edge: reverse, offset_m: (edge.length_m - snap.offset_m).max(0.0), ..*snap })
}

fn snapped(network: &RoadNetwork, segment: &Segment, point: [f64; 2]) -> Snap {
    let (edge, at) = segment.data;
    let line = network.vertices(edge);
    let (a, b) = (&line[at as usize], &line[at as usize + 1]);
    let (from, to) = (segment.geom().from, segment.geom().to);
    let run = [to[0] - from[0], to[1] - from[1]];
    let length_2 = run[0] * run[0] + run[1] * run[1];
    let dot = (point[0] - from[0]) * run[0] + (point[1] - from[1]) * run[1];
    let share = if length_2 > 0.0 { (dot / length_2).clamp(0.0, 1.0) } else { 0.0 };
    Snap {
        edge,
        offset_m: a.along_m + (b.along_m - a.along_m) * share,
        distance_m: segment.geom().distance_2(&point).sqrt(),
    }
}
