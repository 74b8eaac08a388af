//! Figures of how vehicles fare: acknowledgements, storms, backlogs, overload, wear of their flash.

use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::figures::{enrolled_agent, number, replay_of, simulator};
use super::scene::{Cloud, Running, Scene};
use super::{Figure, Figures};
use crate::run::Outcome;

/// Signals a frame.
const SIGNALS: &str = "10";
/// Between two looks at a running process.
const LOOK_EVERY: Duration = Duration::from_millis(100);

fn figure(value: f64, unit: &'static str, beside: Option<(f64, String)>) -> Figure {
    Figure { value, unit, baseline: beside }
}

/// An ingest run of `seconds` against a cloud.
fn load(scene: &Scene, cloud: &Cloud, name: &str, args: &[&str], seconds: u64) -> Result<Running, String> {
    let data = scene.folder.join(format!("{name}-vehicles"));
    let mut load = simulator(&["ingest", "--json", "--signals", SIGNALS]);
    load.args(args).args(["--for", &format!("{seconds}s"), "--door", &cloud.door, "--data"]).arg(data);
    scene.start(name, &mut load)
}

fn report(mut running: Running) -> Result<Value, String> {
    running.wait();
    serde_json::from_str(&running.out()).map_err(|e| format!("the generator printed no JSON ({e})"))
}

/// Frames a second of a node that does half of what it is meant for.
const HALF_OF_ITS_JOB: f64 = 25_000.0;

/// Time from durable in the vehicle to known as durable in the cloud: under half of a node's job, and beside it under
/// half of the most that this machine takes with the generator on it.
pub fn acks(scene: &Scene, figures: &mut Figures) -> Outcome {
    let cloud = scene.cloud("acks-most-cloud")?;
    let flat_out = report(load(scene, &cloud, "acks-most", &["--vehicles", "2000"], 8)?)?;
    cloud.stop();
    let half_of_most = number(&flat_out, "acked_per_second")? / 2.0;
    let (events, samples) = acks_at(scene, HALF_OF_ITS_JOB)?;
    let (events_most, samples_most) = acks_at(scene, half_of_most)?;
    for (name, key, at_job, at_most) in [
        ("events_ack_p50_ms", "ack_p50_ms", &events, &events_most),
        ("events_ack_p99_ms", "ack_p99_ms", &events, &events_most),
        ("samples_ack_p50_ms", "ack_p50_ms", &samples, &samples_most),
        ("samples_ack_p99_ms", "ack_p99_ms", &samples, &samples_most),
    ] {
        let beside = format!("ms at {half_of_most:.0} frames/s, half of the most");
        figures.insert(name, figure(number(at_job, key)?, "ms", Some((number(at_most, key)?, beside))));
    }
    Ok(())
}

/// The reports of 50 vehicles with 100 events a second, and of 2,000 with so many frames of samples a second beside them.
fn acks_at(scene: &Scene, frames_per_second: f64) -> Result<(Value, Value), String> {
    let name = format!("acks-{frames_per_second:.0}");
    let cloud = scene.cloud(&format!("{name}-cloud"))?;
    let rate = format!("{frames_per_second:.0}");
    let seconds = scene.seconds.max(12);
    let samples =
        load(scene, &cloud, &format!("{name}-samples"), &["--vehicles", "2000", "--rate", &rate], seconds)?;
    let events = ["--events", "--vehicles", "50", "--rate", "100", "--first", "100000"];
    let events = report(load(scene, &cloud, &format!("{name}-events"), &events, seconds - 5)?)?;
    let samples = report(samples)?;
    cloud.stop();
    Ok((events, samples))
}

/// A cloud that is killed under 15,000 vehicles and started again.
pub fn reconnect(scene: &Scene, figures: &mut Figures) -> Outcome {
    storm(scene, figures, "reconnect_15k_seconds", false)
}

/// The same over mutual TLS.
pub fn reconnect_tls(scene: &Scene, figures: &mut Figures) -> Outcome {
    storm(scene, figures, "reconnect_15k_tls_seconds", true)
}

fn storm(scene: &Scene, figures: &mut Figures, figure_name: &'static str, tls: bool) -> Outcome {
    const VEHICLES: u32 = 15_000;
    let name = if tls { "storm-tls" } else { "storm" };
    let (plain, secured) = (Scene::free_port()?, Scene::free_port()?);
    let (plain, secured) = (format!("127.0.0.1:{plain}"), format!("127.0.0.1:{secured}"));
    let settings =
        [("REMUDA__DOOR__PLAIN_LISTEN", plain.as_str()), ("REMUDA__DOOR__LISTEN", secured.as_str())];
    let cloud_name = format!("{name}-cloud");
    let cloud = scene.cloud_with(&cloud_name, &settings)?;
    let mut storm = simulator(&["reconnect", "--json", "--signals", SIGNALS]);
    storm.args(["--vehicles", &VEHICLES.to_string(), "--rate", "1000", "--for", "300s"]);
    storm.args(cloud.way_in(tls, VEHICLES)?).arg("--data");
    let mut storm = scene.start(name, storm.arg(scene.folder.join(format!("{name}-vehicles"))))?;
    while !storm.log().contains("all connected") {
        if storm.ended() {
            return Err(format!("the fleet never connected; see {}", scene.folder.display()));
        }
        sleep(LOOK_EVERY);
    }
    cloud.kill();
    let cloud = scene.cloud_with(&cloud_name, &settings)?;
    let ready_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |d| d.as_millis() as f64);
    let report = report(storm)?;
    cloud.stop();
    let back_ms = number(&report, "all_back_unix_ms")?;
    let left = number(&report, "frames_left")?;
    if back_ms == 0.0 || left > 0.0 {
        return Err(format!("not everybody came back with everything: {report}"));
    }
    let first = number(&report, "first_connect_seconds")?;
    figures.insert(
        figure_name,
        figure(
            (back_ms - ready_ms) / 1_000.0,
            "s",
            Some((first, "the first connect of the same fleet, s; nothing lost".to_owned())),
        ),
    );
    Ok(())
}

/// Eight hours of one vehicle; then an hour each of 500 at once.
pub fn drain(scene: &Scene, figures: &mut Figures) -> Outcome {
    let mut runs = Vec::new();
    for (vehicles, frames) in [("1", "28800"), ("500", "3600")] {
        let name = format!("drain-{vehicles}");
        let cloud = scene.cloud(&format!("{name}-cloud"))?;
        let mut command = simulator(&["backlog", "--json", "--signals", SIGNALS, "--vehicles", vehicles]);
        command.args(["--frames", frames, "--for", "10m", "--door", &cloud.door, "--data"]);
        let drained = scene.json(&name, command.arg(scene.folder.join(format!("{name}-vehicles"))))?;
        cloud.stop();
        if number(&drained, "frames_left")? > 0.0 {
            return Err(format!("the backlog was not drained in ten minutes: {drained}"));
        }
        runs.push(drained);
    }
    let (one, many) = (&runs[0], &runs[1]);
    let beside = format!(
        "hours a minute of each of 500 vehicles with an hour each, all at once: {:.0} frames/s",
        number(many, "frames_per_second")?
    );
    figures.insert(
        "backlog_drain_hours_per_minute",
        figure(number(one, "hours_per_minute")?, "h/min", Some((number(many, "hours_per_minute")?, beside))),
    );
    Ok(())
}

/// Three times as much as a cloud takes that may hold one MiB in flight.
pub fn overload(scene: &Scene, figures: &mut Figures) -> Outcome {
    let cloud =
        scene.cloud_with("overload-cloud", &[("REMUDA__VEHICLES__IN_FLIGHT_BYTES_MAX", "1048576")])?;
    let most = report(load(scene, &cloud, "overload-most", &["--vehicles", "500"], 10)?)?;
    let most = number(&most, "acked_per_second")?;
    let memory_before = cloud.metric("process_resident_memory_bytes");
    let rate = format!("{:.0}", most * 3.0);
    let over = load(scene, &cloud, "overload-three", &["--vehicles", "500", "--rate", &rate], scene.seconds)?;
    let over = report(over)?;
    let memory_after = cloud.metric("process_resident_memory_bytes");
    cloud.stop();
    let beside = format!(
        "frames/s offered; without overload it took {most:.0}; memory of the cloud {:.0} MB before, {:.0} MB after",
        memory_before / 1e6,
        memory_after / 1e6
    );
    figures.insert(
        "overload_goodput_ratio",
        figure(
            number(&over, "acked_per_second")? / most,
            "ratio",
            Some((number(&over, "frames_per_second")?, beside)),
        ),
    );
    Ok(())
}

/// A real drive at its real pace: what the agent makes the storage write.
pub fn flash(scene: &Scene, figures: &mut Figures) -> Outcome {
    let cloud = scene.cloud("flash-cloud")?;
    let Some(agent) = enrolled_agent(scene, &cloud, "RAV4")? else { return Ok(()) };
    let mut replay = scene.start("flash-replay", &mut replay_of(&agent, "1"))?;
    let (mut written, begun) = (0.0, Instant::now());
    while !replay.ended() && begun.elapsed() < Duration::from_secs(180) {
        written = replay.bytes_written().unwrap_or(written);
        sleep(LOOK_EVERY);
    }
    let report = report(replay)?;
    cloud.stop();
    let frames = number(&report, "frames")?;
    let payload = number(&report, "payload_bytes")? / frames;
    figures.insert(
        "flash_bytes_per_frame",
        figure(written / frames, "bytes", Some((payload, "bytes of payload a frame".to_owned()))),
    );
    Ok(())
}
