//! How state comes back: of a whole node, of one vehicle, of one shard.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use remuda_contracts::fleet::Presence;
use remuda_eventsourcing::{JournalError, ManifestPosition, Snapshot, StreamId};
use remuda_lake::{Recovery, Row};
use remuda_model::{ShardId, VehicleId};
use tokio::sync::oneshot;

use super::fault::Fault;
use super::node::Node;
use super::show::line_of;
use super::snapshots::SnapshotJob;
use crate::event::{AGGREGATE, VehicleEvent, stream_of};
use crate::evolve::evolve;
use crate::vehicle::Vehicle;

// Events read at a time.
const PAGE: usize = 1_000;
// Snapshots read at a time.
const SNAPSHOT_PAGE: usize = 500;
// How long a stopped shard is watched before it stays stopped.
const RELOAD_TRIES: u32 = 30;
const RELOAD_WAIT: Duration = Duration::from_secs(1);

/// A vehicle as it stands on disk.
pub(crate) struct Loaded {
    pub vehicle: Vehicle,
    /// Its rows up to here are in it.
    pub position: ManifestPosition,
    /// Rows had to be read again: a new snapshot is worth writing.
    pub replayed: bool,
}

/// Loads one vehicle: snapshot, stream, and the rows that no snapshot covers.
pub(crate) async fn load(node: &Node, shard: ShardId, id: VehicleId) -> Result<Loaded, Fault> {
    let slot = node.slot(shard);
    // What an earlier life of the actor contributed is either in the lake or not: wait until that is definite. A flush
    // returns when the answers of everything before it were delivered.
    while slot.books.lock().outstanding(&id) > 0 {
        let Some(rounds) = node.rounds.get() else { return Err(Fault::Stopping) };
        rounds.flush().await.map_err(|_| Fault::Stopping)?;
    }
    let stream = stream_of(node.settings.organization, &id);
    let read = |error| Fault::Journal("reading a vehicle", error);
    let snapshot = node.journal.snapshot(&stream).await.map_err(read)?;
    let (mut vehicle, forgot) = restore(node, &id, snapshot.as_ref());
    read_events(node, &stream, &mut vehicle).await.map_err(read)?;
    let replay_from = slot.books.lock().replay_from(&id);
    if let Some(after) = replay_from {
        let rows = node.lake.rows_of(&id, after).await.map_err(Fault::Lake)?;
        replay(node, &mut vehicle, &rows);
    }
    let books = slot.books.lock();
    vehicle.memory.marks.merge(books.marks(&id));
    vehicle.memory.watch.agree(&vehicle.state.inside);
    Ok(Loaded { vehicle, position: books.position(), replayed: forgot || replay_from.is_some() })
}

/// Reads a snapshot, without what is to be forgotten; whether there was any of that.
pub(crate) fn restore(node: &Node, id: &VehicleId, snapshot: Option<&Snapshot>) -> (Vehicle, bool) {
    let Some(snapshot) = snapshot else { return (Vehicle::default(), false) };
    match Vehicle::restore(&snapshot.state) {
        Some((mut vehicle, _)) => {
            let forgot = node.forget_in(id, &mut vehicle);
            (vehicle, forgot)
        }
        None => {
            tracing::error!(vehicle_id = %id, "the snapshot cannot be read; the stream is read from its beginning");
            (Vehicle::default(), false)
        }
    }
}

pub(crate) async fn read_events(
    node: &Node,
    stream: &StreamId,
    vehicle: &mut Vehicle,
) -> Result<(), JournalError> {
    loop {
        let events = node.journal.read_stream(stream, vehicle.state.version + 1, PAGE).await?;
        for event in &events {
            match VehicleEvent::open(&event.event) {
                Some(fact) => {
                    evolve(&mut vehicle.state, &fact);
                    vehicle.note(&fact, event.event.time_ms);
                }
                None => {
                    let kind = &event.event.event_type;
                    tracing::error!(vehicle_id = %stream.aggregate_id, kind, "an event of an unknown kind was passed over");
                    vehicle.state.version = event.event.version;
                }
            }
        }
        if events.len() < PAGE {
            return Ok(());
        }
    }
}

fn replay(node: &Node, vehicle: &mut Vehicle, rows: &[Row]) {
    let covered = vehicle.memory.marks.clone();
    for row in rows {
        vehicle.replay(&node.settings.rules, &covered, row);
    }
}

/// Puts recovered books, snapshots and index lines in place, before the rounds start.
pub(crate) async fn recover(node: &Node, recovery: &Recovery) -> Result<usize, JournalError> {
    node.position.store(recovery.position, Relaxed);
    for slot in &node.slots {
        slot.books.lock().start(recovery.position);
    }
    for (vehicle, marks) in &recovery.watermarks {
        node.slot(ShardId::of(vehicle)).books.lock().raise(*vehicle, marks);
    }
    let mut replayed: BTreeMap<VehicleId, oneshot::Receiver<bool>> = BTreeMap::new();
    for (id, rows) in &recovery.replay {
        let stream = stream_of(node.settings.organization, id);
        let snapshot = node.journal.snapshot(&stream).await?;
        let (mut vehicle, _) = restore(node, id, snapshot.as_ref());
        read_events(node, &stream, &mut vehicle).await?;
        replay(node, &mut vehicle, rows);
        node.index.update(node.settings.organization, *id, line_of(&vehicle, Presence::Offline));
        node.alerts.update(*id, &vehicle.state.book);
        node.atlas.hold(*id, &vehicle.state);
        replayed.insert(*id, write_snapshot(node, *id, stream, &vehicle, recovery.position).await);
    }
    let mut after: Option<StreamId> = None;
    let mut rewritten: Vec<oneshot::Receiver<bool>> = Vec::new();
    loop {
        let page = node.journal.snapshots(AGGREGATE, after.as_ref(), SNAPSHOT_PAGE).await?;
        for (stream, snapshot) in &page {
            let Ok(id) = VehicleId::new(&stream.aggregate_id) else { continue };
            if stream.organization != node.settings.organization || replayed.contains_key(&id) {
                continue;
            }
            let (mut vehicle, forgot) = restore(node, &id, Some(snapshot));
            let is_unread = vehicle.state.version != snapshot.version;
            let has_open = !vehicle.state.book.open.is_empty() || !vehicle.state.inside.is_empty();
            if is_unread || has_open {
                // What people did since about its alerts, or about a geofence that it was in, brought no row, so that nothing
                // else leads to it; and a snapshot that cannot be read says nothing.
                read_events(node, stream, &mut vehicle).await?;
            }
            node.index.update(stream.organization, id, line_of(&vehicle, Presence::Offline));
            node.alerts.update(id, &vehicle.state.book);
            node.atlas.hold(id, &vehicle.state);
            if let Some((_, to)) = Vehicle::restore(&snapshot.state).filter(|_| forgot) {
                // Its erasure was asked for, and the node died before this was written again. What the stream says since is
                // read from its version on, as before.
                rewritten.push(write_snapshot(node, id, stream.clone(), &vehicle, to).await);
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == SNAPSHOT_PAGE => after = Some(last.clone()),
            _ => break,
        }
    }
    // The books say that snapshots cover everything so far: that must be true before the first checkpoint.
    let count = replayed.len();
    for written in replayed.into_values().chain(rewritten) {
        if !written.await.unwrap_or(false) {
            return Err(JournalError::Io {
                operation: "writing the snapshots of a recovery",
                source: "see the log for the cause".into(),
            });
        }
    }
    Ok(count)
}

/// Queues the snapshot of a replayed vehicle; answers whether it became durable.
async fn write_snapshot(
    node: &Node,
    id: VehicleId,
    stream: StreamId,
    vehicle: &Vehicle,
    to: ManifestPosition,
) -> oneshot::Receiver<bool> {
    let (done, written) = oneshot::channel();
    let shard = ShardId::of(&id);
    let state = Vehicle::snapshot(&vehicle.state, vehicle.memory.encode(), to);
    let snapshot = Snapshot { version: vehicle.state.version, state };
    let job = SnapshotJob { shard, vehicle: id, stream, snapshot, covered_to: to, done: Some(done) };
    // The writer runs as long as the node; were it gone, the answer would say so.
    let _ = node.snapshots.send(job).await;
    written
}

/// Sees whether a stopped shard is still ours, and loads its books again.
pub(crate) async fn reload(node: &Arc<Node>, shard: ShardId) {
    let slot = node.slot(shard);
    for _ in 0..RELOAD_TRIES {
        tokio::time::sleep(RELOAD_WAIT).await;
        if node.stopping.load(Relaxed) {
            return;
        }
        if slot.books.lock().outstanding_all() > 0 {
            continue;
        }
        match reload_once(node, shard).await {
            Ok(true) => {
                tracing::info!(%shard, "the shard was loaded again");
                return;
            }
            Ok(false) => break,
            Err(error) => tracing::warn!(%shard, %error, "the stopped shard could not be read"),
        }
    }
    tracing::error!(%shard, "the shard stays stopped here; restart the node when its owner is gone");
}

async fn reload_once(node: &Arc<Node>, shard: ShardId) -> Result<bool, Fault> {
    let slot = node.slot(shard);
    let read = |error| Fault::Journal("reading a stopped shard", error);
    let epochs = node.journal.epochs().await.map_err(read)?;
    if !epochs.contains(&slot.owner()) {
        return Ok(false);
    }
    let recovery = node.lake.recover(&[slot.owner()]).await.map_err(Fault::Lake)?;
    let rounds = node.rounds.get().ok_or(Fault::Stopping)?;
    rounds.own(slot.owner()).await.map_err(|_| Fault::Stopping)?;
    let mut books = slot.books.lock();
    let floor = books.replay_floor(node.position());
    books.restart(floor, recovery.position, recovery.replay.keys().copied());
    for (vehicle, marks) in &recovery.watermarks {
        books.raise(*vehicle, marks);
    }
    slot.queue.lock().closed = false;
    Ok(true)
}
