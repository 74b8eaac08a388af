//! The whole product through external brokers: real agents, a real cloud, a real broker, each killed in the middle of
//! traffic. A broker carries no guarantee, so none is lost with it: the ledger balances.

use std::path::{Path, PathBuf};

use remuda_e2e::broker::rumqttd;
use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Broker, BrokerKind, Cloud, Process, wait_until};
use remuda_ledger::Ledger;

struct Scene {
    folder: tempfile::TempDir,
    broker: Broker,
    place: CloudPlace,
    cloud: Cloud,
    vehicles: Option<Process>,
}

impl Scene {
    fn new(kind: BrokerKind) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let broker = Broker::open_to_all(kind, &folder.path().join("broker"));
        let mut place = CloudPlace::new(folder.path())
            .with("BROKER__ADDRESS", &broker.address())
            .with("BROKER__SILENCE_S", "5")
            .with("LAKE__ROUND_INTERVAL_MS", "100")
            .with("LAKE__CHECKPOINT_INTERVAL_MS", "700")
            .with("VEHICLES__IDLE_S", "1");
        let cloud = place.start("");
        Self { folder, broker, place, cloud, vehicles: None }
    }

    fn outboxes(&self) -> PathBuf {
        self.folder.path().join("vehicles")
    }

    fn start_vehicles(&self, outboxes: &Path) -> Process {
        let (data, door) = (outboxes.display().to_string(), self.broker.address());
        let args =
            ["fleet", "--vehicles", "12", "--rate", "5", "--seed", "7", "--door", &door, "--data", &data];
        Process::start("remuda-sim", &args, &[], &self.folder.path().join("logs"))
    }

    fn kill_vehicles(&mut self) {
        if let Some(mut vehicles) = self.vehicles.take() {
            assert!(vehicles.ended().is_none(), "the vehicles ended by themselves:\n{}", vehicles.log_end());
            vehicles.kill();
        }
    }

    fn connected(&self) -> bool {
        self.cloud.metric("remuda_ingress_broker_connected", "") > 0.0
    }

    fn durable(&self) -> f64 {
        self.cloud.metric("remuda_vehicles_frames_durable_total", "")
    }

    /// Frames that are made from now on come through.
    fn flows(&mut self, frames: f64) {
        let before = self.durable();
        wait_until("more frames are durable", || {
            let process = &mut self.cloud.process;
            assert!(process.ended().is_none(), "the cloud died:\n{}", process.log_end());
            self.durable() >= before + frames
        });
    }

    fn finish(mut self, outboxes: &[PathBuf]) -> Ledger {
        if let Some(mut vehicles) = self.vehicles.take() {
            assert!(vehicles.stop(), "the vehicles do not stop cleanly:\n{}", vehicles.log_end());
        }
        assert!(
            self.cloud.process.stop(),
            "the cloud does not stop cleanly:\n{}",
            self.cloud.process.log_end()
        );
        remuda_ledger::count_blocking(&self.place.data(), outboxes).expect("the disks can be read")
    }
}

/// Broker, cloud and vehicles are killed one after the other, the cloud stands still for a while.
fn survives_kills(scene: &mut Scene) {
    let outboxes = scene.outboxes();
    scene.vehicles = Some(scene.start_vehicles(&outboxes));
    scene.flows(40.0);

    scene.broker.kill();
    wait_until("the loss of the broker is seen", || !scene.connected());
    let (status, text) = scene.cloud.get("/ready").expect("an answer");
    assert_eq!(status, 200, "people look at the fleet all the same: {text}");
    assert!(text.contains("ready, but the external broker"), "{text}");
    scene.broker.start();
    scene.flows(40.0);
    assert!(scene.connected());
    wait_until("it is checked again", || {
        scene.cloud.get("/ready").is_some_and(|(_, text)| text == "ready\n")
    });

    scene.cloud.process.kill();
    scene.cloud = scene.place.start("");
    scene.flows(40.0);

    scene.kill_vehicles();
    scene.vehicles = Some(scene.start_vehicles(&outboxes));
    scene.flows(40.0);

    // A slow cloud: the broker holds or drops what it sends meanwhile.
    scene.cloud.process.pause();
    std::thread::sleep(std::time::Duration::from_secs(3));
    scene.cloud.process.resume();
    scene.flows(40.0);

    // All three at once, and the broker last.
    scene.broker.kill();
    scene.cloud.process.kill();
    scene.kill_vehicles();
    scene.vehicles = Some(scene.start_vehicles(&outboxes));
    scene.broker.start();
    scene.cloud = scene.place.start("");
    scene.flows(40.0);
}

fn balances(ledger: &Ledger) {
    eprintln!("{ledger:#?}");
    assert!(ledger.balances(), "the ledger does not balance: {ledger:#?}");
    assert!(ledger.frames_stored > 200, "too little happened to prove anything: {ledger:#?}");
}

#[test]
fn nothing_is_lost_through_mosquitto_nor_by_a_clone() {
    let mut scene = Scene::new(BrokerKind::Mosquitto);
    survives_kills(&mut scene);
    // A copy of the vehicles' disks comes to life beside them; both answer to the same names.
    scene.kill_vehicles();
    let (outboxes, copy) = (scene.outboxes(), scene.folder.path().join("clone"));
    copy_folder(&outboxes, &copy);
    scene.vehicles = Some(scene.start_vehicles(&outboxes));
    let mut clones = scene.start_vehicles(&copy);
    scene.flows(120.0);
    assert!(clones.stop(), "the clones do not stop cleanly:\n{}", clones.log_end());
    balances(&scene.finish(&[outboxes, copy]));
}

#[test]
fn nothing_is_lost_through_nats() {
    let mut scene = Scene::new(BrokerKind::Nats);
    survives_kills(&mut scene);
    let outboxes = scene.outboxes();
    balances(&scene.finish(&[outboxes]));
}

#[test]
fn nothing_is_lost_through_rumqttd() {
    if rumqttd().is_none() {
        return;
    }
    let mut scene = Scene::new(BrokerKind::Rumqttd);
    survives_kills(&mut scene);
    let outboxes = scene.outboxes();
    balances(&scene.finish(&[outboxes]));
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}
