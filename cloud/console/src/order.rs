//! In which order vehicles are listed (AIP-132), and where in it a page goes on.

use std::cmp::{Ordering, Reverse};
use std::sync::Arc;

use remuda_contracts::fleet::{Presence, VehicleSummary};
use remuda_model::VehicleId;

/// Fields that an order may name before the vehicle itself.
const KEYS_MAX: usize = 3;
/// Figures are compared in thousandths of their unit.
const PARTS: f32 = 1_000.0;
/// Lines gathered beyond a page before those that are not of it are dropped.
const SPARE: usize = 1_024;

/// Fields by which vehicles are ordered, the vehicle's id at last: no two are in the same place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Order {
    keys: Vec<(Key, Direction)>,
    by_id: Direction,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Presence,
    ChargePercent,
    SpeedKmh,
    OpenAlerts,
    LastSeen,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum Direction {
    #[default]
    Ascending,
    Descending,
}

impl Direction {
    fn of(self, order: Ordering) -> Ordering {
        match self {
            Self::Ascending => order,
            Self::Descending => order.reverse(),
        }
    }
}

/// Where a vehicle stands. Behind it is everything that a next page may hold, however vehicles have changed since.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// None where it is not known.
    values: [Option<i64>; KEYS_MAX],
    vehicle: VehicleId,
}

impl Order {
    /// Reads `charge_percent, last_seen_time desc`; nothing is by name.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut order = Self::default();
        if text.trim().is_empty() {
            return Ok(order);
        }
        let mut ended = false;
        for part in text.split(',') {
            let mut words = part.split_ascii_whitespace();
            let (field, direction, more) = (words.next(), words.next(), words.next());
            let direction = match direction {
                None => Direction::Ascending,
                Some("asc") => Direction::Ascending,
                Some("desc") => Direction::Descending,
                Some(word) => return Err(format!("behind a field stands `asc` or `desc`, not `{word}`")),
            };
            if more.is_some() || ended {
                return Err(
                    "say fields with commas between, `vehicle` at last, as `charge_percent, vehicle desc`"
                        .into(),
                );
            }
            let key = match field.unwrap_or_default() {
                "vehicle" | "name" => {
                    (order.by_id, ended) = (direction, true);
                    continue;
                }
                "presence" => Key::Presence,
                "charge_percent" => Key::ChargePercent,
                "speed_kmh" => Key::SpeedKmh,
                "open_alerts" => Key::OpenAlerts,
                "last_seen_time" => Key::LastSeen,
                other => {
                    return Err(format!(
                        "there is no field `{other}` to order by; there are vehicle, presence, charge_percent, speed_kmh, \
                         open_alerts and last_seen_time"
                    ));
                }
            };
            if order.keys.iter().any(|(known, _)| *known == key) {
                return Err("a field stands in it twice".into());
            }
            if order.keys.len() == KEYS_MAX {
                return Err(format!("at most {KEYS_MAX} fields, and `vehicle`"));
            }
            order.keys.push((key, direction));
        }
        Ok(order)
    }

    /// By nothing but the name, upwards: as vehicles are kept.
    pub fn is_by_name(&self) -> bool {
        *self == Self::default()
    }

    fn place(&self, vehicle: &VehicleSummary) -> Place {
        let mut values = [None; KEYS_MAX];
        for (value, (key, _)) in values.iter_mut().zip(&self.keys) {
            *value = key.value(vehicle);
        }
        Place { values, vehicle: vehicle.vehicle }
    }

    /// What is not known comes last, upwards and downwards.
    fn compare(&self, a: &Place, b: &Place) -> Ordering {
        let pairs = a.values.iter().zip(&b.values).zip(&self.keys);
        let by_key = pairs.map(|((a, b), (_, direction))| match (a, b) {
            (Some(a), Some(b)) => direction.of(a.cmp(b)),
            (a, b) => Reverse(a.is_some()).cmp(&Reverse(b.is_some())),
        });
        let by_id = || self.by_id.of(a.vehicle.cmp(&b.vehicle));
        by_key.fold(Ordering::Equal, Ordering::then).then_with(by_id)
    }

    /// The place after which the next page begins, as a token holds it.
    pub fn cursor(&self, last: &VehicleSummary) -> String {
        let place = self.place(last);
        let value = |value: &Option<i64>| value.map_or_else(String::new, |value| value.to_string());
        let values: Vec<String> = place.values.iter().map(value).collect();
        format!("{}~{}", values.join("~"), place.vehicle)
    }

    /// Reads a cursor; none when it is none.
    pub fn read_cursor(text: &str) -> Option<Place> {
        let mut parts = text.split('~');
        let mut values = [None; KEYS_MAX];
        for value in &mut values {
            let text = parts.next()?;
            *value = if text.is_empty() { None } else { Some(text.parse().ok()?) };
        }
        let vehicle = VehicleId::new(parts.next()?).ok()?;
        parts.next().is_none().then_some(Place { values, vehicle })
    }
}

impl Key {
    fn value(self, vehicle: &VehicleSummary) -> Option<i64> {
        let parts = |value: f32| (value * PARTS).round() as i64;
        match self {
            Self::Presence => match vehicle.presence {
                Presence::Unknown => None,
                Presence::Offline => Some(1),
                Presence::Online => Some(2),
            },
            Self::ChargePercent => vehicle.charge_percent.map(parts),
            Self::SpeedKmh => vehicle.position.map(|position| parts(position.speed_kmh)),
            Self::OpenAlerts => Some(vehicle.open_alerts.into()),
            Self::LastSeen => Some(vehicle.last_seen_ms).filter(|ms| *ms != 0),
        }
    }
}

/// The first vehicles of an order behind a place, whatever the order they come in. Holds a page and some more.
pub(crate) struct First<'a> {
    order: &'a Order,
    after: Option<Place>,
    size: usize,
    found: Vec<(Place, Arc<VehicleSummary>)>,
}

impl<'a> First<'a> {
    pub const fn new(order: &'a Order, after: Option<Place>, size: usize) -> Self {
        Self { order, after, size, found: Vec::new() }
    }

    /// Takes one, or leaves it.
    pub fn offer(&mut self, vehicle: &Arc<VehicleSummary>) {
        let place = self.order.place(vehicle);
        if self.after.as_ref().is_some_and(|after| self.order.compare(&place, after).is_le()) {
            return;
        }
        self.found.push((place, Arc::clone(vehicle)));
        if self.found.len() >= 2 * self.size + SPARE {
            self.found.select_nth_unstable_by(self.size, |a, b| self.order.compare(&a.0, &b.0));
            self.found.truncate(self.size);
        }
    }

    /// They, in order.
    pub fn ordered(mut self) -> Vec<VehicleSummary> {
        self.found.sort_unstable_by(|a, b| self.order.compare(&a.0, &b.0));
        self.found.truncate(self.size);
        self.found.into_iter().map(|(_, vehicle)| Arc::unwrap_or_clone(vehicle)).collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_contracts::fleet::Position;
    use remuda_model::OrganizationId;

    use super::*;

    fn vehicle(
        number: usize,
        charge: Option<u8>,
        alerts: u16,
        seen: i64,
        speed: Option<u8>,
    ) -> Arc<VehicleSummary> {
        let at = |speed: u8| Position {
            latitude_e7: 0,
            longitude_e7: 0,
            heading_deg: 0.0,
            speed_kmh: speed.into(),
        };
        Arc::new(VehicleSummary {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new(&format!("V{number:04}")).unwrap(),
            presence: [Presence::Unknown, Presence::Online, Presence::Offline][number % 3],
            last_seen_ms: seen,
            position: speed.map(at),
            charge_percent: charge.map(f32::from),
            open_alerts: alerts,
            revision: 0,
        })
    }

    #[test]
    fn orders_are_read_and_what_is_wrong_with_them_is_said() {
        let order = Order::parse(" charge_percent ,last_seen_time desc, vehicle desc").unwrap();
        let keys = [(Key::ChargePercent, Direction::Ascending), (Key::LastSeen, Direction::Descending)];
        assert_eq!(order, Order { keys: keys.into(), by_id: Direction::Descending });
        assert!(["", " ", "vehicle", "name asc"].iter().all(|text| Order::parse(text).unwrap().is_by_name()));
        for (text, problem) in [
            ("wheels", "no field `wheels`"),
            (",", "no field ``"),
            ("speed_kmh down", "not `down`"),
            ("speed_kmh desc asc", "commas"),
            ("vehicle, speed_kmh", "at last"),
            ("speed_kmh, speed_kmh desc", "twice"),
            ("presence,speed_kmh,open_alerts,charge_percent", "at most 3"),
        ] {
            let wrong = Order::parse(text).unwrap_err();
            assert!(wrong.contains(problem), "{text}: {wrong}");
        }
    }

    #[test]
    fn the_unknown_comes_last_both_ways() {
        let all =
            [vehicle(1, None, 0, 0, None), vehicle(2, Some(9), 0, 0, None), vehicle(3, Some(80), 0, 0, None)];
        for (text, expected) in [
            ("charge_percent", ["V0002", "V0003", "V0001"]),
            ("charge_percent desc", ["V0003", "V0002", "V0001"]),
        ] {
            let order = Order::parse(text).unwrap();
            let mut first = First::new(&order, None, 10);
            all.iter().for_each(|vehicle| first.offer(vehicle));
            let ids: Vec<String> =
                first.ordered().iter().map(|vehicle| vehicle.vehicle.to_string()).collect();
            assert_eq!(ids, expected, "{text}");
        }
    }

    proptest! {
        /// Page by page everything comes once, as a sort of the whole has it.
        #[test]
        fn pages_are_a_sorted_list_cut_up(
            lines in prop::collection::vec(
                (prop::option::of(0..4_u8), 0..3_u16, 0..3_i64, prop::option::of(0..3_u8)), 0..60),
            size in 1..9_usize,
            text in prop::sample::select(vec![
                "charge_percent", "open_alerts desc, charge_percent", "last_seen_time desc, speed_kmh, vehicle desc",
                "presence desc, open_alerts, last_seen_time", "vehicle desc",
            ]),
        ) {
            let order = Order::parse(text).unwrap();
            let lines = lines.into_iter().enumerate();
            let all: Vec<_> = lines.map(|(at, (charge, alerts, seen, speed))| vehicle(at, charge, alerts, seen, speed)).collect();
            let mut sorted: Vec<VehicleSummary> = all.iter().map(|vehicle| VehicleSummary::clone(vehicle)).collect();
            sorted.sort_by(|a, b| order.compare(&order.place(a), &order.place(b)));
            let (mut listed, mut after) = (Vec::new(), None);
            loop {
                let mut first = First::new(&order, after.take(), size);
                all.iter().rev().for_each(|vehicle| first.offer(vehicle));
                let page = first.ordered();
                let Some(last) = page.last() else { break };
                after = Order::read_cursor(&order.cursor(last));
                prop_assert!(after.is_some());
                listed.extend(page);
            }
            prop_assert_eq!(listed, sorted);
        }

        #[test]
        fn no_text_is_a_cursor_that_breaks(text in "[0-9~V-]{0,24}") {
            let _ = Order::read_cursor(&text);
        }
    }
}
