//! A question answered row by row: raw samples, buckets or lines for a plot, up to a limit.

use std::collections::VecDeque;

use remuda_model::VehicleId;

use super::buckets::{BucketRows, Buckets};
use super::lttb::lttb;
use super::merge::{Column, SampleRows};
use super::{AsOf, Cursor, HistoryReader, Moment, Progress, QueryError, Scan, Selection, limits};

/// What to make of the samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every sample.
    Raw,
    /// One value for each span of this length, ns.
    Buckets(i64),
    /// For each vehicle and signal so many samples that keep the shape of its line.
    Plot(usize),
}

/// Rows of one vehicle, in order of time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerRows {
    /// Samples.
    Samples(SampleRows),
    /// Buckets.
    Buckets(BucketRows),
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AnswerEnd {
    /// Rows answered: instants, or buckets.
    pub rows: u64,
    /// Values answered.
    pub values: u64,
    /// What was read for it.
    pub read: Progress,
    /// The limit was met, and there is more.
    pub limited: bool,
    /// Where raw samples go on then.
    pub next: Option<Cursor>,
    /// As of which moment.
    pub as_of: AsOf,
}

/// What an answer is being made of.
enum Making {
    Raw,
    Buckets(Option<Buckets>),
    Plot { points: usize, waiting: VecDeque<VehicleId> },
}

/// An answer under way. Dropping it ends its work.
pub struct Answer {
    moment: Moment,
    making: Making,
    scan: Scan,
    /// Rows that may still be answered.
    left: u64,
    ready: VecDeque<AnswerRows>,
    end: AnswerEnd,
    /// What scans that ended have read.
    read: Progress,
}

impl HistoryReader {
    /// Begins an answer of at most `limit` rows; nothing is read yet.
    ///
    /// # Errors
    /// As [`HistoryReader::moment`].
    pub async fn answer(
        &self,
        selection: Selection,
        mode: Mode,
        limit: Option<u64>,
    ) -> Result<Answer, QueryError> {
        let moment = self.moment(selection).await?;
        let (making, scan) = match mode {
            Mode::Raw => (Making::Raw, moment.scan()),
            Mode::Buckets(length_ns) => (Making::Buckets(Some(Buckets::new(length_ns))), moment.scan()),
            Mode::Plot(points) => {
                let mut waiting: VecDeque<VehicleId> = moment.vehicles().iter().copied().collect();
                let first = waiting.pop_front();
                let scan = first.map_or_else(|| moment.scan(), |vehicle| moment.scan_one(vehicle));
                (Making::Plot { points, waiting }, scan)
            }
        };
        let end = AnswerEnd { as_of: moment.as_of(), ..AnswerEnd::default() };
        let left = limit.unwrap_or(u64::MAX);
        Ok(Answer { moment, making, scan, left, ready: VecDeque::new(), end, read: Progress::default() })
    }
}

impl Answer {
    /// As of which moment it answers.
    pub fn as_of(&self) -> AsOf {
        self.end.as_of
    }

    /// How it ended; of use when [`Answer::next`] has answered nothing.
    pub fn end(&self) -> AnswerEnd {
        let scan = self.scan.progress();
        let read = Progress { rows: self.read.rows + scan.rows, bytes: self.read.bytes + scan.bytes };
        AnswerEnd { read, ..self.end }
    }

    /// The next rows; `None` at the end.
    ///
    /// # Errors
    /// When a file is damaged, the store or the journal fails, or a line is too long for a plot.
    pub async fn next(&mut self) -> Result<Option<AnswerRows>, QueryError> {
        if self.end.limited {
            return Ok(None);
        }
        while self.ready.is_empty() {
            if !self.make().await? {
                // The limit was met by the last row there is.
                self.end.next = None;
                return Ok(None);
            }
        }
        let Some(mut rows) = self.ready.pop_front() else { return Ok(None) };
        if self.left == 0 {
            self.end.limited = true;
            return Ok(None);
        }
        self.end.next = None;
        let keep = usize::try_from(self.left).unwrap_or(usize::MAX);
        if rows.len() > keep {
            rows.truncate(keep);
            self.end.limited = true;
        }
        self.left -= rows.len() as u64;
        self.end.rows += rows.len() as u64;
        self.end.values += rows.values();
        if let (Making::Raw, 0, AnswerRows::Samples(samples)) = (&self.making, self.left, &rows) {
            self.end.next = self.place_after(samples);
        }
        Ok(Some(rows))
    }

    /// Where these rows end.
    fn place_after(&self, rows: &SampleRows) -> Option<Cursor> {
        let time_ns = *rows.times.last()?;
        let mut same = rows.times.iter().rev().take_while(|at| **at == time_ns).count() as u32;
        // Those of that time that an earlier page has answered count too.
        if let Some(before) = self.moment.selection.after
            && (before.vehicle, before.time_ns) == (rows.vehicle, time_ns)
        {
            same += before.rows;
        }
        Some(Cursor { vehicle: rows.vehicle, time_ns, rows: same })
    }

    /// Reads on; whether there is, or may be, more.
    async fn make(&mut self) -> Result<bool, QueryError> {
        let more = match &self.making {
            Making::Plot { points, .. } => {
                let points = *points;
                self.plot(points).await?;
                true
            }
            _ => match self.scan.next().await? {
                Some(rows) => {
                    self.take(rows);
                    true
                }
                None => false,
            },
        };
        self.end.as_of = self.scan.as_of();
        if more && !matches!(self.making, Making::Plot { .. }) {
            return Ok(true);
        }
        self.go_on()
    }

    fn take(&mut self, rows: SampleRows) {
        match &mut self.making {
            Making::Buckets(Some(buckets)) => {
                self.ready.extend(buckets.push(&rows).map(AnswerRows::Buckets));
            }
            _ => self.ready.push_back(AnswerRows::Samples(rows)),
        }
    }

    /// What comes after the end of a scan; whether there is anything.
    fn go_on(&mut self) -> Result<bool, QueryError> {
        match &mut self.making {
            Making::Raw => Ok(false),
            Making::Buckets(buckets) => match buckets.take() {
                Some(buckets) => {
                    self.ready.extend(buckets.finish().map(AnswerRows::Buckets));
                    Ok(true)
                }
                None => Ok(false),
            },
            Making::Plot { waiting, .. } => match waiting.pop_front() {
                Some(vehicle) => {
                    let done = self.scan.progress();
                    self.read.rows += done.rows;
                    self.read.bytes += done.bytes;
                    self.scan = self.moment.scan_one(vehicle);
                    Ok(true)
                }
                None => Ok(!self.ready.is_empty()),
            },
        }
    }

    /// Reads one vehicle's rows, all of them, and keeps what makes the shape of each line.
    async fn plot(&mut self, points: usize) -> Result<(), QueryError> {
        let mut all: Vec<SampleRows> = Vec::new();
        let mut samples = 0;
        while let Some(rows) = self.scan.next().await? {
            samples += rows.times.len() * (rows.columns.len() + 1);
            if samples > limits::PLOT_SAMPLES_MAX {
                return Err(QueryError::TooLongForPlot(limits::PLOT_SAMPLES_MAX));
            }
            all.push(rows);
        }
        self.ready.extend(lines(&all, points).map(AnswerRows::Samples));
        Ok(())
    }
}

/// The rows of one vehicle that any of its lines keeps, each with the values of the lines that keep it.
fn lines(all: &[SampleRows], points: usize) -> Option<SampleRows> {
    let first = all.first()?;
    let times: Vec<i64> = all.iter().flat_map(|rows| rows.times.iter().copied()).collect();
    // Place among all rows, signal, value.
    let mut kept: Vec<(usize, usize, i64)> = Vec::new();
    for signal in 0..first.columns.len() {
        let values =
            all.iter().flat_map(|rows| (0..rows.times.len()).map(|row| rows.columns[signal].get(row)));
        let line: Vec<(usize, i64)> =
            values.enumerate().filter_map(|(place, value)| Some((place, value?))).collect();
        let line_times: Vec<i64> = line.iter().map(|(place, _)| times[*place]).collect();
        let line_values: Vec<i64> = line.iter().map(|(_, value)| *value).collect();
        let of_line = lttb(&line_times, &line_values, points);
        kept.extend(of_line.into_iter().map(|i| (line[i].0, signal, line[i].1)));
    }
    kept.sort_unstable();
    let mut rows = SampleRows {
        vehicle: first.vehicle,
        times: Vec::new(),
        columns: vec![Column::default(); first.columns.len()],
    };
    for of_row in kept.chunk_by(|a, b| a.0 == b.0) {
        rows.times.push(times[of_row[0].0]);
        for (signal, column) in rows.columns.iter_mut().enumerate() {
            column.push(of_row.iter().find(|(_, of, _)| *of == signal).map(|(_, _, value)| *value));
        }
    }
    (!rows.times.is_empty()).then_some(rows)
}

impl AnswerRows {
    /// Instants, or buckets.
    pub fn len(&self) -> usize {
        match self {
            Self::Samples(rows) => rows.times.len(),
            Self::Buckets(rows) => rows.begins.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn values(&self) -> u64 {
        let values: usize = match self {
            Self::Samples(rows) => rows.columns.iter().map(Column::values).sum(),
            Self::Buckets(rows) => rows.columns.iter().flatten().filter(|bucket| bucket.is_some()).count(),
        };
        values as u64
    }

    fn truncate(&mut self, rows: usize) {
        match self {
            Self::Samples(samples) => {
                let keep: Vec<bool> = (0..samples.times.len()).map(|row| row < rows).collect();
                samples.retain(&keep);
            }
            Self::Buckets(buckets) => {
                buckets.begins.truncate(rows);
                buckets.columns.iter_mut().for_each(|column| column.truncate(rows));
            }
        }
    }
}
