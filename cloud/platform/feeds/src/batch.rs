//! What a reader answers.

use crate::cursor::Cursor;
use crate::item::Item;

/// How far behind a reader is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lag {
    /// Events and commits of the lake that were not looked at yet.
    pub positions: u64,
    /// Since when the oldest of them waits, about: ms since 1970 UTC; `None` when nothing does.
    pub since_ms: Option<i64>,
}

/// Items in order, and where to go on after them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Batch {
    /// The items; none when what came was for others.
    pub items: Vec<Item>,
    /// Where to go on.
    pub cursor: Cursor,
    /// What is left.
    pub lag: Lag,
    /// Whether there was nothing more to read.
    pub caught_up: bool,
    /// Messages among the items that say that something is missed.
    pub missed: u64,
}
