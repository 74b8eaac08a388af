//! `remuda journal`: export, import and verification, for a stopped node.

use std::fs::File;
use std::io::{BufReader, BufWriter};
use std::path::PathBuf;

use clap::Subcommand;
use remuda_eventsourcing::maintenance;

use crate::config::Config;

/// What can be done with a journal.
#[derive(Subcommand)]
pub enum JournalAction {
    /// Reads all of it and says what does not agree; exit code 1 when something does not.
    Verify {
        /// One JSON object on standard output.
        #[arg(long)]
        json: bool,
    },
    /// Writes all of it to a file, as JSON lines.
    Export {
        /// The file.
        file: PathBuf,
    },
    /// Makes a journal out of an export; there must be none yet.
    Import {
        /// The file.
        file: PathBuf,
    },
}

/// Runs it on the journal of the configuration.
pub fn run(config: &Config, action: JournalAction) -> Result<(), String> {
    let folder = config.data_dir.join("journal");
    let mut progress = |keys: u64| eprint!("\r{keys} keys");
    let told = |e: remuda_eventsourcing::JournalError| e.to_string();
    match action {
        JournalAction::Verify { json } => {
            let report = maintenance::verify(&folder).map_err(told)?;
            if json {
                println!("{}", serde_json::to_string(&report).map_err(|e| e.to_string())?);
            } else {
                let maintenance::Report { events, shards, streams, files, .. } = report;
                println!(
                    "{events} events of {streams} streams in {shards} shards, {files} files in the manifest"
                );
            }
            if report.faults.is_empty() {
                return Ok(());
            }
            report.faults.iter().for_each(|fault| eprintln!("{fault}"));
            Err(format!("{} faults; restore the journal from its last export", report.faults.len()))
        }
        JournalAction::Export { file } => {
            let out =
                File::create(&file).map_err(|e| format!("{} cannot be written: {e}", file.display()))?;
            let keys = maintenance::export(&folder, &mut BufWriter::new(out), &mut progress).map_err(told)?;
            eprintln!("\r{keys} keys written to {}", file.display());
            Ok(())
        }
        JournalAction::Import { file } => {
            let input = File::open(&file).map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
            let keys =
                maintenance::import(&mut BufReader::new(input), &folder, &mut progress).map_err(told)?;
            eprintln!("\r{keys} keys imported into {}", folder.display());
            Ok(())
        }
    }
}
