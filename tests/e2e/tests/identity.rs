//! From `remudactl vehicles create` to a revoked vehicle, with the programs that people start.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until};

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(code), "{text}");
    assert_eq!(text.trim_end().lines().count(), 1, "one sentence: {text}");
    text
}

fn json(output: &Output) -> serde_json::Value {
    serde_json::from_str(&said(output)).expect("one JSON object")
}

fn enroll(cloud: &Cloud, token: &str, dir: &Path) -> Output {
    Command::new(binary("remuda-agent"))
        .args(["enroll", "--server", &cloud.enrolment, "--dir"])
        .arg(dir)
        .env("REMUDA_ENROLMENT_TOKEN", token)
        .output()
        .expect("remuda-agent runs")
}

fn agent(dir: &Path, logs: &Path) -> Process {
    let config = dir.join("agent.toml").to_string_lossy().into_owned();
    let env = [("REMUDA_AGENT__SOURCE", "none"), ("REMUDA_AGENT__RECONNECT_MS_MAX", "1000")];
    Process::start("remuda-agent", &["run", "--config", &config], &env, logs)
}

fn online(cloud: &Cloud, vehicle: &str) -> bool {
    let seen = ctl(cloud, &["vehicles", "list", "-o", "name", "--filter", "presence = ONLINE"]);
    said(&seen).lines().any(|name| name.ends_with(&format!("/{vehicle}")))
}

fn standing(cloud: &Cloud, vehicle: &str) -> String {
    let shown = json(&ctl(cloud, &["vehicles", "registered", vehicle, "-o", "json"]));
    shown["registrations"][0]["standing"].as_str().expect("a standing").to_owned()
}

#[test]
fn a_vehicle_is_created_enrols_comes_in_is_revoked_and_comes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let cloud = place.start("");
    let logs = folder.path().join("logs");
    let made =
        json(&ctl(&cloud, &["vehicles", "create", "VAN1", "--display-name", "Blue van", "-o", "json"]));
    let token = made["enrolmentToken"].as_str().expect("a token").to_owned();
    assert!(token.starts_with("remuda1.VAN1."), "{token}");
    assert_eq!(standing(&cloud, "VAN1"), "WAITING");
    let again = complaint(&ctl(&cloud, &["vehicles", "create", "VAN1"]), 1);
    assert!(again.contains("VAN1 already"), "{again}");
    complaint(&ctl(&cloud, &["vehicles", "create", "VAN 1"]), 2);
    complaint(&ctl(&cloud, &["vehicles", "create", "VAN3", "-o", "name"]), 2);

    let dir = folder.path().join("van1");
    said(&enroll(&cloud, &token, &dir));
    let mode = |file: &str| fs::metadata(dir.join(file)).expect("there").permissions().mode() & 0o777;
    assert_eq!(mode("identity/vehicle.key"), 0o600);
    assert_eq!(standing(&cloud, "VAN1"), "ENROLLED");
    let thief = complaint(&enroll(&cloud, &token, &folder.path().join("thief")), 1);
    assert!(thief.contains("used already") && !thief.contains(&token), "{thief}");
    let mut van = agent(&dir, &logs);
    wait_until("the vehicle is online", || online(&cloud, "VAN1"));

    said(&ctl(&cloud, &["vehicles", "revoke", "VAN1", "--reason", "stolen in Turku"]));
    wait_until("the vehicle is offline", || !online(&cloud, "VAN1"));
    assert_eq!(standing(&cloud, "VAN1"), "REVOKED");
    let table = said(&ctl(&cloud, &["vehicles", "registered"]));
    assert!(table.contains("revoked") && table.contains("stolen in Turku"), "{table}");
    let twice = complaint(&ctl(&cloud, &["vehicles", "revoke", "VAN1", "--reason", "again"]), 1);
    assert!(twice.contains("revoked already"), "{twice}");
    assert!(cloud.metric("remuda_ingress_closes_total", "vehicle_revoked") >= 1.0);

    // Neither the log of the node nor that of the agent, nor any file of the register, says a secret.
    let secret = token.rsplit('.').next().expect("a secret");
    let register = fs::read_to_string(place.data().join("identity/register.jsonl")).expect("read");
    assert!(register.contains("stolen in Turku") && !register.contains(secret));
    van.kill();

    // The node is down; a token is made on its machine all the same, and works when it is back.
    drop(cloud);
    let offline = Command::new(binary("remuda"))
        .args(["vehicles", "--data"])
        .arg(place.data())
        .args(["token", "--vehicle", "VAN1"])
        .output()
        .expect("remuda runs");
    let token = said(&offline).trim().to_owned();
    let cloud = place.start("");
    assert_eq!(standing(&cloud, "VAN1"), "REVOKED", "until it has used it");
    said(&enroll(&cloud, &token, &dir));
    let _van = agent(&dir, &logs);
    wait_until("the vehicle is back", || online(&cloud, "VAN1"));
}

#[test]
fn many_vehicles_are_provisioned_from_a_file_all_or_none() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let cloud = place.start("");
    let (csv, out) = (folder.path().join("fleet.csv"), folder.path().join("tokens.csv"));
    let (csv_arg, out_arg) = (csv.to_string_lossy().into_owned(), out.to_string_lossy().into_owned());
    let provision = || ctl(&cloud, &["vehicles", "provision", "--csv", &csv_arg, "--out", &out_arg]);
    fs::write(&csv, "vehicle,display name\nBUS1,\"Line 1, north\"\nBUS-2\n").expect("written");
    let bad = complaint(&provision(), 2);
    assert!(bad.contains("line 3") && bad.contains("BUS-2"), "{bad}");
    assert!(!out.exists());
    let lines: String = (1..=500).map(|n| format!("BUS{n},Line {n}\n")).collect();
    fs::write(&csv, &lines).expect("written");
    let done = said(&provision());
    assert!(done.contains("500 vehicles"), "{done}");
    assert_eq!(fs::metadata(&out).expect("there").permissions().mode() & 0o777, 0o600);
    let tokens = fs::read_to_string(&out).expect("read");
    assert_eq!(tokens.lines().count(), 501);
    let refused = complaint(&provision(), 2);
    assert!(refused.contains("tokens.csv"), "never over a file that is there: {refused}");
    fs::write(&csv, "BUS501\nBUS7\n").expect("written");
    let other = folder.path().join("other.csv").to_string_lossy().into_owned();
    let twice = complaint(&ctl(&cloud, &["vehicles", "provision", "--csv", &csv_arg, "--out", &other]), 2);
    assert!(twice.contains("line 2") && twice.contains("BUS7"), "{twice}");
    assert!(!Path::new(&other).exists());
    let names = said(&ctl(&cloud, &["vehicles", "registered", "-o", "name"]));
    assert_eq!(names.lines().count(), 500, "BUS501 was not registered");
    let line = tokens.lines().nth(7).expect("a line");
    let token = line.split(',').nth(1).expect("a token");
    said(&enroll(&cloud, token, &folder.path().join("bus7")));
    assert_eq!(standing(&cloud, "BUS7"), "ENROLLED");
}
