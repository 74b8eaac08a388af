//! Quickest ways, by A* over turns (an edge of the road is a node of the search), so that turn restrictions and the
//! time lost at junctions count.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::geometry::on_globe_m;
use crate::network::{Edge, EdgeId, RoadNetwork, Vertex};

/// A place on an edge.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Place {
    /// Which edge.
    pub edge: EdgeId,
    /// Distance from its start, m.
    pub offset_m: f64,
}

/// A way to drive.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Edges in order, the first and the last driven in part.
    pub edges: Vec<EdgeId>,
    /// Where on the first edge it starts, m.
    pub start_offset_m: f64,
    /// Where on the last edge it ends, m.
    pub end_offset_m: f64,
    /// Length, m.
    pub length_m: f64,
    /// Time at the limits and with the time lost at junctions, ms.
    pub time_ms: u64,
}

/// What the search needs of the network, laid out for it.
pub(crate) struct Guide {
    /// Per edge, its end in space, m: the chord between two of them is never longer than a road.
    ends: Vec<[f64; 3]>,
    /// Time per metre on the fastest road, ms.
    least_ms_per_m: f64,
}

impl Guide {
    pub(crate) fn build(edges: &[Edge], vertices: &[Vertex]) -> Self {
        let end = |edge: &Edge| {
            let last = &vertices[edge.vertices.1 as usize - 1];
            on_globe_m(last.latitude, last.longitude)
        };
        let fastest = edges.iter().map(|e| e.limit_kmh).fold(1.0, f64::max);
        Self { ends: edges.iter().map(end).collect(), least_ms_per_m: 3_600.0 / fastest }
    }

    /// No way from the end of one edge to the end of another takes less.
    fn least_ms(&self, from: usize, to: usize) -> u64 {
        let (a, b) = (&self.ends[from], &self.ends[to]);
        let chord = a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
        // A millimetre less than computed, for what rounding may have added.
        ((chord - 1e-3).max(0.0) * self.least_ms_per_m) as u64
    }
}

#[derive(Clone, Copy, Default)]
struct Visit {
    /// The search that wrote this; others are as if never visited.
    search: u32,
    done: bool,
    came_from: u32,
    cost_ms: u64,
}

/// Finds ways, reusing its memory.
#[derive(Default)]
pub struct Router {
    visits: Vec<Visit>,
    search: u32,
    /// Estimated cost in all, then edge: equal costs are settled in the order of edges, so that the answer is
    /// always the same.
    open: BinaryHeap<Reverse<(u64, u32)>>,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

const NOWHERE: u32 = u32::MAX;

impl Router {
    /// A router without memory yet; it grows with the first network it is asked about.
    pub fn new() -> Self {
        Self::default()
    }

    /// The quickest permitted way between two places.
    pub fn route(&mut self, network: &RoadNetwork, from: Place, to: Place) -> Route {
        let (first, last) = (network.edge(from.edge), network.edge(to.edge));
        let start_offset_m = from.offset_m.clamp(0.0, first.length_m);
        let end_offset_m = to.offset_m.clamp(0.0, last.length_m);
        let mut edges = vec![from.edge];
        let mut cost = 0;
        if from.edge != to.edge || end_offset_m < start_offset_m {
            cost = self.search(network, from.edge, to.edge);
            let mut at = to.edge.0;
            while at != NOWHERE {
                edges.push(EdgeId(at));
                at = self.visits[at as usize].came_from;
            }
            edges[1..].reverse();
        }
        let whole: f64 = edges.iter().map(|e| network.edge(*e).length_m).sum();
        let length_m = (whole - start_offset_m - (last.length_m - end_offset_m)).max(0.0);
        let part = |time_ms: u32, share: f64| (f64::from(time_ms) * share).round() as u64;
        let not_driven = part(last.time_ms, 1.0 - end_offset_m / last.length_m);
        let on_first = part(first.time_ms, 1.0 - start_offset_m / first.length_m);
        let time_ms = (on_first + cost).saturating_sub(not_driven);
        Route { edges, start_offset_m, end_offset_m, length_m, time_ms }
    }

    /// Cost from the end of `from` to the end of `to`; the way is left in `visits`.
    fn search(&mut self, network: &RoadNetwork, from: EdgeId, to: EdgeId) -> u64 {
        if self.visits.len() < network.edges().len() || self.search == u32::MAX {
            self.visits = vec![Visit::default(); network.edges().len()];
            self.search = 0;
        }
        self.search += 1;
        self.open.clear();
        self.reach(network, from, NOWHERE, 0, to);
        while let Some(Reverse((_, edge))) = self.open.pop() {
            let visit = &mut self.visits[edge as usize];
            if std::mem::replace(&mut visit.done, true) {
                continue;
            }
            let cost = visit.cost_ms;
            if edge == to.0 {
                return cost;
            }
            self.reach(network, EdgeId(edge), edge, cost, to);
        }
        unreachable!("every edge of a network can be reached from every other: that is how it was cut")
    }

    fn reach(&mut self, network: &RoadNetwork, edge: EdgeId, came_from: u32, cost: u64, to: EdgeId) {
        for turn in network.turns(edge) {
            let cost_ms = cost + u64::from(turn.cost_ms);
            let visit = &mut self.visits[turn.to.index()];
            if visit.search != self.search || (!visit.done && cost_ms < visit.cost_ms) {
                *visit = Visit { search: self.search, done: false, came_from, cost_ms };
                let estimate = cost_ms + network.guide.least_ms(turn.to.index(), to.index());
                self.open.push(Reverse((estimate, turn.to.0)));
            }
        }
    }
}
