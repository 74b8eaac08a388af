//! Backups of a running node, its loss, and what a restore promises (docs/backup.md).

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use remuda_ledger::{Ledger, LostNode};
use serde_json::Value;

use crate::Sabotage;
use crate::disk::Survival;
use crate::plan::{Load, Side};
use crate::scene::{PATIENCE, Scene, Trouble, broken};

/// By how much a printed time may differ from what a clock beside it says, s.
const SLACK_S: f64 = 0.2;
/// Rounds of the lake after which what vehicles told in a greeting is durable.
const ROUNDS_AFTER_GREETING: f64 = 2.0;

/// The newest backup.
pub(crate) struct Backup {
    snapshot: String,
    begun: Instant,
    ended: Instant,
    /// The outboxes when it was begun.
    outboxes: PathBuf,
}

/// What `restore` printed is of this backup, and the window of loss is the time since its moment.
fn check_printed(told: &Value, backup: &Backup, begun: Instant) -> Result<(), Trouble> {
    if told["snapshot"].as_str() != Some(backup.snapshot.as_str()) {
        return Err(broken(format!("not the newest backup, {}, was restored: {told}", backup.snapshot)));
    }
    let least = begun.duration_since(backup.ended).as_secs_f64() - SLACK_S;
    let most = backup.begun.elapsed().as_secs_f64() + SLACK_S;
    let loss = told["loss_seconds_max"].as_f64().unwrap_or(-1.0);
    if !(least..=most).contains(&loss) {
        return Err(broken(format!("the RPO is from {least:.1} to {most:.1} s, and was told as {told}")));
    }
    let took = begun.elapsed().as_secs_f64() + SLACK_S;
    if told["seconds"].as_f64().is_none_or(|seconds| seconds > took) {
        return Err(broken(format!("the restore took {took:.1} s, and was told as {told}")));
    }
    Ok(())
}

impl Scene<'_> {
    fn metric(&self, name: &str) -> f64 {
        self.cloud.as_ref().map_or(0.0, |cloud| cloud.metric(name, ""))
    }

    fn remuda_json(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Value, Trouble> {
        let said = self.run_program("remuda", args, env)?;
        serde_json::from_str(&said).map_err(|e| broken(format!("{args:?} answered {said}: {e}")))
    }

    /// To whom backups are encrypted; the key is made with the first.
    fn recipient(&mut self) -> Result<String, Trouble> {
        if let Some(recipient) = &self.recipient {
            return Ok(recipient.clone());
        }
        let key = self.folder.join("backup.key").to_string_lossy().into_owned();
        let recipient = self.run_program("remuda", &["backup", "keygen", "--out", &key], &[])?;
        let recipient = recipient.trim().to_owned();
        self.recipient = Some(recipient.clone());
        Ok(recipient)
    }

    /// Takes a backup of the running node, with a command under way.
    pub fn back_up(&mut self) -> Result<(), Trouble> {
        self.enrol_obedient()?;
        let recipient = self.recipient()?;
        let outboxes = self.unused("outboxes-at-backup");
        self.copy_running(&outboxes)?;
        self.send_command()?;
        let data = self.cloud_disk.root().to_string_lossy().into_owned();
        let to = self.folder.join("backups").to_string_lossy().into_owned();
        let begun = Instant::now();
        // Links would be to files that a power cut of this harness writes anew.
        let args = ["backup", "--data", &data, "--to", &to, "--recipient", &recipient, "--copy", "--json"];
        let taken = self.remuda_json(&args, &[])?;
        let snapshot = taken["snapshot"].as_str().unwrap_or_default().to_owned();
        self.backup = Some(Backup { snapshot, begun, ended: Instant::now(), outboxes });
        Ok(())
    }

    /// Destroys the node and its disk, restores the newest backup onto an empty one, which loses its power or not once that
    /// is done, and starts a node there.
    pub fn lose_node(&mut self, cut: Option<(Survival, u64)>) -> Result<(), Trouble> {
        let Some(backup) = self.backup.take() else { return Ok(()) };
        self.kill(Side::Cloud)?;
        let (lost, empty) = (self.unused("lost-node"), self.unused("empty"));
        self.cloud_disk.copy_to(&lost)?;
        fs::create_dir_all(&empty).map_err(|e| broken(format!("no empty folder can be made: {e}")))?;
        self.cloud_disk.restore(&empty)?;
        let data = self.cloud_disk.root().to_string_lossy().into_owned();
        let from = self.folder.join("backups").to_string_lossy().into_owned();
        let key = self.folder.join("backup.key").to_string_lossy().into_owned();
        let mut env = self.cloud_disk.environment();
        if self.sabotage == Some(Sabotage::RestoreKeepsEpochs) {
            env.push(("FAILPOINTS".to_owned(), "restore-keeps-epochs=return".to_owned()));
        }
        let env: Vec<(&str, &str)> = env.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        let begun = Instant::now();
        let args = ["restore", "--from", &from, "--data", &data, "--identity", &key, "--json"];
        let told = self.remuda_json(&args, &env)?;
        check_printed(&told, &backup, begun)?;
        self.cloud_disk.settle()?;
        if let Some((survival, seed)) = cut {
            self.cloud_disk.cut_power(survival, seed)?;
        }
        self.lost.push(LostNode { cloud: lost, outboxes: backup.outboxes });
        self.start_cloud("")?;
        self.wait_for_greetings()?;
        self.obey()
    }

    /// Waits until every vehicle has greeted the restored node, and what it told of is durable.
    fn wait_for_greetings(&mut self) -> Result<(), Trouble> {
        let (Load::World { vehicles, .. } | Load::Synthetic { vehicles, .. }) = self.plan.load;
        // And the one that obeys.
        let all = vehicles as f64 + 1.0;
        let online = || self.metric("remuda_vehicles_online_vehicles");
        let greeted = self.wait(PATIENCE, || Ok((online() >= all).then_some(())))?;
        if greeted.is_none() {
            let came = online();
            return Err(broken(format!("of {all} vehicles {came} came back to the restored node")));
        }
        let files = || self.metric("remuda_lake_files_committed_total");
        let enough = files() + ROUNDS_AFTER_GREETING;
        if self.wait(PATIENCE, || Ok((files() >= enough).then_some(())))?.is_none() {
            return Err(broken("the restored node stores nothing"));
        }
        self.check_epochs()?;
        // An agent that was started again does not name its earlier start any more.
        self.must_tell = self.vehicle_starts == 1;
        Ok(())
    }

    /// No vehicle has seen a higher epoch than the restored node's: it would refuse commands.
    pub fn check_epochs(&self) -> Result<(), Trouble> {
        let behind = self.metric("remuda_vehicles_epochs_behind_total");
        if self.lost.is_empty() || behind == 0.0 {
            return Ok(());
        }
        Err(broken(format!("{behind} greetings came from vehicles that saw a higher epoch")))
    }

    /// What went with a node is told where it must be, and no command was obeyed twice.
    pub fn check_restored(&self, ledger: &Ledger) -> Result<(), Trouble> {
        let Ledger { frames_lost_with_node: lost, frames_lost_with_node_told: told, .. } = ledger;
        if self.must_tell && lost != told {
            return Err(broken(format!("{lost} frames went with the node, and {told} are told\n{ledger}")));
        }
        self.check_obeyed()
    }
}
