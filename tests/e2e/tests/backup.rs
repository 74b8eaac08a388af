//! The drill: a backup under load, the node destroyed, restored on an empty folder, and on with the same vehicles.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until, workspace_root};
use remuda_identity::Register;
use remuda_lake::RowBody;
use remuda_ledger::Ledger;
use remuda_model::VehicleId;
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn remuda(args: &[&str], failpoints: &str) -> Output {
    Command::new(binary("remuda")).args(args).env("FAILPOINTS", failpoints).output().expect("remuda runs")
}

fn remuda_json(args: &[&str]) -> Value {
    let output = remuda(args, "");
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("one JSON object")
}

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    let mut command = Command::new(binary("remudactl"));
    command.args(args).args(["--output", "json"]).env("REMUDA_SERVER", format!("http://{}", cloud.console));
    command.env("REMUDA_TOKEN", &cloud.token).output().expect("remudactl runs")
}

fn ctl_json(cloud: &Cloud, args: &[&str]) -> Value {
    let output = ctl(cloud, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// A folder with a cloud, vehicles, backups and a key.
struct Scene {
    folder: tempfile::TempDir,
    place: CloudPlace,
    key: PathBuf,
    recipient: String,
}

impl Scene {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let place = CloudPlace::new(folder.path())
            .with("LAKE__ROUND_INTERVAL_MS", "100")
            .with("LAKE__CHECKPOINT_INTERVAL_MS", "700")
            .with("LAKE__COMPACT_INTERVAL_S", "1")
            .with("VEHICLES__IDLE_S", "1");
        let key = folder.path().join("backup.key");
        let made = remuda(&["backup", "keygen", "--out", &key.to_string_lossy()], "");
        assert!(made.status.success(), "{}", text(&made.stderr));
        let mode = fs::metadata(&key).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        Self { folder, place, key, recipient: text(&made.stdout).trim().to_owned() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_string_lossy().into_owned()
    }

    fn data(&self) -> String {
        self.place.data().to_string_lossy().into_owned()
    }

    fn back_up(&self, more: &[&str]) -> Value {
        let (data, to) = (self.data(), self.path("backups"));
        let args = ["backup", "--data", &data, "--to", &to, "--recipient", &self.recipient, "--json"];
        remuda_json(&[&args[..], more].concat())
    }

    fn verify(&self) -> Value {
        let (from, key) = (self.path("backups"), self.key.to_string_lossy().into_owned());
        remuda_json(&["backup", "verify", "--from", &from, "--identity", &key, "--json"])
    }

    fn restore(&self, failpoints: &str) -> Output {
        let (data, from, key) = (self.data(), self.path("backups"), self.key.to_string_lossy().into_owned());
        remuda(&["restore", "--from", &from, "--data", &data, "--identity", &key, "--json"], failpoints)
    }

    /// kill -9, and the disk with it.
    fn destroy(&self, cloud: Cloud) {
        let Cloud { mut process, .. } = cloud;
        process.kill();
        fs::remove_dir_all(self.place.data()).expect("removed");
    }
}

fn start_fleet(scene: &Scene, door: &str) -> Process {
    let data = scene.path("vehicles");
    let args = ["fleet", "--vehicles", "20", "--rate", "5", "--seed", "3", "--door", door, "--data", &data];
    Process::start("remuda-sim", &args, &[], &scene.folder.path().join("logs"))
}

/// Registers and enrols a vehicle that obeys.
fn enrolled(cloud: &Cloud, vehicle: &str, folder: &Path) -> String {
    let created = ctl_json(cloud, &["vehicles", "create", vehicle]);
    let token = created["enrolmentToken"].as_str().expect("a token").to_owned();
    let dir = folder.join(vehicle);
    let mut enroll = Command::new(binary("remuda-agent"));
    enroll.args(["enroll", "--server", &cloud.enrolment, "--token", &token, "--dir"]).arg(&dir);
    let enroll = enroll.output().expect("remuda-agent runs");
    assert!(enroll.status.success(), "{}", text(&enroll.stderr));
    let actuator = dir.join("actuator.sh");
    fs::write(&actuator, "#!/bin/sh\nexit 0\n").expect("writable");
    fs::set_permissions(&actuator, fs::Permissions::from_mode(0o700)).expect("permitted");
    let config = dir.join("agent.toml");
    let settings = fs::read_to_string(&config).expect("a configuration");
    let settings = settings.replace("source = \"stdin\"", "source = \"none\"");
    fs::write(&config, settings + "actuator = \"actuator.sh\"\n").expect("writable");
    config.to_string_lossy().into_owned()
}

fn durable(cloud: &Cloud) -> f64 {
    cloud.metric("remuda_vehicles_frames_durable_total", "")
}

fn wait_for_frames(cloud: &Cloud, more: f64) {
    let before = durable(cloud);
    wait_until("more frames are durable", || durable(cloud) >= before + more);
}

fn command(cloud: &Cloud, action: &str) -> (String, String) {
    let sent = ctl_json(cloud, &["commands", "send", "VAN1", action, "--reason", "a drill", "--ttl", "5m"]);
    let name = sent["name"].as_str().expect("a name").to_owned();
    let mut last = Value::Null;
    wait_until("the command has an end", || {
        last = ctl_json(cloud, &["commands", "get", &name]);
        !["queued", "sent", "accepted"].contains(&last["state"].as_str().unwrap_or_default())
    });
    (last["state"].as_str().unwrap_or_default().to_owned(), last.to_string())
}

fn online(cloud: &Cloud) {
    wait_until("the vehicle is online", || {
        text(&ctl(cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
}

fn count(scene: &Scene) -> Ledger {
    let outboxes = [scene.folder.path().join("vehicles"), scene.folder.path().join("VAN1")];
    remuda_ledger::count_blocking(&scene.place.data(), &outboxes).expect("the disks can be read")
}

#[test]
fn a_node_is_lost_and_goes_on_from_its_backup() {
    let mut scene = Scene::new();
    let mut cloud = scene.place.start("");
    let mut fleet = start_fleet(&scene, &cloud.door);
    let config = enrolled(&cloud, "VAN1", scene.folder.path());
    let logs = scene.folder.path().join("logs");
    let mut agent = Process::start("remuda-agent", &["run", "--config", &config], &[], &logs);
    online(&cloud);
    wait_for_frames(&cloud, 100.0);

    // Under load; the second copies what is new.
    let first = scene.back_up(&[]);
    wait_for_frames(&cloud, 50.0);
    let second = scene.back_up(&["--rate-mb", "50"]);
    assert!(second["bytes_read"].as_u64() <= first["bytes_read"].as_u64().map(|b| b * 3), "{first} {second}");
    let socket = scene.place.data().join("control.sock");
    assert_eq!(fs::metadata(&socket).expect("there").permissions().mode() & 0o777, 0o600);
    let verified = scene.verify();
    assert_eq!(
        (verified["snapshots"].as_u64(), verified["faults"].as_array().map(Vec::len)),
        (Some(2), Some(0))
    );

    // What comes after it will be lost, but for who is refused: that has a backup of its own.
    let revoked = ctl(&cloud, &["vehicles", "create", "THIEF"]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    let revoked = ctl(&cloud, &["vehicles", "revoke", "THIEF", "--reason", "stolen"]);
    assert!(revoked.status.success(), "{}", text(&revoked.stderr));
    scene.back_up(&["--only", "identity"]);
    // The node is started again and again: vehicles see epochs that the backup does not know.
    for _ in 0..2 {
        let Cloud { mut process, .. } = cloud;
        process.kill();
        cloud = scene.place.start("");
        online(&cloud);
    }
    assert_eq!(command(&cloud, "lock").0, "done");
    wait_for_frames(&cloud, 50.0);
    scene.destroy(cloud);

    // Without the rule about epochs the vehicle refuses what the restored node asks of it: the drill would see it.
    let restored = scene.restore("restore-keeps-epochs=return");
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let cloud = scene.place.start("");
    online(&cloud);
    let (state, said) = command(&cloud, "unlock");
    assert_eq!(state, "refused", "{said}");
    scene.destroy(cloud);

    let restored = scene.restore("");
    assert!(restored.status.success(), "{}", text(&restored.stderr));
    let told: Value = serde_json::from_slice(&restored.stdout).expect("one JSON object");
    assert_eq!(told["snapshot"], second["snapshot"], "the newest whole one");
    assert!(told["loss_seconds_max"].as_f64() > Some(0.0) && told["seconds"].as_f64() > Some(0.0), "{told}");
    let again = scene.restore("");
    assert!(!again.status.success() && text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));
    let cloud = scene.place.start("");
    online(&cloud);
    assert_eq!(command(&cloud, "unlock").0, "done", "{}", agent.log_end());
    let lost = || cloud.metric("remuda_vehicles_frames_cloud_lost_total", "");
    wait_until("what was lost is told", || lost() > 0.0);
    wait_for_frames(&cloud, 100.0);

    assert!(agent.stop(), "{}", agent.log_end());
    assert!(fleet.stop(), "{}", fleet.log_end());
    let Cloud { mut process, .. } = cloud;
    assert!(process.stop(), "{}", process.log_end());
    let register = Register::open(&scene.place.data().join("identity")).expect("a register");
    assert!(register.is_revoked(&VehicleId::new("THIEF").expect("an id")), "who was refused stays refused");
    let ledger = count(&scene);
    eprintln!("{ledger}");
    assert!(ledger.frames_lost_told > 0, "something was lost, or the drill proves nothing: {ledger:#?}");
    assert!(
        ledger.balances_but_for_told_loss(),
        "what is lost is told, and nothing else is wrong: {ledger:#?}"
    );
    readers_agree(&scene, &ledger);
}

/// Journal, lake and everybody's tools say the same of the restored folder.
fn readers_agree(scene: &Scene, ledger: &Ledger) {
    let data = scene.data();
    let journal = remuda(&["journal", "--data", &data, "verify", "--json"], "");
    assert!(journal.status.success(), "{}", text(&journal.stderr));
    let lake = remuda_json(&["lake", "--data", &data, "verify", "--deep", "--json"]);
    let done = remuda_json(&["lake", "--data", &data, "compact", "--full", "--json"]);
    assert_eq!(done["waiting_files"], 0, "{done}");
    let (mut rows, mut samples) = (0u64, 0u64);
    remuda_ledger::for_each_row(&scene.place.data(), |row| {
        rows += 1;
        samples += u64::from(matches!(row.body, RowBody::Samples(_)));
    })
    .expect("the lake can be read");
    assert_eq!((lake["rows"].as_u64(), samples), (Some(rows), ledger.rows_stored));
    let python = workspace_root().join("target/venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no Python environment with readers; `cargo xtask install` makes it");
        return;
    }
    let script = workspace_root().join("tests/e2e/readers/history.py");
    let read =
        Command::new(python).arg(script).arg(scene.place.data().join("lake")).output().expect("python runs");
    assert!(read.status.success(), "{}{}", text(&read.stdout), text(&read.stderr));
    let said: Value = serde_json::from_slice(&read.stdout).expect("one JSON object");
    for (reader, answer) in said["readers"].as_object().expect("readers") {
        assert_eq!(answer["rows"].as_u64(), Some(rows), "by {reader}");
    }
}

#[test]
fn a_backup_killed_at_any_point_leaves_whole_snapshots_only() {
    let mut scene = Scene::new();
    let cloud = scene.place.start("");
    let mut fleet = start_fleet(&scene, &cloud.door);
    wait_for_frames(&cloud, 100.0);
    assert!(fleet.stop(), "{}", fleet.log_end());
    let Cloud { mut process, .. } = cloud;
    assert!(process.stop(), "{}", process.log_end());
    // Of the stopped node, so that it is the command that dies.
    let (data, to) = (scene.data(), scene.path("backups"));
    let args = ["backup", "--data", &data, "--to", &to, "--recipient", &scene.recipient, "--json"];
    let points = [
        "backup-before-place=return",
        "backup-before-place=3*off->return",
        "backup-after-lake-file=return",
        "backup-after-lake-file=2*off->return",
        "backup-before-index=return",
        "backup-before-rename=return",
    ];
    let snapshots = || {
        fs::read_dir(scene.folder.path().join("backups/snapshots")).map_or(0, |entries| {
            entries
                .filter(|entry| {
                    entry.as_ref().is_ok_and(|e| !e.file_name().to_string_lossy().starts_with('.'))
                })
                .count()
        })
    };
    for point in points {
        let died = remuda(&args, point);
        assert!(!died.status.success() && died.status.code().is_none(), "{point}: {}", text(&died.stderr));
        assert_eq!(snapshots(), 0, "{point}");
    }
    let taken = scene.back_up(&[]);
    assert_eq!(scene.verify()["unreferenced"], 0);
    for point in points {
        // With little that is new some points are not reached; then it is a second whole one.
        let _ = remuda(&args, point);
        assert_eq!(scene.verify()["faults"].as_array().map(Vec::len), Some(0), "{point}");
    }
    // A restore that is killed is no node, and says so.
    fs::rename(scene.place.data(), scene.folder.path().join("lost")).expect("moved");
    let died = scene.restore("restore-before-done=return");
    assert!(died.status.code().is_none(), "{}", text(&died.stderr));
    let mut half = scene.place.launch("");
    assert!(!half.wait().success() && half.log().contains("not restored to its end"), "{}", half.log_end());
    let again = scene.restore("");
    assert!(!again.status.success() && text(&again.stderr).contains("not empty"), "{}", text(&again.stderr));
    fs::remove_dir_all(scene.place.data()).expect("removed");
    assert!(scene.restore("").status.success());
    let from = scene.path("backups");
    let pruned = remuda_json(&["backup", "prune", "--from", &from, "--keep", "1", "--json"]);
    assert_eq!(pruned["kept"].as_array().map(Vec::len), Some(1), "{pruned} {taken}");
    assert_eq!(scene.verify()["unreferenced"], 0);
}

#[test]
fn what_cannot_be_done_is_said_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (data, to, missing, inside) = (path("data"), path("to"), path("missing"), path("data/backups"));
    let recipient = "age1xmwwc06ly3ee5rytxm9mflaz2u56jjj36s0mypdrwsvlul66mv4q47ryef";
    for (args, words) in [
        (&["backup", "--data", &data][..], "say where to"),
        (&["backup", "--data", &data, "--to", &to], "remuda backup keygen"),
        (&["backup", "--data", &data, "--to", &to, "--recipient", "me"], "no age recipient"),
        (&["backup", "--data", &data, "--to", &to, "--recipient", recipient], "holds no journal"),
        (&["backup", "--data", &data, "--to", &inside], "in the data folder"),
        (&["backup", "list", "--from", &missing], "holds no backups"),
        (&["backup", "verify"], "--from or backup.to"),
        (&["backup", "prune", "--from", &missing], "--keep or --days"),
        (&["restore", "--from", &missing, "--data", &data, "--identity", &missing], "cannot be read"),
    ] {
        let output = remuda(args, "");
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
    assert!(!Path::new(&to).exists(), "nothing was begun");
}
