//! What a log holds, in memory: rebuilt from its segments at opening, also by the offline reader.

use std::collections::{BTreeMap, HashMap, VecDeque};

use remuda_model::{Seq, VehicleId};
use remuda_wire::FloorReason;

use super::record::{self, Found, Kind, Mark, ShedRange, StreamKey};

/// Place of a record, packed: segment 21 bits, offset 26, payload length 17.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place(u64);

/// Largest segment that a [`Place`] can point into, bytes.
pub(crate) const SEGMENT_BYTES_LIMIT: usize = 1 << 26;
/// Highest segment id that a [`Place`] can name.
pub(crate) const SEGMENT_ID_LIMIT: u32 = (1 << 21) - 1;
const LENGTH_LIMIT: usize = (1 << 17) - 1;

impl Place {
    /// A seq whose record cannot be found.
    pub(crate) const DAMAGED: Self = Self(u64::MAX);

    pub(crate) fn new(segment: u32, offset: usize, length: usize) -> Option<Self> {
        let fits = segment < SEGMENT_ID_LIMIT && offset < SEGMENT_BYTES_LIMIT && length < LENGTH_LIMIT;
        fits.then(|| Self(u64::from(segment) << 43 | (offset as u64) << 17 | length as u64))
    }

    pub(crate) fn segment(self) -> u32 {
        (self.0 >> 43) as u32
    }

    pub(crate) fn offset(self) -> u64 {
        (self.0 >> 17) & (SEGMENT_BYTES_LIMIT as u64 - 1)
    }

    pub(crate) fn length(self) -> usize {
        (self.0 & LENGTH_LIMIT as u64) as usize
    }

    /// Bytes of the log it takes.
    pub(crate) fn bytes(self) -> u64 {
        if self == Self::DAMAGED { 0 } else { (record::RECORD_HEADER + self.length()) as u64 }
    }
}

/// One vehicle, lane and incarnation.
#[derive(Debug)]
pub(crate) struct Stream {
    pub key: StreamKey,
    /// Highest seq ever durable here (at run time: ever appended).
    pub made: Seq,
    pub floor: Seq,
    pub reason: FloorReason,
    /// Of seqs `floor..`.
    pub places: VecDeque<Place>,
    pub sheds: Vec<ShedRange>,
    /// The newest mark on disk says less than is known here.
    pub stale_mark: bool,
}

impl Stream {
    pub(crate) fn new(key: StreamKey) -> Self {
        Self {
            key,
            made: 0,
            floor: 1,
            reason: FloorReason::Acked,
            places: VecDeque::new(),
            sheds: Vec::new(),
            stale_mark: false,
        }
    }

    pub(crate) fn place(&self, seq: Seq) -> Option<Place> {
        self.places.get(usize::try_from(seq.checked_sub(self.floor)?).ok()?).copied()
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { made: self.made, floor: self.floor, reason: self.reason }
    }
}

/// Everything.
#[derive(Debug, Default)]
pub(crate) struct Index {
    pub streams: Vec<Stream>,
    by_key: HashMap<StreamKey, u32>,
    pub by_vehicle: HashMap<VehicleId, VehicleIndex>,
    /// Live bytes per segment.
    pub live: BTreeMap<u32, u64>,
}

/// One vehicle's part.
#[derive(Debug, Default)]
pub(crate) struct VehicleIndex {
    /// In the order they were begun.
    pub streams: Vec<u32>,
    pub bytes: u64,
    pub state: Option<Vec<u8>>,
}

impl Index {
    pub(crate) fn stream(&mut self, key: StreamKey) -> (u32, bool) {
        if let Some(number) = self.by_key.get(&key) {
            return (*number, false);
        }
        let number = self.streams.len() as u32;
        self.streams.push(Stream::new(key));
        self.by_key.insert(key, number);
        self.by_vehicle.entry(key.vehicle).or_default().streams.push(number);
        (number, true)
    }

    pub(crate) fn find(&self, key: StreamKey) -> Option<&Stream> {
        self.by_key.get(&key).and_then(|n| self.streams.get(*n as usize))
    }

    pub(crate) fn vehicle_bytes(&self, vehicle: VehicleId) -> u64 {
        self.by_vehicle.get(&vehicle).map_or(0, |v| v.bytes)
    }

    /// A record was appended.
    pub(crate) fn push(&mut self, number: u32, place: Place) {
        let stream = &mut self.streams[number as usize];
        stream.made += 1;
        stream.places.push_back(place);
        let vehicle = stream.key.vehicle;
        self.by_vehicle.entry(vehicle).or_default().bytes += place.bytes();
        *self.live.entry(place.segment()).or_default() += place.bytes();
    }

    /// Frames below `floor` are not needed any more.
    pub(crate) fn raise_floor(&mut self, number: u32, floor: Seq, reason: FloorReason) {
        let stream = &mut self.streams[number as usize];
        if floor <= stream.floor {
            return;
        }
        let mut freed = 0;
        while stream.floor < floor {
            if let Some(place) = stream.places.pop_front() {
                freed += place.bytes();
                if place != Place::DAMAGED
                    && let Some(live) = self.live.get_mut(&place.segment())
                {
                    *live = live.saturating_sub(place.bytes());
                }
                stream.floor += 1;
            } else {
                stream.floor = floor;
            }
        }
        stream.reason = reason;
        stream.stale_mark = true;
        if stream.places.is_empty() {
            stream.places.shrink_to(4);
        }
        let vehicle = self.by_vehicle.entry(stream.key.vehicle).or_default();
        vehicle.bytes = vehicle.bytes.saturating_sub(freed);
    }
}

/// Puts an index together from segments, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Rebuild {
    index: Index,
    /// Number in the segment now read to number in the index.
    numbers: HashMap<u32, u32>,
    found: Vec<BTreeMap<Seq, Place>>,
}

impl Rebuild {
    pub(crate) fn segment(&mut self, id: u32, bytes: &[u8]) {
        self.numbers.clear();
        self.index.live.entry(id).or_default();
        for found in record::scan(bytes) {
            self.record(id, found);
        }
    }

    fn record(&mut self, id: u32, found: Found<'_>) {
        if found.kind == Kind::Stream {
            if let Some(key) = record::unsealed::<StreamKey>(found.payload) {
                let (number, new) = self.index.stream(key);
                if new {
                    self.found.push(BTreeMap::new());
                }
                self.numbers.insert(found.stream, number);
            }
            return;
        }
        let Some(&number) = self.numbers.get(&found.stream) else { return };
        let stream = &mut self.index.streams[number as usize];
        match found.kind {
            Kind::Frame => {
                let sound = remuda_wire::frame::is_sound(found.payload);
                let place = Place::new(id, found.offset, found.payload.len()).filter(|_| sound);
                let at = self.found[number as usize].entry(found.seq).or_insert(Place::DAMAGED);
                // Of a frame and its copy the newer one counts, unless it is the damaged one.
                *at = place.unwrap_or(*at);
                stream.made = stream.made.max(found.seq);
            }
            Kind::Mark => {
                if let Some(mark) = record::unsealed::<Mark>(found.payload) {
                    stream.made = stream.made.max(mark.made);
                    if mark.floor > stream.floor {
                        (stream.floor, stream.reason) = (mark.floor, mark.reason);
                    }
                }
            }
            Kind::Shed => {
                if let Some(shed) = record::unsealed::<ShedRange>(found.payload) {
                    if !stream.sheds.contains(&shed) {
                        stream.sheds.push(shed);
                    }
                    if shed.to >= stream.floor {
                        (stream.floor, stream.reason) = (shed.to + 1, shed.reason);
                    }
                }
            }
            Kind::State => {
                if let Some(state) = record::unseal(found.payload) {
                    let vehicle = stream.key.vehicle;
                    self.index.by_vehicle.entry(vehicle).or_default().state = Some(state.to_vec());
                }
            }
            Kind::Stream => {}
        }
    }

    pub(crate) fn finish(mut self) -> Index {
        for (number, found) in self.found.iter_mut().enumerate() {
            let stream = &mut self.index.streams[number];
            for seq in stream.floor..=stream.made {
                let place = found.remove(&seq).unwrap_or(Place::DAMAGED);
                stream.places.push_back(place);
                if place != Place::DAMAGED {
                    *self.index.live.entry(place.segment()).or_default() += place.bytes();
                    self.index.by_vehicle.entry(stream.key.vehicle).or_default().bytes += place.bytes();
                }
            }
        }
        self.index
    }
}
