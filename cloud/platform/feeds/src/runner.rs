//! One feed at work: read, send, write the cursor; in this order, one batch at a time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use remuda_model::OrganizationId;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::batch::{Batch, Lag};
use crate::cursor::Cursor;
use crate::error::FeedError;
use crate::limits;
use crate::metrics::OneFeed;
use crate::reader::{Reader, now_ms};
use crate::sink::{Sink, SinkError};
use crate::store::{DeadLetter, FeedFolder};

/// What a feed is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Phase {
    /// It reads and sends.
    #[default]
    Running,
    /// The sink, or the source, failed; it is tried again.
    Retrying,
    /// Somebody paused it.
    Paused,
    /// It has as many dead letters as there may be; it goes on when some are sent again or dropped.
    Blocked,
}

/// How a feed is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// What it does.
    pub phase: Phase,
    /// How far behind it is.
    pub lag: Lag,
    /// How far it has come: the sink has confirmed everything before.
    pub cursor: Cursor,
    /// Items that were confirmed since the node started.
    pub delivered: u64,
    /// Batches that were sent again since.
    pub retried: u64,
    /// Messages since that something was gone before it was told.
    pub missed: u64,
    /// What went wrong last, and when, ms since 1970 UTC.
    pub last_error: Option<(i64, String)>,
    /// When the last batch was confirmed, ms since 1970 UTC.
    pub delivered_ms: Option<i64>,
}

/// What a feed is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Desired {
    Run,
    Pause,
    Stop,
}

/// How patient it is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    pub send_within: Duration,
    pub retry: (Duration, Duration),
    pub refusals_max: u32,
}

/// A feed at work.
pub(crate) struct Runner {
    pub name: String,
    pub organization: OrganizationId,
    pub reader: Reader,
    pub sink: Box<dyn Sink>,
    pub folder: FeedFolder,
    pub items_max: usize,
    pub patience: Patience,
    pub status: Arc<Mutex<Status>>,
    pub metrics: OneFeed,
    pub desired: watch::Receiver<Desired>,
    /// Held while the list of dead letters is changed.
    pub letters: Arc<tokio::sync::Mutex<()>>,
}

/// How a batch ended.
#[derive(PartialEq, Eq)]
enum Ended {
    /// Confirmed, or among the dead letters.
    Done,
    /// Told to pause or to stop.
    Interrupted,
}

impl Runner {
    /// Works until it is told to stop.
    pub async fn run(mut self) {
        let mut pending: Option<Batch> = None;
        let mut written = Instant::now();
        let mut pause = self.patience.retry.0;
        loop {
            if !self.may_run().await {
                return;
            }
            let batch = match pending.take() {
                Some(batch) => batch,
                None => match self.reader.next(self.items_max).await {
                    Ok(batch) => batch,
                    Err(error) => {
                        self.failed(&chain(&error));
                        self.rest(pause).await;
                        pause = (pause * 2).min(self.patience.retry.1);
                        continue;
                    }
                },
            };
            pause = self.patience.retry.0;
            if batch.items.is_empty() {
                self.passed(&batch, &mut written).await;
                continue;
            }
            if self.deliver(&batch).await == Ended::Interrupted {
                pending = Some(batch);
                continue;
            }
            while !self.advance(&batch).await {
                if !self.may_run().await {
                    return;
                }
            }
            written = Instant::now();
        }
    }

    /// Waits while it is paused; false when it is to stop.
    async fn may_run(&mut self) -> bool {
        loop {
            // Nobody is there any more who could say stop.
            if self.desired.has_changed().is_err() {
                return false;
            }
            match *self.desired.borrow_and_update() {
                Desired::Run => {
                    let mut status = self.status.lock();
                    if status.phase == Phase::Paused {
                        status.phase = Phase::Running;
                    }
                    return true;
                }
                Desired::Stop => return false,
                Desired::Pause => self.status.lock().phase = Phase::Paused,
            }
            if self.desired.changed().await.is_err() {
                return false;
            }
        }
    }

    /// Sleeps, unless it is told something.
    async fn rest(&mut self, pause: Duration) {
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            _ = self.desired.changed() => self.desired.mark_changed(),
        }
    }

    /// Nothing of what came is to be told.
    async fn passed(&mut self, batch: &Batch, written: &mut Instant) {
        let moved = self.status.lock().cursor != batch.cursor;
        if moved && written.elapsed() >= limits::IDLE_CURSOR_EVERY {
            self.advance(batch).await;
            *written = Instant::now();
        } else {
            self.tell_lag(batch.lag);
            self.status.lock().phase = Phase::Running;
        }
        if batch.caught_up {
            self.rest(limits::LOOK_EVERY).await;
        }
    }

    /// Sends until the sink confirms, or refuses for good.
    async fn deliver(&mut self, batch: &Batch) -> Ended {
        let (mut attempts, mut refusals, mut pause) = (0, 0, self.patience.retry.0);
        loop {
            let since_ms = batch.items.first().map(|item| item.had_ms);
            // Where this fails the lag stays as it was; reading on will fail too, and say why.
            let _ = self.reader.look().await;
            let confirmed = self.status.lock().cursor.clone();
            self.tell_lag(Lag { positions: self.reader.after(&confirmed), since_ms });
            attempts += 1;
            let sent = tokio::select! {
                biased;
                () = told(&mut self.desired) => return Ended::Interrupted,
                sent = timeout(self.patience.send_within, self.sink.send(&batch.items)) => sent,
            };
            let hung = || {
                let seconds = self.patience.send_within.as_secs();
                SinkError::unavailable(format!("the sink confirmed nothing within {seconds} s"))
            };
            let error = match sent {
                Ok(Ok(())) => {
                    self.delivered(batch);
                    return Ended::Done;
                }
                Ok(Err(error)) => error,
                Err(_) => hung(),
            };
            refusals += u32::from(error.refused);
            self.failed(&error.text);
            if refusals >= self.patience.refusals_max {
                match self.bury(batch, &error.text, attempts).await {
                    Ok(true) => return Ended::Done,
                    Ok(false) => self.status.lock().phase = Phase::Blocked,
                    Err(error) => self.failed(&chain(&error)),
                }
            }
            self.status.lock().retried += 1;
            self.metrics.retried.inc();
            self.rest(error.after.unwrap_or_default().clamp(pause, self.patience.retry.1.max(pause))).await;
            pause = (pause * 2).min(self.patience.retry.1);
        }
    }

    fn delivered(&self, batch: &Batch) {
        let items = batch.items.len() as u64;
        let mut status = self.status.lock();
        status.phase = Phase::Running;
        status.delivered += items;
        status.missed += batch.missed;
        status.delivered_ms = Some(now_ms());
        self.metrics.delivered.inc_by(items);
        self.metrics.missed.inc_by(batch.missed);
    }

    /// Writes the cursor; whether it is on the disk.
    async fn advance(&mut self, batch: &Batch) -> bool {
        fail::fail_point!("feed-before-cursor", |_| {
            // What a kill here leaves: confirmed by the sink, and the cursor where it was.
            std::process::abort()
        });
        let (folder, token) = (self.folder.clone(), batch.cursor.token(&self.organization));
        let written = tokio::task::spawn_blocking(move || folder.write_cursor(&token)).await;
        match written {
            Ok(Ok(())) => {
                self.status.lock().cursor = batch.cursor.clone();
                self.tell_lag(batch.lag);
                true
            }
            Ok(Err(error)) => {
                self.failed(&chain(&error));
                self.rest(self.patience.retry.1.min(Duration::from_secs(5))).await;
                false
            }
            // The runtime is going.
            Err(_) => false,
        }
    }

    /// Puts a batch among the dead letters; false when there are too many.
    async fn bury(&mut self, batch: &Batch, error: &str, attempts: u32) -> Result<bool, FeedError> {
        let _held = self.letters.lock().await;
        let id = |item: Option<&crate::item::Item>| item.map(|item| item.id.clone()).unwrap_or_default();
        let from = self.status.lock().cursor.token(&self.organization);
        let letter = DeadLetter {
            number: 0,
            from,
            to: batch.cursor.token(&self.organization),
            items: batch.items.len() as u64,
            ids: (id(batch.items.first()), id(batch.items.last())),
            error: error.to_owned(),
            at_ms: now_ms(),
            attempts,
        };
        let folder = self.folder.clone();
        let buried = tokio::task::spawn_blocking(move || {
            let mut letters = folder.dead_letters()?;
            // A crash came between this list and the cursor: it is the same batch again, perhaps with more in it.
            letters.retain(|known| known.from != letter.from);
            if letters.len() >= limits::DEAD_LETTERS_MAX {
                return Ok(false);
            }
            let number = letters.iter().map(|known| known.number).max().unwrap_or_default() + 1;
            letters.push(DeadLetter { number, ..letter });
            folder.write_dead_letters(&letters)?;
            Ok::<_, FeedError>(true)
        });
        let buried = buried.await.unwrap_or(Ok(false))?;
        if buried {
            tracing::warn!(
                feed = self.name,
                items = batch.items.len(),
                error,
                "a batch went to the dead letters"
            );
            self.metrics.dead.inc();
            self.status.lock().phase = Phase::Running;
        }
        Ok(buried)
    }

    fn failed(&self, text: &str) {
        let mut status = self.status.lock();
        if status.last_error.as_ref().is_none_or(|(_, last)| last != text) || status.phase == Phase::Running {
            tracing::info!(feed = self.name, error = text, "a feed does not get on; it is tried again");
        }
        status.phase = Phase::Retrying;
        status.last_error = Some((now_ms(), text.to_owned()));
    }

    fn tell_lag(&self, lag: Lag) {
        self.status.lock().lag = lag;
        let seconds = lag.since_ms.map_or(0, |since| (now_ms() - since).max(0) / 1_000);
        self.metrics.lag_seconds.set(seconds);
        self.metrics.lag_positions.set(i64::try_from(lag.positions).unwrap_or(i64::MAX));
    }
}

/// Waits until something else is to be done than to run.
async fn told(desired: &mut watch::Receiver<Desired>) {
    // When nobody is there any more who could say it, that is a word, too.
    let _ = desired.wait_for(|desired| *desired != Desired::Run).await;
}

/// An error with what caused it, one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
