//! Checks, benches and formatting, with what they need installed.

fn main() {}
