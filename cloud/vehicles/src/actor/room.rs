//! Who finds room in the rows' budget. Pure.

use crate::limits;

/// The rows' budget as it stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// All of it, bytes.
    pub max: usize,
    /// Not held by anyone, bytes.
    pub free: usize,
    /// Vehicles that are connected.
    pub there: usize,
}

impl Room {
    /// Kept for vehicles with little in flight, so that however many drain a backlog, nobody else waits for them.
    fn reserve(self) -> usize {
        self.max / limits::ROWS_RESERVE_SHARE
    }

    /// What one vehicle may hold of the reserve: all who are there may come at once, and must fit.
    fn little(self) -> usize {
        limits::ROWS_LITTLE.min(self.reserve() / self.there.max(1))
    }

    /// Whether a vehicle that holds so much already may have more. An empty budget takes anything that fits, so that no
    /// frame is too large for ever.
    pub fn admits(self, held: usize, bytes: usize) -> bool {
        let from_the_reserve = held + bytes <= self.little();
        let beside_it = self.free >= self.reserve() + bytes;
        bytes <= self.free && (from_the_reserve || beside_it || self.free == self.max)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// However the greedy ask, in whatever pieces, whoever holds nothing and wants little is let in.
        #[test]
        fn whoever_wants_little_finds_room(
            max in 64_usize * 1024..8 * 1024 * 1024,
            asks in proptest::collection::vec((0_usize..60, 1_usize..200_000), 1..400),
        ) {
            let there = 61;
            let mut room = Room { max, free: max, there };
            let mut held = [0; 60];
            let mut first = true;
            for (vehicle, bytes) in asks {
                // An empty budget may be filled by one frame; the rule for the rest is what is looked at.
                if first && bytes + room.reserve() > max {
                    continue;
                }
                first = false;
                if room.admits(held[vehicle], bytes) {
                    held[vehicle] += bytes;
                    room.free -= bytes;
                }
                prop_assert!(room.admits(0, room.little()), "{} of {} are free", room.free, room.max);
            }
        }

        #[test]
        fn nobody_gets_what_is_not_there(max in 0_usize..1_000_000, free in 0_usize..1_000_000, held in 0_usize..9_000, bytes in 0_usize..2_000_000) {
            let room = Room { max, free: free.min(max), there: 3 };
            prop_assert!(!room.admits(held, bytes) || bytes <= room.free);
        }
    }

    #[test]
    fn a_frame_larger_than_the_common_part_gets_an_empty_budget() {
        let room = Room { max: 100_000, free: 100_000, there: 10 };
        assert!(room.admits(0, 99_000));
        assert!(!Room { free: 99_999, ..room }.admits(0, 99_000));
    }
}
