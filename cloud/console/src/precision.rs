//! How exactly somebody sees where vehicles are: the one place where positions are made coarse.
//!
//! Who may not see exact positions (`history.exact`) sees the middle of a cell of a grid over the whole earth: 0.01 degrees a
//! side, at most 1.1 km. It does not move with the vehicle, so averaging tells no more.

use remuda_access::{Permission, Principal};
use remuda_model::signal::{LATITUDE, LONGITUDE};
use remuda_model::{OrganizationId, SignalId};

use crate::scope::sight;

/// Side of a cell, 1e-7 degrees.
const CELL_E7: i64 = 100_000;

/// How exactly somebody sees positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// As they were measured.
    Exact,
    /// Only the cell.
    Coarse,
}

impl Precision {
    /// Of whoever calls; of nobody that the gate knows: coarse.
    pub fn of<T>(request: &tonic::Request<T>, organization: OrganizationId) -> Self {
        let principal = request.extensions().get::<Principal>();
        // Exactly of everything that they are shown, or of nothing.
        let exact = principal.map(|principal| principal.reach(Permission::HistoryExact, organization));
        if exact.is_some_and(|exact| sight(request).is_within(&exact)) { Self::Exact } else { Self::Coarse }
    }

    /// A coordinate, 1e-7 degrees, as they may see it.
    pub fn e7(self, e7: i32) -> i32 {
        // A cell's middle is near enough to a coordinate to fit as well.
        i32::try_from(self.raw_e7(i64::from(e7))).unwrap_or(e7)
    }

    /// A signal's raw value as they may see it.
    pub fn raw(self, signal: SignalId, raw: i64) -> i64 {
        // Both have a step of 1e-7 degrees.
        if [LATITUDE, LONGITUDE].contains(&signal) { self.raw_e7(raw) } else { raw }
    }

    /// How far beyond a geofence's edge a vehicle was found, m: with the edge it tells where that was. 0 for who sees coarsely.
    pub const fn beyond_m(self, metres: f64) -> f64 {
        match self {
            Self::Exact => metres,
            Self::Coarse => 0.0,
        }
    }

    fn raw_e7(self, e7: i64) -> i64 {
        match self {
            Self::Exact => e7,
            Self::Coarse => e7.div_euclid(CELL_E7) * CELL_E7 + CELL_E7 / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use remuda_model::signal::{self, SPEED};

    use super::*;

    #[test]
    fn a_coarse_position_is_the_middle_of_its_cell() {
        let coarse = Precision::Coarse;
        assert_eq!((coarse.e7(601_710_001), coarse.e7(-1), coarse.e7(0)), (601_750_000, -50_000, 50_000));
        assert_eq!(Precision::Exact.e7(601_710_001), 601_710_001);
        assert_eq!(
            (coarse.raw(LATITUDE, 7), coarse.raw(LONGITUDE, 7), coarse.raw(SPEED, 7)),
            (50_000, 50_000, 7)
        );
        for id in [LATITUDE, LONGITUDE] {
            assert_eq!(signal::by_id(id).expect("known").scale, 1e-7);
        }
        assert_eq!((coarse.beyond_m(12.5), Precision::Exact.beyond_m(12.5)), (0.0, 12.5));
        // Twice coarse is coarse.
        for e7 in [-1_800_000_000, -123_456_789, -1, 0, 99_999, 100_000, 1_799_999_999] {
            assert_eq!(coarse.e7(coarse.e7(e7)), coarse.e7(e7));
            assert!((coarse.e7(e7) - e7).abs() <= 50_000);
        }
    }
}
