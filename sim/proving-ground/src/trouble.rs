//! What goes wrong, at each tick.

use remuda_model::signal;

use crate::clock;
use crate::instance::Instance;
use crate::process::Phase;
use crate::world::World;

/// A clone of one vehicle more than this proves nothing new.
const CLONES_MAX: usize = 1;
/// Processes that live side by side.
const PROCESSES_MAX: usize = 3;

impl World {
    /// One tick of it.
    pub(crate) fn trouble(&mut self) {
        for link in self.open_links() {
            if self.ground.fault("connection cut", self.ground.plan.cut) {
                self.cut(link, true);
            }
        }
        for at in 0..self.instances.len() {
            self.trouble_vehicle(at);
        }
        self.trouble_cloud();
        if self.ground.fault("clock jumps", self.ground.plan.clock_jump) {
            let by = self.ground.roll(0..7_200_000);
            clock::jump(i64::try_from(by).unwrap_or_default() - 3_600_000);
        }
    }

    fn trouble_vehicle(&mut self, at: usize) {
        let plan = self.ground.plan.clone();
        if self.instances[at].agent.is_none() {
            return;
        }
        let vehicle = self.instances[at].made;
        if self.ground.fault("agent crashes", plan.agent_crash) {
            self.crash(at);
            return self.power_on_later(at);
        }
        if self.ground.fault("record damaged", plan.damage) {
            let nth = self.ground.roll(0..1_000);
            if let Some(place) = self.instances[at].disk.damage(nth) {
                self.vehicles[vehicle].1.damaged.insert(place);
            }
        }
        if self.copies.len() < 4 && self.ground.fault("disk copied", plan.copy) {
            let mut copy = self.instances[at].disk.clone();
            copy.crash();
            self.copies.push((vehicle, copy));
        }
        let copy = self.copies.iter().position(|(of, _)| *of == vehicle);
        let Some(copy) = copy else { return };
        if self.ground.fault("old disk restored", plan.restore) {
            self.crash(at);
            let (_, disk) = self.copies.remove(copy);
            let made = &mut self.vehicles[vehicle].1;
            made.odd = true;
            made.replaced.extend(self.instances[at].disk.held().filter(|p| !disk.held().any(|q| q == *p)));
            self.instances[at].disk = disk;
            return self.power_on_later(at);
        }
        let clones = self.instances.iter().filter(|i| i.made == vehicle).count() - 1;
        if clones < CLONES_MAX && self.ground.fault("disk cloned", plan.clone) {
            let (_, disk) = self.copies.remove(copy);
            self.vehicles[vehicle].1.odd = true;
            let id = self.instances[at].vehicle;
            self.instances.push(Instance::new(id, disk, vehicle));
            let clone = self.instances.len() - 1;
            self.power_on_later(clone);
            self.sense_later(clone);
        }
    }

    fn trouble_cloud(&mut self) {
        let plan = self.ground.plan.clone();
        let count = self.processes.len();
        let serving = self.processes.iter().filter(|p| p.phase() == Phase::Serving).count();
        if serving > 0 && count < PROCESSES_MAX && self.ground.fault("new owner", plan.takeover) {
            self.start_process();
        }
        for at in (0..self.processes.len()).rev() {
            let phase = self.processes[at].phase();
            // An owner that was superseded lives for a while, and no longer.
            let rate = if at + 1 < self.processes.len() { 20_000 } else { plan.cloud_crash };
            if self.ground.fault("cloud crashes", rate) {
                self.kill(at);
            } else if phase == Phase::Serving && self.ground.fault("cloud stops", plan.cloud_stop) {
                self.processes[at].stop();
            } else if self.processes[at].paused_until <= clock::now_ms()
                && self.ground.fault("process stands still", plan.pause)
            {
                self.processes[at].paused_until = clock::now_ms() + self.ground.roll(200..8_000);
            }
        }
    }

    /// The twin shows nothing older than the newest row of the last start.
    pub(crate) fn check_twins(&self) -> Result<(), String> {
        let Some(process) = self.processes.iter().rev().find(|p| p.phase() == Phase::Serving) else {
            return Ok(());
        };
        for (vehicle, made) in &self.vehicles {
            let newest = self.ground.truth.lock().newest(vehicle, signal::ODOMETER);
            let Some(newest) = newest.filter(|_| !made.odd) else { continue };
            let Some(view) = process.twin(vehicle) else {
                return Err(format!("{vehicle} has rows and no twin"));
            };
            let shown = view.values.iter().find(|value| value.signal == signal::ODOMETER);
            let shown = shown.map_or(0, |value| value.raw);
            if shown < newest {
                return Err(format!("the twin of {vehicle} shows {shown}, though {newest} is stored"));
            }
        }
        Ok(())
    }
}
