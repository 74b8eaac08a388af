//! A running projection, for who reads it and for who looks after it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use remuda_eventsourcing::JournalError;
use remuda_model::{SHARDS, ShardId};
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;

use super::generation::{Generation, read_skips};
use super::place::Place;
use super::runner::run;
use super::status::{Phase, ProjectionStatus, Skipped, StoppedAt};
use super::view::{data_key, decoded};
use super::{Poisoned, Projection};
use crate::shards::Shards;

pub(crate) struct Inner<P: Projection> {
    pub shards: Arc<Shards>,
    pub projection: Arc<P>,
    place: Place,
    serving: RwLock<Option<Arc<Generation>>>,
    building: Mutex<Option<Arc<Generation>>>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

/// A running projection. Cheap to clone.
pub struct Projected<P: Projection>(Arc<Inner<P>>);

impl<P: Projection> Clone for Projected<P> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Starts a projection where it left off. Once a name and node.
///
/// # Errors
/// When its store cannot be opened.
pub async fn project<P: Projection>(
    shards: &Arc<Shards>,
    place: &Place,
    projection: P,
) -> Result<Projected<P>, JournalError> {
    let (shards, place) = (Arc::clone(shards), place.clone());
    let opened = tokio::task::spawn_blocking(move || Inner::open(shards, place, projection)).await;
    let inner =
        opened.map_err(|e| JournalError::Io { operation: "opening a projection", source: Box::new(e) })??;
    let both = [inner.serving.read().clone(), inner.building.lock().clone()];
    both.into_iter().flatten().for_each(|generation| inner.start(generation));
    Ok(Projected(inner))
}

/// Version and number of a store's name.
fn parse(name: &str) -> Option<(u32, u32)> {
    let (version, number) = name.strip_prefix('v')?.split_once('-')?;
    Some((version.parse().ok()?, number.parse().ok()?))
}

/// Opens a store. Its data is derived, so one that is damaged, or that has read more than there is (the journal was
/// restored to an earlier time), is derived again.
fn open_sound<P: Projection>(
    shards: &Shards,
    place: &Place,
    name: &str,
    version: u32,
) -> Result<Arc<Generation>, JournalError> {
    let reason = match Generation::open(place, P::NAME, name.to_owned(), version) {
        Ok(opened) if !shards.are_behind(&opened.offsets()) => return Ok(opened),
        Ok(_) => "it has read more than the journal holds".to_owned(),
        Err(JournalError::Corrupt(reason)) => reason,
        Err(other) => return Err(other),
    };
    tracing::error!(projection = P::NAME, store = name, reason, "a projection's store is built anew");
    place.remove(P::NAME, name)?;
    Generation::open(place, P::NAME, name.to_owned(), version)
}

impl<P: Projection> Inner<P> {
    fn open(shards: Arc<Shards>, place: Place, projection: P) -> Result<Arc<Self>, JournalError> {
        let serving = place.serving(P::NAME)?;
        let stored = serving.as_deref().and_then(parse);
        let fresh = format!("v{}-1", P::VERSION);
        let open = |name: &str, version| open_sound::<P>(&shards, &place, name, version);
        let keep = [serving.as_deref().unwrap_or(&fresh), &fresh];
        place.remove_others(P::NAME, &keep)?;
        let (serving, building) = match (stored, serving) {
            (Some((version, _)), Some(name)) if version == P::VERSION => (Some(open(&name, version)?), None),
            (Some((version, _)), Some(name)) => {
                let old = if P::reads_version(version) { Some(open(&name, version)?) } else { None };
                (old, Some(open(&fresh, P::VERSION)?))
            }
            _ => {
                place.serve(P::NAME, &fresh)?;
                (Some(open(&fresh, P::VERSION)?), None)
            }
        };
        Ok(Arc::new(Self {
            shards,
            projection: Arc::new(projection),
            place,
            serving: RwLock::new(serving),
            building: Mutex::new(building),
            tasks: Mutex::new(Vec::new()),
        }))
    }

    fn start(self: &Arc<Self>, generation: Arc<Generation>) {
        // Data of an older version is only read: this program writes another.
        if generation.version == P::VERSION {
            let task = tokio::spawn(run(Arc::clone(self), generation));
            let mut tasks = self.tasks.lock();
            tasks.retain(|task| !task.is_finished());
            tasks.push(task);
        }
    }

    pub fn is_serving(&self, generation: &Arc<Generation>) -> bool {
        self.serving.read().as_ref().is_some_and(|serving| Arc::ptr_eq(serving, generation))
    }

    /// A generation has caught up: if it was built beside another, it serves from now on.
    pub fn take_over(self: &Arc<Self>, generation: &Arc<Generation>) -> Result<(), JournalError> {
        let mut building = self.building.lock();
        if !building.as_ref().is_some_and(|built| Arc::ptr_eq(built, generation)) {
            return Ok(());
        }
        generation.sync()?;
        self.place.serve(P::NAME, &generation.name)?;
        let old = self.serving.write().replace(Arc::clone(generation));
        *building = None;
        tracing::info!(
            projection = P::NAME,
            store = generation.name,
            "a projection that was built anew serves"
        );
        if let Some(old) = old {
            old.stop.send_replace(true);
            tokio::spawn(remove(Arc::clone(self), old));
        }
        Ok(())
    }
}

/// Removes an old store when nobody reads it any more; else the next start does.
async fn remove<P: Projection>(inner: Arc<Inner<P>>, old: Arc<Generation>) {
    for _ in 0..200 {
        if Arc::strong_count(&old) == 1 {
            drop(old);
            // No rebuild may begin meanwhile.
            let building = inner.building.lock();
            let serving = inner.serving.read().clone();
            let keep: Vec<&str> = [&serving, &*building]
                .into_iter()
                .flatten()
                .map(|generation| generation.name.as_str())
                .collect();
            if let Err(error) = inner.place.remove_others(P::NAME, &keep) {
                tracing::warn!(projection = P::NAME, %error, "an old store is left; the next start removes it");
            }
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

impl<P: Projection> Projected<P> {
    fn serving(&self) -> Result<Arc<Generation>, Poisoned> {
        let building = || Poisoned(format!("{} is being built; ask again later", P::NAME));
        self.0.serving.read().clone().ok_or_else(building)
    }

    /// A value. A look into a small store: mostly memory, at worst one read of the disk.
    ///
    /// # Errors
    /// When nothing serves yet, the store fails, or the value is of another type.
    pub fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, Poisoned> {
        let bytes = self.serving()?.store.get(&data_key(key))?;
        Ok(bytes.map(|bytes| decoded(&bytes)).transpose()?)
    }

    /// Values whose key begins with `prefix`, in order of their keys, after `after`, at most `limit`.
    ///
    /// # Errors
    /// As [`Projected::get`].
    pub fn scan<T: DeserializeOwned>(
        &self,
        prefix: &[u8],
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<Vec<(Vec<u8>, T)>, Poisoned> {
        let from = after.map_or_else(
            || data_key(prefix),
            |after| {
                let mut from = data_key(after);
                from.push(0);
                from
            },
        );
        let entries = self.serving()?.store.scan(&data_key(prefix), &from, limit)?;
        entries.into_iter().map(|(key, bytes)| Ok((key[1..].to_vec(), decoded(&bytes)?))).collect()
    }

    /// How it fares.
    pub fn status(&self) -> ProjectionStatus {
        let inner = &self.0;
        let building = inner.building.lock().clone();
        let serving = inner.serving.read().clone();
        let shown = serving.as_ref().or(building.as_ref());
        let all = || (0..SHARDS).filter_map(ShardId::new).map(|shard| inner.shards.head(shard)).sum::<u64>();
        let passed = |generation: &Arc<Generation>| generation.offsets().iter().sum::<u64>();
        let passed_events = shown.map_or(0, passed);
        ProjectionStatus {
            name: P::NAME,
            serving_version: serving.as_ref().map(|generation| generation.version),
            phase: shown.map_or(Phase::Building, |generation| generation.phase()),
            lag_events: all().saturating_sub(passed_events),
            passed_events,
            rebuild: building.as_ref().map(|generation| (passed(generation), all())),
            rebuild_stopped: building.as_ref().and_then(|generation| generation.stopped_at()),
        }
    }

    /// Builds it anew from the first event on, beside the one that serves, which it then replaces.
    ///
    /// # Errors
    /// When one is being built already, or its store cannot be made; the text says which.
    pub fn rebuild(&self) -> Result<(), Poisoned> {
        let inner = &self.0;
        let mut building = inner.building.lock();
        if building.is_some() {
            return Err(Poisoned(format!("{} is being built already", P::NAME)));
        }
        let number =
            inner.serving.read().as_ref().and_then(|g| parse(&g.name)).map_or(0, |(_, number)| number);
        let name = format!("v{}-{}", P::VERSION, number + 1);
        let generation = Generation::open(&inner.place, P::NAME, name, P::VERSION)?;
        *building = Some(Arc::clone(&generation));
        drop(building);
        inner.start(generation);
        Ok(())
    }

    /// The store that stopped at an event.
    fn stopped(&self) -> Option<Arc<Generation>> {
        let both = [self.0.serving.read().clone(), self.0.building.lock().clone()];
        both.into_iter().flatten().find(|generation| generation.stopped_at().is_some())
    }

    /// The event at which it stopped, if it did.
    pub fn stopped_at(&self) -> Option<StoppedAt> {
        self.stopped().and_then(|generation| generation.stopped_at())
    }

    /// Events that were passed over, with the reasons, at most `limit`.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn skipped(&self, limit: usize) -> Result<Vec<Skipped>, Poisoned> {
        Ok(read_skips(&*self.serving()?.store, limit)?)
    }

    /// Tries the event again at which it stopped; false when it did not stop.
    pub fn retry(&self) -> bool {
        self.stopped().is_some_and(|generation| generation.go_on())
    }

    /// Passes the event over at which it stopped, for good, and keeps why; false when it did not stop.
    ///
    /// # Errors
    /// When the store fails.
    pub fn skip(&self, reason: &str) -> Result<bool, Poisoned> {
        let Some(generation) = self.stopped() else { return Ok(false) };
        let Some(at) = generation.stopped_at() else { return Ok(false) };
        generation.skip(&at, reason)?;
        let (shard, position) = (at.shard, at.position);
        tracing::warn!(projection = P::NAME, %shard, position, reason, "an event is passed over");
        Ok(generation.go_on())
    }

    /// Waits until all that is durable now is in the data that serves.
    ///
    /// # Errors
    /// When it stopped at an event.
    pub async fn caught_up(&self) -> Result<(), Poisoned> {
        let inner = &self.0;
        let heads: Vec<u64> =
            (0..SHARDS).filter_map(ShardId::new).map(|shard| inner.shards.head(shard)).collect();
        loop {
            let Ok(generation) = self.serving() else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let mut moved = generation.moved.subscribe();
            if let Some(at) = generation.stopped_at() {
                return Err(Poisoned(format!("{} stopped at {at:?}", P::NAME)));
            }
            if generation.offsets().iter().zip(&heads).all(|(offset, head)| offset >= head) {
                return Ok(());
            }
            // Another may take over meanwhile.
            let _ = tokio::time::timeout(Duration::from_millis(100), moved.changed()).await;
        }
    }

    /// Stops it and makes durable what it has.
    pub async fn stop(&self) {
        let both = [self.0.serving.read().clone(), self.0.building.lock().clone()];
        for generation in both.into_iter().flatten() {
            generation.stop.send_replace(true);
        }
        let tasks = std::mem::take(&mut *self.0.tasks.lock());
        for task in tasks {
            let _ = task.await;
        }
    }
}
