//! The vehicle domain: twin, rules, reception, actors and the fleet index.
