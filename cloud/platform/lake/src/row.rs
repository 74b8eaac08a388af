//! Rows of the lake.

use remuda_eventsourcing::ManifestPosition;
use remuda_model::{Incarnation, OrganizationId, Seq, SignalId, VehicleId};

/// One row. Every kind is in the same file as its neighbours, in order.
#[derive(Debug, Clone)]
pub struct Row {
    /// Whose.
    pub organization: OrganizationId,
    /// Which vehicle.
    pub vehicle: VehicleId,
    /// Start of the agent that made the frame.
    pub incarnation: Incarnation,
    /// The frame; for a gap, its first missing frame.
    pub seq: Seq,
    /// Row's place in its frame, from 0.
    pub row_in_frame: u32,
    /// Start counter of the agent.
    pub boot: u32,
    /// Monotonic clock of that boot, ns.
    pub mono_ns: u64,
    /// Wall clock of the vehicle, ns since 1970 UTC, when known.
    pub sample_time_ns: Option<i64>,
    /// When the door read it, ms since 1970 UTC.
    pub receive_time_ms: i64,
    /// Manifest position of the file in which it was committed, once it has left that file for history; 0 before. By it a
    /// follower of the lake knows what it has read, wherever the row lies by now.
    pub commit: ManifestPosition,
    /// What it says.
    pub body: RowBody,
}

/// What a row says.
#[derive(Debug, Clone, PartialEq)]
pub enum RowBody {
    /// Values at one instant: raw scaled integers, ascending by signal, each once.
    Samples(Vec<(SignalId, i64)>),
    /// A frame that had no rows: only says that it arrived.
    Marker,
    /// Frames `seq..=to` will never come.
    Gap {
        /// Last missing frame.
        to: Seq,
        /// `shed`, `age`, `damaged`, `cloud-lost`.
        reason: String,
    },
    /// A frame that could not be used, as it came, for `remuda lake reprocess`.
    Quarantine {
        /// Stable code of why.
        reason: String,
        /// Its bytes.
        raw: Vec<u8>,
    },
}

impl RowBody {
    /// `kind` of rows with samples.
    pub const SAMPLES: i64 = 0;
    /// `kind` of marker rows.
    pub const MARKER: i64 = 1;
    /// `kind` of gap rows.
    pub const GAP: i64 = 2;
    /// `kind` of quarantine rows.
    pub const QUARANTINE: i64 = 3;

    /// The number in the column `kind`.
    pub const fn kind(&self) -> i64 {
        match self {
            Self::Samples(_) => Self::SAMPLES,
            Self::Marker => Self::MARKER,
            Self::Gap { .. } => Self::GAP,
            Self::Quarantine { .. } => Self::QUARANTINE,
        }
    }
}

/// Equal rows say the same, wherever they lie.
impl PartialEq for Row {
    fn eq(&self, other: &Self) -> bool {
        let identity =
            |row: &Self| (row.organization, row.vehicle, row.incarnation, row.seq, row.row_in_frame);
        let times = |row: &Self| (row.boot, row.mono_ns, row.sample_time_ns, row.receive_time_ms);
        identity(self) == identity(other) && times(self) == times(other) && self.body == other.body
    }
}

impl Row {
    /// The highest frame this row makes durable.
    pub const fn durable_to(&self) -> Seq {
        match &self.body {
            RowBody::Gap { to, .. } => *to,
            _ => self.seq,
        }
    }
}
