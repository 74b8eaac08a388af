//! Which vehicles are asked first: the nearest free ones, by road time where a map is loaded.

use std::sync::Arc;

use remuda_contracts::business::Place;
use remuda_contracts::fleet::{FleetView, Presence};
use remuda_model::{OrganizationId, VehicleId};
use remuda_roads::{Place as RoadPlace, RoadNetwork};
use remuda_trips::fences::distance_m;
use remuda_vehicles::reservation::AvailabilityDirectory;

use crate::limits;

/// Length of a way and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Way {
    pub metres: f64,
    pub seconds: f64,
}

/// The choice of vehicles.
pub(crate) struct Dispatch {
    pub view: Arc<dyn FleetView>,
    pub availability: AvailabilityDirectory,
    pub roads: Option<Arc<RoadNetwork>>,
}

fn degrees(place: Place) -> (f64, f64) {
    (f64::from(place.latitude_e7) * 1e-7, f64::from(place.longitude_e7) * 1e-7)
}

impl Dispatch {
    /// The way from one place to another.
    pub fn way(&self, from: Place, to: Place) -> Way {
        if let Some(roads) = &self.roads {
            let on_road = |place: Place| {
                let (latitude, longitude) = degrees(place);
                let snap = roads.snap(latitude, longitude);
                RoadPlace { edge: snap.edge, offset_m: snap.offset_m }
            };
            let route = roads.route(on_road(from), on_road(to));
            return Way { metres: route.length_m, seconds: route.time_ms as f64 / 1e3 };
        }
        let straight = distance_m((from.latitude_e7, from.longitude_e7), (to.latitude_e7, to.longitude_e7));
        let metres = straight * limits::DETOUR;
        Way { metres, seconds: metres / limits::TOWN_MPS }
    }

    /// The whole way through all stops.
    pub fn through(&self, stops: &[Place]) -> Way {
        let legs = stops.windows(2).map(|leg| self.way(leg[0], leg[1]));
        legs.fold(Way { metres: 0.0, seconds: 0.0 }, |sum, leg| Way {
            metres: sum.metres + leg.metres,
            seconds: sum.seconds + leg.seconds,
        })
    }

    /// Free vehicles that are there, the soonest at the pick-up first. The vehicle itself decides whether it is still free.
    pub fn candidates(&self, organization: &OrganizationId, pick_up: Place, now_ms: i64) -> Vec<VehicleId> {
        let free = |vehicle: &VehicleId| {
            let line = self.availability.vehicle(organization, vehicle.as_str());
            line.ok().flatten().is_some_and(|line| {
                // A reservation that has run out is taken off when the vehicle is asked.
                (line.key.is_none() || line.expires_ms <= now_ms)
                    && line.service == remuda_vehicles::reservation::state::Service::InService
            })
        };
        let here = self.view.list(organization, None, usize::MAX, &|line| {
            line.presence == Presence::Online && line.position.is_some() && free(&line.vehicle)
        });
        let mut near: Vec<(f64, VehicleId, Place)> = here
            .into_iter()
            .filter_map(|line| {
                let at = line.position?;
                let place = Place { latitude_e7: at.latitude_e7, longitude_e7: at.longitude_e7 };
                let apart = distance_m(
                    (place.latitude_e7, place.longitude_e7),
                    (pick_up.latitude_e7, pick_up.longitude_e7),
                );
                Some((apart, line.vehicle, place))
            })
            .collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        near.truncate(limits::ROUTED);
        let mut by_time: Vec<(f64, VehicleId)> =
            near.into_iter().map(|(_, vehicle, place)| (self.way(place, pick_up).seconds, vehicle)).collect();
        by_time.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        by_time.into_iter().take(limits::CANDIDATES).map(|(_, vehicle)| vehicle).collect()
    }
}
