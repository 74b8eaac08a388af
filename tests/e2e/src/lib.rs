//! Whole-system tests with real processes.
