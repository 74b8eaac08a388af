//! Vehicles by column, for maps.

use std::collections::HashMap;

use remuda_api::vehicles::v1::VehicleColumns;
use remuda_contracts::fleet::VehicleSummary;

use crate::convert::presence_of;
use crate::precision::Precision;

/// Stands for a coordinate that is not known.
const UNKNOWN_E7: i32 = i32::MAX;

/// The rows that one stream has given out, by the mirror's number of each vehicle: ids would take many times as much.
///
/// Vehicles are introduced in the order of their numbers, so that who watches all of them sees each in the row of its number,
/// and nothing is kept.
#[derive(Default)]
pub struct Rows {
    /// The vehicles numbered below this are in the row of their number.
    plain: u32,
    /// The rows of all others.
    others: HashMap<u32, u32>,
}

impl Rows {
    fn known(&self, number: u32) -> Option<u32> {
        if number < self.plain { Some(number) } else { self.others.get(&number).copied() }
    }

    /// The next row, for a vehicle that has none.
    fn give(&mut self, number: u32) -> u32 {
        // A stream would need 4 billion vehicles to pass this.
        let row = self.plain.saturating_add(u32::try_from(self.others.len()).unwrap_or(u32::MAX));
        if row == number && self.others.is_empty() {
            self.plain = row + 1;
        } else {
            self.others.insert(number, row);
        }
        row
    }

    /// Packs vehicles, each with its number, introducing those this stream has not sent before.
    pub fn pack(
        &mut self,
        vehicles: &[(u32, impl AsRef<VehicleSummary>)],
        now_ms: i64,
        precision: Precision,
    ) -> VehicleColumns {
        let mut rows: Vec<(u32, &VehicleSummary)> =
            vehicles.iter().map(|(number, vehicle)| (*number, vehicle.as_ref())).collect();
        rows.sort_unstable_by_key(|(number, _)| *number);
        let mut columns = empty(rows.len());
        for (number, vehicle) in &mut rows {
            *number = self.known(*number).unwrap_or_else(|| {
                columns.introduced.push(vehicle.vehicle.to_string());
                self.give(*number)
            });
        }
        if !self.others.is_empty() {
            rows.sort_unstable_by_key(|(row, _)| *row);
        }
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

/// Columns with space for so many vehicles, and no more: a thousand streams may have one each on its way.
fn empty(rows: usize) -> VehicleColumns {
    VehicleColumns {
        introduced: Vec::new(),
        row_delta: Vec::with_capacity(rows),
        latitude_e7: Vec::with_capacity(rows),
        longitude_e7: Vec::with_capacity(rows),
        heading_deg: Vec::with_capacity(rows),
        speed_dkmh: Vec::with_capacity(rows),
        charge_percent_plus_one: Vec::with_capacity(rows),
        presence: Vec::with_capacity(rows),
        open_alerts: Vec::with_capacity(rows),
        last_seen_age_s: Vec::with_capacity(rows),
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
    fn who_watches_all_keeps_no_rows_and_whoever_reads_finds_each_vehicle_in_its_own() {
        let exact = |rows: &mut Rows, numbers: &[u32]| {
            let vehicles: Vec<_> = numbers.iter().map(|n| vehicle(*n)).collect();
            rows.pack(&vehicles, 12_500, Precision::Exact)
        };
        // As a reader does it: introduced in order, then told by row.
        let mut read: Vec<String> = Vec::new();
        let mut told = |columns: &VehicleColumns| {
            read.extend(columns.introduced.iter().cloned());
            let rows = columns.row_delta.iter().scan(0, |row, delta| {
                *row += delta;
                Some(*row as usize)
            });
            rows.map(|row| read[row].clone()).zip(columns.latitude_e7.clone()).collect::<Vec<_>>()
        };
        let should = |numbers: &[u32]| {
            let of = |n: &u32| (format!("V{n:05}"), 601_700_000 + *n as i32 * 997);
            numbers.iter().map(of).collect::<Vec<_>>()
        };
        let mut rows = Rows::default();
        // Ordered by vehicle they need not come in the order of their numbers.
        assert_eq!(told(&exact(&mut rows, &[2, 0, 1])), should(&[0, 1, 2]));
        assert_eq!(told(&exact(&mut rows, &[4, 1, 3])), should(&[1, 3, 4]));
        assert_eq!((rows.plain, rows.others.len()), (5, 0));
        assert_eq!(told(&exact(&mut rows, &[9, 7, 2])), should(&[2, 7, 9]));
        assert_eq!(told(&exact(&mut rows, &[5, 9])), should(&[9, 5]), "it came after the others");
        assert_eq!(told(&exact(&mut rows, &[7, 5, 0, 9])), should(&[0, 7, 9, 5]));
        assert_eq!((rows.plain, rows.others.len()), (5, 3));
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
