//! Bounds of the vehicle domain, each with its reason.

use std::time::Duration;

/// Payload bytes that shards and actors may hold before they are evaluated, node-wide. With [`ROWS_BYTES_MAX`] this is
/// the 64 MiB a node holds in flight.
pub const INTAKE_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Decoded rows that wait for their round, node-wide, bytes in memory (a row takes several times its wire bytes).
pub const ROWS_BYTES_MAX: usize = 48 * 1024 * 1024;
/// Payload bytes one shard may hold: one flooded shard leaves room for the others.
pub const SHARD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Share of the rows' budget that is kept for vehicles with little in flight: however many drain a backlog, whoever comes
/// with a frame or two finds room.
pub const ROWS_RESERVE_SHARE: usize = 8;
/// What counts as little, at most, bytes in memory: some frames.
pub const ROWS_LITTLE: usize = 16 * 1024;
/// A sample time further ahead of its receipt than this is no time, ms: clocks differ by less.
pub const FUTURE_MS: i64 = 5 * 60 * 1000;
/// Least time between two requests for every current value, because frames with some of them were lost.
pub const RESYNC_INTERVAL: Duration = Duration::from_secs(30);
/// What any arrival costs of the budgets besides its payload, bytes: bounds the count of empty ones.
pub const ARRIVAL_COST: usize = 128;
/// Memory of a decoded row without its values, bytes.
pub const ROW_COST: usize = 240;
/// Memory of one value in a row, bytes.
pub const VALUE_COST: usize = 16;
/// How much memory one wire byte becomes, for granting credit: 1 row of 10 values from about 60 bytes.
pub const WIRE_EXPANSION: usize = 6;
/// While geofences are for fleets or depots, vehicles that such a one holds are looked at this often: nobody tells the vehicle
/// domain when a vehicle changes where it belongs.
pub const HOMES_INTERVAL: Duration = Duration::from_secs(30);
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
/// Policies of an organisation: people keep them in their heads.
pub const POLICIES_MAX: usize = 64;
/// Prefixes with a policy: each is looked at when a vehicle greets.
pub const POLICY_PREFIXES_MAX: usize = 256;
/// Vehicles named in one assignment: an event of the journal has less than 100 KB.
pub const POLICY_TARGET_VEHICLES_MAX: usize = 1_000;
/// Vehicles with a policy of their own: beyond that a prefix is meant.
pub const POLICY_VEHICLES_MAX: usize = 20_000;
/// Vehicles told of a change at once.
pub const POLICY_PUSH_VEHICLES: usize = 256;
/// Pause between two such groups: a fleet of 100,000 is told in 40 s, and the node's other work goes on.
pub const POLICY_PUSH_PAUSE: Duration = Duration::from_millis(100);
/// How long a vehicle may take to make a policy durable and say so before it is sent again.
pub const POLICY_ANSWER: Duration = Duration::from_secs(30);
/// How long a vehicle may take to make a trip's watch durable and say so: from then on the cloud watches for it, since an agent
/// that is too old never answers.
pub const WATCH_ANSWER: Duration = Duration::from_secs(5);
/// How often a vehicle that does not answer is told the same on one connection.
pub const WATCH_TELLS_MAX: u8 = 3;
/// Least time between two reports of a vehicle, s: a day of them is some 30 KB.
pub const STATUS_INTERVAL_S: u16 = 300;
/// Vehicles that a policy's status names.
pub const STATUS_VEHICLES_MAX: usize = 50;
/// Gaps, and frames in quarantine, that a vehicle's view names; the counts go on.
pub const NOTES_MAX: usize = 32;
/// Commands to a vehicle that may be open: more is somebody's loop.
pub const ORDERS_OPEN_MAX: usize = 32;
/// Ended commands of a vehicle that are remembered, and recognised when they are asked for again.
pub const ORDERS_FINISHED_MAX: usize = 64;
/// How often a command goes out before it is given up: each time, the vehicle's agent had started anew.
pub const ORDER_SENDS_MAX: u32 = 8;
/// Shortest and longest life of a command, ms.
pub const ORDER_TTL_MS_MIN: i64 = 1_000;
/// See [`ORDER_TTL_MS_MIN`].
pub const ORDER_TTL_MS_MAX: i64 = 7 * 24 * 3_600 * 1_000;
/// How long after its expiry a vehicle may still tell what became of a command that was sent, ms.
pub const ORDER_ANSWER_MS_MAX: i64 = 24 * 3_600 * 1_000;
/// Longest reason of a command, bytes.
pub const ORDER_REASON_BYTES: usize = 256;
/// Longest request id of a command, bytes.
pub const ORDER_REQUEST_ID_BYTES: usize = 64;
/// Events in a stream of commands between two snapshots.
pub const ORDER_SNAPSHOT_EVENTS: u64 = 64;
/// Commands and questions about them that may wait for actors, node-wide.
pub const ORDER_ASKS_MAX: usize = 1_024;
