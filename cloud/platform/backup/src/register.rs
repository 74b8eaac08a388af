//! The register is not set back with the journal (docs/adr/0010): what was refused since stays refused.

use std::fs;
use std::path::Path;

use remuda_identity::{Register, Who};
use serde::Serialize;

use crate::error::BackupError;
use crate::index::{FilesCopy, Index};
use crate::repository::{Repository, replace};

/// The register's file in its folder.
pub(crate) const FILE: &str = "register.jsonl";

/// What became of a newer register.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterSource {
    /// The snapshot's own.
    Snapshot,
    /// That of a newer snapshot of the same authority.
    NewerSnapshot(String),
}

/// What a register that survived elsewhere added.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum RegisterMerge {
    /// It goes on where the backup's ends, so it was taken whole: so many bytes more.
    Continued(u64),
    /// It is another's, so only what it refuses was taken over: so many vehicles.
    Refusals(u64),
    /// The backup's is the newer one.
    Nothing,
}

/// The newest copy of each folder of small files, of this snapshot and of newer ones of the same authority: neither a
/// refusal nor a tombstone is forgotten with a journal that is set back. Each with the index that it is from.
pub(crate) fn newest(
    repository: &Repository,
    index: &Index,
) -> Result<Vec<(Index, FilesCopy, RegisterSource)>, BackupError> {
    let authority = |index: &Index| index.files.iter().find_map(|files| files.authority.clone());
    let whose = authority(index);
    let mut found: Vec<(Index, FilesCopy, RegisterSource)> = Vec::new();
    let mut take = |index: &Index, source: &RegisterSource| {
        for copy in &index.files {
            if !found.iter().any(|(_, known, _)| known.name == copy.name) {
                found.push((index.clone(), copy.clone(), source.clone()));
            }
        }
    };
    for id in repository.snapshots()?.into_iter().rev().take_while(|id| *id > index.id) {
        // One that is damaged has no say; `verify` tells of it.
        let Ok(newer) = repository.index(&id) else { continue };
        if whose.is_some() && authority(&newer) == whose {
            // Without its lists, which may be long.
            let newer = Index { journals: Vec::new(), lake: None, ..newer };
            take(&newer, &RegisterSource::NewerSnapshot(id));
        }
    }
    take(&Index { journals: Vec::new(), lake: None, ..index.clone() }, &RegisterSource::Snapshot);
    Ok(found)
}

/// Adds what a register that survived knows beyond the one in `folder`.
pub(crate) fn merge(folder: &Path, survivor: &Path, now_ms: i64) -> Result<RegisterMerge, BackupError> {
    let path = folder.join(FILE);
    let ours = whole_lines(fs::read(&path).map_err(BackupError::file(&path, "read"))?);
    let theirs = whole_lines(fs::read(survivor).map_err(BackupError::file(survivor, "read"))?);
    if ours.starts_with(&theirs) {
        return Ok(RegisterMerge::Nothing);
    }
    let aside = tempfile::tempdir().map_err(BackupError::file(survivor, "copied"))?;
    let copied = aside.path().join(FILE);
    fs::write(&copied, &theirs).map_err(BackupError::file(&copied, "written"))?;
    // Read before anything is believed: it may be damaged.
    let survivor = Register::open(aside.path())?;
    if theirs.starts_with(&ours) {
        replace(&path, &theirs).map_err(BackupError::file(&path, "written"))?;
        return Ok(RegisterMerge::Continued((theirs.len() - ours.len()) as u64));
    }
    let register = Register::open(folder)?;
    let mut refused = 0;
    for (identity, revocation) in survivor.revoked() {
        let known = register.get(identity.organization, identity.vehicle);
        if known.is_some_and(|vehicle| vehicle.revocation.is_none()) {
            let who = Who { by: format!("remuda restore, after {}", revocation.who.by), at_ms: now_ms };
            let reason = &revocation.reason;
            register.revoke(identity.organization, identity.vehicle, reason, &shortened(who))?;
            refused += 1;
        }
    }
    Ok(RegisterMerge::Refusals(refused))
}

/// The register takes names of at most 200 bytes.
fn shortened(mut who: Who) -> Who {
    while who.by.len() > 200 {
        who.by.pop();
    }
    who
}

/// Without a line that was being written.
fn whole_lines(mut bytes: Vec<u8>) -> Vec<u8> {
    let end = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    bytes.truncate(end);
    bytes
}
