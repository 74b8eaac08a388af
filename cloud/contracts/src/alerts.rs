//! Alerts on vehicles as operators work with them. Reading never activates an actor.

use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::watch;

use crate::geofences::GeofenceId;

/// How much an alert matters, from the least to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AlertSeverity {
    /// Good to know.
    Info,
    /// Somebody should do something today.
    Warning,
    /// Somebody must do something now.
    Critical,
}

impl AlertSeverity {
    /// All of them, the least first.
    pub const ALL: [Self; 3] = [Self::Info, Self::Warning, Self::Critical];

    /// The word in metrics and filters.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// How an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AlertState {
    /// Nobody looks after it.
    Open,
    /// Somebody does.
    Acknowledged,
    /// Quiet until a time; then it is open again.
    Snoozed,
    /// Over.
    Cleared,
}

impl AlertState {
    /// Whether somebody should be told of an alert that is so: nobody looks after it, nobody wanted quiet, it is not over and
    /// came in time.
    pub fn wants_attention(self, late: bool) -> bool {
        self == Self::Open && !late
    }
}

/// Who did something, when, and what they said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AlertMark {
    /// Who; empty for a rule, or for time itself.
    pub by: String,
    /// When, ms since 1970 UTC; 0 when it is not known.
    pub time_ms: i64,
    /// Note or reason; may be empty.
    pub note: String,
}

/// A kind of entry in an alert's history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlertEntryKind {
    /// Its rule found it.
    Raised,
    /// Its rule found it again while it was not over.
    RaisedAgain,
    /// Acknowledged.
    Acknowledged,
    /// Snoozed until this time, ms since 1970 UTC.
    Snoozed(i64),
    /// The snooze was ended by somebody.
    Unsnoozed,
    /// The snooze's time ran out.
    SnoozeEnded,
    /// Cleared by its rule.
    Cleared,
    /// Cleared by somebody.
    ClearedByHand,
}

/// An alert and what became of it.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertRecord {
    /// Whose.
    pub organization: OrganizationId,
    /// On which vehicle.
    pub vehicle: VehicleId,
    /// Unique on its vehicle: the rule's name and the frame that raised it.
    pub id: String,
    /// The rule that raised it, such as `low-charge`.
    pub rule: String,
    /// The geofence whose rule it is, if it is one's.
    pub geofence: Option<GeofenceId>,
    /// How much it matters.
    pub severity: AlertSeverity,
    /// How it is.
    pub state: AlertState,
    /// When the samples that raised it were taken, ms since 1970 UTC; 0 when unknown.
    pub raised_ms: i64,
    /// It arrived so late that it wakes nobody.
    pub late: bool,
    /// The value that raised it, in the rule's unit.
    pub value: f64,
    /// The rule's threshold at that time, same unit.
    pub threshold: f64,
    /// How often its rule found it while it was not over.
    pub occurrences: u32,
    /// Whether people may clear it, or only its rule.
    pub clears_by_hand: bool,
    /// What brought it into its state: the acknowledgement, the snooze, the end. Empty for an open one.
    pub mark: AlertMark,
    /// When a snoozed one comes back, ms since 1970 UTC; 0 for any other.
    pub snoozed_until_ms: i64,
    /// Grows with every change; the source of etags.
    pub revision: u32,
    /// What happened, oldest first, its beginning and the newest end of a snooze always there.
    pub history: Vec<(AlertEntryKind, AlertMark)>,
    /// Entries after the beginning that are no longer there.
    pub history_left_out: u32,
}

impl AlertRecord {
    /// Whether somebody should be told, see [`AlertState::wants_attention`].
    pub fn wants_attention(&self) -> bool {
        self.state.wants_attention(self.late)
    }

    /// Which of its calls for attention this is; none when nobody should be told. The same until it is looked after, snoozed
    /// or over, however often it is found again.
    pub fn call(&self) -> Option<AlertCall> {
        if !self.wants_attention() {
            return None;
        }
        let is_back =
            |kind: &AlertEntryKind| matches!(kind, AlertEntryKind::Unsnoozed | AlertEntryKind::SnoozeEnded);
        let back = self.history.iter().rev().find(|(kind, _)| is_back(kind));
        Some(back.map_or(AlertCall { number: 0, time_ms: self.raised_ms }, |(_, mark)| AlertCall {
            number: mark.time_ms,
            time_ms: mark.time_ms,
        }))
    }

    /// Where it stands in a list.
    pub fn place(&self) -> AlertPlace {
        AlertPlace { raised_ms: self.raised_ms, vehicle: self.vehicle, id: self.id.clone() }
    }
}

/// Where an alert stands in a list: it never moves, so pages are stable under change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertPlace {
    /// When it was raised, ms since 1970 UTC.
    pub raised_ms: i64,
    /// On which vehicle.
    pub vehicle: VehicleId,
    /// Its id.
    pub id: String,
}

/// When a snooze ends, as somebody asks for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SnoozeEnd {
    /// At this time, ms since 1970 UTC.
    At(i64),
    /// So long after the act, ms.
    After(i64),
}

/// One of an alert's calls for attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertCall {
    /// 0 when it was raised; later ones by when the snooze ended, since a history forgets how many entries stood before one.
    pub number: i64,
    /// When, ms since 1970 UTC.
    pub time_ms: i64,
}

/// What somebody wants done with an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertAct {
    /// Says that they look after it.
    Acknowledge {
        /// What to say to it, at most 256 bytes.
        note: String,
    },
    /// Wants quiet for a while; then it comes back if it is still open.
    Snooze {
        /// When it comes back; 1 min to 7 days from now.
        end: SnoozeEnd,
        /// Why, at most 256 bytes.
        note: String,
    },
    /// Ends a snooze early.
    Unsnooze,
    /// Ends the alert, where its rule permits.
    Clear {
        /// Why, 1 to 256 bytes.
        reason: String,
    },
}

/// An act as somebody asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AlertRequest {
    /// What to do.
    pub act: AlertAct,
    /// Who.
    pub by: String,
    /// Makes a repetition recognisable, at most 64 bytes; empty when nobody will repeat it.
    pub request_id: String,
    /// The revision that they saw; none when any will do.
    pub expected: Option<u32>,
    /// Only say what would become of it.
    pub validate_only: bool,
}

/// Why an act is not carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AlertError {
    /// No such alert.
    #[error("there is no such alert, or it ended long ago; list alerts to see which there are")]
    NoSuchAlert,
    /// The domain says no.
    #[error("{sentence}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// One sentence that says what to do.
        sentence: String,
    },
    /// Not now. It is not known whether it was done: ask again with the same request id.
    #[error("the vehicle's alerts cannot be changed now: {0}; try again with the same request id")]
    Unavailable(&'static str),
}

/// A place in the history of a node's list of alerts. Means nothing to another start of the node, hence the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlertPoint {
    /// Which start.
    pub instance: u64,
    /// Its count of changes.
    pub change: u64,
    /// Up to this change some ended alerts have left the list: who stopped before it must read everything.
    pub dropped_to: u64,
}

/// An alert in the list of a node.
#[derive(Debug, Clone, Copy)]
pub struct AlertLine<'a> {
    /// The change that brought it.
    pub change: u64,
    /// Its number, the same as long as it is in the list. 4 billion alerts would have to be raised before one is given again.
    pub number: u32,
    /// Its newest state.
    pub record: &'a Arc<AlertRecord>,
}

/// The vehicle domain's side of alerts.
#[async_trait]
pub trait AlertDesk: Send + Sync + 'static {
    /// One alert.
    fn get(&self, organization: &OrganizationId, vehicle: &VehicleId, id: &str) -> Option<Arc<AlertRecord>>;

    /// Alerts after a place, those raised last first, at most `limit` that `matches` accepts: all that are not over, and
    /// the last that ended.
    fn list(
        &self,
        organization: &OrganizationId,
        after: Option<&AlertPlace>,
        limit: usize,
        matches: &(dyn Fn(&AlertRecord) -> bool + Sync),
    ) -> Vec<Arc<AlertRecord>>;

    /// Visits every alert, those raised last first; answers where the list was.
    fn visit(
        &self,
        organization: &OrganizationId,
        each: &mut (dyn FnMut(AlertLine<'_>) + Send),
    ) -> AlertPoint;

    /// Tells of changes.
    fn changed(&self) -> watch::Receiver<u64>;

    /// Carries out an act, durably.
    async fn act(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        request: AlertRequest,
    ) -> Result<Arc<AlertRecord>, AlertError>;
}
