//! Bounds, each with its reason.

use std::time::Duration;

/// Vehicles named in a booking: the first that is free gets it, so a few are enough.
pub const CANDIDATES: usize = 8;
/// Vehicles nearest as the crow flies whose way by road is worked out.
pub const ROUTED: usize = 16;
/// Age up to which a picture of where free vehicles are is used: vehicles drive some 15 m in it.
pub const PICTURE_AGE_MAX: Duration = Duration::from_secs(1);
/// Pictures are taken at most this often, also for bookings that found nobody: it costs a look at the whole fleet.
pub const PICTURE_AGE_MIN: Duration = Duration::from_millis(200);
/// How long a booking's caller waits for its saga: its steps take some tens of milliseconds.
pub const BOOKING_PATIENCE: Duration = Duration::from_secs(5);
/// How often vehicles with a trip are looked at.
pub const OBSERVE_EVERY: Duration = Duration::from_millis(500);
/// Reports of a trip that cannot be told them; with more, only arrivals and departures are added, of which a trip has few.
pub const REPORTS_WAITING_MAX: usize = 64;
/// How soon it is looked again whether all trips are listed, when the lists stopped at an event: somebody has to look first.
pub const LISTS_AGAIN: Duration = Duration::from_secs(10);
/// How soon a trip mark that could not be brought to its trip is brought again.
pub const MARKS_AGAIN: Duration = Duration::from_secs(1);
/// Trip marks set aside for trips that do not take them, at most; with more, something is wrong with more than a few trips, and
/// all marks wait.
pub const MARKS_ASIDE_MAX: usize = 1_024;
/// Trip marks of one vehicle set aside: a trip of 12 stops makes 37.
pub const MARKS_ASIDE_OF_VEHICLE: usize = 64;
/// How long a trip mark may be set aside, ms: long enough for a release that reads what this one cannot.
pub const MARKS_ASIDE_MS_MAX: i64 = 7 * 86_400_000;
/// How often it is looked for trip marks though nobody said that there are any.
pub const MARKS_LOOK: Duration = Duration::from_secs(5);
/// How often time is told to trips.
pub const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Of so many of these one tells it to holds of credits as well, which last a day.
pub const SWEEPS_PER_EXPIRY: u64 = 60;
/// How long a vehicle has to be in reach until it is believed that no mark of it is under way any more; and how long after a start
/// vehicles have to connect again. An outbox of a day in a tunnel brings its few events in seconds.
pub const REACH_STEADY: Duration = Duration::from_secs(60);
/// Users looked at in one step.
pub const USERS_PAGE: usize = 1_000;
/// Stops of a trip.
pub const STOPS_MAX: usize = 16;
/// A way by road is longer than the crow's by about this, where no map is loaded.
pub const DETOUR: f64 = 1.35;
/// Mean speed in a town where no map is loaded, m/s.
pub const TOWN_MPS: f64 = 8.0;
/// Events that were passed over, shown of one reader.
pub const SKIPS_SHOWN: usize = 1_000;
/// Times that everything is waited for, so that what follows from what follows is done as well: a ride that ended makes a
/// charge, which makes calls to a provider, which make ledger entries.
pub const SETTLE_ROUNDS: usize = 3;
/// How long a share link lasts unless it is said, ms: as long as one may; it ends two hours after its trip anyway.
pub const SHARE_VALID_MS: i64 = remuda_trips::limits::SHARE_MS_MAX;
/// Random bytes of a share link's token: 160 bits, which nobody guesses.
pub const SHARE_TOKEN_BYTES: usize = 20;
/// How long a new link waits until the lists know its trip: strangers are answered from them first.
pub const SHARE_LISTED_PATIENCE: Duration = Duration::from_secs(1);
/// Least time between two looks at the alerts for those who are told of them: many that come at once are one look.
pub const CALLS_PAUSE: Duration = Duration::from_millis(500);
/// How often it is looked again although no alert has changed: whoever could not be told, and messages that wait.
pub const CALL_AGAIN: Duration = Duration::from_secs(5);
/// A call that is older when it is seen first is told nobody, ms: what is a day old is in the list, and no news. Who is told for
/// the first time, or a node that was away for long, begins with the last day.
pub const CALL_AGE_MS_MAX: i64 = 86_400_000;
/// Calls of which somebody could not be told that are remembered one by one; with more, all that came after the last of them are
/// gone through again.
pub const CALLS_FAILED_MAX: usize = 1_000;
/// Messages under way that are looked at in one look, those first that are due first: as many as leave within seconds.
pub const CALLS_LOOKED_AT: usize = 1_000;
/// How often the way of a followed vehicle is worked out anew, ms: it may have taken another.
pub const REROUTE_EVERY_MS: i64 = 60_000;
