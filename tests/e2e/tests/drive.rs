//! A real drive, raw CAN at its real rate, through the real agent and a running cloud, read back by a foreign reader.

use std::process::Command;

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Process, binary, shared_data, workspace_root};

#[test]
fn a_real_drive_is_stored_exactly() {
    let (Some(capture), Some(dbc)) = (shared_data("can/comma2k19"), shared_data("can/_toyota_2017.dbc"))
    else {
        return;
    };
    let python = workspace_root().join("target/venv/bin/python");
    if !python.is_file() {
        eprintln!("skipped: no Python environment with pyarrow; `cargo xtask install` makes it");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path());
    let enrolment = folder.path().join("rav4.enrolment");
    let enrolled = Command::new(binary("remuda"))
        .args(["vehicles", "--data"])
        .arg(place.data())
        .args(["enroll", "--vehicle", "RAV4", "--out"])
        .arg(&enrolment)
        .output()
        .expect("remuda runs");
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    place = place.with("DOOR__IDENTITY", "enrolled");
    let mut cloud = place.start("");
    let agent = folder.path().join("agent");
    let enrolled = Command::new(binary("remuda-agent"))
        .args(["enroll", "--from"])
        .arg(&enrolment)
        .args(["--door", &cloud.door, "--dir"])
        .arg(&agent)
        .output()
        .expect("remuda-agent runs");
    assert!(enrolled.status.success(), "{}", String::from_utf8_lossy(&enrolled.stderr));
    // CI replays faster than life; the full tier at the bus's own 2,258 frames a second.
    let speed = if std::env::var("REMUDA_TEST_TIER").as_deref() == Ok("max") { "max" } else { "1.0" };
    let text = |path: &std::path::Path| path.to_string_lossy().into_owned();
    let mapping = workspace_root().join("config/mappings/toyota-rav4-2017.toml");
    let config = text(&agent.join("agent.toml"));
    let (capture_arg, dbc_arg, mapping_arg) = (text(&capture), text(&dbc), text(&mapping));
    let args = [
        "replay",
        "--config",
        &config,
        "--capture",
        &capture_arg,
        "--dbc",
        &dbc_arg,
        "--mapping",
        &mapping_arg,
        "--speed",
        speed,
        "--json",
    ];
    let mut replay = Process::start("remuda-agent", &args, &[], &folder.path().join("logs"));
    let status = replay.wait();
    assert!(status.success(), "{}", replay.log_end());
    eprintln!("{}", replay.out().trim());
    assert!(cloud.process.stop(), "{}", cloud.process.log_end());
    let read = Command::new(&python)
        .arg(workspace_root().join("tests/e2e/readers/wheel_speeds.py"))
        .arg(place.data().join("lake"))
        .arg(&capture)
        .output()
        .expect("python runs");
    let verdict = String::from_utf8_lossy(&read.stdout).into_owned();
    assert!(read.status.success(), "{verdict}{}", String::from_utf8_lossy(&read.stderr));
    eprintln!("{}", verdict.trim());
    let ledger = remuda_ledger::count_blocking(&place.data(), &[agent]).expect("the disks can be read");
    assert!(ledger.balances() && ledger.frames_in_outbox == 0, "{ledger:#?}");
}
