//! `remuda lake erase|erasures`: what is to be forgotten, and the proof that it was; of a running or a stopped node.

use std::io::Write as _;

use chrono::{DateTime, SecondsFormat};
use clap::Args;
use remuda_lake::{Compacted, CompactionSettings, Erasure, ErasureId, ErasureRequest, Lake};
use remuda_model::{OrganizationId, SignalClass, VehicleId};
use serde_json::json;

use crate::config::Config;
use crate::control;
use crate::lake_control::LakeQuestion;
use crate::lake_files::{compaction_settings, now_ms};
use crate::wiring::chain;

/// What is to be forgotten.
#[derive(Args)]
pub struct EraseArgs {
    /// Of this vehicle.
    #[arg(long, required_unless_present_any = ["all_vehicles", "now"], conflicts_with = "all_vehicles")]
    vehicle: Option<VehicleId>,
    /// Of every vehicle of the organisation.
    #[arg(long)]
    all_vehicles: bool,
    /// Whose rows.
    #[arg(long, default_value_t = OrganizationId::default())]
    organization: OrganizationId,
    /// Rows from this time on, RFC 3339 such as 2026-11-30T08:00:00Z; left out: from the first one on.
    #[arg(long, value_parser = time)]
    from: Option<i64>,
    /// Rows before this time, RFC 3339; left out: up to now.
    #[arg(long, value_parser = time)]
    until: Option<i64>,
    /// Only values of this class of signals: position, driver-behaviour, cabin, technical; more than once for several. Left
    /// out: everything.
    #[arg(long = "class")]
    classes: Vec<SignalClass>,
    /// Who asks; stays in the proof.
    #[arg(long)]
    by: Option<String>,
    /// Why; stays in the proof, so it should name no person.
    #[arg(long)]
    reason: Option<String>,
    /// Rewrites the files at once, waits until nothing is left; without a vehicle: of every erasure that was asked for
    /// before.
    #[arg(long)]
    now: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// The proofs.
#[derive(Args)]
pub struct ErasuresArgs {
    /// Looks through all files again for what this erasure covers: after files were restored that are older than it.
    #[arg(long, requires = "by")]
    reopen: Option<ErasureId>,
    /// Who wants that.
    #[arg(long)]
    by: Option<String>,
    /// One JSON object on standard output, with every file.
    #[arg(long)]
    json: bool,
}

/// RFC 3339 to ns since 1970 UTC.
fn time(text: &str) -> Result<i64, String> {
    let at =
        DateTime::parse_from_rfc3339(text).map_err(|e| format!("{e}; write it as 2026-11-30T08:00:00Z"))?;
    at.timestamp_nanos_opt().ok_or_else(|| "give a time between 1678 and 2262".to_owned())
}

/// Asks the running node; false when there is none.
pub(crate) fn ask_node(config: &Config, args: &EraseArgs) -> Result<bool, String> {
    let question = LakeQuestion { erase: args.request(), now: args.now };
    let Some(erasures) = control::ask_lake(&config.data_dir, question)? else { return Ok(false) };
    print(&erasures, args.json)?;
    if args.now {
        eprintln!("the files are rewritten; copies that readers may be at go within ten minutes");
    } else {
        promise(config);
    }
    Ok(true)
}

/// The same for the proofs.
pub(crate) fn ask_node_for_proofs(config: &Config, args: &ErasuresArgs) -> Result<bool, String> {
    if args.reopen.is_some() {
        return Ok(false);
    }
    let question = LakeQuestion { erase: None, now: false };
    let Some(erasures) = control::ask_lake(&config.data_dir, question)? else { return Ok(false) };
    tell(&erasures, args.json)?;
    Ok(true)
}

/// Asks for the erasure, and does it when told to.
pub(crate) async fn erase(lake: &Lake, config: &Config, args: &EraseArgs) -> Result<(), String> {
    let asked = match args.request() {
        Some(request) => Some(lake.erase(request, now_ms()).await.map_err(|e| chain(&e))?.id),
        None => None,
    };
    if args.now {
        do_it(lake, config).await?;
    }
    let erasures = lake.erasures().await.map_err(|e| chain(&e))?;
    let shown: Vec<Erasure> =
        erasures.into_iter().filter(|e| asked.is_none_or(|id| e.tombstone.id == id)).collect();
    print(&shown, args.json)?;
    if !args.now {
        promise(config);
    }
    Ok(())
}

/// Says when the files follow.
fn promise(config: &Config) {
    let within = match config.lake.erase_within_h {
        0 => "by the next compaction".to_owned(),
        hours => format!("within {hours} h while the node runs"),
    };
    eprintln!(
        "no reader shows it from now on; its files are rewritten {within}, or by remuda lake erase --now"
    );
}

impl EraseArgs {
    /// What is asked for, if anything.
    fn request(&self) -> Option<ErasureRequest> {
        (self.vehicle.is_some() || self.all_vehicles).then(|| ErasureRequest {
            organization: self.organization,
            vehicle: self.vehicle,
            from_ns: self.from,
            until_ns: self.until,
            classes: self.classes.iter().copied().collect(),
            requested_by: self.by.clone().unwrap_or_default(),
            reason: self.reason.clone().unwrap_or_default(),
        })
    }
}

/// Compacts until every erasure is finished. Nobody reads a stopped node's lake through us: no grace is needed.
async fn do_it(lake: &Lake, config: &Config) -> Result<(), String> {
    let settings = CompactionSettings { erase_within_ms: 0, grace_ms: 0, ..compaction_settings(config) };
    let watch = |done: &Compacted| {
        eprint!("\r{} rows erased, {} blanked", done.erased_rows, done.blanked_rows);
        std::ops::ControlFlow::Continue(())
    };
    // One run rewrites, the next one deletes what was replaced.
    for _ in 0..3 {
        let done = lake.compact(&settings, now_ms(), &watch).await.map_err(|e| chain(&e))?;
        eprintln!();
        if done.open_erasures == 0 {
            return Ok(());
        }
    }
    Err("some rows wait in files that no checkpoint covers yet: start the node, stop it, and run remuda lake erase --now \
         again; no reader shows them meanwhile"
        .into())
}

/// Shows the proofs.
pub(crate) async fn erasures(lake: &Lake, args: &ErasuresArgs) -> Result<(), String> {
    if let Some(id) = args.reopen {
        let by = args.by.clone().unwrap_or_default();
        lake.reopen_erasure(id, by, now_ms()).await.map_err(|e| chain(&e))?;
        eprintln!("all files are looked through again by the next compaction, or by remuda lake erase --now");
    }
    let erasures = lake.erasures().await.map_err(|e| chain(&e))?;
    tell(&erasures, args.json)
}

fn tell(erasures: &[Erasure], json: bool) -> Result<(), String> {
    print(erasures, json)?;
    let open = erasures.iter().filter(|erasure| erasure.finished_at_ms.is_none()).count();
    eprintln!("{} erasures, {open} of them not finished", erasures.len());
    Ok(())
}

fn print(erasures: &[Erasure], json: bool) -> Result<(), String> {
    let mut text = String::new();
    if json {
        text = format!("{}\n", json!({ "erasures": erasures }));
    } else {
        erasures.iter().for_each(|erasure| text += &line(erasure));
    }
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(())
}

fn line(erasure: &Erasure) -> String {
    let Erasure { tombstone, rows, blanked, files, rewritten_at_ms, finished_at_ms } = erasure;
    let shown = |at_ms: i64| {
        DateTime::from_timestamp_millis(at_ms).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Secs, true)
    };
    let (from_ns, until_ns) = tombstone.range_ns();
    let from = if from_ns == i64::MIN { "the beginning".to_owned() } else { shown(from_ns / 1_000_000) };
    let of = tombstone.vehicle.map_or_else(|| "every vehicle".to_owned(), |vehicle| vehicle.to_string());
    let classes: Vec<&str> = tombstone.classes.iter().map(|class| class.as_str()).collect();
    let what = if classes.is_empty() { "everything".to_owned() } else { classes.join(", ") };
    let state = match (rewritten_at_ms, finished_at_ms) {
        (_, Some(at)) => format!("finished {}", shown(*at)),
        (Some(at), None) => format!("rewritten {}, copies for readers go after their grace", shown(*at)),
        (None, None) => "hidden; its files wait to be rewritten".to_owned(),
    };
    format!(
        "{}\t{}/{of}: {what}, {from} to {}\tasked {} by {}: {}\t{rows} rows gone, {blanked} blanked, in {} files\t{state}\n",
        tombstone.id,
        tombstone.organization,
        shown(until_ns / 1_000_000),
        shown(tombstone.requested_at_ms),
        tombstone.requested_by,
        tombstone.reason,
        files.len(),
    )
}
