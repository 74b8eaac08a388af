//! Where free vehicles are: a picture of the fleet that is taken at most a few times a second, in a spatial index, so that a
//! booking looks at those near it and not at all of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::RwLock;
use remuda_contracts::business::Place;
use remuda_contracts::fleet::{FleetView, Presence};
use remuda_model::{OrganizationId, VehicleId};
use remuda_vehicles::reservation::AvailabilityDirectory;
use remuda_vehicles::reservation::lists::AvailabilityLine;
use remuda_vehicles::reservation::state::Service;
use rstar::primitives::GeomWithData;
use rstar::{AABB, PointDistance, RTree, RTreeObject};
use tokio::sync::Mutex;

use crate::limits;

/// Mean radius of the earth, m.
const EARTH_M: f64 = 6_371_008.8;

/// A place on the unit sphere: near each other there is near each other on the ground, at the date line and the poles too.
#[derive(Debug, Clone, Copy, PartialEq)]
struct OnSphere([f64; 3]);

impl OnSphere {
    fn of(place: Place) -> Self {
        let radians = |e7: i32| (f64::from(e7) * 1e-7).to_radians();
        let (latitude, longitude) = (radians(place.latitude_e7), radians(place.longitude_e7));
        Self([latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()])
    }
}

impl RTreeObject for OnSphere {
    type Envelope = AABB<[f64; 3]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_point(self.0)
    }
}

impl PointDistance for OnSphere {
    fn distance_2(&self, point: &[f64; 3]) -> f64 {
        self.0.iter().zip(point).map(|(a, b)| (a - b).powi(2)).sum()
    }
}

/// Length of the arc over a chord of the unit sphere, m.
fn arc_m(chord: f64) -> f64 {
    2.0 * (chord / 2.0).min(1.0).asin() * EARTH_M
}

type Vehicle = GeomWithData<OnSphere, (VehicleId, Place)>;

struct Picture {
    tree: RTree<Vehicle>,
    taken: Instant,
}

/// Free vehicles that are there.
pub(crate) struct FreeVehicles {
    view: Arc<dyn FleetView>,
    availability: AvailabilityDirectory,
    organization: OrganizationId,
    picture: RwLock<Option<Arc<Picture>>>,
    /// One picture is taken at a time; who waits for it uses it as well.
    taking: Mutex<()>,
}

/// In service, and nobody has it; a reservation that has run out is taken off when the vehicle is asked.
fn is_free(line: &AvailabilityLine, now_ms: i64) -> bool {
    (line.key.is_none() || line.expires_ms <= now_ms) && line.service == Service::InService
}

impl FreeVehicles {
    pub fn new(
        view: Arc<dyn FleetView>,
        availability: AvailabilityDirectory,
        organization: OrganizationId,
    ) -> Arc<Self> {
        let (picture, taking) = (RwLock::new(None), Mutex::new(()));
        Arc::new(Self { view, availability, organization, picture, taking })
    }

    /// The nearest free vehicles, at most `limit`, with how far they are as the crow flies, m.
    pub async fn nearest(
        self: &Arc<Self>,
        place: Place,
        limit: usize,
        now_ms: i64,
    ) -> Vec<(f64, VehicleId, Place)> {
        let picture = self.picture(limits::PICTURE_AGE_MAX, now_ms).await;
        let found = self.look(&picture, place, limit, now_ms);
        if !found.is_empty() {
            return found;
        }
        // Somebody may have become free since; but those who find nobody must not have the whole fleet looked at each time.
        let picture = self.picture(Duration::ZERO, now_ms).await;
        self.look(&picture, place, limit, now_ms)
    }

    fn look(
        &self,
        picture: &Picture,
        place: Place,
        limit: usize,
        now_ms: i64,
    ) -> Vec<(f64, VehicleId, Place)> {
        let still_free = |vehicle: &VehicleId| {
            let line = self.availability.vehicle(&self.organization, vehicle.as_str());
            line.ok().flatten().is_some_and(|line| is_free(&line, now_ms))
        };
        let near = picture.tree.nearest_neighbor_iter_with_distance_2(OnSphere::of(place).0);
        near.filter(|(vehicle, _)| still_free(&vehicle.data.0))
            .take(limit)
            .map(|(vehicle, squared)| (arc_m(squared.sqrt()), vehicle.data.0, vehicle.data.1))
            .collect()
    }

    /// A picture of this age or younger; a new one, as soon as one may be taken again, for no age at all.
    async fn picture(self: &Arc<Self>, age: Duration, now_ms: i64) -> Arc<Picture> {
        if let Some(picture) = self.recent(age) {
            return picture;
        }
        let asked = Instant::now();
        let _taking = self.taking.lock().await;
        // Another has taken one while this one waited.
        let last = self.picture.read().clone();
        if let Some(last) = last {
            if last.taken >= asked {
                return last;
            }
            // Never more often than this, whoever asks.
            tokio::time::sleep(limits::PICTURE_AGE_MIN.saturating_sub(last.taken.elapsed())).await;
        }
        let this = Arc::clone(self);
        let taken = tokio::task::spawn_blocking(move || this.take(now_ms)).await;
        // It panicked, which was reported: then there is nobody to be seen.
        let picture =
            Arc::new(taken.unwrap_or_else(|_| Picture { tree: RTree::new(), taken: Instant::now() }));
        *self.picture.write() = Some(Arc::clone(&picture));
        picture
    }

    fn recent(&self, age: Duration) -> Option<Arc<Picture>> {
        self.picture.read().clone().filter(|picture| picture.taken.elapsed() < age)
    }

    fn take(&self, now_ms: i64) -> Picture {
        // Before looking: who became free meanwhile may or may not be in it.
        let taken = Instant::now();
        let free = |vehicle: &VehicleId| {
            let line = self.availability.vehicle(&self.organization, vehicle.as_str());
            line.ok().flatten().is_some_and(|line| is_free(&line, now_ms))
        };
        let here = self.view.list(&self.organization, None, usize::MAX, &|line| {
            line.presence == Presence::Online && line.position.is_some() && free(&line.vehicle)
        });
        let vehicles = here.into_iter().filter_map(|line| {
            let at = line.position?;
            let place = Place { latitude_e7: at.latitude_e7, longitude_e7: at.longitude_e7 };
            Some(GeomWithData::new(OnSphere::of(place), (line.vehicle, place)))
        });
        Picture { tree: RTree::bulk_load(vehicles.collect()), taken }
    }
}

#[cfg(test)]
mod tests {
    use remuda_trips::fences::distance_m;

    use super::*;

    fn place(latitude: f64, longitude: f64) -> Place {
        Place { latitude_e7: (latitude * 1e7) as i32, longitude_e7: (longitude * 1e7) as i32 }
    }

    #[test]
    fn the_nearest_is_the_nearest_on_the_ground_also_over_the_date_line() {
        let vehicles = [place(48.1, 11.5), place(-17.0, 179.999), place(-17.0, 179.0), place(89.9, 0.0)];
        let tree = RTree::bulk_load(
            vehicles.into_iter().enumerate().map(|(n, at)| GeomWithData::new(OnSphere::of(at), n)).collect(),
        );
        for (from, nearest) in [(place(48.0, 11.4), 0), (place(-17.0, -179.999), 1), (place(89.9, 180.0), 3)]
        {
            let found = tree.nearest_neighbor_iter_with_distance_2(OnSphere::of(from).0).next();
            let (vehicle, squared) = found.expect("there are some");
            assert_eq!(vehicle.data, nearest);
            let at = vehicles[nearest];
            if at.latitude_e7 > 850_000_000 {
                // Over the pole, a fifth of a degree: the flat approximation of the fences does not hold there.
                assert!((arc_m(squared.sqrt()) - 0.2_f64.to_radians() * EARTH_M).abs() < 1.0);
                continue;
            }
            let ground = distance_m((from.latitude_e7, from.longitude_e7), (at.latitude_e7, at.longitude_e7));
            let arc = arc_m(squared.sqrt());
            assert!((arc - ground).abs() < ground * 0.01 + 1.0, "{arc} m, {ground} m");
        }
    }
}
