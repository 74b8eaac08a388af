//! Where the stores of projections and reactors are.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use remuda_eventsourcing::JournalError;
use remuda_eventsourcing::folders;
use remuda_eventsourcing::sled_engine::SledStore;
use remuda_eventsourcing::store::{MemoryStore, Store};

#[derive(Default)]
struct Shelf {
    stores: BTreeMap<String, Arc<MemoryStore>>,
    serving: BTreeMap<String, String>,
}

/// A folder, or memory. Cheap to clone; clones in memory are one.
#[derive(Clone)]
pub struct Place(Kind);

#[derive(Clone)]
enum Kind {
    Folder(PathBuf),
    Memory(Arc<Mutex<Shelf>>),
}

/// The file that names the store that serves.
const SERVING: &str = "serving";

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> JournalError {
    move |source| JournalError::Io { operation, source: Box::new(source) }
}

impl Place {
    /// Each projection gets a folder under this one.
    pub fn folder(folder: impl Into<PathBuf>) -> Self {
        Self(Kind::Folder(folder.into()))
    }

    /// Gone with the process; for tests, which "restart" by giving a clone.
    pub fn memory() -> Self {
        Self(Kind::Memory(Arc::default()))
    }

    /// Opens, or makes, a store of `name`.
    pub(crate) fn open(&self, name: &str, store: &str) -> Result<Arc<dyn Store>, JournalError> {
        match &self.0 {
            Kind::Folder(folder) => Ok(Arc::new(SledStore::open_derived(&folder.join(name).join(store))?)),
            Kind::Memory(shelf) => {
                Ok(Arc::clone(shelf.lock().stores.entry(format!("{name}/{store}")).or_default())
                    as Arc<dyn Store>)
            }
        }
    }

    /// The store of `name` that serves.
    pub(crate) fn serving(&self, name: &str) -> Result<Option<String>, JournalError> {
        match &self.0 {
            Kind::Folder(folder) => match fs::read_to_string(folder.join(name).join(SERVING)) {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(e) => Err(io("reading which store serves")(e)),
            },
            Kind::Memory(shelf) => Ok(shelf.lock().serving.get(name).cloned()),
        }
    }

    /// From now on this store serves.
    pub(crate) fn serve(&self, name: &str, store: &str) -> Result<(), JournalError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let folder = folder.join(name);
                folders::make_durable(&folder).map_err(io("making a projection's folder"))?;
                write_whole(&folder, SERVING, store).map_err(io("noting which store serves"))?;
            }
            Kind::Memory(shelf) => {
                shelf.lock().serving.insert(name.to_owned(), store.to_owned());
            }
        }
        Ok(())
    }

    /// Removes one store of `name`.
    pub(crate) fn remove(&self, name: &str, store: &str) -> Result<(), JournalError> {
        match &self.0 {
            Kind::Folder(folder) => {
                fs::remove_dir_all(folder.join(name).join(store)).map_err(io("removing a projection's store"))
            }
            Kind::Memory(shelf) => {
                shelf.lock().stores.remove(&format!("{name}/{store}"));
                Ok(())
            }
        }
    }

    /// Removes the stores of `name` but these.
    pub(crate) fn remove_others(&self, name: &str, keep: &[&str]) -> Result<(), JournalError> {
        match &self.0 {
            Kind::Folder(folder) => {
                let Ok(entries) = fs::read_dir(folder.join(name)) else { return Ok(()) };
                for entry in entries {
                    let path = entry.map_err(io("listing a projection's stores"))?.path();
                    let own = path.file_name().and_then(|n| n.to_str()).unwrap_or_default();
                    if path.is_dir() && !keep.contains(&own) {
                        fs::remove_dir_all(&path).map_err(io("removing a projection's old store"))?;
                    }
                }
            }
            Kind::Memory(shelf) => {
                let prefix = format!("{name}/");
                shelf
                    .lock()
                    .stores
                    .retain(|key, _| key.strip_prefix(&prefix).is_none_or(|store| keep.contains(&store)));
            }
        }
        Ok(())
    }
}

fn write_whole(folder: &Path, name: &str, text: &str) -> std::io::Result<()> {
    let nursery = folder.join(format!("{name}.new"));
    let mut file = fs::File::create(&nursery)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    fs::rename(&nursery, folder.join(name))?;
    fs::File::open(folder)?.sync_all()
}
