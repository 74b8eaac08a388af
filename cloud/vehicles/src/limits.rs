//! Bounds of the vehicle domain, each with its reason.

use std::time::Duration;

/// Payload bytes that shards and actors may hold before they are evaluated, node-wide. With [`ROWS_BYTES_MAX`] this is
/// the 64 MiB a node holds in flight.
pub const INTAKE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Decoded rows that wait for their round, node-wide, bytes in memory (a row takes several times its wire bytes).
pub const ROWS_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Payload bytes one shard may hold: one flooded shard leaves room for the others.
pub const SHARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// What any arrival costs of the budgets besides its payload, bytes: bounds the count of empty ones.
pub const ARRIVAL_COST: usize = 128;
/// Memory of a decoded row without its values, bytes.
pub const ROW_COST: usize = 240;
/// Memory of one value in a row, bytes.
pub const VALUE_COST: usize = 16;
/// How much memory one wire byte becomes, for granting credit: 1 row of 10 values from about 60 bytes.
pub const WIRE_EXPANSION: usize = 6;
/// A vehicle without a message for this long has its actor passivated (DESIGN section 7).
pub const IDLE: Duration = Duration::from_secs(120);
/// A changed twin is snapshotted at most this often (UPLINK section 6).
pub const SNAPSHOT_INTERVAL: Duration = Duration::from_secs(60);
/// Events in a stream between two snapshots (DESIGN section 7).
pub const SNAPSHOT_EVENTS: u64 = 200;
/// Events of a vehicle that wait while a round commits its decisions; a second of a talkative one.
pub const DEFERRED_MAX: usize = 64;
/// Incarnations whose rules keep state: an outbox drains one after the other, so more than two are clones.
pub const RULE_INCARNATIONS_MAX: usize = 8;
/// Incarnations remembered per vehicle and lane: ten starts a day for the 200 days that an old one can return.
pub const MARKS_MAX: usize = 2_048;
/// Incarnations whose greeting order is remembered.
pub const GREETINGS_MAX: usize = 64;
/// Lanes with state in memory per vehicle: what a Hello may list, and both lanes of the greeting agent.
pub const LANES_MAX: usize = remuda_wire::limits::HELLO_LANES_MAX + 2;
/// Signals a twin holds: the registry and a customer's file together.
pub const TWIN_SIGNALS_MAX: usize = remuda_wire::limits::BLOCK_SIGNALS_MAX;
/// How late a sample may arrive and still wake somebody, ms. Older ones raise alerts without a notification.
pub const LATE_MS: i64 = 5 * 60 * 1000;
/// A vehicle whose actor fails this often without a quiet period is parked.
pub const FAILURES_MAX: u32 = 5;
/// First wait before a failed actor is started again; doubles each time.
pub const RESTART_BACKOFF: Duration = Duration::from_millis(100);
/// How long an actor must hold before its failures are forgotten, and a parked vehicle rests before one more try.
pub const QUIET: Duration = Duration::from_secs(600);
/// Greetings that flip back to an older incarnation before it is called a clone.
pub const FLIPS_MAX: u32 = 2;
