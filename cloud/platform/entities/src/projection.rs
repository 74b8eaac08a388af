//! Projections: what can be read off the events of all shards, kept in a small store of its own.
//!
//! A projection's data and how far it has read are written in one atomic batch, so that each event counts exactly once
//! however often it is delivered. The store can always be derived again: a new version, or a rebuild that somebody asked
//! for, is built beside the one that serves, and takes its place when it has caught up.
//!
//! ```text
//! struct Rides;
//! impl Projection for Rides {
//!     const NAME: &'static str = "rides";
//!     const VERSION: u32 = 1;                            // raise it when other data would come out
//!     const READS: &'static [&'static str] = &["trip"];  // aggregate types
//!     fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
//!         let Some(fact) = fact::<Trip>(event)? else { return Ok(()) };
//!         let place = key(&[event.event.stream.organization.as_str(), &event.event.stream.aggregate_id]);
//!         let mut ride: Ride = view.get(&place)?.unwrap_or_default();
//!         ...
//!         view.put(&place, &ride)
//!     }
//! }
//! let rides = project(&shards, &Place::folder("data/projections"), Rides).await?;
//! let ride: Option<Ride> = rides.get(&key(&["default", "t-1"]))?;
//! rides.caught_up().await;            // in tests, and for who must read what they wrote
//! ```

pub(crate) mod generation;
mod handle;
mod place;
mod runner;
mod status;
pub(crate) mod view;

use remuda_eventsourcing::{Aggregate, Event, JournalError, Unreadable};

pub use handle::{Projected, project};
pub use place::Place;
pub use status::{Phase, ProjectionStatus, Skipped, StoppedAt};
pub use view::{View, key, numbered};

use crate::memory::SHELL_EVENTS;

/// Reads events into a store. Pure but for its view: the same events give the same data.
pub trait Projection: Send + Sync + 'static {
    /// Folder and metrics label; kebab-case, never renamed.
    const NAME: &'static str;
    /// Version of what it writes. Another than the stored one is built anew, beside it.
    const VERSION: u32;
    /// Aggregate types that it reads; all, when empty.
    const READS: &'static [&'static str];

    /// Takes one event in. Events of one shard come in order; those of different shards in any.
    ///
    /// # Errors
    /// [`Poisoned`] stops the projection at this event, visibly, until somebody retries or skips it.
    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned>;

    /// Whether data of an older version can be read as this one's, until the new is built. Else nothing is served then.
    fn reads_version(version: u32) -> bool {
        version == Self::VERSION
    }
}

/// An event that a projection cannot take in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Poisoned(pub String);

impl From<Unreadable> for Poisoned {
    fn from(error: Unreadable) -> Self {
        Self(error.to_string())
    }
}

impl From<JournalError> for Poisoned {
    fn from(error: JournalError) -> Self {
        Self(error.to_string())
    }
}

/// What an event of this kind says; `None` for another kind's, and for the shell's own.
///
/// # Errors
/// When this program cannot read it.
pub fn fact<A: Aggregate>(event: &Event) -> Result<Option<A::Event>, Unreadable> {
    let stored = &event.event;
    if stored.stream.aggregate_type != A::TYPE || stored.event_type.starts_with(SHELL_EVENTS) {
        return Ok(None);
    }
    A::decode(&stored.event_type, stored.schema_version, &stored.payload).map(Some)
}
