//! An exhaustive model of the uplink's rules.
