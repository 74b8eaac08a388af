//! Placeholder module text, replaced with its code.
