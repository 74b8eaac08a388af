//! What the suites share: a plain Dijkstra to compare with, and a check that a route is legal.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::PathBuf;

use remuda_roads::{EdgeId, Place, RoadNetwork, Route};

/// A real map, or `None` with a printed reason.
#[allow(dead_code, reason = "not every suite reads real maps")]
pub fn real_map(name: &str) -> Option<PathBuf> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../../../shared/data/osm");
    let path = PathBuf::from(root).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: ../shared/data/osm/{name} is not there");
    None
}

/// Costs from the end of `from` to the end of every edge.
pub fn dijkstra(network: &RoadNetwork, from: EdgeId) -> Vec<Option<u64>> {
    let mut best: Vec<Option<u64>> = vec![None; network.edges().len()];
    let mut heap = BinaryHeap::new();
    let push = |heap: &mut BinaryHeap<_>, edge: EdgeId, cost: u64| {
        for turn in network.turns(edge) {
            heap.push(Reverse((cost + u64::from(turn.cost_ms), turn.to)));
        }
    };
    push(&mut heap, from, 0);
    while let Some(Reverse((cost, edge))) = heap.pop() {
        if best[edge.index()].is_none() {
            best[edge.index()] = Some(cost);
            push(&mut heap, edge, cost);
        }
    }
    best
}

/// What a route costs from the end of its first edge to the end of its last; panics when a turn is not permitted.
pub fn legal_cost(network: &RoadNetwork, route: &Route) -> u64 {
    let mut cost = 0;
    for pair in route.edges.windows(2) {
        let turn = network.turn(pair[0], pair[1]).expect("a permitted turn");
        assert_eq!(network.edge(pair[0]).to, network.edge(pair[1]).from, "edges of a route meet");
        let (end, start) = (network.vertices(pair[0]).last(), network.vertices(pair[1]).first());
        assert_eq!(end.map(|v| (v.latitude, v.longitude)), start.map(|v| (v.latitude, v.longitude)));
        cost += u64::from(turn.cost_ms);
    }
    cost
}

/// Compares `pairs` random routes with Dijkstra, by cost, and checks that they are legal.
pub fn compare_with_dijkstra(network: &RoadNetwork, pairs: usize, seed: u64) {
    let mut state = seed | 1;
    let mut draw = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let count = network.edges().len();
    let sources = pairs.div_ceil(25);
    for _ in 0..sources {
        let from = network.edges()[draw(count)].id;
        let best = dijkstra(network, from);
        for _ in 0..25 {
            let to = network.edges()[draw(count)].id;
            let start = Place { edge: from, offset_m: network.edge(from).length_m * 0.5 };
            let end = Place { edge: to, offset_m: network.edge(to).length_m * 0.25 };
            let route = network.route(start, end);
            assert_eq!((route.edges.first(), route.edges.last()), (Some(&from), Some(&to)));
            // Half way to a quarter of the same edge is once around.
            assert_eq!(Some(legal_cost(network, &route)), best[to.index()], "{from:?} to {to:?}");
        }
    }
}

/// Every edge can be reached from the first one, and the first one from every edge.
pub fn assert_strongly_connected(network: &RoadNetwork) {
    let first = network.edges()[0].id;
    let missing = dijkstra(network, first).iter().filter(|cost| cost.is_none()).count();
    assert_eq!(missing, 0, "edges that cannot be reached");
    let mut backwards: Vec<Vec<usize>> = vec![Vec::new(); network.edges().len()];
    for edge in network.edges() {
        for turn in network.turns(edge.id) {
            backwards[turn.to.index()].push(edge.id.index());
        }
    }
    let mut seen = vec![false; network.edges().len()];
    let mut open = vec![first.index()];
    while let Some(edge) = open.pop() {
        if !std::mem::replace(&mut seen[edge], true) {
            open.extend(&backwards[edge]);
        }
    }
    assert!(seen.iter().all(|s| *s), "edges from which there is no way back");
}
