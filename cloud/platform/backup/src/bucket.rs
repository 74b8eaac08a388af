//! A lake's bucket, spoken to from a thread that may wait, and that gives up when it is told to.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use remuda_lake::{Bucket, BucketFile, BucketListing, BucketReading, LakeError};
use tokio::runtime::Handle;

use crate::error::BackupError;
use crate::pace::Pace;

/// How often it is looked whether to stop while the server is waited for.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// The bucket that a lake lies in.
#[derive(Clone)]
pub struct LakeBucket {
    bucket: Bucket,
    runtime: Handle,
}

impl LakeBucket {
    /// Requests are made on `runtime`, which must be there as long as this is used, from other threads than its own.
    pub fn new(bucket: Bucket, runtime: Handle) -> Self {
        Self { bucket, runtime }
    }

    /// `s3://bucket/folder`.
    pub fn address(&self) -> &str {
        self.bucket.address()
    }

    fn wait<T>(
        &self,
        stop: &AtomicBool,
        what: &'static str,
        work: impl Future<Output = Result<T, LakeError>>,
    ) -> Result<T, BackupError> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                done = work => done.map_err(|source| BackupError::Bucket {
                    address: self.address().to_owned(),
                    what,
                    source: Box::new(source),
                }),
                () = stopped(stop) => Err(BackupError::Stopped),
            }
        })
    }

    /// Hands out every file of the lake, committed or not.
    pub(crate) fn each_file(
        &self,
        pace: &mut Pace,
        each: &mut dyn FnMut(BucketFile) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.each(self.bucket.files(), pace, each)
    }

    /// Hands out every copy of an erasure.
    pub(crate) fn each_erasure(
        &self,
        pace: &mut Pace,
        each: &mut dyn FnMut(BucketFile) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        self.each(self.bucket.erasures(), pace, each)
    }

    fn each(
        &self,
        mut listing: BucketListing,
        pace: &mut Pace,
        each: &mut dyn FnMut(BucketFile) -> Result<(), BackupError>,
    ) -> Result<(), BackupError> {
        while let Some(file) = self.wait(pace.stop(), "listed", listing.next_file())? {
            pace.spend(0)?;
            each(file)?;
        }
        Ok(())
    }

    /// A file of the lake; `None` when it is nowhere.
    pub(crate) fn read(&self, path: &str, pace: &Pace) -> Result<Option<BucketRead<'_>>, BackupError> {
        let reading = self.wait(pace.stop(), "read", self.bucket.read(path))?;
        let stop = Arc::clone(pace.stop());
        Ok(reading.map(|reading| BucketRead {
            bucket: self,
            stop,
            reading,
            piece: Bytes::new(),
            failed: None,
        }))
    }

    /// Writes a new file; one that is there and the same is left as it is.
    pub(crate) fn create(&self, path: &str, bytes: Vec<u8>, pace: &Pace) -> Result<(), BackupError> {
        self.wait(pace.stop(), "written", self.bucket.create(path, bytes))
    }
}

async fn stopped(stop: &AtomicBool) {
    while !stop.load(Ordering::Acquire) {
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// A file of a bucket, read piece by piece.
pub(crate) struct BucketRead<'a> {
    bucket: &'a LakeBucket,
    stop: Arc<AtomicBool>,
    reading: BucketReading,
    piece: Bytes,
    /// Why it failed, since a reader can only say that it did.
    pub failed: Option<BackupError>,
}

impl Read for BucketRead<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.bucket.wait(&self.stop, "read", self.reading.next_piece()) {
                Ok(Some(piece)) => self.piece = piece,
                Ok(None) => return Ok(0),
                Err(error) => {
                    let text = error.to_string();
                    self.failed = Some(error);
                    return Err(io::Error::other(text));
                }
            }
        }
        let length = buffer.len().min(self.piece.len());
        buffer[..length].copy_from_slice(&self.piece.split_to(length));
        Ok(length)
    }
}
