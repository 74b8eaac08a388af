//! The vehicles' door.
