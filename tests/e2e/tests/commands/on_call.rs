//! Somebody is told of a real agent's alert by a real mail, once a call, though the cloud is killed around it.

#[path = "../../../../cloud/notifications/tests/support/smtp.rs"]
mod smtp;

use smtp::Smtp;

use super::*;

const ADA: &str = r#"[{name="ada", grants=["operator"], email="ada@example.com"}]"#;

#[test]
fn an_alert_is_mailed_once_a_call_though_the_cloud_is_killed_around_it() {
    let Some(mut relay) = Smtp::start(&[]) else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut place = CloudPlace::new(folder)
        .with("LAKE__ROUND_INTERVAL_MS", "200")
        .with("BUSINESS__ON_CALL", ADA)
        .with("BUSINESS__MAIL__RELAY", "localhost")
        .with("BUSINESS__MAIL__PORT", &relay.port.to_string())
        .with("BUSINESS__MAIL__PROTECTION", "none")
        .with("BUSINESS__MAIL__FROM", "Remuda <fleet@example.com>");
    let mut cloud = place.start("");
    let config = enrolled(&cloud, "VAN1", folder);
    let settings = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, settings.replace("source = \"none\"", "source = \"stdin\"")).expect("writable");
    let mut agent = Process::start_fed("remuda-agent", &["run", "--config", &config], &folder.join("logs"));
    wait_until("the vehicle is online", || {
        text(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
    let charge = r#"{"path":"Vehicle.Powertrain.TractionBattery.StateOfCharge.Current","value":12}"#;
    agent.say(charge);
    let open = |cloud: &Cloud| json(cloud, &["alerts", "list", "--filter", "state = OPEN"]);
    wait_until("the alert is there", || open(&cloud)["alerts"][0]["wantsAttention"] == true);
    // Nobody may have been told yet.
    cloud.process.kill();
    let mut cloud = place.start("");
    let first = relay.mail();
    assert_eq!(
        (&first["to"][0], &first["headers"]["subject"]),
        (&"ada@example.com".into(), &"warning: low-charge of VAN1".into())
    );
    let sent = |cloud: &Cloud| {
        let all = json(cloud, &["notifications", "list", "--recipient", "staff/ada"]);
        let all = all["notifications"].as_array().expect("a list").clone();
        all.iter().filter(|message| message["state"] == "sent").count()
    };
    wait_until("it is written down that she was told", || sent(&cloud) == 2);
    // Killed again, it tells her nothing a second time: the next mail is about the end of her pause.
    cloud.process.kill();
    let cloud = place.start("");
    let name = open(&cloud)["alerts"][0]["name"].as_str().expect("a name").to_owned();
    json(&cloud, &["alerts", "snooze", &name, "--for", "1h"]);
    json(&cloud, &["alerts", "unsnooze", &name]);
    let id = |mail: &Value| mail["headers"]["message-id"].clone();
    let mut second = relay.mail();
    if id(&second) == id(&first) {
        // The first kill fell between the mail and the word that it had left: the same mail, which mail programs show once.
        second = relay.mail();
    }
    assert_eq!(second["headers"]["subject"], "Again: warning: low-charge of VAN1");
    wait_until("that stands there too", || sent(&cloud) == 4);
    assert!(agent.stop(), "{}", agent.log_end());
}
