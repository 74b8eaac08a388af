//! A folder with everything in it, in memory.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::DiskError;

/// A file or a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    File(Vec<u8>),
    Folder,
}

/// Paths below a folder, relative to it, each with what stands there. A folder comes before what is in it.
pub(crate) type Tree = BTreeMap<String, Entry>;

/// A tree as it was found.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub tree: Tree,
    /// Inodes of the paths; that of the folder itself is at "".
    pub inodes: BTreeMap<String, u64>,
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> DiskError {
    move |source| DiskError::Io { operation, source }
}

/// Reads a folder.
pub(crate) fn scan(root: &Path) -> Result<Found, DiskError> {
    let mut found = Found::default();
    let own = fs::metadata(root).map_err(io("looking at a folder"))?;
    found.inodes.insert(String::new(), own.ino());
    into(root, "", &mut found).map_err(io("reading a folder"))?;
    Ok(found)
}

fn into(folder: &Path, below: &str, found: &mut Found) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        let path = if below.is_empty() { name.into_owned() } else { format!("{below}/{name}") };
        let meta = entry.metadata()?;
        if !meta.is_dir() && !meta.is_file() {
            // A socket is gone with its process.
            continue;
        }
        found.inodes.insert(path.clone(), meta.ino());
        if meta.is_dir() {
            found.tree.insert(path.clone(), Entry::Folder);
            into(&entry.path(), &path, found)?;
        } else {
            found.tree.insert(path, Entry::File(fs::read(entry.path())?));
        }
    }
    Ok(())
}

/// Makes a folder hold exactly this.
pub(crate) fn write(root: &Path, tree: &Tree) -> Result<(), DiskError> {
    let all = || {
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        for (path, entry) in tree {
            match entry {
                Entry::Folder => fs::create_dir(root.join(path))?,
                Entry::File(bytes) => fs::write(root.join(path), bytes)?,
            }
        }
        Ok(())
    };
    all().map_err(io("writing a folder"))
}

/// Where two trees differ, in words.
pub(crate) fn difference(expected: &Tree, found: &Tree) -> Option<String> {
    for (path, entry) in expected {
        match (entry, found.get(path)) {
            (_, None) => return Some(format!("{path} is recorded and not there")),
            (Entry::File(a), Some(Entry::File(b))) if a != b => {
                let at = a.iter().zip(b).position(|(x, y)| x != y).unwrap_or(a.len().min(b.len()));
                return Some(format!(
                    "{path} differs at byte {at} ({} recorded, {} there)",
                    a.len(),
                    b.len()
                ));
            }
            (a, Some(b)) if std::mem::discriminant(a) != std::mem::discriminant(b) => {
                return Some(format!("{path} is a file and a folder"));
            }
            _ => {}
        }
    }
    found
        .keys()
        .find(|path| !expected.contains_key(*path))
        .map(|path| format!("{path} is there and not recorded"))
}
