//! Files that may be damaged, or be somebody else's.

use std::path::Path;
use std::sync::OnceLock;

use bytes::Bytes;
use remuda_edge_agent::outbox::{Profile, Store, offline};
use remuda_edge_agent::replay::Capture;
use remuda_eventsourcing::ManifestEntry;
use remuda_lake::file;
use remuda_model::{Incarnation, VehicleId};
use remuda_roads::RoadNetwork;
use tempfile::TempDir;

/// In memory where there is such a place: these decoders want files, and some sync them.
pub(crate) fn folder() -> TempDir {
    let memory = Path::new("/dev/shm");
    let made = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() };
    made.expect("a temporary folder can be made")
}

/// Rows of a file that this tries to read.
const LAKE_ROWS_MAX: u64 = 10_000;

fn scratch() -> &'static TempDir {
    static SCRATCH: OnceLock<TempDir> = OnceLock::new();
    SCRATCH.get_or_init(folder)
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a temporary file can be written");
}

/// A segment of an outbox, as a power cut or a bad flash left it: opened, read through, written to, opened again.
pub(crate) fn outbox(bytes: &[u8]) {
    let folder = folder();
    write(&folder.path().join("00000001.seg"), bytes);
    let _ = offline::open(folder.path());
    for start in 1..=2 {
        let Ok(store) = Store::open(folder.path(), Profile::vehicle()) else { return };
        for vehicle in store.vehicles() {
            through(&store, vehicle, start);
        }
        if start == 1 {
            through(&store, VehicleId::new("NEW1").expect("a vehicle's id"), start);
        }
        // What it could not write it said.
        let _ = store.close();
    }
}

fn through(store: &Store, vehicle: VehicleId, start: u64) {
    let Ok(opened) = store.vehicle(vehicle, Incarnation(u64::MAX - start)) else { return };
    for held in &opened.held {
        assert!(held.floor >= 1 && held.floor <= held.made.saturating_add(1), "{held:?}");
        let to = held.made.min(held.floor.saturating_add(64));
        if held.floor <= to {
            let read = opened.outbox.read(held.lane, held.incarnation, held.floor, to, 1 << 20);
            assert!(read.is_ok_and(|records| !records.is_empty()), "at least one record is answered");
        }
    }
}

/// A DBC file against the mapping in the tree, on a capture of two frames.
pub(crate) fn dbc(bytes: &[u8]) {
    let folder = scratch().path().join("dbc");
    let raw = folder.join("processed_log/CAN/raw_can");
    let (capture, mapping) = (folder.join("file.dbc"), folder.join("mapping.toml"));
    if !raw.exists() {
        std::fs::create_dir_all(&raw).expect("a temporary folder can be made");
        let twice = |bytes: [u8; 8]| [bytes, bytes].concat();
        write(&raw.join("t"), &array("<f8", &twice(1.0f64.to_le_bytes())));
        write(&raw.join("src"), &array("<i8", &[0; 16]));
        write(&raw.join("address"), &array("<i8", &twice(170i64.to_le_bytes())));
        write(&raw.join("data"), &array("|S8", &[0xa5; 16]));
        let mapped =
            "[[signal]]\nbus = 0\nmessage = \"M\"\nsignal = \"S\"\nplus = \"P\"\npath = \"Vehicle.Speed\"\n";
        write(&mapping, mapped.as_bytes());
    }
    write(&capture, bytes);
    if let Ok(capture) = Capture::open(&folder, &capture, &mapping) {
        assert!(capture.steps().count() <= capture.frames());
    }
}

fn array(descr: &str, data: &[u8]) -> Vec<u8> {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': (2,), }}\n");
    let length = u16::try_from(header.len()).unwrap_or_default().to_le_bytes();
    [b"\x93NUMPY\x01\x00", &length[..], header.as_bytes(), data].concat()
}

/// A map, PBF or XML.
pub(crate) fn osm(bytes: &[u8]) {
    let path = scratch().path().join("map.osm");
    write(&path, bytes);
    if let Ok(network) = RoadNetwork::load(&path) {
        assert!(network.length_m().is_finite(), "roads have a length");
        let bounds = network.bounds();
        let _ = network.snap(bounds.south, bounds.west);
    }
}

/// A file of the lake: its footer, as sweeping reads it unchecked, and its rows.
pub(crate) fn lake(bytes: &[u8]) {
    let bytes = Bytes::copy_from_slice(bytes);
    quiet_panics();
    let _ = file::entry_json(bytes.clone());
    // What is read in earnest has its checksum; this only shall not fill the memory.
    if file::rows(bytes.clone()).is_ok_and(|rows| rows <= LAKE_ROWS_MAX) {
        let _ = file::decode(bytes);
    }
}

/// libFuzzer ends at the first panic, also at one that is caught: the lake catches those of Parquet.
fn quiet_panics() {
    #[cfg(feature = "libfuzzer")]
    {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    }
}

/// A line of the manifest, as the journal keeps it.
pub(crate) fn manifest(bytes: &[u8]) {
    if let Ok(entry) = postcard::from_bytes::<ManifestEntry>(bytes) {
        let again = postcard::to_allocvec(&entry).ok();
        let again = again.and_then(|bytes| postcard::from_bytes::<ManifestEntry>(&bytes).ok());
        assert_eq!(again.as_ref(), Some(&entry), "what was decoded encodes to something else");
    }
}
