//! Alerts of a real agent, worked with by `remudactl`, through a kill of the cloud.

use super::*;

fn alerts(cloud: &Cloud, filter: &str) -> Vec<Value> {
    let listed = json(cloud, &["alerts", "list", "--filter", filter]);
    listed["alerts"].as_array().expect("a list").clone()
}

fn kinds(alert: &Value) -> Vec<String> {
    let history = alert["history"].as_array().expect("a history");
    history.iter().map(|entry| entry["kind"].as_str().expect("a kind").to_owned()).collect()
}

#[test]
fn an_alert_is_looked_after_through_a_kill_of_the_cloud_until_the_vehicle_says_that_all_is_well() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let mut cloud = place.start("");
    let config = enrolled(&cloud, "VAN1", folder);
    let settings = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, settings.replace("source = \"none\"", "source = \"stdin\"")).expect("writable");
    let mut agent = Process::start_fed("remuda-agent", &["run", "--config", &config], &folder.join("logs"));
    let charge = |agent: &mut Process, percent: f64| {
        agent.say(&format!(
            r#"{{"path":"Vehicle.Powertrain.TractionBattery.StateOfCharge.Current","value":{percent}}}"#
        ));
    };
    charge(&mut agent, 60.0);
    wait_until("the vehicle is online", || {
        text(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
    assert!(alerts(&cloud, "").is_empty());
    charge(&mut agent, 12.0);
    wait_until("the alert is there", || alerts(&cloud, "state = OPEN").len() == 1);
    let raised = alerts(&cloud, "vehicle = VAN* AND severity >= WARNING AND rule = low-charge").remove(0);
    assert_eq!((&raised["state"], &raised["wantsAttention"]), (&"open".into(), &true.into()));
    let name = raised["name"].as_str().expect("a name").to_owned();
    let get = |cloud: &Cloud| json(cloud, &["alerts", "get", &name]);

    // Looked after, by whoever saw its newest state; the same request again is no second one.
    let etag = raised["etag"].as_str().expect("an etag");
    let ack =
        ["alerts", "ack", &name, "--note", "a tow truck is under way", "--etag", etag, "--request-id", "r1"];
    let acked = json(&cloud, &ack);
    assert_eq!((&acked["state"], &acked["changedBy"]), (&"acknowledged".into(), &"console".into()));
    assert_eq!(json(&cloud, &ack)["etag"], acked["etag"]);
    let stale = ctl(&cloud, &["alerts", "snooze", &name, "--for", "1h", "--etag", etag]);
    assert_eq!(stale.status.code(), Some(1));
    assert!(text(&stale.stderr).contains("changed since"), "{}", text(&stale.stderr));
    let by_hand = ctl(&cloud, &["alerts", "clear", &name, "--reason", "never mind"]);
    assert!(text(&by_hand.stderr).contains("ends its alerts itself"), "{}", text(&by_hand.stderr));

    // The cloud is killed; what was said is there again, before the vehicle or anybody has said anything.
    cloud.process.kill();
    let mut cloud = place.start("");
    let after = get(&cloud);
    assert_eq!((&after["etag"], &after["note"]), (&acked["etag"], &"a tow truck is under way".into()));
    assert_eq!(kinds(&after), ["raised", "acknowledged"]);
    // The longest snooze there is, asked for twice.
    let alert = name.rsplit('/').next().expect("an id");
    let snooze = ["alerts", "snooze", "VAN1", alert, "--for", "7d", "--request-id", "r2"];
    let snoozed = json(&cloud, &snooze);
    assert_eq!(snoozed["state"], "snoozed");
    assert_eq!(json(&cloud, &snooze)["etag"], snoozed["etag"], "the same request again changes nothing");
    assert!(alerts(&cloud, "state = OPEN OR state = ACKNOWLEDGED").is_empty());
    cloud.process.kill();
    let cloud = place.start("");
    assert_eq!(get(&cloud)["snoozeUntilTime"], snoozed["snoozeUntilTime"]);
    assert_eq!(cloud.metric("remuda_vehicles_open_alerts", "warning"), 1.0);
    let open = json(&cloud, &["alerts", "unsnooze", &name]);
    assert_eq!((&open["state"], &open["wantsAttention"]), (&"open".into(), &true.into()));

    // What was done stands in the audit log.
    let entries = text(&ctl(&cloud, &["audit", "list"]).stdout);
    for method in ["AcknowledgeAlert", "SnoozeAlert", "UnsnoozeAlert", "ClearAlert"] {
        assert!(entries.contains(method), "{method} is not in {entries}");
    }
    // Over REST as well.
    let (status, body) =
        cloud.get("/api/v1/organizations/default/alerts?filter=state%20%3D%20OPEN").expect("an answer");
    let listed: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &listed["alerts"][0]["state"]), (200, &"STATE_OPEN".into()));

    wait_until("the vehicle is back", || {
        text(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
    charge(&mut agent, 80.0);
    wait_until("its rule ends it", || get(&cloud)["state"] == "cleared");
    assert_eq!(kinds(&get(&cloud)), ["raised", "acknowledged", "snoozed", "unsnoozed", "cleared"]);
    assert_eq!(json(&cloud, &["alerts", "list"])["alerts"], serde_json::json!([]));
    let updates = ["alerts", "watch", "--updates", "1"];
    let watched = text(&ctl(&cloud, &updates).stdout);
    assert!(watched.contains("\"cleared\""), "{watched}");
    let late = ctl(&cloud, &["alerts", "ack", &name]);
    assert!(text(&late.stderr).contains("is over"), "{}", text(&late.stderr));
    assert!(agent.stop(), "{}", agent.log_end());
}
