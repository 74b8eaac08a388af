//! A real vehicle drives out of a yard and back, while the cloud is killed.

use super::*;

fn alerts(cloud: &Cloud) -> Vec<Value> {
    let listed = json(cloud, &["alerts", "list", "--all"]);
    listed["alerts"].as_array().expect("a list").clone()
}

fn states(cloud: &Cloud) -> Vec<(String, String)> {
    let word = |alert: &Value, field: &str| alert[field].as_str().expect("a word").to_owned();
    alerts(cloud).iter().map(|alert| (word(alert, "rule"), word(alert, "state"))).collect()
}

fn visits(cloud: &Cloud, geofence: &str) -> Vec<Value> {
    let listed = json(cloud, &["geofences", "vehicles", geofence]);
    listed["visits"].as_array().expect("a list").clone()
}

#[test]
fn a_vehicle_that_leaves_its_yard_raises_an_alert_until_it_is_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let mut cloud = place.start("");
    let create = ["geofences", "create", "yard", "--kind", "keep-in", "--circle", "60.17,24.94,500"];
    let made = json(&cloud, &[create.as_slice(), &["--hysteresis", "50", "--request-id", "r1"]].concat());
    assert_eq!((&made["kind"], &made["updatedBy"]), (&"keep-in".into(), &"console".into()));
    let again = json(&cloud, &[create.as_slice(), &["--hysteresis", "50", "--request-id", "r1"]].concat());
    assert_eq!(again, made, "the same request again makes no second one");
    let taken = ctl(&cloud, &create);
    assert!(text(&taken.stderr).contains("GEOFENCE_EXISTS"), "{}", text(&taken.stderr));

    let config = enrolled(&cloud, "VAN1", folder);
    let settings = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, settings.replace("source = \"none\"", "source = \"stdin\"")).expect("writable");
    let mut agent = Process::start_fed("remuda-agent", &["run", "--config", &config], &folder.join("logs"));
    let tell = |agent: &mut Process, path: &str, value: f64| {
        agent.say(&format!(r#"{{"path":"Vehicle.CurrentLocation.{path}","value":{value}}}"#));
    };
    tell(&mut agent, "Latitude", 60.17);
    tell(&mut agent, "Longitude", 24.94);
    wait_until("it is in the yard", || visits(&cloud, "yard").iter().any(|visit| visit["counts"] == true));
    assert_eq!(visits(&cloud, "yard")[0]["vehicle"], "organizations/default/vehicles/VAN1");
    assert_eq!(alerts(&cloud), Vec::<Value>::new());

    // It leaves while nobody is there to see it.
    cloud.process.kill();
    tell(&mut agent, "Latitude", 60.18);
    let mut cloud = place.start("");
    let open = [("keep-in".to_owned(), "open".to_owned())];
    wait_until("the alert is there", || states(&cloud) == open);
    let alert = alerts(&cloud).remove(0);
    assert_eq!(alert["geofence"], "organizations/default/geofences/yard");
    let beyond = alert["value"].as_f64().expect("metres");
    assert!((600.0..625.0).contains(&beyond), "{alert}");
    assert_eq!(alert["wantsAttention"], true);
    let of_yard = ["alerts", "list", "--filter", "geofence = yard AND severity = WARNING"];
    assert_eq!(json(&cloud, &of_yard)["alerts"][0]["name"], alert["name"]);
    assert_eq!(visits(&cloud, "yard"), Vec::<Value>::new());

    // Killed again: it is the same alert, and it ends when the vehicle is back.
    cloud.process.kill();
    let mut cloud = place.start("");
    assert_eq!(alerts(&cloud)[0]["etag"], alert["etag"]);
    wait_until("the vehicle is back", || {
        text(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
    tell(&mut agent, "Latitude", 60.1701);
    let over = [("keep-in".to_owned(), "cleared".to_owned())];
    wait_until("it is over", || states(&cloud) == over);
    assert_eq!(alerts(&cloud)[0]["name"], alert["name"], "one alert, whatever crashed");

    // A zone is drawn around it; it says one word, and then the zone is lifted.
    let polygon = "60.16,24.93 60.16,24.95 60.18,24.95 60.18,24.93";
    json(&cloud, &["geofences", "create", "zone", "--kind", "keep-out", "--polygon", polygon]);
    tell(&mut agent, "Latitude", 60.1702);
    wait_until("it shall not be there", || states(&cloud).contains(&("keep-out".into(), "open".into())));
    let file = folder.join("fences.geojson").to_string_lossy().into_owned();
    json(&cloud, &["geofences", "list"]);
    assert!(ctl(&cloud, &["geofences", "export", "--file", &file]).status.success());
    assert!(agent.stop(), "{}", agent.log_end());
    json(&cloud, &["geofences", "delete", "zone"]);
    wait_until("it is let go", || states(&cloud).contains(&("keep-out".into(), "cleared".into())));

    // What was exported comes back as it was.
    cloud.process.kill();
    let cloud = place.start("");
    let import = ["geofences", "import", &file];
    let would = json(&cloud, &[import.as_slice(), &["--dry-run"]].concat());
    let counts = |created: u64, same: u64| serde_json::json!({ "created": created, "updated": 0, "unchanged": same, "failed": 0 });
    assert_eq!((would, json(&cloud, &import)), (counts(1, 1), counts(1, 1)));
    assert_eq!(json(&cloud, &import), counts(0, 2), "the same file again changes nothing");
    let listed = json(&cloud, &["geofences", "list"]);
    let ids: Vec<&str> = listed["geofences"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|geofence| geofence["name"].as_str()?.rsplit('/').next())
        .collect();
    assert_eq!(ids, ["yard", "zone"]);
    let entries = text(&ctl(&cloud, &["audit", "list"]).stdout);
    for method in ["CreateGeofence", "DeleteGeofence", "UpdateGeofence"] {
        assert!(entries.contains(method), "{method} is not in {entries}");
    }
}
