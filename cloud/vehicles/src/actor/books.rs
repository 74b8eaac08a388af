//! What a shard remembers of its vehicles besides their actors: watermarks, contributions in flight, and which rows no
//! snapshot covers yet.

use std::collections::HashMap;

use remuda_eventsourcing::ManifestPosition;
use remuda_lake::Verdict;
use remuda_model::{Incarnation, Seq, VehicleId};

use crate::state::Marks;

/// Rows that no snapshot covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Uncovered {
    /// A snapshot covers everything up to here.
    floor: ManifestPosition,
    /// The last of them is at or below this.
    last: ManifestPosition,
}

/// One vehicle's page.
#[derive(Debug, Default)]
struct Page {
    marks: Marks,
    outstanding: u32,
    uncovered: Option<Uncovered>,
}

/// A shard's books.
#[derive(Debug, Default)]
pub(crate) struct Books {
    // The manifest position of the last answer of this shard.
    position: ManifestPosition,
    outstanding: u32,
    pages: HashMap<VehicleId, Page>,
}

impl Books {
    /// Begins after recovery, at its position.
    pub fn start(&mut self, position: ManifestPosition) {
        *self = Self { position, ..Self::default() };
    }

    /// Begins again after the shard was stopped: `uncovered` vehicles have rows above `floor` without a snapshot.
    pub fn restart(
        &mut self,
        floor: ManifestPosition,
        position: ManifestPosition,
        uncovered: impl Iterator<Item = VehicleId>,
    ) {
        self.start(position);
        for vehicle in uncovered {
            let uncovered = Some(Uncovered { floor, last: position });
            self.pages.insert(vehicle, Page { uncovered, ..Page::default() });
        }
    }

    /// Watermarks of the samples lane, of every incarnation known.
    pub fn marks(&self, vehicle: &VehicleId) -> &[(Incarnation, Seq)] {
        self.pages.get(vehicle).map_or(&[], |page| page.marks.as_slice())
    }

    /// Raises watermarks.
    pub fn raise(&mut self, vehicle: VehicleId, marks: &[(Incarnation, Seq)]) {
        self.pages.entry(vehicle).or_default().marks.merge(marks);
    }

    /// A contribution is about to be handed to the rounds.
    pub fn contributing(&mut self, vehicle: VehicleId) {
        self.outstanding += 1;
        self.pages.entry(vehicle).or_default().outstanding += 1;
    }

    /// It never reached them.
    pub fn withdrawn(&mut self, vehicle: &VehicleId) {
        self.outstanding = self.outstanding.saturating_sub(1);
        if let Some(page) = self.pages.get_mut(vehicle) {
            page.outstanding = page.outstanding.saturating_sub(1);
        }
    }

    /// Contributions of a vehicle that have no answer yet.
    pub fn outstanding(&self, vehicle: &VehicleId) -> u32 {
        self.pages.get(vehicle).map_or(0, |page| page.outstanding)
    }

    /// Contributions of the shard that have no answer yet.
    pub fn outstanding_all(&self) -> u32 {
        self.outstanding
    }

    /// A round answered.
    pub fn answered(
        &mut self,
        position: ManifestPosition,
        answers: impl Iterator<Item = (VehicleId, Verdict)>,
    ) {
        let before = self.position;
        for (vehicle, verdict) in answers {
            self.withdrawn(&vehicle);
            if verdict == Verdict::Committed {
                let page = self.pages.entry(vehicle).or_default();
                let uncovered = page.uncovered.get_or_insert(Uncovered { floor: before, last: position });
                uncovered.last = position;
            }
        }
        self.position = self.position.max(position);
    }

    /// A snapshot that covers a vehicle's rows up to `covered_to` is durable.
    pub fn snapshotted(&mut self, vehicle: &VehicleId, covered_to: ManifestPosition) {
        let Some(page) = self.pages.get_mut(vehicle) else { return };
        if let Some(uncovered) = &mut page.uncovered {
            if uncovered.last <= covered_to {
                page.uncovered = None;
            } else {
                uncovered.floor = uncovered.floor.max(covered_to);
            }
        }
    }

    /// From which manifest position a vehicle's rows must be read again; `None` when its snapshot covers them all.
    pub fn replay_from(&self, vehicle: &VehicleId) -> Option<ManifestPosition> {
        self.pages.get(vehicle)?.uncovered.map(|uncovered| uncovered.floor)
    }

    /// The position of the last answer.
    pub fn position(&self) -> ManifestPosition {
        self.position
    }

    /// Snapshots cover every row of the shard at or below this. `newest` is the manifest's position by the last
    /// answers of any shard.
    pub fn replay_floor(&self, newest: ManifestPosition) -> ManifestPosition {
        // With contributions in flight the newest commit may hold rows of ours whose answer is still to come.
        let reached = if self.outstanding == 0 { newest.max(self.position) } else { self.position };
        self.pages
            .values()
            .filter_map(|page| page.uncovered.map(|u| u.floor))
            .fold(reached, ManifestPosition::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(vehicle: VehicleId) -> impl Iterator<Item = (VehicleId, Verdict)> {
        std::iter::once((vehicle, Verdict::Committed))
    }

    #[test]
    fn the_floor_never_passes_a_row_without_a_snapshot() {
        let mut books = Books::default();
        books.start(10);
        let (one, two) = (VehicleId::new("V1").unwrap(), VehicleId::new("V2").unwrap());
        assert_eq!(books.replay_floor(12), 12);
        books.contributing(one);
        // In flight: the commit may already be in the manifest.
        assert_eq!(books.replay_floor(13), 10);
        books.answered(13, committed(one));
        assert_eq!((books.replay_floor(13), books.outstanding(&one)), (10, 0));
        books.contributing(two);
        books.answered(15, committed(two));
        books.snapshotted(&one, 13);
        assert_eq!(books.replay_floor(15), 13);
        assert_eq!((books.replay_from(&one), books.replay_from(&two)), (None, Some(13)));
        // A snapshot from before the last commit covers a part.
        books.contributing(two);
        books.answered(18, committed(two));
        books.snapshotted(&two, 15);
        assert_eq!(books.replay_floor(20), 15);
        books.snapshotted(&two, 18);
        assert_eq!(books.replay_floor(20), 20);
    }

    #[test]
    fn what_was_dropped_leaves_no_row_to_cover() {
        let mut books = Books::default();
        let one = VehicleId::new("V1").unwrap();
        books.contributing(one);
        books.answered(3, std::iter::once((one, Verdict::Dropped)));
        assert_eq!((books.outstanding_all(), books.replay_from(&one), books.replay_floor(5)), (0, None, 5));
    }
}
