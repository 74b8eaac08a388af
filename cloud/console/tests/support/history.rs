//! A history that was made up: a vehicle's speed is its number of seconds, and it drives one journey.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_contracts::erasures::{ErasureAsk, ErasureDesk, ErasureError, ErasurePreview, ErasureView};
use remuda_contracts::history::{
    HistoryAnswer, HistoryBook, HistoryBucket, HistoryEnd, HistoryError, HistoryMode, HistoryMoment,
    HistoryPlace, HistoryQuery, HistoryRows, HistoryValues, JourneyPage, JourneyQuery, JourneyView,
    TrackPoint,
};
use remuda_model::OrganizationId;
use tokio::sync::Notify;

pub const SECOND_NS: i64 = 1_000_000_000;
pub const MOMENT: HistoryMoment = HistoryMoment {
    position: 42,
    read_ms: 1_700_000_000_000,
    fresh_files: 2,
    history_files: 3,
    complete_since_ns: Some(1_600_000_000_000_000_007),
};

/// See the module.
#[derive(Default)]
pub struct FakeHistory {
    /// Answers that are neither at their end nor dropped.
    pub running: Arc<AtomicUsize>,
    /// Whether answers begin and then say nothing more.
    pub hangs: AtomicBool,
    pub refuses: Mutex<Option<HistoryError>>,
    pub asked: Mutex<Option<HistoryQuery>>,
    pub asked_journeys: Mutex<Option<JourneyQuery>>,
    pub erasures: FakeErasures,
}

/// Erasures that are only remembered.
#[derive(Default)]
pub struct FakeErasures {
    pub asked: Mutex<Vec<ErasureAsk>>,
}

#[async_trait]
impl ErasureDesk for FakeErasures {
    async fn preview(&self, _: ErasureAsk) -> Result<ErasurePreview, ErasureError> {
        Ok(ErasurePreview { files: 2, rows: 7, blanked: 1, files_not_looked_at: 0 })
    }

    async fn erase(&self, ask: ErasureAsk) -> Result<ErasureView, ErasureError> {
        if ask.reason == "none" {
            return Err(ErasureError::Refused("it makes no sense".into()));
        }
        self.asked.lock().push(ask);
        let views = self.list(OrganizationId::default()).await?;
        views.last().cloned().ok_or(ErasureError::Unavailable)
    }

    async fn list(&self, _: OrganizationId) -> Result<Vec<ErasureView>, ErasureError> {
        let view = |(n, ask): (usize, &ErasureAsk)| ErasureView {
            id: format!("{n:04x}"),
            ask: ask.clone(),
            requested_ms: 1_000,
            due_ms: 5_000,
            rows: 3,
            blanked: 0,
            files: 1,
            rewritten_ms: (n == 0).then_some(2_000),
            finished_ms: None,
        };
        Ok(self.asked.lock().iter().enumerate().map(view).collect())
    }
}

struct FakeAnswer {
    rows: VecDeque<HistoryRows>,
    end: HistoryEnd,
    hangs: bool,
    running: Arc<AtomicUsize>,
}

impl Drop for FakeAnswer {
    fn drop(&mut self) {
        self.running.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl HistoryAnswer for FakeAnswer {
    fn as_of(&self) -> HistoryMoment {
        MOMENT
    }

    async fn next(&mut self) -> Result<Option<HistoryRows>, HistoryError> {
        if self.hangs {
            Notify::new().notified().await;
        }
        Ok(self.rows.pop_front())
    }

    fn end(&self) -> HistoryEnd {
        self.end
    }
}

#[async_trait]
impl HistoryBook for FakeHistory {
    fn erasures(&self) -> Option<&dyn ErasureDesk> {
        Some(&self.erasures)
    }

    async fn query(&self, query: HistoryQuery) -> Result<Box<dyn HistoryAnswer>, HistoryError> {
        *self.asked.lock() = Some(query.clone());
        if let Some(error) = self.refuses.lock().clone() {
            return Err(error);
        }
        let from_s = query.from_ns / SECOND_NS;
        let mut seconds = (query.until_ns / SECOND_NS - from_s) as usize;
        let mut end = HistoryEnd { as_of: MOMENT, ..HistoryEnd::default() };
        if let Some(limit) = query.limit.filter(|limit| (*limit as usize) < seconds) {
            seconds = limit as usize;
            end.limited = true;
            let time_ns = query.from_ns + (seconds as i64 - 1) * SECOND_NS;
            end.next = query.vehicles.first().map(|v| HistoryPlace { vehicle: *v, time_ns, rows: 1 });
        }
        let rows = query.vehicles.iter().map(|vehicle| HistoryRows {
            vehicle: *vehicle,
            times: (0..seconds as i64).map(|s| query.from_ns + s * SECOND_NS).collect(),
            signals: match query.mode {
                HistoryMode::Buckets(_) => HistoryValues::Buckets(
                    (0..query.signals.len())
                        .map(|_| {
                            let bucket = |s| {
                                Some(HistoryBucket {
                                    min: s,
                                    max: s + 2,
                                    last: s + 1,
                                    sum: 3 * i128::from(s) + 3,
                                    count: 3,
                                })
                            };
                            (0..seconds as i64).map(bucket).collect()
                        })
                        .collect(),
                ),
                // The first signal has a value every time, others every second time.
                _ => HistoryValues::Samples(
                    (0..query.signals.len())
                        .map(|n| {
                            (0..seconds as i64).map(|s| (n == 0 || s % 2 == 0).then_some(s * 100)).collect()
                        })
                        .collect(),
                ),
            },
        });
        self.running.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(FakeAnswer {
            rows: rows.collect(),
            end,
            hangs: self.hangs.load(Ordering::SeqCst),
            running: Arc::clone(&self.running),
        }))
    }

    async fn journeys(&self, query: JourneyQuery) -> Result<JourneyPage, HistoryError> {
        *self.asked_journeys.lock() = Some(query.clone());
        let point = |s: i64| TrackPoint {
            time_ns: query.from_ns + s * SECOND_NS,
            latitude_e7: 601_710_000,
            longitude_e7: 249_410_000,
        };
        let journeys = query.vehicles.iter().take(query.page).map(|vehicle| JourneyView {
            vehicle: *vehicle,
            start_ns: query.from_ns,
            end_ns: query.until_ns,
            under_way: false,
            distance_m: 1_234.5,
            moving_ms: 60_000,
            max_speed_kmh: 50.5,
            start: Some(point(0)),
            end: Some(point(9)),
            track: (0..query.track_points as i64).map(point).collect(),
        });
        let journeys: Vec<_> = journeys.collect();
        let more = journeys.len() < query.vehicles.len();
        let next = journeys.last().filter(|_| more).map(|last| (last.vehicle, last.start_ns));
        Ok(JourneyPage { journeys, next, as_of: MOMENT })
    }
}
