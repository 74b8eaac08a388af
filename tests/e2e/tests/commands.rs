//! Commands from `remudactl` to real agents and back: over mutual TLS, signed, through restarts, never twice.

#[path = "commands/alerts.rs"]
mod alerts;
#[path = "commands/geofences.rs"]
mod geofences;
#[path = "commands/on_call.rs"]
mod on_call;

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

/// As somebody with an account.
fn ctl_as(cloud: &Cloud, who: &str, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .args(["-o", "json"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", format!("{who}-token-of-these-tests"))
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
    let place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    // One person is enough here.
    let mut place = place.with("COMMANDS__TWO_PERSONS", "[]");
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

/// Operators with the tokens of [`ctl_as`]; only their SHA-256 stands in a configuration.
const ACCOUNTS: &str = r#"[{name="ada",token_sha256="76734b4c353e178f039f5af4f155ba7076896719be7d1691a4c82b1f39b2d71c",grants=["operator"]},{name="bob",token_sha256="ef942a00e89d038a795b6f923c12f96d720224eb94cbe432bd3fda81fe54e4b2",grants=["operator"]}]"#;

#[test]
fn a_group_is_commanded_once_through_a_kill_and_what_is_dangerous_waits_for_a_second_person() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let place = place.with("CONSOLE__ACCOUNTS", ACCOUNTS);
    let mut place = place.with("COMMANDS__TWO_PERSONS", "[\"unlock\"]");
    let cloud = place.start("");
    let vehicles = ["VAN1", "VAN2", "VAN3"];
    let configs = vehicles.map(|vehicle| enrolled(&cloud, vehicle, folder));
    let mut agents: Vec<Process> = configs[..2].iter().map(|config| run(config, folder)).collect();
    for vehicle in &vehicles[..2] {
        let twin = || text(&ctl(&cloud, &["vehicles", "get", vehicle]).stdout);
        wait_until("the vehicle is online", || twin().contains("ONLINE"));
    }
    // The third was there once, and is away.
    let mut third = run(&configs[2], folder);
    let twin = |cloud: &Cloud| text(&ctl(cloud, &["vehicles", "get", "VAN3"]).stdout);
    wait_until("the third is online", || twin(&cloud).contains("ONLINE"));
    assert!(third.stop(), "{}", third.log_end());
    wait_until("the third is away", || twin(&cloud).contains("OFFLINE"));

    let all = ["commands", "group", "create", "lock", "--filter", "vehicle = VAN*", "--reason", "a storm"];
    let preview = json(&cloud, &[&all[..], &["--dry-run"]].concat());
    assert_eq!((preview["vehicles"].as_array().map(Vec::len), &preview["away"]), (Some(3), &1.into()));
    let asked = ctl(&cloud, &all);
    assert_eq!(asked.status.code(), Some(2), "nobody can be asked: {}", text(&asked.stderr));
    let group = json(&cloud, &[&all[..], &["--yes", "--rate", "2", "--ttl", "1h"]].concat());
    let name = group["name"].as_str().expect("a name").to_owned();
    let get = |cloud: &Cloud| json(cloud, &["commands", "group", "get", &name]);
    wait_until("somebody's turn has come", || get(&cloud)["counts"]["waiting"] != 3);
    let Cloud { mut process, .. } = cloud;
    process.kill();
    let cloud = place.start("");
    wait_until("those that are there did it", || get(&cloud)["counts"]["done"] == 2);
    assert_eq!((&get(&cloud)["counts"]["given"], &get(&cloud)["state"]), (&1.into(), &"running".into()));
    agents.push(run(&configs[2], folder));
    let ended = ctl(&cloud, &["commands", "group", "watch", &name]);
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    for vehicle in vehicles {
        assert_eq!(obeyed(folder, vehicle), ["lock"], "{vehicle}: once");
    }

    let unlock = ["commands", "send", "VAN1", "unlock", "--reason", "a rider"];
    let waits: Value = serde_json::from_slice(&ctl_as(&cloud, "ada", &unlock).stdout).expect("JSON");
    assert_eq!(waits["state"], "awaiting_approval");
    let approval = waits["approval"].as_str().expect("a name").to_owned();
    let approve = ["commands", "approvals", "approve", &approval];
    let own = ctl_as(&cloud, "ada", &approve);
    assert!(!own.status.success() && text(&own.stderr).contains("somebody else"), "{}", text(&own.stderr));
    assert_eq!(obeyed(folder, "VAN1"), ["lock"]);
    let other = ctl_as(&cloud, "bob", &approve);
    assert!(other.status.success(), "{}", text(&other.stderr));
    wait_until("the doors are open", || obeyed(folder, "VAN1") == ["lock", "unlock"]);
    for agent in &mut agents {
        assert!(agent.stop(), "{}", agent.log_end());
    }
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

/// A vehicle asks: `number` makes its id.
fn ask(agent: &mut Process, number: u32, timeout_s: u32) {
    let id = format!("{number:032x}");
    agent.say(&format!(
        r#"{{"question":{{"id":"{id}","text":"a cone stands in my lane","options":["wait","pass on the left"],"default":0,"timeout_s":{timeout_s},"position":[60.17,24.94]}}}}"#
    ));
}

fn waiting(cloud: &Cloud) -> Vec<Value> {
    let listed = json(cloud, &["assistance", "list", "--waiting"]);
    listed["assistanceRequests"].as_array().expect("a list").clone()
}

#[test]
fn a_vehicle_asks_one_person_answers_and_it_acts_or_it_takes_its_safe_default() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let mut place = place.with("CONSOLE__ACCOUNTS", ACCOUNTS);
    let cloud = place.start("");
    let config = enrolled(&cloud, "VAN1", folder);
    let settings = fs::read_to_string(&config).expect("a configuration");
    fs::write(&config, settings.replace("source = \"none\"", "source = \"stdin\"")).expect("writable");
    let start = || Process::start_fed("remuda-agent", &["run", "--config", &config], &folder.join("logs"));
    let mut agent = start();
    let acted = |number: u32, option: u8, why: &str| format!("act {number:032x} {option} {why}");
    wait_until("the vehicle is online", || {
        text(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });

    // Asked, taken by one, answered, obeyed.
    ask(&mut agent, 1, 600);
    wait_until("the question is there", || waiting(&cloud).len() == 1);
    let request = waiting(&cloud).remove(0);
    assert_eq!((&request["state"], &request["options"][1]), (&"asked".into(), &"pass on the left".into()));
    let name = request["name"].as_str().expect("a name").to_owned();
    let watching = json(&cloud, &["assistance", "watch", "--updates", "1"]);
    assert_eq!(watching["assistanceRequests"][0]["name"], request["name"]);
    let early = ctl_as(&cloud, "ada", &["assistance", "answer", &name, "1"]);
    assert!(text(&early.stderr).contains("take the request before"), "{}", text(&early.stderr));
    let etag = request["etag"].as_str().expect("an etag").to_owned();
    let taken = ctl_as(&cloud, "ada", &["assistance", "take", &name, "--etag", &etag]);
    assert!(taken.status.success(), "{}", text(&taken.stderr));
    let second = ctl_as(&cloud, "bob", &["assistance", "take", &name]);
    assert!(
        !second.status.success() && text(&second.stderr).contains("account/ada"),
        "{}",
        text(&second.stderr)
    );
    let answered =
        ctl_as(&cloud, "ada", &["assistance", "answer", &name, "pass on the left", "--reason", "it is free"]);
    assert!(answered.status.success(), "{}", text(&answered.stderr));
    let get = |cloud: &Cloud, name: &str| json(cloud, &["assistance", "get", name]);
    wait_until("the vehicle has said what it did", || get(&cloud, &name)["state"] == "ended");
    let ended = get(&cloud, &name);
    assert_eq!(
        (&ended["outcome"], &ended["decidedOption"], &ended["actionResult"], &ended["answeredBy"]),
        (&"answered".into(), &1.into(), &"done".into(), &"account/ada".into())
    );
    let command = ended["command"].as_str().expect("a command").to_owned();
    wait_until("the command has ended too", || {
        json(&cloud, &["commands", "get", &command])["state"] == "done"
    });
    let log = text(&ctl(&cloud, &["audit", "list"]).stdout);
    for method in ["TakeAssistanceRequest", "AnswerAssistanceRequest"] {
        assert!(log.contains(method), "{method} is in the audit log");
    }
    for step in ["taken", "answered"] {
        let count = cloud.metric("remuda_operations_assistance_wait_seconds_count", step);
        assert_eq!(count, 1.0, "how long it waited until it was {step}");
    }

    // Nobody answers: the safe default, by the vehicle's own clock; then nobody can answer any more.
    ask(&mut agent, 2, 2);
    wait_until("it took its safe default", || obeyed(folder, "VAN1").len() == 2);
    wait_until("the default is told", || {
        let all = json(&cloud, &["assistance", "list"]);
        all["assistanceRequests"][0]["outcome"] == "timed_out"
    });
    let all = json(&cloud, &["assistance", "list"]);
    let unanswered = all["assistanceRequests"][0]["name"].as_str().expect("a name").to_owned();
    assert_ne!(unanswered, name, "the newest first");
    let late = ctl_as(&cloud, "ada", &["assistance", "take", &unanswered]);
    assert!(text(&late.stderr).contains("takes no answer any more"), "{}", text(&late.stderr));

    // One that cannot be asked does not leave the vehicle waiting: its safe default at once, and nobody is told.
    ask(&mut agent, 4, 0);
    wait_until("it took the default of what it could not ask", || obeyed(folder, "VAN1").len() == 3);
    assert!(waiting(&cloud).is_empty());

    // Away while the cloud is: both come back, the question still waits, and is answered once.
    ask(&mut agent, 3, 600);
    wait_until("the third question is there", || waiting(&cloud).len() == 1);
    let name = waiting(&cloud)[0]["name"].as_str().expect("a name").to_owned();
    agent.kill();
    let Cloud { mut process, .. } = cloud;
    process.kill();
    let cloud = place.start("");
    assert_eq!(waiting(&cloud).len(), 1, "a kill of the cloud loses no question");
    for verb in [&["take", name.as_str()][..], &["answer", name.as_str(), "0"]] {
        let done = ctl_as(&cloud, "bob", &[&["assistance"], verb].concat());
        assert!(done.status.success(), "{}", text(&done.stderr));
    }
    let mut agent = start();
    wait_until("it is obeyed on its return", || obeyed(folder, "VAN1").len() == 4);
    wait_until("and told", || get(&cloud, &name)["state"] == "ended");
    assert_eq!(
        obeyed(folder, "VAN1"),
        [
            acted(1, 1, "answered"),
            acted(2, 0, "timed-out"),
            acted(4, 0, "not-asked"),
            acted(3, 0, "answered")
        ],
        "each once"
    );
    assert!(agent.stop(), "{}", agent.log_end());
}
