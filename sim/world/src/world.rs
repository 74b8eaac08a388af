//! The world: all vehicles, one clock.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use remuda_model::shard::fnv1a_64;
use remuda_model::{SignalId, VehicleId};
use remuda_roads::{Place, RoadNetwork, Router, haversine_m};

use crate::dice::Dice;
use crate::limits::{ROUTES_PER_STEP, STEP_MS_MAX};
use crate::sensors::Sensors;
use crate::streets::{Streets, random_place};
use crate::vehicle::{Activity, Vehicle};

/// Roads and the vehicles on them.
pub struct World {
    streets: Streets,
    sensors: Sensors,
    vehicles: Vec<Vehicle>,
    /// Vehicles that wait for their route, in the order in which they asked.
    planning: VecDeque<usize>,
    router: Router,
    time_ms: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { vehicles, time_ms, .. } = self;
        f.debug_struct("World").field("vehicles", &vehicles.len()).field("time_ms", time_ms).finish()
    }
}

/// The id of the vehicle with this number, from 0: `SIM000001` and so on.
pub fn vehicle_id(number: usize) -> VehicleId {
    VehicleId::new(&format!("SIM{:06}", number + 1)).expect("letters and digits, far below 48")
}

impl World {
    /// Places so many vehicles on the roads. The same arguments give the same world.
    pub fn new(network: Arc<RoadNetwork>, vehicles: usize, seed: u64) -> Self {
        let mut dice = Dice::new(seed, u64::MAX - 1);
        let streets = Streets::new(network, seed);
        let place = |number: usize| {
            let place = random_place(&streets.network, &mut dice);
            Vehicle::new(number, vehicle_id(number), seed, place, &streets)
        };
        let vehicles = (0..vehicles).map(place).collect();
        Self {
            streets,
            sensors: Sensors::new(),
            vehicles,
            planning: VecDeque::new(),
            router: Router::new(),
            time_ms: 0,
        }
    }

    /// Lets `dt` pass, in pieces of at most 200 ms. Parts of a millisecond are dropped.
    pub fn step(&mut self, dt: Duration) {
        let mut left = u64::try_from(dt.as_millis()).unwrap_or(u64::MAX);
        while left > 0 {
            let piece = left.min(STEP_MS_MAX);
            self.step_once(piece);
            left -= piece;
        }
    }

    fn step_once(&mut self, dt_ms: u64) {
        for (number, vehicle) in self.vehicles.iter_mut().enumerate() {
            if vehicle.step(&self.streets, self.time_ms, dt_ms) {
                self.planning.push_back(number);
            }
        }
        self.time_ms += dt_ms;
        for _ in 0..ROUTES_PER_STEP {
            let Some(number) = self.planning.pop_front() else { break };
            let vehicle = &mut self.vehicles[number];
            let to = vehicle.errand.take().unwrap_or_else(|| destination(&self.streets, vehicle));
            vehicle.depart(self.router.route(&self.streets.network, vehicle.place(), to));
        }
    }

    /// Limits a vehicle's speed, km/h, whatever the road permits; `None` lets it go as fast as it may.
    pub fn limit_speed(&mut self, number: usize, kmh: Option<u16>) {
        if let Some(vehicle) = self.vehicles.get_mut(number) {
            vehicle.limit_speed(kmh);
        }
    }

    /// Sends a vehicle to the road nearest to a place, degrees; it waits there until it is sent on or released.
    pub fn send(&mut self, number: usize, (latitude, longitude): (f64, f64)) {
        let snap = self.streets.network.snap(latitude, longitude);
        let place = Place { edge: snap.edge, offset_m: snap.offset_m };
        if self.vehicles.get_mut(number).is_some_and(|vehicle| vehicle.send(place)) {
            self.planning.push_back(number);
        }
    }

    /// Lets a vehicle that was sent somewhere go where it likes again.
    pub fn release(&mut self, number: usize) {
        if let Some(vehicle) = self.vehicles.get_mut(number) {
            vehicle.release();
        }
    }

    /// How many vehicles there are.
    pub fn len(&self) -> usize {
        self.vehicles.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.vehicles.is_empty()
    }

    /// Time since the world began, ms.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// Every vehicle, by number.
    pub fn vehicles(&self) -> &[Vehicle] {
        &self.vehicles
    }

    /// The roads.
    pub fn network(&self) -> &Arc<RoadNetwork> {
        &self.streets.network
    }

    /// Appends what the sensors of a vehicle read now, ascending by signal. Reading changes nothing.
    pub fn read_sensors(&self, number: usize, out: &mut Vec<(SignalId, i64)>) {
        self.sensors.read(&self.vehicles[number], self.time_ms, out);
    }

    /// How many vehicles are under way.
    pub fn driving(&self) -> usize {
        self.vehicles.iter().filter(|v| v.activity() == Activity::Driving).count()
    }

    /// A number that differs when anything any sensor reads differs.
    pub fn digest(&self) -> u64 {
        let mut bytes = Vec::new();
        let mut readings = Vec::new();
        for number in 0..self.len() {
            readings.clear();
            self.read_sensors(number, &mut readings);
            for (signal, raw) in &readings {
                bytes.extend_from_slice(&signal.0.to_le_bytes());
                bytes.extend_from_slice(&raw.to_le_bytes());
            }
        }
        fnv1a_64(&bytes)
    }
}

/// The nearest of a few places by chance: most trips are short.
fn destination(streets: &Streets, vehicle: &mut Vehicle) -> Place {
    let here = vehicle.position();
    let distance = |place: &Place| {
        let there = streets.network.position(place.edge, place.offset_m);
        haversine_m((here.latitude, here.longitude), (there.latitude, there.longitude))
    };
    let mut best: Option<(f64, Place)> = None;
    for _ in 0..4 {
        let candidate = if vehicle.wants_charge {
            streets.chargers[vehicle.dice.below(streets.chargers.len())]
        } else {
            random_place(&streets.network, &mut vehicle.dice)
        };
        let far = distance(&candidate);
        if best.is_none_or(|(nearest, _)| far < nearest) {
            best = Some((far, candidate));
        }
    }
    // Four were drawn.
    best.map_or_else(|| vehicle.place(), |(_, place)| place)
}
