//! The vehicle's side of its identity, against a real cloud: renewing, being revoked and let in again while it runs,
//! coming back after a planned stop, and simulated vehicles that enrol.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until};
use remuda_edge_agent::enroll::enroll_with_token;
use remuda_edge_agent::identity::new_key;
use remuda_edge_agent::{Credentials, Enroller, Folder};
use serde_json::Value;

fn run(name: &str, args: &[&str], env: &[(&str, &str)]) -> Output {
    Command::new(binary(name)).args(args).envs(env.iter().copied()).output().expect("it runs")
}

fn said(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn ctl(cloud: &Cloud, args: &[&str]) -> String {
    let server = format!("http://{}", cloud.console);
    said(&run("remudactl", args, &[("REMUDA_SERVER", &server), ("REMUDA_TOKEN", &cloud.token)]))
}

fn token(place: &CloudPlace, vehicle: &str) -> String {
    let data = place.data().to_string_lossy().into_owned();
    said(&run("remuda", &["vehicles", "--data", &data, "token", "--vehicle", vehicle], &[]))
}

fn enroll(cloud: &Cloud, token: &str, dir: &Path) -> Output {
    let dir = dir.to_string_lossy();
    let args = ["enroll", "--server", &cloud.enrolment, "--dir", &dir];
    run("remuda-agent", &args, &[("REMUDA_ENROLMENT_TOKEN", token)])
}

fn agent(dir: &Path, logs: &Path) -> Process {
    let config = dir.join("agent.toml").to_string_lossy().into_owned();
    let env = [("REMUDA_AGENT__SOURCE", "none"), ("REMUDA_AGENT__RECONNECT_MS_MAX", "1000")];
    Process::start("remuda-agent", &["run", "--config", &config], &env, logs)
}

fn online(cloud: &Cloud) -> f64 {
    cloud.metric("remuda_ingress_connections", "")
}

#[test]
fn a_running_agent_says_that_it_was_revoked_and_takes_a_new_identity_without_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let cloud = place.start("");
    let dir = folder.path().join("van1");
    said(&enroll(&cloud, &token(&place, "VAN1"), &dir));
    let van = agent(&dir, &folder.path().join("logs"));
    wait_until("the vehicle is connected", || online(&cloud) == 1.0);

    ctl(&cloud, &["vehicles", "revoke", "VAN1", "--reason", "a test"]);
    wait_until("the agent says that it was revoked", || van.log().contains("revoked"));
    let log = van.log();
    let complaint = log.lines().find(|line| line.contains("revoked")).expect("said");
    assert!(complaint.contains("WARN") && complaint.contains("remuda-agent enroll"), "{complaint}");

    said(&enroll(&cloud, &token(&place, "VAN1"), &dir));
    wait_until("the vehicle is connected again", || online(&cloud) == 1.0);
    assert_eq!(van.log().matches("revoked").count(), log.matches("revoked").count(), "said once");
}

#[test]
fn a_certificate_is_renewed_at_the_real_port_and_a_revoked_one_is_not() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let cloud = place.start("");
    let dir = folder.path().join("van1");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let server: remuda_edge_agent::ServerUrl = cloud.enrolment.parse().expect("an address");
    let token = token(&place, "VAN1").parse().expect("a token");
    let enrolled = enroll_with_token(server.clone(), &token, &dir);
    runtime.block_on(enrolled).expect("enrols");
    let folder = Folder::new(&dir);
    let first = folder.load().expect("readable").expect("enrolled");
    let credentials = Credentials::new(&first).expect("usable");
    let (enroller, key) = (Enroller::new(server), new_key().expect("a key"));
    let renewed = runtime.block_on(enroller.renew(first.vehicle, &credentials, &key)).expect("renewed");
    assert!(renewed.certificate_pem != first.certificate_pem && renewed.door == first.door);
    assert_eq!(renewed.key_pem, key.serialize_pem());
    credentials.replace(&renewed).expect("usable");
    ctl(&cloud, &["vehicles", "revoke", "VAN1", "--reason", "a test"]);
    let refused = runtime.block_on(enroller.renew(first.vehicle, &credentials, &key)).expect_err("revoked");
    assert!(refused.to_string().contains("revoked") && refused.is_lasting(), "{refused}");
}

#[test]
fn after_a_planned_stop_everybody_comes_back_and_nothing_is_lost() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let mut cloud = place.start("");
    let ids = said(&run("remuda-sim", &["ids", "--vehicles", "40"], &[]));
    let file = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
    let (csv, tokens, data) = (file("ids.csv"), file("tokens.csv"), file("load"));
    fs::write(&csv, ids).expect("written");
    ctl(&cloud, &["vehicles", "provision", "--csv", &csv, "--out", &tokens]);
    let (door, enrolment) = (cloud.tls_door.clone(), cloud.enrolment.clone());
    let load = |command: &str, with_tokens: bool, data: &str, extra: &[&str]| {
        let mut args = vec![command, "--vehicles", "40", "--rate", "200", "--json", "--door", &door];
        args.extend(["--enrolment", &enrolment, "--data", data]);
        args.extend(extra);
        if with_tokens {
            args.extend(["--tokens", &tokens]);
        }
        Process::start("remuda-sim", &args, &[], &folder.path().join("logs"))
    };
    let mut storm = load("reconnect", true, &data, &["--for", "60s"]);
    wait_until("all are connected", || storm.log().contains("all connected"));
    assert!(storm.log().contains("40 of 40 vehicles enrolled"), "{}", storm.log());
    assert!(cloud.process.stop(), "the cloud stops well: {}", cloud.process.log_end());
    let cloud = place.start("");
    assert!(storm.wait().success(), "{}", storm.log_end());
    let report: Value = serde_json::from_str(&storm.out()).expect("JSON");
    assert!(report["all_back_unix_ms"].as_u64().expect("a time") > 0, "{report}");
    assert_eq!(report["frames_left"], 0, "{report}");

    // The certificates were kept: no tokens are needed, and without them nobody else gets one.
    let mut again = load("ingest", false, &data, &["--for", "1s"]);
    assert!(again.wait().success(), "{}", again.log_end());
    assert!(!again.log().contains("enrolled"), "{}", again.log());
    let mut strangers = load("ingest", false, &file("strangers"), &["--for", "1s"]);
    assert!(!strangers.wait().success());
    assert!(strangers.log().contains("--tokens"), "{}", strangers.log());
    drop(cloud);
}
