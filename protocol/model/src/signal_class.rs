//! What a signal says of people: the unit in which measurements are retained and erased.

use core::fmt;
use core::str::FromStr;

use serde::{Deserialize, Serialize};

/// A class of signals. How long each is kept is a setting of the lake; an erasure may name some of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SignalClass {
    /// Where the vehicle was: personal data of whoever was in it.
    Position,
    /// How it was driven: speed, accelerations, steering, pedals, interventions of ABS and ESC. Tells one driver from
    /// another.
    DriverBehaviour,
    /// What the people in it did: doors, locks, belts, windows, lights, climate.
    Cabin,
    /// The state of the machine: battery, temperatures, pressures, wear, distance.
    Technical,
}

/// A text that names no class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownClass;

impl fmt::Display for UnknownClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signal classes are position, driver-behaviour, cabin and technical")
    }
}

impl core::error::Error for UnknownClass {}

impl SignalClass {
    /// Every class.
    pub const ALL: [Self; 4] = [Self::Position, Self::DriverBehaviour, Self::Cabin, Self::Technical];

    /// Its name, as settings, commands and file names write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Position => "position",
            Self::DriverBehaviour => "driver-behaviour",
            Self::Cabin => "cabin",
            Self::Technical => "technical",
        }
    }
}

impl fmt::Display for SignalClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for SignalClass {
    type Err = UnknownClass;
    fn from_str(text: &str) -> Result<Self, UnknownClass> {
        Self::ALL.into_iter().find(|class| class.as_str() == text).ok_or(UnknownClass)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::signal;

    #[test]
    fn a_class_is_its_name() {
        for class in SignalClass::ALL {
            assert_eq!(class.as_str().parse(), Ok(class));
        }
        assert_eq!("Position".parse::<SignalClass>(), Err(UnknownClass));
    }

    #[test]
    fn whatever_tells_a_place_is_a_position() {
        for def in signal::REGISTRY {
            let place = def.path.contains("CurrentLocation");
            assert_eq!(def.class == SignalClass::Position, place, "{}", def.path);
        }
        assert_eq!(signal::class_of(signal::SPEED), SignalClass::DriverBehaviour);
        assert_eq!(signal::class_of(signal::SignalId(0x8001)), SignalClass::Technical);
    }
}
