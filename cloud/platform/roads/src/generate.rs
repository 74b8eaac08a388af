//! A made-up town, for when no map is given: a grid of streets with arterial roads, two diagonal avenues and a ring.
//!
//! It stands on the Dogger Bank, where no real street is.

use crate::geometry::Plane;
use crate::raw::{RawMap, RawNode, RawRestriction, RawWay, RestrictionKind};
use crate::tags::{Drivable, Limit, RoadClass};

const CENTER: (f64, f64) = (54.75, 2.25);
/// Streets in each direction.
const LINES: i64 = 17;
/// Every so many streets is an arterial one.
const ARTERIAL_EVERY: i64 = 4;
const BLOCK_M: f64 = 140.0;
/// How far a crossing may be from where a perfect grid would have it, m.
const JITTER_M: f64 = 28.0;
/// Corners of the ring road.
const RING_CORNERS: i64 = 72;
const RING_RADIUS_M: f64 = 1_950.0;
const RING_NODE: i64 = 100_000;

/// SplitMix64 (Steele, Lea, Flood 2014): tiny, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// 0 to 1.
    fn share(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn chance(&mut self, probability: f64) -> bool {
        self.share() < probability
    }
}

struct Town {
    map: RawMap,
    dice: Dice,
    /// Metres per degree, east and north, at the centre.
    scale: [f64; 2],
}

pub(crate) fn town(seed: u64) -> RawMap {
    let plane = Plane::around(CENTER);
    let unit = plane.project(CENTER.0 + 1.0, CENTER.1 + 1.0);
    let mut town = Town { map: RawMap::default(), dice: Dice(seed ^ 0x5eed_0f70), scale: unit };
    town.crossings();
    town.streets();
    town.avenues();
    town.ring();
    town.restrictions();
    town.map.roads_seen = town.map.ways.len();
    town.map.signals_seen = town.map.nodes.values().filter(|n| n.signal).count();
    town.map.restrictions_seen = town.map.restrictions.len();
    town.map
}

fn node_id(column: i64, row: i64) -> i64 {
    1 + column + row * LINES
}

fn is_arterial(line: i64) -> bool {
    line % ARTERIAL_EVERY == 0
}

impl Town {
    fn node(&mut self, id: i64, east_m: f64, north_m: f64, signal: bool) {
        let latitude = CENTER.0 + north_m / self.scale[1];
        let longitude = CENTER.1 + east_m / self.scale[0];
        self.map.nodes.insert(id, RawNode { latitude, longitude, signal, blocked: false });
    }

    fn crossings(&mut self) {
        let half = (LINES - 1) as f64 / 2.0;
        for row in 0..LINES {
            for column in 0..LINES {
                let off = |dice: &mut Dice| (dice.share() - 0.5) * 2.0 * JITTER_M;
                let (dx, dy) = (off(&mut self.dice), off(&mut self.dice));
                let inner = (1..LINES - 1).contains(&row) && (1..LINES - 1).contains(&column);
                let signal = is_arterial(row) && is_arterial(column) && inner;
                let east = (column as f64 - half) * BLOCK_M + dx;
                let north = (row as f64 - half) * BLOCK_M + dy;
                self.node(node_id(column, row), east, north, signal);
            }
        }
    }

    fn street(
        &mut self,
        nodes: Vec<i64>,
        class: RoadClass,
        limit_kmh: f64,
        oneway: Option<bool>,
        name: &str,
    ) {
        let limit = Some(Limit { kmh: limit_kmh, in_miles: false });
        let road = Drivable {
            class,
            link: false,
            along: oneway != Some(false),
            against: oneway != Some(true),
            limit_along: limit,
            limit_against: limit,
            name: Some(name.to_owned()),
            roundabout: false,
        };
        self.map.ways.push(RawWay { id: self.map.ways.len() as i64 + 1, nodes, road });
    }

    fn streets(&mut self) {
        for line in 0..2 * LINES {
            let (index, along_rows) = (line / 2, line % 2 == 0);
            let arterial = is_arterial(index);
            let oneway = if !arterial && self.dice.chance(0.35) { Some(self.dice.chance(0.5)) } else { None };
            let calm = self.dice.chance(0.2);
            let (class, limit) = match (arterial, calm) {
                (true, _) => (RoadClass::Secondary, 50.0),
                (false, true) => (RoadClass::LivingStreet, 20.0),
                (false, false) => (RoadClass::Residential, if self.dice.chance(0.5) { 30.0 } else { 40.0 }),
            };
            let name =
                if along_rows { format!("Street {}", index + 1) } else { format!("Avenue {}", index + 1) };
            let mut run: Vec<i64> = Vec::new();
            for step in 0..LINES {
                let node = if along_rows { node_id(step, index) } else { node_id(index, step) };
                // A park or a railway interrupts small streets.
                if !arterial && run.len() > 1 && self.dice.chance(0.08) {
                    self.street(std::mem::take(&mut run), class, limit, oneway, &name);
                }
                run.push(node);
            }
            if run.len() > 1 {
                self.street(run, class, limit, oneway, &name);
            }
        }
    }

    fn avenues(&mut self) {
        let rising = (0..LINES).map(|i| node_id(i, i)).collect();
        self.street(rising, RoadClass::Primary, 60.0, None, "Rising Avenue");
        let falling = (0..LINES).map(|i| node_id(i, LINES - 1 - i)).collect();
        self.street(falling, RoadClass::Primary, 60.0, None, "Falling Avenue");
    }

    fn ring(&mut self) {
        for corner in 0..RING_CORNERS {
            let angle = corner as f64 / RING_CORNERS as f64 * std::f64::consts::TAU;
            let radius = RING_RADIUS_M + (self.dice.share() - 0.5) * 20.0;
            self.node(RING_NODE + corner, radius * angle.sin(), radius * angle.cos(), false);
        }
        let mut circle: Vec<i64> = (0..RING_CORNERS).map(|c| RING_NODE + c).collect();
        circle.push(RING_NODE);
        self.street(circle, RoadClass::Trunk, 80.0, None, "Ring Road");
        let middle = LINES / 2;
        let spokes = [
            (0, node_id(middle, LINES - 1), "North Road"),
            (9, node_id(LINES - 1, LINES - 1), "North East Road"),
            (18, node_id(LINES - 1, middle), "East Road"),
            (27, node_id(LINES - 1, 0), "South East Road"),
            (36, node_id(middle, 0), "South Road"),
            (45, node_id(0, 0), "South West Road"),
            (54, node_id(0, middle), "West Road"),
            (63, node_id(0, LINES - 1), "North West Road"),
        ];
        for (corner, node, name) in spokes {
            self.street(vec![node, RING_NODE + corner], RoadClass::Tertiary, 70.0, None, name);
        }
    }

    /// No turning back, and here and there no left turn, where arterial streets cross.
    fn restrictions(&mut self) {
        let ways_at = |map: &RawMap, node: i64| -> Vec<i64> {
            map.ways.iter().filter(|w| w.nodes.contains(&node)).map(|w| w.id).collect()
        };
        for row in (ARTERIAL_EVERY..LINES - 1).step_by(ARTERIAL_EVERY as usize) {
            for column in (ARTERIAL_EVERY..LINES - 1).step_by(ARTERIAL_EVERY as usize) {
                let via = node_id(column, row);
                if let ([from, to, ..], true) = (ways_at(&self.map, via).as_slice(), self.dice.chance(0.4)) {
                    let (from, to) = (vec![*from], vec![*to]);
                    self.map.restrictions.push(RawRestriction { kind: RestrictionKind::No, from, via, to });
                }
            }
        }
    }
}
