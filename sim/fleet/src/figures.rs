//! What a fleet can say of itself while it runs: a snapshot of counters, for progress lines and reports.

use std::time::Duration;

use serde::Serialize;

/// Figures of one process's vehicles, since it started.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Figures {
    /// Vehicles.
    pub vehicles: usize,
    /// Of these, the ones the cloud has welcomed and that are connected now.
    pub connected: usize,
    /// Time since the start, s.
    pub seconds: f64,
    /// Frames that became durable in an outbox.
    pub frames_made: u64,
    /// Frames the cloud said are durable.
    pub frames_acked: u64,
    /// Frames still in outboxes, also from earlier runs.
    pub backlog: u64,
    /// Frames given up because an outbox was full.
    pub frames_shed: u64,
    /// Values in frames.
    pub samples: u64,
    /// Bytes of payloads sent, also those sent again.
    pub wire_bytes: u64,
    /// Bytes of MQTT written to sockets; known once the fleet has stopped.
    pub tcp_bytes: u64,
    /// Frames made per second, over the whole run.
    pub frames_per_second: f64,
    /// Frames acked per second, over the whole run.
    pub acked_per_second: f64,
    /// Payload bytes sent per value.
    pub bytes_per_sample_wire: f64,
    /// From durable in the outbox to the ack: half of the frames took no longer, ms.
    pub ack_p50_ms: f64,
    /// The same for 95 of 100 frames, ms.
    pub ack_p95_ms: f64,
    /// The same for 99 of 100 frames, ms.
    pub ack_p99_ms: f64,
    /// Readings that came while a vehicle was still busy with earlier ones, and were dropped before any frame.
    pub readings_dropped: u64,
    /// Steps of the world that came late, because the machine was busy.
    pub steps_late: u64,
}

impl Figures {
    /// Fills in what follows from the counters.
    pub(crate) fn finish(mut self, since_start: Duration) -> Self {
        let seconds = since_start.as_secs_f64();
        self.seconds = round(seconds);
        let per_second = |count: u64| if seconds > 0.0 { round(count as f64 / seconds) } else { 0.0 };
        self.frames_per_second = per_second(self.frames_made);
        self.acked_per_second = per_second(self.frames_acked);
        if self.samples > 0 {
            self.bytes_per_sample_wire = round(self.wire_bytes as f64 / self.samples as f64);
        }
        self
    }

    /// One line for people.
    pub fn line(&self) -> String {
        format!(
            "{:6.1} s  {}/{} connected  {} frames made  {} acked  {} in outboxes  ack p50 {:.0} ms p95 {:.0} ms  \
             {:.0} frames/s  {:.2} bytes/sample",
            self.seconds,
            self.connected,
            self.vehicles,
            self.frames_made,
            self.frames_acked,
            self.backlog,
            self.ack_p50_ms,
            self.ack_p95_ms,
            self.acked_per_second,
            self.bytes_per_sample_wire,
        )
    }
}

/// Three decimals are plenty.
pub(crate) fn round(value: f64) -> f64 {
    (value * 1_000.0).round() / 1_000.0
}
