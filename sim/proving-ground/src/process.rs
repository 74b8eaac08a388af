//! A process of the cloud: a runtime of one thread with its own paused clock, and the whole ingest in it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use remuda_contracts::fleet::TwinView;
use remuda_eventsourcing::Journal;
use remuda_lake::{Lake, LakeSettings};
use remuda_model::{OrganizationId, VehicleId};
use remuda_vehicles::{FiguresNow, VehicleMetrics, VehicleSettings, VehicleSystem, WallClock};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use crate::clock;
use crate::door::{Door, Link, Said};
use crate::ground::Ground;
use crate::journal::{Engine, FaultyJournal};
use crate::store::FaultyStore;

// Between two looks for files that were never committed.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// How far a process has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It takes its shards.
    Starting,
    /// It serves.
    Serving,
    /// It stops as planned.
    Stopping,
    /// It ended by itself.
    Ended,
}

/// See the module. To crash it, drop it.
pub(crate) struct Process {
    pub name: u64,
    /// It stands still until then, ms.
    pub paused_until: u64,
    runtime: Runtime,
    base: Instant,
    base_ms: u64,
    door: Arc<Door>,
    inside: Arc<Inside>,
    links: BTreeMap<Link, mpsc::UnboundedSender<Option<Bytes>>>,
}

struct Inside {
    phase: Mutex<Phase>,
    system: Mutex<Option<VehicleSystem>>,
}

impl Process {
    /// Starts one, now.
    pub fn start(name: u64, ground: &Arc<Ground>, engine: &Arc<Engine>, store: &FaultyStore) -> Self {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime =
            runtime.expect("a runtime without threads or sockets needs nothing that could be missing");
        let base = runtime.block_on(async { Instant::now() });
        let door = Door::new(Arc::clone(ground));
        let inside = Arc::new(Inside { phase: Mutex::new(Phase::Starting), system: Mutex::default() });
        let journal = Arc::new(FaultyJournal { engine: Arc::clone(engine), process: name });
        let work = run(Arc::clone(ground), Arc::clone(&door), Arc::clone(&inside), journal, store.clone());
        runtime.spawn(work);
        let base_ms = clock::now_ms();
        Self { name, paused_until: 0, runtime, base, base_ms, door, inside, links: BTreeMap::new() }
    }

    /// How far it has come.
    pub fn phase(&self) -> Phase {
        *self.inside.phase.lock()
    }

    /// Works until this time, ms, or until it has said something; answers how far it came.
    pub fn run_until(&self, ms: u64) -> u64 {
        if ms < self.paused_until {
            return ms;
        }
        let until = self.base + Duration::from_millis(ms.saturating_sub(self.base_ms));
        clock::inside(self.base, self.base_ms, || {
            self.runtime.block_on(async {
                tokio::select! {
                    biased;
                    () = self.door.wake.notified() => {}
                    () = sleep_until(until) => {}
                }
                clock::now_ms()
            })
        })
    }

    /// What it has said since.
    pub fn take_said(&self) -> Vec<(Link, Said)> {
        std::mem::take(&mut *self.door.said.lock())
    }

    /// A connection reaches it.
    pub fn connected(&mut self, link: Link) {
        let (sender, bytes) = mpsc::unbounded_channel();
        self.links.insert(link, sender);
        self.runtime.spawn(Arc::clone(&self.door).serve(link, bytes));
    }

    /// Bytes, or the end, of a connection reach it.
    pub fn heard(&mut self, link: Link, bytes: Option<Bytes>) {
        let is_end = bytes.is_none();
        if let Some(sender) = self.links.get(&link) {
            // A connection it closed hears nothing.
            let _ = sender.send(bytes);
        }
        if is_end {
            self.links.remove(&link);
        }
    }

    /// Stops it as planned.
    pub fn stop(&self) {
        let Some(system) = self.inside.system.lock().take() else { return };
        *self.inside.phase.lock() = Phase::Stopping;
        let (inside, door) = (Arc::clone(&self.inside), Arc::clone(&self.door));
        self.runtime.spawn(async move {
            // Its last round or checkpoint may fail: nothing that was told is in danger.
            let _ = system.handle.stop().await;
            *inside.phase.lock() = Phase::Ended;
            door.wake.notify_one();
        });
    }

    /// A vehicle as the console would show it.
    pub fn twin(&self, vehicle: &VehicleId) -> Option<TwinView> {
        let view = Arc::clone(&self.inside.system.lock().as_ref()?.view);
        clock::inside(self.base, self.base_ms, || {
            self.runtime.block_on(async { view.twin(&OrganizationId::default(), vehicle).await })
        })
    }

    /// Its figures.
    pub fn figures(&self) -> Option<FiguresNow> {
        self.inside.system.lock().as_ref().map(|system| system.handle.figures())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.door.gone.store(true, Relaxed);
    }
}

async fn run(
    ground: Arc<Ground>,
    door: Arc<Door>,
    inside: Arc<Inside>,
    journal: Arc<dyn Journal>,
    store: FaultyStore,
) {
    let plan = &ground.plan;
    let lake = LakeSettings {
        root: PathBuf::from("simulated"),
        round_interval_ms: plan.round_ms,
        round_bytes_max: 32 << 20,
        checkpoint_interval_ms: plan.checkpoint_ms,
    };
    let lake = Arc::new(Lake::on_store(lake, Arc::clone(&journal), Arc::new(store)));
    let settings = VehicleSettings {
        idle: Duration::from_millis(plan.idle_ms),
        snapshot_interval: Duration::from_millis(plan.snapshot_ms),
        quiet: Duration::from_secs(5),
        rows_bytes_max: plan.rows_bytes,
        clock: WallClock(clock::wall_ms),
        ..VehicleSettings::default()
    };
    let started = VehicleSystem::start(settings, journal, Arc::clone(&lake), VehicleMetrics::default()).await;
    match started {
        Ok(system) => {
            *door.told.lock() = ground.truth.lock().told();
            *door.intake.lock() = Some(Arc::clone(&system.intake));
            *inside.system.lock() = Some(system);
            *inside.phase.lock() = Phase::Serving;
            ground.note(format_args!("a process serves"));
            loop {
                // One that fails is tried again.
                if let Ok(swept @ 1..) = lake.sweep().await {
                    ground.note(format_args!("swept {swept} files"));
                }
                tokio::time::sleep(SWEEP_EVERY).await;
            }
        }
        Err(error) => {
            ground.note(format_args!("a process did not start: {error}"));
            *inside.phase.lock() = Phase::Ended;
            door.wake.notify_one();
        }
    }
}
