//! The console's copy of an organization's fleet index, numbered by change, so that any count of watchers, quick or slow,
//! can ask "what changed since".

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use parking_lot::RwLock;
use remuda_contracts::fleet::{FleetChange, FleetView, VehicleSummary};
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{broadcast, watch};

use crate::limits;

/// A place in the mirror's history. Means nothing to another mirror, hence the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// Which mirror.
    pub instance: u64,
    /// Its count of changes.
    pub change: u64,
}

impl Mark {
    /// As a resume token.
    pub fn to_token(self) -> String {
        format!("{:016x}.{}", self.instance, self.change)
    }

    /// Reads a resume token; none when it is not one.
    pub fn from_token(token: &str) -> Option<Self> {
        let (instance, change) = token.split_once('.')?;
        Some(Self { instance: u64::from_str_radix(instance, 16).ok()?, change: change.parse().ok()? })
    }
}

/// One vehicle's line.
pub struct Line {
    /// The change that brought it.
    pub change: u64,
    /// The vehicle's number in this mirror, from 0, the same for all who watch.
    pub number: u32,
    /// Its newest state.
    pub vehicle: Arc<VehicleSummary>,
}

#[derive(Default)]
struct Lines {
    by_vehicle: BTreeMap<VehicleId, Line>,
    change: u64,
}

/// See the module.
pub struct Mirror {
    view: Arc<dyn FleetView>,
    organization: OrganizationId,
    instance: u64,
    lines: RwLock<Lines>,
    changed: watch::Sender<u64>,
}

impl Mirror {
    /// A mirror of what the view holds now, and the changes from there on, for [`Mirror::follow`].
    pub fn new(
        view: Arc<dyn FleetView>,
        organization: OrganizationId,
        instance: u64,
    ) -> (Self, broadcast::Receiver<FleetChange>) {
        // Subscribed before reading: what changes between is seen twice, not never.
        let changes = view.changes();
        let (lines, changed) = (RwLock::default(), watch::Sender::new(0));
        let mirror = Self { view, organization, instance, lines, changed };
        mirror.read_all();
        (mirror, changes)
    }

    /// Follows the view until it ends.
    pub async fn follow(&self, mut changes: broadcast::Receiver<FleetChange>) {
        loop {
            match changes.recv().await {
                Ok(change) => self.apply(change.vehicles.iter()),
                // Some changes were missed: the index has the newest state of every line.
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    tracing::debug!(missed, "fleet changes came faster than they were read");
                    self.read_all();
                }
                Err(broadcast::error::RecvError::Closed) => return,
            }
        }
    }

    fn read_all(&self) {
        let mut after = None;
        loop {
            let page = self.view.list(&self.organization, after.as_ref(), limits::PAGE_MAX, &|_| true);
            self.apply(page.iter());
            match page.last() {
                Some(last) if page.len() == limits::PAGE_MAX => after = Some(last.vehicle),
                _ => return,
            }
        }
    }

    fn apply<'a>(&self, vehicles: impl Iterator<Item = &'a VehicleSummary>) {
        let mut lines = self.lines.write();
        let before = lines.change;
        for vehicle in vehicles.filter(|v| v.organization == self.organization) {
            let known = lines.by_vehicle.get(&vehicle.vehicle);
            // A list read after a lag and a change still under way may cross; the line's own revision orders them.
            if known
                .is_some_and(|known| known.vehicle.revision > vehicle.revision || *known.vehicle == *vehicle)
            {
                continue;
            }
            // Lines are never taken away, so the count is a number that nobody has. 4 billion vehicles would have to come by.
            let next = u32::try_from(lines.by_vehicle.len()).unwrap_or(u32::MAX);
            let number = known.map_or(next, |known| known.number);
            lines.change += 1;
            let change = lines.change;
            lines
                .by_vehicle
                .insert(vehicle.vehicle, Line { change, number, vehicle: Arc::new(vehicle.clone()) });
        }
        let after = lines.change;
        drop(lines);
        if after != before {
            self.changed.send_replace(after);
        }
    }

    /// Tells of changes.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Where the mirror is now.
    pub fn mark(&self) -> Mark {
        Mark { instance: self.instance, change: self.lines.read().change }
    }

    /// How many vehicles it holds.
    pub fn len(&self) -> usize {
        self.lines.read().by_vehicle.len()
    }

    /// How many of these it holds.
    pub fn count_of(&self, vehicles: &HashSet<VehicleId>) -> usize {
        let lines = self.lines.read();
        vehicles.iter().filter(|vehicle| lines.by_vehicle.contains_key(*vehicle)).count()
    }

    /// The change that brought a vehicle's line; 0 when it has none.
    pub fn change_of(&self, vehicle: &VehicleId) -> u64 {
        self.lines.read().by_vehicle.get(vehicle).map_or(0, |line| line.change)
    }

    /// Visits every line, ordered by vehicle; answers where the mirror was.
    pub fn visit(&self, each: impl FnMut(&Line)) -> Mark {
        let lines = self.lines.read();
        lines.by_vehicle.values().for_each(each);
        Mark { instance: self.instance, change: lines.change }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_survive_their_token() {
        let mark = Mark { instance: u64::MAX - 3, change: 12 };
        assert_eq!(Mark::from_token(&mark.to_token()), Some(mark));
        for text in ["", ".", "1", "x.1", "1.x", "1.2.3"] {
            assert_eq!(Mark::from_token(text), None, "{text}");
        }
    }
}
