//! What a vehicle's stream says.

use std::sync::Arc;

use remuda_contracts::geofences::GeofenceId;
use remuda_model::{Incarnation, Seq};
use serde::{Deserialize, Serialize};

use crate::alerts::AlertBook;
use crate::event::{AlertFact, RuleId};
use crate::geofences::Inside;
use crate::limits;

/// Highest numbers per incarnation, in order of first use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(Vec<(Incarnation, Seq)>);

impl Marks {
    /// The highest number of an incarnation; 0 when there is none.
    pub fn get(&self, incarnation: Incarnation) -> Seq {
        self.0.iter().rev().find(|(i, _)| *i == incarnation).map_or(0, |(_, seq)| *seq)
    }

    /// Raises an incarnation's number; never lowers it.
    pub fn raise(&mut self, incarnation: Incarnation, seq: Seq) {
        if let Some((_, mark)) = self.0.iter_mut().rev().find(|(i, _)| *i == incarnation) {
            *mark = (*mark).max(seq);
            return;
        }
        if self.0.len() >= limits::MARKS_MAX {
            self.0.remove(0);
        }
        self.0.push((incarnation, seq));
    }

    /// Raises every number that is higher in `other`.
    pub fn merge(&mut self, other: &[(Incarnation, Seq)]) {
        for (incarnation, seq) in other {
            self.raise(*incarnation, *seq);
        }
    }

    /// All of them, in order of first use.
    pub fn as_slice(&self) -> &[(Incarnation, Seq)] {
        &self.0
    }
}

/// State evolved from the stream alone.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct VehicleState {
    /// Version of the last event.
    pub version: u64,
    /// Watermarks of the events lane.
    pub events: Marks,
    /// Alerts raised and not cleared.
    pub alerts: Vec<AlertFact>,
    /// Frames of the events lane that are gaps.
    pub events_in_gaps: u64,
    /// Frames of the events lane in quarantine.
    pub events_quarantined: u64,
    /// Frames that were in quarantine and could be read since; encoded behind a snapshot, so that older ones are read.
    #[serde(skip)]
    pub reprocessed: Reprocessed,
    /// Alerts with what people did about them; encoded behind a snapshot as well. Shared by copies of the state, which are
    /// made for each batch, until one of them changes it.
    #[serde(skip)]
    pub book: Arc<AlertBook>,
    /// Geofences that it is in, those that it entered first first; encoded behind a snapshot and shared by copies as well.
    #[serde(skip)]
    pub inside: Arc<Vec<Inside>>,
}

/// Frames that were in quarantine and could be read since, per lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reprocessed {
    /// Of the events lane.
    pub events: u64,
    /// Of the samples lane.
    pub samples: u64,
}

impl VehicleState {
    /// The open alert of a rule.
    pub fn open_alert(&self, rule: RuleId) -> Option<&AlertFact> {
        self.alerts.iter().find(|fact| fact.cause.rule == rule)
    }

    /// Whether it is in a geofence.
    pub fn is_inside(&self, fence: GeofenceId) -> bool {
        self.inside.iter().any(|inside| inside.fence == fence)
    }
}
