//! Reads a stopped cloud's disk: rows of the lake, events of the journal, and whether decisions and rows agree.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use remuda_eventsourcing::{Journal, JournalError, JournalMetrics, SledJournal};
use remuda_lake::{Lake, LakeSettings, Row, RowBody};
use remuda_model::{Incarnation, Lane, SHARDS, Seq, ShardId, VehicleId};
use remuda_vehicles::RuleSettings;
use remuda_vehicles::ledger::{Booked, CLOUD_LOST, Decision, RULE_SIGNALS, demanded, read};

use crate::LedgerError;
use crate::books::{Books, Ledger, Stream};
use crate::expiry::{Erased, Expiry};

/// How often, and how long apart, a journal that is in use is tried again.
const LOCK_TRIES: u32 = 50;
const LOCK_PAUSE: Duration = Duration::from_millis(100);
/// Events read at a time.
const PAGE: usize = 1_024;

/// sled gives its lock back a moment after the journal was dropped; a node that still runs keeps it.
async fn open_when_free(folder: &Path) -> Result<Arc<dyn Journal>, LedgerError> {
    for _ in 0..LOCK_TRIES {
        match SledJournal::open(folder, JournalMetrics::default()) {
            Err(JournalError::InUse(_)) => tokio::time::sleep(LOCK_PAUSE).await,
            opened => return Ok(Arc::new(opened?)),
        }
    }
    Ok(Arc::new(SledJournal::open(folder, JournalMetrics::default())?))
}

/// A stopped cloud's journal and lake.
pub(crate) struct CloudDisk {
    journal: Arc<dyn Journal>,
    lake: Lake,
}

impl CloudDisk {
    /// Opens the data folder of a node that does not run.
    pub async fn open(data: &Path) -> Result<Self, LedgerError> {
        let journal = open_when_free(&data.join("journal")).await?;
        let lake = Lake::open(LakeSettings::new(data.join("lake")), Arc::clone(&journal)).await?;
        Ok(Self { journal, lake })
    }

    /// Every row of every committed file.
    pub async fn for_each_row(&self, each: impl FnMut(&Row) + Send) -> Result<(), LedgerError> {
        Ok(self.lake.for_each_row(each).await?)
    }

    /// Enters rows and events into the books; answers what to compare decisions by.
    pub async fn enter(&self, books: &mut Books) -> Result<Decisions, LedgerError> {
        let mut decisions = Decisions::default();
        let mut erased = Erased::default();
        for erasure in self.lake.erasures().await? {
            match erasure.tombstone.vehicle {
                Some(vehicle) => {
                    books.erased(vehicle, erasure.rows);
                    erased.vehicles.insert(vehicle);
                    // Rows that demanded its decisions are gone: nobody can judge them any more.
                    decisions.unjudged.insert(vehicle);
                }
                None => erased.all = true,
            }
        }
        let mut expiry = Expiry::read(&self.lake).await?;
        self.lake
            .for_each_row(|row| {
                enter_row(books, row);
                let before = expiry.stays(row, &erased);
                if before.is_none() && expiry.may_lack(row) {
                    decisions.unjudged.insert(row.vehicle);
                }
                decisions.row(before.as_ref().unwrap_or(row));
            })
            .await?;
        let (gone, expired) = expiry.gone(&erased);
        for row in &gone {
            enter_expired(books, row);
            decisions.row(row);
        }
        books.expired(expired);
        decisions.any_is_unseen = expired.rows_told > expired.rows_seen;
        self.for_each_booked(|vehicle, booked| enter_event(books, &mut decisions, vehicle, booked)).await?;
        Ok(decisions)
    }

    /// Enters what a node that was lost had.
    pub async fn enter_lost(&self, books: &mut Books) -> Result<(), LedgerError> {
        self.lake
            .for_each_row(|row| {
                let stream =
                    Stream { vehicle: row.vehicle, incarnation: row.incarnation, lane: Lane::Samples };
                books.had_by_lost_node(stream, row.seq, row.durable_to());
            })
            .await?;
        self.for_each_booked(|vehicle, booked| {
            let (lane, incarnation, from, to) = match booked {
                Booked::Reported { incarnation, seq } | Booked::Quarantined { incarnation, seq } => {
                    (Lane::Events, incarnation, seq, seq)
                }
                Booked::Gapped { incarnation, from, to, .. } => (Lane::Events, incarnation, from, to),
                Booked::Reprocessed { lane, incarnation, seq } => (lane, incarnation, seq, seq),
                Booked::Decided(_) => return,
            };
            books.had_by_lost_node(Stream { vehicle, incarnation, lane }, from, to);
        })
        .await
    }

    /// What every event of the journal says of frames and decisions.
    async fn for_each_booked(
        &self,
        mut each: impl FnMut(VehicleId, Booked) + Send,
    ) -> Result<(), LedgerError> {
        for shard in (0..SHARDS).filter_map(ShardId::new) {
            let mut after = 0;
            loop {
                let page = self.journal.read_feed(shard, after, PAGE).await?;
                let Some(last) = page.last() else { break };
                after = last.position;
                for event in &page {
                    if let Some((vehicle, booked)) = read(&event.event) {
                        each(vehicle, booked);
                    }
                }
            }
        }
        Ok(())
    }
}

/// A row that retention took whole.
fn enter_expired(books: &mut Books, row: &Row) {
    match &row.body {
        // What it says holds: the frames will never come.
        RowBody::Gap { .. } => enter_row(books, row),
        RowBody::Samples(_) | RowBody::Marker | RowBody::Quarantine { .. } => {
            let stream = Stream { vehicle: row.vehicle, incarnation: row.incarnation, lane: Lane::Samples };
            books.expired_row(stream, row.seq);
        }
    }
}

fn enter_row(books: &mut Books, row: &Row) {
    let stream = Stream { vehicle: row.vehicle, incarnation: row.incarnation, lane: Lane::Samples };
    match &row.body {
        RowBody::Samples(values) => books.row(stream, row.seq, row.row_in_frame, values.len() as u64),
        RowBody::Marker => books.row(stream, row.seq, row.row_in_frame, 0),
        RowBody::Gap { to, reason } if reason == CLOUD_LOST => books.cloud_lost(stream, row.seq, *to),
        RowBody::Gap { to, .. } => books.gap(stream, row.seq, *to),
        RowBody::Quarantine { .. } => books.quarantined(stream, row.seq),
    }
}

fn enter_event(books: &mut Books, decisions: &mut Decisions, vehicle: VehicleId, booked: Booked) {
    let stream = |incarnation| Stream { vehicle, incarnation, lane: Lane::Events };
    match booked {
        Booked::Reported { incarnation, seq } => books.reported(stream(incarnation), seq),
        Booked::Gapped { incarnation, from, to, cloud_lost: true } => {
            books.cloud_lost(stream(incarnation), from, to)
        }
        Booked::Gapped { incarnation, from, to, cloud_lost: false } => {
            books.gap(stream(incarnation), from, to)
        }
        Booked::Quarantined { incarnation, seq } => books.quarantined(stream(incarnation), seq),
        Booked::Reprocessed { lane, incarnation, seq } => {
            let stream = Stream { vehicle, incarnation, lane };
            books.reprocessed(stream, seq);
            match lane {
                Lane::Events => books.reported(stream, seq),
                // Its rows are in the lake; no rule ever looked at them.
                Lane::Samples => {
                    _ = decisions.reprocessed.entry(vehicle).or_default().insert((incarnation, seq))
                }
            }
        }
        Booked::Decided(decision) => {
            *decisions.made.entry(vehicle).or_default().entry(decision).or_default() += 1
        }
    }
}

/// Decisions as made, and the rows that demand them.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    rows: HashMap<VehicleId, Vec<Row>>,
    made: HashMap<VehicleId, BTreeMap<Decision, u64>>,
    reprocessed: HashMap<VehicleId, BTreeSet<(Incarnation, Seq)>>,
    /// Vehicles of which rows were erased, or lack values.
    unjudged: BTreeSet<VehicleId>,
    /// Rows are gone of which nobody can say whose they were: none can be judged.
    any_is_unseen: bool,
}

impl Decisions {
    fn row(&mut self, row: &Row) {
        if let RowBody::Samples(values) = &row.body {
            // The others are dropped, so that long runs fit into memory.
            let of_rules =
                values.iter().filter(|(signal, _)| RULE_SIGNALS.contains(signal)).copied().collect();
            let row = Row { body: RowBody::Samples(of_rules), ..row.clone() };
            self.rows.entry(row.vehicle).or_default().push(row);
        }
    }

    /// Evaluates the rules again and compares.
    pub fn compare(mut self, ledger: &mut Ledger) {
        let settings = RuleSettings::default();
        if self.any_is_unseen {
            return;
        }
        for vehicle in &self.unjudged {
            self.rows.remove(vehicle);
            self.made.remove(vehicle);
        }
        for (vehicle, rows) in &self.rows {
            let unseen = self.reprocessed.remove(vehicle).unwrap_or_default();
            let seen = rows.iter().filter(|row| !unseen.contains(&(row.incarnation, row.seq)));
            let demanded = demanded(&settings, seen);
            let mut made = self.made.remove(vehicle).unwrap_or_default();
            for decision in demanded.required {
                match made.remove(&decision) {
                    None => tell(ledger, |l| &mut l.decisions_missing, 1, vehicle, "missing", &decision),
                    Some(times) => {
                        tell(ledger, |l| &mut l.decisions_doubled, times - 1, vehicle, "doubled", &decision)
                    }
                }
            }
            for decision in demanded.permitted {
                if let Some(times) = made.remove(&decision) {
                    tell(ledger, |l| &mut l.decisions_doubled, times - 1, vehicle, "doubled", &decision);
                }
            }
            for (decision, times) in made {
                tell(
                    ledger,
                    |l| &mut l.decisions_doubled,
                    times,
                    vehicle,
                    "made without rows that demand it",
                    &decision,
                );
            }
        }
        for (vehicle, made) in &self.made {
            for (decision, times) in made {
                tell(
                    ledger,
                    |l| &mut l.decisions_doubled,
                    *times,
                    vehicle,
                    "made without any rows",
                    decision,
                );
            }
        }
    }
}

fn tell(
    ledger: &mut Ledger,
    count: fn(&mut Ledger) -> &mut u64,
    times: u64,
    vehicle: &VehicleId,
    what: &str,
    decision: &Decision,
) {
    if times > 0 {
        *count(ledger) += times;
        ledger.fault(format!("{vehicle}: a decision is {what}: {decision:?}"));
    }
}
