//! Bounds, each with its reason.

use std::time::Duration;

/// Items in a batch: what a feed holds in memory, at about 1 KB each.
pub const BATCH_ITEMS_MAX: usize = 4_000;
/// Items in a batch of a webhook: together they fit into a body.
pub const WEBHOOK_ITEMS_MAX: usize = 250;
/// Items in a batch of an MQTT feed: what a broker is asked to hold unconfirmed.
pub const MQTT_ITEMS_MAX: usize = 1_000;
/// Events looked at for one batch, so that a filter that lets nothing through still moves on and can be stopped.
pub const EVENTS_LOOKED_AT_MAX: usize = 20_000;
/// Commits of the lake that are read for one batch, so that one whose rows are all of others can be stopped.
pub const COMMITS_MAX: usize = 32;
/// Events of a shard that are read at a time.
pub const EVENTS_PAGE: usize = 256;
/// Between two looks for something new.
pub const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A cursor that moved over what a filter left out is written this often.
pub const IDLE_CURSOR_EVERY: Duration = Duration::from_secs(10);
/// Longest time a sink may take for a batch; a sink that hangs is tried again after it.
pub const SEND_WITHIN: Duration = Duration::from_secs(30);
/// First and longest pause before a sink that failed is tried again.
pub const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(60));
/// Refusals of a batch before it goes to the dead letters, unless the feed says otherwise.
pub const REFUSALS_MAX: u32 = 5;
/// Dead letters of a feed; it stops at the next one, so that a sink which refuses everything does not throw it all away.
pub const DEAD_LETTERS_MAX: usize = 100;
/// Feeds of a node: each has a task, a connection and a batch.
pub const FEEDS_MAX: usize = 64;
/// Streams that may be open at once: each reads for itself.
pub const STREAMS_MAX: usize = 64;
/// Longest list in a filter.
pub const FILTER_LIST_MAX: usize = 1_000;
/// Longest text of a setting, bytes.
pub const TEXT_MAX: usize = 1_024;
/// An MQTT connection that was quiet for longer is opened anew: nobody answered its pings meanwhile.
pub const MQTT_QUIET: Duration = Duration::from_secs(20);
/// Connecting to a broker or server.
pub const CONNECT_WITHIN: Duration = Duration::from_secs(10);
/// Longest error text that is kept, bytes.
pub const ERROR_TEXT_MAX: usize = 500;
