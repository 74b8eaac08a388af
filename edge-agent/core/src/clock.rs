//! The wall clock, reconciled from server times; the monotonic clock stays the order of things.

use remuda_wire::ClockQuality;

const NS_PER_MS: u64 = 1_000_000;

/// Offset between the monotonic clock and server time.
#[derive(Debug, Default)]
pub(crate) struct WallClock {
    offset_ms: Option<i64>,
    // Latest possible server time (docs/uplink.md section 7): the Welcome's, as if it had been read when our Hello left.
    latest_offset_ms: Option<i64>,
}

fn ms(ns: u64) -> i64 {
    i64::try_from(ns / NS_PER_MS).unwrap_or(i64::MAX)
}

impl WallClock {
    /// A start under a clock that an earlier one knew. Only for saying when something was: commands wait for a Welcome.
    pub(crate) fn resume(&mut self, offset_ms: i64) {
        self.offset_ms = Some(offset_ms);
    }

    /// Server time less the monotonic clock, ms.
    pub(crate) fn offset_ms(&self) -> Option<i64> {
        self.offset_ms
    }

    /// A Welcome: its time was read between our Hello and now.
    pub(crate) fn welcomed(&mut self, server_ms: i64, hello_ns: u64, now: u64) {
        let middle = ms(hello_ns / 2 + now / 2);
        self.offset_ms = Some(server_ms.saturating_sub(middle));
        self.latest_offset_ms = Some(server_ms.saturating_sub(ms(hello_ns)));
    }

    /// An Ack: it may have been long under way, so it only ever says that it is later than we thought.
    pub(crate) fn acked(&mut self, server_ms: i64, now: u64) {
        let offset = server_ms.saturating_sub(ms(now));
        self.offset_ms = Some(self.offset_ms.map_or(offset, |before| before.max(offset)));
    }

    pub(crate) fn wall_ms(&self, mono_ms: u64) -> Option<i64> {
        Some(self.offset_ms?.saturating_add(i64::try_from(mono_ms).unwrap_or(i64::MAX)))
    }

    pub(crate) fn latest_ms(&self, now: u64) -> Option<i64> {
        Some(self.latest_offset_ms?.saturating_add(ms(now)))
    }

    pub(crate) fn quality(&self) -> ClockQuality {
        if self.offset_ms.is_some() { ClockQuality::Server } else { ClockQuality::Unknown }
    }
}
