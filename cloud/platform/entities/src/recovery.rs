//! An entity's past, read from its snapshot and the events after it.

use remuda_eventsourcing::{Aggregate, JournalError, Snapshot, StreamId, Unreadable};
use remuda_model::Epoch;

use crate::error::AskError;
use crate::limits;
use crate::memory::{Memory, SHELL_EVENTS};
use crate::shards::Shards;

/// An entity in memory.
pub(crate) struct Loaded<A: Aggregate> {
    /// Epoch of its shard when it was read: under another it must be read again.
    pub epoch: Epoch,
    pub version: u64,
    pub state: A::State,
    pub memory: Memory,
    /// Version of the newest snapshot.
    pub snapshot: u64,
}

/// Reads an entity's past.
pub(crate) async fn load<A: Aggregate>(
    shards: &Shards,
    stream: &StreamId,
    epoch: Epoch,
) -> Result<Loaded<A>, AskError> {
    let journal = shards.journal();
    let failed = |error: JournalError| AskError::from(&error);
    let snapshot = journal.snapshot(stream).await.map_err(failed)?;
    let (mut version, mut state) = snapshot.and_then(|s| from_snapshot::<A>(&s)).unwrap_or_default();
    let mut memory = Memory::new(version == 0);
    let snapshot = version;
    loop {
        let page = journal.read_stream(stream, version + 1, limits::PAGE).await.map_err(failed)?;
        let full = page.len() == limits::PAGE;
        for event in page {
            memory.saw(&event);
            let stored = event.event;
            version = stored.version;
            if !stored.event_type.starts_with(SHELL_EVENTS) {
                let fact = A::decode(&stored.event_type, stored.schema_version, &stored.payload)?;
                A::evolve(&mut state, &fact);
            }
        }
        if !full {
            return Ok(Loaded { epoch, version, state, memory, snapshot });
        }
    }
}

/// A snapshot's bytes: the version of the state's form, then the state.
pub(crate) fn to_snapshot<A: Aggregate>(version: u64, state: &A::State) -> Result<Snapshot, postcard::Error> {
    Ok(Snapshot { version, state: postcard::to_allocvec(&(A::SNAPSHOT_VERSION, state))? })
}

/// A snapshot that this program cannot use is passed over: the events tell everything.
fn from_snapshot<A: Aggregate>(snapshot: &Snapshot) -> Option<(u64, A::State)> {
    let (form, rest): (u16, _) = postcard::take_from_bytes(&snapshot.state).ok()?;
    if form != A::SNAPSHOT_VERSION {
        return None;
    }
    match postcard::from_bytes(rest) {
        Ok(state) => Some((snapshot.version, state)),
        Err(error) => {
            let kind = A::TYPE;
            tracing::warn!(%error, kind, "a snapshot cannot be read; the entity is read from its first event on");
            None
        }
    }
}

/// The events of one command, decoded.
pub(crate) async fn events_between<A: Aggregate>(
    shards: &Shards,
    stream: &StreamId,
    first: u64,
    last: u64,
) -> Result<Vec<A::Event>, AskError> {
    let count = (last + 1).saturating_sub(first) as usize;
    let stored = shards.journal().read_stream(stream, first, count).await.map_err(|e| AskError::from(&e))?;
    let decoded: Result<Vec<A::Event>, Unreadable> = stored
        .iter()
        .map(|e| A::decode(&e.event.event_type, e.event.schema_version, &e.event.payload))
        .collect();
    Ok(decoded?)
}
