//! Thousands of simulated vehicles, each the real agent, in one process.
