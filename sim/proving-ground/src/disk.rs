//! A simulated outbox: what the agent wrote, and what of it a power cut leaves.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use remuda_edge_agent_core::{Held, Record, ShedUntil};
use remuda_model::{Incarnation, Lane, Seq};
use remuda_wire::{FloorReason, frame};

/// A lane of one start of an agent.
pub(crate) type Key = (Lane, Incarnation);

/// A frame of a vehicle.
pub(crate) type Place = (Key, Seq);

/// One lane's frames.
#[derive(Debug, Clone)]
struct Shelf {
    frames: BTreeMap<Seq, Bytes>,
    made: Seq,
    floor: Seq,
    reason: FloorReason,
}

/// Everything on the disk at one instant.
#[derive(Debug, Clone, Default)]
pub(crate) struct Image {
    shelves: Vec<(Key, Shelf)>,
    damaged: BTreeSet<Place>,
    pub state: Vec<u8>,
}

impl Image {
    fn shelf(&mut self, key: Key) -> &mut Shelf {
        let at = self.shelves.iter().position(|(k, _)| *k == key).unwrap_or_else(|| {
            let shelf = Shelf { frames: BTreeMap::new(), made: 0, floor: 1, reason: FloorReason::Acked };
            self.shelves.push((key, shelf));
            self.shelves.len() - 1
        });
        &mut self.shelves[at].1
    }

    fn places(&self) -> impl Iterator<Item = Place> {
        self.shelves.iter().flat_map(|(key, shelf)| shelf.frames.keys().map(|seq| (*key, *seq)))
    }
}

/// See the module. What is in `live` and not in `synced` is in the kernel's hands.
#[derive(Debug, Clone, Default)]
pub(crate) struct Disk {
    pub live: Image,
    pub synced: Image,
}

impl Disk {
    /// Frames of this start, in order.
    pub fn append(&mut self, key: Key, first: Seq, frames: Vec<Bytes>) {
        let shelf = self.live.shelf(key);
        for (frame, seq) in frames.into_iter().zip(first..) {
            shelf.frames.insert(seq, frame);
            shelf.made = shelf.made.max(seq);
        }
    }

    /// Contiguous records from `from`, at least one.
    pub fn read(&self, key: Key, from: Seq, to: Seq, bytes_max: usize) -> Vec<Record> {
        let mut records = Vec::new();
        let mut bytes = 0;
        let shelf = self.live.shelves.iter().find(|(k, _)| *k == key).map(|(_, shelf)| shelf);
        for seq in from..=to {
            let frame = shelf.and_then(|shelf| shelf.frames.get(&seq));
            let sound = frame.filter(|_| !self.live.damaged.contains(&(key, seq)));
            bytes += sound.map_or(64, Bytes::len);
            if !records.is_empty() && bytes > bytes_max {
                break;
            }
            records.push(sound.map_or(Record::Damaged, |frame| Record::Frame(frame.clone())));
        }
        records
    }

    /// Frames up to here go; the floor stands where the cloud's word put it.
    pub fn trim(&mut self, key: Key, up_to: Seq) {
        let shelf = self.live.shelf(key);
        shelf.frames.retain(|seq, _| *seq > up_to);
        if up_to >= shelf.floor {
            shelf.floor = up_to + 1;
            shelf.reason = FloorReason::Acked;
        }
    }

    /// Frames that were durable go, oldest first; answers which.
    pub fn shed(&mut self, key: Key, until: ShedUntil, reason: FloorReason) -> Option<(Seq, Seq)> {
        let synced = self.synced.shelf(key).made;
        let shelf = self.live.shelf(key);
        let mut range: Option<(Seq, Seq)> = None;
        let mut freed = 0;
        while let Some((&seq, bytes)) = shelf.frames.first_key_value() {
            let wanted = match until {
                ShedUntil::Bytes(wanted) => freed < wanted,
                ShedUntil::Before { wall_ms } => {
                    frame::decode(bytes).is_ok_and(|f| f.header.wall_ms.is_some_and(|at| at < wall_ms))
                }
            };
            if !wanted || seq > synced {
                break;
            }
            freed += bytes.len() as u64;
            shelf.frames.pop_first();
            range = Some((range.map_or(seq, |(from, _)| from), seq));
        }
        if let Some((_, to)) = range {
            shelf.floor = to + 1;
            shelf.reason = reason;
        }
        range
    }

    /// Bytes of frames held.
    pub fn bytes(&self) -> u64 {
        self.live.shelves.iter().flat_map(|(_, s)| s.frames.values()).map(|f| f.len() as u64).sum()
    }

    /// Frames held.
    pub fn held(&self) -> impl Iterator<Item = Place> {
        self.live.places()
    }

    /// One of the frames that are safe on the disk loses its sense; answers which.
    pub fn damage(&mut self, nth: u64) -> Option<Place> {
        let places: Vec<Place> =
            self.synced.places().filter(|p| self.live.places().any(|q| q == *p)).collect();
        let place = *places.get(usize::try_from(nth).unwrap_or(0) % places.len().max(1))?;
        self.live.damaged.insert(place);
        self.synced.damaged.insert(place);
        Some(place)
    }

    /// The power is cut: only what was synced is left. Answers what the next start finds.
    pub fn crash(&mut self) -> Vec<Held> {
        self.live = self.synced.clone();
        self.lanes()
    }

    /// What a start finds.
    pub fn lanes(&self) -> Vec<Held> {
        let held = |(key, shelf): &(Key, Shelf)| Held {
            lane: key.0,
            incarnation: key.1,
            floor: shelf.floor,
            floor_reason: shelf.reason,
            made: shelf.made,
        };
        self.live.shelves.iter().map(held).collect()
    }
}
