//! What a map says, before it is a network: drivable ways, the nodes they use, turn restrictions.

use std::collections::{BTreeMap, BTreeSet};

use crate::tags::Drivable;

/// A drivable way.
#[derive(Debug, Clone)]
pub(crate) struct RawWay {
    pub id: i64,
    pub nodes: Vec<i64>,
    pub road: Drivable,
}

/// What a turn restriction does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RestrictionKind {
    /// `no_left_turn` and the like.
    No,
    /// `no_u_turn`.
    NoTurnBack,
    /// `only_straight_on` and the like.
    Only,
}

/// A restriction via a node.
#[derive(Debug, Clone)]
pub(crate) struct RawRestriction {
    pub kind: RestrictionKind,
    pub from: Vec<i64>,
    pub via: i64,
    pub to: Vec<i64>,
}

/// What a node adds to its ways.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct RawNode {
    pub latitude: f64,
    pub longitude: f64,
    pub signal: bool,
    pub blocked: bool,
}

/// A map as it was read or generated.
#[derive(Debug, Default)]
pub(crate) struct RawMap {
    pub ways: Vec<RawWay>,
    pub restrictions: Vec<RawRestriction>,
    /// Ordered, so that everything built from it is the same in every process.
    pub nodes: BTreeMap<i64, RawNode>,
    /// Ways of a road's class in the file, whoever may use them.
    pub roads_seen: usize,
    /// `type=restriction` relations in the file, also those that are not supported or not for cars.
    pub restrictions_seen: usize,
    /// `highway=traffic_signals` nodes in the file, also those beside drivable ways.
    pub signals_seen: usize,
    /// More `maxspeed` in mph than in km/h.
    pub miles: bool,
    /// Where it comes from, to be shown on the map; empty for a generated one.
    pub attribution: &'static str,
}

impl RawMap {
    /// Nodes that its ways use, ascending.
    pub(crate) fn nodes_used(&self) -> BTreeSet<i64> {
        self.ways.iter().flat_map(|way| way.nodes.iter().copied()).collect()
    }
}
