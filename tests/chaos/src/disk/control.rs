//! The faults that the preloaded layer obeys, set while its process runs. See `preload.c`, which has the same layout.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const BYTES: u64 = 4_096;
const CLOCK: u64 = 0;
const SYNC_MIN: u64 = 8;
const SYNC_MAX: u64 = 16;
const SPACE: u64 = 24;
const WRITE_ERROR: u64 = 32;
const SYNC_ERROR: u64 = 40;
const MET: u64 = 48;
const ONLY: u64 = 56;
const ONLY_BYTES: usize = 104;

/// What a disk does to those who write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// Takes so many more bytes, then none.
    Full(u64),
    /// Refuses every change with EIO.
    WriteError,
    /// Refuses every sync with EIO.
    SyncError,
    /// Refuses every change with EROFS.
    ReadOnly,
    /// Takes so long for a sync, from and to, µs.
    Slow(u64, u64),
}

/// A fault, and whom it meets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// Only files whose path contains this; empty is all.
    pub only: &'static str,
}

#[derive(Debug)]
pub(crate) struct Control(File);

impl Control {
    pub fn new(file: File) -> io::Result<Self> {
        file.set_len(BYTES)?;
        let control = Self(file);
        control.heal()?;
        control.shift_clock(0)?;
        Ok(control)
    }

    fn put(&self, at: u64, value: u64) -> io::Result<()> {
        self.0.write_all_at(&value.to_le_bytes(), at)
    }

    pub fn heal(&self) -> io::Result<()> {
        for at in [SYNC_MAX, SYNC_MIN, WRITE_ERROR, SYNC_ERROR] {
            self.put(at, 0)?;
        }
        self.put(SPACE, u64::MAX)
    }

    pub fn shift_clock(&self, by_ns: i64) -> io::Result<()> {
        self.0.write_all_at(&by_ns.to_le_bytes(), CLOCK)
    }

    pub fn met(&self) -> io::Result<u64> {
        let mut bytes = [0; 8];
        self.0.read_exact_at(&mut bytes, MET)?;
        Ok(u64::from_le_bytes(bytes))
    }

    pub fn set(&self, fault: &Fault) -> io::Result<()> {
        let mut only = [0; ONLY_BYTES];
        for (into, byte) in only.iter_mut().zip(fault.only.bytes().take(ONLY_BYTES - 1)) {
            *into = byte;
        }
        // Whom it meets before that it holds.
        self.0.write_all_at(&only, ONLY)?;
        match fault.kind {
            FaultKind::Full(bytes) => self.put(SPACE, bytes),
            FaultKind::WriteError => self.put(WRITE_ERROR, libc::EIO as u64),
            FaultKind::SyncError => self.put(SYNC_ERROR, libc::EIO as u64),
            FaultKind::ReadOnly => self.put(WRITE_ERROR, libc::EROFS as u64),
            FaultKind::Slow(from, to) => {
                self.put(SYNC_MIN, from)?;
                self.put(SYNC_MAX, to.max(from))
            }
        }
    }
}
