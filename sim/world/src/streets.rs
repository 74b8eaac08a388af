//! The road network as a driver sees it: who waits where, how fast a bend can be taken, where the chargers are.

use std::sync::Arc;

use remuda_roads::{EdgeId, Place, RoadClass, RoadNetwork};

use crate::dice::{Dice, mix};
use crate::limits::{LATERAL_MAX, SIGNAL_GREEN_MS, SIGNAL_ROUND_MS};

/// What a driver does at the end of an edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Has priority, or nobody crosses.
    Free,
    /// Slows down enough to look.
    Look,
    /// Stands still before going on.
    Stop,
    /// Obeys the signal.
    Signal,
}

/// What a driver knows of an edge.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Street {
    pub rule: Rule,
    /// Of the two directions whose signals take turns.
    axis: u8,
    signal_offset_ms: u32,
    pub limit: f32,
    pub length: f32,
    heading_start: f32,
    heading_end: f32,
    bends_start: u32,
    bends_end: u32,
}

/// A vertex that must be passed slowly.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bend {
    pub along: f32,
    pub speed: f32,
}

pub(crate) struct Streets {
    pub network: Arc<RoadNetwork>,
    streets: Vec<Street>,
    bends: Vec<Bend>,
    pub chargers: Vec<Place>,
}

/// Metres below which two corners count as one: maps are drawn by hand.
const CORNER_MIN_M: f64 = 8.0;

impl Streets {
    pub(crate) fn new(network: Arc<RoadNetwork>, seed: u64) -> Self {
        let rules = rules(&network);
        let mut bends = Vec::new();
        let mut streets = Vec::with_capacity(network.edges().len());
        for (edge, rule) in network.edges().iter().zip(rules) {
            let start = bends.len() as u32;
            collect_bends(&network, edge.id, &mut bends);
            let heading_end = network.position(edge.id, edge.length_m).heading as f32;
            streets.push(Street {
                rule,
                axis: u8::from((45.0..135.0).contains(&(heading_end % 180.0))),
                signal_offset_ms: (mix(u64::from(edge.to)) % SIGNAL_ROUND_MS) as u32,
                limit: (edge.limit_kmh / 3.6) as f32,
                length: edge.length_m as f32,
                heading_start: network.position(edge.id, 0.0).heading as f32,
                heading_end,
                bends_start: start,
                bends_end: bends.len() as u32,
            });
        }
        let mut dice = Dice::new(seed, u64::MAX);
        let count = network.edges().len() / 60 + 2;
        let chargers = (0..count).map(|_| random_place(&network, &mut dice)).collect();
        Self { network, streets, bends, chargers }
    }

    pub(crate) fn street(&self, edge: EdgeId) -> &Street {
        &self.streets[edge.index()]
    }

    pub(crate) fn bends(&self, edge: EdgeId) -> &[Bend] {
        let street = self.street(edge);
        &self.bends[street.bends_start as usize..street.bends_end as usize]
    }

    /// How fast one can go from one edge onto the next, m/s.
    pub(crate) fn turn_speed(&self, from: EdgeId, to: EdgeId) -> f32 {
        let angle = turned(self.street(from).heading_end, self.street(to).heading_start);
        match angle {
            a if a < 20.0 => f32::INFINITY,
            a if a < 50.0 => 9.0,
            a if a < 110.0 => 5.5,
            a if a < 160.0 => 3.5,
            _ => 2.0,
        }
    }

    /// Whether the signal at an edge's end lets traffic pass.
    pub(crate) fn is_green(&self, edge: EdgeId, time_ms: u64) -> bool {
        let street = self.street(edge);
        let half = SIGNAL_ROUND_MS / 2;
        let phase =
            (time_ms + u64::from(street.signal_offset_ms) + u64::from(street.axis) * half) % SIGNAL_ROUND_MS;
        phase < SIGNAL_GREEN_MS
    }
}

/// Any place, by edge, away from its ends.
pub(crate) fn random_place(network: &RoadNetwork, dice: &mut Dice) -> Place {
    let edge = &network.edges()[dice.below(network.edges().len())];
    Place { edge: edge.id, offset_m: edge.length_m * f64::from(dice.between(0.15, 0.85)) }
}

/// Degrees between two headings, 0 to 180.
fn turned(from: f32, to: f32) -> f32 {
    let turn = (to - from).rem_euclid(360.0);
    turn.min(360.0 - turn)
}

fn collect_bends(network: &RoadNetwork, edge: EdgeId, bends: &mut Vec<Bend>) {
    for corner in network.vertices(edge).windows(3) {
        let heading = |a: usize, b: usize| {
            let east = (corner[b].longitude - corner[a].longitude) * corner[a].latitude.to_radians().cos();
            (east.atan2(corner[b].latitude - corner[a].latitude)).to_degrees() as f32
        };
        let angle = turned(heading(0, 1), heading(1, 2));
        if angle < 8.0 {
            continue;
        }
        let before = corner[1].along_m - corner[0].along_m;
        let after = corner[2].along_m - corner[1].along_m;
        // The circle that touches both straight pieces.
        let radius = before.min(after).max(CORNER_MIN_M) as f32 / (2.0 * (angle.to_radians() / 2.0).tan());
        let speed = (LATERAL_MAX * radius).sqrt().max(2.5);
        bends.push(Bend { along: corner[1].along_m as f32, speed });
    }
}

/// Per edge, what to do at its end.
fn rules(network: &RoadNetwork) -> Vec<Rule> {
    let mut best = vec![RoadClass::Service; network.junctions()];
    let mut arms = vec![0_u32; network.junctions()];
    let mut onto_roundabout = vec![false; network.junctions()];
    for edge in network.edges() {
        best[edge.to as usize] = best[edge.to as usize].min(edge.class);
        // A two-way road ends here once, with its edge that arrives.
        arms[edge.to as usize] += 1;
        arms[edge.from as usize] += u32::from(edge.reverse.is_none());
        onto_roundabout[edge.from as usize] |= edge.roundabout;
    }
    let rule = |edge: &remuda_roads::Edge| {
        let at = edge.to as usize;
        let minor = edge.class >= RoadClass::Residential;
        if edge.signal_at_end {
            Rule::Signal
        } else if arms[at] <= 2 || edge.roundabout {
            Rule::Free
        } else if onto_roundabout[at] {
            Rule::Look
        } else if edge.class > best[at] {
            if minor && best[at] <= RoadClass::Secondary { Rule::Stop } else { Rule::Look }
        } else if minor {
            // Equals meet: whoever comes from the right goes first.
            Rule::Look
        } else {
            Rule::Free
        }
    };
    network.edges().iter().map(rule).collect()
}
