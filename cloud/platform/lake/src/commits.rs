//! Which commits the rows of a history file are of: in its name, so that nobody opens a file to see that it is read.

use serde::{Deserialize, Serialize};

use crate::row::Row;
use remuda_eventsourcing::ManifestPosition;

/// Positions of the manifest, both inclusive. Rows of other commits are not in the file; not every one of these need be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Commits {
    pub from: ManifestPosition,
    pub to: ManifestPosition,
}

impl Commits {
    /// Of these rows; `None` when no row knows its own.
    pub fn of(rows: &[Row]) -> Option<Self> {
        let known = || rows.iter().map(|row| row.commit).filter(|commit| *commit > 0);
        Some(Self { from: known().min()?, to: known().max()? })
    }

    /// What is in either.
    pub fn joined(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(a), Some(b)) => Some(Self { from: a.from.min(b.from), to: a.to.max(b.to) }),
            (one, other) => one.or(other),
        }
    }

    /// Of files with these paths.
    pub fn in_all<'a>(paths: impl Iterator<Item = &'a str>) -> Option<Self> {
        paths.map(Self::in_path).fold(None, Self::joined)
    }

    /// What a file's name says: `{writer}-{epoch}-{counter}.commits-{from}-{to}.parquet`.
    pub fn in_path(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (from, to) = name.split('.').find_map(|part| part.strip_prefix("commits-")?.split_once('-'))?;
        Some(Self { from: from.parse().ok()?, to: to.parse().ok()? })
    }

    /// The part of a name that says so.
    pub fn mark(self) -> String {
        format!(".commits-{}-{}", self.from, self.to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_which_commits_are_in_the_file() {
        let commits = Commits { from: 3, to: 4_000_000 };
        let name = format!("history/organization=a.b/00ff-12-7{}.without-position.parquet", commits.mark());
        assert_eq!(Commits::in_path(&name), Some(commits));
        assert_eq!(crate::history::epoch_in_name(&name), Some(12));
        assert_eq!(Commits::in_path("history/x.commits-1-2/00-1-2.parquet"), None);
        let both = Commits::in_all(["a.commits-5-9.parquet", "old.parquet", &name].into_iter());
        assert_eq!(both, Some(commits));
    }
}
