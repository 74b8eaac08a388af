//! How fast a backup is, beside a plain copy, and what ingest loses while one is taken.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use super::figures::{number, simulator};
use super::scene::{Cloud, Scene};
use super::{Figure, Figures};
use crate::run::{Outcome, output, run};

/// Megabytes of the lake that is backed up.
const MEGABYTES: &str = "1000";
/// Vehicles of the load beside.
const VEHICLES: &str = "2000";

/// Both figures.
pub fn backup(scene: &Scene, figures: &mut Figures) -> Outcome {
    let tool = super::example("backup_figures");
    let data = scene.folder.join("backup-cloud");
    run(Command::new(&tool).arg("make").arg(&data).arg(MEGABYTES))?;
    let said = output(Command::new(&tool).arg("measure").arg(&data).arg(scene.folder.join("backups")))?;
    let said: serde_json::Value =
        serde_json::from_str(&said).map_err(|e| format!("backup_figures printed no JSON: {e}: {said}"))?;
    let name = format!(
        "cp -r and sync of the {:.0} MB; linked on one disk {:.0}, encrypted {:.0}; once more without change {:.2} s; \
         restored with all checks in {:.1} s",
        number(&said, "mb")?,
        number(&said, "linked")?,
        number(&said, "sealed")?,
        number(&said, "again_seconds")?,
        number(&said, "restored_seconds")?,
    );
    figures.insert(
        "backup_mb_per_second",
        Figure {
            value: number(&said, "copied")?,
            unit: "MB/s",
            baseline: Some((number(&said, "cp")?, name)),
        },
    );
    slowdown(scene, figures)
}

/// Ingest at its most, alone and beside one backup after the other, each of everything, at the configured rate.
fn slowdown(scene: &Scene, figures: &mut Figures) -> Outcome {
    // History files are full; nothing else is to be compacted meanwhile.
    let cloud = scene.cloud_with("backup-cloud", &[("REMUDA__LAKE__COMPACT_INTERVAL_S", "0")])?;
    let alone = load(scene, &cloud, "backup-load-alone")?;
    let key = scene.folder.join("backup.key");
    let recipient =
        output(Command::new(Scene::binary("remuda")).args(["backup", "keygen", "--out"]).arg(&key))?;
    let stop = AtomicBool::new(false);
    let (beside, taken) = std::thread::scope(|threads| {
        let backing = threads.spawn(|| {
            let mut taken = 0;
            while !stop.load(Ordering::Acquire) {
                back_up(&cloud, &scene.folder.join(format!("beside-{taken}")), recipient.trim())?;
                taken += 1;
            }
            Ok::<u32, String>(taken)
        });
        let beside = load(scene, &cloud, "backup-load-beside");
        stop.store(true, Ordering::Release);
        (beside, backing.join().unwrap_or_else(|_| Err("a thread panicked".into())))
    });
    let (beside, taken) = (beside?, taken?);
    cloud.stop();
    let name = format!(
        "frames/s without; {beside:.0} while {taken} backups of everything were taken, one after the other"
    );
    figures.insert(
        "backup_ingest_slowdown_percent",
        Figure { value: (1.0 - beside / alone) * 100.0, unit: "%", baseline: Some((alone, name)) },
    );
    Ok(())
}

fn load(scene: &Scene, cloud: &Cloud, name: &str) -> Result<f64, String> {
    let seconds = format!("{}s", scene.seconds);
    let mut load =
        simulator(&["ingest", "--json", "--vehicles", VEHICLES, "--signals", "10", "--for", &seconds]);
    load.args(["--door", &cloud.door, "--data"]).arg(scene.folder.join(format!("{name}-vehicles")));
    number(&scene.json(name, &mut load)?, "acked_per_second")
}

fn back_up(cloud: &Cloud, to: &Path, recipient: &str) -> Outcome {
    let mut command = Command::new(Scene::binary("remuda"));
    command.args(["backup", "--json", "--copy", "--data"]).arg(&cloud.data).arg("--to").arg(to);
    output(command.args(["--recipient", recipient])).map(|_| ())
}
