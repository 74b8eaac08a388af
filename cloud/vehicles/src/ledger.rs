//! For whoever counts from what is on disk: which frames and decisions a vehicle's stream holds, and which decisions
//! its rows demand. Reads only.

use std::collections::BTreeMap;

use remuda_eventsourcing::NewEvent;
use remuda_lake::{Row, RowBody};
use remuda_model::{Incarnation, Lane, Seq, SignalId, VehicleId};

use crate::event::{Cause, VehicleEvent};
use crate::rules::{FindingKind, RuleSettings, Rules};
use crate::signals;
use crate::vehicle::sample_of;

/// Signals that rules look at; the others may be left out of the rows for [`demanded`].
pub const RULE_SIGNALS: [SignalId; 4] = {
    let [battery, tank] = signals::CHARGE;
    [signals::SPEED, signals::ACCELERATION_LONGITUDINAL, battery, tank]
};

/// The reason of a gap of frames that the cloud had acknowledged: nobody gave them up, they are lost.
pub const CLOUD_LOST: &str = "cloud-lost";

/// What one journal event says about frames or decisions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Booked {
    /// A frame of the events lane was recorded.
    Reported {
        /// Start of the agent.
        incarnation: Incarnation,
        /// Which.
        seq: Seq,
    },
    /// Frames of the events lane will never come.
    Gapped {
        /// Start of the agent.
        incarnation: Incarnation,
        /// The first.
        from: Seq,
        /// The last.
        to: Seq,
        /// The cloud had acknowledged them and has them no more ([`CLOUD_LOST`]).
        cloud_lost: bool,
    },
    /// A frame of the events lane is in quarantine.
    Quarantined {
        /// Start of the agent.
        incarnation: Incarnation,
        /// Which.
        seq: Seq,
    },
    /// A rule decided.
    Decided(Decision),
    /// A frame that was in quarantine could be read: it counts as stored.
    Reprocessed {
        /// Which lane.
        lane: Lane,
        /// Start of the agent.
        incarnation: Incarnation,
        /// Which.
        seq: Seq,
    },
}

/// A decision's identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decision {
    /// Which rule, by which row.
    pub cause: Cause,
    /// An alert's beginning, else its end.
    pub raised: bool,
}

/// Reads a journal event; `None` for one that is not a vehicle's, that is about neither, or that this code cannot open.
pub fn read(event: &NewEvent) -> Option<(VehicleId, Booked)> {
    let vehicle = VehicleId::new(&event.stream.aggregate_id).ok()?;
    let booked = match VehicleEvent::open(event)? {
        VehicleEvent::Reported { place, .. } => {
            Booked::Reported { incarnation: place.incarnation, seq: place.seq }
        }
        VehicleEvent::Gapped { place, to, reason } => {
            let cloud_lost = reason == CLOUD_LOST;
            Booked::Gapped { incarnation: place.incarnation, from: place.seq, to, cloud_lost }
        }
        VehicleEvent::Quarantined { place, .. } => {
            Booked::Quarantined { incarnation: place.incarnation, seq: place.seq }
        }
        VehicleEvent::Reprocessed { lane, place } => {
            Booked::Reprocessed { lane, incarnation: place.incarnation, seq: place.seq }
        }
        // What geofences decide follows from where they were at that time, which rows do not say.
        VehicleEvent::AlertRaised(fact) | VehicleEvent::AlertCleared(fact)
            if fact.cause.rule.geofence().is_some() =>
        {
            return None;
        }
        VehicleEvent::Crossed(_) => return None,
        VehicleEvent::AlertRaised(fact) => Booked::Decided(Decision { cause: fact.cause, raised: true }),
        VehicleEvent::AlertCleared(fact) => Booked::Decided(Decision { cause: fact.cause, raised: false }),
        // What people do is no frame, and no rule demands it.
        VehicleEvent::Alert(_) => return None,
    };
    Some((vehicle, booked))
}

/// What one vehicle's rows demand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Demanded {
    /// Must be in the journal, each once.
    pub required: Vec<Decision>,
    /// May be in the journal, at most once: ends of alerts that an earlier incarnation left open.
    pub permitted: Vec<Decision>,
}

/// Evaluates the rules again over one vehicle's rows, in any order: they are judged per incarnation, by (seq, row). Rows of
/// reprocessed frames are not among them: no rule ever looked at them.
pub fn demanded<'a>(settings: &RuleSettings, rows: impl IntoIterator<Item = &'a Row>) -> Demanded {
    let mut sorted: BTreeMap<(Incarnation, Seq, u32), &Row> = BTreeMap::new();
    for row in rows.into_iter().filter(|row| matches!(row.body, RowBody::Samples(_))) {
        sorted.insert((row.incarnation, row.seq, row.row_in_frame), row);
    }
    let mut demanded = Demanded::default();
    let mut rules = Rules::default();
    let mut found = Vec::new();
    for row in sorted.into_values() {
        if let RowBody::Samples(values) = &row.body {
            rules.evaluate(settings, &sample_of(row, values), &mut found);
        }
        for finding in found.drain(..) {
            let decision = Decision { cause: finding.cause, raised: finding.kind == FindingKind::Raise };
            match finding.kind {
                FindingKind::Settle => demanded.permitted.push(decision),
                FindingKind::Raise | FindingKind::Clear => demanded.required.push(decision),
            }
        }
    }
    demanded
}
