//! Which vehicles are asked first: the nearest free ones, by road time where a map is loaded.

use std::sync::Arc;

use remuda_contracts::business::Place;
use remuda_model::VehicleId;
use remuda_roads::{Place as RoadPlace, RoadNetwork};
use remuda_trips::fences::distance_m;

use crate::free::FreeVehicles;
use crate::limits;

/// Length of a way and how long it takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Way {
    pub metres: f64,
    pub seconds: f64,
}

/// The choice of vehicles.
pub(crate) struct Dispatch {
    pub free: Arc<FreeVehicles>,
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
    pub async fn candidates(&self, pick_up: Place, now_ms: i64) -> Vec<VehicleId> {
        let near = self.free.nearest(pick_up, limits::ROUTED, now_ms).await;
        let mut by_time: Vec<(f64, VehicleId)> =
            near.into_iter().map(|(_, vehicle, place)| (self.way(place, pick_up).seconds, vehicle)).collect();
        by_time.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        by_time.into_iter().take(limits::CANDIDATES).map(|(_, vehicle)| vehicle).collect()
    }
}
