//! What a vehicle's stream says of its alerts.

use std::fmt;

use remuda_contracts::alerts::AlertState;
use remuda_model::Incarnation;
use serde::{Deserialize, Serialize};

use super::limits;
use crate::event::{AlertFact, Cause, RuleId, Timeliness};

/// An alert of a vehicle: what raised it. Its text is `{rule}-{incarnation}-{seq}-{row}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AlertId(pub Cause);

impl fmt::Display for AlertId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cause { rule, incarnation, seq, row } = self.0;
        write!(f, "{rule}-{incarnation}-{seq}-{row}")
    }
}

impl std::str::FromStr for AlertId {
    type Err = super::AlertRefusal;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let read = || {
            let mut parts = text.rsplitn(4, '-');
            let row = parts.next()?.parse().ok()?;
            let seq = parts.next()?.parse().ok()?;
            let incarnation = Incarnation(u64::from_str_radix(parts.next()?, 16).ok()?);
            let name = parts.next()?;
            let rule = RuleId::named(name)?;
            Some(Self(Cause { rule, incarnation, seq, row }))
        };
        // Only the text that it is written as: one alert, one name.
        read().filter(|id| id.to_string() == text).ok_or(super::AlertRefusal::NoSuchAlert)
    }
}

/// Who did something, when, and what they said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    /// Who; empty for a rule, or for time itself.
    pub by: String,
    /// When, ms since 1970 UTC; 0 when a rule did not know.
    pub time_ms: i64,
    /// Note or reason; may be empty.
    pub note: String,
}

/// How an alert is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertPhase {
    /// Nobody looks after it.
    Open,
    /// Somebody does.
    Acknowledged(Acted),
    /// Quiet until a time.
    Snoozed {
        /// When it comes back, ms since 1970 UTC.
        until_ms: i64,
        /// By whom.
        acted: Acted,
    },
    /// Over.
    Cleared(Acted),
}

impl AlertPhase {
    /// Whether it is over.
    pub const fn is_over(&self) -> bool {
        matches!(self, Self::Cleared(_))
    }

    /// In a word.
    pub const fn state(&self) -> AlertState {
        match self {
            Self::Open => AlertState::Open,
            Self::Acknowledged(_) => AlertState::Acknowledged,
            Self::Snoozed { .. } => AlertState::Snoozed,
            Self::Cleared(_) => AlertState::Cleared,
        }
    }
}

/// A kind of entry in an alert's history. Variants are only ever added at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryKind {
    /// Its rule found it.
    Raised,
    /// Its rule found it again while it was not over.
    RaisedAgain,
    /// Acknowledged.
    Acknowledged,
    /// Snoozed until this time, ms since 1970 UTC.
    Snoozed(i64),
    /// The snooze was ended.
    Unsnoozed,
    /// The snooze's time ran out.
    SnoozeEnded,
    /// Cleared by its rule.
    Cleared,
    /// Cleared by somebody.
    ClearedByHand,
}

impl EntryKind {
    /// Whether a snooze is over with it: from then on the alert calls anew.
    const fn is_back(self) -> bool {
        matches!(self, Self::Unsnoozed | Self::SnoozeEnded)
    }
}

/// One entry of an alert's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What.
    pub kind: EntryKind,
    /// Who, when, what they said.
    pub acted: Acted,
    /// The request's own name for itself; empty when it has none.
    pub request_id: String,
}

/// An alert with what became of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// What raised it.
    pub fact: AlertFact,
    /// Grows with every change; 1 when it was raised.
    pub revision: u32,
    /// How often its rule found it; more than once when the vehicle's agent started anew meanwhile.
    pub occurrences: u32,
    /// How it is.
    pub phase: AlertPhase,
    /// What happened, oldest first, its beginning and the newest end of a snooze always there.
    pub history: Vec<Entry>,
    /// Entries after the beginning that are no longer there.
    pub left_out: u32,
}

impl Alert {
    /// An alert that just began.
    pub fn new(fact: AlertFact) -> Self {
        let acted = Acted { time_ms: fact.sampled_ms, ..Acted::default() };
        let raised = Entry { kind: EntryKind::Raised, acted, request_id: String::new() };
        Self {
            fact,
            revision: 1,
            occurrences: 1,
            phase: AlertPhase::Open,
            history: vec![raised],
            left_out: 0,
        }
    }

    /// Which.
    pub const fn id(&self) -> AlertId {
        AlertId(self.fact.cause)
    }

    /// Its rule.
    pub const fn rule(&self) -> RuleId {
        self.fact.cause.rule
    }

    /// Whether it arrived so late that it wakes nobody.
    pub fn is_late(&self) -> bool {
        self.fact.timeliness != Timeliness::Timely
    }

    /// Whether somebody should be told, see [`AlertState::wants_attention`].
    pub fn wants_attention(&self) -> bool {
        self.phase.state().wants_attention(self.is_late())
    }

    pub(super) fn write_down(&mut self, entry: Entry) {
        self.revision += 1;
        if self.history.len() > limits::HISTORY_MAX {
            // The newest end of a snooze says which call for attention this is.
            let back = self.history.iter().rposition(|entry| entry.kind.is_back());
            let stays = back == Some(1) && !entry.kind.is_back();
            self.history.remove(if stays { 2 } else { 1 });
            self.left_out += 1;
        }
        self.history.push(entry);
    }

    /// What it takes of a snapshot at most, bytes.
    fn weight(&self) -> usize {
        let entry = |entry: &Entry| {
            limits::ENTRY_COST + entry.acted.by.len() + entry.acted.note.len() + entry.request_id.len()
        };
        // The phase repeats the last entry's texts.
        self.history.iter().map(entry).sum::<usize>()
            + self.history.last().map_or(0, entry)
            + limits::ENTRY_COST
    }
}

/// The alerts of a vehicle.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AlertBook {
    /// Not over, oldest first; at most one a rule.
    pub open: Vec<Alert>,
    /// The last that are over, in the order in which they ended.
    pub ended: Vec<Alert>,
}

impl AlertBook {
    /// Of a vehicle whose snapshot is older than this book: its open alerts, about which nobody could do anything.
    pub fn of_open(alerts: &[AlertFact]) -> Self {
        Self { open: alerts.iter().map(|fact| Alert::new(*fact)).collect(), ended: Vec::new() }
    }

    /// One alert.
    pub fn get(&self, id: AlertId) -> Option<&Alert> {
        self.open.iter().chain(self.ended.iter().rev()).find(|alert| alert.id() == id)
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Alert> {
        self.open.iter().chain(&self.ended)
    }

    pub(super) fn end(&mut self, at: usize, acted: Acted, entry: Entry) {
        let mut alert = self.open.remove(at);
        alert.phase = AlertPhase::Cleared(acted);
        alert.write_down(entry);
        if self.ended.len() >= limits::ENDED_MAX {
            self.ended.remove(0);
        }
        self.ended.push(alert);
        self.shrink();
    }

    /// Forgets what ended first until the rest is small enough to be kept as one value.
    pub(super) fn shrink(&mut self) {
        let mut weight: usize = self.iter().map(Alert::weight).sum();
        while weight > limits::BOOK_BYTES_MAX && !self.ended.is_empty() {
            weight -= self.ended.remove(0).weight();
        }
    }
}
