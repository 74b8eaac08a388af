//! The console's history over the lake's reader; journeys over both and the vehicle domain's rules.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use remuda_contracts::erasures::ErasureDesk;
use remuda_contracts::history::{
    HistoryAnswer, HistoryBook, HistoryBucket, HistoryEnd, HistoryError, HistoryMode, HistoryMoment,
    HistoryPlace, HistoryQuery, HistoryRows, HistoryValues, JourneyPage, JourneyQuery, JourneyView,
    TrackPoint,
};
use remuda_lake::Lake;
use remuda_lake::query::{
    Answer, AnswerRows, AsOf, BucketRows, Cursor, HistoryReader, HistorySettings, Mode, Moment, QueryError,
    SampleRows, Selection, lttb,
};
use remuda_model::signal::{LATITUDE, LONGITUDE, ODOMETER, SPEED};
use remuda_model::{SignalId, VehicleId, signal};
use remuda_observability::Metrics;
use remuda_vehicles::journeys::{DriveSample, Journey, JourneyFinder};

use crate::erasing::Eraser;
use crate::wiring::chain;

/// Rows of one part of an answer: what is converted at a time.
const PART_ROWS: usize = 4 * 1024;
/// A journey is looked for this far beyond the range it must touch, ns: who drives longer without a stop of five minutes
/// is found in parts.
const JOURNEY_NS_MAX: i64 = 12 * 3_600_000_000_000;

/// A page of journeys is answered after this long, short as it may be: a call has 30 s.
const PAGE_TIME: Duration = Duration::from_secs(8);

/// History, for the console.
pub(crate) struct LakeHistory {
    reader: HistoryReader,
    lake: Lake,
    eraser: Eraser,
}

/// A lake's history, its figures registered.
pub(crate) fn reader(lake: &Lake, eraser: Eraser, metrics: &Metrics) -> LakeHistory {
    let reader = HistoryReader::new(lake.clone(), &HistorySettings::default());
    metrics.register(|registry| reader.metrics().register(registry));
    LakeHistory { reader, lake: lake.clone(), eraser }
}

fn refusal(error: QueryError) -> HistoryError {
    match error {
        QueryError::Busy(max) => HistoryError::Busy(max),
        QueryError::TooLongForPlot(max) => HistoryError::TooLongForPlot(max),
        QueryError::Lake(_) => {
            tracing::error!(error = chain(&error), "history could not be read");
            HistoryError::Unavailable
        }
    }
}

fn moment_of(as_of: &AsOf, complete_since_ns: Option<i64>) -> HistoryMoment {
    let AsOf { position, read_ms, fresh_files, history_files } = *as_of;
    HistoryMoment { position, read_ms, fresh_files, history_files, complete_since_ns }
}

/// Since when retention has left these signals whole in a range; none when it has removed nothing of it. It is asked after
/// the files were listed: what has left the list is told by then.
async fn complete_since(
    lake: &Lake,
    signals: &[SignalId],
    (from_ns, until_ns): (i64, i64),
) -> Result<Option<i64>, HistoryError> {
    let horizon = lake.horizon().await.map_err(|error| refusal(QueryError::Lake(error)))?;
    let since = signals.iter().filter_map(|signal| horizon.of(Some(*signal))).max();
    Ok(since.filter(|since| *since > from_ns).map(|since| since.min(until_ns)))
}

#[async_trait]
impl HistoryBook for LakeHistory {
    fn erasures(&self) -> Option<&dyn ErasureDesk> {
        Some(&self.eraser)
    }

    async fn query(&self, query: HistoryQuery) -> Result<Box<dyn HistoryAnswer>, HistoryError> {
        let HistoryQuery { organization, vehicles, signals, from_ns, until_ns, mode, limit, after } = query;
        let after = after.map(|HistoryPlace { vehicle, time_ns, rows }| Cursor { vehicle, time_ns, rows });
        let asked = (signals.clone(), (from_ns, until_ns));
        let selection = Selection::new(organization, vehicles, signals, from_ns, until_ns).after(after);
        let mode = match mode {
            HistoryMode::Raw => Mode::Raw,
            HistoryMode::Buckets(length_ns) => Mode::Buckets(length_ns),
            HistoryMode::Plot(points) => Mode::Plot(points),
        };
        let answer = self.reader.answer(selection, mode, limit).await.map_err(refusal)?;
        let lake = self.lake.clone();
        let since_ns = complete_since(&lake, &asked.0, asked.1).await?;
        Ok(Box::new(LakeAnswer { answer, ready: VecDeque::new(), lake, asked, since_ns }))
    }

    async fn journeys(&self, query: JourneyQuery) -> Result<JourneyPage, HistoryError> {
        let signals = vec![SPEED, ODOMETER, LATITUDE, LONGITUDE];
        let (from_ns, until_ns) =
            (query.from_ns.saturating_sub(JOURNEY_NS_MAX), query.until_ns.saturating_add(JOURNEY_NS_MAX));
        let mut vehicles = query.vehicles.clone();
        if let Some((vehicle, _)) = query.after {
            vehicles.retain(|other| *other >= vehicle);
        }
        let selection = Selection::new(query.organization, vehicles, signals.clone(), from_ns, until_ns);
        let moment = self.reader.moment(selection).await.map_err(refusal)?;
        let since_ns = complete_since(&self.lake, &signals, (query.from_ns, query.until_ns)).await?;
        let mut page = JourneyPage { as_of: moment_of(&moment.as_of(), since_ns), ..JourneyPage::default() };
        let begun = Instant::now();
        for vehicle in moment.vehicles() {
            for journey in journeys_of(&moment, *vehicle, until_ns).await.map_err(refusal)? {
                let touches = journey.end_ns > query.from_ns && journey.start_ns < query.until_ns;
                let seen = query.after.is_some_and(|after| (*vehicle, journey.start_ns) <= after);
                if !touches || seen {
                    continue;
                }
                if page.journeys.len() >= query.page {
                    page.next = page.journeys.last().map(|last| (last.vehicle, last.start_ns));
                    return Ok(page);
                }
                page.journeys.push(view_of(*vehicle, journey, query.track_points));
            }
            if begun.elapsed() > PAGE_TIME && moment.vehicles().last() != Some(vehicle) {
                page.next = Some((*vehicle, i64::MAX));
                return Ok(page);
            }
        }
        Ok(page)
    }
}

/// All journeys of a vehicle in what a moment has of it.
async fn journeys_of(moment: &Moment, vehicle: VehicleId, until_ns: i64) -> Result<Vec<Journey>, QueryError> {
    let mut finder = JourneyFinder::default();
    let mut found = Vec::new();
    let mut scan = moment.scan_one(vehicle);
    while let Some(rows) = scan.next().await? {
        let [speed, odometer, latitude, longitude] = rows.columns.as_slice() else { continue };
        for (row, time_ns) in rows.times.iter().enumerate() {
            let whole = |raw: i64| i32::try_from(raw).ok();
            let sample = DriveSample {
                time_ns: *time_ns,
                speed_kmh: speed.get(row).and_then(|raw| Some(signal::by_id(SPEED)?.to_physical(raw))),
                odometer_m: odometer.get(row).and_then(|raw| Some(signal::by_id(ODOMETER)?.to_physical(raw))),
                position: latitude.get(row).and_then(whole).zip(longitude.get(row).and_then(whole)),
            };
            found.extend(finder.push(&sample));
        }
    }
    let read_ns = moment.as_of().read_ms.saturating_mul(1_000_000);
    found.extend(finder.finish(read_ns.min(until_ns)));
    Ok(found)
}

fn view_of(vehicle: VehicleId, journey: Journey, track_points: usize) -> JourneyView {
    let Journey { start_ns, end_ns, under_way, distance_m, moving_ns, max_speed_kmh, track } = journey;
    JourneyView {
        vehicle,
        start_ns,
        end_ns,
        under_way,
        distance_m,
        moving_ms: moving_ns / 1_000_000,
        max_speed_kmh,
        start: track.first().copied(),
        end: track.last().copied(),
        track: thinned(&track, track_points),
    }
}

/// Points that keep the shape both from west to east and from south to north.
fn thinned(track: &[TrackPoint], points: usize) -> Vec<TrackPoint> {
    if points < 2 || track.len() <= points {
        return if points == 0 { Vec::new() } else { track.iter().copied().take(points.max(1)).collect() };
    }
    let times: Vec<i64> = track.iter().map(|point| point.time_ns).collect();
    let line = |of: fn(&TrackPoint) -> i32| -> Vec<i64> { track.iter().map(|p| i64::from(of(p))).collect() };
    // Both lines keep both ends.
    let half = points / 2 + 1;
    let mut kept = lttb(&times, &line(|point| point.latitude_e7), half);
    kept.extend(lttb(&times, &line(|point| point.longitude_e7), (points + 2 - half).max(2)));
    kept.sort_unstable();
    kept.dedup();
    kept.truncate(points);
    kept.into_iter().map(|place| track[place]).collect()
}

/// An answer of the lake.
struct LakeAnswer {
    answer: Answer,
    ready: VecDeque<HistoryRows>,
    lake: Lake,
    /// Signals, and from when to when.
    asked: (Vec<SignalId>, (i64, i64)),
    since_ns: Option<i64>,
}

#[async_trait]
impl HistoryAnswer for LakeAnswer {
    fn as_of(&self) -> HistoryMoment {
        moment_of(&self.answer.as_of(), self.since_ns)
    }

    async fn next(&mut self) -> Result<Option<HistoryRows>, HistoryError> {
        if self.ready.is_empty() {
            match self.answer.next().await.map_err(refusal)? {
                Some(AnswerRows::Samples(rows)) => self.ready.extend(parts(&rows)),
                Some(AnswerRows::Buckets(rows)) => self.ready.push_back(buckets(rows)),
                None => {
                    // Files that retention removed while it was read are not in it.
                    self.since_ns = complete_since(&self.lake, &self.asked.0, self.asked.1).await?;
                    return Ok(None);
                }
            }
        }
        Ok(self.ready.pop_front())
    }

    fn end(&self) -> HistoryEnd {
        let end = self.answer.end();
        HistoryEnd {
            rows: end.rows,
            values: end.values,
            rows_read: end.read.rows,
            bytes_read: end.read.bytes,
            limited: end.limited,
            next: end.next.map(|Cursor { vehicle, time_ns, rows }| HistoryPlace { vehicle, time_ns, rows }),
            as_of: moment_of(&end.as_of, self.since_ns),
        }
    }
}

fn parts(rows: &SampleRows) -> impl Iterator<Item = HistoryRows> {
    let begins = (0..rows.times.len()).step_by(PART_ROWS);
    begins.map(|begin| {
        let range = begin..(begin + PART_ROWS).min(rows.times.len());
        let columns = rows.columns.iter().map(|column| range.clone().map(|row| column.get(row)).collect());
        HistoryRows {
            vehicle: rows.vehicle,
            times: rows.times[range.clone()].to_vec(),
            signals: HistoryValues::Samples(columns.collect()),
        }
    })
}

fn buckets(rows: BucketRows) -> HistoryRows {
    let columns = rows.columns.into_iter().map(|column| {
        let bucket = |bucket: Option<remuda_lake::query::Bucket>| {
            let remuda_lake::query::Bucket { min, max, last, sum, count } = bucket?;
            Some(HistoryBucket { min, max, last, sum, count })
        };
        column.into_iter().map(bucket).collect()
    });
    HistoryRows {
        vehicle: rows.vehicle,
        times: rows.begins,
        signals: HistoryValues::Buckets(columns.collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_keeps_its_ends_and_its_corner() {
        let point = |i: i32| TrackPoint {
            time_ns: i64::from(i) * 1_000_000_000,
            latitude_e7: i.min(500) * 100,
            longitude_e7: (i - 500).max(0) * 100,
        };
        let track: Vec<TrackPoint> = (0..1_000).map(point).collect();
        let kept = thinned(&track, 20);
        assert!(kept.len() <= 20 && kept.len() > 10);
        assert_eq!((kept[0], kept[kept.len() - 1]), (track[0], track[999]));
        let near_corner = |p: &TrackPoint| (p.time_ns / 1_000_000_000 - 500).abs() < 60;
        assert!(kept.iter().any(near_corner));
        assert_eq!((thinned(&track, 0).len(), thinned(&track[..5], 20).len()), (0, 5));
        for points in 1..9 {
            assert!(thinned(&track, points).len() <= points, "{points}");
        }
    }
}
