//! The fields of alerts.

use remuda_contracts::alerts::{AlertRecord, AlertSeverity, AlertState};

use super::parser::{Fields, Kind, Value, no_field};
use super::{Comparison, FilterError, Node, Pattern, parse};

/// A filter of alerts that was understood.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AlertFilter(Option<Node<Leaf>>);

#[derive(Debug, Clone, PartialEq)]
enum Leaf {
    State { value: AlertState, equal: bool },
    Severity { comparison: Comparison, value: AlertSeverity },
    Rule { pattern: Pattern, equal: bool },
    Vehicle { pattern: Pattern, equal: bool },
    Geofence { pattern: Pattern, equal: bool },
    Age { comparison: Comparison, seconds: f64 },
}

impl Fields for Leaf {
    const NAMES: &'static str = "state, severity, rule, vehicle, geofence, age_s";

    fn kind(field: &str) -> Option<Kind> {
        match field {
            "state" | "rule" | "vehicle" | "geofence" => Some(Kind::Word),
            "severity" => Some(Kind::Rank),
            "age_s" => Some(Kind::Number),
            _ => None,
        }
    }

    fn leaf(field: &str, comparison: Comparison, value: Value) -> Result<Self, String> {
        let equal = comparison == Comparison::Equal;
        match (field, value) {
            ("state", Value::Text(text)) => state(&text).map(|value| Self::State { value, equal }),
            ("severity", Value::Text(text)) => {
                severity(&text).map(|value| Self::Severity { comparison, value })
            }
            ("rule", Value::Text(text)) => Ok(Self::Rule { pattern: Pattern::new(&text), equal }),
            ("vehicle", Value::Text(text)) => Ok(Self::Vehicle { pattern: Pattern::new(&text), equal }),
            ("geofence", Value::Text(text)) => Ok(Self::Geofence { pattern: Pattern::new(&text), equal }),
            ("age_s", Value::Number(seconds)) => Ok(Self::Age { comparison, seconds }),
            (field, _) => Err(no_field::<Self>(field)),
        }
    }
}

fn state(text: &str) -> Result<AlertState, String> {
    match text {
        "OPEN" => Ok(AlertState::Open),
        "ACKNOWLEDGED" => Ok(AlertState::Acknowledged),
        "SNOOZED" => Ok(AlertState::Snoozed),
        "CLEARED" => Ok(AlertState::Cleared),
        other => Err(format!("`{other}` is not a state: OPEN, ACKNOWLEDGED, SNOOZED, CLEARED")),
    }
}

fn severity(text: &str) -> Result<AlertSeverity, String> {
    match text {
        "INFO" => Ok(AlertSeverity::Info),
        "WARNING" => Ok(AlertSeverity::Warning),
        "CRITICAL" => Ok(AlertSeverity::Critical),
        other => Err(format!("`{other}` is not a severity: INFO, WARNING, CRITICAL")),
    }
}

impl AlertFilter {
    /// Reads a filter; an empty text matches everything.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        parse(text).map(Self)
    }

    /// Whether it matches everything.
    pub fn is_all(&self) -> bool {
        self.0.is_none()
    }

    /// Whether its answer changes by time alone.
    pub fn depends_on_time(&self) -> bool {
        self.0.as_ref().is_some_and(|node| node.any(&|leaf| matches!(leaf, Leaf::Age { .. })))
    }

    /// Whether an alert matches at a time, ms since 1970 UTC.
    pub fn matches(&self, alert: &AlertRecord, now_ms: i64) -> bool {
        let holds = |leaf: &Leaf| match leaf {
            Leaf::State { value, equal } => Some((alert.state == *value) == *equal),
            // By rank: `as` of a field-less enum.
            Leaf::Severity { comparison, value } => {
                Some(comparison.holds(f64::from(alert.severity as u8), f64::from(*value as u8)))
            }
            Leaf::Rule { pattern, equal } => Some(pattern.takes(&alert.rule) == *equal),
            Leaf::Vehicle { pattern, equal } => Some(pattern.takes(alert.vehicle.as_str()) == *equal),
            Leaf::Geofence { pattern, equal } => {
                alert.geofence.map(|fence| pattern.takes(fence.as_str()) == *equal)
            }
            Leaf::Age { comparison, seconds } => (alert.raised_ms > 0)
                .then(|| comparison.holds(now_ms.saturating_sub(alert.raised_ms) as f64 / 1000.0, *seconds)),
        };
        self.0.as_ref().is_none_or(|node| node.evaluate(&holds) == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use remuda_contracts::alerts::AlertMark;
    use remuda_model::{OrganizationId, VehicleId};

    use super::*;

    fn alert() -> AlertRecord {
        AlertRecord {
            organization: OrganizationId::default(),
            vehicle: VehicleId::new("HEL0042").unwrap(),
            id: "low-charge-0000000000000007-9-0".into(),
            rule: "low-charge".into(),
            geofence: None,
            severity: AlertSeverity::Warning,
            state: AlertState::Acknowledged,
            raised_ms: 100_000,
            late: false,
            value: 14.0,
            threshold: 15.0,
            occurrences: 1,
            clears_by_hand: false,
            mark: AlertMark::default(),
            snoozed_until_ms: 0,
            revision: 2,
            history: vec![],
            history_left_out: 0,
        }
    }

    #[test]
    fn alerts_are_found_by_their_fields() {
        let holds = |text: &str| AlertFilter::parse(text).unwrap().matches(&alert(), 130_000);
        for text in [
            "",
            "state = ACKNOWLEDGED",
            "state != CLEARED AND severity >= WARNING",
            "severity < CRITICAL",
            "rule = low-charge AND vehicle = HEL*",
            "rule = 'low*' AND NOT vehicle = 'MON*'",
            "age_s = 30",
            "state = OPEN OR age_s > 29.5",
        ] {
            assert!(holds(text), "{text}");
        }
        for text in ["state = OPEN", "severity > WARNING", "rule = low", "vehicle != HEL0042", "age_s > 30"] {
            assert!(!holds(text), "{text}");
        }
        // A vehicle that did not know the time.
        let unknown = AlertRecord { raised_ms: 0, ..alert() };
        for text in ["age_s > 0", "NOT age_s > 0"] {
            assert!(!AlertFilter::parse(text).unwrap().matches(&unknown, 130_000), "{text}");
        }
        assert!(AlertFilter::parse("NOT (rule = x OR age_s > 3)").unwrap().depends_on_time());
        assert!(!AlertFilter::parse("state = OPEN").unwrap().depends_on_time());
    }

    #[test]
    fn errors_name_the_place_and_what_there_is() {
        let error = |text: &str| AlertFilter::parse(text).unwrap_err();
        assert_eq!(error("state = GONE").at, 8);
        assert!(error("state = GONE").problem.contains("SNOOZED"));
        assert_eq!(error("severity > LOUD").at, 11);
        assert_eq!(error("state < OPEN").at, 6);
        assert_eq!(error("rule > a").at, 5);
        assert_eq!(error("age_s > old").at, 8);
        assert!(error("presence = ONLINE").problem.contains("age_s"), "{}", error("presence = ONLINE"));
    }
}
