//! Commands from `remudactl` to real agents and back: over mutual TLS, signed, through restarts, never twice.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until};
use serde_json::Value;

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .args(["-o", "json"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn json(cloud: &Cloud, args: &[&str]) -> Value {
    let output = ctl(cloud, args);
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Registers and enrols a vehicle whose actuator writes down what it is told.
fn enrolled(cloud: &Cloud, vehicle: &str, folder: &Path) -> String {
    let created = json(cloud, &["vehicles", "create", vehicle]);
    let token = created["enrolmentToken"].as_str().expect("a token").to_owned();
    let dir = folder.join(vehicle);
    let enroll = Command::new(binary("remuda-agent"))
        .args(["enroll", "--server", &cloud.enrolment, "--token", &token, "--dir"])
        .arg(&dir)
        .output()
        .expect("remuda-agent runs");
    assert!(enroll.status.success(), "{}", text(&enroll.stderr));
    let actuator = dir.join("actuator.sh");
    let script = format!(
        "#!/bin/sh\necho \"$1 $(cat)\" >> {log}\ncase $1 in honk) echo 'the horn is broken' >&2; exit 1;; esac\n",
        log = dir.join("done.log").display()
    );
    fs::write(&actuator, script).expect("writable");
    fs::set_permissions(&actuator, fs::Permissions::from_mode(0o700)).expect("permitted");
    let config = dir.join("agent.toml");
    let mut settings = fs::read_to_string(&config).expect("a configuration");
    settings = settings.replace("source = \"stdin\"", "source = \"none\"");
    settings.push_str("actuator = \"actuator.sh\"\n");
    fs::write(&config, settings).expect("writable");
    config.to_string_lossy().into_owned()
}

fn obeyed(folder: &Path, vehicle: &str) -> Vec<String> {
    let log = fs::read_to_string(folder.join(vehicle).join("done.log")).unwrap_or_default();
    log.lines().map(|line| line.trim().to_owned()).collect()
}

fn run(config: &str, folder: &Path) -> Process {
    Process::start("remuda-agent", &["run", "--config", config], &[], &folder.join("logs"))
}

#[test]
fn a_vehicle_obeys_once_and_says_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let cloud = place.start("");
    let config = enrolled(&cloud, "VAN1", folder);
    let mut agent = run(&config, folder);
    let twin = |cloud: &Cloud| ctl(cloud, &["vehicles", "get", "VAN1"]);
    wait_until("the vehicle is online", || text(&twin(&cloud).stdout).contains("ONLINE"));

    let lock = ["commands", "send", "VAN1", "lock", "--reason", "left open", "--request-id", "r1", "--wait"];
    let output = ctl(&cloud, &lock);
    assert!(output.status.success(), "{}\n{}", text(&output.stderr), agent.log_end());
    let states: Vec<String> = text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON")["state"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(states.last().map(String::as_str), Some("done"), "{states:?}");
    // The same request again is the same command: nothing happens a second time.
    assert!(ctl(&cloud, &lock).status.success());
    let slow = json(&cloud, &["commands", "send", "VAN1", "speed-limit", "80", "--reason", "snow"]);
    let name = slow["name"].as_str().expect("a name").to_owned();
    wait_until("the limit is set", || json(&cloud, &["commands", "get", &name])["state"] == "done");
    assert_eq!(obeyed(folder, "VAN1"), ["lock", "speed-limit 80"]);
    let failed = ctl(&cloud, &["commands", "send", "VAN1", "honk", "--reason", "where?", "--wait"]);
    assert_eq!(failed.status.code(), Some(1));
    assert!(text(&failed.stderr).contains("the horn is broken"), "{}", text(&failed.stderr));

    // Away: it waits, also through a kill of the cloud; what expired meanwhile is never obeyed.
    assert!(agent.stop(), "{}", agent.log_end());
    let send = |cloud: &Cloud, action: &str, ttl: &str| {
        json(cloud, &["commands", "send", "VAN1", action, "--reason", "later", "--ttl", ttl])
    };
    assert_eq!(send(&cloud, "unlock", "1h")["state"], "queued");
    let lost = send(&cloud, "reboot", "1s");
    let unwanted = send(&cloud, "lock", "1h");
    let unwanted = unwanted["name"].as_str().expect("a name");
    let cancelled = json(&cloud, &["commands", "cancel", unwanted, "--reason", "a mistake"]);
    assert_eq!(cancelled["state"], "cancelled");
    let lost = lost["name"].as_str().expect("a name").to_owned();
    wait_until("the short one expires", || json(&cloud, &["commands", "get", &lost])["state"] == "expired");
    let Cloud { mut process, .. } = cloud;
    process.kill();
    let cloud = place.start("");
    let mut agent = run(&config, folder);
    wait_until("it is obeyed on its return", || obeyed(folder, "VAN1").last().is_some_and(|l| l == "unlock"));
    wait_until("its answer comes back", || {
        let all = json(&cloud, &["commands", "list", "VAN1"]);
        all["commands"]
            .as_array()
            .expect("a list")
            .iter()
            .all(|c| !["queued", "sent", "accepted"].contains(&c["state"].as_str().unwrap_or_default()))
    });
    assert!(agent.stop(), "{}", agent.log_end());
    assert_eq!(obeyed(folder, "VAN1"), ["lock", "speed-limit 80", "honk", "unlock"], "each once");
}

#[test]
fn what_cannot_be_given_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let cloud = place.start("");
    for (args, code, words) in [
        (&["send", "NOBODY", "honk", "--reason", "x"][..], 1, "there is no vehicle"),
        (&["send", "VAN1", "honk", "7", "--reason", "x"], 2, "speed-limit takes one value"),
        (&["send", "VAN1", "speed-limit", "--reason", "x"], 2, "speed-limit takes one value"),
        (&["send", "VAN1", "honk"], 2, "--reason"),
        (&["send", "VAN1", "honk", "--reason", "x", "--ttl", "9d"], 2, "7 days"),
        (&["get", "VAN1"], 2, "say which command"),
    ] {
        let output = ctl(&cloud, &[&["commands"], args].concat());
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {said}");
        assert!(said.contains(words), "{args:?}: {said}");
    }
}
