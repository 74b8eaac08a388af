//! The stage of a round: a node and vehicles in processes of their own, each on a disk of its own, a network between.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use remuda_e2e::{Cloud, Process};
use remuda_ledger::{Disks, Ledger, LostNode};

use crate::Sabotage;
use crate::disk::{Disk, DiskError, Layer};
use crate::obedient::Obedient;
use crate::plan::{Load, Plan, Retention, Side};
use crate::proxy::Proxy;
use crate::restore::Backup;

/// How long a start or an end may take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Why a round cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Something that must hold does not.
    #[error("{0}")]
    Broken(String),
    /// The harness's own disk.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Somebody pressed Ctrl-C.
    #[error("stopped")]
    Stopped,
}

/// The programs.
#[derive(Debug, Clone)]
pub struct Programs {
    folder: PathBuf,
    layer: Layer,
}

impl Programs {
    /// Takes the binaries from a build's folder into `into`, so that a later build does not change them under a run.
    ///
    /// # Errors
    /// A sentence when they are not there or cannot be used.
    pub fn take(build: &Path, into: &Path) -> Result<Self, String> {
        std::fs::create_dir_all(into).map_err(|e| format!("{} cannot be made: {e}", into.display()))?;
        for name in ["remuda", "remuda-agent", "remuda-sim", "remudactl"] {
            let (from, to) = (build.join(name), into.join(name));
            let taken = std::fs::hard_link(&from, &to).or_else(|_| std::fs::copy(&from, &to).map(drop));
            taken.map_err(|e| {
                format!(
                    "{} cannot be used ({e}); build it with: cargo build --workspace --bins --features remuda-node/failpoints",
                    from.display()
                )
            })?;
        }
        let layer = Layer::compile(into).map_err(|e| e.to_string())?;
        Ok(Self { folder: into.to_path_buf(), layer })
    }

    fn program(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// A second set of vehicles on a copy of the outboxes.
struct Clone {
    disk: Disk,
    process: Option<Process>,
}

/// Everything that runs in a round.
pub(crate) struct Scene<'a> {
    programs: &'a Programs,
    pub plan: &'a Plan,
    pub sabotage: Option<Sabotage>,
    pub folder: PathBuf,
    pub proxy: Proxy,
    pub cloud_disk: Disk,
    pub vehicle_disk: Disk,
    pub cloud: Option<Cloud>,
    pub vehicles: Option<Process>,
    clones: Vec<Clone>,
    copy: Option<PathBuf>,
    destroyed: Vec<PathBuf>,
    /// Erasures that were answered.
    pub erasures: u64,
    /// A vehicle that obeys, where there are backups.
    pub obedient: Option<Obedient>,
    /// To whom backups are encrypted.
    pub recipient: Option<String>,
    /// The newest one.
    pub backup: Option<Backup>,
    /// Nodes that were lost.
    pub lost: Vec<LostNode>,
    /// How often the vehicles were started.
    pub vehicle_starts: u32,
    /// Whether every frame that went with a node must be told.
    pub must_tell: bool,
    stopped: &'a dyn Fn() -> bool,
}

pub(crate) fn broken(sentence: impl Into<String>) -> Trouble {
    Trouble::Broken(sentence.into())
}

impl<'a> Scene<'a> {
    pub fn new(
        programs: &'a Programs,
        plan: &'a Plan,
        sabotage: Option<Sabotage>,
        folder: &Path,
        stopped: &'a dyn Fn() -> bool,
    ) -> Result<Self, Trouble> {
        let disk =
            |name: &str| Disk::new(&programs.layer, &folder.join(name), &folder.join(format!("{name}-disk")));
        let (mut cloud_disk, mut vehicle_disk) = (disk("cloud")?, disk("vehicles")?);
        match sabotage {
            Some(Sabotage::JournalSync) => cloud_disk.lie_about("journal/db"),
            Some(Sabotage::HistorySync) => cloud_disk.lie_about(".commits-"),
            Some(Sabotage::OutboxSync) => vehicle_disk.lie_about(".seg"),
            Some(Sabotage::AckBeforeCommit | Sabotage::RestoreKeepsEpochs | Sabotage::SweepTooEarly)
            | None => {}
        }
        let proxy = Proxy::start(plan.seed).map_err(|e| broken(format!("the proxy does not start: {e}")))?;
        Ok(Self {
            programs,
            plan,
            sabotage,
            folder: folder.to_path_buf(),
            proxy,
            cloud_disk,
            vehicle_disk,
            cloud: None,
            vehicles: None,
            clones: Vec::new(),
            copy: None,
            destroyed: Vec::new(),
            erasures: 0,
            obedient: None,
            recipient: None,
            backup: None,
            lost: Vec::new(),
            vehicle_starts: 0,
            must_tell: false,
            stopped,
        })
    }

    pub fn disk(&mut self, side: Side) -> &mut Disk {
        match side {
            Side::Cloud => &mut self.cloud_disk,
            Side::Vehicles => &mut self.vehicle_disk,
        }
    }

    pub fn program(&self, name: &str) -> PathBuf {
        self.programs.program(name)
    }

    /// Runs a program to its end, which must be a good one; answers what it printed.
    pub fn run_program(&self, name: &str, args: &[&str], env: &[(&str, &str)]) -> Result<String, Trouble> {
        let mut process = Process::start_program(&self.program(name), args, env, &self.logs());
        match self.wait(PATIENCE, || Ok(process.ended()))? {
            Some(status) if status.success() => Ok(process.out()),
            status => {
                Err(broken(format!("{name} {} ended as {status:?}:\n{}", args.join(" "), process.log_end())))
            }
        }
    }

    pub fn logs(&self) -> PathBuf {
        self.folder.join("logs")
    }

    pub fn check_stopped(&self) -> Result<(), Trouble> {
        if (self.stopped)() { Err(Trouble::Stopped) } else { Ok(()) }
    }

    /// Waits until `condition` answers something, at most `patience`.
    pub fn wait<T>(
        &self,
        patience: Duration,
        mut condition: impl FnMut() -> Result<Option<T>, Trouble>,
    ) -> Result<Option<T>, Trouble> {
        let begun = Instant::now();
        loop {
            self.check_stopped()?;
            if let Some(answer) = condition()? {
                return Ok(Some(answer));
            }
            if begun.elapsed() >= patience {
                return Ok(None);
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn serve(&self, failpoints: &str, on_disk: bool) -> Process {
        let mut points: Vec<&str> = vec![failpoints];
        match self.sabotage {
            Some(Sabotage::AckBeforeCommit) => points.push("ack-before-commit=return"),
            // A written file waits for its commit as it would on a busy disk: a sweep must meet it on any machine.
            Some(Sabotage::SweepTooEarly) => {
                points.extend(["sweep-too-early=return", "round-after-files=sleep(60)"]);
            }
            Some(
                Sabotage::JournalSync
                | Sabotage::OutboxSync
                | Sabotage::HistorySync
                | Sabotage::RestoreKeepsEpochs,
            )
            | None => {}
        }
        let few_bytes = match self.plan.retention {
            Some(Retention::Bytes(bytes)) => format!("retention-bytes-max=return({bytes})"),
            _ => String::new(),
        };
        points.push(&few_bytes);
        points.retain(|point| !point.is_empty());
        let mut env = if on_disk { self.cloud_disk.environment() } else { Vec::new() };
        let mut set = |key: &str, value: String| env.push((format!("REMUDA__{key}"), value));
        // The simulators come in by the plain door, where a vehicle is who it says.
        for door in ["DOOR__LISTEN", "DOOR__PLAIN_LISTEN", "ENROLMENT__LISTEN", "CONSOLE__LISTEN"] {
            set(door, "127.0.0.1:0".to_owned());
        }
        set("DOOR__IDENTITY", "trust-loopback".to_owned());
        set("LAKE__ROUND_INTERVAL_MS", self.plan.round_ms.to_string());
        set("LAKE__CHECKPOINT_INTERVAL_MS", self.plan.checkpoint_ms.to_string());
        set("LAKE__SWEEP_INTERVAL_MS", self.plan.sweep_ms.to_string());
        set("LAKE__COMPACT_INTERVAL_S", "1".to_owned());
        set("LAKE__ERASE_WITHIN_H", "0".to_owned());
        match self.plan.retention {
            Some(Retention::Age) => set("LAKE__HISTORY_DAYS", "1".to_owned()),
            Some(Retention::Class(class)) => {
                set(&format!("LAKE__CLASS_DAYS__{}", class.to_uppercase()), "1".to_owned());
            }
            // The least that a configuration takes; a fail point sets less.
            Some(Retention::Bytes(_)) => set("LAKE__HISTORY_BYTES_MAX", (1 << 20).to_string()),
            None => {}
        }
        set("VEHICLES__IDLE_S", "1".to_owned());
        env.push(("FAILPOINTS".to_owned(), points.join(";")));
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let data = self.cloud_disk.root().to_string_lossy().into_owned();
        let args = ["serve", "--json", "--data", &data];
        Process::start_program(&self.programs.program("remuda"), &args, &env, &self.logs())
    }

    /// Starts the node; it must come up.
    pub fn start_cloud(&mut self, failpoints: &str) -> Result<(), Trouble> {
        if !self.try_start_cloud(failpoints)? {
            let log = self.cloud.take().map(|cloud| cloud.process.log_end()).unwrap_or_default();
            return Err(broken(format!("the cloud does not start:\n{log}")));
        }
        Ok(())
    }

    /// Starts the node; false when it ends before it serves.
    pub fn try_start_cloud(&mut self, failpoints: &str) -> Result<bool, Trouble> {
        let mut process = self.serve(failpoints, true);
        let announced = self.wait(PATIENCE, || {
            if let Ok(said) = serde_json::from_str::<serde_json::Value>(&process.out()) {
                return Ok(Some(Some(said)));
            }
            Ok(process.ended().map(|_| None))
        })?;
        let Some(announced) = announced else {
            return Err(broken(format!("the cloud does not come up:\n{}", process.log_end())));
        };
        let text = |key: &str| {
            let said = announced.as_ref().and_then(|said| said[key].as_str());
            said.unwrap_or_default().to_owned()
        };
        let door = text("plain_door");
        let console = text("console").trim_start_matches("http://").to_owned();
        self.proxy.lead_to((!door.is_empty()).then_some(door.as_str()));
        let token = text("token");
        let (tls_door, enrolment) = (text("door"), text("enrolment"));
        if let Some(obedient) = &self.obedient {
            obedient.proxy.lead_to((!tls_door.is_empty()).then_some(tls_door.as_str()));
        }
        self.cloud = Some(Cloud { process, door, tls_door, enrolment, console, token });
        Ok(announced.is_some())
    }

    fn simulate(&self, disk: &Disk) -> Process {
        let (door, data) = (self.proxy.address(), disk.root().to_string_lossy().into_owned());
        let (seed, number) = (self.plan.seed.to_string(), |n: u64| n.to_string());
        let (kind, vehicles, rate) = match self.plan.load {
            Load::World { vehicles, rate } => ("fleet", vehicles as u64, rate),
            Load::Synthetic { vehicles, rate } => ("ingest", vehicles as u64, rate),
        };
        let (vehicles, rate) = (number(vehicles), number(rate));
        let mut args = vec![kind, "--vehicles", &vehicles, "--rate", &rate, "--door", &door, "--data", &data];
        args.extend(if kind == "fleet" { ["--seed", &seed] } else { ["--for", "600s"] });
        let env = disk.environment();
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        Process::start_program(&self.programs.program("remuda-sim"), &args, &env, &self.logs())
    }

    pub fn start_vehicles(&mut self) {
        self.vehicle_starts += 1;
        self.vehicles = Some(self.simulate(&self.vehicle_disk));
    }

    /// Frames the running node has made durable since its start.
    pub fn durable(&self) -> u64 {
        let metric = |cloud: &Cloud| cloud.metric("remuda_vehicles_frames_durable_total", "") as u64;
        self.cloud.as_ref().map_or(0, metric)
    }

    /// Nobody may have ended by itself.
    pub fn check_alive(&mut self) -> Result<(), Trouble> {
        if let Some(cloud) = &mut self.cloud
            && let Some(status) = cloud.process.ended()
        {
            self.check_stopped()?;
            let log = self.cloud.as_ref().map(|cloud| cloud.process.log_end()).unwrap_or_default();
            return Err(broken(format!("the cloud ended by itself ({status}):\n{log}")));
        }
        if let Some(vehicles) = &mut self.vehicles
            && let Some(status) = vehicles.ended()
        {
            self.check_stopped()?;
            let log = self.vehicles.as_ref().map(Process::log_end).unwrap_or_default();
            return Err(broken(format!("the vehicles ended by themselves ({status}):\n{log}")));
        }
        Ok(())
    }

    /// SIGKILL, if it runs, and whatever it was doing is settled.
    pub fn kill(&mut self, side: Side) -> Result<(), Trouble> {
        match side {
            Side::Cloud => {
                self.proxy.lead_to(None);
                if let Some(obedient) = &self.obedient {
                    obedient.proxy.lead_to(None);
                }
                if let Some(mut cloud) = self.cloud.take() {
                    cloud.process.kill();
                }
                self.cloud_disk.settle()?;
            }
            Side::Vehicles => {
                if let Some(mut vehicles) = self.vehicles.take() {
                    vehicles.kill();
                }
                self.vehicle_disk.settle()?;
            }
        }
        Ok(())
    }

    pub fn start(&mut self, side: Side) -> Result<(), Trouble> {
        match side {
            Side::Cloud => self.start_cloud(""),
            Side::Vehicles => {
                self.start_vehicles();
                Ok(())
            }
        }
    }

    pub fn process(&self, side: Side) -> Option<&Process> {
        match side {
            Side::Cloud => self.cloud.as_ref().map(|cloud| &cloud.process),
            Side::Vehicles => self.vehicles.as_ref(),
        }
    }

    /// A node on the data of the paused one: it must refuse and say why.
    pub fn second_node(&mut self) -> Result<(), Trouble> {
        let Some(first) = self.process(Side::Cloud) else { return Ok(()) };
        first.pause();
        // On no disk of ours: two processes cannot share a log, and it may not write anything anyway.
        let mut second = self.serve("", false);
        let ended = self.wait(PATIENCE, || Ok(second.ended()));
        if let Some(first) = self.process(Side::Cloud) {
            first.resume();
        }
        match ended? {
            Some(status) if !status.success() && second.log_end().contains("in use") => Ok(()),
            other => Err(broken(format!(
                "a second node on the same data must refuse, and it ended as {other:?}:\n{}",
                second.log_end()
            ))),
        }
    }

    /// Has the running node erase one vehicle's history. What it answered must hold.
    pub fn erase(&mut self, pick: u64) -> Result<(), Trouble> {
        let (Load::World { vehicles, .. } | Load::Synthetic { vehicles, .. }) = self.plan.load;
        // As the simulators name them.
        let number = pick % vehicles as u64 + 1;
        let vehicle = match self.plan.load {
            Load::World { .. } => format!("SIM{number:06}"),
            Load::Synthetic { .. } => format!("LOAD{number:06}"),
        };
        let data = self.cloud_disk.root().to_string_lossy().into_owned();
        let args = [
            "lake",
            "--data",
            &data,
            "erase",
            "--vehicle",
            &vehicle,
            "--by",
            "chaos",
            "--reason",
            "a round",
            "--json",
        ];
        self.run_program("remuda", &args, &[])?;
        self.erasures += 1;
        // The next compaction rewrites its files; it may be met anywhere.
        std::thread::sleep(Duration::from_millis(pick % 2_500));
        Ok(())
    }

    pub fn unused(&self, name: &str) -> PathBuf {
        let free = |n: &u32| !self.folder.join(format!("{name}-{n}")).exists();
        self.folder.join(format!("{name}-{}", (0..).find(free).unwrap_or_default()))
    }

    pub fn copy_running(&self, to: &Path) -> Result<(), Trouble> {
        let Some(vehicles) = &self.vehicles else { return Ok(()) };
        vehicles.pause();
        let copied = self.vehicle_disk.copy_to(to);
        vehicles.resume();
        Ok(copied?)
    }

    pub fn copy_outboxes(&mut self) -> Result<(), Trouble> {
        let to = self.unused("copy");
        self.copy_running(&to)?;
        self.copy = Some(to);
        Ok(())
    }

    pub fn restore_outboxes(&mut self) -> Result<(), Trouble> {
        let Some(copy) = self.copy.take() else { return Ok(()) };
        self.kill(Side::Vehicles)?;
        let destroyed = self.unused("destroyed");
        self.vehicle_disk.copy_to(&destroyed)?;
        self.destroyed.push(destroyed);
        self.vehicle_disk.restore(&copy)?;
        self.start_vehicles();
        Ok(())
    }

    pub fn clone_outboxes(&mut self) -> Result<(), Trouble> {
        let root = self.unused("clone");
        self.copy_running(&root)?;
        let beside = root.with_extension("disk");
        let disk = Disk::new(&self.programs.layer, &root, &beside)?;
        let process = Some(self.simulate(&disk));
        self.clones.push(Clone { disk, process });
        Ok(())
    }

    /// Ends every process as an operator would.
    pub fn stop(&mut self) -> Result<(), Trouble> {
        let clones = self.clones.iter_mut().filter_map(|clone| clone.process.take());
        let mut all: Vec<(&str, Process)> = clones.map(|process| ("the cloned vehicles", process)).collect();
        all.extend(self.vehicles.take().map(|process| ("the vehicles", process)));
        let agent = self.obedient.as_mut().and_then(|obedient| obedient.process.take());
        all.extend(agent.map(|process| ("the vehicle that obeys", process)));
        all.iter().for_each(|(_, process)| process.terminate());
        for (who, mut process) in all {
            self.end(who, &mut process)?;
        }
        if let Some(mut cloud) = self.cloud.take() {
            cloud.process.terminate();
            self.end("the cloud", &mut cloud.process)?;
        }
        Ok(())
    }

    fn end(&self, who: &str, process: &mut Process) -> Result<(), Trouble> {
        match self.wait(PATIENCE, || Ok(process.ended()))? {
            Some(status) if status.success() => Ok(()),
            status => Err(broken(format!("{who} did not stop cleanly ({status:?}):\n{}", process.log_end()))),
        }
    }

    /// SIGKILL of everything.
    pub fn kill_all(&mut self) -> Result<(), Trouble> {
        self.kill(Side::Vehicles)?;
        self.kill(Side::Cloud)?;
        if let Some(mut agent) = self.obedient.as_mut().and_then(|obedient| obedient.process.take()) {
            agent.kill();
        }
        for clone in &mut self.clones {
            if let Some(mut process) = clone.process.take() {
                process.kill();
            }
            clone.disk.settle()?;
        }
        Ok(())
    }

    /// Copies the journal as the round left it: whoever opens it mends it, or makes it worse.
    pub fn keep_journal(&self) -> Result<(), Trouble> {
        let (from, to) = (self.cloud_disk.root().join("journal"), self.folder.join("journal-as-left"));
        let copied = std::fs::create_dir_all(&to).and_then(|()| {
            for entry in std::fs::read_dir(from)? {
                let entry = entry?;
                if entry.file_type()?.is_file() {
                    std::fs::copy(entry.path(), to.join(entry.file_name()))?;
                }
            }
            Ok(())
        });
        copied.map_err(|e| broken(format!("the journal cannot be kept: {e}")))
    }

    /// What the disks say.
    pub fn count(&self) -> Result<Ledger, Trouble> {
        let mut outboxes = vec![self.vehicle_disk.root().to_path_buf()];
        outboxes.extend(self.clones.iter().map(|clone| clone.disk.root().to_path_buf()));
        outboxes.extend(self.obedient.iter().map(|obedient| obedient.folder.clone()));
        let disks = Disks { outboxes: &outboxes, destroyed: &self.destroyed, lost: &self.lost };
        remuda_ledger::count_disks_blocking(self.cloud_disk.root(), disks)
            .map_err(|e| broken(format!("the disks cannot be counted: {e}")))
    }
}
