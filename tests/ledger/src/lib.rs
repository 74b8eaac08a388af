//! The ledger: counts every frame from what is on disk (docs/uplink.md section 9).
//!
//! Owns: the books (pure counting) and the reading of outboxes, lake and journal. It is the one judge of the demo, the
//! kill tests and the benches. Deliberately absent: counters of running processes; they may lie, disks do not.

pub mod books;
mod cloud;
mod expiry;
mod ranges;
mod vehicles;

use std::path::{Path, PathBuf};

use remuda_eventsourcing::JournalError;
use remuda_lake::{LakeError, Row};

pub use books::{Books, Expired, Ledger, Stream};

/// A node that was lost and restored from a backup.
#[derive(Debug, Clone)]
pub struct LostNode {
    /// Its data folder as it was when it was lost.
    pub cloud: PathBuf,
    /// The vehicles' outboxes as they were when that backup was begun: it holds what they had let go of by then.
    pub outboxes: PathBuf,
}

/// Disks that are counted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Disks<'a> {
    /// Data folders of stopped agents or simulators.
    pub outboxes: &'a [PathBuf],
    /// Outboxes that were destroyed on purpose, as they were at their end: what they held and the cloud does not have died
    /// with them, and counts as shed.
    pub destroyed: &'a [PathBuf],
    /// Nodes in whose place the cloud's was restored: what they had and vehicles had let go of since the backup was begun
    /// counts as lost with them.
    pub lost: &'a [LostNode],
}

/// Why the disks could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The cloud's journal.
    #[error("the journal cannot be read: {0}; stop the node first")]
    Journal(#[from] JournalError),
    /// The cloud's lake.
    #[error("the lake cannot be read: {0}")]
    Lake(#[from] LakeError),
    /// A vehicle's outbox.
    #[error("the outbox in {folder} cannot be read: {reason}")]
    Outbox {
        /// Where it is.
        folder: PathBuf,
        /// Why not.
        reason: String,
    },
    /// The system has no thread left.
    #[error("the ledger's runtime could not start: {0}")]
    Runtime(#[from] std::io::Error),
}

/// Counts a stopped cloud's data folder against the outboxes of stopped vehicles.
///
/// # Errors
/// When a disk cannot be read.
pub async fn count(cloud: &Path, outboxes: &[PathBuf]) -> Result<Ledger, LedgerError> {
    count_disks(cloud, Disks { outboxes, ..Disks::default() }).await
}

/// [`count`], where disks were destroyed on purpose.
///
/// # Errors
/// When a disk cannot be read.
pub async fn count_disks(cloud: &Path, disks: Disks<'_>) -> Result<Ledger, LedgerError> {
    let mut books = Books::default();
    for folder in disks.outboxes {
        vehicles::enter(&mut books, folder, vehicles::Fate::Alive)?;
    }
    for folder in disks.destroyed {
        vehicles::enter(&mut books, folder, vehicles::Fate::Destroyed)?;
    }
    for node in disks.lost {
        vehicles::enter_backup(&mut books, &node.outboxes)?;
        cloud::CloudDisk::open(&node.cloud).await?.enter_lost(&mut books).await?;
    }
    let disk = cloud::CloudDisk::open(cloud).await?;
    let decisions = disk.enter(&mut books).await?;
    let mut ledger = books.balance();
    decisions.compare(&mut ledger);
    Ok(ledger)
}

/// [`count`] for callers without a runtime.
///
/// # Errors
/// When a disk cannot be read.
pub fn count_blocking(cloud: &Path, outboxes: &[PathBuf]) -> Result<Ledger, LedgerError> {
    runtime()?.block_on(count(cloud, outboxes))
}

/// [`count_disks`] for callers without a runtime.
///
/// # Errors
/// When a disk cannot be read.
pub fn count_disks_blocking(cloud: &Path, disks: Disks<'_>) -> Result<Ledger, LedgerError> {
    runtime()?.block_on(count_disks(cloud, disks))
}

/// Every committed row of a stopped cloud, for tests that look at values.
///
/// # Errors
/// When the disk cannot be read.
pub fn for_each_row(cloud: &Path, each: impl FnMut(&Row) + Send) -> Result<(), LedgerError> {
    runtime()?.block_on(async { cloud::CloudDisk::open(cloud).await?.for_each_row(each).await })
}

fn runtime() -> Result<tokio::runtime::Runtime, LedgerError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}
