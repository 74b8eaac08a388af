//! Where a row lies in `history/`: by organisation, date and hour of its sample time, sorted by vehicle and time.

use chrono::DateTime;
use remuda_model::{Incarnation, OrganizationId, Seq, VehicleId};

use crate::limits;
use crate::row::{Row, RowBody};

/// Files of rounds.
pub(crate) const FRESH: &str = "fresh/";
/// Files for everybody.
pub(crate) const HISTORY: &str = "history/";
/// History files that are not committed, or not yet at their place. Who reads `history/` as it lies there must meet
/// committed rows only.
pub(crate) const STAGED: &str = "staged/";
/// Files that others have replaced, for readers that began before.
pub(crate) const REPLACED: &str = "replaced/";

pub(crate) const HOUR_NS: i64 = 3_600_000_000_000;
pub(crate) const MS_NS: i64 = 1_000_000;

/// One hour of one organisation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Hour {
    pub organization: OrganizationId,
    /// Hours since 1970 UTC.
    pub hour: i64,
}

/// A row's time, ns since 1970 UTC: its sample time, or that of its receipt when the vehicle's clock was unknown or is
/// plainly wrong. A wrong clock must not scatter a vehicle's rows over the centuries.
pub(crate) fn time_ns(row: &Row) -> i64 {
    time_of(row.sample_time_ns, row.receive_time_ms)
}

/// The same of the two times alone.
pub(crate) fn time_of(sample_time_ns: Option<i64>, receive_time_ms: i64) -> i64 {
    let received = receive_time_ms.saturating_mul(MS_NS);
    let earliest = received.saturating_sub(limits::SAMPLE_BEHIND_MS_MAX * MS_NS);
    let latest = received.saturating_add(limits::SAMPLE_AHEAD_MS_MAX * MS_NS);
    sample_time_ns.filter(|at| (earliest..=latest).contains(at)).unwrap_or(received)
}

/// By what a history file is sorted.
pub(crate) type Order = (VehicleId, i64, Incarnation, Seq, u32);

/// A row's place in its file.
pub(crate) fn order(row: &Row) -> Order {
    (row.vehicle, time_ns(row), row.incarnation, row.seq, row.row_in_frame)
}

/// About what a row holds of memory, bytes.
pub(crate) fn bytes_of(row: &Row) -> usize {
    let body = match &row.body {
        RowBody::Samples(values) => values.capacity() * size_of::<(remuda_model::SignalId, i64)>(),
        RowBody::Marker => 0,
        RowBody::Gap { reason, .. } => reason.capacity(),
        RowBody::Quarantine { reason, raw } => reason.capacity() + raw.capacity(),
    };
    // An allocation costs a little more than what is asked for.
    size_of::<Row>() + body + 16
}

impl Hour {
    /// The hour of a row.
    pub fn of(row: &Row) -> Self {
        Self { organization: row.organization, hour: time_ns(row).div_euclid(HOUR_NS) }
    }

    /// Its folder, without a slash at the end.
    pub fn folder(&self) -> String {
        let begin = DateTime::from_timestamp(self.hour.saturating_mul(3_600), 0).unwrap_or_default();
        let organization = self.organization;
        format!("{HISTORY}organization={organization}/{}", begin.format("date=%Y-%m-%d/hour=%H"))
    }

    /// The hour of a history file's path; `None` for another path.
    pub fn of_path(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix(HISTORY)?.split('/');
        let organization = OrganizationId::new(parts.next()?.strip_prefix("organization=")?).ok()?;
        let date = parts.next()?.strip_prefix("date=")?;
        let hour: i64 = parts.next()?.strip_prefix("hour=")?.parse().ok()?;
        let midnight = DateTime::parse_from_rfc3339(&format!("{date}T00:00:00Z")).ok()?;
        Some(Self { organization, hour: midnight.timestamp().div_euclid(3_600) + hour })
    }

    /// When it ends, ms since 1970 UTC.
    pub const fn end_ms(&self) -> i64 {
        self.hour.saturating_add(1).saturating_mul(3_600_000)
    }
}

/// The compaction's epoch in the name of one of its files, `{writer}-{epoch}-{counter}.parquet`.
pub(crate) fn epoch_in_name(path: &str) -> Option<u64> {
    path.rsplit('/').next()?.strip_suffix(".parquet")?.split('-').nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(sample_time_ns: Option<i64>, receive_time_ms: i64) -> Row {
        Row {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new("V1").expect("an id"),
            incarnation: Incarnation(1),
            seq: 1,
            row_in_frame: 0,
            boot: 1,
            mono_ns: 0,
            sample_time_ns,
            receive_time_ms,
            commit: 0,
            body: RowBody::Marker,
        }
    }

    #[test]
    fn an_hour_is_its_folder_and_back() {
        // 2023-11-14T22:13:20Z.
        let hour = Hour::of(&row(Some(1_700_000_000_000_000_000), 1_700_000_100_000));
        assert_eq!(hour.folder(), "history/organization=default/date=2023-11-14/hour=22");
        assert_eq!(Hour::of_path(&format!("{}/a-1-2.parquet", hour.folder())), Some(hour));
        assert_eq!(hour.end_ms(), 1_700_002_800_000);
        assert_eq!(Hour::of_path("fresh/date=2023-11-14/hour=22/a-1-2.parquet"), None);
        assert_eq!(epoch_in_name("staged/x/00ff-12-7.parquet"), Some(12));
    }

    #[test]
    fn an_unknown_or_absurd_time_is_that_of_the_receipt() {
        const NOW_MS: i64 = 1_700_000_000_000;
        let at = |sample| time_ns(&row(sample, NOW_MS));
        let received = NOW_MS * MS_NS;
        assert_eq!(at(None), received);
        assert_eq!(at(Some(0)), received, "a clock that begins in 1970");
        assert_eq!(at(Some(i64::MAX)), received);
        let hours = |n: i64| received + n * HOUR_NS;
        assert_eq!(at(Some(hours(-24 * 170))), hours(-24 * 170), "half a year in a garage");
        assert_eq!(at(Some(hours(2))), hours(2));
        assert_eq!(at(Some(hours(48))), received);
    }
}
