//! A policy set on a running cloud changes what running agents sample, without a restart.

use std::process::{Command, Output};
use std::time::{Duration, Instant};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until};
use serde_json::Value;

const VEHICLES: usize = 4;

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .args(["-o", "json"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn json(cloud: &Cloud, args: &[&str]) -> Value {
    let output = ctl(cloud, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn stored(cloud: &Cloud) -> f64 {
    cloud.metric("remuda_vehicles_frames_durable_total", "samples")
}

/// Frames of samples that became durable in a while.
fn rate(cloud: &Cloud) -> f64 {
    let (before, begun) = (stored(cloud), Instant::now());
    while begun.elapsed() < Duration::from_secs(3) {
        std::thread::sleep(Duration::from_millis(100));
    }
    (stored(cloud) - before) / begun.elapsed().as_secs_f64()
}

#[test]
fn a_running_agent_follows_another_policy_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("LAKE__ROUND_INTERVAL_MS", "200");
    let cloud = place.start("");
    let data = folder.path().join("vehicles").to_string_lossy().into_owned();
    let count = VEHICLES.to_string();
    let args = ["fleet", "--vehicles", &count, "--rate", "5", "--door", &cloud.door, "--data", &data];
    let mut vehicles = Process::start("remuda-sim", &args, &[], &folder.path().join("logs"));
    wait_until("every vehicle reports", || stored(&cloud) >= 3.0 * VEHICLES as f64);
    let busy = rate(&cloud);
    assert!(busy > 0.5 * VEHICLES as f64, "{busy} frames a second");

    // What no vehicle could follow is refused here, before it is sent.
    let document = folder.path().join("policy.json");
    let set = |text: &str, more: &[&str]| {
        std::fs::write(&document, text).expect("writable");
        let file = document.to_string_lossy().into_owned();
        ctl(&cloud, &[&["policies", "set", "quiet", "--file", &file], more].concat())
    };
    assert_eq!(set(r#"{"signals":{"Vehicle.Spede":{}}}"#, &[]).status.code(), Some(2));
    assert!(set(r#"{"signals":{}}"#, &["--etag", "0"]).status.success());
    let tried = json(&cloud, &["policies", "assign", "quiet", "--all", "--dry-run"]);
    assert_eq!(tried["impact"]["vehicles"], VEHICLES, "{tried}");
    assert_eq!(json(&cloud, &["policies", "status", "quiet"])["desired"], 0);

    json(&cloud, &["policies", "assign", "quiet", "--all"]);
    wait_until("every vehicle follows it", || {
        json(&cloud, &["policies", "status", "quiet"])["applied"] == VEHICLES
    });
    wait_until("nothing is sampled any more", || rate(&cloud) == 0.0);

    // Another document for the same vehicles: speed alone.
    let etag = json(&cloud, &["policies", "get", "quiet"])["etag"].as_str().expect("an etag").to_owned();
    assert!(set(r#"{"signals":{"Vehicle.Speed":{"on_change":false}}}"#, &["--etag", &etag]).status.success());
    assert_eq!(set("{}", &["--etag", &etag]).status.code(), Some(1), "it was changed meanwhile");
    wait_until("speed is sampled", || rate(&cloud) > 0.5 * VEHICLES as f64);
    let names = ctl(&cloud, &["vehicles", "list"]);
    let names: Value = serde_json::from_slice(&names.stdout).expect("JSON");
    let first = names["vehicles"][0]["name"].as_str().expect("a name").to_owned();
    let twin = json(&cloud, &["vehicles", "get", &first]);
    let report = &twin["twin"]["report"];
    assert_eq!(report["desiredPolicy"], "quiet", "{report}");
    assert_eq!(report["reportedRevision"], report["desiredRevision"], "{report}");
    assert_eq!(report["clock"], "server", "{report}");
    assert!(vehicles.ended().is_none(), "the agents are the same all the while");

    // The cloud may be killed: who asked for what stays known.
    let Cloud { mut process, .. } = cloud;
    process.kill();
    let cloud = place.start("");
    wait_until("every vehicle says again what it follows", || {
        json(&cloud, &["policies", "status", "quiet"])["applied"] == VEHICLES
    });
    json(&cloud, &["policies", "unassign", "--all"]);
    wait_until("they sample as before", || rate(&cloud) > 0.5 * VEHICLES as f64);
    assert!(ctl(&cloud, &["policies", "delete", "quiet"]).status.success());
    assert!(vehicles.stop(), "{}", vehicles.log());
}
