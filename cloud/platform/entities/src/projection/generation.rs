//! One store of a projection with how far it has read.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::Mutex;
use remuda_eventsourcing::store::Store;
use remuda_eventsourcing::{Event, JournalError};
use remuda_model::{SHARDS, ShardId};
use tokio::sync::{Notify, watch};

use super::place::Place;
use super::status::{Phase, Skipped, StoppedAt};
use super::view::{Batch, View, decoded};
use super::{Poisoned, Projection};
use crate::feed::Offsets;

/// Offsets lie under this and the shard's number.
const OFFSETS: u8 = b'o';
/// Skipped events lie under this, the shard's number and the position.
const SKIPPED: u8 = b's';

pub(crate) fn offset_key(shard: ShardId) -> Vec<u8> {
    let mut key = vec![OFFSETS];
    key.extend_from_slice(&shard.number().to_be_bytes());
    key
}

/// The batch entry for an event that was skipped, with the reason.
pub(crate) fn skip_entry(at: &StoppedAt, reason: &str) -> (Vec<u8>, Option<Vec<u8>>) {
    let mut key = vec![SKIPPED];
    key.extend_from_slice(&at.shard.number().to_be_bytes());
    key.extend_from_slice(&at.position.to_be_bytes());
    (key, Some(reason.as_bytes().to_vec()))
}

/// Reads which events were skipped in a store, and why.
pub(crate) fn read_skips(store: &dyn Store, limit: usize) -> Result<Vec<Skipped>, JournalError> {
    let skip = |(key, value): (Vec<u8>, Vec<u8>)| {
        let shard = ShardId::new(u16::from_be_bytes(key.get(1..3)?.try_into().ok()?))?;
        let position = u64::from_be_bytes(key.get(3..11)?.try_into().ok()?);
        Some(Skipped { shard, position, reason: String::from_utf8_lossy(&value).into_owned() })
    };
    Ok(store.scan(&[SKIPPED], &[SKIPPED], limit)?.into_iter().filter_map(skip).collect())
}

/// Reads the offsets of a store.
pub(crate) fn read_offsets(store: &dyn Store) -> Result<Offsets, JournalError> {
    let mut offsets = vec![0; usize::from(SHARDS)];
    for (key, value) in store.scan(&[OFFSETS], &[OFFSETS], usize::from(SHARDS))? {
        let number = key.get(1..3).and_then(|n| n.try_into().ok()).map(u16::from_be_bytes);
        if let Some(place) = number.and_then(|n| offsets.get_mut(usize::from(n))) {
            *place = decoded(&value)?;
        }
    }
    Ok(offsets)
}

/// Adds the offsets that have changed to a batch.
pub(crate) fn note_offsets(batch: &mut Batch, before: &Offsets, now: &Offsets) -> Result<(), JournalError> {
    for shard in (0..SHARDS).filter_map(ShardId::new) {
        let place = usize::from(shard.number());
        if before[place] != now[place] {
            let bytes = postcard::to_allocvec(&now[place])
                .map_err(|e| JournalError::Io { operation: "encoding an offset", source: Box::new(e) })?;
            batch.insert(offset_key(shard), Some(bytes));
        }
    }
    Ok(())
}

/// One store of a projection.
pub(crate) struct Generation {
    /// `v{version}-{number}`.
    pub name: String,
    pub version: u32,
    pub store: Arc<dyn Store>,
    pub stop: watch::Sender<bool>,
    /// Tells that it has read on, or that its phase has changed.
    pub moved: watch::Sender<u64>,
    /// Told once for each time that it is let go on.
    pub resume: Notify,
    progress: Mutex<Progress>,
}

struct Progress {
    phase: Phase,
    /// How far the data goes.
    offsets: Offsets,
    /// How far it goes by the store: events that are not for this projection are not worth a write.
    written: Offsets,
}

impl Generation {
    pub fn open(
        place: &Place,
        projection: &str,
        name: String,
        version: u32,
    ) -> Result<Arc<Self>, JournalError> {
        let store = place.open(projection, &name)?;
        let offsets = read_offsets(&*store)?;
        let progress = Progress { phase: Phase::Building, written: offsets.clone(), offsets };
        Ok(Arc::new(Self {
            name,
            version,
            store,
            stop: watch::Sender::new(false),
            moved: watch::Sender::new(0),
            resume: Notify::new(),
            progress: Mutex::new(progress),
        }))
    }

    pub fn phase(&self) -> Phase {
        self.progress.lock().phase.clone()
    }

    pub fn set_phase(&self, phase: Phase) {
        self.progress.lock().phase = phase;
        self.moved.send_modify(|count| *count += 1);
    }

    pub fn stopped_at(&self) -> Option<StoppedAt> {
        match self.phase() {
            Phase::Stopped(at) => Some(at),
            _ => None,
        }
    }

    /// Lets it go on from where it stopped; false when it did not stop, or somebody else was faster.
    pub fn go_on(&self) -> bool {
        let mut progress = self.progress.lock();
        let stopped = matches!(progress.phase, Phase::Stopped(_));
        if stopped {
            progress.phase = Phase::Building;
            self.resume.notify_one();
        }
        stopped
    }

    pub fn offsets(&self) -> Offsets {
        self.progress.lock().offsets.clone()
    }

    fn reached(&self, offsets: Offsets, written: bool) {
        let mut progress = self.progress.lock();
        if written {
            progress.written.clone_from(&offsets);
        }
        progress.offsets = offsets;
        drop(progress);
        self.moved.send_modify(|count| *count += 1);
    }

    fn written(&self) -> Offsets {
        self.progress.lock().written.clone()
    }

    /// Takes events in, with the offsets that hold after them, in one atomic write. At an event that cannot be taken in,
    /// those before it are written and it is answered.
    pub fn take_in<P: Projection>(
        &self,
        projection: &P,
        events: &[Arc<Event>],
        after: Offsets,
    ) -> Result<Option<StoppedAt>, JournalError> {
        if events.is_empty() {
            self.reached(after, false);
            return Ok(None);
        }
        let mut view = View::new(&*self.store);
        let mut stopped = None;
        let mut reached = self.offsets();
        for event in events {
            // A projection that panics must not take the node, nor the events before, with it.
            let result = catch_unwind(AssertUnwindSafe(|| projection.apply(event, &mut view)));
            let reason = match result {
                Ok(Ok(())) => {
                    view.keep();
                    reached[usize::from(event.shard.number())] = event.position;
                    continue;
                }
                Ok(Err(Poisoned(reason))) => reason,
                Err(_) => "the projection panicked".to_owned(),
            };
            view.forget();
            let event_type = event.event.event_type.clone();
            stopped = Some(StoppedAt { shard: event.shard, position: event.position, event_type, reason });
            break;
        }
        let reached = if stopped.is_some() { reached } else { after };
        let mut batch = view.into_batch();
        note_offsets(&mut batch, &self.written(), &reached)?;
        if !batch.is_empty() {
            self.store.commit(&batch)?;
        }
        self.reached(reached, true);
        Ok(stopped)
    }

    /// Passes an event over, for good.
    pub fn skip(&self, at: &StoppedAt, reason: &str) -> Result<(), JournalError> {
        let mut after = self.offsets();
        after[usize::from(at.shard.number())] = at.position;
        let mut batch = Batch::from([skip_entry(at, reason)]);
        note_offsets(&mut batch, &self.written(), &after)?;
        self.store.commit(&batch)?;
        self.reached(after, true);
        Ok(())
    }

    /// Makes durable what was taken in.
    pub fn sync(&self) -> Result<(), JournalError> {
        let (offsets, mut batch) = (self.offsets(), Batch::new());
        note_offsets(&mut batch, &self.written(), &offsets)?;
        if !batch.is_empty() {
            self.store.commit(&batch)?;
        }
        self.progress.lock().written = offsets;
        self.store.sync()
    }
}
