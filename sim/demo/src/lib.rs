//! The demo: a whole fleet, a cloud and the ledger in one process.
