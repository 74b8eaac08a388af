//! What figures are grouped by.

use serde::{Deserialize, Serialize};

use crate::limits::NAME_BYTES_MAX;

/// What figures are grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dimension {
    /// The whole organisation: one value, empty.
    Organization,
    /// Fleet; empty where there is none.
    Fleet,
    /// Depot; empty where there is none.
    Depot,
    /// Vehicle.
    Vehicle,
    /// Model of the vehicle; empty where it is not known.
    Model,
    /// Tariff; empty while the ride is not priced.
    Tariff,
}

impl Dimension {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Organization, Self::Fleet, Self::Depot, Self::Vehicle, Self::Model, Self::Tariff];

    /// Stable name, for people and queries.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Organization => "organization",
            Self::Fleet => "fleet",
            Self::Depot => "depot",
            Self::Vehicle => "vehicle",
            Self::Model => "model",
            Self::Tariff => "tariff",
        }
    }
}

/// The values of one trip or session.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Values {
    pub fleet: String,
    pub depot: String,
    pub vehicle: String,
    pub model: String,
    pub tariff: String,
}

impl Values {
    pub fn of(&self, dimension: Dimension) -> &str {
        match dimension {
            Dimension::Organization => "",
            Dimension::Fleet => &self.fleet,
            Dimension::Depot => &self.depot,
            Dimension::Vehicle => &self.vehicle,
            Dimension::Model => &self.model,
            Dimension::Tariff => &self.tariff,
        }
    }
}

/// A name that can stand in a key: without NUL and not too long.
pub(crate) fn name(text: &str) -> String {
    let end = (0..=NAME_BYTES_MAX.min(text.len())).rev().find(|i| text.is_char_boundary(*i)).unwrap_or(0);
    text[..end].replace('\0', "")
}
