//! What is registered, on the disk: a folder a feed with its description, its cursor and its dead letters. Each file is
//! replaced as a whole, durably; none is there twice.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use remuda_eventsourcing::folders;
use remuda_model::OrganizationId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::FeedError;
use crate::seal::Seal;
use crate::spec::FeedSpec;

/// What is kept of a feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    pub spec: FeedSpec,
    /// When, ms since 1970 UTC, and by whom.
    pub created_ms: i64,
    pub created_by: String,
    pub paused: bool,
}

/// A batch that the sink refused for good: not what was in it, but where it lies. What was to be forgotten meanwhile is
/// not told when it is sent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// From 1, per feed.
    pub number: u64,
    /// The cursor before it.
    pub from: String,
    /// The cursor after it.
    pub to: String,
    /// Items in it.
    pub items: u64,
    /// Ids of its first and last item.
    pub ids: (String, String),
    /// What the sink said.
    pub error: String,
    /// When it was given up, ms since 1970 UTC.
    pub at_ms: i64,
    /// How often it was tried.
    pub attempts: u32,
}

/// The folder of one feed.
#[derive(Debug, Clone)]
pub(crate) struct FeedFolder(PathBuf);

const DESCRIPTION: &str = "feed.json";
const CURSOR: &str = "cursor";
const ERA: &str = "era";
const KEY: &str = "cursor-key";
const DEAD: &str = "dead-letters.json";
/// End of the name of a folder that is going.
const GOING: &str = ".deleted";

fn files(operation: &'static str) -> impl FnOnce(io::Error) -> FeedError {
    move |source| FeedError::Files { operation, source }
}

/// Replaces a file as a whole; its owner alone may read it.
fn put(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let (new, place) = (folder.join(format!("{name}.new")), folder.join(name));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&new, &place)?;
    folders::sync(folder)
}

fn get<T: DeserializeOwned>(folder: &Path, name: &str) -> io::Result<Option<T>> {
    match File::open(folder.join(name)) {
        Ok(file) => serde_json::from_reader(io::BufReader::new(file)).map(Some).map_err(|e| {
            io::Error::other(format!(
                "{} is damaged ({e}); restore it from a backup, or delete the feed's folder",
                folder.join(name).display()
            ))
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Which life of the journals this is: made once, and in no backup.
pub(crate) fn era(root: &Path) -> Result<u64, FeedError> {
    folders::make_durable(root).map_err(files("made"))?;
    if let Some(era) = get(root, ERA).map_err(files("read"))? {
        return Ok(era);
    }
    let era = rand::random::<u64>();
    put(root, ERA, era.to_string().as_bytes()).map_err(files("written"))?;
    Ok(era)
}

/// What cursors are sealed with for who may not read them: made once, and in no backup, as no cursor outlives a restore.
pub(crate) fn cursor_seal(root: &Path) -> Result<Seal, FeedError> {
    folders::make_durable(root).map_err(files("made"))?;
    let key = match get::<[u8; 32]>(root, KEY).map_err(files("read"))? {
        Some(key) => key,
        None => {
            let key = rand::random::<[u8; 32]>();
            let bytes = serde_json::to_vec(&key).map_err(io::Error::other).map_err(files("written"))?;
            put(root, KEY, &bytes).map_err(files("written"))?;
            key
        }
    };
    Seal::new(&key).ok_or_else(|| files("used")(io::Error::other("the key of cursors has a wrong length")))
}

impl FeedFolder {
    /// Of a feed.
    pub fn of(root: &Path, organization: &OrganizationId, name: &str) -> Self {
        Self(root.join(organization.as_str()).join(name))
    }

    /// Every feed's folder: whose, and what is registered.
    pub fn all(root: &Path) -> Result<Vec<(OrganizationId, Registered, Self)>, FeedError> {
        folders::make_durable(root).map_err(files("made"))?;
        let mut found = Vec::new();
        for of in list(root)? {
            let name = of.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let Ok(organization) = OrganizationId::new(&name) else { continue };
            for folder in list(&of)? {
                if folder.to_string_lossy().ends_with(GOING) {
                    fs::remove_dir_all(&folder).map_err(files("removed"))?;
                    continue;
                }
                // One without a description was never told to anybody: its making was cut short.
                if let Some(registered) = get::<Registered>(&folder, DESCRIPTION).map_err(files("read"))? {
                    found.push((organization, registered, Self(folder)));
                }
            }
        }
        found.sort_by(|a, b| (a.0, &a.1.spec.name).cmp(&(b.0, &b.1.spec.name)));
        Ok(found)
    }

    /// Makes it, the cursor first: a feed that is registered has one.
    pub fn create(&self, registered: &Registered, cursor: &str) -> Result<(), FeedError> {
        folders::make_durable(&self.0).map_err(files("made"))?;
        self.write_cursor(cursor)?;
        put(&self.0, DEAD, b"[]").map_err(files("written"))?;
        self.describe(registered)
    }

    /// Replaces the description.
    pub fn describe(&self, registered: &Registered) -> Result<(), FeedError> {
        let bytes =
            serde_json::to_vec_pretty(registered).map_err(io::Error::other).map_err(files("written"))?;
        put(&self.0, DESCRIPTION, &bytes).map_err(files("written"))
    }

    pub fn write_cursor(&self, cursor: &str) -> Result<(), FeedError> {
        put(&self.0, CURSOR, format!("\"{cursor}\"").as_bytes()).map_err(files("written"))
    }

    pub fn cursor(&self) -> Result<Option<String>, FeedError> {
        get(&self.0, CURSOR).map_err(files("read"))
    }

    pub fn dead_letters(&self) -> Result<Vec<DeadLetter>, FeedError> {
        Ok(get(&self.0, DEAD).map_err(files("read"))?.unwrap_or_default())
    }

    pub fn write_dead_letters(&self, letters: &[DeadLetter]) -> Result<(), FeedError> {
        let bytes = serde_json::to_vec(letters).map_err(io::Error::other).map_err(files("written"))?;
        put(&self.0, DEAD, &bytes).map_err(files("written"))
    }

    /// Removes it: the name is gone at once, the files after it.
    pub fn delete(&self) -> Result<(), FeedError> {
        let going = self.0.with_extension(GOING.trim_start_matches('.'));
        if going.exists() {
            fs::remove_dir_all(&going).map_err(files("removed"))?;
        }
        fs::rename(&self.0, &going).map_err(files("removed"))?;
        if let Some(parent) = self.0.parent() {
            folders::sync(parent).map_err(files("removed"))?;
        }
        fs::remove_dir_all(&going).map_err(files("removed"))
    }
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, FeedError> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(files("listed"))? {
        let path = entry.map_err(files("listed"))?.path();
        if path.is_dir() {
            found.push(path);
        }
    }
    Ok(found)
}
