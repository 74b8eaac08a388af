//! Riders who ask for trips, and drivers who drive them: the business side of the demo, from a seed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_fleet::FleetHandle;
use remuda_model::VehicleId;
use remuda_roads::{RoadNetwork, haversine_m};
use tokio::sync::watch;

/// A place, degrees: latitude, longitude.
pub type Degrees = (f64, f64);

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// A ride as the business shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ride {
    /// Its id.
    pub id: String,
    /// `assigned`, `boarding`, `completed` and the like; `not-booked` when the booking was undone.
    pub state: String,
    /// Which vehicle has it.
    pub vehicle: String,
}

/// Numbers of the business.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RideFigures {
    /// Sagas under way.
    pub sagas_running: u64,
    /// Sagas that wait for an operator.
    pub sagas_stuck: u64,
    /// Places where money or vehicles are not given back or charged, and somebody must look.
    pub reactors_stopped: u64,
    /// Sum of all ledgers without its sign, minor units: zero, or money appeared or vanished.
    pub ledger_sum_minor_units: u64,
}

/// The ride business of a node, as riders and drivers see it.
pub trait Rides: Send + Sync {
    /// Puts vehicles in service and registers so many riders with credits; calls off what an earlier run left behind.
    fn open<'a>(&'a self, vehicles: &'a [VehicleId], riders: usize) -> Answer<'a, ()>;
    /// Books a ride for a rider, by number; the id is the request's. None when nobody is free or the rider cannot pay.
    fn book<'a>(&'a self, rider: usize, id: &'a str, from: Degrees, to: Degrees) -> Answer<'a, Option<Ride>>;
    /// How a ride stands.
    fn ride<'a>(&'a self, id: &'a str) -> Answer<'a, Ride>;
    /// Calls a ride off.
    fn cancel<'a>(&'a self, id: &'a str, reason: &'a str) -> Answer<'a, Ride>;
    /// Waits until all that happened is charged and listed.
    ///
    /// # Errors
    /// When that takes too long.
    fn settle(&self) -> Answer<'_, RideFigures>;
}

/// What became of the riders' wishes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RideCounts {
    /// Asked for.
    pub requested: u64,
    /// Driven to the drop-off.
    pub completed: u64,
    /// Called off, by the rider or because the demo ended.
    pub cancelled: u64,
    /// Whose booking was undone.
    pub compensated: u64,
    /// For which no vehicle was free.
    pub unserved: u64,
}

/// How often riders think and drivers look.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Vehicles for each ride that may be under way at once.
const VEHICLES_PER_RIDE: usize = 4;
/// How long a rider takes to get in.
const BOARDING: Duration = Duration::from_secs(2);
/// Places a rider has in mind.
const DESTINATIONS: usize = 24;
/// Nearer than this one walks, m.
const RIDE_M_MIN: f64 = 250.0;
/// Of so many rides one is called off by the rider on the way.
const CANCEL_ONE_IN: u64 = 20;

struct UnderWay {
    to: Degrees,
    from: Degrees,
    vehicle: Option<VehicleId>,
    boarding: Option<Instant>,
    sent_on: bool,
    cancels: bool,
}

/// Everybody who rides.
pub(crate) struct Demand {
    rides: Arc<dyn Rides>,
    network: Arc<RoadNetwork>,
    seed: u64,
    run: String,
    draws: u64,
    riders: usize,
    most: usize,
    under_way: BTreeMap<String, UnderWay>,
    counts: RideCounts,
    shown: watch::Sender<RideCounts>,
}

/// SplitMix64: the same seed, the same wishes.
fn mix(mut n: u64) -> u64 {
    n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

impl Demand {
    pub fn new(
        rides: Arc<dyn Rides>,
        network: Arc<RoadNetwork>,
        vehicles: usize,
        seed: u64,
        run: String,
    ) -> Self {
        let (riders, most) = ((vehicles / 2).max(2), (vehicles / VEHICLES_PER_RIDE).max(1));
        let under_way = BTreeMap::new();
        Self {
            rides,
            network,
            seed,
            run,
            draws: 0,
            riders,
            most,
            under_way,
            counts: RideCounts::default(),
            shown: watch::Sender::default(),
        }
    }

    /// Counts so far, for the progress line.
    pub fn counts(&self) -> watch::Receiver<RideCounts> {
        self.shown.subscribe()
    }

    pub fn riders(&self) -> usize {
        self.riders
    }

    fn draw(&mut self) -> u64 {
        self.draws += 1;
        mix(self.seed ^ mix(self.draws))
    }

    fn place(&mut self) -> Degrees {
        let edges = self.network.edges().len() as u64;
        let drawn = (self.draw() % edges) as usize;
        let edge = self.network.edge_at(drawn);
        // There are as many edges as were counted.
        let Some(edge) = edge else { return (0.0, 0.0) };
        let share = (self.draw() % 1_000) as f64 / 1_000.0;
        let at = self.network.position(edge, self.network.edge(edge).length_m * share);
        (at.latitude, at.longitude)
    }

    /// Where a rider wants to go: the nearest of some places that is worth a ride, so that trips end while one looks on.
    fn destination(&mut self, from: Degrees) -> Degrees {
        let mut best = (f64::INFINITY, self.place());
        for _ in 0..DESTINATIONS {
            let place = self.place();
            let far = haversine_m(from, place);
            if far > RIDE_M_MIN && far < best.0 {
                best = (far, place);
            }
        }
        best.1
    }

    /// Asks and drives until told to stop; then calls off what is still under way. Answers what became of it all.
    pub async fn run(mut self, fleet: Arc<FleetHandle>, mut stop: watch::Receiver<bool>) -> RideCounts {
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.ask(&fleet).await;
            self.drive(&fleet).await;
            self.shown.send_replace(self.counts);
        }
        for id in self.under_way.keys() {
            match self.rides.cancel(id, "the demo ends").await {
                Ok(ride) if ride.state == "completed" => self.counts.completed += 1,
                Ok(ride) if ride.state == "not-booked" => self.counts.compensated += 1,
                Ok(_) => self.counts.cancelled += 1,
                Err(error) => eprintln!("\n{id} was not called off: {error}"),
            }
        }
        self.counts
    }

    /// A rider asks, now and then.
    async fn ask(&mut self, fleet: &FleetHandle) {
        if self.under_way.len() >= self.most || self.draw().is_multiple_of(3) {
            return;
        }
        let from = self.place();
        let to = self.destination(from);
        let rider = (self.draw() % self.riders as u64) as usize;
        let id = format!("{}-{}", self.run, self.counts.requested);
        self.counts.requested += 1;
        let cancels = self.draw().is_multiple_of(CANCEL_ONE_IN);
        match self.rides.book(rider, &id, from, to).await {
            Ok(Some(ride)) if ride.state == "not-booked" => self.counts.compensated += 1,
            Ok(Some(ride)) => {
                let vehicle = VehicleId::new(&ride.vehicle).ok();
                if let Some(vehicle) = &vehicle {
                    fleet.send(vehicle, from).await;
                }
                let under_way = UnderWay { to, from, vehicle, boarding: None, sent_on: false, cancels };
                self.under_way.insert(id, under_way);
            }
            // They walk.
            Ok(None) => self.counts.unserved += 1,
            Err(error) => {
                self.counts.unserved += 1;
                eprintln!("\n{id} was not booked: {error}");
            }
        }
    }

    /// Drivers look at their trips and do what comes next.
    async fn drive(&mut self, fleet: &FleetHandle) {
        let mut over = Vec::new();
        for (id, under_way) in &mut self.under_way {
            let Ok(ride) = self.rides.ride(id).await else { continue };
            if under_way.vehicle.is_none()
                && let Ok(vehicle) = VehicleId::new(&ride.vehicle)
            {
                fleet.send(&vehicle, under_way.from).await;
                under_way.vehicle = Some(vehicle);
            }
            match ride.state.as_str() {
                "arriving" if under_way.cancels => {
                    // The rider has changed their mind; at most one try, the driver may be faster.
                    under_way.cancels = false;
                    let _ = self.rides.cancel(id, "the rider changed their mind").await;
                }
                "boarding" | "under-way" if !under_way.sent_on => {
                    let since = *under_way.boarding.get_or_insert_with(Instant::now);
                    if since.elapsed() >= BOARDING
                        && let Some(vehicle) = &under_way.vehicle
                    {
                        fleet.send(vehicle, under_way.to).await;
                        under_way.sent_on = true;
                    }
                }
                "completed" => {
                    self.counts.completed += 1;
                    over.push(id.clone());
                }
                "cancelled" | "no-show" => {
                    self.counts.cancelled += 1;
                    over.push(id.clone());
                }
                "not-booked" => {
                    self.counts.compensated += 1;
                    over.push(id.clone());
                }
                _ => {}
            }
        }
        for id in over {
            if let Some(UnderWay { vehicle: Some(vehicle), .. }) = self.under_way.remove(&id) {
                fleet.release(&vehicle).await;
            }
        }
    }
}
