//! The one shell that runs every business aggregate, and the projections that read their events.
