//! How fast a backup may be, whether it is to stop, and what it tells of itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::BackupError;
use crate::limits;

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// What it is doing, such as `journals`.
    pub phase: String,
    /// Bytes gone through so far.
    pub bytes: u64,
    /// Bytes of this phase that are to be gone through, as far as that is known.
    pub bytes_expected: u64,
    /// Bytes a second since it began.
    pub bytes_per_second: f64,
}

/// What is told the progress.
pub type Tell = Box<dyn FnMut(&Progress) + Send>;

/// The pace of one run.
pub struct Pace {
    bytes_per_second: Option<u64>,
    stop: Arc<AtomicBool>,
    tell: Tell,
    begun: Instant,
    told: Option<Instant>,
    progress: Progress,
    /// What may be spent before a pause is due, bytes; negative after a burst.
    allowance: f64,
    looked: Instant,
}

impl Pace {
    /// At most so many bytes a second (none: as fast as it goes), until `stop`.
    pub fn new(bytes_per_second: Option<u64>, stop: Arc<AtomicBool>, tell: Tell) -> Self {
        let now = Instant::now();
        let progress = Progress::default();
        Self { bytes_per_second, stop, tell, begun: now, told: None, progress, allowance: 0.0, looked: now }
    }

    /// As fast as it goes, to its end, without a word.
    pub fn silent() -> Self {
        Self::new(None, Arc::default(), Box::new(|_| ()))
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// How long it has been at work.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// Is set when it is to stop.
    pub(crate) fn stop(&self) -> &Arc<AtomicBool> {
        &self.stop
    }

    pub(crate) fn phase(&mut self, phase: &str, bytes_expected: u64) {
        self.progress.phase = phase.to_owned();
        self.progress.bytes_expected = bytes_expected;
        self.say();
    }

    /// So many bytes were gone through: waits as long as the rate asks for.
    pub(crate) fn spend(&mut self, bytes: u64) -> Result<(), BackupError> {
        self.progress.bytes += bytes;
        if self.stop.load(Ordering::Acquire) {
            return Err(BackupError::Stopped);
        }
        if let Some(rate) = self.bytes_per_second {
            let rate = rate.max(1) as f64;
            // A pause that was not used is no right to a long burst.
            let earned = self.looked.elapsed().as_secs_f64() * rate;
            self.looked = Instant::now();
            self.allowance = (self.allowance + earned).min(limits::PIECE_BYTES as f64) - bytes as f64;
            if self.allowance < 0.0 {
                self.pause(Duration::from_secs_f64(-self.allowance / rate))?;
            }
        }
        if self.told.is_none_or(|at| at.elapsed() >= Duration::from_millis(limits::TELL_EVERY_MS)) {
            self.say();
        }
        Ok(())
    }

    /// In steps, so that a slow rate does not hold up a stop.
    fn pause(&self, mut left: Duration) -> Result<(), BackupError> {
        const STEP: Duration = Duration::from_millis(50);
        while !left.is_zero() {
            let step = left.min(STEP);
            std::thread::sleep(step);
            left -= step;
            if self.stop.load(Ordering::Acquire) {
                return Err(BackupError::Stopped);
            }
        }
        Ok(())
    }

    fn say(&mut self) {
        self.told = Some(Instant::now());
        let seconds = self.begun.elapsed().as_secs_f64();
        self.progress.bytes_per_second =
            if seconds > 0.0 { self.progress.bytes as f64 / seconds } else { 0.0 };
        (self.tell)(&self.progress);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_a_stop_is_heard() {
        let stop = Arc::new(AtomicBool::new(false));
        let mut pace = Pace::new(Some(1 << 20), Arc::clone(&stop), Box::new(|_| ()));
        let begun = Instant::now();
        for _ in 0..4 {
            pace.spend(1 << 16).expect("goes on");
        }
        assert!(begun.elapsed() >= Duration::from_millis(240), "a quarter of a second's bytes");
        stop.store(true, Ordering::Release);
        assert!(matches!(pace.spend(1), Err(BackupError::Stopped)));
        assert_eq!(pace.progress().bytes, (1 << 18) + 1);
    }
}
