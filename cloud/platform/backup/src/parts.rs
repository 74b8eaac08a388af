//! What a node consists of, for whoever backs it up: a list to which another part is one more line.

use std::path::PathBuf;
use std::sync::Arc;

use remuda_eventsourcing::CopySource;

use crate::bucket::LakeBucket;

/// A journal.
#[derive(Clone)]
pub struct JournalPart {
    /// Its folder below the data folder.
    pub name: &'static str,
    /// It, open.
    pub source: Arc<dyn CopySource>,
}

/// The lake: the files of a manifest.
#[derive(Clone)]
pub struct LakePart {
    /// Its folder below the data folder.
    pub name: &'static str,
    /// The journal that holds the manifest.
    pub journal: &'static str,
    /// Where the files are.
    pub place: LakePlace,
}

/// Where the files of a lake are.
#[derive(Clone)]
pub enum LakePlace {
    /// In a folder.
    Folder(PathBuf),
    /// In a bucket.
    Bucket(LakeBucket),
}

/// A folder of small files, such as keys. Files that are only appended to, or replaced as a whole, may be written meanwhile.
#[derive(Clone)]
pub struct FilesPart {
    /// The folder below the data folder.
    pub name: &'static str,
    /// Where it is.
    pub folder: PathBuf,
}

/// A node.
#[derive(Clone)]
pub struct Parts {
    /// All of them are copied as of one moment.
    pub journals: Vec<JournalPart>,
    /// Its files as of that moment.
    pub lake: Option<LakePart>,
    /// After that moment: a register is never older than the journal beside it.
    pub files: Vec<FilesPart>,
    /// A folder for what the journals' writers note meanwhile, made and removed again. On the journals' own disk: they must
    /// not wait for the disk of the backups.
    pub spool: PathBuf,
}
