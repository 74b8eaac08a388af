//! Bounds, each with its reason.

use std::time::Duration;

/// Vehicles of one group command: a large city's fleet; 40 bytes each in the journal.
pub const VEHICLES_MAX: usize = 10_000;
/// Vehicles in one event: 49 bytes each at most, of the 96 KiB that an event may have.
pub const VEHICLES_PER_EVENT: usize = 1_500;
/// Texts of people and of vehicles, bytes; the journal takes as much.
pub const TEXT_BYTES_MAX: usize = 256;
/// Words of vehicles that one group keeps; beyond them only how they ended is kept.
pub const DETAILS_MAX: usize = 1_000;
/// Slowest rate: one vehicle in 100 seconds.
pub const VEHICLES_PER_1000_S_MIN: u32 = 10;
/// Fastest rate: what one node can give.
pub const VEHICLES_PER_1000_S_MAX: u32 = 1_000_000;
/// Commands of one group under way at once.
pub const UNDER_WAY_MAX: u32 = 1_000;
/// Group commands of a node that have not ended: each has a task and 50 bytes a vehicle.
pub const GROUPS_ACTIVE_MAX: usize = 64;
/// Calls of one group to the vehicles' desk at once.
pub const CALLS_MAX: usize = 32;
/// How often a running group looks what it may do next.
pub const TICK: Duration = Duration::from_millis(50);
/// Ends that are written down together at most, and turns that are taken together.
pub const TOGETHER_MAX: usize = 64;
/// Pause before a call that could not be answered is made again.
pub const AGAIN: Duration = Duration::from_secs(1);
/// How often approvals are looked at whose time may be over.
pub const SWEEP: Duration = Duration::from_secs(1);
/// Approvals that wait at once: each is somebody's work.
pub const APPROVALS_PENDING_MAX: usize = 1_000;
/// Requests for assistance of one vehicle that have not ended: twice what an agent has open at once.
pub const ASSISTANCE_OPEN_OF_VEHICLE_MAX: usize = 8;
/// Requests for assistance of a node whose vehicles wait: more than any crew answers. Those of vehicles that are silent do
/// not count: a dead zone must not cost the others their help.
pub const ASSISTANCE_WAITING_MAX: usize = 1_000;
/// After its deadline a vehicle has so long to say what it did, ms: a day, since it may have no link.
pub const ASSISTANCE_SILENCE_MS_MAX: i64 = 24 * 3_600 * 1_000;
/// Shortest life of a command that brings an answer, ms: what the vehicles' desk takes.
pub const ANSWER_TTL_MS_MIN: i64 = 1_000;
/// After an answer's command has ended without the vehicle's doing, the vehicle's own word on the question is awaited so long,
/// ms: it came on the same lane, before the command's end.
pub const ANSWER_SETTLES_MS: i64 = 5_000;
/// Of so many sweeps one looks after answers whose deadline has passed: nobody waits for those any more.
pub const SWEEPS_PER_LATE_LOOK: u64 = 60;
/// How often vehicles' reports are read when nothing was heard of them, so that the cursor does not fall behind.
pub const REPORTS_LOOK: Duration = Duration::from_secs(60);
/// Most lines of a list.
pub const PAGE_MAX: usize = 1_000;
