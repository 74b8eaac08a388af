//! Folders whose names survive a power cut: a name is durable only once the folder it stands in was synced.

use std::fs::{self, File};
use std::io;
use std::path::Path;

/// The folder that a path stands in; the parent of a bare name is the empty path, which cannot be opened.
pub(crate) fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."))
}

/// Makes the names in a folder durable.
///
/// # Errors
/// When the disk says no.
pub fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder, with those it stands in, and makes its name durable. One that is there may have been made by a
/// process that was killed before it synced, so its name is synced too.
///
/// # Errors
/// When it cannot be made or synced.
pub fn make_durable(folder: &Path) -> io::Result<()> {
    let missing: Vec<&Path> =
        folder.ancestors().take_while(|p| !p.as_os_str().is_empty() && !p.exists()).collect();
    for folder in missing.into_iter().rev() {
        match fs::create_dir(folder) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => sync(parent_of(folder))?,
        }
    }
    sync(parent_of(folder))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_made_as_deep_as_wanted_and_again_without_harm() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let deep = folder.path().join("a/b/c");
        make_durable(&deep).expect("made");
        make_durable(&deep).expect("there already");
        assert!(deep.is_dir());
        fs::write(folder.path().join("file"), b"").expect("written");
        assert!(make_durable(&folder.path().join("file/d")).is_err());
    }
}
