//! The console's bounds, each with its reason. Sizes and rates in the reasons are reckoned, not measured.

use std::time::Duration;

/// Vehicles on a page when none is asked for (DESIGN section 7).
pub const PAGE_DEFAULT: usize = 50;
/// Most vehicles on a page (DESIGN section 7): about 150 KB.
pub const PAGE_MAX: usize = 1_000;
/// A filter longer than this was not written by a person, bytes.
pub const FILTER_BYTES_MAX: usize = 1_024;
/// Nesting of a filter: keeps the recursion's stack small.
pub const FILTER_DEPTH_MAX: usize = 16;
/// Lines a Watch sends in one message: 4 MiB hold ten times as many.
pub const WATCH_LINES_MAX: usize = 1_000;
/// Rows a Watch sends in one message of columns: about 1 MiB with their ids.
pub const WATCH_ROWS_MAX: usize = 20_000;
/// Responses ready for a reader that has not taken the one before: one more than in its hands.
pub const WATCH_AHEAD_MAX: usize = 1;
/// Streams of a service open at once, over all connections: each looks at all that it may show a few times a second, and the
/// more do, the later each of them is told. Chosen and not measured: by how much is what `cargo xtask bench watch` is for
/// (`watch_lag_p95_ms`: 1,000 streams of 5,000 vehicles each), and it has no figures yet.
pub const WATCHERS_MAX: usize = 1_024;
/// Those of one caller: half, so that nobody can take all. A program that shows a fleet to many people calls for all of them.
pub const WATCHERS_PER_CALLER_MAX: usize = WATCHERS_MAX / 2;
/// Time between two responses of a Watch when none is asked for.
pub const WATCH_INTERVAL: Duration = Duration::from_millis(500);
/// Bounds of what can be asked for.
pub const WATCH_INTERVAL_MIN: Duration = Duration::from_millis(100);
/// See `WATCH_INTERVAL_MIN`.
pub const WATCH_INTERVAL_MAX: Duration = Duration::from_secs(60);
/// A Watch without changes says so this often: half of what proxies and browsers take for dead.
pub const WATCH_HEARTBEAT: Duration = Duration::from_secs(15);
/// How often a filter that depends on time is evaluated again.
pub const WATCH_TIME_STEP: Duration = Duration::from_secs(1);
/// Connections at once; more wait to be accepted. Far more people than one node serves, far fewer handles than it has.
pub const CONNECTIONS_MAX: usize = 1_024;
/// Connections of one address: half, so that nobody can take all. A proxy in front has one address for everybody.
pub const CONNECTIONS_PER_ADDRESS_MAX: usize = CONNECTIONS_MAX / 2;
/// How long a TLS handshake may take, from the first byte that is awaited to the last.
pub const HANDSHAKE_PATIENCE: Duration = Duration::from_secs(5);
/// TLS handshakes at a time: each is work for a core, so that more at once would only wait.
pub const HANDSHAKES_MAX: usize = 256;
/// TLS handshakes of one address at a time: half, so that nobody can take all.
pub const HANDSHAKES_PER_ADDRESS_MAX: usize = HANDSHAKES_MAX / 2;
/// Calls a second, and at once, of one address that has not said who it is: probes, scrapers, the app's files, and tokens
/// that open nothing.
pub const STRANGER_CALLS: (f64, f64) = (200.0, 2_000.0);
/// Denials of one caller that are written into the audit log: a second, and at once. The others are counted, and the next
/// that is written says how many they were.
pub const DENIALS_WRITTEN: (f64, f64) = (0.1, 20.0);
/// Callers of whom left out denials are counted.
pub const DENIED_CALLERS_MAX: usize = 1_000;
/// Streams of one HTTP/2 connection.
pub const STREAMS_PER_CONNECTION_MAX: u32 = 128;
/// A peer that does not answer a ping is gone: interval and patience.
pub const HTTP2_KEEPALIVE: (Duration, Duration) = (Duration::from_secs(30), Duration::from_secs(10));
/// Request headers, bytes.
pub const HEADER_BYTES_MAX: u32 = 16 * 1024;
/// A unary call without a deadline gets this one: nothing here reads more than memory.
pub const CALL_TIMEOUT_MAX: Duration = Duration::from_secs(30);
/// How long a stop waits for calls under way.
pub const STOP_PATIENCE: Duration = Duration::from_secs(5);
/// How often the health service asks whether the node is ready.
pub const HEALTH_INTERVAL: Duration = Duration::from_secs(1);
/// Calls a second that one caller may make unless the configuration says otherwise: ten times a busy script.
pub const CALLS_PER_SECOND: f64 = 2_000.0;
/// Calls that one caller may make at once.
pub const CALLS_BURST: f64 = 4_000.0;
/// Vehicles that a question about history names: as many as a page has.
pub const HISTORY_VEHICLES_NAMED_MAX: usize = 1_000;
/// Vehicles that a filter of such a question may match: about 4 MB of ids.
pub const HISTORY_VEHICLES_MAX: usize = 100_000;
/// Signals of such a question: three quarters of the built-in ones; each is a column in memory.
pub const HISTORY_SIGNALS_MAX: usize = 64;
/// Longest bucket, ms: a leap year. What is longer is one bucket of any range that makes sense.
pub const HISTORY_BUCKET_MS_MAX: i64 = 366 * 86_400_000;
/// Samples of a plotted line: twenty for each dot of a wide screen.
pub const HISTORY_PLOT_POINTS_MAX: usize = 100_000;
/// Samples in one message, bytes: large enough that its envelope does not count, a sixteenth of what a message may have.
pub const HISTORY_MESSAGE_BYTES: usize = 256 * 1024;
/// Positions of a journey in a list.
pub const JOURNEY_TRACK_POINTS_MAX: usize = 1_000;
/// Positions of all journeys of a page: about 2 MB of the 4 that a message may have.
pub const JOURNEY_POINTS_MAX: usize = 60_000;
/// Slower than this a vehicle stands, km/h: what satellites say of one that does.
pub const STANDING_KMH_MAX: f32 = 3.0;
/// Vehicles of a group command, and left out of it, that a preview names: as many as a group may have.
pub const GROUP_VEHICLES_MAX: usize = 10_000;
/// Least time between two answers of a watched group command.
pub const GROUP_WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Least time between two answers of watched alerts.
pub const ALERT_WATCH_INTERVAL: Duration = Duration::from_millis(250);
/// Pages of the largest size that a gathered answer is made of: 100,000 vehicles.
pub const REST_PAGES_MAX: usize = 100;
/// Longest reason of an erasure, bytes: it stays for ever.
pub const ERASURE_REASON_MAX: usize = 1_000;
/// Longest request id of an erasure, bytes.
pub const ERASURE_REQUEST_ID_MAX: usize = 200;
/// Calls a second, and at once, of one address that shows tokens of share links: people who open a link, and open it again.
pub const FOLLOWER_CALLS: (f64, f64) = (2.0, 60.0);
/// Trips followed at once, over all connections, with share links; as many by callers with accounts: each looks at one trip and
/// one twin a second.
pub const FOLLOWERS_MAX: usize = 1_000;
/// Trips that one address follows at once: everybody behind a mobile network's gateway, and yet nobody takes all.
pub const FOLLOWERS_PER_ADDRESS_MAX: usize = 100;
/// How often a followed trip is looked at.
pub const FOLLOW_EVERY: Duration = Duration::from_secs(1);
/// Reaches whose vehicles are remembered for callers with a role on some of them: more than an organization has combinations of
/// fleets and depots that roles are granted on.
pub const REACHES_KNOWN_MAX: usize = 256;
/// How long that is believed: so long a vehicle that changed its fleet is still shown to the old one.
pub const HOME_FRESH: Duration = Duration::from_secs(2);
/// How long it is believed while somebody reads it anew.
pub const HOME_STALE_MAX: Duration = HOME_FRESH.saturating_mul(2);

/// How long before its caller's deadline a call ends.
pub const DEADLINE_MARGIN: Duration = Duration::from_millis(50);

/// Less free space than this is said to operators, bytes.
pub const DISK_FREE_BYTES_MIN: u64 = 1_000_000_000;
/// Less free space than one part in so many of the disk is said to operators.
pub const DISK_FREE_SHARE_MIN: u64 = 20;
