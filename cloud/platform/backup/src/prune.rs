//! Removing old snapshots, and objects that no snapshot refers to.

use std::collections::HashSet;
use std::fs;

use serde::Serialize;

use crate::error::BackupError;
use crate::index::{Index, SnapshotKind};
use crate::repository::Repository;
use crate::take::now_ms;

/// What is kept. A snapshot stays when either says so; the newest whole one always stays.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// So many of the newest whole snapshots.
    pub newest: Option<usize>,
    /// Those that are not older than so many days.
    pub days: Option<u32>,
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Pruned {
    /// Snapshots that were removed.
    pub removed: Vec<String>,
    /// Snapshots that stay.
    pub kept: Vec<String>,
    /// Objects that were removed.
    pub objects: u64,
    /// Their bytes; those of a file that the lake still has are freed when the lake lets it go.
    pub bytes: u64,
}

/// Removes what is not kept; with `dry`, only says what would go.
///
/// # Errors
/// When an index cannot be read: what it refers to is not known, so nothing is removed at all.
pub fn prune(repository: &Repository, keep: Keep, dry: bool) -> Result<Pruned, BackupError> {
    let indexes: Vec<Index> =
        repository.snapshots()?.iter().map(|id| repository.index(id)).collect::<Result<_, _>>()?;
    let (kept, gone): (Vec<Index>, Vec<Index>) = split(indexes, keep, now_ms());
    let needed: HashSet<&str> =
        kept.iter().flat_map(|index| index.objects().map(|(object, _)| object.name.as_str())).collect();
    let ids = |indexes: &[Index]| indexes.iter().map(|index| index.id.clone()).collect();
    let mut pruned = Pruned { removed: ids(&gone), kept: ids(&kept), objects: 0, bytes: 0 };
    if !dry {
        // Oldest first: whatever is left when this is killed is what a smaller prune would have left.
        gone.iter().try_for_each(|index| repository.remove_snapshot(&index.id))?;
        fail::fail_point!("prune-before-objects", |_| std::process::abort());
    }
    for (name, bytes) in repository.stored()? {
        if !needed.contains(name.as_str()) {
            let path = repository.object(&name);
            if !dry {
                fs::remove_file(&path).map_err(BackupError::file(&path, "removed"))?;
            }
            pruned.objects += 1;
            pruned.bytes += bytes;
        }
    }
    Ok(pruned)
}

fn split(indexes: Vec<Index>, keep: Keep, now_ms: i64) -> (Vec<Index>, Vec<Index>) {
    let oldest_ms = keep.days.map(|days| now_ms.saturating_sub(i64::from(days) * 86_400_000));
    let whole: Vec<String> =
        indexes.iter().filter(|i| i.kind == SnapshotKind::Full).map(|i| i.id.clone()).collect();
    let newest = keep.newest.unwrap_or(0).max(1);
    let spared: HashSet<&String> = whole.iter().rev().take(newest).collect();
    // Keys and register are worth something beside whole ones only, where they are newer.
    let last_identity = indexes.iter().rfind(|i| i.kind == SnapshotKind::Identity).map(|i| i.id.clone());
    indexes.into_iter().partition(|index| {
        let young = oldest_ms.is_some_and(|oldest| index.moment_ms >= oldest);
        young || spared.contains(&index.id) || last_identity.as_ref() == Some(&index.id)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::some;

    const DAY_MS: i64 = 86_400_000;

    fn at(day: i64, kind: SnapshotKind) -> Index {
        Index { moment_ms: day * DAY_MS, kind, ..some(&format!("S{day:02}")) }
    }

    fn kept(keep: Keep) -> Vec<String> {
        let full = (1..=9).map(|day| at(day, SnapshotKind::Full));
        let identities = (10..=11).map(|day| at(day, SnapshotKind::Identity));
        let (kept, gone) = split(full.chain(identities).collect(), keep, 12 * DAY_MS);
        assert_eq!(kept.len() + gone.len(), 11);
        kept.into_iter().map(|index| index.id).collect()
    }

    #[test]
    fn a_snapshot_stays_when_either_rule_says_so() {
        assert_eq!(kept(Keep { newest: Some(2), days: None }), ["S08", "S09", "S11"]);
        assert_eq!(kept(Keep { newest: None, days: Some(4) }), ["S08", "S09", "S10", "S11"]);
        assert_eq!(kept(Keep { newest: Some(3), days: Some(1) }), ["S07", "S08", "S09", "S11"]);
        assert_eq!(kept(Keep { newest: Some(0), days: None }), ["S09", "S11"], "never the last");
    }
}
