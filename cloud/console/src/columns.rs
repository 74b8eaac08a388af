//! Vehicles by column, for maps.

use std::collections::HashMap;

use remuda_api::vehicles::v1::VehicleColumns;
use remuda_contracts::fleet::VehicleSummary;

use crate::convert::presence_of;
use crate::precision::Precision;

/// Stands for a coordinate that is not known.
const UNKNOWN_E7: i32 = i32::MAX;

/// The rows that one stream has given out, by the mirror's number of each vehicle: ids would take many times as much.
#[derive(Default)]
pub struct Rows(HashMap<u32, u32>);

impl Rows {
    /// Packs vehicles, each with its number, introducing those this stream has not sent before.
    pub fn pack(
        &mut self,
        vehicles: &[(u32, impl AsRef<VehicleSummary>)],
        now_ms: i64,
        precision: Precision,
    ) -> VehicleColumns {
        let mut columns = VehicleColumns::default();
        let mut rows: Vec<(u32, &VehicleSummary)> = Vec::with_capacity(vehicles.len());
        for (number, vehicle) in vehicles {
            let vehicle = vehicle.as_ref();
            // A stream would need 4 billion vehicles to pass this.
            let next = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
            let row = *self.0.entry(*number).or_insert_with(|| {
                columns.introduced.push(vehicle.vehicle.to_string());
                next
            });
            rows.push((row, vehicle));
        }
        rows.sort_unstable_by_key(|(row, _)| *row);
        let mut before = 0;
        for (row, vehicle) in rows {
            columns.row_delta.push(row - before);
            before = row;
            let position = vehicle.position;
            columns.latitude_e7.push(position.map_or(UNKNOWN_E7, |p| precision.e7(p.latitude_e7)));
            columns.longitude_e7.push(position.map_or(UNKNOWN_E7, |p| precision.e7(p.longitude_e7)));
            let heading = position.map_or(0.0, |p| p.heading_deg).rem_euclid(360.0);
            // `as` saturates, and makes 0 of what is not a number.
            columns.heading_deg.push(heading as u32 % 360);
            columns.speed_dkmh.push(position.map_or(0, |p| (p.speed_kmh * 10.0).round() as u32));
            columns.charge_percent_plus_one.push(vehicle.charge_percent.map_or(0, |c| c.round() as u32 + 1));
            columns.presence.push(presence_of(vehicle.presence) as u32);
            columns.open_alerts.push(u32::from(vehicle.open_alerts));
            columns.last_seen_age_s.push(match vehicle.last_seen_ms {
                ..=0 => u32::MAX,
                seen => u32::try_from(now_ms.saturating_sub(seen).max(0) / 1000).unwrap_or(u32::MAX - 1),
            });
        }
        columns
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prost::Message;
    use remuda_contracts::fleet::{Position, Presence};
    use remuda_model::{OrganizationId, VehicleId};

    use super::*;

    fn vehicle(n: u32) -> (u32, Arc<VehicleSummary>) {
        let summary = VehicleSummary {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new(&format!("V{n:05}")).unwrap(),
            presence: Presence::Online,
            last_seen_ms: 9_000,
            position: Some(Position {
                latitude_e7: 601_700_000 + n as i32 * 997,
                longitude_e7: 249_400_000 - n as i32 * 1_013,
                heading_deg: -90.0,
                speed_kmh: 51.26,
            }),
            charge_percent: Some(80.0),
            open_alerts: 0,
            revision: 1,
        };
        (n, Arc::new(summary))
    }

    #[test]
    fn rows_are_given_once_and_kept() {
        let mut rows = Rows::default();
        let first = rows.pack(&[vehicle(5), vehicle(7)], 12_500, Precision::Exact);
        assert_eq!(first.introduced, ["V00005", "V00007"]);
        assert_eq!(first.row_delta, [0, 1]);
        assert_eq!((first.heading_deg[0], first.speed_dkmh[0], first.last_seen_age_s[0]), (270, 513, 3));
        let unknown = Arc::new(VehicleSummary {
            position: None,
            charge_percent: None,
            last_seen_ms: 0,
            ..(*vehicle(6).1).clone()
        });
        let second = rows.pack(&[(6, unknown), vehicle(7)], 12_500, Precision::Exact);
        assert_eq!(second.introduced, ["V00006"]);
        assert_eq!(second.row_delta, [1, 1]);
        assert_eq!(second.latitude_e7, [601_706_979, UNKNOWN_E7]);
        assert_eq!(second.charge_percent_plus_one, [81, 0]);
        assert_eq!(second.last_seen_age_s[1], u32::MAX);
    }

    #[test]
    fn five_thousand_vehicles_are_cheap() {
        let vehicles: Vec<_> = (0..5_000).map(vehicle).collect();
        let mut rows = Rows::default();
        rows.pack(&vehicles, 10_000, Precision::Exact);
        let bytes = rows.pack(&vehicles, 10_000, Precision::Exact).encoded_len();
        assert!(bytes < 5_000 * 20, "{bytes} bytes");
    }
}
