//! From a map to a network: cut ways at junctions, direct them, forbid turns, keep what hangs together.

use std::collections::{BTreeMap, HashMap, HashSet};

use crate::error::MapError;
use crate::geometry::{Bounds, Plane, haversine_m};
use crate::limits::{EDGES_MAX, LIMIT_KMH_MAX, SIGNAL_COST_MS, TURN_BACK_COST_MS};
use crate::network::{Edge, EdgeId, MapCounts, RoadNetwork, Turn, Vertex};
use crate::raw::{RawMap, RawNode, RawWay, RestrictionKind};
use crate::route::Guide;
use crate::snap::SnapIndex;
use crate::tags::{Drivable, Limit};

/// Pieces shorter than this are joined to nothing and dropped: two nodes on the same spot.
const PIECE_MIN_M: f64 = 0.01;

pub(crate) fn build(map: RawMap, name: &str) -> Result<RoadNetwork, MapError> {
    let mut counts = MapCounts {
        road_ways: map.roads_seen,
        drivable_ways: map.ways.len(),
        restrictions: map.restrictions_seen,
        signals: map.signals_seen,
        ..MapCounts::default()
    };
    let mut draft = Draft::cut(&map, name)?;
    counts.edges_found = draft.edges.len();
    let bans = draft.bans(&map);
    counts.restrictions_applied = bans.applied;
    let successors = draft.successors(&bans);
    let keep = largest_component(&draft.edges, &successors);
    draft.keep(&keep);
    // Between the edges that are left every turn was found before; only their numbers have changed.
    let (turn_starts, turns) = renumber(&draft, &successors, &keep);
    let (edges, vertices) = (draft.edges, draft.vertices);
    if edges.is_empty() {
        return Err(MapError::NoRoads { name: name.to_owned() });
    }
    counts.edges = edges.len();
    let signals: HashSet<u32> = edges.iter().filter(|e| e.signal_at_end).map(|e| e.to).collect();
    counts.signals_on_roads = signals.len();
    let bounds = Bounds::of(vertices.iter().map(|v| (v.latitude, v.longitude)));
    let plane = Plane::around(bounds.center());
    let snap_index = SnapIndex::build(&edges, &vertices, plane);
    let guide = Guide::build(&edges, &vertices);
    let junctions = edges.iter().map(|e| e.from.max(e.to) + 1).max().unwrap_or(0);
    Ok(RoadNetwork {
        edges,
        vertices,
        turn_starts,
        turns,
        names: draft.names,
        counts,
        bounds,
        guide,
        snap_index,
        plane,
        junctions,
        attribution: map.attribution,
    })
}

/// Directed edges before the network is known to hang together.
struct Draft {
    edges: Vec<Edge>,
    vertices: Vec<Vertex>,
    names: Vec<String>,
    /// OpenStreetMap node of each junction number.
    junction_nodes: Vec<i64>,
    blocked: Vec<bool>,
}

struct Bans {
    pairs: HashSet<(u32, u32)>,
    applied: usize,
}

impl Draft {
    fn cut(map: &RawMap, name: &str) -> Result<Self, MapError> {
        let ends = junctions(map);
        let mut cutter =
            Cutter { map, junctions: BTreeMap::new(), names: HashMap::new(), draft: Self::empty() };
        for way in &map.ways {
            cutter.way(way, &ends);
            if cutter.draft.edges.len() > EDGES_MAX {
                return Err(MapError::TooLarge { name: name.to_owned() });
            }
        }
        Ok(cutter.draft)
    }

    fn empty() -> Self {
        Self { edges: vec![], vertices: vec![], names: vec![], junction_nodes: vec![], blocked: vec![] }
    }

    fn outgoing(&self) -> Vec<Vec<u32>> {
        let mut outgoing = vec![Vec::new(); self.junction_nodes.len()];
        for edge in &self.edges {
            outgoing[edge.from as usize].push(edge.id.0);
        }
        outgoing
    }

    /// The pairs of edges that restrictions forbid.
    fn bans(&self, map: &RawMap) -> Bans {
        let number: HashMap<i64, u32> =
            self.junction_nodes.iter().zip(0..).map(|(node, n)| (*node, n)).collect();
        let outgoing = self.outgoing();
        let mut incoming = vec![Vec::new(); self.junction_nodes.len()];
        for edge in &self.edges {
            incoming[edge.to as usize].push(edge.id.0);
        }
        let mut bans = Bans { pairs: HashSet::new(), applied: 0 };
        for restriction in &map.restrictions {
            let Some(via) = number.get(&restriction.via) else { continue };
            let of = |list: &[u32], ways: &[i64]| -> Vec<u32> {
                list.iter().copied().filter(|e| ways.contains(&self.edges[*e as usize].way)).collect()
            };
            let from = of(&incoming[*via as usize], &restriction.from);
            let to = of(&outgoing[*via as usize], &restriction.to);
            let before = bans.pairs.len();
            match restriction.kind {
                RestrictionKind::No => bans.forbid(&from, &to, |_, _| true),
                RestrictionKind::NoTurnBack if restriction.from == restriction.to => {
                    let back = |a: u32, b: u32| self.edges[a as usize].reverse == Some(EdgeId(b));
                    bans.forbid(&from, &to, back);
                }
                RestrictionKind::NoTurnBack => bans.forbid(&from, &to, |_, _| true),
                // With the way on gone from the map, or ambiguous, an "only" would close the road.
                RestrictionKind::Only if from.len() == 1 && !to.is_empty() => {
                    bans.forbid(&from, &outgoing[*via as usize], |_, b| !to.contains(&b));
                }
                RestrictionKind::Only => {}
            }
            bans.applied += usize::from(bans.pairs.len() > before);
        }
        bans
    }

    /// Per edge, where one may go on.
    fn successors(&self, bans: &Bans) -> Vec<Vec<Turn>> {
        let outgoing = self.outgoing();
        let turns = |edge: &Edge| -> Vec<Turn> {
            let lost = if edge.signal_at_end { SIGNAL_COST_MS } else { 0 };
            let permitted = |next: &&u32| !bans.pairs.contains(&(edge.id.0, **next));
            let blocked = self.blocked[edge.to as usize];
            let onward: Vec<Turn> = outgoing[edge.to as usize]
                .iter()
                .filter(permitted)
                .filter(|next| !blocked && Some(EdgeId(**next)) != edge.reverse)
                .map(|next| &self.edges[*next as usize])
                .map(|next| Turn { to: next.id, cost_ms: next.time_ms + lost, back: false })
                .collect();
            match edge.reverse {
                // Turning back is for where the road ends.
                Some(back) if onward.is_empty() && permitted(&&back.0) => {
                    let cost_ms = self.edges[back.index()].time_ms + TURN_BACK_COST_MS;
                    vec![Turn { to: back, cost_ms, back: true }]
                }
                _ => onward,
            }
        };
        self.edges.iter().map(turns).collect()
    }

    /// Drops the other edges and numbers the rest anew, in the same order.
    fn keep(&mut self, keep: &[Option<u32>]) {
        let mut vertices = Vec::new();
        let mut junctions: Vec<Option<u32>> = vec![None; self.junction_nodes.len()];
        let mut next_junction = 0;
        let mut renamed = |old: u32| {
            *junctions[old as usize].get_or_insert_with(|| {
                next_junction += 1;
                next_junction - 1
            })
        };
        let mut edges = Vec::new();
        for edge in &self.edges {
            let Some(number) = keep[edge.id.index()] else { continue };
            let start = vertices.len() as u32;
            vertices.extend_from_slice(&self.vertices[edge.vertices.0 as usize..edge.vertices.1 as usize]);
            edges.push(Edge {
                id: EdgeId(number),
                from: renamed(edge.from),
                to: renamed(edge.to),
                reverse: edge.reverse.and_then(|r| keep[r.index()]).map(EdgeId),
                vertices: (start, vertices.len() as u32),
                ..edge.clone()
            });
        }
        self.edges = edges;
        self.vertices = vertices;
    }
}

impl Bans {
    fn forbid(&mut self, from: &[u32], to: &[u32], when: impl Fn(u32, u32) -> bool) {
        for a in from {
            for b in to.iter().filter(|b| when(*a, **b)) {
                self.pairs.insert((*a, *b));
            }
        }
    }
}

/// Nodes at which ways are cut: ends, crossings, signals, barriers, restrictions.
fn junctions(map: &RawMap) -> HashSet<i64> {
    let mut seen = HashSet::new();
    let mut ends: HashSet<i64> = map.restrictions.iter().map(|r| r.via).collect();
    ends.extend(map.nodes.iter().filter(|(_, node)| node.signal || node.blocked).map(|(id, _)| *id));
    for way in &map.ways {
        ends.extend(way.nodes.first());
        ends.extend(way.nodes.last());
        for node in &way.nodes {
            if !seen.insert(*node) {
                ends.insert(*node);
            }
        }
    }
    ends
}

struct Cutter<'a> {
    map: &'a RawMap,
    junctions: BTreeMap<i64, u32>,
    names: HashMap<&'a str, u32>,
    draft: Draft,
}

impl<'a> Cutter<'a> {
    fn way(&mut self, way: &'a RawWay, ends: &HashSet<i64>) {
        let mut piece: Vec<(i64, RawNode)> = Vec::new();
        for id in &way.nodes {
            let Some(node) = self.map.nodes.get(id) else {
                // The extract was cut here; what follows is another piece.
                self.piece(way, &piece);
                piece.clear();
                continue;
            };
            let same_spot = piece.last().is_some_and(|(_, last)| {
                last.latitude == node.latitude && last.longitude == node.longitude && !ends.contains(id)
            });
            if same_spot {
                continue;
            }
            piece.push((*id, *node));
            if ends.contains(id) {
                self.piece(way, &piece);
                piece.drain(..piece.len() - 1);
            }
        }
        self.piece(way, &piece);
    }

    fn piece(&mut self, way: &'a RawWay, piece: &[(i64, RawNode)]) {
        let line: Vec<(f64, f64)> = piece.iter().map(|(_, n)| (n.latitude, n.longitude)).collect();
        let length: f64 = line.windows(2).map(|w| haversine_m(w[0], w[1])).sum();
        let (Some(first), Some(last)) = (piece.first(), piece.last()) else { return };
        if piece.len() < 2 || length < PIECE_MIN_M {
            return;
        }
        let (from, to) = (self.junction(*first), self.junction(*last));
        let name = self.name(&way.road);
        let next = self.draft.edges.len() as u32;
        let both = way.road.along && way.road.against;
        if way.road.along {
            let end = (from, to, last.1.signal);
            let reverse = both.then_some(EdgeId(next + 1));
            self.edge(way, line.iter().copied(), end, reverse, name, way.road.limit_along);
        }
        if way.road.against {
            let end = (to, from, first.1.signal);
            let reverse = both.then_some(EdgeId(next));
            self.edge(way, line.iter().rev().copied(), end, reverse, name, way.road.limit_against);
        }
    }

    fn edge(
        &mut self,
        way: &RawWay,
        line: impl Iterator<Item = (f64, f64)>,
        (from, to, signal_at_end): (u32, u32, bool),
        reverse: Option<EdgeId>,
        name: Option<u32>,
        limit: Option<Limit>,
    ) {
        let start = self.draft.vertices.len() as u32;
        let mut along_m = 0.0;
        let mut last: Option<(f64, f64)> = None;
        for point in line {
            along_m += last.map_or(0.0, |l| haversine_m(l, point));
            last = Some(point);
            self.draft.vertices.push(Vertex { latitude: point.0, longitude: point.1, along_m });
        }
        let road = &way.road;
        let limit_kmh = limit
            .map_or_else(|| road.class.default_limit_kmh(road.link, self.map.miles), |l| l.kmh)
            .min(LIMIT_KMH_MAX);
        self.draft.edges.push(Edge {
            id: EdgeId(self.draft.edges.len() as u32),
            way: way.id,
            from,
            to,
            class: road.class,
            limit_kmh,
            length_m: along_m,
            reverse,
            roundabout: road.roundabout,
            signal_at_end,
            time_ms: ((along_m * 3_600.0 / limit_kmh).ceil() as u32).max(1),
            name,
            vertices: (start, self.draft.vertices.len() as u32),
        });
    }

    fn junction(&mut self, (id, node): (i64, RawNode)) -> u32 {
        let draft = &mut self.draft;
        *self.junctions.entry(id).or_insert_with(|| {
            draft.junction_nodes.push(id);
            draft.blocked.push(node.blocked);
            draft.junction_nodes.len() as u32 - 1
        })
    }

    fn name(&mut self, road: &'a Drivable) -> Option<u32> {
        let name = road.name.as_deref()?;
        let names = &mut self.draft.names;
        Some(*self.names.entry(name).or_insert_with(|| {
            names.push(name.to_owned());
            names.len() as u32 - 1
        }))
    }
}

/// The strongly connected component with the most road; per edge its new number, or `None`.
///
/// Tarjan's algorithm over edges as nodes and turns as arcs, with its own stack.
fn largest_component(edges: &[Edge], successors: &[Vec<Turn>]) -> Vec<Option<u32>> {
    const UNSEEN: u32 = u32::MAX;
    let count = edges.len();
    let (mut index, mut low) = (vec![UNSEEN; count], vec![0_u32; count]);
    let mut on_stack = vec![false; count];
    let (mut stack, mut calls): (Vec<usize>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
    let mut next = 0;
    let mut best: (f64, Vec<usize>) = (0.0, Vec::new());
    for root in 0..count {
        if index[root] != UNSEEN {
            continue;
        }
        calls.push((root, 0));
        while let Some((edge, at)) = calls.pop() {
            if at == 0 {
                index[edge] = next;
                low[edge] = next;
                next += 1;
                stack.push(edge);
                on_stack[edge] = true;
            } else {
                let child = successors[edge][at - 1].to.index();
                low[edge] = low[edge].min(low[child]);
            }
            let rest = successors[edge].iter().enumerate().skip(at);
            let mut deeper = None;
            for (i, turn) in rest {
                let to = turn.to.index();
                if index[to] == UNSEEN {
                    deeper = Some((i + 1, to));
                    break;
                }
                if on_stack[to] {
                    low[edge] = low[edge].min(index[to]);
                }
            }
            if let Some((resume, to)) = deeper {
                calls.push((edge, resume));
                calls.push((to, 0));
                continue;
            }
            if low[edge] == index[edge] {
                let start = stack.iter().rposition(|e| *e == edge).unwrap_or(0);
                let members = stack.split_off(start);
                members.iter().for_each(|e| on_stack[*e] = false);
                let can_go_round = members.len() > 1 || successors[edge].iter().any(|t| t.to.index() == edge);
                let length: f64 = members.iter().map(|e| edges[*e].length_m).sum();
                if can_go_round && length > best.0 {
                    best = (length, members);
                }
            }
        }
    }
    let mut keep = vec![None; count];
    best.1.sort_unstable();
    for (number, edge) in best.1.into_iter().enumerate() {
        keep[edge] = Some(number as u32);
    }
    keep
}

fn renumber(draft: &Draft, successors: &[Vec<Turn>], keep: &[Option<u32>]) -> (Vec<u32>, Vec<Turn>) {
    let (mut starts, mut turns) = (Vec::with_capacity(draft.edges.len() + 1), Vec::new());
    starts.push(0);
    for (old, list) in successors.iter().enumerate() {
        if keep[old].is_none() {
            continue;
        }
        let kept = list.iter().filter_map(|t| keep[t.to.index()].map(|to| Turn { to: EdgeId(to), ..*t }));
        turns.extend(kept);
        starts.push(turns.len() as u32);
    }
    (starts, turns)
}
