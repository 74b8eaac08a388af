//! What simulated vehicles do when they are told to.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering::Relaxed};

use remuda_edge_agent::{Actuators, Clock, Input, Reading};
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
}

impl Told {
    /// The limit in force, km/h.
    pub(crate) fn speed_limit_kmh(&self) -> Option<u16> {
        Some(self.speed_limit_kmh.load(Relaxed)).filter(|kmh| *kmh > 0)
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
            CommandKind::Reboot => CommandOutcome::Refused("kind".to_owned()),
        };
        Box::pin(std::future::ready(outcome))
    }
}
