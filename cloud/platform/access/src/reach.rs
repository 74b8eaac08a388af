//! How far a grant reaches: the whole organisation, or the vehicles of some fleets and depots.

use std::collections::BTreeSet;
use std::fmt;

/// What part of its organisation a grant is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// The vehicles of a fleet.
    Fleet(String),
    /// The vehicles of a depot.
    Depot(String),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Whole => Ok(()),
            Self::Fleet(fleet) => write!(f, "/fleets/{fleet}"),
            Self::Depot(depot) => write!(f, "/depots/{depot}"),
        }
    }
}

/// Up to where somebody may do something in an organisation.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Everywhere in it.
    Everywhere,
    /// With the vehicles of these fleets and depots; with none at all when there are none.
    Parts {
        /// Fleets.
        fleets: BTreeSet<String>,
        /// Depots.
        depots: BTreeSet<String>,
    },
}

impl Reach {
    /// Nowhere.
    pub const NOWHERE: Self = Self::Parts { fleets: BTreeSet::new(), depots: BTreeSet::new() };

    /// As far as these together.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Self {
        let (mut fleets, mut depots) = (BTreeSet::new(), BTreeSet::new());
        for part in parts {
            match part {
                Part::Whole => return Self::Everywhere,
                Part::Fleet(fleet) => fleets.insert(fleet.clone()),
                Part::Depot(depot) => depots.insert(depot.clone()),
            };
        }
        Self::Parts { fleets, depots }
    }

    /// Whether a vehicle that belongs there is within it. One that belongs nowhere is for those who reach everything.
    pub fn covers(&self, fleet: Option<&str>, depot: Option<&str>) -> bool {
        match self {
            Self::Everywhere => true,
            Self::Parts { fleets, depots } => {
                fleet.is_some_and(|fleet| fleets.contains(fleet))
                    || depot.is_some_and(|depot| depots.contains(depot))
            }
        }
    }

    /// Whether whatever `other` covers is covered by this.
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Everywhere, _) => true,
            (Self::Parts { .. }, Self::Everywhere) => false,
            (Self::Parts { fleets, depots }, Self::Parts { fleets: others, depots: other_depots }) => {
                others.is_subset(fleets) && other_depots.is_subset(depots)
            }
        }
    }

    /// Whether it is nowhere.
    pub fn is_nowhere(&self) -> bool {
        *self == Self::NOWHERE
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn part() -> impl Strategy<Value = Part> {
        let names = || prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())];
        prop_oneof![1 => Just(Part::Whole), 4 => names().prop_map(Part::Fleet), 4 => names().prop_map(Part::Depot)]
    }

    fn home() -> impl Strategy<Value = Option<&'static str>> {
        prop_oneof![Just(None), Just(Some("a")), Just(Some("b")), Just(Some("d"))]
    }

    proptest! {
        /// A vehicle is covered by some grants just when one of them alone covers it; nothing else is let in by putting them together.
        #[test]
        fn parts_together_cover_what_each_covers(parts in prop::collection::vec(part(), 0..6), fleet in home(), depot in home()) {
            let together = Reach::of(&parts).covers(fleet, depot);
            let alone = parts.iter().any(|part| match part {
                Part::Whole => true,
                Part::Fleet(name) => fleet == Some(name.as_str()),
                Part::Depot(name) => depot == Some(name.as_str()),
            });
            prop_assert_eq!(together, alone);
        }

        #[test]
        fn what_includes_another_covers_all_that_it_covers(
            one in prop::collection::vec(part(), 0..5), other in prop::collection::vec(part(), 0..5), fleet in home(), depot in home(),
        ) {
            let (one, other) = (Reach::of(&one), Reach::of(&other));
            if one.includes(&other) && other.covers(fleet, depot) {
                prop_assert!(one.covers(fleet, depot));
            }
            prop_assert!(Reach::Everywhere.includes(&other) && other.includes(&Reach::NOWHERE));
        }
    }

    #[test]
    fn a_fleet_is_not_a_depot_and_nothing_covers_nothing() {
        let fleet = Reach::of(&[Part::Fleet("vienna".into())]);
        assert!(fleet.covers(Some("vienna"), None) && !fleet.covers(None, Some("vienna")));
        assert!(!fleet.covers(None, None) && !Reach::NOWHERE.covers(Some(""), Some("")));
        assert!(Reach::NOWHERE.is_nowhere() && !fleet.is_nowhere() && !fleet.includes(&Reach::Everywhere));
    }
}
