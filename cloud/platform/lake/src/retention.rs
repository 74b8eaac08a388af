//! Retention: how long history is kept, by age, by bytes and by class of signal, and what a reader is told of it.

use std::collections::{BTreeMap, BTreeSet};

use remuda_eventsourcing::{Note, NotePosition};
use remuda_model::{OrganizationId, SignalClass, SignalId, signal};
use serde::{Deserialize, Serialize};

use crate::commits::Commits;
use crate::error::LakeError;
use crate::history::Hour;
use crate::lake::Lake;
use crate::limits;

/// The trail's name in the journal.
pub(crate) const TRAIL: &str = "lake-retention";
const DAY_MS: i64 = 86_400_000;
const HOUR_MS: i64 = 3_600_000;

/// How long history is kept. Hours go as a whole: an hour is over age when it *ended* longer ago than that.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retention {
    /// Days that rows are kept; `None`: for ever.
    pub days: Option<u32>,
    /// Bytes of `history/`: beyond, the oldest hours go first; `None`: no bound.
    pub bytes_max: Option<u64>,
    /// Days that the values of a class are kept, where that is less.
    pub class_days: BTreeMap<SignalClass, u32>,
}

impl Retention {
    /// What does not agree, in words.
    ///
    /// # Errors
    /// A sentence about the first setting that makes no sense.
    pub fn check(&self) -> Result<(), String> {
        for (class, days) in &self.class_days {
            if *days == 0 {
                return Err(format!(
                    "the class {class} is kept 0 days; give 1 or more, or leave the class out"
                ));
            }
            if let Some(all) = self.days.filter(|all| all <= days) {
                return Err(format!(
                    "the class {class} is kept {days} days, but every row only {all}; give it less, or leave it out"
                ));
            }
        }
        Ok(())
    }

    /// Hours that ended up to this time are over age, ms since 1970 UTC.
    pub(crate) fn oldest_ms(&self, now_ms: i64) -> Option<i64> {
        Some(before(now_ms, self.days?))
    }

    /// Classes whose values are over age in an hour that ended at this time.
    pub(crate) fn gone(&self, end_ms: i64, now_ms: i64) -> BTreeSet<SignalClass> {
        let over = |days: u32| end_ms <= before(now_ms, days);
        self.class_days.iter().filter(|(_, days)| over(**days)).map(|(class, _)| *class).collect()
    }
}

fn before(now_ms: i64, days: u32) -> i64 {
    now_ms.saturating_sub(i64::from(days) * DAY_MS)
}

/// A line of the trail, JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RetentionRecord {
    /// When, ms since 1970 UTC.
    pub at_ms: i64,
    /// `age`, `bytes` or `class`.
    pub why: String,
    /// The class; none: every row.
    pub class: Option<SignalClass>,
    /// Before this time something is gone, ms since 1970 UTC.
    pub until_ms: i64,
    /// Files that are about to go, or to be rewritten.
    pub files: u64,
    /// Their rows.
    pub rows: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Of files that go: which commits their rows are of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<Dropped>,
}

/// Rows of an organisation that retention dropped, by the commits they are of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Dropped {
    pub organization: OrganizationId,
    pub commits: Commits,
    pub rows: u64,
}

impl Dropped {
    /// Of these files of history, by path and rows.
    pub fn of<'a>(files: impl Iterator<Item = (&'a str, u64)>) -> Vec<Self> {
        let mut all: BTreeMap<OrganizationId, (Option<Commits>, u64)> = BTreeMap::new();
        for (path, rows) in files {
            let Some(hour) = Hour::of_path(path) else { continue };
            let (commits, of_all) = all.entry(hour.organization).or_default();
            *commits = Commits::joined(*commits, Commits::in_path(path));
            *of_all += rows;
        }
        let known = |(organization, (commits, rows))| Some(Self { organization, commits: commits?, rows });
        all.into_iter().filter_map(known).collect()
    }
}

impl RetentionRecord {
    fn read(line: &[u8]) -> Result<Self, LakeError> {
        serde_json::from_slice(line).map_err(|e| {
            LakeError::Encode(format!(
                "a line of the trail {TRAIL} cannot be read ({e}); use a newer release"
            ))
        })
    }

    pub fn note(&self) -> Result<Note, LakeError> {
        let bytes = serde_json::to_vec(self).map_err(|e| LakeError::Encode(e.to_string()))?;
        Ok(Note { trail: TRAIL.into(), bytes })
    }
}

/// Up to where retention has removed history: a reader that asks for more says so.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Horizon {
    /// Rows before this time may be gone, ms since 1970 UTC.
    pub rows_ms: Option<i64>,
    /// Values of a class before this time may be gone, ms since 1970 UTC.
    pub classes_ms: BTreeMap<SignalClass, i64>,
}

impl Horizon {
    /// Before which time history of a signal (none: of any) is not complete any more, ns since 1970 UTC.
    pub fn of(&self, signal: Option<SignalId>) -> Option<i64> {
        let class = signal.and_then(|signal| self.classes_ms.get(&signal::class_of(signal)).copied());
        self.rows_ms.max(class).map(|ms| ms.saturating_mul(1_000_000))
    }

    fn take(&mut self, record: &RetentionRecord) {
        let known = match record.class {
            None => self.rows_ms.get_or_insert(record.until_ms),
            Some(class) => self.classes_ms.entry(class).or_insert(record.until_ms),
        };
        *known = (*known).max(record.until_ms);
    }
}

/// What the trail says up to a position.
#[derive(Debug, Default)]
pub(crate) struct KnownHorizon {
    position: NotePosition,
    horizon: Horizon,
}

impl Lake {
    /// Up to where retention has removed history.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn horizon(&self) -> Result<Horizon, LakeError> {
        let mut known = self.horizon.lock().await;
        loop {
            let lines = self.journal.notes(TRAIL, known.position, limits::MANIFEST_PAGE).await?;
            if lines.is_empty() {
                return Ok(known.horizon.clone());
            }
            for (position, line) in lines {
                known.horizon.take(&RetentionRecord::read(&line)?);
                known.position = position;
            }
        }
    }

    /// Rows that retention has taken out whole, by age or by bytes, as the trail says.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn expired_rows(&self) -> Result<u64, LakeError> {
        let (mut after, mut rows) = (0, 0);
        loop {
            let lines = self.journal.notes(TRAIL, after, limits::MANIFEST_PAGE).await?;
            let Some((last, _)) = lines.last() else { return Ok(rows) };
            after = *last;
            for (_, line) in &lines {
                let record = RetentionRecord::read(line)?;
                rows += if record.class.is_none() { record.rows } else { 0 };
            }
        }
    }
}

/// The last full hour before a time.
pub(crate) fn full_hour(at_ms: i64) -> i64 {
    at_ms.div_euclid(HOUR_MS) * HOUR_MS
}

/// What a history file's name says is gone from it: `{writer}-{epoch}-{counter}.without-position.parquet`. So nobody reads
/// a file only to see that it was rewritten already.
pub(crate) fn gone_from(path: &str) -> BTreeSet<SignalClass> {
    let name = path.rsplit('/').next().unwrap_or_default();
    name.split('.').filter_map(|part| part.strip_prefix("without-")?.parse().ok()).collect()
}

/// The part of a name that says so.
pub(crate) fn mark(gone: &BTreeSet<SignalClass>) -> String {
    gone.iter().map(|class| format!(".without-{class}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retention() -> Retention {
        let class_days = [(SignalClass::Position, 7), (SignalClass::Cabin, 30)].into();
        Retention { days: Some(365), bytes_max: None, class_days }
    }

    #[test]
    fn a_class_goes_when_its_hour_is_over_age() {
        let now = 1_700_000_000_000;
        let gone =
            |days_ago: i64| retention().gone(now - days_ago * DAY_MS, now).into_iter().collect::<Vec<_>>();
        assert_eq!(gone(6), []);
        assert_eq!(gone(7), [SignalClass::Position]);
        assert_eq!(gone(31), [SignalClass::Position, SignalClass::Cabin]);
        assert_eq!(retention().oldest_ms(now), Some(now - 365 * DAY_MS));
    }

    #[test]
    fn settings_that_make_no_sense_are_told() {
        assert_eq!(retention().check(), Ok(()));
        let longer = Retention { days: Some(7), ..retention() };
        assert!(
            longer.check().expect_err("longer").contains("position is kept 7 days, but every row only 7")
        );
        let none = Retention { class_days: [(SignalClass::Cabin, 0)].into(), ..retention() };
        assert!(none.check().expect_err("0").contains("cabin is kept 0 days"));
    }

    #[test]
    fn a_name_says_what_is_gone() {
        let gone = BTreeSet::from([SignalClass::Position, SignalClass::DriverBehaviour]);
        let name = format!("history/a.b/00-1-2{}.parquet", mark(&gone));
        assert_eq!(name, "history/a.b/00-1-2.without-position.without-driver-behaviour.parquet");
        assert_eq!(gone_from(&name), gone);
        assert_eq!(gone_from("history/x.without-cabin/00-1-2.parquet"), BTreeSet::new());
        assert_eq!(crate::history::epoch_in_name(&name), Some(1));
    }

    #[test]
    fn the_horizon_is_the_latest_of_what_is_gone() {
        let line = |class, until_ms| RetentionRecord {
            at_ms: 0,
            why: "age".into(),
            class,
            until_ms,
            files: 1,
            rows: 1,
            bytes: 1,
            dropped: Vec::new(),
        };
        let mut horizon = Horizon::default();
        assert_eq!(horizon.of(Some(signal::SPEED)), None);
        for record in [line(None, 5), line(Some(SignalClass::Position), 9), line(None, 3)] {
            horizon.take(&record);
        }
        let of = |signal| horizon.of(signal).map(|ns| ns / 1_000_000);
        assert_eq!(
            (of(None), of(Some(signal::SPEED)), of(Some(signal::LATITUDE))),
            (Some(5), Some(5), Some(9))
        );
    }
}
