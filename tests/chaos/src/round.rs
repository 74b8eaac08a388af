//! A round: a plan carried out, then counted.

use std::path::Path;
use std::time::{Duration, Instant};

use remuda_ledger::Ledger;

use crate::Sabotage;
use crate::disk::Survival;
use crate::plan::{Act, COMPACTION_POINTS, End, Plan, QUICK, Side, Step};
use crate::proxy::Weather;
use crate::report::Report;
use crate::scene::{Programs, Scene, Trouble};

/// Frames that must become durable once every fault was lifted.
const FRAMES_AT_THE_END: u64 = 25;
/// How long that may take: a vehicle's longest pause before it connects again, and more.
const PATIENCE_AT_THE_END: Duration = Duration::from_secs(45);
/// How long it may take before vehicles are started anew.
const PATIENCE_FOR_THE_SAME: Duration = Duration::from_secs(3);
/// Frames that become durable between the last moment of a wrong clock and its end.
const FRAMES_BEFORE_EXPIRY: u64 = 20;
/// Frames that become durable before a node is lost.
const FRAMES_BEFORE_LOSS: u64 = 20;
/// How long a crash point may go unmet; not every round passes every point.
const CRASH_WITHIN: Duration = Duration::from_secs(5);
/// How long vehicles whose disk fails may take to notice.
const NOTICE_WITHIN: Duration = Duration::from_millis(300);

/// Carries out a plan in a folder; answers what the disks say at its end.
///
/// # Errors
/// What broke before it could be counted.
pub(crate) fn run(
    programs: &Programs,
    plan: &Plan,
    sabotage: Option<Sabotage>,
    folder: &Path,
    report: &mut Report,
    stopped: &dyn Fn() -> bool,
) -> Result<Ledger, Trouble> {
    let mut scene = Scene::new(programs, plan, sabotage, folder, stopped)?;
    scene.start_cloud("")?;
    scene.start_vehicles();
    progress(&mut scene, 5, Duration::from_secs(20))?;
    for step in &plan.steps {
        progress(&mut scene, step.frames, Duration::from_millis(step.ms))?;
        carry_out(&mut scene, step)?;
        if is_fault(&step.act) {
            report.fault(step.kind);
        }
    }
    progress(&mut scene, FRAMES_AT_THE_END, Duration::from_millis(700))?;
    scene.proxy.set(Weather::Clear);
    scene.cloud_disk.heal()?;
    scene.vehicle_disk.heal()?;
    // Vehicles pause longer and longer before they connect again. In some rounds they must come back by themselves; in
    // the others, time being short, they are started anew when they take long.
    let alone = plan.seed.is_multiple_of(4);
    let patience = if alone { PATIENCE_AT_THE_END } else { PATIENCE_FOR_THE_SAME };
    let mut went_on = progress(&mut scene, FRAMES_AT_THE_END, patience)?;
    if !went_on && !alone {
        scene.kill(Side::Vehicles)?;
        scene.start_vehicles();
        went_on = progress(&mut scene, FRAMES_AT_THE_END, PATIENCE_AT_THE_END)?;
    }
    if !went_on {
        return Err(Trouble::Broken(format!(
            "no {FRAMES_AT_THE_END} frames became durable within {PATIENCE_AT_THE_END:?} after every fault was lifted"
        )));
    }
    scene.check_epochs()?;
    match plan.end {
        End::Clean => scene.stop()?,
        End::PowerCut(survival, seed) => {
            scene.kill_all()?;
            scene.cloud_disk.cut_power(survival, seed)?;
            scene.vehicle_disk.cut_power(survival, !seed)?;
        }
    }
    scene.keep_journal()?;
    let ledger = scene.count()?;
    if ledger.erasures < scene.erasures {
        return Err(Trouble::Broken(format!(
            "{} erasures were answered, and the lake knows of {}",
            scene.erasures, ledger.erasures
        )));
    }
    scene.check_expired(&ledger)?;
    scene.check_restored(&ledger)?;
    Ok(ledger)
}

/// The end of bad weather, of a slow disk or of a wrong clock is none, nor is a copy.
fn is_fault(act: &Act) -> bool {
    match act {
        Act::Weather(Weather::Clear) | Act::Clock(_, 0) | Act::CopyOutboxes | Act::BackUp => false,
        Act::Slow(_, fault) => fault.kind != QUICK,
        _ => true,
    }
}

/// Waits until so many more frames are durable; false when they are not within `patience`.
fn progress(scene: &mut Scene<'_>, frames: u64, patience: Duration) -> Result<bool, Trouble> {
    let before = scene.durable();
    let begun = Instant::now();
    loop {
        scene.check_stopped()?;
        scene.check_alive()?;
        if scene.durable() >= before + frames {
            return Ok(true);
        }
        if begun.elapsed() >= patience {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn carry_out(scene: &mut Scene<'_>, step: &Step) -> Result<(), Trouble> {
    match &step.act {
        Act::Kill(side) => {
            scene.kill(*side)?;
            scene.start(*side)
        }
        Act::PowerCut(sides, survival, seed) => {
            for side in sides {
                scene.kill(*side)?;
            }
            for side in sides {
                scene.disk(*side).cut_power(*survival, *seed)?;
            }
            sides.iter().try_for_each(|side| scene.start(*side))
        }
        Act::Crash(point, cut) => {
            // A compaction comes once a second, a round's steps many times.
            let share = if COMPACTION_POINTS.contains(point) { "return" } else { "20%return" };
            crash(scene, &format!("{point}={share}"), *cut)
        }
        Act::Erase(pick, cut) => {
            scene.erase(*pick)?;
            scene.kill(Side::Cloud)?;
            if let Some((survival, seed)) = cut {
                scene.cloud_disk.cut_power(*survival, *seed)?;
            }
            scene.start_cloud("")
        }
        Act::Expire(point, cut) => {
            // So many are of the old time, or were sent in it.
            progress(scene, FRAMES_BEFORE_EXPIRY, PATIENCE_AT_THE_END)?;
            scene.cloud_disk.shift_clock(0)?;
            if let Some((point, passed)) = point {
                let passed = if *passed > 0 { format!("{passed}*off->") } else { String::new() };
                crash(scene, &format!("{point}={passed}return"), *cut)?;
                return scene.wait_until_expired();
            }
            scene.wait_until_expired()?;
            scene.kill(Side::Cloud)?;
            if let Some((survival, seed)) = cut {
                scene.cloud_disk.cut_power(*survival, *seed)?;
            }
            scene.start_cloud("")
        }
        Act::BackUp => scene.back_up(),
        Act::LoseNode(cut) => {
            // Something is acknowledged that the backup has not.
            progress(scene, FRAMES_BEFORE_LOSS, PATIENCE_AT_THE_END)?;
            scene.lose_node(*cut)
        }
        Act::LoseAnswers(percent) => {
            scene.kill(Side::Cloud)?;
            scene.start_cloud(&format!("commit-answer-lost={percent}%return"))
        }
        Act::SecondNode => scene.second_node(),
        Act::Fail(side, fault, ms, cut) => {
            scene.disk(*side).set(fault)?;
            // Who dies of it may; what it leaves on the disk is what counts.
            hold(scene, *side, Duration::from_millis(*ms))?;
            scene.kill(*side)?;
            scene.disk(*side).heal()?;
            if let Some((survival, seed)) = cut {
                scene.disk(*side).cut_power(*survival, *seed)?;
            }
            scene.start(*side)
        }
        Act::Slow(side, fault) => Ok(scene.disk(*side).set(fault)?),
        Act::Clock(side, by) => Ok(scene.disk(*side).shift_clock(*by)?),
        Act::Pause(side, ms) => {
            if let Some(process) = scene.process(*side) {
                process.pause();
                std::thread::sleep(Duration::from_millis(*ms));
                process.resume();
            }
            Ok(())
        }
        Act::CopyOutboxes => scene.copy_outboxes(),
        Act::RestoreOutboxes => scene.restore_outboxes(),
        Act::CloneOutboxes => scene.clone_outboxes(),
        Act::Weather(weather) => {
            scene.proxy.set(*weather);
            Ok(())
        }
    }
}

/// Starts the cloud with a crash point and lets it run into it; with a survival its machine loses power there.
fn crash(scene: &mut Scene<'_>, point: &str, cut: Option<(Survival, u64)>) -> Result<(), Trouble> {
    scene.kill(Side::Cloud)?;
    let met = match scene.try_start_cloud(point)? {
        true => {
            let mut cloud = scene.cloud.take();
            let ended =
                scene.wait(CRASH_WITHIN, || Ok(cloud.as_mut().and_then(|cloud| cloud.process.ended())))?;
            scene.cloud = cloud;
            ended.is_some()
        }
        false => true,
    };
    scene.kill(Side::Cloud)?;
    if let (Some((survival, seed)), true) = (cut, met) {
        scene.cloud_disk.cut_power(survival, seed)?;
    }
    scene.start_cloud("")
}

/// Lets a fault hold for so long, or a moment longer than its process lives.
fn hold(scene: &mut Scene<'_>, side: Side, so_long: Duration) -> Result<(), Trouble> {
    let begun = Instant::now();
    while begun.elapsed() < so_long {
        scene.check_stopped()?;
        let ended = match side {
            Side::Cloud => scene.cloud.as_mut().and_then(|cloud| cloud.process.ended()),
            Side::Vehicles => scene.vehicles.as_mut().and_then(remuda_e2e::Process::ended),
        };
        if ended.is_some() && begun.elapsed() > NOTICE_WITHIN {
            break;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// The words of a survival, for messages.
pub(crate) fn describe(end: End) -> String {
    match end {
        End::Clean => "a clean stop".to_owned(),
        End::PowerCut(Survival::Nothing, _) => "a power cut that nothing unsynced survives".to_owned(),
        End::PowerCut(survival, _) => format!("a power cut ({survival:?})"),
    }
}
