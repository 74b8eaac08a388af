//! What an operator sees of a real cloud with real agents: probes, metrics, `remudactl`, the web page in a browser.

use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until, workspace_root};

struct Scene {
    _folder: tempfile::TempDir,
    cloud: Cloud,
    _vehicles: Process,
}

const VEHICLES: usize = 12;

fn scene() -> Scene {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("LAKE__ROUND_INTERVAL_MS", "200");
    let cloud = place.start("");
    let data = folder.path().join("vehicles").to_string_lossy().into_owned();
    let count = VEHICLES.to_string();
    let args = ["fleet", "--vehicles", &count, "--rate", "5", "--door", &cloud.door, "--data", &data];
    let vehicles = Process::start("remuda-sim", &args, &[], &folder.path().join("logs"));
    wait_until("every vehicle is online and has reported", || {
        let online = cloud.metric("remuda_ingress_connections", "") >= VEHICLES as f64;
        online && cloud.metric("remuda_vehicles_frames_durable_total", "") >= 3.0 * VEHICLES as f64
    });
    Scene { _folder: folder, cloud, _vehicles: vehicles }
}

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn text(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn probes_metrics_and_remudactl() {
    let scene = scene();
    let cloud = &scene.cloud;
    assert_eq!(cloud.get("/health").map(|(status, _)| status), Some(200));
    assert_eq!(cloud.get("/ready").map(|(status, _)| status), Some(200));
    let names = text(&ctl(cloud, &["vehicles", "list", "-o", "name"]));
    assert_eq!(names.lines().count(), VEHICLES, "{names}");
    let first = names.lines().next().and_then(|name| name.rsplit('/').next()).expect("a name").to_owned();
    let online = text(&ctl(
        cloud,
        &["vehicles", "list", "-o", "name", "--filter", "presence = ONLINE", "--page-size", "5"],
    ));
    assert_eq!(online.lines().count(), VEHICLES, "pages are followed: {online}");
    let table = text(&ctl(cloud, &["vehicles", "list"]));
    assert!(table.contains(&first), "{table}");
    let twin = text(&ctl(cloud, &["vehicles", "get", &first, "-o", "json"]));
    let twin: serde_json::Value = serde_json::from_str(&twin).expect("JSON");
    assert!(twin.to_string().contains("Vehicle.CurrentLocation.Latitude"), "{twin}");
    let watched = text(&ctl(cloud, &["vehicles", "watch", "--updates", "3", "-o", "json"]));
    assert!(watched.lines().count() >= 3, "{watched}");
    let unknown = ctl(cloud, &["vehicles", "get", "NOSUCH1"]);
    assert_eq!(unknown.status.code(), Some(1), "{}", String::from_utf8_lossy(&unknown.stderr));
    let wrong = ctl(cloud, &["vehicles", "list", "--filter", "presence ="]);
    assert_ne!(wrong.status.code(), Some(0));
    let stranger = Command::new(binary("remudactl"))
        .args(["vehicles", "list", "--token", "0123456789abcdef"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .output()
        .expect("remudactl runs");
    assert_eq!(stranger.status.code(), Some(1), "a wrong token opens nothing");
}

#[test]
fn the_web_page_shows_the_fleet() {
    let web = workspace_root().join("cloud/console/web");
    if !web.join("node_modules").is_dir() {
        eprintln!(
            "skipped: the web app's test tools are not installed; `cargo xtask test web` installs them"
        );
        return;
    }
    let scene = scene();
    let url = format!("http://{}/#token={}", scene.cloud.console, scene.cloud.token);
    let count = VEHICLES.to_string();
    let smoke = Command::new("node")
        .args(["scripts/smoke.mjs", "--url", &url, "--vehicles", &count, "--online", &count, "--no-roads"])
        .current_dir(&web)
        .output()
        .expect("node runs");
    let told =
        format!("{}{}", String::from_utf8_lossy(&smoke.stdout), String::from_utf8_lossy(&smoke.stderr));
    if smoke.status.code() == Some(77) {
        eprintln!("skipped: no browser here; {told}");
        return;
    }
    assert!(smoke.status.success(), "{told}");
    eprintln!("{}", told.trim());
}

#[test]
fn the_console_speaks_tls_by_the_embedded_authority() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("CONSOLE__TLS__MODE", "embedded");
    let cloud = place.start("");
    let ca = place.data().join("identity/ca.pem").to_string_lossy().into_owned();
    let server = format!("https://{}/#token={}", cloud.console, cloud.token);
    let ctl = |arguments: &[&str]| {
        let mut ctl = Command::new(binary("remudactl"));
        ctl.args(["--server", &server]).args(arguments).output().expect("remudactl runs")
    };
    let listed = ctl(&["--ca", &ca, "vehicles", "registered"]);
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let unknown = ctl(&["vehicles", "registered"]);
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(unknown.status.code() == Some(1) && text.contains("--ca names the file"), "{text}");
    let (status, said) = cloud.get("/health").expect("an answer in plain text");
    assert!(status == 400 && said.contains("https://"), "{said}");
}
