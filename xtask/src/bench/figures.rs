//! How each figure is measured.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::scene::{Cloud, Scene};
use super::{Figure, Figures};
use crate::run::{Outcome, output, root, target};
use crate::tools;

/// Vehicles of the ingest run and of the brokers' runs.
const VEHICLES: u32 = 2_000;
/// Payloads a second that each connection offers a bare broker.
const PAYLOADS_OFFERED: &str = "60";
/// Signals a frame.
const SIGNALS: &str = "10";

/// A number of a report.
pub fn number(report: &Value, key: &str) -> Result<f64, String> {
    report[key].as_f64().ok_or_else(|| format!("the report has no number \"{key}\": {report}"))
}

/// `remuda-sim` with these arguments.
pub fn simulator(args: &[&str]) -> Command {
    let mut command = Command::new(Scene::binary("remuda-sim"));
    command.args(args);
    command
}

/// End to end against two bare brokers, then what the lake made of it.
pub fn ingest(scene: &Scene, figures: &mut Figures) -> Outcome {
    let seconds = format!("{}s", scene.seconds);
    let vehicles = VEHICLES.to_string();
    let cloud = scene.cloud("ingest-cloud")?;
    let data = scene.folder.join("ingest-vehicles");
    let mut load =
        simulator(&["ingest", "--json", "--vehicles", &vehicles, "--signals", SIGNALS, "--for", &seconds]);
    load.args(["--door", &cloud.door, "--data"]).arg(&data);
    let report = scene.json("ingest", &mut load)?;
    let durable = number(&report, "acked_per_second")?;
    let lake = cloud.stop();
    let loopback = loopback(scene)?;
    let brokers = [("mosquitto", mosquitto(scene)?), ("rumqttd", rumqttd(scene)?)];
    let (best_name, best) = brokers
        .iter()
        .fold(("", 0.0), |best, (name, rate)| if *rate > best.1 { (name, *rate) } else { best });
    let each: Vec<String> = brokers.iter().map(|(name, rate)| format!("{name} {rate:.0}")).collect();
    figures.insert(
        "ingest_durable_frames_per_second",
        Figure {
            value: durable,
            unit: "frames/s",
            baseline: Some((
                best,
                format!(
                    "{best_name}, relaying to one subscriber, nothing durable ({}); bare loopback, read and forgotten: \
                     {loopback:.0}",
                    each.join(", ")
                ),
            )),
        },
    );
    figures.insert(
        "ingest_share_of_bare_broker",
        Figure { value: durable / best, unit: "ratio", baseline: Some((1.0, best_name.to_owned())) },
    );
    lake_bytes(&lake.join("lake"), figures)
}

fn lake_bytes(lake: &Path, figures: &mut Figures) -> Outcome {
    let script = root().join("tests/e2e/readers/lake_bytes.py");
    let sizes = output(Command::new(tools::python()?).arg(script).arg(lake))?;
    let sizes: Value =
        serde_json::from_str(&sizes).map_err(|e| format!("lake_bytes.py printed no JSON: {e}"))?;
    let json = number(&sizes, "json_zstd_bytes_per_row")?;
    figures.insert(
        "lake_bytes_per_row_fresh",
        Figure {
            value: number(&sizes, "bytes_per_row")?,
            unit: "bytes",
            baseline: Some((json, "the same rows as JSON lines, zstd 1".to_owned())),
        },
    );
    figures.insert(
        "lake_rows_per_file",
        Figure { value: number(&sizes, "rows_per_file")?, unit: "rows", baseline: None },
    );
    Ok(())
}

fn relay(scene: &Scene, name: &str, broker: &str) -> Result<f64, String> {
    Scene::wait_port(broker)?;
    let seconds = format!("{}s", scene.seconds);
    let vehicles = VEHICLES.to_string();
    let counted = format!("{}s", scene.seconds.saturating_sub(2).max(1));
    let mut count = simulator(&["count", "--json", "--for", &counted, "--broker", broker]);
    let mut counter = scene.start(&format!("{name}-count"), &mut count)?;
    // Flat out, rumqttd drops nearly everything silently; a bound a little above what either relays is kinder to both.
    let mut publish =
        simulator(&["publish", "--json", "--vehicles", &vehicles, "--signals", SIGNALS, "--for", &seconds]);
    publish.args(["--rate", PAYLOADS_OFFERED]);
    scene.json(&format!("{name}-publish"), publish.args(["--broker", broker]))?;
    counter.wait();
    let report: Value =
        serde_json::from_str(&counter.out()).map_err(|e| format!("the counter printed no JSON: {e}"))?;
    number(&report, "frames_per_second")
}

/// The brokers' payloads into sockets that somebody reads and forgets: what the kernel alone lets through.
fn loopback(scene: &Scene) -> Result<f64, String> {
    let address = format!("127.0.0.1:{}", Scene::free_port()?);
    let mut sink = scene.start("sink", &mut simulator(&["sink", "--listen", &address]))?;
    Scene::wait_port(&address)?;
    let (vehicles, seconds) = (VEHICLES.to_string(), format!("{}s", scene.seconds));
    let mut publish =
        simulator(&["publish", "--json", "--vehicles", &vehicles, "--signals", SIGNALS, "--for", &seconds]);
    let report = scene.json("sink-publish", publish.args(["--broker", &address]))?;
    sink.stop();
    number(&report, "frames_per_second")
}

fn mosquitto(scene: &Scene) -> Result<f64, String> {
    tools::programs()?;
    let port = Scene::free_port()?;
    let config = scene.folder.join("mosquitto.conf");
    let text = format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nset_tcp_nodelay true\n"
    );
    std::fs::write(&config, text).map_err(|e| format!("cannot write {}: {e}", config.display()))?;
    let program =
        if Path::new("/usr/sbin/mosquitto").is_file() { "/usr/sbin/mosquitto" } else { "mosquitto" };
    let mut broker = scene.start("mosquitto", Command::new(program).arg("-c").arg(&config))?;
    let rate = relay(scene, "mosquitto", &format!("127.0.0.1:{port}"));
    broker.stop();
    rate
}

fn rumqttd(scene: &Scene) -> Result<f64, String> {
    let port = Scene::free_port()?;
    let program = target().join("baseline/release/remuda-baseline");
    let mut broker = scene.start("rumqttd", Command::new(program).arg(port.to_string()))?;
    let rate = relay(scene, "rumqttd", &format!("127.0.0.1:{port}"));
    broker.stop();
    rate
}

/// End to end over mutual TLS, each vehicle with a certificate of its own.
pub fn ingest_tls(scene: &Scene, figures: &mut Figures) -> Outcome {
    let mut rates = Vec::new();
    for tls in [false, true] {
        let name = if tls { "ingest-tls" } else { "ingest-plain" };
        let cloud = scene.cloud(&format!("{name}-cloud"))?;
        let seconds = format!("{}s", scene.seconds);
        let vehicles = VEHICLES.to_string();
        let mut load = simulator(&[
            "ingest",
            "--json",
            "--vehicles",
            &vehicles,
            "--signals",
            SIGNALS,
            "--for",
            &seconds,
        ]);
        load.args(cloud.way_in(tls, VEHICLES)?)
            .arg("--data")
            .arg(scene.folder.join(format!("{name}-vehicles")));
        rates.push(number(&scene.json(name, &mut load)?, "acked_per_second")?);
        cloud.stop();
    }
    figures.insert(
        "ingest_durable_frames_per_second_tls",
        Figure {
            value: rates[1],
            unit: "frames/s",
            baseline: Some((rates[0], "the same over plain TCP".to_owned())),
        },
    );
    Ok(())
}

/// Resident memory of the cloud with so many vehicles that each send a frame every few seconds.
fn resident_with(scene: &Scene, vehicles: u32, tls: bool) -> Result<f64, String> {
    let kind = if tls { "tls-" } else { "" };
    let cloud: Cloud = scene.cloud(&format!("memory-cloud-{kind}{vehicles}"))?;
    let data = scene.folder.join(format!("memory-vehicles-{kind}{vehicles}"));
    let rate = (vehicles / 5).to_string();
    let count = vehicles.to_string();
    let seconds = format!("{}s", scene.seconds.max(20) + u64::from(vehicles / 400));
    let mut load =
        simulator(&["ingest", "--json", "--signals", SIGNALS, "--vehicles", &count, "--rate", &rate]);
    load.args(["--for", &seconds]).args(cloud.way_in(tls, vehicles)?).arg("--data").arg(&data);
    let mut running = scene.start(&format!("memory-{kind}{vehicles}"), &mut load)?;
    let mut resident: f64 = 0.0;
    while !running.ended() {
        // All connected, after a while of traffic: the last look counts, since allocators keep what a rush took.
        if cloud.metric("remuda_ingress_connections") >= f64::from(vehicles) {
            resident = cloud.metric("process_resident_memory_bytes");
        }
        std::thread::sleep(std::time::Duration::from_millis(500));
    }
    cloud.stop();
    if resident == 0.0 {
        return Err(format!("{vehicles} vehicles were never all connected; see {}", scene.folder.display()));
    }
    Ok(resident)
}

/// The slope between 2,000 and 15,000 vehicles, so that what a node needs anyway does not count.
pub fn memory(scene: &Scene, figures: &mut Figures) -> Outcome {
    slope(scene, figures, "memory_per_connected_vehicle_kb", false)
}

/// The same over mutual TLS.
pub fn memory_tls(scene: &Scene, figures: &mut Figures) -> Outcome {
    slope(scene, figures, "memory_per_connected_vehicle_tls_kb", true)
}

fn slope(scene: &Scene, figures: &mut Figures, name: &'static str, tls: bool) -> Outcome {
    let (few, many) = (2_000, 15_000);
    let (with_few, with_many) = (resident_with(scene, few, tls)?, resident_with(scene, many, tls)?);
    let slope = (with_many - with_few) / f64::from(many - few) / 1024.0;
    let baseline =
        Some((with_few / 1024.0 / f64::from(few), "the whole process over 2,000 vehicles".to_owned()));
    figures.insert(name, Figure { value: slope, unit: "KiB", baseline });
    Ok(())
}

/// A vehicle with an identity of its own for this cloud; none when the real drive is not here.
pub fn enrolled_agent(scene: &Scene, cloud: &Cloud, vehicle: &str) -> Result<Option<PathBuf>, String> {
    if !capture().is_dir() {
        eprintln!("skipped: the real drive ../shared/data/can/comma2k19 is not here");
        return Ok(None);
    }
    // Other clouds of the same run may have one of this name.
    let cloud_name = cloud.data.file_name().unwrap_or_default().to_string_lossy();
    let enrolment = scene.folder.join(format!("{cloud_name}-{vehicle}.enrolment"));
    let agent = scene.folder.join(format!("{cloud_name}-{vehicle}-agent"));
    let mut enroll = Command::new(Scene::binary("remuda"));
    enroll
        .args(["vehicles", "--data"])
        .arg(&cloud.data)
        .args(["enroll", "--vehicle", vehicle, "--out"])
        .arg(&enrolment);
    crate::run::run(&mut enroll)?;
    let mut take = Command::new(Scene::binary("remuda-agent"));
    take.args(["enroll", "--from"]).arg(&enrolment).args(["--door", &cloud.door, "--dir"]).arg(&agent);
    crate::run::run(&mut take)?;
    Ok(Some(agent))
}

fn capture() -> PathBuf {
    root().join("../shared/data/can/comma2k19")
}

/// The real drive through that agent, so many times as fast as it was driven.
pub fn replay_of(agent: &Path, speed: &str) -> Command {
    let mut replay = Command::new(Scene::binary("remuda-agent"));
    replay.args(["replay", "--json", "--speed", speed, "--config"]).arg(agent.join("agent.toml"));
    replay
        .arg("--capture")
        .arg(capture())
        .arg("--dbc")
        .arg(root().join("../shared/data/can/_toyota_2017.dbc"));
    replay.arg("--mapping").arg(root().join("config/mappings/toyota-rav4-2017.toml"));
    replay
}

/// A real drive, replayed as fast as it goes.
pub fn wire(scene: &Scene, figures: &mut Figures) -> Outcome {
    let cloud = scene.cloud("wire-cloud")?;
    let Some(agent) = enrolled_agent(scene, &cloud, "RAV4")? else { return Ok(()) };
    let report = scene.json("replay", &mut replay_of(&agent, "max"))?;
    let lake = cloud.stop().join("lake");
    let script = root().join("tests/e2e/readers/lake_bytes.py");
    let sizes = output(Command::new(tools::python()?).arg(script).arg(&lake))?;
    let sizes: Value =
        serde_json::from_str(&sizes).map_err(|e| format!("lake_bytes.py printed no JSON: {e}"))?;
    let samples = number(&report, "samples")?;
    let name = format!(
        "JSON lines with zstd 1; without it {:.1}; over TCP, with MQTT heads, {:.2}",
        number(&sizes, "json_bytes")? / samples,
        number(&report, "tcp_bytes")? / samples,
    );
    figures.insert(
        "wire_bytes_per_sample_real_drive",
        Figure {
            value: number(&report, "payload_bytes")? / samples,
            unit: "bytes",
            baseline: Some((number(&sizes, "json_zstd_bytes")? / samples, name)),
        },
    );
    Ok(())
}

/// A hundred simulated vehicles in a generated town, as the demo drives them.
pub fn driving(scene: &Scene, figures: &mut Figures) -> Outcome {
    let cloud = scene.cloud("driving-cloud")?;
    let seconds = format!("{}s", scene.seconds.max(30));
    let mut fleet = simulator(&["fleet", "--json", "--vehicles", "100", "--for", &seconds]);
    fleet.args(["--door", &cloud.door, "--data"]).arg(scene.folder.join("driving-vehicles"));
    let report = scene.json("driving", &mut fleet)?;
    cloud.stop();
    let with_heads = number(&report, "tcp_bytes")? / number(&report, "samples")?;
    figures.insert(
        "wire_bytes_per_sample_simulated",
        Figure {
            value: number(&report, "bytes_per_sample_wire")?,
            unit: "bytes",
            baseline: Some((with_heads, "over TCP, with MQTT heads".to_owned())),
        },
    );
    Ok(())
}
