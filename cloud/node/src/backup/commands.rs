//! `remuda backup` and `remuda restore`, as they are typed.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};
use remuda_backup::index::LakeCopy;
use remuda_backup::prune::{Keep, prune};
use remuda_backup::repository::place;
use remuda_backup::restore::{Order, Restored, restore};
use remuda_backup::seal::new_key;
use remuda_backup::verify::verify;
use remuda_backup::{
    Access, BackupError, Identities, InPlace, JournalPart, MissingFile, Pace, Progress, Recipients,
    Repository,
};
use remuda_eventsourcing::{JournalMetrics, SledJournal};
use serde::Serialize;
use serde_json::json;

use super::{JOURNALS, Wanted, check_restored, lake_bucket, parts};
use crate::cli::runtime;
use crate::config::Config;
use crate::control::{self, Question};
use crate::wiring::chain;

/// `remuda backup`.
#[derive(Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct BackupArgs {
    #[command(subcommand)]
    action: Option<BackupAction>,
    /// Folder of the backups; one that is not there is made. Overrides `backup.to`.
    #[arg(long)]
    to: Option<String>,
    /// To whom to encrypt, `age1...`; may be given several times. Overrides `backup.recipients`.
    #[arg(long = "recipient")]
    recipients: Vec<String>,
    /// `identity`: keys and register alone, which takes a moment, so it can be done often.
    #[arg(long, value_parser = ["identity"])]
    only: Option<String>,
    /// Encrypts the lake's files too.
    #[arg(long)]
    encrypt_lake: bool,
    /// Copies the lake's files also where links would do, on one disk, or where they would stay in their bucket.
    #[arg(long)]
    copy: bool,
    /// Most that is read, MB a second; 0: as fast as it goes. Overrides `backup.rate_mb_per_second`.
    #[arg(long)]
    rate_mb: Option<u32>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// What can be done with backups.
#[derive(Subcommand)]
pub enum BackupAction {
    /// Makes a key file for restores and prints the recipient for `backup.recipients`.
    Keygen {
        /// The key file; it must not exist. Keep it off this machine, more than once.
        #[arg(long)]
        out: PathBuf,
        /// A file whose first line is a passphrase that the key file is encrypted with.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
    },
    /// Lists snapshots, oldest first.
    List {
        #[command(flatten)]
        from: FromArgs,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Reads everything back; exit code 1 when something is wrong.
    Verify {
        #[command(flatten)]
        from: FromArgs,
        /// Only this snapshot; all of them, unless it is given.
        #[arg(long)]
        snapshot: Option<String>,
        /// Key file: what is encrypted is opened and compared too.
        #[arg(long)]
        identity: Option<PathBuf>,
        /// A file whose first line is the key file's passphrase.
        #[arg(long)]
        passphrase_file: Option<PathBuf>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Removes old snapshots and what no other refers to. A snapshot stays when either rule keeps it.
    Prune {
        #[command(flatten)]
        from: FromArgs,
        /// Keeps so many of the newest.
        #[arg(long)]
        keep: Option<usize>,
        /// Keeps those that are not older than so many days.
        #[arg(long)]
        days: Option<u32>,
        /// Only says what would be removed.
        #[arg(long)]
        dry_run: bool,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
}

/// Where backups are.
#[derive(Args)]
pub struct FromArgs {
    /// Folder of the backups. Overrides `backup.to`.
    #[arg(long)]
    from: Option<String>,
}

/// `remuda restore`.
#[derive(Args)]
pub struct RestoreArgs {
    #[command(flatten)]
    from: FromArgs,
    /// Which snapshot, or `latest`.
    #[arg(long, default_value = "latest")]
    snapshot: String,
    /// Key file of `remuda backup keygen`.
    #[arg(long)]
    identity: PathBuf,
    /// A file whose first line is the key file's passphrase.
    #[arg(long)]
    passphrase_file: Option<PathBuf>,
    /// A `register.jsonl` that survived: what it refuses beyond the backup's stays refused.
    #[arg(long)]
    register: Option<PathBuf>,
    /// The highest epoch that a log line about a Hello has named, if vehicles refused commands after an earlier restore.
    #[arg(long, default_value_t = 0)]
    epoch_seen: u64,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

/// Runs `remuda backup`.
pub(crate) fn run(config: &Config, args: BackupArgs) -> Result<(), String> {
    match args.action {
        None => back_up(config, args),
        Some(BackupAction::Keygen { out, passphrase_file }) => keygen(&out, passphrase_file.as_deref()),
        Some(BackupAction::List { from, json }) => list(&from.place(config)?, json),
        Some(BackupAction::Verify { from, snapshot, identity, passphrase_file, json }) => {
            let identities = match identity {
                Some(file) => Some(read_identities(&file, passphrase_file.as_deref())?),
                None => None,
            };
            verify_all(config, &from.place(config)?, snapshot, identities, json)
        }
        Some(BackupAction::Prune { from, keep, days, dry_run, json }) => {
            if keep.is_none() && days.is_none() {
                return Err("say what is kept, with --keep or --days; nothing was removed".into());
            }
            prune_all(&from.place(config)?, Keep { newest: keep, days }, dry_run, json)
        }
    }
}

impl FromArgs {
    fn place(&self, config: &Config) -> Result<PathBuf, String> {
        let named = self.from.as_deref().map(place).or_else(|| config.backup.to.clone());
        named.ok_or_else(|| "say where the backups are, with --from or backup.to".to_owned())
    }
}

fn told(error: BackupError) -> String {
    chain(&error)
}

fn print(text: &str) {
    // A closed pipe is the reader's choice.
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn print_json(value: &impl Serialize) -> Result<(), String> {
    print(&format!("{}\n", serde_json::to_string(value).map_err(|e| e.to_string())?));
    Ok(())
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

/// Shows progress to people.
fn show(progress: &Progress) {
    let Progress { phase, bytes, bytes_per_second, .. } = progress;
    eprint!("\r{phase}: {:.1} MB, {:.1} MB/s    ", mb(*bytes), bytes_per_second / 1e6);
}

fn first_line(file: &Path) -> Result<String, String> {
    let text =
        std::fs::read_to_string(file).map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn read_identities(file: &Path, passphrase_file: Option<&Path>) -> Result<Identities, String> {
    let passphrase = passphrase_file.map(first_line).transpose()?;
    Identities::read(file, passphrase.as_deref()).map_err(told)
}

fn back_up(config: &Config, args: BackupArgs) -> Result<(), String> {
    let to = args.to.as_deref().map(place).or_else(|| config.backup.to.clone());
    let to = to.ok_or("say where to, with --to or backup.to; best a folder on another disk")?;
    // The node has another working folder.
    let to = std::path::absolute(&to).map_err(|e| format!("{}: {e}", to.display()))?;
    let data =
        &std::path::absolute(&config.data_dir).map_err(|e| format!("{}: {e}", config.data_dir.display()))?;
    if to.starts_with(data) {
        return Err(format!(
            "{} is in the data folder and would be lost with it; name another place",
            to.display()
        ));
    }
    let recipients =
        if args.recipients.is_empty() { config.backup.recipients.clone() } else { args.recipients };
    Recipients::parse(&recipients).map_err(told)?;
    let wanted = Wanted {
        to,
        recipients,
        only_identity: args.only.is_some(),
        encrypt_lake: args.encrypt_lake || config.backup.encrypt_lake,
        copy: args.copy || config.backup.copy_lake,
        rate_mb_per_second: args.rate_mb.unwrap_or(config.backup.rate_mb_per_second),
        keep_days: 0,
    };
    check_restored(data)?;
    let taken = match control::ask(data, &Question::Backup(wanted.clone()), &mut show)? {
        Some(taken) => taken,
        None => {
            let journals = open_journals(data)?;
            let runtime = runtime()?;
            let bucket = lake_bucket(config, runtime.handle()).map_err(|e| chain(&e))?;
            wanted.take(&parts(data, journals, bucket), Arc::default(), Box::new(show)).map_err(told)?
        }
    };
    eprintln!();
    if args.json {
        return print_json(&taken);
    }
    print(&format!(
        "{}: {:.1} MB, {:.1} MB of it new, {} keys of the journals, {} files of the lake ({} linked, {} copied, {} in their \
         bucket); {:.1} MB read in {:.1} s, {:.1} MB/s\n",
        taken.snapshot,
        mb(taken.bytes),
        mb(taken.bytes_new),
        taken.journal_keys,
        taken.lake_files,
        taken.lake_files_linked,
        taken.lake_files_copied,
        taken.lake_files_in_place,
        mb(taken.bytes_read),
        taken.seconds,
        taken.mb_per_second,
    ));
    if taken.lake_files_in_place > 0 {
        eprintln!(
            "the lake's files stay in their bucket, and the backup does not outlive it; what is compacted, or leaves the lake, \
             is deleted there 10 minutes later, and comes back by remuda lake adopt as far as its rows are in other files: \
             --copy copies them"
        );
    }
    if taken.lake_files_linked > 0 {
        eprintln!(
            "the backups are on the lake's own disk: they do not outlive it; copy them elsewhere, or name another disk"
        );
    }
    Ok(())
}

/// The journals of a stopped node.
fn open_journals(data: &Path) -> Result<Vec<JournalPart>, String> {
    let mut journals = Vec::new();
    for (number, name) in JOURNALS.iter().enumerate() {
        let folder = data.join(name);
        let there = folder.join("db").exists();
        if !there && number > 0 {
            // One without a business.
            continue;
        }
        if !there {
            return Err(format!(
                "{} holds no journal; name a node's data folder with --data",
                folder.display()
            ));
        }
        let journal = SledJournal::open(&folder, JournalMetrics::default()).map_err(|e| chain(&e))?;
        journals.push(JournalPart { name, source: Arc::new(journal) });
    }
    Ok(journals)
}

fn keygen(out: &Path, passphrase_file: Option<&Path>) -> Result<(), String> {
    let passphrase = passphrase_file.map(first_line).transpose()?;
    if passphrase.as_ref().is_some_and(|passphrase| passphrase.len() < 12) {
        return Err("a passphrase has at least 12 characters, on the first line of its file".into());
    }
    let key = new_key(passphrase.as_deref()).map_err(told)?;
    let unwritable = |e: std::io::Error| format!("{} cannot be written: {e}; name a new file", out.display());
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(out).map_err(unwritable)?;
    file.write_all(&key.file).and_then(|()| file.sync_all()).map_err(unwritable)?;
    print(&format!("{}\n", key.recipient));
    eprintln!(
        "put this line into backup.recipients; without {} no backup can be restored, so keep copies of it, none of them on \
         this machine or among the backups",
        out.display()
    );
    Ok(())
}

fn list(from: &Path, json: bool) -> Result<(), String> {
    let repository = Repository::open(from, Access::Read).map_err(told)?;
    let (mut text, mut listed) = (String::new(), Vec::new());
    for id in repository.snapshots().map_err(told)? {
        match repository.index(&id) {
            Ok(index) => {
                let files = index.lake.as_ref().map_or(0, LakeCopy::count);
                let in_place = index.lake.as_ref().filter(|lake| !lake.in_place.is_empty());
                let bucket = in_place.and_then(|lake| lake.bucket.clone());
                let (kind, bytes) = (index.kind, index.bytes());
                let place = bucket.as_ref().map(|bucket| format!(" in {bucket}")).unwrap_or_default();
                text += &format!("{id}\t{kind:?}\t{:.1} MB\t{files} lake files{place}\n", mb(bytes));
                listed.push(json!({
                    "snapshot": id, "kind": kind, "moment_ms": index.moment_ms, "bytes": bytes, "lake_files": files,
                    "lake_in_place": bucket, "recipients": index.recipients, "release": index.release,
                }));
            }
            Err(error) => {
                text += &format!("{id}\tdamaged\t{error}\n");
                listed.push(json!({ "snapshot": id, "damaged": error.to_string() }));
            }
        }
    }
    if json {
        return print_json(&json!({ "snapshots": listed }));
    }
    print(&text);
    Ok(())
}

fn verify_all(
    config: &Config,
    from: &Path,
    snapshot: Option<String>,
    identities: Option<Identities>,
    json: bool,
) -> Result<(), String> {
    let repository = Repository::open(from, Access::Read).map_err(told)?;
    let snapshots = match snapshot {
        Some(id) => vec![id],
        None => repository.snapshots().map_err(told)?,
    };
    let mut pace = Pace::new(None, Arc::default(), Box::new(show));
    let runtime = runtime()?;
    let bucket = lake_bucket(config, runtime.handle()).map_err(|e| chain(&e))?;
    let found =
        verify(&repository, &snapshots, identities.as_ref(), bucket.as_ref(), &mut pace).map_err(told)?;
    eprintln!();
    if json {
        print_json(&found)?;
    } else {
        let opened =
            if found.opened { "" } else { "; what is encrypted was not opened (name a key with --identity)" };
        print(&format!(
            "{} snapshots, {} objects, {:.1} MB{opened}\n",
            found.snapshots,
            found.objects,
            mb(found.bytes)
        ));
    }
    found.in_place.iter().for_each(tell_in_place);
    if found.faults.is_empty() {
        return Ok(());
    }
    for fault in &found.faults {
        let snapshots = fault.snapshots.join(", ");
        eprintln!(
            "{}: {} (snapshots {snapshots})\n  what to do: {}",
            fault.object, fault.detail, fault.advice
        );
    }
    Err(format!("{} faults in the backups in {}", found.faults.len(), from.display()))
}

/// What became of files that a snapshot names in a bucket.
fn tell_in_place(in_place: &InPlace) {
    let InPlace { snapshot, bucket, files, looked, gone, gone_paths } = in_place;
    if !looked {
        eprintln!(
            "{snapshot}: {files} files of the lake in {bucket} were not looked for, since lake.store is another; name the \
             node's configuration with --config"
        );
    } else if let Some(first) = gone_paths.first() {
        eprintln!(
            "{snapshot}: {gone} of {files} files of the lake are not in {bucket} any more, such as {first}: after 10 minutes \
             that is what compaction, retention and erasures do; after a restore, remuda lake adopt brings back those of \
             their rows that are in other files"
        );
    }
}

/// What a restore did not find in the bucket.
fn tell_missing(restored: &Restored) {
    /// More of them are in `--json`.
    const NAMED: usize = 20;
    let (missing, files) = (restored.lake_files_missing, restored.lake_files);
    if missing > 0 {
        eprintln!("{missing} of {files} files of the lake are not in its bucket as the snapshot names them:");
        for MissingFile { path, detail } in restored.lake_missing.iter().take(NAMED) {
            eprintln!("  {path}: {detail}");
        }
    }
    if restored.lake_files_in_place > 0 {
        eprintln!(
            "run remuda lake adopt before the node starts: it brings in what came into the bucket since the backup's moment, and \
             with it the rows of files that were compacted; a node that starts before moves the newest of these files to trash/, \
             where they are deleted after 7 days"
        );
    }
}

fn prune_all(from: &Path, keep: Keep, dry_run: bool, json: bool) -> Result<(), String> {
    let repository = Repository::open(from, Access::Write).map_err(told)?;
    let pruned = prune(&repository, keep, dry_run).map_err(told)?;
    if json {
        return print_json(&pruned);
    }
    let would = if dry_run { "would be " } else { "" };
    print(&format!(
        "{} snapshots {would}removed, {} kept; {} objects of {:.1} MB {would}removed\n",
        pruned.removed.len(),
        pruned.kept.len(),
        pruned.objects,
        mb(pruned.bytes)
    ));
    Ok(())
}

/// Runs `remuda restore`.
pub(crate) fn run_restore(config: &Config, args: RestoreArgs) -> Result<(), String> {
    let identities = read_identities(&args.identity, args.passphrase_file.as_deref())?;
    let repository = Repository::open(&args.from.place(config)?, Access::Read).map_err(told)?;
    let runtime = runtime()?;
    let order = Order {
        snapshot: Some(args.snapshot).filter(|id| id != "latest"),
        data: config.data_dir.clone(),
        bucket: lake_bucket(config, runtime.handle()).map_err(|e| chain(&e))?,
        identities,
        register: args.register,
        epoch_seen: args.epoch_seen,
    };
    let mut pace = Pace::new(None, Arc::default(), Box::new(show));
    let restored = restore(&repository, &order, &mut pace).map_err(told)?;
    eprintln!();
    tell_missing(&restored);
    if args.json {
        return print_json(&restored);
    }
    let Restored { snapshot, loss_seconds_max, seconds, bytes, events, lake_files, epoch, noted, .. } =
        &restored;
    let ago = |ms: Option<i64>| match ms {
        Some(ms) => {
            format!("{:.1} s before the backup's moment", (restored.moment_ms - ms).max(0) as f64 / 1e3)
        }
        None => "none".to_owned(),
    };
    print(&format!(
        "{snapshot} is restored to {}: {events} events, {lake_files} files of the lake; {:.1} MB in {seconds:.1} s (RTO, without the \
         start of the node)\nlost at most: what was acknowledged in the {loss_seconds_max:.1} s since the backup's moment (RPO); \
         newest event in it: {}; newest row: {}\nvehicles show it as gaps with the reason cloud-lost, \
         remuda_vehicles_frames_cloud_lost_total counts them\nnew owners of shards have epochs above {epoch}\n",
        config.data_dir.display(),
        mb(*bytes),
        ago(restored.last_event_ms),
        ago(restored.last_row_ms),
    ));
    if !noted {
        eprintln!(
            "the backups cannot be written to, so the next restore from them relies on its machine's clock: see docs/backup.md"
        );
    }
    Ok(())
}
