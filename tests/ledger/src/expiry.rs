//! What retention took: rows of files that were replaced or dropped and can still be read, compared with what is there now.

use std::collections::{BTreeSet, HashMap};

use remuda_lake::{Horizon, Lake, LakeError, Row, RowBody, row_time_ns};
use remuda_model::{Incarnation, Seq, SignalId, VehicleId, signal};
use remuda_vehicles::ledger::RULE_SIGNALS;

use crate::books::Expired;

const HOUR_NS: i64 = 3_600_000_000_000;
const HOUR_MS: i64 = 3_600_000;

/// Which row.
type Key = (VehicleId, Incarnation, Seq, u32);

fn key(row: &Row) -> Key {
    (row.vehicle, row.incarnation, row.seq, row.row_in_frame)
}

fn values(row: &Row) -> &[(SignalId, i64)] {
    match &row.body {
        RowBody::Samples(values) => values,
        RowBody::Marker | RowBody::Gap { .. } | RowBody::Quarantine { .. } => &[],
    }
}

/// When the hour of a row ends, ms since 1970 UTC: hours go as a whole.
fn hour_end_ms(row: &Row) -> i64 {
    let hour = row_time_ns(row.sample_time_ns, row.receive_time_ms).div_euclid(HOUR_NS);
    hour.saturating_add(1).saturating_mul(HOUR_MS)
}

/// Whose rows erasures took.
#[derive(Debug, Default)]
pub(crate) struct Erased {
    /// Of these.
    pub vehicles: BTreeSet<VehicleId>,
    /// Of every vehicle.
    pub all: bool,
}

impl Erased {
    fn holds(&self, vehicle: &VehicleId) -> bool {
        self.all || self.vehicles.contains(vehicle)
    }
}

/// Rows as they were before retention.
#[derive(Debug, Default)]
pub(crate) struct Expiry {
    horizon: Horizon,
    /// Each with all the values that any of its files has.
    before: HashMap<Key, Row>,
    counted: Expired,
}

impl Expiry {
    /// Reads the trail, and where it tells of something, what can still be read of it.
    pub async fn read(lake: &Lake) -> Result<Self, LakeError> {
        let horizon = lake.horizon().await?;
        let before_ms = horizon.classes_ms.values().copied().chain(horizon.rows_ms).max();
        let counted = Expired { rows_told: lake.expired_rows().await?, before_ms, ..Expired::default() };
        let mut before: HashMap<Key, Row> = HashMap::new();
        if before_ms.is_some() {
            lake.for_each_replaced_row(|row| {
                let known = before.entry(key(row)).or_insert_with(|| row.clone());
                if values(row).len() > values(known).len() {
                    *known = row.clone();
                }
            })
            .await?;
        }
        Ok(Self { horizon, before, counted })
    }

    fn is_class_over_age(&self, signal: SignalId, end_ms: i64) -> bool {
        self.horizon.classes_ms.get(&signal::class_of(signal)).is_some_and(|until_ms| end_ms <= *until_ms)
    }

    /// A row that is there; answers it as it was, where that can be read.
    pub fn stays(&mut self, row: &Row, erased: &Erased) -> Option<Row> {
        let before = self.before.remove(&key(row))?;
        let end_ms = hour_end_ms(row);
        for (signal, value) in values(&before) {
            if values(row).contains(&(*signal, *value)) {
                continue;
            }
            if self.is_class_over_age(*signal, end_ms) {
                self.counted.samples += 1;
            } else if !erased.holds(&row.vehicle) {
                self.counted.samples_lost += 1;
            }
        }
        Some(before)
    }

    /// Whether a row that can be read only as it is may lack values that rules looked at.
    pub fn may_lack(&self, row: &Row) -> bool {
        let end_ms = hour_end_ms(row);
        let over = RULE_SIGNALS.iter().any(|signal| self.is_class_over_age(*signal, end_ms));
        // A file loses the whole class: with a value of it left, none is gone.
        over && !values(row).iter().any(|(signal, _)| self.is_class_over_age(*signal, end_ms))
    }

    /// After the last row that is there: rows that retention took whole, and what it took over all.
    pub fn gone(mut self, erased: &Erased) -> (Vec<Row>, Expired) {
        let until_ms = self.horizon.rows_ms.unwrap_or(i64::MIN);
        let mut gone = Vec::new();
        for row in std::mem::take(&mut self.before).into_values() {
            if hour_end_ms(&row) <= until_ms {
                self.counted.rows_seen += 1;
                gone.push(row);
            } else if !erased.holds(&row.vehicle) {
                self.counted.samples_lost += values(&row).len() as u64;
            }
        }
        (gone, self.counted)
    }
}
