//! Backup and restore of a node, encrypted and incremental.
