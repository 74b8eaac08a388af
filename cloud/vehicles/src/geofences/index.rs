//! Where geofences are: found by a position without looking at those elsewhere. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_contracts::business::vehicles::Home;
use remuda_contracts::geofences::{Geofence, GeofenceId, GeofencePart, Place};
use rstar::RTree;
use rstar::primitives::{GeomWithData, Rectangle};

use super::shape::Area;

/// A geofence, ready to be looked at.
#[derive(Debug, PartialEq)]
pub struct Fence {
    /// As people see it.
    pub geofence: Arc<Geofence>,
    /// Where it is.
    pub area: Area,
}

impl Fence {
    /// Which.
    pub fn id(&self) -> GeofenceId {
        self.geofence.id
    }

    /// Whether it is for a vehicle that belongs there; none when that is not known.
    pub fn is_for(&self, home: Option<&Home>) -> Option<bool> {
        match &self.geofence.spec.part {
            GeofencePart::Organization => Some(true),
            GeofencePart::Fleet(fleet) => home.map(|home| home.fleet.as_ref() == Some(fleet)),
            GeofencePart::Depot(depot) => home.map(|home| home.depot.as_ref() == Some(depot)),
        }
    }
}

type Spot = GeomWithData<Rectangle<[f64; 2]>, Arc<Fence>>;

/// The geofences that something follows from, by place and by id.
#[derive(Debug, Default)]
pub struct Fences {
    by_id: BTreeMap<GeofenceId, Arc<Fence>>,
    by_place: RTree<Spot>,
    has_parts: bool,
}

/// The way around the earth, 1e-7 degrees.
const TURN: f64 = 3.6e9;

impl Fences {
    /// Those that are enabled.
    pub fn new<'a>(all: impl IntoIterator<Item = &'a Arc<Geofence>>) -> Self {
        Self::default().with(all)
    }

    /// These instead; those that are the same are not looked at again. One whose shape cannot be is left out: none such is taken.
    pub fn with<'a>(&self, all: impl IntoIterator<Item = &'a Arc<Geofence>>) -> Self {
        let enabled = all.into_iter().filter(|geofence| geofence.spec.enabled);
        let fences = enabled.filter_map(|geofence| {
            let known = self.by_id.get(&geofence.id).filter(|known| Arc::ptr_eq(&known.geofence, geofence));
            if let Some(known) = known {
                return Some((geofence.id, Arc::clone(known)));
            }
            let area = Area::of(&geofence.spec.shape).ok()?;
            Some((geofence.id, Arc::new(Fence { geofence: Arc::clone(geofence), area })))
        });
        let by_id: BTreeMap<GeofenceId, Arc<Fence>> = fences.collect();
        let mut spots = Vec::with_capacity(by_id.len());
        for fence in by_id.values() {
            let [west, south, east, north] = fence.area.bounds().map(|e7| e7 as f64);
            // Where a longitude of -180 to 180 finds it: more than one place when it lies across the date line.
            for turn in [-TURN, 0.0, TURN] {
                let (west, east) = (west + turn, east + turn);
                if west <= TURN / 2.0 && east >= -TURN / 2.0 {
                    let rectangle = Rectangle::from_corners([west, south], [east, north]);
                    spots.push(Spot::new(rectangle, Arc::clone(fence)));
                }
            }
        }
        let has_parts = by_id.values().any(|fence| fence.geofence.spec.part != GeofencePart::Organization);
        Self { by_id, by_place: RTree::bulk_load(spots), has_parts }
    }

    /// Nothing follows from anything.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Whether any of them is for a part of the organisation: where vehicles belong matters.
    pub const fn has_parts(&self) -> bool {
        self.has_parts
    }

    /// One of them.
    pub fn get(&self, id: &GeofenceId) -> Option<&Arc<Fence>> {
        self.by_id.get(id)
    }

    /// Those that a place may be in, by their bounds. One that lies around the whole date line may come twice.
    pub fn near(&self, place: Place) -> impl Iterator<Item = &Arc<Fence>> {
        let at = [f64::from(place.longitude_e7), f64::from(place.latitude_e7)];
        self.by_place.locate_all_at_point(at).map(|spot| &spot.data)
    }
}
