//! Whether the files that snapshots name in a bucket are there.
//!
//! A list tells sizes and ETags, not contents. A file that was committed stays where it is until a compaction, the retention
//! or an erasure replaces it, and is deleted once it was replaced for [`REPLACED_GRACE_MS`]: so one that is gone sooner after
//! the snapshot's moment was taken by somebody else.

use std::collections::{HashMap, HashSet};

use remuda_lake::BucketFile;
use remuda_lake::limits::REPLACED_GRACE_MS;
use serde::Serialize;

use crate::bucket::LakeBucket;
use crate::epochs;
use crate::error::BackupError;
use crate::index::{Index, LakeCopy, LakeReference};
use crate::limits;
use crate::pace::Pace;
use crate::take::now_ms;
use crate::verify::FaultKind;

/// A file of the lake that is not in its bucket as the snapshot names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct MissingFile {
    /// Path below the lake's folder.
    pub path: String,
    /// In words.
    pub detail: String,
}

/// Files that a snapshot names in a bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct InPlace {
    /// The snapshot.
    pub snapshot: String,
    /// The bucket.
    pub bucket: String,
    /// How many files.
    pub files: u64,
    /// Whether the bucket was asked: only that of the configuration is.
    pub looked: bool,
    /// Files that are not there any more, long enough after the snapshot's moment that they may have been replaced.
    pub gone: u64,
    /// Of these the first, at most 1,000.
    pub gone_paths: Vec<String>,
}

/// What the bucket has of a snapshot's files.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// What it lacks, by path.
    pub missing: Vec<MissingFile>,
    /// The highest epoch in the names of files of rounds, of the snapshot and since.
    pub highest_epoch: u64,
}

/// Something wrong with a file of several snapshots.
pub(crate) struct WrongFile {
    pub path: String,
    pub kind: FaultKind,
    pub detail: String,
    pub snapshots: Vec<String>,
}

const GONE: &str = "it is not there";

/// How a file differs from what was written down of it.
fn differs(reference: &LakeReference, file: &BucketFile) -> Option<(FaultKind, String)> {
    if file.bytes != reference.bytes {
        let kind = if file.bytes < reference.bytes { FaultKind::Truncated } else { FaultKind::Changed };
        return Some((kind, format!("it has {} bytes, {} were committed", file.bytes, reference.bytes)));
    }
    let (there, known) = (file.etag.as_ref().filter(|_| file.at_home)?, reference.etag.as_ref()?);
    (there != known).then(|| (FaultKind::Changed, format!("its ETag is {there}, {known} was written down")))
}

/// Looks for the files that a snapshot names.
pub(crate) fn look(
    references: &[LakeReference],
    bucket: &LakeBucket,
    pace: &mut Pace,
) -> Result<Looked, BackupError> {
    pace.phase("bucket", 0);
    let mut wanted: HashMap<&str, &LakeReference> =
        references.iter().map(|reference| (reference.path.as_str(), reference)).collect();
    let mut looked = Looked::default();
    bucket.each_file(pace, &mut |file| {
        let epoch = epochs::in_file_name(&file.path).unwrap_or_default();
        looked.highest_epoch = looked.highest_epoch.max(epoch);
        if let Some(reference) = wanted.remove(file.path.as_str())
            && let Some((_, detail)) = differs(reference, &file)
        {
            looked.missing.push(MissingFile { path: file.path, detail });
        }
        Ok(())
    })?;
    let gone = |path: &str| MissingFile { path: path.to_owned(), detail: GONE.to_owned() };
    looked.missing.extend(wanted.into_keys().map(gone));
    looked.missing.sort_unstable();
    Ok(looked)
}

/// Looks for the files that these snapshots name, in one pass: what is wrong, and what may have been replaced since.
pub(crate) fn look_all(
    indexes: &[Index],
    bucket: Option<&LakeBucket>,
    pace: &mut Pace,
) -> Result<(Vec<InPlace>, Vec<WrongFile>), BackupError> {
    let (mut snapshots, mut moments): (Vec<InPlace>, Vec<i64>) = (Vec::new(), Vec::new());
    let mut wanted: HashMap<&str, (&LakeReference, Vec<usize>)> = HashMap::new();
    for index in indexes {
        let Some(lake) = index.lake.as_ref().filter(|lake| !lake.in_place.is_empty()) else { continue };
        let address = lake.bucket.clone().unwrap_or_default();
        let looked = bucket.is_some_and(|bucket| bucket.address() == address);
        if looked {
            for reference in &lake.in_place {
                let known = wanted.entry(&reference.path);
                known.or_insert_with(|| (reference, Vec::new())).1.push(snapshots.len());
            }
        }
        let (snapshot, files) = (index.id.clone(), lake.in_place.len() as u64);
        snapshots.push(InPlace { snapshot, bucket: address, files, looked, ..InPlace::default() });
        moments.push(index.moment_ms);
    }
    let Some(bucket) = bucket.filter(|_| !wanted.is_empty()) else { return Ok((snapshots, Vec::new())) };
    pace.phase("bucket", 0);
    let mut wrong = Vec::new();
    let ids: Vec<String> = snapshots.iter().map(|in_place| in_place.snapshot.clone()).collect();
    let names = |of: &[usize]| of.iter().map(|at| ids[*at].clone()).collect::<Vec<String>>();
    bucket.each_file(pace, &mut |file| {
        if let Some((reference, of)) = wanted.remove(file.path.as_str())
            && let Some((kind, detail)) = differs(reference, &file)
        {
            wrong.push(WrongFile { path: file.path, kind, detail, snapshots: names(&of) });
        }
        Ok(())
    })?;
    let now_ms = now_ms();
    let mut replaced = Vec::new();
    for (path, (_, of)) in wanted {
        let is_young = |at: &usize| moments[*at].saturating_add(REPLACED_GRACE_MS) > now_ms;
        let (young, old): (Vec<usize>, Vec<usize>) = of.into_iter().partition(is_young);
        replaced.extend(old.into_iter().map(|at| (at, path)));
        if !young.is_empty() {
            let (path, detail, snapshots) = (path.to_owned(), GONE.to_owned(), names(&young));
            wrong.push(WrongFile { path, kind: FaultKind::Missing, detail, snapshots });
        }
    }
    wrong.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    replaced.sort_unstable();
    for (at, path) in replaced {
        let InPlace { gone, gone_paths, .. } = &mut snapshots[at];
        *gone += 1;
        if gone_paths.len() < limits::MISSING_TOLD_MAX {
            gone_paths.push(path.to_owned());
        }
    }
    Ok((snapshots, wrong))
}

/// Copies go where no other lake is: what lies there is of this snapshot, put there by a restore that was stopped.
pub(crate) fn require_own(lake: &LakeCopy, bucket: &LakeBucket, pace: &mut Pace) -> Result<(), BackupError> {
    pace.phase("bucket", 0);
    let own: HashSet<&str> = lake.files.iter().map(|file| file.path.as_str()).collect();
    bucket.each_file(pace, &mut |file| {
        if file.at_home && own.contains(file.path.as_str()) {
            return Ok(());
        }
        Err(BackupError::BucketOccupied { address: bucket.address().to_owned(), path: file.path })
    })
}

/// A file of a copy that is not in the bucket, if any is.
pub(crate) fn absent(
    lake: &LakeCopy,
    bucket: &LakeBucket,
    pace: &mut Pace,
) -> Result<Option<String>, BackupError> {
    let mut left: HashMap<&str, u64> =
        lake.files.iter().map(|file| (file.path.as_str(), file.bytes)).collect();
    bucket.each_file(pace, &mut |file| {
        if file.at_home && left.get(file.path.as_str()) == Some(&file.bytes) {
            left.remove(file.path.as_str());
        }
        Ok(())
    })?;
    Ok(left.into_keys().min().map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_size_and_by_its_etag_where_it_was() {
        let etag = |text: &str| Some(text.to_owned());
        let named = LakeReference { path: "fresh/a".into(), crc32c: 1, bytes: 9, etag: etag("x") };
        let file = BucketFile { path: "fresh/a".into(), at_home: true, bytes: 9, etag: etag("x") };
        let kind = |named: &LakeReference, file: &BucketFile| differs(named, file).map(|(kind, _)| kind);
        assert_eq!(kind(&named, &file), None);
        assert_eq!(kind(&named, &BucketFile { bytes: 8, ..file.clone() }), Some(FaultKind::Truncated));
        assert_eq!(kind(&named, &BucketFile { bytes: 10, ..file.clone() }), Some(FaultKind::Changed));
        assert_eq!(kind(&named, &BucketFile { etag: etag("y"), ..file.clone() }), Some(FaultKind::Changed));
        let moved = BucketFile { etag: etag("y"), at_home: false, ..file.clone() };
        assert_eq!(kind(&named, &moved), None, "a copy may have another");
        assert_eq!(kind(&LakeReference { etag: None, ..named }, &file), None);
    }
}
