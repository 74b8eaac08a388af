//! What is to be forgotten, and whether a row is part of it. Pure: no I/O, no clock.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::str::FromStr;

use remuda_model::{OrganizationId, SignalClass, SignalId, VehicleId, signal};
use serde::{Deserialize, Serialize};

use crate::history::{time_ns, time_of};
use crate::row::{Row, RowBody};

const MS_NS: i64 = 1_000_000;

/// An erasure's number, 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErasureId(pub u64);

impl fmt::Display for ErasureId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl FromStr for ErasureId {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u64::from_str_radix(text, 16).map(Self)
    }
}

impl Serialize for ErasureId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for ErasureId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// One request for erasure. It covers rows whose time lies in its range *and* before the request: what is measured later
/// needs another request, what arrives later does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tombstone {
    /// Its number.
    pub id: ErasureId,
    /// Whose rows.
    pub organization: OrganizationId,
    /// Of which vehicle; `None`: of every vehicle of the organisation.
    pub vehicle: Option<VehicleId>,
    /// Rows from this time on, ns since 1970 UTC; `None`: from the first one on.
    pub from_ns: Option<i64>,
    /// Rows before this time, ns since 1970 UTC; `None`: up to the request.
    pub until_ns: Option<i64>,
    /// Which signals; none named: everything, rows and all.
    pub classes: BTreeSet<SignalClass>,
    /// When it was asked for, ms since 1970 UTC.
    pub requested_at_ms: i64,
    /// Who asked.
    pub requested_by: String,
    /// Why.
    pub reason: String,
}

impl Tombstone {
    /// The range of times it covers, ns since 1970 UTC: from, and until (exclusive).
    pub fn range_ns(&self) -> (i64, i64) {
        let asked = self.requested_at_ms.saturating_mul(MS_NS);
        (self.from_ns.unwrap_or(i64::MIN), self.until_ns.map_or(asked, |until| until.min(asked)))
    }
}

/// What a tombstone covers of one vehicle.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Span {
    id: ErasureId,
    from_ns: i64,
    until_ns: i64,
    /// Empty: everything.
    classes: BTreeSet<SignalClass>,
}

impl Span {
    fn holds(&self, time_ns: i64) -> bool {
        (self.from_ns..self.until_ns).contains(&time_ns)
    }
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stripped {
    /// Nothing in it is covered.
    Kept,
    /// Some of its values were, and are gone.
    Blanked(ErasureId),
    /// All of it is covered: drop it.
    Erased(ErasureId),
}

/// Every tombstone, by what it covers. Readers ask it for each row they are about to show.
#[derive(Debug, Clone, Default)]
pub struct Tombstones {
    of_vehicle: HashMap<(OrganizationId, VehicleId), Vec<Span>>,
    of_organization: HashMap<OrganizationId, Vec<Span>>,
}

impl Tombstones {
    /// Of these.
    pub fn of<'a>(tombstones: impl IntoIterator<Item = &'a Tombstone>) -> Self {
        let mut all = Self::default();
        tombstones.into_iter().for_each(|tombstone| all.add(tombstone));
        all
    }

    /// One more.
    pub fn add(&mut self, tombstone: &Tombstone) {
        let (from_ns, until_ns) = tombstone.range_ns();
        let span = Span { id: tombstone.id, from_ns, until_ns, classes: tombstone.classes.clone() };
        match tombstone.vehicle {
            Some(vehicle) => self.of_vehicle.entry((tombstone.organization, vehicle)).or_default().push(span),
            None => self.of_organization.entry(tombstone.organization).or_default().push(span),
        }
    }

    /// Is there none? Then nothing needs to be asked.
    pub fn is_empty(&self) -> bool {
        self.of_vehicle.is_empty() && self.of_organization.is_empty()
    }

    /// Could any row of this vehicle be covered? A reader of one vehicle that answers no asks no further.
    pub fn touches(&self, organization: &OrganizationId, vehicle: &VehicleId) -> bool {
        self.spans(organization, vehicle).next().is_some()
    }

    /// Is the value of this signal, at this time ([`row_time_ns`]), to be shown to nobody? Without a signal: is the whole
    /// row?
    pub fn covers(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        time_ns: i64,
        signal: Option<SignalId>,
    ) -> bool {
        let class = signal.map(signal::class_of);
        self.spans(organization, vehicle).any(|span| {
            let named = span.classes.is_empty() || class.is_some_and(|class| span.classes.contains(&class));
            named && span.holds(time_ns)
        })
    }

    /// Takes what is covered out of a row. A row that keeps none of its values is a marker: the frame was there.
    pub fn strip(&self, row: &mut Row) -> Stripped {
        if self.is_empty() {
            return Stripped::Kept;
        }
        let at = time_ns(row);
        let mut blanked = None;
        for span in self.spans(&row.organization, &row.vehicle).filter(|span| span.holds(at)) {
            if span.classes.is_empty() {
                return Stripped::Erased(span.id);
            }
            if blank(&mut row.body, |class| span.classes.contains(&class)) {
                blanked = Some(span.id);
            }
        }
        blanked.map_or(Stripped::Kept, Stripped::Blanked)
    }

    /// Takes what is covered out of a row that must stay in its place: its frame was there.
    pub fn hide(&self, row: &mut Row) {
        let is_samples = matches!(row.body, RowBody::Samples(_));
        let is_erased = matches!(self.strip(row), Stripped::Erased(_));
        match &mut row.body {
            RowBody::Samples(values) if is_erased => values.clear(),
            // As many rows of its frame as there were.
            RowBody::Marker if is_samples => row.body = RowBody::Samples(Vec::new()),
            RowBody::Quarantine { raw, .. } if is_erased => raw.clear(),
            _ => {}
        }
    }

    fn spans(&self, organization: &OrganizationId, vehicle: &VehicleId) -> impl Iterator<Item = &Span> {
        // Most lakes have no tombstone, or few.
        let of_all = self.of_organization.get(organization).map(Vec::as_slice).unwrap_or_default();
        let of_one = if self.of_vehicle.is_empty() {
            &[]
        } else {
            self.of_vehicle.get(&(*organization, *vehicle)).map(Vec::as_slice).unwrap_or_default()
        };
        of_all.iter().chain(of_one)
    }
}

/// Takes values of some classes out of a row's body; whether there were any. A frame in quarantine cannot be read, so
/// its bytes may hold anything: they go with any class.
pub(crate) fn blank(body: &mut RowBody, is_gone: impl Fn(SignalClass) -> bool) -> bool {
    match body {
        RowBody::Samples(values) => {
            let before = values.len();
            values.retain(|(signal, _)| !is_gone(signal::class_of(*signal)));
            let blanked = values.len() != before;
            if blanked && values.is_empty() {
                *body = RowBody::Marker;
            }
            blanked
        }
        RowBody::Quarantine { raw, .. } if !raw.is_empty() => {
            *raw = Vec::new();
            true
        }
        RowBody::Quarantine { .. } | RowBody::Marker | RowBody::Gap { .. } => false,
    }
}

/// The time by which a row is found, retained and erased, ns since 1970 UTC: its sample time, or that of its receipt when
/// the vehicle's clock was unknown or plainly wrong.
pub fn row_time_ns(sample_time_ns: Option<i64>, receive_time_ms: i64) -> i64 {
    time_of(sample_time_ns, receive_time_ms)
}

#[cfg(test)]
mod tests {
    use remuda_model::Incarnation;

    use super::*;

    const NOW_MS: i64 = 1_700_000_000_000;

    fn tombstone(vehicle: Option<&str>, classes: &[SignalClass]) -> Tombstone {
        Tombstone {
            id: ErasureId(7),
            organization: OrganizationId::default(),
            vehicle: vehicle.map(|v| VehicleId::new(v).expect("an id")),
            from_ns: Some((NOW_MS - 1_000) * MS_NS),
            until_ns: Some((NOW_MS + 500) * MS_NS),
            classes: classes.iter().copied().collect(),
            requested_at_ms: NOW_MS,
            requested_by: "ada".into(),
            reason: "asked".into(),
        }
    }

    fn row(vehicle: &str, at_ms: i64, body: RowBody) -> Row {
        Row {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new(vehicle).expect("an id"),
            incarnation: Incarnation(1),
            seq: 1,
            row_in_frame: 0,
            boot: 1,
            mono_ns: 0,
            sample_time_ns: Some(at_ms * MS_NS),
            receive_time_ms: NOW_MS,
            commit: 0,
            body,
        }
    }

    fn covers(all: &Tombstones, vehicle: &str, at_ms: i64, signal: Option<SignalId>) -> bool {
        let vehicle = VehicleId::new(vehicle).expect("an id");
        all.covers(&OrganizationId::default(), &vehicle, at_ms * MS_NS, signal)
    }

    #[test]
    fn it_covers_its_range_up_to_the_request() {
        let all = Tombstones::of(&[tombstone(Some("V1"), &[])]);
        for (at_ms, covered) in [(-1_001, false), (-1_000, true), (-1, true), (0, false), (100, false)] {
            assert_eq!(covers(&all, "V1", NOW_MS + at_ms, None), covered, "{at_ms}");
            assert_eq!(covers(&all, "V1", NOW_MS + at_ms, Some(signal::CHARGE)), covered);
            assert!(!covers(&all, "V2", NOW_MS + at_ms, None));
        }
        let other = OrganizationId::new("other").expect("an id");
        assert!(!all.touches(&other, &VehicleId::new("V1").expect("an id")));
    }

    #[test]
    fn classes_are_values_and_not_rows() {
        let all = Tombstones::of(&[tombstone(None, &[SignalClass::Position])]);
        let at = NOW_MS - 5;
        assert!(
            covers(&all, "V9", at, Some(signal::LATITUDE)) && !covers(&all, "V9", at, Some(signal::SPEED))
        );
        assert!(!covers(&all, "V9", at, None));
        let mut mixed = row("V1", at, RowBody::Samples(vec![(signal::SPEED, 3), (signal::LATITUDE, 4)]));
        assert_eq!(all.strip(&mut mixed), Stripped::Blanked(ErasureId(7)));
        assert_eq!(mixed.body, RowBody::Samples(vec![(signal::SPEED, 3)]));
        assert_eq!(all.strip(&mut mixed), Stripped::Kept, "once");
        let mut bare = row("V1", at, RowBody::Samples(vec![(signal::LONGITUDE, 4)]));
        assert_eq!((all.strip(&mut bare), bare.body), (Stripped::Blanked(ErasureId(7)), RowBody::Marker));
        let mut raw = row("V1", at, RowBody::Quarantine { reason: "signal".into(), raw: vec![1] });
        assert_eq!(all.strip(&mut raw), Stripped::Blanked(ErasureId(7)));
        assert_eq!(raw.body, RowBody::Quarantine { reason: "signal".into(), raw: Vec::new() });
    }

    #[test]
    fn whole_rows_go_with_everything() {
        let all = Tombstones::of(&[tombstone(Some("V1"), &[])]);
        assert_eq!(all.strip(&mut row("V1", NOW_MS - 1, RowBody::Marker)), Stripped::Erased(ErasureId(7)));
        assert_eq!(all.strip(&mut row("V1", NOW_MS, RowBody::Marker)), Stripped::Kept);
    }

    #[test]
    fn an_id_is_its_text() {
        assert_eq!("000000000000000a".parse(), Ok(ErasureId(10)));
        assert_eq!(ErasureId(10).to_string(), "000000000000000a");
    }
}
