//! The drill of a node whose lake lies in a bucket: it is lost with its disk, and comes back beside the bucket.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until, workspace_root};
use serde_json::Value;

/// A real server that speaks S3, with a bucket; killed when dropped.
struct Bucket {
    child: Child,
    endpoint: String,
}

impl Bucket {
    /// Starts it; none, with the reason printed, where it is not installed.
    fn start() -> Option<Self> {
        let python = workspace_root().join("target/venv/bin/python");
        let there = Command::new(&python).args(["-c", "import moto.server"]).output();
        if !there.is_ok_and(|ran| ran.status.success()) {
            eprintln!("skipped: target/venv has no moto; cargo xtask install makes it");
            return None;
        }
        let mut child = Command::new(&python)
            .arg(workspace_root().join("cloud/platform/lake/tests/s3_server/serve.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let said = child.stdout.take().expect("piped");
        let mut address = String::new();
        BufReader::new(said).read_line(&mut address).expect("it can be read");
        assert!(!address.is_empty(), "moto did not start; see what it said above");
        Some(Self { child, endpoint: format!("http://{}", address.trim()) })
    }
}

impl Drop for Bucket {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Scene {
    folder: tempfile::TempDir,
    place: CloudPlace,
    recipient: String,
}

impl Scene {
    fn new(bucket: &Bucket) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = CloudPlace::new(folder.path())
            .with("LAKE__STORE", "s3://fleet/lake")
            .with("LAKE__S3__ENDPOINT", &bucket.endpoint)
            .with("LAKE__ROUND_INTERVAL_MS", "100")
            .with("LAKE__CHECKPOINT_INTERVAL_MS", "700")
            .with("LAKE__COMPACT_INTERVAL_S", "1")
            .with_variable("AWS_ACCESS_KEY_ID", "any")
            .with_variable("AWS_SECRET_ACCESS_KEY", "hush");
        let mut scene = Self { folder, place, recipient: String::new() };
        let key = scene.path("backup.key");
        let made = scene.remuda(&["backup", "keygen", "--out", &key]);
        scene.recipient = text(&made.stdout).trim().to_owned();
        scene
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    /// With the node's own settings.
    fn remuda(&self, args: &[&str]) -> Output {
        let settings = self.place.variables().iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let output = Command::new(binary("remuda")).args(args).envs(settings).output().expect("remuda runs");
        assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
        output
    }

    fn remuda_json(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&self.remuda(args).stdout).expect("one JSON object")
    }

    fn data(&self) -> String {
        self.place.data().to_string_lossy().into_owned()
    }

    fn back_up(&self, more: &[&str]) -> Value {
        let (data, to) = (self.data(), self.path("backups"));
        let args = ["backup", "--data", &data, "--to", &to, "--recipient", &self.recipient, "--json"];
        self.remuda_json(&[&args[..], more].concat())
    }

    fn lake(&self, action: &[&str]) -> Value {
        let data = self.data();
        self.remuda_json(&[&["lake", "--data", &data][..], action, &["--json"]].concat())
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn durable(cloud: &Cloud, frames: f64) {
    let before = cloud.metric("remuda_vehicles_frames_durable_total", "");
    wait_until("more frames are durable", || {
        cloud.metric("remuda_vehicles_frames_durable_total", "") >= before + frames
    });
}

fn rows(stats: &Value) -> u64 {
    ["fresh", "history"].iter().filter_map(|part| stats[part]["rows"].as_u64()).sum()
}

#[test]
fn a_node_is_lost_and_its_rows_are_in_the_bucket() {
    let Some(bucket) = Bucket::start() else { return };
    let mut scene = Scene::new(&bucket);
    let cloud = scene.place.start("");
    let (vehicles, logs) = (scene.path("vehicles"), scene.folder.path().join("logs"));
    let door = cloud.door.clone();
    let args =
        ["fleet", "--vehicles", "10", "--rate", "5", "--seed", "3", "--door", &door, "--data", &vehicles];
    let mut fleet = Process::start("remuda-sim", &args, &[], &logs);
    durable(&cloud, 100.0);
    // Of the running node, while it compacts.
    let taken = scene.back_up(&[]);
    assert!(taken["lake_files"].as_u64() > Some(0) && taken["lake_files_copied"] == 0, "{taken}");
    assert_eq!(taken["lake_files_in_place"], taken["lake_files"]);
    durable(&cloud, 100.0);
    assert!(fleet.stop(), "{}", fleet.log_end());
    let Cloud { mut process, .. } = cloud;
    assert!(process.stop(), "{}", process.log_end());
    let before = rows(&scene.lake(&["stats"]));
    let copied = scene.back_up(&["--copy"]);
    assert_eq!(copied["lake_files_copied"], copied["lake_files"], "of the stopped node");
    fs::remove_dir_all(scene.place.data()).expect("removed");

    // The older one, in place: what came after it is in the bucket.
    let (from, key, data) = (scene.path("backups"), scene.path("backup.key"), scene.data());
    let verified = scene.remuda_json(&["backup", "verify", "--from", &from, "--identity", &key, "--json"]);
    assert_eq!(verified["faults"].as_array().map(Vec::len), Some(0), "{verified}");
    assert_eq!(verified["in_place"][0]["looked"], true, "{verified}");
    let id = taken["snapshot"].as_str().expect("a name");
    let args = ["restore", "--from", &from, "--data", &data, "--identity", &key, "--snapshot", id, "--json"];
    let restored = scene.remuda_json(&args);
    assert_eq!(restored["lake_files_missing"], 0, "within the grace of replaced files: {restored}");
    let adopted = scene.lake(&["adopt"]);
    assert!(adopted["rows"].as_u64() > Some(0), "{adopted}");
    assert_eq!(rows(&scene.lake(&["stats"])), before, "every row that was acknowledged is there, once");
    scene.lake(&["verify", "--deep"]);
    let cloud = scene.place.start("");
    let mut fleet = Process::start(
        "remuda-sim",
        &[
            "fleet",
            "--vehicles",
            "10",
            "--rate",
            "5",
            "--seed",
            "3",
            "--door",
            &cloud.door,
            "--data",
            &vehicles,
        ],
        &[],
        &logs,
    );
    durable(&cloud, 50.0);
    assert!(fleet.stop(), "{}", fleet.log_end());
    let Cloud { mut process, .. } = cloud;
    assert!(process.stop(), "{}", process.log_end());
    assert!(rows(&scene.lake(&["stats"])) > before);
    scene.lake(&["verify", "--deep"]);
}
