//! Retention as the files show it: what must be gone from a lake, and that nothing else is.

use std::fs;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use remuda_ledger::Ledger;

use crate::plan::Retention;
use crate::scene::{Scene, Trouble, broken};

/// How long retention may take: a compaction comes once a second.
const EXPIRED_WITHIN: Duration = Duration::from_secs(60);
const DAY_MS: i64 = 86_400_000;

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// The date in a lake's path.
fn date(path: &str) -> Option<&str> {
    path.split('/').find_map(|part| part.strip_prefix("date="))
}

/// Files below a folder with their bytes; without those that go while they are looked at.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => found.extend(files(&entry.path())),
            // A file whose writing a crash cut short has a number behind its name, and is none of the lake's.
            Ok(_) if entry.file_name().to_string_lossy().contains('#') => {}
            Ok(meta) => found.push((entry.path().to_string_lossy().into_owned(), meta.len())),
            Err(_) => {}
        }
    }
    found
}

/// Whether everything in the history that is over age, or too much, is gone, and something was.
fn is_expired(lake: &Path, retention: Retention) -> bool {
    // Hours of this date and before ended more than a day ago.
    let newest = DateTime::from_timestamp_millis(now_ms() - 2 * DAY_MS).unwrap_or_default();
    let newest = newest.format("%Y-%m-%d").to_string();
    let old = |below: &str| -> Vec<String> {
        let paths = files(&lake.join(below)).into_iter().map(|(path, _)| path);
        paths.filter(|path| date(path).is_some_and(|date| date <= newest.as_str())).collect()
    };
    // Not `fresh/`: rows of a vehicle that went silent stay there until its actor rests and leaves a snapshot that covers them.
    let on_their_way = || !old("staged").is_empty();
    match retention {
        Retention::Age => !on_their_way() && old("history").is_empty() && !old("replaced/history").is_empty(),
        Retention::Class(class) => {
            let mark = format!(".without-{class}");
            let history = old("history");
            !on_their_way() && !history.is_empty() && history.iter().all(|path| path.contains(&mark))
        }
        Retention::Bytes(most) => {
            let bytes: u64 = files(&lake.join("history")).iter().map(|(_, bytes)| bytes).sum();
            bytes <= most && !files(&lake.join("replaced/history")).is_empty()
        }
    }
}

impl Scene<'_> {
    /// Waits until retention has taken what it must.
    pub fn wait_until_expired(&mut self) -> Result<(), Trouble> {
        let Some(retention) = self.plan.retention else { return Ok(()) };
        let lake = self.cloud_disk.root().join("lake");
        let gone = self.wait(EXPIRED_WITHIN, || Ok(is_expired(&lake, retention).then_some(())))?;
        self.check_alive()?;
        gone.ok_or_else(|| {
            broken(format!("what {retention:?} must take is still in the lake after {EXPIRED_WITHIN:?}"))
        })
    }

    /// Retention took something, can say what, and took nothing that was not over age.
    pub fn check_expired(&self, ledger: &Ledger) -> Result<(), Trouble> {
        let Some(retention) = self.plan.retention else { return Ok(()) };
        let took = match retention {
            Retention::Age | Retention::Bytes(_) => ledger.rows_expired,
            Retention::Class(_) => ledger.samples_expired,
        };
        if took == 0 {
            return Err(broken(format!("{retention:?} took nothing, so the round proves nothing\n{ledger}")));
        }
        // Its files are kept for readers for longer than a round takes.
        if ledger.rows_expired_unseen > 0 {
            return Err(broken(format!(
                "retention's trail tells of {} rows that it did not take, or that are deleted already\n{ledger}",
                ledger.rows_expired_unseen
            )));
        }
        let by_age = !matches!(retention, Retention::Bytes(_));
        let latest_ms = now_ms() - DAY_MS;
        if let Some(before_ms) = ledger.expired_before_ms.filter(|before_ms| by_age && *before_ms > latest_ms)
        {
            return Err(broken(format!(
                "retention took what was before {before_ms}, and may take what was before {latest_ms}\n{ledger}"
            )));
        }
        Ok(())
    }
}
