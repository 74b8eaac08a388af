//! Following the lake: every committed row of an organisation once, in the order of commits, wherever it lies by now.
//!
//! A row's place in that order is the manifest position of the file it was committed in. Its first file says it by its
//! place in the manifest; when compaction moves the row to history, the row takes the number along (`commit_position`),
//! and the history file's name says which numbers are in it. So a place is two numbers and, within a commit, a row: it
//! can be kept for as long as anybody likes, by anybody, and nothing in the lake waits for it. A history file is always
//! younger than the commits in it: what lies at or before a place holds nothing that comes after it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use bytes::Bytes;
use remuda_eventsourcing::{ManifestEntry, ManifestPosition, ManifestRecord, NotePosition};
use remuda_model::{Incarnation, OrganizationId, Seq, SignalClass, VehicleId};
use serde::{Deserialize, Serialize};

use crate::aside::aside;
use crate::commits::Commits;
use crate::error::LakeError;
use crate::history::bytes_of;
use crate::lake::Lake;
use crate::limits;
use crate::retention::{RetentionRecord, TRAIL, gone_from};
use crate::row::Row;
use crate::scan::Scan;

/// A row within its commit: they are told by vehicle, incarnation, frame and row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RowKey {
    /// Vehicle.
    pub vehicle: VehicleId,
    /// Start of its agent.
    pub incarnation: Incarnation,
    /// Frame.
    pub seq: Seq,
    /// Row in the frame.
    pub row_in_frame: u32,
}

impl RowKey {
    /// Of a row.
    pub const fn of(row: &Row) -> Self {
        let Row { vehicle, incarnation, seq, row_in_frame, .. } = row;
        Self { vehicle: *vehicle, incarnation: *incarnation, seq: *seq, row_in_frame: *row_in_frame }
    }
}

/// How far somebody has read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Commits before this one are read, and of this one what `row` says.
    pub commit: ManifestPosition,
    /// The last row read of it; `None`: all of it.
    pub row: Option<RowKey>,
    /// How far the trail of what retention took is read.
    pub retention: NotePosition,
}

impl Place {
    /// The first commit of which something may be unread.
    const fn next(&self) -> ManifestPosition {
        if self.row.is_some() { self.commit } else { self.commit + 1 }
    }

    fn is_before(&self, commit: ManifestPosition, row: &Row) -> bool {
        commit > self.commit || (commit == self.commit && self.row.is_some_and(|last| RowKey::of(row) > last))
    }
}

/// What a follower was too late for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gone {
    /// Rows of some commits, removed by retention before they were read.
    Rows {
        /// The commits they were of, at most, inclusive.
        commits: (ManifestPosition, ManifestPosition),
        /// How many at most.
        rows_max: u64,
        /// Their hours ended up to this time, ms since 1970 UTC.
        until_ms: i64,
    },
    /// Values of these classes, removed by retention from rows that are told here.
    Values {
        /// The commits the rows are of, inclusive.
        commits: (ManifestPosition, ManifestPosition),
        /// Which classes.
        classes: BTreeSet<SignalClass>,
    },
}

/// What came next.
#[derive(Debug, Clone, PartialEq)]
pub struct Followed {
    /// Rows in order; `commit` says of which commit each is. What an erasure covers is not among them.
    pub rows: Vec<Row>,
    /// Told before the rows.
    pub gone: Vec<Gone>,
    /// Where to go on.
    pub place: Place,
    /// The end of the manifest as it was seen last.
    pub head: ManifestPosition,
    /// Whether nothing was left to read when this was answered.
    pub caught_up: bool,
}

/// What is left to read, as of one moment.
#[derive(Debug, Default)]
struct Plan {
    /// How often files were replaced before.
    count: u64,
    head: ManifestPosition,
    /// Ascending.
    fresh: VecDeque<ManifestRecord>,
    /// Files with commits that may be unread, by their first commit.
    history: Vec<(Commits, ManifestEntry)>,
}

/// Reads the lake from a place on.
pub struct Follower {
    lake: Lake,
    organization: OrganizationId,
    place: Place,
    plan: Option<Plan>,
    /// Read ahead, in order, all after `place`.
    buffer: VecDeque<Row>,
    /// Commits up to this one are in the buffer, or were read.
    read_to: ManifestPosition,
    gone: Vec<Gone>,
    window_bytes: usize,
}

impl Follower {
    /// From a place on.
    pub fn new(lake: &Lake, organization: OrganizationId, place: Place) -> Self {
        Self {
            lake: lake.clone(),
            organization,
            place,
            plan: None,
            buffer: VecDeque::new(),
            read_to: place.next() - 1,
            gone: Vec::new(),
            window_bytes: limits::FOLLOW_BYTES,
        }
    }

    /// Reads ahead this many bytes of rows at most, or one commit.
    #[must_use]
    pub fn with_window(self, window_bytes: usize) -> Self {
        Self { window_bytes, ..self }
    }

    /// How far it has read.
    pub const fn place(&self) -> Place {
        self.place
    }

    /// The next rows, at most `rows_max`. None of them, and a place that moved on, when other organisations' or erased
    /// rows were passed.
    ///
    /// # Errors
    /// When a committed file is missing or damaged, or the journal fails; ask again then.
    pub async fn next(&mut self, rows_max: usize) -> Result<Followed, LakeError> {
        // Only who has just looked can say that there is nothing more.
        let looked = self.buffer.is_empty() && self.refill().await?;
        let tombstones = self.lake.tombstones().await?;
        let taken = self.buffer.len().min(rows_max.max(1));
        let mut rows: Vec<Row> = self.buffer.drain(..taken).collect();
        self.place = match rows.last() {
            Some(last) if !self.buffer.is_empty() => {
                Place { commit: last.commit, row: Some(RowKey::of(last)), ..self.place }
            }
            _ => Place { commit: self.read_to, row: None, ..self.place },
        };
        // Only now: what is asked to be forgotten while rows wait here is not told any more.
        if !tombstones.is_empty() {
            rows.retain_mut(|row| !matches!(tombstones.strip(row), crate::erasure::Stripped::Erased(_)));
        }
        let head = self.plan.as_ref().map_or(self.read_to, |plan| plan.head);
        let gone = std::mem::take(&mut self.gone);
        let caught_up = looked && self.buffer.is_empty() && self.read_to >= head;
        Ok(Followed { rows, gone, place: self.place, head, caught_up })
    }

    /// Reads the next commit, or as many as fit of those that lie in history; whether it listed what there is.
    async fn refill(&mut self) -> Result<bool, LakeError> {
        let mut missing: Option<(u64, String)> = None;
        loop {
            let count = self.lake.journal.replacing().await?.count;
            if let Some((_, path)) = missing.take_if(|(then, _)| *then == count) {
                return Err(LakeError::Damaged { path, what: "missing".into() });
            }
            let known = self.plan.take().filter(|plan| plan.count == count && !plan.is_done(self.read_to));
            let looked = known.is_none();
            let mut plan = match known {
                Some(plan) => plan,
                None => self.list().await?,
            };
            let Some(path) = self.read(&mut plan).await? else {
                self.plan = Some(plan);
                return Ok(looked);
            };
            // A file that is gone was replaced longer ago than its grace: the list is of the past.
            missing = Some((plan.count, path));
        }
    }

    /// What is left to read, and what can be read no more.
    async fn list(&mut self) -> Result<Plan, LakeError> {
        let next = self.place.next();
        loop {
            let count = self.lake.journal.replacing().await?.count;
            let mut plan = Plan { count, head: next - 1, ..Plan::default() };
            loop {
                let page = self.lake.journal.manifest(plan.head, limits::MANIFEST_PAGE).await?;
                let Some(last) = page.last() else { break };
                plan.head = last.position;
                page.into_iter().for_each(|record| plan.add(record, next));
            }
            let (gone, retention) = self.gone_since(next).await?;
            // Manifest and trail of one moment: a file that goes in between is neither missed nor told of.
            if self.lake.journal.replacing().await?.count == count {
                plan.history.sort_unstable_by_key(|(commits, _)| (commits.from, commits.to));
                self.gone.extend(gone);
                self.place.retention = retention;
                return Ok(plan);
            }
        }
    }

    async fn gone_since(&self, next: ManifestPosition) -> Result<(Vec<Gone>, NotePosition), LakeError> {
        let (mut gone, mut retention) = (Vec::new(), self.place.retention);
        loop {
            let lines = self.lake.journal.notes(TRAIL, retention, limits::MANIFEST_PAGE).await?;
            if lines.is_empty() {
                return Ok((gone, retention));
            }
            for (position, line) in lines {
                retention = position;
                let record: RetentionRecord = serde_json::from_slice(&line).map_err(|e| {
                    LakeError::Encode(format!("a line of the trail {TRAIL} cannot be read ({e})"))
                })?;
                for dropped in record.dropped {
                    let Commits { from, to } = dropped.commits;
                    if dropped.organization == self.organization && to >= next {
                        let commits = (from.max(next), to);
                        let (rows_max, until_ms) = (dropped.rows, record.until_ms);
                        gone.push(Gone::Rows { commits, rows_max, until_ms });
                    }
                }
            }
        }
    }

    /// Fills the buffer; answers the file that is gone, if one is.
    async fn read(&mut self, plan: &mut Plan) -> Result<Option<String>, LakeError> {
        let before_fresh = plan.fresh.front().map_or(plan.head, |record| record.position - 1);
        let next = self.read_to + 1;
        plan.history.retain(|(commits, _)| commits.to >= next);
        if plan.history.iter().any(|(commits, _)| commits.from <= before_fresh) {
            return self.read_history(plan, before_fresh).await;
        }
        let Some(record) = plan.fresh.pop_front() else {
            self.read_to = plan.head.max(self.read_to);
            return Ok(None);
        };
        let Some(bytes) = self.lake.files.read_if_there(&record.entry).await? else {
            return Ok(Some(record.entry.path));
        };
        let window = Window { upto: record.position, ..self.window(Some(record.position)) };
        let mut window = take_in(window, bytes, &record.entry.path).await?;
        self.accept(record.position, std::mem::take(&mut window.rows));
        Ok(None)
    }

    fn window(&self, fresh: Option<ManifestPosition>) -> Window {
        Window {
            organization: self.organization,
            place: self.place,
            fresh,
            upto: 0,
            bytes_max: self.window_bytes,
            bytes: 0,
            rows: BTreeMap::new(),
        }
    }

    async fn read_history(
        &mut self,
        plan: &Plan,
        upto: ManifestPosition,
    ) -> Result<Option<String>, LakeError> {
        let mut window = Window { upto, ..self.window(None) };
        let mut without: BTreeSet<SignalClass> = BTreeSet::new();
        for (commits, entry) in &plan.history {
            if commits.from > window.upto {
                break;
            }
            let Some(bytes) = self.lake.files.read_if_there(entry).await? else {
                return Ok(Some(entry.path.clone()));
            };
            let before = window.bytes;
            window = take_in(window, bytes, &entry.path).await?;
            if window.bytes != before {
                without.extend(gone_from(&entry.path));
            }
        }
        if !without.is_empty() && !window.rows.is_empty() {
            let commits = (self.place.next(), window.upto);
            self.gone.push(Gone::Values { commits, classes: without });
        }
        self.accept(window.upto, window.rows);
        Ok(None)
    }

    fn accept(&mut self, read_to: ManifestPosition, rows: BTreeMap<ManifestPosition, Vec<Row>>) {
        for (_, mut of_commit) in rows {
            of_commit.sort_unstable_by_key(RowKey::of);
            self.buffer.extend(of_commit);
        }
        self.read_to = read_to;
    }
}

impl Plan {
    fn is_done(&self, read_to: ManifestPosition) -> bool {
        read_to >= self.head
    }

    fn add(&mut self, ManifestRecord { position, entry }: ManifestRecord, next: ManifestPosition) {
        // Without its rows an entry is small enough to keep all of them.
        let entry = ManifestEntry { rows: Vec::new(), ..entry };
        match Commits::in_path(&entry.path) {
            Some(commits) if commits.to >= next => self.history.push((commits, entry)),
            Some(_) => {}
            // What others have put into history, or put there before rows knew their commits, was never new here.
            None if entry.path.starts_with(crate::history::HISTORY) => {}
            None => self.fresh.push_back(ManifestRecord { position, entry }),
        }
    }
}

/// Rows that are being collected, whole commits in order.
struct Window {
    organization: OrganizationId,
    place: Place,
    /// The commit of all rows, in a file that is not history yet.
    fresh: Option<ManifestPosition>,
    /// Later commits are left for the next time.
    upto: ManifestPosition,
    bytes_max: usize,
    bytes: usize,
    rows: BTreeMap<ManifestPosition, Vec<Row>>,
}

impl Window {
    fn take(&mut self, row: Row) {
        let wanted = row.organization == self.organization
            && row.commit <= self.upto
            && self.place.is_before(row.commit, &row);
        if wanted {
            self.bytes += bytes_of(&row);
            self.rows.entry(row.commit).or_default().push(row);
        }
    }

    /// Leaves the latest commits for the next time when there is too much.
    fn fit(&mut self) {
        while self.bytes > self.bytes_max && self.rows.len() > 1 {
            if let Some((commit, rows)) = self.rows.pop_last() {
                self.bytes -= rows.iter().map(bytes_of).sum::<usize>();
                self.upto = commit - 1;
            }
        }
    }
}

async fn take_in(window: Window, bytes: Bytes, path: &str) -> Result<Window, LakeError> {
    let damaged = || LakeError::Damaged { path: path.to_owned(), what: "unreadable".into() };
    aside(move || {
        let mut window = window;
        let mut scan = Scan::open(bytes)?;
        let mut chunk = Vec::new();
        while scan.read(limits::SCAN_ROWS, &mut chunk)? > 0 {
            for mut row in chunk.drain(..) {
                row.commit = window.fresh.unwrap_or(row.commit);
                window.take(row);
            }
            window.fit();
        }
        Ok(window)
    })
    .await
    .ok_or_else(damaged)?
}

impl Lake {
    /// The place after everything that is committed now.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn end(&self) -> Result<Place, LakeError> {
        let mut end = Place::default();
        loop {
            let lines = self.journal.notes(TRAIL, end.retention, limits::MANIFEST_PAGE).await?;
            let Some((last, _)) = lines.last() else { break };
            end.retention = *last;
        }
        end.commit = self.head_after(0).await?;
        Ok(end)
    }

    /// The end of the manifest, which was at least here.
    ///
    /// # Errors
    /// When the journal fails.
    pub async fn head_after(&self, mut known: ManifestPosition) -> Result<ManifestPosition, LakeError> {
        loop {
            let page = self.journal.manifest(known, limits::MANIFEST_PAGE).await?;
            let Some(last) = page.last() else { return Ok(known) };
            known = last.position;
        }
    }
}
