//! A real vehicle in a tunnel: it passes its pick-up and its drop-off while nobody hears it, its agent is killed in between, and
//! when it is back the trip is completed with the times and the odometer of the tunnel.

use std::fs;
use std::io;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_e2e::business::{events, text};
use remuda_e2e::cloud::CloudPlace;
use remuda_e2e::{Cloud, Process, binary, wait_until};
use serde_json::{Value, json};

fn ctl(cloud: &Cloud, args: &[&str]) -> Output {
    Command::new(binary("remudactl"))
        .args(args)
        .args(["-o", "json"])
        .env("REMUDA_SERVER", format!("http://{}", cloud.console))
        .env("REMUDA_TOKEN", &cloud.token)
        .output()
        .expect("remudactl runs")
}

fn answer(cloud: &Cloud, args: &[&str]) -> Value {
    let output = ctl(cloud, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap_or_default()
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Between vehicle and door: a tunnel's mouth.
struct Mouth {
    address: String,
    is_open: Arc<AtomicBool>,
    through: Arc<Mutex<Vec<TcpStream>>>,
}

impl Mouth {
    fn before(door: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("bound").to_string();
        let is_open = Arc::new(AtomicBool::new(true));
        let through: Arc<Mutex<Vec<TcpStream>>> = Arc::default();
        let mouth = Self { address, is_open: Arc::clone(&is_open), through: Arc::clone(&through) };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(vehicle) = stream else { return };
                if !is_open.load(Ordering::SeqCst) {
                    continue;
                }
                let Ok(door) = TcpStream::connect(&door) else { continue };
                let both = [&vehicle, &door].map(|one| one.try_clone().expect("a handle"));
                through.lock().expect("nobody fell over").extend(both);
                for (mut from, mut to) in [
                    (vehicle.try_clone().expect("a handle"), door.try_clone().expect("a handle")),
                    (door, vehicle),
                ] {
                    std::thread::spawn(move || {
                        // Either end may go.
                        let _ = io::copy(&mut from, &mut to);
                        let _ = to.shutdown(Shutdown::Both);
                    });
                }
            }
        });
        mouth
    }

    fn close(&self) {
        self.is_open.store(false, Ordering::SeqCst);
        for stream in self.through.lock().expect("nobody fell over").drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn open(&self) {
        self.is_open.store(true, Ordering::SeqCst);
    }
}

fn enrolled(cloud: &Cloud, mouth: &Mouth, folder: &Path) -> String {
    let created = answer(cloud, &["vehicles", "create", "VAN1"]);
    let token = created["enrolmentToken"].as_str().expect("a token").to_owned();
    let dir = folder.join("VAN1");
    let enroll = Command::new(binary("remuda-agent"))
        .args(["enroll", "--server", &cloud.enrolment, "--token", &token, "--dir"])
        .arg(&dir)
        .output()
        .expect("remuda-agent runs");
    assert!(enroll.status.success(), "{}", String::from_utf8_lossy(&enroll.stderr));
    let config = dir.join("agent.toml");
    let settings = fs::read_to_string(&config).expect("a configuration");
    let others = settings.lines().filter(|line| !line.starts_with("reconnect_ms_max"));
    let others = others.collect::<Vec<_>>().join("\n");
    let settings = format!("door = \"{}\"\nreconnect_ms_max = 500\n{others}\n", mouth.address);
    fs::write(&config, settings).expect("writable");
    config.to_string_lossy().into_owned()
}

fn tell(agent: &mut Process, path: &str, value: f64) {
    agent.say(&json!({ "path": path, "value": value }).to_string());
}

/// Odometer, km; degrees north on the road; km/h: in an order in which no line says what is not so.
fn drive(agent: &mut Process, odometer_m: f64, north: f64, kmh: f64) {
    tell(agent, "Vehicle.TraveledDistance", odometer_m);
    tell(agent, "Vehicle.Powertrain.TractionBattery.AccumulatedConsumedEnergy", odometer_m * 0.000_2);
    tell(agent, "Vehicle.CurrentLocation.Latitude", north);
    tell(agent, "Vehicle.CurrentLocation.Longitude", 24.94);
    tell(agent, "Vehicle.Speed", kmh);
}

/// Whether what the agent wrote to its disk says so. Its state is text.
fn has_saved(folder: &Path, what: &str) -> bool {
    let files = fs::read_dir(folder.join("VAN1").join("outbox")).expect("an outbox");
    files.flatten().any(|file| {
        let bytes = fs::read(file.path()).unwrap_or_default();
        bytes.windows(what.len()).any(|window| window == what.as_bytes())
    })
}

fn number(fact: &str, name: &str) -> i64 {
    let after = fact.split_once(name).unwrap_or_else(|| panic!("{name} is not in {fact}")).1;
    let end = after.find(|c: char| c != '-' && !c.is_ascii_digit()).unwrap_or(after.len());
    after[..end].parse().unwrap_or_else(|_| panic!("{name} has no number in {fact}"))
}

#[test]
fn a_trip_through_a_tunnel_is_completed_with_what_happened_in_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let folder = folder.path();
    let mut place = CloudPlace::new(folder).with("LAKE__ROUND_INTERVAL_MS", "200");
    let mut cloud = place.start("");
    let mouth = Mouth::before(cloud.tls_door.clone());
    let config = enrolled(&cloud, &mouth, folder);
    let run = || Process::start_fed("remuda-agent", &["run", "--config", &config], &folder.join("logs"));
    let mut agent = run();
    drive(&mut agent, 50_000.0, 60.16, 0.0);
    wait_until("the vehicle is online", || {
        String::from_utf8_lossy(&ctl(&cloud, &["vehicles", "get", "VAN1"]).stdout).contains("ONLINE")
    });
    answer(&cloud, &["users", "create", "rita", "--name", "Rita"]);
    answer(&cloud, &["users", "add-credits", "rita", "5000", "--request-id", "payment-1"]);
    answer(&cloud, &["trips", "serve", "VAN1"]);
    let book = ["trips", "book", "rita", "60.17,24.94", "60.19,24.94", "--vehicle", "VAN1"];
    answer(&cloud, &[&book[..], &["--request-id", "ride-1"]].concat());
    wait_until("the vehicle watches its trip", || has_saved(folder, "\"trip\":\"ride-1\""));
    let state = |cloud: &Cloud| answer(cloud, &["trips", "get", "ride-1"])["trips"][0]["state"].clone();
    drive(&mut agent, 50_100.0, 60.161, 40.0);
    wait_until("its first mark moves the trip", || state(&cloud) == "arriving");

    mouth.close();
    drive(&mut agent, 51_100.0, 60.17, 0.0);
    wait_until("it stands at the pick-up", || has_saved(folder, "\"next\":1,\"inside\":0,\"moving\":false"));
    agent.kill();
    let mut agent = run();
    let begins_ms = now_ms();
    drive(&mut agent, 51_110.0, 60.170_1, 20.0);
    wait_until("it has set off", || has_saved(folder, "\"next\":1,\"inside\":0,\"moving\":true"));
    let began_ms = now_ms();
    drive(&mut agent, 52_000.0, 60.18, 50.0);
    wait_until("it has left", || has_saved(folder, "\"next\":1,\"inside\":null,\"moving\":true"));
    // The cloud dies as well.
    cloud.process.kill();
    cloud = place.start("");
    let ends_ms = now_ms();
    drive(&mut agent, 53_350.0, 60.19, 0.0);
    wait_until("it stands at the drop-off", || has_saved(folder, "\"next\":2,\"inside\":1,\"moving\":false"));
    let ended_ms = now_ms();
    assert_eq!(state(&cloud), "arriving", "nobody has heard anything");
    mouth.open();
    wait_until("the trip is completed", || state(&cloud) == "completed");

    let all = events(&place.data());
    let of_trip = |kind: &str| -> Vec<String> {
        let of = all.iter().filter(|event| text(event, "event_type") == kind);
        of.map(|event| text(event, "fact").to_owned()).collect()
    };
    let [completed] = &of_trip("trip.completed")[..] else { panic!("{:?}", of_trip("trip.completed")) };
    let (start, end) = completed.split_once("end: Mark").expect("two marks");
    let start_ms = number(start.split_once("start: Mark").expect("a start").1, "time_ms: ");
    let end_ms = number(end, "time_ms: ");
    // The vehicle's clock is server time, as it was told it over the network.
    let slack_ms = 1_000;
    assert!(
        (begins_ms - slack_ms..=began_ms + slack_ms).contains(&start_ms),
        "{begins_ms} {start_ms} {began_ms}"
    );
    assert!((ends_ms - slack_ms..=ended_ms + slack_ms).contains(&end_ms), "{ends_ms} {end_ms} {ended_ms}");
    assert_eq!(number(completed, " distance_m: "), 53_350 - 51_110, "{completed}");
    assert!(completed.contains("distance_source: Odometer"), "{completed}");
    for kind in ["trip.set-off", "trip.stop-reached", "trip.stop-left"] {
        let facts = of_trip(kind);
        assert!(facts.iter().all(|fact| fact.contains("inferred: false")), "{kind}: {facts:?}");
    }
    assert_eq!((of_trip("trip.stop-reached").len(), of_trip("trip.stop-left").len()), (2, 1));

    // Its samples have come by then, or do soon: no figure is in doubt.
    wait_until("the figures are final", || {
        let answer = answer(&cloud, &["analytics", "--by", "day", "--dimension", "vehicle", "--from", "-1d"]);
        let row = &answer["rows"][0];
        row["trips"] == 1 && row["provisionalTrips"] == 0
    });
    assert!(agent.stop(), "{}", agent.log_end());
}
