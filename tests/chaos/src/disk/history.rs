//! What a power cut leaves: a pure function of the tree at the last cut, the log since, and a choice.
//!
//! The rules are those that POSIX gives, and no more than they give:
//!
//! - A file's bytes and size are durable up to its last sync. What was written since may be there in part: every page
//!   (or sector) comes back as it was at *some* moment since that sync, and so does the size.
//! - A name is durable once its own folder was synced: syncing a file does not make its name durable, and syncing a
//!   folder does not make the folder's own name durable. Each folder comes back as it was at some moment since.
//! - A rename is one step: it happened or did not, as the folder it goes to remembers.

use std::collections::{BTreeMap, HashMap};

use super::DiskError;
use super::records::{Change, Record};
use super::tree::{Entry, Found, Tree};

/// How much of what was not synced survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Survival {
    /// Nothing.
    Nothing,
    /// All of it: a cut after a write-back that nobody asked for.
    Everything,
    /// Everything before one moment, as an ordered journal would have it.
    OneMoment,
    /// Each file and folder as it was at a moment of its own.
    MomentPerFile,
    /// Each page of 4 KiB as it was at a moment of its own.
    MomentPerPage,
    /// Each sector of 512 bytes as it was at a moment of its own: torn pages.
    MomentPerSector,
}

/// All of them.
pub const SURVIVALS: [Survival; 6] = [
    Survival::Nothing,
    Survival::Everything,
    Survival::OneMoment,
    Survival::MomentPerFile,
    Survival::MomentPerPage,
    Survival::MomentPerSector,
];

type Id = usize;
const ROOT: Id = 0;

#[derive(Debug)]
enum Content<'a> {
    Write { offset: u64, data: &'a [u8] },
    Size(u64),
}

#[derive(Debug)]
enum Object<'a> {
    File { base: &'a [u8], changes: Vec<(u64, Content<'a>)>, synced: u64 },
    Folder { base: BTreeMap<String, Id>, live: BTreeMap<String, Id>, synced: u64 },
}

#[derive(Debug)]
enum Name {
    Put { folder: Id, name: String, object: Id },
    Take { folder: Id, name: String, object: Id },
    Move { from: (Id, String), to: (Id, String), object: Id },
}

/// Everything that happened to a tree since it was last known to be durable.
#[derive(Debug)]
pub(crate) struct History<'a> {
    objects: Vec<Object<'a>>,
    names: Vec<(u64, Name)>,
    end: u64,
}

fn unexplained(record: &Record<'_>, why: &str) -> DiskError {
    DiskError::NotSeen(format!("{why}: {:?} at {}", kind(&record.change), record.at))
}

fn kind(change: &Change<'_>) -> String {
    match change {
        Change::Write { inode, offset, data } => {
            format!("write of {} bytes at {offset} of inode {inode}", data.len())
        }
        other => format!("{other:?}"),
    }
}

impl<'a> History<'a> {
    pub fn play(base: &'a Found, records: &[Record<'a>]) -> Result<Self, DiskError> {
        let folder = || Object::Folder { base: BTreeMap::new(), live: BTreeMap::new(), synced: 0 };
        let mut history = Self { objects: vec![folder()], names: Vec::new(), end: 0 };
        let mut by_inode: HashMap<u64, Id> = HashMap::new();
        by_inode.extend(base.inodes.get("").map(|inode| (*inode, ROOT)));
        for (path, entry) in &base.tree {
            let object = match entry {
                Entry::Folder => folder(),
                Entry::File(bytes) => Object::File { base: bytes, changes: Vec::new(), synced: 0 },
            };
            // Two names of one file are two files here: nothing of ours writes to a file under its second name.
            let id = history.add(object);
            by_inode.extend(base.inodes.get(path).map(|inode| (*inode, id)));
            let (parent, name) = history.parent(path).ok_or_else(|| DiskError::NotSeen(path.clone()))?;
            if let Object::Folder { base, live, .. } = &mut history.objects[parent] {
                base.insert(name.clone(), id);
                live.insert(name, id);
            }
        }
        for record in records {
            history.record(record, &mut by_inode)?;
        }
        Ok(history)
    }

    fn add(&mut self, object: Object<'a>) -> Id {
        self.objects.push(object);
        self.objects.len() - 1
    }

    fn live(&self, folder: Id) -> Option<&BTreeMap<String, Id>> {
        match self.objects.get(folder) {
            Some(Object::Folder { live, .. }) => Some(live),
            _ => None,
        }
    }

    fn parent(&self, path: &str) -> Option<(Id, String)> {
        let mut at = ROOT;
        let mut steps = path.split('/').peekable();
        while let Some(step) = steps.next() {
            if steps.peek().is_none() {
                return Some((at, step.to_owned()));
            }
            at = *self.live(at)?.get(step)?;
        }
        None
    }

    fn find(&self, path: &str) -> Option<(Id, String, Id)> {
        let (folder, name) = self.parent(path)?;
        let id = *self.live(folder)?.get(&name)?;
        Some((folder, name, id))
    }

    fn set(&mut self, folder: Id, name: &str, object: Option<Id>) {
        if let Some(Object::Folder { live, .. }) = self.objects.get_mut(folder) {
            match object {
                Some(id) => live.insert(name.to_owned(), id),
                None => live.remove(name),
            };
        }
    }

    fn record(&mut self, record: &Record<'a>, by_inode: &mut HashMap<u64, Id>) -> Result<(), DiskError> {
        self.end = record.at + 1;
        let unknown = || unexplained(record, "its file or folder is not known");
        // A socket is made by `bind`, which is not recorded, and gone with its process.
        if let Change::Unlink { path } = record.change
            && path.ends_with(".sock")
        {
            return Ok(());
        }
        match record.change {
            Change::Create { path, inode } | Change::Mkdir { path, inode } => {
                let (folder, name) = self.parent(path).ok_or_else(unknown)?;
                let is_file = matches!(record.change, Change::Create { .. });
                let object = self.add(if is_file {
                    Object::File { base: &[], changes: Vec::new(), synced: 0 }
                } else {
                    Object::Folder { base: BTreeMap::new(), live: BTreeMap::new(), synced: 0 }
                });
                by_inode.insert(inode, object);
                self.set(folder, &name, Some(object));
                self.names.push((record.at, Name::Put { folder, name, object }));
            }
            Change::Link { from, to } => {
                let (_, _, object) = self.find(from).ok_or_else(unknown)?;
                let (folder, name) = self.parent(to).ok_or_else(unknown)?;
                self.set(folder, &name, Some(object));
                self.names.push((record.at, Name::Put { folder, name, object }));
            }
            Change::Unlink { path } | Change::Rmdir { path } => {
                let (folder, name, object) = self.find(path).ok_or_else(unknown)?;
                self.set(folder, &name, None);
                self.names.push((record.at, Name::Take { folder, name, object }));
            }
            Change::Rename { from, to } => {
                let (from_folder, from_name, object) = self.find(from).ok_or_else(unknown)?;
                let (to_folder, to_name) = self.parent(to).ok_or_else(unknown)?;
                self.set(from_folder, &from_name, None);
                self.set(to_folder, &to_name, Some(object));
                let (from, to) = ((from_folder, from_name), (to_folder, to_name));
                self.names.push((record.at, Name::Move { from, to, object }));
            }
            Change::Write { inode, offset, data } => {
                self.change(
                    *by_inode.get(&inode).ok_or_else(unknown)?,
                    record.at,
                    Content::Write { offset, data },
                );
            }
            Change::Truncate { inode, size } => {
                self.change(*by_inode.get(&inode).ok_or_else(unknown)?, record.at, Content::Size(size));
            }
            Change::Sync { inode, covers } => {
                let id = *by_inode.get(&inode).ok_or_else(unknown)?;
                if let Some(Object::File { synced, .. } | Object::Folder { synced, .. }) =
                    self.objects.get_mut(id)
                {
                    *synced = covers.max(*synced);
                }
            }
        }
        Ok(())
    }

    fn change(&mut self, object: Id, at: u64, content: Content<'a>) {
        if let Some(Object::File { changes, .. }) = self.objects.get_mut(object) {
            changes.push((at, content));
        }
    }

    /// The tree as running processes saw it.
    pub fn whole(&self) -> Tree {
        self.survivors(Survival::Everything, 0)
    }

    /// What a power cut leaves.
    pub fn survivors(&self, survival: Survival, seed: u64) -> Tree {
        let choice = Choice { survival, seed, end: self.end };
        let mut folders: Vec<Option<BTreeMap<String, Id>>> = self
            .objects
            .iter()
            .map(|object| match object {
                Object::Folder { base, .. } => Some(base.clone()),
                Object::File { .. } => None,
            })
            .collect();
        for (at, name) in &self.names {
            let remembers = match name {
                Name::Put { folder, .. } | Name::Take { folder, .. } => *folder,
                Name::Move { to, .. } => to.0,
            };
            if *at >= self.names_until(remembers, &choice) {
                continue;
            }
            let mut set = |folder: Id, name: &String, was: Option<Id>, object: Option<Id>| {
                if let Some(Some(entries)) = folders.get_mut(folder) {
                    match object {
                        Some(id) => drop(entries.insert(name.clone(), id)),
                        None if entries.get(name).copied() == was => drop(entries.remove(name)),
                        None => {}
                    }
                }
            };
            match name {
                Name::Put { folder, name, object } => set(*folder, name, None, Some(*object)),
                Name::Take { folder, name, object } => set(*folder, name, Some(*object), None),
                Name::Move { from, to, object } => {
                    set(from.0, &from.1, Some(*object), None);
                    set(to.0, &to.1, None, Some(*object));
                }
            }
        }
        let mut tree = Tree::new();
        self.collect(ROOT, "", &folders, &choice, &mut tree);
        tree
    }

    fn names_until(&self, folder: Id, choice: &Choice) -> u64 {
        let Object::Folder { synced, .. } = &self.objects[folder] else { return 0 };
        let of_folder = self.names.iter().filter(|(at, name)| {
            at >= synced
                && match name {
                    Name::Put { folder: f, .. } | Name::Take { folder: f, .. } => *f == folder,
                    Name::Move { to, .. } => to.0 == folder,
                }
        });
        let moments: Vec<u64> = of_folder.map(|(at, _)| *at).collect();
        choice.until(*synced, &moments, (folder, u64::MAX))
    }

    fn collect(
        &self,
        folder: Id,
        below: &str,
        folders: &[Option<BTreeMap<String, Id>>],
        choice: &Choice,
        tree: &mut Tree,
    ) {
        for (name, id) in folders[folder].iter().flatten() {
            let path = if below.is_empty() { name.clone() } else { format!("{below}/{name}") };
            match &self.objects[*id] {
                Object::Folder { .. } => {
                    tree.insert(path.clone(), Entry::Folder);
                    self.collect(*id, &path, folders, choice, tree);
                }
                Object::File { base, changes, synced } => {
                    tree.insert(path, Entry::File(content(base, changes, *synced, *id, choice)));
                }
            }
        }
    }
}

/// A file after the cut.
fn content(base: &[u8], changes: &[(u64, Content<'_>)], synced: u64, id: Id, choice: &Choice) -> Vec<u8> {
    let mut bytes = base.to_vec();
    let moments: Vec<u64> = changes.iter().map(|(at, _)| *at).filter(|at| *at >= synced).collect();
    let size_until = choice.until(synced, &moments, (id, u64::MAX));
    let unit = choice.unit();
    let mut size = bytes.len() as u64;
    for (at, change) in changes {
        let (from, to, grown) = match change {
            Content::Write { offset, data } => {
                let end = offset + data.len() as u64;
                (*offset, end, size.max(end))
            }
            Content::Size(new) => (*new, (bytes.len() as u64).max(*new), *new),
        };
        if *at < size_until {
            size = grown;
        }
        if to > bytes.len() as u64 {
            bytes.resize(to as usize, 0);
        }
        let mut start = from;
        while start < to {
            let stop =
                if *at < synced { to } else { to.min((start / unit).saturating_add(1).saturating_mul(unit)) };
            if *at < synced || *at < choice.until(synced, &moments, (id, start / unit)) {
                let (start, stop) = (start as usize, stop as usize);
                match change {
                    Content::Write { data, .. } => {
                        bytes[start..stop]
                            .copy_from_slice(&data[start - from as usize..stop - from as usize]);
                    }
                    Content::Size(_) => bytes[start..stop].fill(0),
                }
            }
            start = stop;
        }
    }
    bytes.resize(size as usize, 0);
    bytes
}

/// How far before the end of the log its one moment may lie, bytes.
const ONE_MOMENT_BYTES: u64 = 64 * 1_024;

struct Choice {
    survival: Survival,
    seed: u64,
    end: u64,
}

impl Choice {
    fn unit(&self) -> u64 {
        match self.survival {
            Survival::MomentPerPage => 4_096,
            Survival::MomentPerSector => 512,
            _ => u64::MAX,
        }
    }

    /// What stands in the log before the answer survives, of the part (a page of a file, or all of it) that is named.
    /// `moments` are the changes since `synced`.
    fn until(&self, synced: u64, moments: &[u64], (id, part): (Id, u64)) -> u64 {
        let salt = match self.survival {
            Survival::Nothing => return synced,
            Survival::Everything => return u64::MAX,
            // Near the end: what is older was synced anyway.
            Survival::OneMoment => {
                return synced.max(self.end.saturating_sub(mix(self.seed) % ONE_MOMENT_BYTES));
            }
            Survival::MomentPerFile => id as u64,
            Survival::MomentPerPage | Survival::MomentPerSector => mix(id as u64) ^ part,
        };
        let n = (mix(self.seed ^ mix(salt)) % (moments.len() as u64 + 1)) as usize;
        moments.get(n).copied().unwrap_or(u64::MAX).max(synced)
    }
}

/// splitmix64: spreads what is chosen by a seed.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
