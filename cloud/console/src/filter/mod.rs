//! The filter of List and Watch (AIP-160, a small part of it): comparisons joined by AND, OR, NOT and parentheses.
//!
//! Three-valued: a comparison with a value that is not known is neither true nor false; only what is true matches.

mod lexer;
mod parser;

use std::fmt;

use remuda_contracts::fleet::{Presence, VehicleSummary};

use crate::limits;

/// A filter that was understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Filter(Option<Node>);

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

#[derive(Debug, Clone, PartialEq)]
enum Node {
    All(Vec<Node>),
    Any(Vec<Node>),
    Not(Box<Node>),
    Number { field: NumberField, comparison: Comparison, value: f64 },
    Presence { value: Presence, equal: bool },
    Vehicle { text: String, prefix: bool, equal: bool },
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

impl Filter {
    /// Reads a filter; an empty text matches everything.
    ///
    /// # Errors
    /// When the text is too long, too deep or not a filter.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        if text.len() > limits::FILTER_BYTES_MAX {
            return Err(FilterError {
                at: limits::FILTER_BYTES_MAX,
                problem: format!("longer than {} bytes", limits::FILTER_BYTES_MAX),
            });
        }
        if text.trim().is_empty() {
            return Ok(Self(None));
        }
        parser::parse(text).map(|node| Self(Some(node)))
    }

    /// Whether it matches every vehicle.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether its answer changes by time alone.
    pub fn depends_on_time(&self) -> bool {
        fn of(node: &Node) -> bool {
            match node {
                Node::All(parts) | Node::Any(parts) => parts.iter().any(of),
                Node::Not(part) => of(part),
                Node::Number { field, .. } => *field == NumberField::LastSeenAge,
                Node::Presence { .. } | Node::Vehicle { .. } => false,
            }
        }
        self.0.as_ref().is_some_and(of)
    }

    /// Whether a vehicle matches at a time, ms since 1970 UTC.
    pub fn matches(&self, vehicle: &VehicleSummary, now_ms: i64) -> bool {
        self.0.as_ref().is_none_or(|node| evaluate(node, vehicle, now_ms) == Some(true))
    }
}

fn evaluate(node: &Node, vehicle: &VehicleSummary, now_ms: i64) -> Option<bool> {
    match node {
        Node::All(parts) => fold(parts, vehicle, now_ms, false),
        Node::Any(parts) => fold(parts, vehicle, now_ms, true),
        Node::Not(part) => evaluate(part, vehicle, now_ms).map(|known| !known),
        Node::Number { field, comparison, value } => {
            field.of(vehicle, now_ms).map(|known| comparison.holds(known, *value))
        }
        Node::Presence { value, equal } => Some((vehicle.presence == *value) == *equal),
        Node::Vehicle { text, prefix, equal } => {
            let id = vehicle.vehicle.as_str();
            let same = if *prefix { id.starts_with(text.as_str()) } else { id == text };
            Some(same == *equal)
        }
    }
}

/// `decisive` settles the whole: false in a conjunction, true in a disjunction.
fn fold(parts: &[Node], vehicle: &VehicleSummary, now_ms: i64, decisive: bool) -> Option<bool> {
    let mut result = Some(!decisive);
    for part in parts {
        match evaluate(part, vehicle, now_ms) {
            Some(known) if known == decisive => return Some(decisive),
            Some(_) => {}
            None => result = None,
        }
    }
    result
}

impl NumberField {
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
