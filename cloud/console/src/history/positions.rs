//! Where vehicles were: rows of coordinates to tracks.

use std::collections::HashMap;

use remuda_api::telemetry::v1 as api;
use remuda_contracts::history::{HistoryRows, HistoryValues};
use remuda_model::signal::{self, SignalId};
use remuda_model::{OrganizationId, VehicleId};

use super::tell::{Scale, deltas, name_of};
use crate::precision::Precision;

/// Signals of a position, in the order of the columns below.
pub(super) const SIGNALS: [SignalId; 5] =
    [signal::LATITUDE, signal::LONGITUDE, signal::SPEED, signal::HEADING, signal::ALTITUDE];

/// Thins positions and counts them.
pub(super) struct Tracks {
    organization: OrganizationId,
    interval_ns: i64,
    precision: Precision,
    last: HashMap<VehicleId, i64>,
    left: u64,
    /// Positions answered.
    pub answered: u64,
    /// There are more than the limit.
    pub limited: bool,
}

impl Tracks {
    pub fn new(
        organization: OrganizationId,
        interval_ns: i64,
        limit: Option<u64>,
        precision: Precision,
    ) -> Self {
        let left = limit.unwrap_or(u64::MAX);
        Self { organization, interval_ns, precision, last: HashMap::new(), left, answered: 0, limited: false }
    }

    /// The positions in some rows; `None` when there is none to answer.
    pub fn take(&mut self, rows: &HistoryRows) -> Option<api::Track> {
        let HistoryValues::Samples(columns) = &rows.signals else { return None };
        let [latitudes, longitudes, speeds, headings, altitudes] = columns.as_slice() else { return None };
        let scales = SIGNALS.map(Scale::of);
        let physical = |column: &[Option<i64>], row: usize, scale: Scale| {
            column[row].map_or(f32::NAN, |raw| scale.value(raw) as f32)
        };
        let mut track =
            api::Track { vehicle: name_of(&self.organization, &rows.vehicle), ..api::Track::default() };
        let mut times = Vec::new();
        for (row, at) in rows.times.iter().enumerate() {
            let (Some(latitude), Some(longitude)) = (latitudes[row], longitudes[row]) else { continue };
            let (Ok(latitude), Ok(longitude)) = (i32::try_from(latitude), i32::try_from(longitude)) else {
                continue;
            };
            let too_soon = self.last.get(&rows.vehicle).is_some_and(|last| at - last < self.interval_ns);
            if self.interval_ns > 0 && too_soon {
                continue;
            }
            if self.left == 0 {
                self.limited = true;
                break;
            }
            self.left -= 1;
            self.last.insert(rows.vehicle, *at);
            times.push(*at);
            track.latitude_e7.push(self.precision.e7(latitude));
            track.longitude_e7.push(self.precision.e7(longitude));
            track.speed_kmh.push(physical(speeds, row, scales[2]));
            track.heading_deg.push(physical(headings, row, scales[3]));
            track.altitude_m.push(physical(altitudes, row, scales[4]));
        }
        self.answered += times.len() as u64;
        track.time_ns_delta = deltas(&times);
        (!times.is_empty()).then_some(track)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_thinned_and_bounded() {
        let rows = HistoryRows {
            vehicle: VehicleId::new("V1").expect("an id"),
            times: (0..10).map(|i| i * 400).collect(),
            signals: HistoryValues::Samples(vec![
                (0..10).map(|i| (i != 3).then_some(600_000_000 + i)).collect(),
                vec![Some(250_000_000); 10],
                vec![Some(3_600); 10],
                vec![None; 10],
                vec![Some(123); 10],
            ]),
        };
        let mut all = Tracks::new(OrganizationId::default(), 0, None, Precision::Exact);
        assert_eq!(all.take(&rows).expect("some").latitude_e7.len(), 9, "a row without both coordinates");
        let mut some = Tracks::new(OrganizationId::default(), 1_000, Some(2), Precision::Coarse);
        let track = some.take(&rows).expect("some");
        assert_eq!(track.time_ns_delta, [0, 1_600], "row 3 has no latitude");
        assert_eq!((track.speed_kmh[0], track.altitude_m[0]), (36.0, 12.3));
        assert_eq!(track.latitude_e7, [600_050_000; 2], "they need not know it exactly");
        assert!(track.heading_deg[0].is_nan() && some.limited && some.answered == 2);
    }
}
