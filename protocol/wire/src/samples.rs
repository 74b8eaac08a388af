//! Columnar, delta-coded blocks of samples: the body of a `samples` frame.

use remuda_model::SignalId;

/// The step of a block's row times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimeUnit {
    /// 1 ms: what a vehicle's own sampling needs.
    Millisecond,
    /// 1 us.
    Microsecond,
    /// 1 ns: replayed bus captures keep their exact times.
    Nanosecond,
}

impl TimeUnit {
    /// Length of one step, ns.
    pub const fn nanoseconds(self) -> u64 {
        match self {
            Self::Millisecond => 1_000_000,
            Self::Microsecond => 1_000,
            Self::Nanosecond => 1,
        }
    }
}

/// Rows of samples that share their times. Row i was taken at `header.mono_ms * 1e6 + offsets[i] * unit` ns of the
/// vehicle's monotonic clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SampleBlock {
    /// Step of `offsets`.
    pub unit: TimeUnit,
    /// Per row, steps since the frame's `mono_ms`; never decreasing; two rows may share a time.
    pub offsets: Vec<u64>,
    /// Per signal, one entry a row; ascending by signal id, each signal once.
    pub columns: Vec<Column>,
}

/// One signal's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Which signal.
    pub signal: SignalId,
    /// Raw scaled integers; `None` where the row has no value. As long as the block's `offsets`.
    pub values: Vec<Option<i64>>,
}

impl SampleBlock {
    /// How many rows it has.
    pub fn rows(&self) -> usize {
        self.offsets.len()
    }

    /// How many values it has.
    pub fn samples(&self) -> usize {
        self.columns.iter().map(|c| c.values.iter().flatten().count()).sum()
    }
}
