//! `remuda journal`: verification, export and import of a stopped node's journals, and a look at their events.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use remuda_eventsourcing::{JournalError, maintenance};

use crate::config::Config;
use crate::tail::{self, Filter};

/// Which of a node's journals (docs/adr/0012).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
    /// What vehicles decided, and the lake's manifest.
    Vehicles,
    /// Trips, users, bills, sagas.
    Business,
}

impl Which {
    /// Its folder in the data folder.
    pub const fn folder(self) -> &'static str {
        match self {
            Self::Vehicles => "journal",
            Self::Business => "business",
        }
    }
}

/// What can be done with a journal.
#[derive(Subcommand)]
pub enum JournalAction {
    /// Reads all of it and says what does not agree; exit code 1 when something does not.
    Verify {
        /// Only this journal; else both, where there are both.
        #[arg(long, value_enum)]
        journal: Option<Which>,
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Writes all of it to a file, as JSON lines.
    Export {
        /// The file.
        file: PathBuf,
        /// Which journal.
        #[arg(long, value_enum, default_value = "vehicles")]
        journal: Which,
    },
    /// Makes a journal out of an export; there must be none yet.
    Import {
        /// The file.
        file: PathBuf,
        /// Which journal.
        #[arg(long, value_enum, default_value = "vehicles")]
        journal: Which,
    },
    /// Prints events in the order of each shard, of a stopped node or of a running one.
    Tail {
        /// Which journal.
        #[arg(long, value_enum, default_value = "business")]
        journal: Which,
        /// Which events.
        #[command(flatten)]
        filter: Filter,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
}

fn told(error: JournalError) -> String {
    match error {
        JournalError::InUse(_) => format!("{error} (or look at it with: remuda journal tail)"),
        other => other.to_string(),
    }
}

/// Runs it on the journals of the configuration.
pub fn run(config: &Config, action: JournalAction) -> Result<(), String> {
    let folder = |which: Which| config.data_dir.join(which.folder());
    let mut progress = |keys: u64| eprint!("\r{keys} keys");
    match action {
        JournalAction::Verify { journal, json } => verify(config, journal, json),
        JournalAction::Export { file, journal } => {
            let out =
                File::create(&file).map_err(|e| format!("{} cannot be written: {e}", file.display()))?;
            let mut out = BufWriter::new(out);
            let keys = maintenance::export(&folder(journal), &mut out, &mut progress).map_err(told)?;
            let kept = out.flush().and_then(|()| out.get_ref().sync_all());
            kept.map_err(|e| format!("{} cannot be written: {e}", file.display()))?;
            eprintln!("\r{keys} keys written to {}", file.display());
            Ok(())
        }
        JournalAction::Import { file, journal } => {
            let input = File::open(&file).map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
            let folder = folder(journal);
            let keys =
                maintenance::import(&mut BufReader::new(input), &folder, &mut progress).map_err(told)?;
            eprintln!("\r{keys} keys imported into {}", folder.display());
            Ok(())
        }
        JournalAction::Tail { journal, filter, json } => tail::run(config, journal, &filter, json),
    }
}

fn verify(config: &Config, journal: Option<Which>, json: bool) -> Result<(), String> {
    // A node that never had any business has no journal of it.
    let there = |which: &Which| config.data_dir.join(which.folder()).join("db").exists();
    let business = Some(Which::Business).filter(there);
    let chosen: Vec<Which> = journal
        .map_or_else(|| [Some(Which::Vehicles), business].into_iter().flatten().collect(), |one| vec![one]);
    let mut reports = serde_json::Map::new();
    let mut faults = 0;
    for which in chosen {
        let report = maintenance::verify(&config.data_dir.join(which.folder())).map_err(told)?;
        let maintenance::Report { events, shards, streams, files, .. } = &report;
        if !json {
            let files = if which == Which::Vehicles {
                format!(", {files} files in the manifest")
            } else {
                String::new()
            };
            println!("{}: {events} events of {streams} streams in {shards} shards{files}", which.folder());
        }
        report.faults.iter().for_each(|fault| eprintln!("{}: {fault}", which.folder()));
        faults += report.faults.len();
        let value = serde_json::to_value(&report).map_err(|e| e.to_string())?;
        reports.insert(which.folder().to_owned(), value);
    }
    if json {
        println!("{}", verified(reports));
    }
    if faults == 0 {
        Ok(())
    } else {
        Err(format!("{faults} faults; restore the journal from its last export"))
    }
}

/// The vehicles' report with the business's under its name, which is how readers of the first know it.
fn verified(mut reports: serde_json::Map<String, serde_json::Value>) -> serde_json::Value {
    match reports.remove(Which::Vehicles.folder()) {
        Some(serde_json::Value::Object(mut vehicles)) => {
            vehicles.extend(reports);
            vehicles.into()
        }
        _ => reports.into(),
    }
}
