//! The ledger: counts every frame from what is on disk.
