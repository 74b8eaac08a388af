//! Files that are followed: what was made out of them is made anew when one of them changes.

use std::fmt::Display;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

/// What tells that a file is another one: when its contents, owner or permissions changed last (seconds and nanoseconds), its inode,
/// and its length. None: it cannot be looked at.
type Stamp = Option<(i64, i64, u64, u64)>;

/// What is made out of files, until one of them changes.
#[derive(Debug)]
pub struct Followed<T> {
    files: Vec<PathBuf>,
    /// Of the files that the current one was made of. None after a failure: the next look tries again, whatever was the cause.
    stamps: Mutex<Option<Vec<Stamp>>>,
    /// And which it is, counted up.
    current: RwLock<(Arc<T>, u64)>,
}

impl<T> Followed<T> {
    /// Makes the first one. `make` reads the files, and is to read no others.
    ///
    /// # Errors
    /// What `make` says.
    pub fn open<E>(
        files: impl IntoIterator<Item = PathBuf>,
        make: impl FnOnce() -> Result<T, E>,
    ) -> Result<Self, E> {
        let files: Vec<_> = files.into_iter().collect();
        // Before the files are read: one that changes meanwhile is read again.
        let stamps = Mutex::new(Some(stamps_of(&files)));
        let current = RwLock::new((Arc::new(make()?), 0));
        Ok(Self { files, stamps, current })
    }

    /// Makes another one if a file has changed, or the last try failed; answers whether.
    ///
    /// # Errors
    /// What `make` says, at each try; the current one stays.
    pub fn reload<E>(&self, make: impl FnOnce() -> Result<T, E>) -> Result<bool, E> {
        let mut stamps = self.stamps.lock();
        let now = stamps_of(&self.files);
        if stamps.as_ref() == Some(&now) {
            return Ok(false);
        }
        *stamps = None;
        let made = Arc::new(make()?);
        *stamps = Some(now);
        let mut current = self.current.write();
        *current = (made, current.1 + 1);
        Ok(true)
    }

    /// The current one, and its generation: another number than that of any before.
    pub fn current(&self) -> (Arc<T>, u64) {
        self.current.read().clone()
    }
}

/// What was complained about last. Who tries again every second says a thing once.
#[derive(Debug, Default)]
pub struct Complaint(Option<String>);

impl Complaint {
    /// Whether the outcome is an error that was not said before it.
    pub fn is_new<T, E: Display>(&mut self, outcome: &Result<T, E>) -> bool {
        let sentence = outcome.as_ref().err().map(ToString::to_string);
        let new = sentence.is_some() && sentence != self.0;
        self.0 = sentence;
        new
    }
}

fn stamps_of(files: &[PathBuf]) -> Vec<Stamp> {
    let stamp = |file: &PathBuf| {
        let meta = fs::metadata(file).ok()?;
        Some((meta.ctime(), meta.ctime_nsec(), meta.ino(), meta.len()))
    };
    files.iter().map(stamp).collect()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::io;
    use std::os::unix::fs::PermissionsExt;
    use std::time::Duration;

    use super::*;

    /// The clock of a file system moves in steps of some milliseconds: changes it until the time of its change is another.
    fn until_it_shows(file: &PathBuf, change: impl Fn()) {
        let before = stamps_of(std::slice::from_ref(file));
        while stamps_of(std::slice::from_ref(file)) == before {
            std::thread::sleep(Duration::from_millis(1));
            change();
        }
    }

    #[test]
    fn what_changes_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let read = || fs::read_to_string(&file);
        let followed = Followed::open([file.clone()], read).unwrap();
        let now = || {
            let (text, generation) = followed.current();
            (text.as_str().to_owned(), generation)
        };
        assert!(!followed.reload(read).unwrap());
        assert_eq!(now(), ("1".to_owned(), 0));
        fs::write(&file, "two").unwrap();
        assert!(followed.reload(read).unwrap());
        assert_eq!(now(), ("two".to_owned(), 1));
        // Another file of the same length and time of change, as `cp -p` and a rename make it.
        let (draft, modified) = (folder.path().join("b"), fs::metadata(&file).unwrap().modified().unwrap());
        fs::write(&draft, "six").unwrap();
        fs::File::options().write(true).open(&draft).unwrap().set_modified(modified).unwrap();
        fs::rename(&draft, &file).unwrap();
        assert!(followed.reload(read).unwrap());
        assert_eq!(now(), ("six".to_owned(), 2));
        assert!(!followed.reload(read).unwrap());
    }

    #[test]
    fn permissions_that_change_are_a_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let read = || fs::read_to_string(&file);
        let followed = Followed::open([file.clone()], read).unwrap();
        until_it_shows(&file, || fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap());
        assert!(followed.reload(read).unwrap());
        assert_eq!(followed.current().1, 1);
    }

    #[test]
    fn what_failed_is_tried_again_and_said_once() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        fs::write(&file, "1").unwrap();
        let read = || fs::read_to_string(&file);
        let fails = || Err(io::Error::other("too many open files"));
        let followed = Followed::open([file.clone()], read).unwrap();
        fs::write(&file, "two").unwrap();
        let mut complaint = Complaint::default();
        assert!(complaint.is_new(&followed.reload(fails)));
        assert!(!complaint.is_new(&followed.reload(fails)));
        assert!(complaint.is_new(&followed.reload(|| Err(io::Error::other("no permission")))));
        assert_eq!(followed.current().0.as_str(), "1");
        // The file is the same as when it could not be read.
        let outcome = followed.reload(read);
        assert!(!complaint.is_new(&outcome) && outcome.unwrap());
        assert_eq!(followed.current().0.as_str(), "two");
        assert!(complaint.is_new(&Err::<(), _>("no permission")), "it was mended meanwhile");
    }
}
