//! A disk that can lose power: a folder whose changes are recorded by a preloaded layer, and rolled back to what a
//! power cut would leave.

mod control;
mod history;
mod records;
mod tree;

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

pub use control::{Fault, FaultKind};
pub use history::{SURVIVALS, Survival};

use control::Control;
use history::History;
use records::{Change, Contents, Log};
use tree::{Entry, Found};

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The real disk.
    #[error("{operation} failed: {source}")]
    Io {
        /// Doing what.
        operation: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No C compiler, or it refuses the layer.
    #[error("the preloaded layer cannot be compiled with cc: {0}; install a C compiler")]
    Compiler(String),
    /// A record makes no sense.
    #[error("the log of a disk has no record at byte {at}")]
    Log {
        /// Where.
        at: u64,
    },
    /// The log does not explain the folder: a way of writing is not intercepted, and nothing can be concluded.
    #[error("a change below the disk's folder was not seen by the preloaded layer: {0}")]
    NotSeen(String),
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> DiskError {
    move |source| DiskError::Io { operation, source }
}

/// The compiled layer.
#[derive(Debug, Clone)]
pub struct Layer(PathBuf);

impl Layer {
    /// Compiles it into a folder.
    ///
    /// # Errors
    /// When there is no C compiler.
    pub fn compile(folder: &Path) -> Result<Self, DiskError> {
        let (source, library) = (folder.join("preload.c"), folder.join("libchaosdisk.so"));
        fs::write(&source, include_str!("preload.c")).map_err(io("writing the layer's source"))?;
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o"])
            .args([&library, &source])
            .args(["-ldl", "-lpthread"])
            .output()
            .map_err(|e| DiskError::Compiler(e.to_string()))?;
        if compiled.status.success() {
            Ok(Self(library))
        } else {
            Err(DiskError::Compiler(String::from_utf8_lossy(&compiled.stderr).into_owned()))
        }
    }
}

/// One disk. At most one process at a time writes to it.
#[derive(Debug)]
pub struct Disk {
    layer: Layer,
    root: PathBuf,
    log_path: PathBuf,
    control_path: PathBuf,
    log: Log,
    control: Control,
    /// The tree when it was last known to be durable.
    base: Found,
    /// Part of a path whose syncs are lies.
    lie: Option<String>,
}

impl Disk {
    /// A disk at `root`; what is there already counts as durable. Its log and faults are kept in `beside`.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn new(layer: &Layer, root: &Path, beside: &Path) -> Result<Self, DiskError> {
        fs::create_dir_all(root).map_err(io("making a disk's folder"))?;
        fs::create_dir_all(beside).map_err(io("making the folder of a disk's log"))?;
        let root = root.canonicalize().map_err(io("finding a disk's folder"))?;
        let (log_path, control_path) = (beside.join("log"), beside.join("control"));
        let shared = |path: &Path| -> Result<File, DiskError> {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(true);
            options.open(path).map_err(io("making a shared file"))
        };
        let log = Log::new(shared(&log_path)?)?;
        let control = Control::new(shared(&control_path)?).map_err(io("writing a shared file"))?;
        let base = tree::scan(&root)?;
        Ok(Self { layer: layer.clone(), root, log_path, control_path, log, control, base, lie: None })
    }

    /// From the next start on, syncs of files whose path contains `part` are answered and not done.
    pub fn lie_about(&mut self, part: &str) {
        self.lie = Some(part.to_owned());
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// What a process on this disk has in its environment.
    pub fn environment(&self) -> Vec<(String, String)> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut all = vec![
            ("LD_PRELOAD".to_owned(), text(&self.layer.0)),
            ("REMUDA_CHAOS_ROOT".to_owned(), text(&self.root)),
            ("REMUDA_CHAOS_LOG".to_owned(), text(&self.log_path)),
            ("REMUDA_CHAOS_CONTROL".to_owned(), text(&self.control_path)),
        ];
        all.extend(self.lie.clone().map(|lie| ("REMUDA_CHAOS_LIE".to_owned(), lie)));
        all
    }

    /// Sets a fault; it holds until it is lifted, over restarts too.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn set(&self, fault: &Fault) -> Result<(), DiskError> {
        self.control.set(fault).map_err(io("setting a fault"))
    }

    /// No more faults, but for the clock, which stays where it is.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn heal(&self) -> Result<(), DiskError> {
        self.control.heal().map_err(io("lifting a fault"))
    }

    /// Moves the wall clock of its process, ns against the true one.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn shift_clock(&self, by_ns: i64) -> Result<(), DiskError> {
        self.control.shift_clock(by_ns).map_err(io("moving a clock"))
    }

    /// How often a fault was met.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn faults_met(&self) -> Result<u64, DiskError> {
        self.control.met().map_err(io("reading a control file"))
    }

    /// After a kill -9 and before the next start: what the kill interrupted was done or not.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn settle(&self) -> Result<(), DiskError> {
        let contents = self.log.read()?;
        let Some(record) = contents.in_flight()? else { return Ok(()) };
        let found = tree::scan(&self.root)?;
        let inode = |path: &str| found.inodes.get(path).copied();
        let kept = match record.change {
            Change::Create { path, .. } | Change::Mkdir { path, .. } => {
                inode(path).map(|inode| (inode, None))
            }
            Change::Link { from, to } => inode(to).filter(|to| inode(from) == Some(*to)).map(|i| (i, None)),
            Change::Unlink { path } | Change::Rmdir { path } => inode(path).is_none().then_some((0, None)),
            Change::Rename { from, to } => inode(to).filter(|_| inode(from).is_none()).map(|i| (i, None)),
            Change::Write { inode, offset, data } => file_of(&found, inode).map(|bytes| {
                let from = bytes.len().min(offset as usize);
                (inode, Some(bytes[from..bytes.len().min(offset as usize + data.len())].to_vec()))
            }),
            Change::Truncate { inode, size } => {
                file_of(&found, inode).filter(|bytes| bytes.len() as u64 == size).map(|_| (inode, None))
            }
            Change::Sync { .. } => None,
        };
        self.log.settle(&contents, kept)
    }

    /// After a kill -9: takes away what a power cut would, chosen by `survival` and `seed`. Checks first that the log
    /// explains the folder whole.
    ///
    /// # Errors
    /// When it does not, or the real disk fails.
    pub fn cut_power(&mut self, survival: Survival, seed: u64) -> Result<(), DiskError> {
        self.settle()?;
        let contents = self.log.read()?;
        let left = self.left(&contents, survival, seed)?;
        tree::write(&self.root, &left)?;
        self.begin_anew()
    }

    fn left(&self, contents: &Contents, survival: Survival, seed: u64) -> Result<tree::Tree, DiskError> {
        let records = contents.records()?;
        let history = History::play(&self.base, &records)?;
        let now = tree::scan(&self.root)?;
        if let Some(what) = tree::difference(&history.whole(), &now.tree) {
            return Err(DiskError::NotSeen(what));
        }
        Ok(history.survivors(survival, seed))
    }

    /// Everything that is there counts as durable from now on.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn begin_anew(&mut self) -> Result<(), DiskError> {
        self.log.clear()?;
        self.base = tree::scan(&self.root)?;
        Ok(())
    }

    /// A copy of the folder as its process sees it.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn copy_to(&self, folder: &Path) -> Result<(), DiskError> {
        fs::create_dir_all(folder).map_err(io("making the folder of a copy"))?;
        tree::write(folder, &tree::scan(&self.root)?.tree)
    }

    /// Puts an earlier copy in place of what is there.
    ///
    /// # Errors
    /// When the real disk fails.
    pub fn restore(&mut self, copy: &Path) -> Result<(), DiskError> {
        tree::write(&self.root, &tree::scan(copy)?.tree)?;
        self.begin_anew()
    }
}

fn file_of(found: &Found, inode: u64) -> Option<&Vec<u8>> {
    let (path, _) = found.inodes.iter().find(|(_, of_path)| **of_path == inode)?;
    match found.tree.get(path)? {
        Entry::File(bytes) => Some(bytes),
        Entry::Folder => None,
    }
}
