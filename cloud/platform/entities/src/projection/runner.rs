//! Brings a store of a projection up to date, and keeps it so.

use std::sync::Arc;
use std::time::{Duration, Instant};

use remuda_eventsourcing::{Event, JournalError};
use tokio::sync::watch;

use super::Projection;
use super::generation::Generation;
use super::handle::Inner;
use super::status::{Phase, StoppedAt};
use crate::feed::{Feed, From};
use crate::limits;

/// Runs until the generation is told to stop.
pub(crate) async fn run<P: Projection>(inner: Arc<Inner<P>>, generation: Arc<Generation>) {
    let mut stop = generation.stop.subscribe();
    let mut wait = limits::BACKOFF_MIN;
    let mut cursor = cursor_of(&inner, &generation);
    let mut synced = Instant::now();
    let mut dirty = false;
    while !*stop.borrow() {
        match read_on(&inner, &generation, &mut cursor).await {
            Ok(Read::Nothing) => {
                caught_up(&inner, &generation, &cursor);
                if dirty && synced.elapsed() >= limits::SYNC_EVERY {
                    sync(&generation).await;
                    (dirty, synced) = (false, Instant::now());
                }
                let rest = if dirty { limits::SYNC_EVERY } else { Duration::MAX };
                tokio::select! {
                    () = cursor.ready() => {}
                    _ = stop.changed() => {}
                    () = tokio::time::sleep(rest) => {}
                }
            }
            Ok(Read::Some) => {
                (dirty, wait) = (true, limits::BACKOFF_MIN);
                if matches!(generation.phase(), Phase::Failing { .. }) {
                    generation.set_phase(Phase::Live);
                }
                if synced.elapsed() >= limits::SYNC_EVERY {
                    sync(&generation).await;
                    (dirty, synced) = (false, Instant::now());
                }
            }
            Ok(Read::Stopped(at)) => {
                stopped(&generation, at, &mut stop, P::NAME, &inner).await;
                cursor = cursor_of(&inner, &generation);
            }
            Err(error) => {
                tracing::error!(projection = P::NAME, %error, "a projection cannot read on; it tries again");
                generation.set_phase(Phase::Failing { reason: error.to_string() });
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    _ = stop.changed() => {}
                }
                wait = (wait * 2).min(limits::BACKOFF_MAX);
                cursor = cursor_of(&inner, &generation);
            }
        }
    }
    sync(&generation).await;
}

enum Read {
    Nothing,
    Some,
    Stopped(StoppedAt),
}

fn cursor_of<P: Projection>(inner: &Inner<P>, generation: &Generation) -> Feed {
    Feed::new(&inner.shards, From::After(generation.offsets())).of_types(P::READS)
}

/// Takes in what there is, of several shards, up to a page.
async fn read_on<P: Projection>(
    inner: &Arc<Inner<P>>,
    generation: &Arc<Generation>,
    cursor: &mut Feed,
) -> Result<Read, JournalError> {
    let mut events: Vec<Arc<Event>> = Vec::new();
    let mut moved = false;
    while events.len() < limits::PAGE
        && let Some(some) = cursor.poll().await?
    {
        events.extend(some);
        moved = true;
    }
    if !moved {
        return Ok(Read::Nothing);
    }
    let (projection, of, after) =
        (Arc::clone(&inner.projection), Arc::clone(generation), cursor.offsets().clone());
    let count = events.len() as u64;
    let taken = tokio::task::spawn_blocking(move || of.take_in(&*projection, &events, after));
    let stopped = match taken.await {
        Ok(result) => result?,
        Err(e) => return Err(JournalError::Io { operation: "taking events in", source: Box::new(e) }),
    };
    if inner.is_serving(generation) {
        inner.shards.metrics().reader(P::NAME, cursor.lag(), count);
    }
    Ok(stopped.map_or(Read::Some, Read::Stopped))
}

fn caught_up<P: Projection>(inner: &Arc<Inner<P>>, generation: &Arc<Generation>, cursor: &Feed) {
    if generation.phase() == Phase::Live {
        return;
    }
    generation.set_phase(Phase::Live);
    inner.shards.metrics().reader(P::NAME, cursor.lag(), 0);
    if let Err(error) = inner.take_over(generation) {
        tracing::error!(projection = P::NAME, %error, "a projection that was built cannot take over");
        generation.set_phase(Phase::Failing { reason: error.to_string() });
    }
}

async fn stopped<P: Projection>(
    generation: &Generation,
    at: StoppedAt,
    stop: &mut watch::Receiver<bool>,
    name: &'static str,
    inner: &Inner<P>,
) {
    let StoppedAt { shard, position, event_type, reason } = &at;
    tracing::error!(projection = name, %shard, position, event_type, reason, "a projection stopped at an event");
    inner.shards.metrics().reader_stopped(name, true);
    generation.set_phase(Phase::Stopped(at));
    tokio::select! {
        () = generation.resume.notified() => {}
        _ = stop.changed() => {}
    }
    inner.shards.metrics().reader_stopped(name, false);
}

async fn sync(generation: &Arc<Generation>) {
    let of = Arc::clone(generation);
    match tokio::task::spawn_blocking(move || of.sync()).await {
        Ok(Ok(())) => {}
        // Derived data: what is lost is taken in again.
        Ok(Err(error)) => tracing::warn!(%error, "a projection's store was not synced"),
        Err(error) => tracing::warn!(%error, "a projection's store was not synced"),
    }
}
