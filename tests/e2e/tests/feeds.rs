//! A customer follows the feed of a real node through its death, and misses nothing.

use std::collections::BTreeMap;
use std::path::Path;

use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, wait_until};
use serde_json::Value;

const VEHICLES: usize = 8;

/// What one `remudactl feeds follow` said, up to its last cursor: ids in their order by vehicle, and the cursor.
struct Heard {
    ids: BTreeMap<String, Vec<String>>,
    cursor: String,
    caught_up: bool,
}

fn heard(said: &str) -> Option<Heard> {
    // The last line may be half written.
    let whole = said.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let lines: Vec<Value> =
        whole.lines().map(|line| serde_json::from_str(line).expect("a JSON object a line")).collect();
    let last = lines.iter().rposition(|line| line["cursor"].is_string())?;
    let mut ids: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for line in lines[..last].iter().filter(|line| line["id"].is_string()) {
        assert_eq!(line["type"], "dev.remuda.telemetry.samples", "{line}");
        let of = ids.entry(line["source"].as_str().expect("a source").to_owned()).or_default();
        of.push(line["id"].as_str().expect("an id").to_owned());
    }
    let cursor = lines[last]["cursor"].as_str().expect("a cursor").to_owned();
    Some(Heard { ids, cursor, caught_up: lines[last]["lag_positions"] == 0 })
}

fn follow(cloud: &Cloud, from: &[&str], folder: &Path, enough: impl Fn(&Heard) -> bool) -> Heard {
    let args = [&["feeds", "follow", "--what", "telemetry"][..], from].concat();
    let server = format!("http://{}", cloud.console);
    let env = [("REMUDA_SERVER", server.as_str()), ("REMUDA_TOKEN", cloud.token.as_str())];
    let mut reader = Process::start("remudactl", &args, &env, folder);
    wait_until("enough was told", || heard(&reader.out()).is_some_and(|heard| enough(&heard)));
    reader.kill();
    heard(&reader.out()).expect("it was enough")
}

#[test]
fn a_feed_goes_on_after_the_node_was_killed_and_nothing_is_missed_or_told_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let logs = folder.path().join("logs");
    let mut place = CloudPlace::new(folder.path())
        .with("LAKE__ROUND_INTERVAL_MS", "200")
        .with("LAKE__COMPACT_INTERVAL_S", "1");
    let cloud = place.start("");
    let data = folder.path().join("vehicles").to_string_lossy().into_owned();
    let count = VEHICLES.to_string();
    let args = ["fleet", "--vehicles", &count, "--rate", "5", "--door", &cloud.door, "--data", &data];
    let mut vehicles = Process::start("remuda-sim", &args, &[], &logs);
    let before = follow(&cloud, &["--earliest"], &logs, |heard| {
        heard.ids.len() == VEHICLES && heard.ids.values().all(|ids| ids.len() >= 5)
    });
    let Cloud { mut process, .. } = cloud;
    process.kill();
    let cloud = place.start("");
    wait_until("frames are durable again", || {
        cloud.metric("remuda_vehicles_frames_durable_total", "") >= 5.0 * VEHICLES as f64
    });
    assert!(vehicles.stop(), "{}", vehicles.log_end());

    let after = follow(&cloud, &["--cursor", &before.cursor], &logs, |heard| heard.caught_up);
    let all = follow(&cloud, &["--earliest"], &logs, |heard| heard.caught_up);
    assert_eq!(all.ids.len(), VEHICLES);
    for (vehicle, ids) in &all.ids {
        let told = [&before.ids[vehicle][..], after.ids.get(vehicle).map_or(&[], Vec::as_slice)].concat();
        assert_eq!(&told, ids, "{vehicle}");
    }
    assert!(after.ids.values().any(|ids| !ids.is_empty()), "the restart left something to tell");
}
