//! Which vehicles are asked first: the nearest free ones, by road time where a map is loaded.

use std::sync::Arc;

use remuda_contracts::business::Place;
use remuda_model::VehicleId;
use remuda_roads::{Place as RoadPlace, RoadNetwork};
use remuda_trips::fences::distance_m;
use remuda_trips::limits::ROUTE_POINTS_MAX;
use remuda_trips::route::RouteLine;

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

fn on_road(roads: &RoadNetwork, place: Place) -> RoadPlace {
    let (latitude, longitude) = degrees(place);
    let snap = roads.snap(latitude, longitude);
    RoadPlace { edge: snap.edge, offset_m: snap.offset_m }
}

impl Dispatch {
    /// The way from one place to another.
    pub fn way(&self, from: Place, to: Place) -> Way {
        if let Some(roads) = &self.roads {
            let route = roads.route(on_road(roads, from), on_road(roads, to));
            return Way { metres: route.length_m, seconds: route.time_ms as f64 / 1e3 };
        }
        let straight = distance_m((from.latitude_e7, from.longitude_e7), (to.latitude_e7, to.longitude_e7));
        let metres = straight * limits::DETOUR;
        Way { metres, seconds: metres / limits::TOWN_MPS }
    }

    /// The line of the way from one place to another; straight where no map is loaded.
    pub fn line(&self, from: Place, to: Place) -> Option<RouteLine> {
        let e7 = |place: Place| (place.latitude_e7, place.longitude_e7);
        let mut corners = vec![e7(from)];
        if let Some(roads) = &self.roads {
            let (start, end) = (on_road(roads, from), on_road(roads, to));
            let route = roads.route(start, end);
            let last = route.edges.len().saturating_sub(1);
            for (n, edge) in route.edges.iter().enumerate() {
                let driven = roads.vertices(*edge).iter().filter(|corner| {
                    (n > 0 || corner.along_m > route.start_offset_m)
                        && (n < last || corner.along_m < route.end_offset_m)
                });
                let e7 = |degrees: f64| (degrees * 1e7).round() as i32;
                corners.extend(driven.map(|corner| (e7(corner.latitude), e7(corner.longitude))));
            }
        }
        // A long way has more corners than an arrival needs.
        let every = corners.len().div_ceil(ROUTE_POINTS_MAX - 1).max(1);
        let mut corners: Vec<(i32, i32)> = corners.into_iter().step_by(every).collect();
        corners.push(e7(to));
        RouteLine::new(corners)
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
