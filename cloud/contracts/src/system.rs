//! What the node's process uses of the machine.

/// As of one moment. What the system does not tell is 0.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ProcessFigures {
    /// Since when it runs, ms since 1970 UTC.
    pub started_ms: i64,
    /// Resident memory, bytes.
    pub memory_bytes: u64,
    /// The most that it was so far, bytes.
    pub memory_peak_bytes: u64,
    /// Open file handles, connections included.
    pub open_files: u64,
    /// How many it may open.
    pub open_files_max: u64,
    /// Processor time so far, seconds.
    pub cpu_seconds: f64,
    /// Space where the data is; none when that cannot be told.
    pub disk: Option<DiskSpace>,
}

/// Space on a disk, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// What this process may still write.
    pub free: u64,
    /// All of it.
    pub total: u64,
}
