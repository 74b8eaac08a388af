//! Virtual time: ms since the world began, whoever asks.

use std::cell::Cell;
use std::time::Duration;

use tokio::time::Instant;

/// The wall clock when the world begins, ms since 1970 UTC.
const WALL_BEGAN_MS: i64 = 1_790_000_000_000;

thread_local! {
    // The world's time, for whoever runs outside a process.
    static WORLD_MS: Cell<u64> = const { Cell::new(0) };
    // Inside a process: an instant of its runtime's clock, and the world's time then.
    static BASE: Cell<Option<(Instant, u64)>> = const { Cell::new(None) };
    static JUMPED_MS: Cell<i64> = const { Cell::new(0) };
}

/// A world begins on this thread.
pub(crate) fn begin() {
    WORLD_MS.set(0);
    BASE.set(None);
    JUMPED_MS.set(0);
}

/// The world has come to this time.
pub(crate) fn set_world(ms: u64) {
    WORLD_MS.set(ms);
}

/// Runs a part of a process, whose clock stood at `base` when the world's was `base_ms`.
pub(crate) fn inside<T>(base: Instant, base_ms: u64, part: impl FnOnce() -> T) -> T {
    BASE.set(Some((base, base_ms)));
    let result = part();
    BASE.set(None);
    result
}

/// Now, ms since the world began.
pub(crate) fn now_ms() -> u64 {
    match BASE.get() {
        Some((base, base_ms)) => base_ms + millis(Instant::now().saturating_duration_since(base)),
        None => WORLD_MS.get(),
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The servers' wall clocks jump.
pub(crate) fn jump(by_ms: i64) {
    JUMPED_MS.set(JUMPED_MS.get() + by_ms);
}

/// The servers' wall clock, ms since 1970 UTC.
pub(crate) fn wall_ms() -> i64 {
    WALL_BEGAN_MS + i64::try_from(now_ms()).unwrap_or(i64::MAX) + JUMPED_MS.get()
}
