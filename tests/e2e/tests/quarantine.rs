//! Frames that one release could not read are read by the next: a real cloud quarantines what real agents send,
//! `remuda lake reprocess` is killed between file and commit, run again, and the ledger agrees.

use std::path::Path;
use std::process::{Command, Output};

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Process, binary, wait_until};
use serde_json::Value;

fn lake(place: &CloudPlace, verb: &str, failpoints: &str) -> Output {
    let data = place.data().to_string_lossy().into_owned();
    Command::new(binary("remuda"))
        .args(["lake", "--data", &data, verb, "--json"])
        .env("FAILPOINTS", failpoints)
        .output()
        .expect("remuda runs")
}

fn json(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn ledger(place: &CloudPlace, vehicles: &Path) -> remuda_ledger::Ledger {
    let ledger =
        remuda_ledger::count_blocking(&place.data(), &[vehicles.to_path_buf()]).expect("it can be counted");
    assert!(ledger.balances(), "{ledger}");
    ledger
}

#[test]
fn quarantine_is_read_by_a_release_that_can_and_the_ledger_agrees() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut place = CloudPlace::new(folder.path()).with("LAKE__ROUND_INTERVAL_MS", "100");
    let data = folder.path().join("vehicles");
    let start = |door: &str| {
        let text = data.to_string_lossy().into_owned();
        let args =
            ["fleet", "--vehicles", "20", "--rate", "5", "--seed", "7", "--door", door, "--data", &text];
        Process::start("remuda-sim", &args, &[], &folder.path().join("logs"))
    };
    // Some frames of both lanes cannot be read by this cloud.
    let mut cloud = place.start("frame-from-the-future=50%return");
    let mut vehicles = start(&cloud.door);
    wait_until("frames of both lanes are in quarantine", || {
        let of = |lane| cloud.metric("remuda_vehicles_frames_quarantined_total", lane);
        of("samples") >= 30.0 && of("events") >= 1.0
    });
    let running = lake(&place, "reprocess", "");
    let told = String::from_utf8_lossy(&running.stderr).into_owned();
    assert_eq!(running.status.code(), Some(1));
    assert!(told.contains("in use by another process; stop that process first"), "{told}");
    assert!(vehicles.stop() && cloud.process.stop());

    let before = ledger(&place, &data);
    assert!(before.frames_quarantined >= 31, "{before}");
    let listed = json(&lake(&place, "quarantine", ""));
    let frames = listed["frames"].as_array().expect("frames");
    assert_eq!(
        (frames.len() as u64, listed["readable"].as_u64()),
        (before.frames_quarantined, Some(before.frames_quarantined))
    );
    assert!(frames.iter().all(|frame| frame["reason"] == "version" && frame["bytes"].as_u64() > Some(10)));
    // Killed when the file is written and nothing says so: it is garbage, and the frames are still there.
    assert!(!lake(&place, "reprocess", "reprocess-after-file=return").status.success());
    assert_eq!(ledger(&place, &data), before);
    let first = json(&lake(&place, "reprocess", ""));
    assert_eq!(first["frames_reprocessed"].as_u64(), Some(before.frames_quarantined));
    let again = json(&lake(&place, "reprocess", ""));
    assert_eq!(
        (again["frames_reprocessed"].as_u64(), again["frames_unreadable"].as_u64()),
        (Some(0), Some(0))
    );
    let after = ledger(&place, &data);
    assert_eq!(after.frames_quarantined, 0, "{after}");
    assert_eq!(after.frames_stored, before.frames_stored + before.frames_quarantined, "{after}");
    assert!(after.samples_stored > before.samples_stored);

    // Vehicles go on where they were.
    let mut cloud = place.start("");
    let mut vehicles = start(&cloud.door);
    wait_until("vehicles go on", || cloud.metric("remuda_vehicles_frames_durable_total", "samples") >= 30.0);
    assert!(vehicles.stop() && cloud.process.stop());
    let last = ledger(&place, &data);
    assert!(last.frames_stored > after.frames_stored && last.frames_quarantined == 0, "{last}");
}
