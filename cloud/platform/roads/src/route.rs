//! Quickest ways, by contraction hierarchy over turns (an edge of the road is a node of the hierarchy), so that turn
//! restrictions and the time lost at junctions count.

use fast_paths::{FastGraph, InputGraph, PathCalculator};

use crate::network::{EdgeId, RoadNetwork, Turn};

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

/// Finds ways, reusing its memory.
pub struct Router {
    calculator: PathCalculator,
}

impl std::fmt::Debug for Router {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Router")
    }
}

pub(crate) fn prepare(edges: usize, turn_starts: &[u32], turns: &[Turn]) -> FastGraph {
    let mut input = InputGraph::new();
    for from in 0..edges {
        for turn in &turns[turn_starts[from] as usize..turn_starts[from + 1] as usize] {
            // A loop leads from an edge onto itself; no quickest way uses it but the one that starts there.
            if turn.to.index() != from {
                input.add_edge(from, turn.to.index(), turn.cost_ms as usize);
            }
        }
    }
    input.freeze();
    fast_paths::prepare(&input)
}

impl Router {
    /// A router for this network, and for no other.
    pub fn new(network: &RoadNetwork) -> Self {
        Self { calculator: fast_paths::create_calculator(&network.hierarchy) }
    }

    /// The quickest permitted way between two places.
    pub fn route(&mut self, network: &RoadNetwork, from: Place, to: Place) -> Route {
        let (first, last) = (network.edge(from.edge), network.edge(to.edge));
        let start_offset_m = from.offset_m.clamp(0.0, first.length_m);
        let end_offset_m = to.offset_m.clamp(0.0, last.length_m);
        let mut edges = vec![from.edge];
        let mut cost = 0;
        if from.edge != to.edge || end_offset_m < start_offset_m {
            let starts: Vec<(usize, usize)> =
                network.turns(from.edge).iter().map(|t| (t.to.index(), t.cost_ms as usize)).collect();
            let ends = vec![(to.edge.index(), 0)];
            let path = self.calculator.calc_path_multiple_sources_and_targets(&network.hierarchy, starts, ends);
            // Every edge of a network can be reached from every other: that is how it was cut.
            let path = path.expect("the network is strongly connected");
            cost = path.get_weight() as u64;
            edges.extend(path.get_nodes().iter().map(|n| EdgeId(*n as u32)));
        }
        let whole: f64 = edges.iter().map(|e| network.edge(*e).length_m).sum();
        let length_m = (whole - start_offset_m - (last.length_m - end_offset_m)).max(0.0);
        let ahead = |time_ms: u32, share: f64| (f64::from(time_ms) * share).round() as u64;
        let not_driven = ahead(last.time_ms, 1.0 - end_offset_m / last.length_m);
        let on_first = ahead(first.time_ms, 1.0 - start_offset_m / first.length_m);
        let time_ms = (on_first + cost).saturating_sub(not_driven);
        Route { edges, start_offset_m, end_offset_m, length_m, time_ms }
    }
}
