//! The vehicle agent as a sans-IO machine.
