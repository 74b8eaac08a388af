//! The operators' API: unary calls beside a bare tonic, reads and commands while a fleet streams, a thousand watchers.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

use serde_json::Value;

use super::figures::{number, simulator};
use super::scene::{Cloud, Running, Scene};
use super::{Figure, Figures};
use crate::run::{Outcome, output};

/// The names of [`unary`]'s figures.
pub const UNARY: &[&str] =
    &["get_vehicle_per_second", "get_vehicle_share_of_bare_tonic", "get_vehicle_p95_ms"];
/// Of [`loaded`]'s.
pub const LOADED: &[&str] =
    &["command_round_trip_p50_ms", "command_round_trip_p95_ms", "rest_p95_ms", "rest_errors"];
/// Of [`watch`]'s.
pub const WATCH: &[&str] = &[
    "list_p95_ms",
    "watch_lag_p95_ms",
    "watch_lag_of_50_vehicles_p95_ms",
    "memory_per_watcher_kb",
    "memory_per_watcher_of_50_vehicles_kb",
];

/// Frames a second beside what is measured.
const INGEST_RATE: &str = "10000";
/// Vehicles that send them.
const VEHICLES: &str = "2000";
/// Vehicles that obey.
const OBEYING: &str = "50";
/// Reads a second.
const READS: &str = "1000";
/// Until a load is under way.
const WARM_UP: Duration = Duration::from_secs(5);

/// A server of ours that ends when its standard input does.
struct Serving {
    child: Child,
    url: String,
}

impl Serving {
    fn start(command: &mut Command) -> Result<Self, String> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|e| format!("the server cannot be started: {e}"))?;
        let mut url = String::new();
        let said = child.stdout.take().map(|out| BufReader::new(out).read_line(&mut url));
        match said {
            Some(Ok(1..)) => Ok(Self { child, url: url.trim().to_owned() }),
            _ => Err("the server does not say where it listens".into()),
        }
    }

    fn id(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn example(name: &str) -> Command {
    Command::new(super::example(name))
}

/// Runs the client of the API.
fn ask(arguments: &[&str]) -> Result<Value, String> {
    let text = output(example("console_figures").args(arguments))?;
    serde_json::from_str(&text).map_err(|e| format!("no JSON was printed: {e}: {text}"))
}

/// A node that lets one caller ask as often as it likes.
fn cloud(scene: &Scene, name: &str) -> Result<Cloud, String> {
    let rates =
        [("REMUDA__CONSOLE__CALLS_PER_SECOND", "1000000"), ("REMUDA__CONSOLE__CALLS_BURST", "1000000")];
    scene.cloud_with(name, &rates)
}

fn ingest(scene: &Scene, cloud: &Cloud, name: &str, seconds: u64) -> Result<Running, String> {
    let data = scene.folder.join(format!("{name}-vehicles"));
    let mut load = simulator(&["ingest", "--json", "--vehicles", VEHICLES, "--rate", INGEST_RATE]);
    load.args(["--for", &format!("{seconds}s"), "--door", &cloud.door, "--data"]).arg(data);
    scene.start(name, &mut load)
}

/// One vehicle with its twin a call, 100 at once; beside it tonic's health check, which has nothing to look up.
pub fn unary(scene: &Scene, figures: &mut Figures) -> Outcome {
    let seconds = scene.seconds.to_string();
    let bare = Serving::start(example("console_figures").arg("hello"))?;
    let bare = ask(&["bare", &bare.url, &seconds])?;
    let cloud = cloud(scene, "unary-cloud")?;
    ingest(scene, &cloud, "unary-load", 5)?.wait();
    let url = format!("http://{}", cloud.console);
    let ours = ask(&["unary", &url, &cloud.token, &seconds])?;
    cloud.stop();
    let (rate, most) = (number(&ours, "per_second")?, number(&bare, "per_second")?);
    let about = "calls/s: a bare tonic server's health check, same client".to_owned();
    figures.insert(
        "get_vehicle_per_second",
        Figure { value: rate, unit: "calls/s", baseline: Some((most, about)) },
    );
    figures.insert(
        "get_vehicle_share_of_bare_tonic",
        Figure { value: rate / most, unit: "ratio", baseline: None },
    );
    let beside = Some((number(&bare, "p95_ms")?, "ms: the bare server".to_owned()));
    figures.insert(
        "get_vehicle_p95_ms",
        Figure { value: number(&ours, "p95_ms")?, unit: "ms", baseline: beside },
    );
    Ok(())
}

/// Commands to vehicles that obey, and reads over HTTP/1.1; each at rest and while 10,000 frames a second come in.
pub fn loaded(scene: &Scene, figures: &mut Figures) -> Outcome {
    let seconds = scene.seconds.to_string();
    let cloud = cloud(scene, "loaded-cloud")?;
    let url = format!("http://{}", cloud.console);
    let ids =
        output(Command::new(Scene::binary("remuda-sim")).args(["ids", "--world", "--vehicles", OBEYING]))?;
    let mut fleet = simulator(&["fleet", "--vehicles", OBEYING, "--rate", "1"]);
    fleet.args(cloud.enrolling(ids.lines().map(str::to_owned).collect())?).arg("--data");
    let mut fleet = scene.start("obeying", fleet.arg(scene.folder.join("obeying-vehicles")))?;
    sleep(WARM_UP);
    let obeyed = || ask(&["commands", &url, &cloud.token, &seconds]);
    let answered = || ask(&["rest", &url, &cloud.token, &seconds, READS]);
    let (commands_at_rest, reads_at_rest) = (obeyed()?, answered()?);
    let mut load = ingest(scene, &cloud, "loaded-load", 2 * scene.seconds + 15)?;
    sleep(WARM_UP);
    let (commands, reads) = (obeyed()?, answered()?);
    if load.ended() {
        return Err("the load ended before the measurement did".into());
    }
    load.stop();
    fleet.stop();
    cloud.stop();
    for (name, key, with_load, at_rest, unit) in [
        ("command_round_trip_p50_ms", "p50_ms", &commands, &commands_at_rest, "ms"),
        ("command_round_trip_p95_ms", "p95_ms", &commands, &commands_at_rest, "ms"),
        ("rest_p95_ms", "p95_ms", &reads, &reads_at_rest, "ms"),
        ("rest_errors", "errors", &reads, &reads_at_rest, "reads"),
    ] {
        let baseline = Some((number(at_rest, key)?, format!("{unit} at rest")));
        figures.insert(name, Figure { value: number(with_load, key)?, unit, baseline });
    }
    Ok(())
}

/// A page of 100,000 vehicles; a thousand watchers of the same 5,000, and of 50 each, that all change once a second. The
/// fleet is in the console's own process, so that nothing else is measured.
pub fn watch(scene: &Scene, figures: &mut Figures) -> Outcome {
    let serve = |vehicles: &str| {
        let server = Serving::start(example("fake_fleet").args([vehicles, "127.0.0.1:0", "-", "1000"]))?;
        let parts = server.url.split_once("/#token=").map(|(url, token)| (url.to_owned(), token.to_owned()));
        let (url, token) = parts.ok_or("the console says no token")?;
        Ok::<_, String>((server, url, token))
    };
    let (server, url, token) = serve("100000")?;
    let listed = ask(&["list", &url, &token, "300"])?;
    drop(server);
    let about = format!("ms: p50; {} vehicles matched", listed["found"]);
    figures.insert(
        "list_p95_ms",
        Figure {
            value: number(&listed, "p95_ms")?,
            unit: "ms",
            baseline: Some((number(&listed, "p50_ms")?, about)),
        },
    );
    for (lag, memory, each) in [
        ("watch_lag_p95_ms", "memory_per_watcher_kb", None),
        ("watch_lag_of_50_vehicles_p95_ms", "memory_per_watcher_of_50_vehicles_kb", Some("50")),
    ] {
        // One more than the watchers: the one who sees each step.
        let (server, url, token) = serve("5000")?;
        let (seconds, id) = (scene.seconds.to_string(), server.id());
        let mut arguments = vec!["watch", &url, &token, &seconds, "1000", &id];
        arguments.extend(each);
        let watched = ask(&arguments)?;
        drop(server);
        let about = format!(
            "ms: p50; {} answers, at least {} of each watcher, {} late",
            watched["answers"], watched["fewest_answers_of_a_watcher"], watched["lagged"]
        );
        let median = Some((number(&watched, "lag_p50_ms")?, about));
        figures.insert(lag, Figure { value: number(&watched, "lag_p95_ms")?, unit: "ms", baseline: median });
        let kb = number(&watched, "memory_per_watcher_kb")?;
        figures.insert(memory, Figure { value: kb, unit: "KiB", baseline: None });
    }
    Ok(())
}
