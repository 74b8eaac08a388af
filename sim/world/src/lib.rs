//! A seeded world of roads and vehicles that drive on them.
