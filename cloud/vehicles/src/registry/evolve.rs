//! What a fact does to a vehicle's record. Cannot fail.

use super::event::RegistryEvent;
use super::limits;
use super::state::{Firmware, RegistryPhase, VehicleRecord};

/// Takes a fact in.
pub fn evolve(state: &mut VehicleRecord, event: &RegistryEvent) {
    use RegistryEvent as E;
    match event {
        E::Registered(e) => {
            state.phase = RegistryPhase::Registered;
            state.details = Some(e.details.clone());
            state.odometer_m = e.odometer_m;
            state.serviced_m = e.odometer_m;
            state.serviced_ms = e.time_ms;
        }
        E::Changed(e) => state.details = Some(e.details.clone()),
        E::Retired(_) => state.phase = RegistryPhase::Retired,
        E::SensorFitted(e) => {
            state.sensors.insert(e.name.clone(), e.sensor.clone());
        }
        E::SensorRemoved(e) => {
            state.sensors.remove(&e.name);
        }
        E::FirmwareReported(e) => {
            state.firmware.insert(e.ecu.clone(), Firmware { version: e.version.clone(), at_ms: e.at_ms });
        }
        E::OdometerAdvanced(e) => state.odometer_m = e.odometer_m,
        E::TripCounted(e) => {
            state.odometer_m = e.odometer_m;
            state.trips += 1;
            state.trips_m = state.trips_m.saturating_add(e.distance_m);
            state.counted.push(e.trip.clone());
            if state.counted.len() > limits::TRIPS_MAX {
                state.counted.remove(0);
            }
        }
        E::ServicePlanned(e) => {
            state.service = Some(e.plan);
            state.service_due = false;
        }
        E::ServiceFellDue(_) => state.service_due = true,
        E::Serviced(e) => {
            state.serviced_m = e.odometer_m;
            state.serviced_ms = e.at_ms;
            state.odometer_m = state.odometer_m.max(e.odometer_m);
            state.service_due = false;
        }
    }
}
