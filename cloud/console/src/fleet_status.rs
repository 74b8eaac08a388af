//! How the fleet is, counted from the mirror.

use remuda_api::vehicles::v1::FleetStatus;
use remuda_contracts::fleet::{Presence, VehicleSummary};

use crate::convert::timestamp_of;
use crate::mirror::Mirror;
use crate::sight::Seen;

/// Slower than this is standing: what GNSS shows of a vehicle that is parked.
const MOVING_KMH: f32 = 1.0;
/// Below this a driver looks for a charger.
const LOW_CHARGE_PERCENT: f32 = 20.0;

/// Counts every vehicle of the mirror that the caller sees.
pub(crate) fn fleet_status(mirror: &Mirror, seen: &Seen, now_ms: i64) -> FleetStatus {
    let mut status = FleetStatus { read_time: timestamp_of(now_ms), ..FleetStatus::default() };
    mirror.visit(|line| {
        if seen.has(&line.vehicle.vehicle) {
            count(&mut status, &line.vehicle);
        }
    });
    status
}

fn count(status: &mut FleetStatus, vehicle: &VehicleSummary) {
    status.total += 1;
    match vehicle.presence {
        Presence::Online => status.online += 1,
        Presence::Offline => status.offline += 1,
        Presence::Unknown => status.unknown += 1,
    }
    let moves = vehicle.position.is_some_and(|at| at.speed_kmh > MOVING_KMH);
    status.moving += i32::from(moves && vehicle.presence == Presence::Online);
    status.low_charge += i32::from(vehicle.charge_percent.is_some_and(|charge| charge < LOW_CHARGE_PERCENT));
    status.with_alerts += i32::from(vehicle.open_alerts > 0);
    status.open_alerts += i32::from(vehicle.open_alerts);
}
