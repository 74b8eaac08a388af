//! The log that the preloaded layer writes: its bytes, and what they say. See `preload.c`, which has the same layout.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::DiskError;

const MAGIC: u64 = 0x3130_4b53_4944_4d52;
/// Where the first record stands.
pub(crate) const HEADER: u64 = 4_096;
/// Bytes a log may grow to; the file is sparse.
const CAPACITY: u64 = 1 << 30;
/// Bytes of a record in front of its texts and data.
const RECORD: usize = 40;

/// One change below a disk's folder. Paths are relative to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change<'a> {
    Create {
        path: &'a str,
        inode: u64,
    },
    Mkdir {
        path: &'a str,
        inode: u64,
    },
    Link {
        from: &'a str,
        to: &'a str,
    },
    Unlink {
        path: &'a str,
    },
    Rmdir {
        path: &'a str,
    },
    Rename {
        from: &'a str,
        to: &'a str,
    },
    Write {
        inode: u64,
        offset: u64,
        data: &'a [u8],
    },
    Truncate {
        inode: u64,
        size: u64,
    },
    /// Everything of this file or folder that stands in the log before `covers` is durable.
    Sync {
        inode: u64,
        covers: u64,
    },
}

/// A change and its place in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub at: u64,
    pub change: Change<'a>,
}

/// A log's file.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
}

/// What stands in a log.
#[derive(Debug)]
pub(crate) struct Contents {
    bytes: Vec<u8>,
    settled: u64,
    begun: u64,
}

fn io(operation: &'static str) -> impl FnOnce(std::io::Error) -> DiskError {
    move |source| DiskError::Io { operation, source }
}

impl Log {
    /// Takes the file and empties it.
    pub fn new(file: File) -> Result<Self, DiskError> {
        let log = Self { file };
        log.clear()?;
        Ok(log)
    }

    /// Forgets all of it; nobody has it mapped.
    pub fn clear(&self) -> Result<(), DiskError> {
        let empty = || {
            self.file.set_len(0)?;
            self.file.set_len(CAPACITY)?;
            for (n, number) in [MAGIC, CAPACITY, HEADER, HEADER].into_iter().enumerate() {
                self.file.write_all_at(&number.to_le_bytes(), n as u64 * 8)?;
            }
            Ok(())
        };
        empty().map_err(io("emptying a log"))
    }

    pub fn read(&self) -> Result<Contents, DiskError> {
        let number = |n: u64| {
            let mut bytes = [0; 8];
            self.file.read_exact_at(&mut bytes, n * 8).map(|()| u64::from_le_bytes(bytes))
        };
        let all = || {
            let (settled, begun) = (number(2)?, number(3)?);
            let mut bytes = vec![0; begun as usize];
            self.file.read_exact_at(&mut bytes, 0)?;
            Ok(Contents { bytes, settled, begun })
        };
        all().map_err(io("reading a log"))
    }

    /// What became of the change that a kill interrupted: `kept` says its inode and, of a write, the bytes it made.
    pub fn settle(&self, contents: &Contents, kept: Option<(u64, Option<Vec<u8>>)>) -> Result<(), DiskError> {
        let at = contents.settled;
        let write = || {
            let end = match kept {
                Some((inode, data)) => {
                    self.file.write_all_at(&inode.to_le_bytes(), at + 8)?;
                    if let Some(data) = data {
                        self.file.write_all_at(&(data.len() as u64).to_le_bytes(), at + 32)?;
                        self.file.write_all_at(&data, at + RECORD as u64)?;
                    }
                    contents.begun
                }
                None => at,
            };
            self.file.write_all_at(&end.to_le_bytes(), 16)?;
            self.file.write_all_at(&end.to_le_bytes(), 24)
        };
        write().map_err(io("settling a log"))
    }
}

impl Contents {
    /// Every settled change, in order.
    pub fn records(&self) -> Result<Vec<Record<'_>>, DiskError> {
        let mut records = Vec::new();
        let mut at = HEADER;
        while at < self.settled {
            let (record, length) = self.one(at)?;
            records.push(record);
            at += length;
        }
        Ok(records)
    }

    /// The change that was begun and not settled when its process was killed.
    pub fn in_flight(&self) -> Result<Option<Record<'_>>, DiskError> {
        if self.begun > self.settled {
            self.one(self.settled).map(|(record, _)| Some(record))
        } else {
            Ok(None)
        }
    }

    fn one(&self, at: u64) -> Result<(Record<'_>, u64), DiskError> {
        self.parse(at as usize).ok_or(DiskError::Log { at })
    }

    fn parse(&self, at: usize) -> Option<(Record<'_>, u64)> {
        let head = self.bytes.get(at..at + RECORD)?;
        let small = |from: usize| Some(u32::from_le_bytes(*head.get(from..)?.first_chunk()?));
        let large = |from: usize| Some(u64::from_le_bytes(*head.get(from..)?.first_chunk()?));
        let (length, kind, inode, number) = (small(0)?, small(4)?, large(8)?, large(16)?);
        let (from_length, to_length, data_length) =
            (small(24)? as usize, small(28)? as usize, large(32)? as usize);
        let from_at = at + RECORD;
        let to_at = from_at + from_length;
        let path = std::str::from_utf8(self.bytes.get(from_at..to_at)?).ok()?;
        let to = std::str::from_utf8(self.bytes.get(to_at..to_at + to_length)?).ok()?;
        let data = self.bytes.get(to_at + to_length..to_at + to_length + data_length)?;
        let change = match kind {
            1 => Change::Create { path, inode },
            2 => Change::Mkdir { path, inode },
            3 => Change::Link { from: path, to },
            4 => Change::Unlink { path },
            5 => Change::Rmdir { path },
            6 => Change::Rename { from: path, to },
            7 => Change::Write { inode, offset: number, data },
            8 => Change::Truncate { inode, size: number },
            9 => Change::Sync { inode, covers: number },
            _ => return None,
        };
        (length as usize >= RECORD).then_some((Record { at: at as u64, change }, u64::from(length)))
    }
}
