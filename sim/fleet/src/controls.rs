//! What simulated vehicles do when they are told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use remuda_edge_agent::{Actuators, ChoiceMade, Clock, Input, Reading};
use remuda_model::{SignalId, signal};
use remuda_wire::CommandKind;
use remuda_wire::frame::CommandOutcome;
use tokio::sync::mpsc;

/// The locks that a command turns, and that the twin shows.
const LOCKS: [SignalId; 4] = [
    signal::DOOR_LOCKED_FRONT_DRIVER,
    signal::DOOR_LOCKED_FRONT_PASSENGER,
    signal::DOOR_LOCKED_REAR_DRIVER,
    signal::DOOR_LOCKED_REAR_PASSENGER,
];

/// What the world should know of a vehicle's orders.
#[derive(Debug, Default)]
pub(crate) struct Told {
    /// km/h; 0: no limit.
    speed_limit_kmh: AtomicU16,
    honks: AtomicU64,
    /// Until when it creeps, because it waits for a person or was told to, ns of the fleet's clock.
    creeps_until_ns: AtomicU64,
}

/// How fast a vehicle creeps, km/h.
const CREEP_KMH: u16 = 10;
/// How long it goes on creeping when it takes a question's first option, ns.
const CREEP_ON_NS: u64 = 10_000_000_000;

impl Told {
    /// The limit in force, km/h.
    pub(crate) fn speed_limit_kmh(&self, now_ns: u64) -> Option<u16> {
        let commanded = Some(self.speed_limit_kmh.load(Relaxed)).filter(|kmh| *kmh > 0);
        if now_ns < self.creeps_until_ns.load(Relaxed) {
            return Some(commanded.map_or(CREEP_KMH, |kmh| kmh.min(CREEP_KMH)));
        }
        commanded
    }

    /// It waits for a person, no longer than this. Of several questions the last deadline counts.
    pub(crate) fn waits_until(&self, ns: u64) {
        self.creeps_until_ns.fetch_max(ns, Relaxed);
    }

    /// It takes an option: by the first it goes on with care for a while, by any other it drives on.
    fn takes(&self, option: u8, now_ns: u64) {
        let until_ns = if option == 0 { now_ns + CREEP_ON_NS } else { 0 };
        self.creeps_until_ns.store(until_ns, Relaxed);
    }
}

/// One vehicle's actuators.
#[derive(Debug)]
pub(crate) struct Simulated {
    /// Its sensors' way into its agent; gone when the fleet stops, which must not wait for us.
    sensors: mpsc::WeakSender<Input>,
    told: Arc<Told>,
    clock: Clock,
}

impl Simulated {
    pub(crate) fn new(sensors: mpsc::WeakSender<Input>, told: Arc<Told>, clock: Clock) -> Self {
        Self { sensors, told, clock }
    }

    /// Whether the locks' sensors could say so.
    fn turn_locks(&self, locked: bool) -> bool {
        let mono_ns = self.clock.now();
        let reading = |signal| Reading { signal, raw: i64::from(locked), mono_ns };
        let readings = Input::Readings(LOCKS.map(reading).to_vec());
        self.sensors.upgrade().is_some_and(|sensors| sensors.try_send(readings).is_ok())
    }
}

impl Actuators for Simulated {
    fn perform(&self, kind: CommandKind) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        let outcome = match kind {
            CommandKind::Lock(locked) if self.turn_locks(locked) => CommandOutcome::Done,
            CommandKind::Lock(_) => CommandOutcome::Failed("the body controller is busy".to_owned()),
            CommandKind::Honk => {
                self.told.honks.fetch_add(1, Relaxed);
                CommandOutcome::Done
            }
            CommandKind::SpeedLimit(kmh) => {
                self.told.speed_limit_kmh.store(kmh, Relaxed);
                CommandOutcome::Done
            }
            // A simulated agent cannot start itself anew.
            CommandKind::Reboot | CommandKind::Answer { .. } => CommandOutcome::Refused("kind".to_owned()),
        };
        Box::pin(std::future::ready(outcome))
    }

    fn act(&self, choice: ChoiceMade) -> Pin<Box<dyn Future<Output = CommandOutcome> + Send>> {
        self.told.takes(choice.option, self.clock.now());
        Box::pin(std::future::ready(CommandOutcome::Done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vehicle_creeps_while_it_waits_and_does_what_was_chosen() {
        let told = Told::default();
        assert_eq!(told.speed_limit_kmh(0), None);
        told.waits_until(100);
        told.waits_until(50);
        assert_eq!((told.speed_limit_kmh(99), told.speed_limit_kmh(100)), (Some(CREEP_KMH), None));
        told.takes(1, 50);
        assert_eq!(told.speed_limit_kmh(50), None, "it drives on");
        told.takes(0, 50);
        assert_eq!(told.speed_limit_kmh(50 + CREEP_ON_NS - 1), Some(CREEP_KMH));
        told.speed_limit_kmh.store(80, Relaxed);
        assert_eq!(told.speed_limit_kmh(51), Some(CREEP_KMH), "the lower limit counts");
        assert_eq!(told.speed_limit_kmh(50 + CREEP_ON_NS), Some(80));
    }
}
