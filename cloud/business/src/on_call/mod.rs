//! Who is called when a vehicle's alert wants attention.
//!
//! Owns: whom an alert is for, and which messages are asked for. Nothing of it is kept here: which alerts call, and since
//! when, stands in the vehicles' streams, and what was asked for in the messages' own, under a key that is made of
//! both. After a crash all that call are gone through again, and the same key is the same message.
//!
//! Deliberately absent: how a message reaches somebody, and when (`remuda-notifications`).

mod caller;
mod people;

use std::sync::Arc;

use remuda_access::Reach;
use remuda_contracts::alerts::{AlertDesk, AlertSeverity};
use remuda_notifications::Contact;
use remuda_webhooks::Sender;

pub(crate) use caller::Caller;
pub(crate) use people::People;

/// Alerts, and those who are told of them.
pub struct OnCall {
    /// The vehicles' alerts.
    pub alerts: Arc<dyn AlertDesk>,
    /// Whom to tell.
    pub people: Vec<Person>,
    /// What calls their webhooks; none: nobody's is called.
    pub webhooks: Option<Sender>,
}

/// Somebody who is told.
#[derive(Debug, Clone)]
pub struct Person {
    /// Their name here, unlike the others'; messages are to `staff/NAME`.
    pub name: String,
    /// Of which vehicles they are told.
    pub reach: Reach,
    /// Alerts that matter less are not told.
    pub severity: AlertSeverity,
    /// How they are reached.
    pub contact: Contact,
}

impl Person {
    /// Whom messages to them are to. No rider's id holds a slash.
    fn recipient(&self) -> String {
        format!("{}{}", people::STAFF, self.name)
    }
}
