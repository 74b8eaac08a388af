//! Logs, metrics registry and process figures.
