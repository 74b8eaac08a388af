//! Tracks and series in the formats other programs open.
