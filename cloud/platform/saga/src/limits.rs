//! Bounds, each with its reason.

/// Longest deadline of one try, ms (DESIGN section 7): past an hour it is a wait, for which there are timers.
pub const DEADLINE_MS_MAX: u64 = 3_600_000;
/// Deadline of one try where a definition is silent, ms (DESIGN section 7).
pub const DEADLINE_MS: u64 = 10_000;
/// Tries where a definition is silent (DESIGN section 7).
pub const TRIES: u16 = 5;
/// Most tries a definition may ask for: with the longest back-off that is an hour and a half of trying.
pub const TRIES_MAX: u16 = 100;
/// Pause after the first failed try where a definition is silent, ms. It doubles from there.
pub const BACK_OFF_FIRST_MS: u32 = 200;
/// Longest pause between tries where a definition is silent, ms.
pub const BACK_OFF_MOST_MS: u32 = 10_000;
/// Longest pause a definition may ask for, ms: an hour, as for deadlines.
pub const BACK_OFF_MS_MAX: u32 = 3_600_000;
/// Longest timer, ms: 90 days, so that a saga ends within what is kept in the journal before archiving.
pub const TIMER_MS_MAX: u64 = 90 * 86_400_000;
/// Steps of a definition: each is a few events, and a saga's whole history is read when it is loaded.
pub const STEPS_MAX: usize = 64;
/// Longest name of a saga, step, service or action, bytes: names are parts of keys.
pub const NAME_BYTES_MAX: usize = 64;
/// Longest id of a saga, bytes: it is part of every key that its steps carry.
pub const SAGA_ID_BYTES_MAX: usize = 96;
/// Largest input of a saga as JSON, bytes.
pub const INPUT_BYTES_MAX: usize = 16 * 1024;
/// Largest output of a step as JSON, bytes.
pub const OUTPUT_BYTES_MAX: usize = 8 * 1024;
/// Largest sum of a saga's input and outputs, bytes: its state must fit the journal's 100 KB.
pub const CONTEXT_BYTES_MAX: usize = 64 * 1024;
/// Longest reason, code or detail that is kept, bytes; longer ones are cut.
pub const TEXT_BYTES_MAX: usize = 512;
/// Calls of one service at once by one runner: bounds what it is asked, not how many sagas wait.
pub const CALLS_AT_ONCE: usize = 1_024;
/// Sagas that may be under way in one runner; a start beyond is refused. About 4 KB each.
pub const SAGAS_AT_ONCE: usize = 50_000;
/// Sagas whose end is remembered for lists; older ones are found by id.
pub const ENDED_REMEMBERED: usize = 10_000;
/// Requests (cancel, operators' commands) that may wait for one saga.
pub const REQUESTS_WAITING: usize = 16;
/// Running sagas that are loaded at once after a restart.
pub const RESUMED_AT_ONCE: usize = 64;
/// Pause before a saga whose journal failed is loaded again, ms; it doubles up to [`RELOAD_MS_MAX`].
pub const RELOAD_MS: u64 = 100;
/// See [`RELOAD_MS`].
pub const RELOAD_MS_MAX: u64 = 10_000;
/// Seconds after which a saga's entity that is asked nothing leaves the memory: its runner's task holds what it needs, and
/// most sagas are over within a second.
pub const ENTITY_IDLE_S: u64 = 5;
/// Events, or entries of the index, that are read at once.
pub const HISTORY_PAGE: usize = 256;
