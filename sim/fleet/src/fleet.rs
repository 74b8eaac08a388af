//! A world and its agents: steps the one, feeds the others.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use remuda_model::VehicleId;
use remuda_wire::Question;
use remuda_world::{Activity, World};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::agents::{Agents, Collect};
use crate::error::FleetError;
use crate::figures::Figures;
use crate::limits::{DRAIN_PATIENCE, ERRANDS_WAITING, RATE_HZ_MAX};
use crate::settings::FleetSettings;

/// Starts fleets.
#[derive(Debug)]
pub struct Fleet;

/// What the driver of a vehicle is told.
#[derive(Debug, Clone, Copy)]
enum Errand {
    /// Drive there, degrees, and wait.
    Go(usize, (f64, f64)),
    /// Do as you like.
    AsYouLike(usize),
}

/// A fleet that runs. Dropped without [`FleetHandle::stop`] its agents end as if the power had failed.
#[derive(Debug)]
pub struct FleetHandle {
    agents: Arc<Agents>,
    steps_late: Arc<AtomicU64>,
    stop: watch::Sender<bool>,
    errands: mpsc::Sender<Errand>,
    numbers: HashMap<VehicleId, usize>,
    driving: JoinHandle<World>,
    started: Instant,
}

impl Fleet {
    /// Opens every vehicle's outbox, lets the agents connect, and lets the world run in real time.
    ///
    /// A cloud that is not there yet is no error: vehicles keep what they make and go on trying.
    pub async fn start(settings: FleetSettings, world: World) -> Result<FleetHandle, FleetError> {
        let valid = settings.rate_hz > 0.0 && settings.rate_hz <= RATE_HZ_MAX;
        if !valid {
            return Err(FleetError::Rate { rate: settings.rate_hz });
        }
        let ids: Vec<VehicleId> = world.vehicles().iter().map(remuda_world::Vehicle::id).collect();
        let numbers = ids.iter().enumerate().map(|(number, id)| (*id, number)).collect();
        let (errands, told) = mpsc::channel(ERRANDS_WAITING);
        let agents = Arc::new(Agents::start(&settings, ids, Collect::AsTheProduct).await?);
        let steps_late = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(false);
        let period = Duration::from_secs_f64(1.0 / settings.rate_hz);
        let driving =
            tokio::spawn(drive(world, Arc::clone(&agents), period, (stopped, told), Arc::clone(&steps_late)));
        Ok(FleetHandle { agents, steps_late, stop, errands, numbers, driving, started: Instant::now() })
    }
}

impl FleetHandle {
    /// What happened so far.
    pub fn figures(&self) -> Figures {
        let counted = self.agents.figures();
        let steps_late = self.steps_late.load(Ordering::Relaxed);
        Figures { steps_late, ..counted }.finish(self.started.elapsed())
    }

    /// Sends a vehicle's driver to a place, degrees; they wait there. A vehicle that is not of this fleet goes nowhere.
    pub async fn send(&self, vehicle: &VehicleId, place: (f64, f64)) {
        if let Some(number) = self.numbers.get(vehicle) {
            // Nobody drives any more when the fleet stops.
            let _ = self.errands.send(Errand::Go(*number, place)).await;
        }
    }

    /// Has a vehicle ask a person. One that is not of this fleet asks nobody.
    pub fn ask(&self, vehicle: &VehicleId, question: Question) {
        if let Some(number) = self.numbers.get(vehicle) {
            self.agents.ask(*number, question);
        }
    }

    /// Lets a vehicle's driver go where they like again.
    pub async fn release(&self, vehicle: &VehicleId) {
        if let Some(number) = self.numbers.get(vehicle) {
            let _ = self.errands.send(Errand::AsYouLike(*number)).await;
        }
    }

    /// Whether it can only be stopped now: an outbox failed, or a task panicked. [`Self::stop`] says why.
    pub fn has_failed(&self) -> bool {
        self.driving.is_finished() || self.agents.has_failed()
    }

    /// Stops the world, makes what is pending durable, waits a while for acks, and says farewell.
    ///
    /// Takes [`DRAIN_PATIENCE`] and a little at most; what is not acked by then stays in the outboxes.
    pub async fn stop(self) -> Result<Figures, FleetError> {
        let elapsed = self.started.elapsed();
        let _ = self.stop.send(true);
        // The world ends with its task; a panic in it has been printed.
        let driven = self.driving.await;
        let counted = self.agents.stop(DRAIN_PATIENCE).await?;
        driven.map_err(|_| FleetError::Broken)?;
        let steps_late = self.steps_late.load(Ordering::Relaxed);
        Ok(Figures { steps_late, ..counted }.finish(elapsed))
    }
}

/// Steps the world in real time and hands its readings to the agents.
async fn drive(
    mut world: World,
    agents: Arc<Agents>,
    period: Duration,
    (mut stop, mut told): (watch::Receiver<bool>, mpsc::Receiver<Errand>),
    steps_late: Arc<AtomicU64>,
) -> World {
    let mut ticks = tokio::time::interval(period);
    // A late step makes the next one longer instead of being made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    let mut under_way = vec![false; world.len()];
    let mut readings = Vec::new();
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return world,
            _ = ticks.tick() => {}
        }
        let now = Instant::now();
        let passed = now - last;
        if passed > period * 2 {
            steps_late.fetch_add(1, Ordering::Relaxed);
        }
        while let Ok(errand) = told.try_recv() {
            match errand {
                Errand::Go(number, place) => world.send(number, place),
                Errand::AsYouLike(number) => world.release(number),
            }
        }
        for number in 0..world.len() {
            world.limit_speed(number, agents.speed_limit_kmh(number));
        }
        // Never more than a second at once: after a pause the world goes on where it was.
        world.step(passed.min(Duration::from_secs(1)));
        // What a millisecond was cut into is kept for the next step.
        last = now - Duration::from_nanos(u64::from(passed.subsec_nanos() % 1_000_000));
        for (number, was_under_way) in under_way.iter_mut().enumerate() {
            readings.clear();
            world.read_sensors(number, &mut readings);
            agents.sample(number, &readings);
            let vehicle = &world.vehicles()[number];
            let is_under_way = vehicle.activity() == Activity::Driving;
            if is_under_way != std::mem::replace(was_under_way, is_under_way) {
                agents.trip_mark(number, is_under_way, vehicle.position());
            }
            // The world may take a whole core; everybody else gets a turn between vehicles.
            if number % 256 == 255 {
                tokio::task::yield_now().await;
            }
        }
    }
}
