//! The filter of List and Watch (AIP-160, a small part of it): comparisons joined by AND, OR, NOT and parentheses.
//!
//! Three-valued: a comparison with a value that is not known is neither true nor false; only what is true matches. One
//! language; what is listed says which fields there are (vehicles here, alerts in [`alerts`]).

pub(crate) mod alerts;
mod lexer;
mod parser;

use std::fmt;

use remuda_contracts::fleet::{Presence, VehicleSummary};

use crate::limits;
use parser::{Fields, Kind, Value};

/// A filter of vehicles that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Option<Node<VehicleLeaf>>);

/// Why a text is not a filter, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterError {
    /// Byte offset in the text.
    pub at: usize,
    /// What is wrong, as a sentence without its full stop.
    pub problem: String,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "filter, at byte {}: {}", self.at, self.problem)
    }
}

impl std::error::Error for FilterError {}

/// Comparisons and what joins them.
#[derive(Debug, Clone, PartialEq)]
enum Node<L> {
    All(Vec<Node<L>>),
    Any(Vec<Node<L>>),
    Not(Box<Node<L>>),
    Leaf(L),
}

impl<L> Node<L> {
    /// Whether any comparison is so.
    fn any(&self, is: &impl Fn(&L) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.any(is)),
            Self::Not(part) => part.any(is),
            Self::Leaf(leaf) => is(leaf),
        }
    }

    fn evaluate(&self, holds: &impl Fn(&L) -> Option<bool>) -> Option<bool> {
        match self {
            Self::All(parts) => fold(parts, holds, false),
            Self::Any(parts) => fold(parts, holds, true),
            Self::Not(part) => part.evaluate(holds).map(|known| !known),
            Self::Leaf(leaf) => holds(leaf),
        }
    }
}

/// `decisive` settles the whole: false in a conjunction, true in a disjunction.
fn fold<L>(parts: &[Node<L>], holds: &impl Fn(&L) -> Option<bool>, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match part.evaluate(holds) {
            Some(known) if known == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

/// Reads a filter over some fields; none for an empty text.
fn parse<F: Fields>(text: &str) -> Result<Option<Node<F>>, FilterError> {
    if text.len() > limits::FILTER_BYTES_MAX {
        return Err(FilterError {
            at: limits::FILTER_BYTES_MAX,
            problem: format!("longer than {} bytes", limits::FILTER_BYTES_MAX),
        });
    }
    if text.trim().is_empty() {
        return Ok(None);
    }
    parser::parse(text).map(Some)
}

/// A text, or with a `*` at its end what begins so.
#[derive(Debug, Clone, PartialEq)]
struct Pattern {
    text: String,
    prefix: bool,
}

impl Pattern {
    fn new(value: &str) -> Self {
        let prefix = value.strip_suffix('*');
        Self { text: prefix.unwrap_or(value).to_owned(), prefix: prefix.is_some() }
    }

    fn takes(&self, text: &str) -> bool {
        if self.prefix { text.starts_with(self.text.as_str()) } else { text == self.text }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum VehicleLeaf {
    Number { field: NumberField, comparison: Comparison, value: f64 },
    Presence { value: Presence, equal: bool },
    Vehicle { pattern: Pattern, equal: bool },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum NumberField {
    ChargePercent,
    SpeedKmh,
    OpenAlerts,
    LastSeenAge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Fields for VehicleLeaf {
    const NAMES: &'static str = "vehicle, presence, charge_percent, speed_kmh, open_alerts, last_seen_age_s";

    fn kind(field: &str) -> Option<Kind> {
        match field {
            "presence" | "vehicle" => Some(Kind::Word),
            _ => NumberField::named(field).map(|_| Kind::Number),
        }
    }

    fn leaf(field: &str, comparison: Comparison, value: Value) -> Result<Self, String> {
        let equal = comparison == Comparison::Equal;
        match (field, value) {
            ("presence", Value::Text(text)) => match text.as_str() {
                "UNKNOWN" => Ok(Presence::Unknown),
                "ONLINE" => Ok(Presence::Online),
                "OFFLINE" => Ok(Presence::Offline),
                other => Err(format!("`{other}` is not a presence: UNKNOWN, ONLINE, OFFLINE")),
            }
            .map(|value| Self::Presence { value, equal }),
            ("vehicle", Value::Text(text)) => Ok(Self::Vehicle { pattern: Pattern::new(&text), equal }),
            (field, Value::Number(value)) => match NumberField::named(field) {
                Some(field) => Ok(Self::Number { field, comparison, value }),
                None => Err(parser::no_field::<Self>(field)),
            },
            (field, Value::Text(_)) => Err(parser::no_field::<Self>(field)),
        }
    }
}

impl Filter {
    /// Reads a filter; an empty text matches everything.
    ///
    /// # Errors
    /// When the text is too long, too deep or not a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse(text).map(Self)
    }

    /// Whether it matches every vehicle.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether its answer changes by time alone.
    pub fn depends_on_time(&self) -> bool {
        let is_age =
            |leaf: &VehicleLeaf| matches!(leaf, VehicleLeaf::Number { field: NumberField::LastSeenAge, .. });
        self.0.as_ref().is_some_and(|node| node.any(&is_age))
    }

    /// Whether a vehicle matches at a time, ms since 1970 UTC.
    pub fn matches(&self, vehicle: &VehicleSummary, now_ms: i64) -> bool {
        let holds = |leaf: &VehicleLeaf| match leaf {
            VehicleLeaf::Number { field, comparison, value } => {
                field.of(vehicle, now_ms).map(|known| comparison.holds(known, *value))
            }
            VehicleLeaf::Presence { value, equal } => Some((vehicle.presence == *value) == *equal),
            VehicleLeaf::Vehicle { pattern, equal } => {
                Some(pattern.takes(vehicle.vehicle.as_str()) == *equal)
            }
        };
        self.0.as_ref().is_none_or(|node| node.evaluate(&holds) == Some(true))
    }
}

impl NumberField {
    fn named(field: &str) -> Option<Self> {
        Some(match field {
            "charge_percent" => Self::ChargePercent,
            "speed_kmh" => Self::SpeedKmh,
            "open_alerts" => Self::OpenAlerts,
            "last_seen_age_s" => Self::LastSeenAge,
            _ => return None,
        })
    }

    fn of(self, vehicle: &VehicleSummary, now_ms: i64) -> Option<f64> {
        match self {
            Self::ChargePercent => vehicle.charge_percent.map(f64::from),
            Self::SpeedKmh => vehicle.position.map(|p| f64::from(p.speed_kmh)),
            Self::OpenAlerts => Some(f64::from(vehicle.open_alerts)),
            Self::LastSeenAge => (vehicle.last_seen_ms > 0)
                .then(|| now_ms.saturating_sub(vehicle.last_seen_ms) as f64 / 1000.0),
        }
    }
}

impl Comparison {
    fn holds(self, left: f64, right: f64) -> bool {
        match self {
            Self::Equal => left == right,
            Self::NotEqual => left != right,
            Self::Less => left < right,
            Self::LessOrEqual => left <= right,
            Self::Greater => left > right,
            Self::GreaterOrEqual => left >= right,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use remuda_contracts::fleet::Position;
    use remuda_model::{OrganizationId, VehicleId};

    use super::*;

    fn vehicle() -> VehicleSummary {
        VehicleSummary {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new("HEL0042").unwrap(),
            presence: Presence::Online,
            last_seen_ms: 100_000,
            position: Some(Position { latitude_e7: 0, longitude_e7: 0, heading_deg: 0.0, speed_kmh: 48.5 }),
            charge_percent: Some(17.0),
            open_alerts: 1,
            revision: 9,
        }
    }

    fn holds(text: &str, vehicle: &VehicleSummary) -> bool {
        Filter::parse(text).unwrap().matches(vehicle, 130_000)
    }

    #[test]
    fn comparisons_and_their_joins() {
        let v = vehicle();
        for text in [
            "",
            "  ",
            "presence = ONLINE AND charge_percent < 20 AND open_alerts > 0",
            "presence != OFFLINE",
            "vehicle = HEL0042",
            "vehicle = \"HEL*\"",
            "vehicle = HEL*",
            "vehicle != 'MON*'",
            "NOT presence = OFFLINE",
            "(charge_percent > 90 OR speed_kmh >= 48.5) AND NOT (open_alerts = 0)",
            "last_seen_age_s = 30",
            "charge_percent > -5",
        ] {
            assert!(holds(text, &v), "{text}");
        }
        for text in [
            "presence = OFFLINE",
            "vehicle = HEL",
            "charge_percent >= 17.5",
            "NOT open_alerts <= 1",
            "last_seen_age_s > 30",
        ] {
            assert!(!holds(text, &v), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_neither_true_nor_false() {
        let v = VehicleSummary { charge_percent: None, last_seen_ms: 0, position: None, ..vehicle() };
        for text in
            ["charge_percent < 20", "NOT charge_percent < 20", "charge_percent != 1", "last_seen_age_s > 0"]
        {
            assert!(!holds(text, &v), "{text}");
        }
        assert!(holds("charge_percent < 20 OR presence = ONLINE", &v));
        assert!(holds("NOT (charge_percent < 20 AND presence = OFFLINE)", &v));
    }

    #[test]
    fn errors_name_the_place() {
        let error = |text: &str| Filter::parse(text).unwrap_err();
        assert_eq!(error("charge < 20").at, 0);
        assert!(error("charge < 20").problem.contains("charge_percent"), "{}", error("charge < 20"));
        assert_eq!(error("presence = AWAY").at, 11);
        assert_eq!(error("presence < ONLINE").at, 9);
        assert_eq!(error("open_alerts > many").at, 14);
        assert_eq!(error("presence = ONLINE AND").at, 21);
        assert_eq!(error("(presence = ONLINE").at, 18);
        assert_eq!(error("presence = ONLINE )").at, 18);
        assert_eq!(error("vehicle = \"HEL").at, 10);
        assert_eq!(error("presence = ONLINE ; x").at, 18);
        let mixed = error("open_alerts > 0 AND speed_kmh > 1 OR speed_kmh < 2");
        assert_eq!((mixed.at, mixed.problem.contains("parentheses")), (34, true), "{mixed}");
        assert_eq!(error(&format!("{}open_alerts > 0", "NOT ".repeat(40))).at, limits::FILTER_DEPTH_MAX * 4);
        assert_eq!(error(&"(".repeat(200)).at, limits::FILTER_DEPTH_MAX);
        assert!(error(&" ".repeat(2_000)).problem.contains("longer"));
    }

    #[test]
    fn only_ages_depend_on_time() {
        assert!(Filter::parse("NOT (open_alerts > 0 OR last_seen_age_s > 60)").unwrap().depends_on_time());
        assert!(!Filter::parse("open_alerts > 0").unwrap().depends_on_time());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_is_answered(text in "\\PC{0,80}") {
            if let Err(error) = Filter::parse(&text) {
                prop_assert!(error.at <= text.len());
            }
        }

        #[test]
        fn any_words_are_answered(words in prop::collection::vec(prop::sample::select(vec![
            "(", ")", "AND", "OR", "NOT", "presence", "vehicle", "charge_percent", "open_alerts", "=", "!=", "<", ">=",
            "ONLINE", "12", "-3.5", "\"a*\"", "'", "*", "é", "last_seen_age_s",
        ]), 0..40)) {
            let text = words.join(" ");
            match Filter::parse(&text) {
                Ok(filter) => { filter.matches(&vehicle(), 0); }
                Err(error) => prop_assert!(text.is_char_boundary(error.at), "{} in {text}", error.at),
            }
        }
    }
}
