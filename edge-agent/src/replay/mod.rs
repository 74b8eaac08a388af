//! Replays of recorded buses: raw CAN frames, decoded with a DBC file, mapped to VSS signals, with their exact times.

mod dbc;
mod mapping;
mod npy;

use std::path::{Path, PathBuf};

use remuda_edge_agent_core::Reading;

use dbc::MessageDecoder;
use npy::Column;

/// Why a capture cannot be replayed: one sentence.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// A file is not there or cannot be read.
    #[error("{file} cannot be read: {source}")]
    Read {
        /// Which.
        file: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// Not what it should be.
    #[error("{file} is {what}")]
    Format {
        /// Which.
        file: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The mapping names something that is not there.
    #[error("the mapping {file} names {what}")]
    Mapping {
        /// Which mapping.
        file: PathBuf,
        /// What it names, and where it was looked for.
        what: String,
    },
}

pub(crate) fn read(file: &Path) -> Result<Vec<u8>, ReplayError> {
    std::fs::read(file).map_err(|source| ReplayError::Read { file: file.to_path_buf(), source })
}

/// A recorded drive, in memory, with the decoders of what is mapped.
#[derive(Debug)]
pub struct Capture {
    times: Column<f64>,
    buses: Column<i64>,
    addresses: Column<i64>,
    payloads: Vec<[u8; 8]>,
    decoders: Vec<MessageDecoder>,
}

/// One mapped CAN frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// When it was on the bus, ns of the recorder's monotonic clock.
    pub at_ns: u64,
    /// Raw CAN frames up to and with this one since the step before.
    pub can_frames: u32,
    /// What it says.
    pub readings: Vec<Reading>,
}

impl Capture {
    /// Opens a capture laid out like comma2k19 (`processed_log/CAN/raw_can/{t,src,address,data}`, NumPy arrays), the DBC
    /// file that describes its messages, and the mapping from DBC signals to VSS paths.
    ///
    /// # Errors
    /// One sentence that names the file and what is wrong with it.
    pub fn open(capture: &Path, dbc: &Path, mapping: &Path) -> Result<Self, ReplayError> {
        let folder = capture.join("processed_log/CAN/raw_can");
        let times = npy::doubles(&folder.join("t"))?;
        let buses = npy::integers(&folder.join("src"))?;
        let addresses = npy::integers(&folder.join("address"))?;
        let payloads = npy::payloads(&folder.join("data"))?;
        let counts = [times.len(), buses.len(), addresses.len(), payloads.len()];
        if counts.iter().any(|count| *count != counts[0]) {
            let what = format!("not one capture: its arrays have {counts:?} entries");
            return Err(ReplayError::Format { file: folder, what });
        }
        if times.windows(2).any(|pair| pair[1] < pair[0])
            || times.iter().any(|t| !(*t >= 0.0 && t.is_finite()))
        {
            return Err(ReplayError::Format { file: folder.join("t"), what: "not in order of time".into() });
        }
        let decoders = dbc::decoders(dbc, mapping, &mapping::read_mapping(mapping)?)?;
        Ok(Self { times, buses, addresses, payloads, decoders })
    }

    /// Raw CAN frames in it.
    pub fn frames(&self) -> usize {
        self.times.len()
    }

    /// Time from the first frame to the last, ns.
    pub fn span_ns(&self) -> u64 {
        let ends = self.times.first().zip(self.times.last());
        ends.map_or(0, |(first, last)| nanoseconds(*last) - nanoseconds(*first))
    }

    /// The mapped frames, in order of time.
    pub fn steps(&self) -> impl Iterator<Item = Step> + '_ {
        let mut passed = 0;
        (0..self.frames()).filter_map(move |i| {
            passed += 1;
            let decoder = self.decoders.iter().find(|d| d.is_for(self.buses[i], self.addresses[i]))?;
            let at_ns = nanoseconds(self.times[i]);
            let readings = decoder.decode(&self.payloads[i], at_ns);
            Some(Step { at_ns, can_frames: std::mem::take(&mut passed), readings })
        })
    }
}

/// Seconds to the nearest nanosecond.
fn nanoseconds(seconds: f64) -> u64 {
    // Ties to even, as the readers of these captures round.
    (seconds * 1e9).round_ties_even() as u64
}

#[cfg(test)]
mod tests {
    use remuda_model::signal;

    use super::*;

    fn shared(below: &str) -> Option<PathBuf> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/can").join(below);
        if !path.exists() {
            eprintln!("skipped: the real drive {below} is not here");
        }
        path.exists().then_some(path)
    }

    fn real_drive() -> Option<(PathBuf, Capture)> {
        let folder = shared("comma2k19")?;
        let dbc = shared("_toyota_2017.dbc")?;
        let mapping = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/mappings/toyota-rav4-2017.toml");
        let capture = Capture::open(&folder, &dbc, &mapping).expect("the real drive opens");
        Some((folder, capture))
    }

    #[test]
    fn wheel_speeds_are_those_of_the_published_decode() {
        let Some((folder, capture)) = real_drive() else { return };
        assert_eq!(capture.frames(), 135_468);
        let published = folder.join("processed_log/CAN/wheel_speed");
        let times = npy::doubles(&published.join("t")).expect("read");
        let values = npy::doubles(&published.join("value")).expect("read");
        let wheels = [
            signal::WHEEL_SPEED_FRONT_LEFT,
            signal::WHEEL_SPEED_FRONT_RIGHT,
            signal::WHEEL_SPEED_REAR_LEFT,
            signal::WHEEL_SPEED_REAR_RIGHT,
        ];
        let steps: Vec<Step> =
            capture.steps().filter(|step| step.readings.iter().any(|r| r.signal == wheels[0])).collect();
        assert_eq!((steps.len(), times.len()), (4_974, 4_974));
        for ((step, time), speeds) in steps.iter().zip(times.iter()).zip(values.chunks(4)) {
            assert_eq!(step.at_ns, nanoseconds(*time));
            for (wheel, metres_per_second) in wheels.iter().zip(speeds) {
                let reading =
                    step.readings.iter().find(|r| r.signal == *wheel).expect("all four are in one message");
                // The DBC's step is our scale, 0.01 km/h.
                let off = reading.raw as f64 * 0.01 - metres_per_second * 3.6;
                assert!(off.abs() < 0.01, "{wheel:?} at {time}: off by {off} km/h");
            }
        }
    }

    #[test]
    fn every_raw_frame_passes_and_time_goes_forward() {
        let Some((_, capture)) = real_drive() else { return };
        let mut last = 0;
        let mut passed = 0;
        for step in capture.steps() {
            assert!(step.at_ns >= last && !step.readings.is_empty());
            last = step.at_ns;
            passed += u64::from(step.can_frames);
        }
        assert!(passed <= capture.frames() as u64 && passed > 130_000, "{passed}");
        assert!((59_000_000_000..61_000_000_000).contains(&capture.span_ns()));
    }

    #[test]
    fn what_is_missing_is_named() {
        let nowhere = Path::new("no-such-capture");
        let sentence = Capture::open(nowhere, nowhere, nowhere).expect_err("nothing there").to_string();
        assert!(sentence.contains("no-such-capture"), "{sentence}");
    }
}
