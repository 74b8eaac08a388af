//! kill -9 of the cloud and of the vehicles, in the middle of traffic and between each pair of steps of I11, and
//! commits whose answer is lost: the ledger balances, no decision is doubled or missing.

use std::path::Path;

use rand::prelude::*;
use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, wait_until};
use remuda_ledger::Ledger;

/// Where the cloud may die by its own hand, between any two steps of a round, a commit, an append, a checkpoint, a
/// compaction.
const CRASH_POINTS: &[&str] = &[
    "round-before-files",
    "round-after-files",
    "commit-before-sync",
    "commit-after-sync",
    "round-before-answers",
    "round-after-answers",
    "effects-before-ack",
    "append-after-sync",
    "checkpoint-before",
    "checkpoint-after",
    "compact-after-staging",
    "replace-before-sync",
    "replace-after-sync",
    "compact-before-moves",
    "compact-between-moves",
    "compact-after-moves",
    "compact-before-forgetting",
];

/// A fault of one round.
#[derive(Debug, Clone)]
enum Fault {
    /// SIGKILL of the cloud once this many more frames are durable.
    KillCloud(f64),
    /// SIGKILL of the vehicles' process once this many more frames are durable.
    KillVehicles(f64),
    /// The cloud aborts at this point.
    CrashPoint(&'static str),
    /// Some commits are made and answer that nobody knows; then SIGKILL.
    LostAnswers(f64),
}

struct Scene {
    folder: tempfile::TempDir,
    place: CloudPlace,
    vehicles: Option<Process>,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        // Short rounds, checkpoints and compactions, so that a round of the test crosses many of each.
        let place = CloudPlace::new(folder.path())
            .with("LAKE__ROUND_INTERVAL_MS", "100")
            .with("LAKE__CHECKPOINT_INTERVAL_MS", "700")
            .with("LAKE__COMPACT_INTERVAL_S", "1")
            .with("VEHICLES__IDLE_S", "1");
        Self { folder, place, vehicles: None }
    }

    fn vehicles_data(&self) -> std::path::PathBuf {
        self.folder.path().join("vehicles")
    }

    fn start_vehicles(&mut self, door: &str) {
        let data = self.vehicles_data().to_string_lossy().into_owned();
        let args =
            ["fleet", "--vehicles", "25", "--rate", "5", "--seed", "7", "--door", door, "--data", &data];
        self.vehicles = Some(Process::start("remuda-sim", &args, &[], &self.folder.path().join("logs")));
    }

    fn kill_vehicles(&mut self) {
        if let Some(mut vehicles) = self.vehicles.take() {
            assert!(vehicles.ended().is_none(), "the vehicles ended by themselves:\n{}", vehicles.log_end());
            vehicles.kill();
        }
    }

    /// Ends all of it cleanly, after everything was acknowledged, and counts.
    fn finish(mut self, mut cloud: Cloud) -> Ledger {
        if let Some(mut vehicles) = self.vehicles.take() {
            assert!(vehicles.stop(), "the vehicles do not stop cleanly:\n{}", vehicles.log_end());
        }
        assert!(cloud.process.stop(), "the cloud does not stop cleanly:\n{}", cloud.process.log_end());
        count(&self.place.data(), &self.vehicles_data())
    }
}

fn count(cloud: &Path, vehicles: &Path) -> Ledger {
    remuda_ledger::count_blocking(cloud, &[vehicles.to_path_buf()]).expect("the disks can be read")
}

fn durable(cloud: &Cloud) -> f64 {
    cloud.metric("remuda_vehicles_frames_durable_total", "")
}

fn run_round(scene: &mut Scene, fault: &Fault) {
    eprintln!("round: {fault:?}");
    let failpoints = match fault {
        Fault::KillCloud(_) | Fault::KillVehicles(_) => String::new(),
        Fault::CrashPoint(point) => format!("{point}=20%return"),
        Fault::LostAnswers(_) => "commit-answer-lost=30%return".to_owned(),
    };
    if let Fault::CrashPoint(point) = fault {
        let mut process = scene.place.launch(&failpoints);
        wait_until(&format!("the cloud crashes at {point}"), || {
            process.ended().is_some_and(|status| !status.success())
        });
        return;
    }
    let mut cloud = scene.place.start(&failpoints);
    if scene.vehicles.is_none() {
        let door = cloud.door.clone();
        scene.start_vehicles(&door);
    }
    let before = durable(&cloud);
    let (Fault::KillCloud(more) | Fault::KillVehicles(more) | Fault::LostAnswers(more)) = fault else {
        return;
    };
    wait_until("more frames are durable", || {
        assert!(cloud.process.ended().is_none(), "the cloud died:\n{}", cloud.process.log_end());
        durable(&cloud) >= before + more
    });
    if matches!(fault, Fault::KillVehicles(_)) {
        scene.kill_vehicles();
    }
    cloud.process.kill();
}

#[test]
fn nothing_is_lost_or_doubled_by_kill_9() {
    let seed = std::env::var("REMUDA_TEST_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_261_123);
    eprintln!("seed {seed} (set REMUDA_TEST_SEED to repeat another)");
    let mut random = StdRng::seed_from_u64(seed);
    let mut faults: Vec<Fault> = CRASH_POINTS.iter().map(|point| Fault::CrashPoint(point)).collect();
    for _ in 0..5 {
        faults.push(Fault::KillCloud(random.random_range(20.0..200.0)));
        faults.push(Fault::KillVehicles(random.random_range(20.0..200.0)));
    }
    for _ in 0..2 {
        faults.push(Fault::LostAnswers(random.random_range(50.0..200.0)));
    }
    faults.shuffle(&mut random);
    let mut scene = Scene::new();
    // The vehicles must be there before the first crash point can be reached.
    faults.insert(0, Fault::KillCloud(100.0));
    for fault in &faults {
        if scene.vehicles.is_none() && matches!(fault, Fault::CrashPoint(_)) {
            run_round(&mut scene, &Fault::KillCloud(20.0));
        }
        run_round(&mut scene, fault);
    }
    let cloud = scene.place.start("");
    if scene.vehicles.is_none() {
        scene.start_vehicles(&cloud.door);
    }
    let before = durable(&cloud);
    wait_until("frames are durable again", || durable(&cloud) >= before + 200.0);
    let ledger = scene.finish(cloud);
    eprintln!("{ledger:#?}");
    assert!(ledger.balances(), "the ledger does not balance: {ledger:#?}");
    assert!(ledger.frames_stored > 1_000, "too little happened to prove anything: {ledger:#?}");
}

#[test]
fn the_kill_test_bites_when_the_ack_comes_before_the_commit() {
    let mut scene = Scene::new();
    // Long rounds, so that much has been acknowledged and little committed whenever the cloud dies.
    scene.place = scene.place.with("LAKE__ROUND_INTERVAL_MS", "2000");
    for _ in 0..3 {
        let mut cloud = scene.place.start("ack-before-commit=return");
        if scene.vehicles.is_none() {
            let door = cloud.door.clone();
            scene.start_vehicles(&door);
        }
        wait_until("a round was committed", || durable(&cloud) > 0.0);
        let before = durable(&cloud);
        let taken = || cloud.metric("remuda_ingress_messages_total", "channel=\"samples\"");
        let taken_before = taken();
        wait_until("more frames came, but no round", || {
            assert!(durable(&cloud) >= before);
            taken() >= taken_before + 20.0
        });
        cloud.process.kill();
    }
    let cloud = scene.place.start("");
    let ledger = scene.finish(cloud);
    assert!(!ledger.balances(), "kills with the ack before the commit must be noticed: {ledger:#?}");
    assert!(ledger.frames_lost > 0, "and what they lost must be counted as lost: {ledger:#?}");
}
