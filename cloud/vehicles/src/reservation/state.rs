//! What is known of who has a vehicle.

use serde::{Deserialize, Serialize};

/// Is it to be had at all?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Service {
    /// Nobody has put it in service yet.
    #[default]
    New,
    /// Yes.
    InService,
    /// Yes, but when the present reservation ends it goes.
    Leaving {
        /// Why.
        reason: String,
    },
    /// No.
    OutOfService {
        /// Why.
        reason: String,
    },
}

/// Somebody has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reservation {
    /// Whose reservation it is: a booking's id. The same key is the same reservation.
    pub key: String,
    /// What for: a trip's id, a workshop's order.
    pub holder: String,
    /// Since when, ms since 1970 UTC.
    pub since_ms: i64,
    /// When it ends by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

/// Who has a vehicle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Availability {
    /// Is it to be had at all?
    pub service: Service,
    /// Who has it now.
    pub current: Option<Reservation>,
    /// Keys of ended reservations, oldest first. Bounded by [`super::limits::ENDED_MAX`].
    pub ended: Vec<String>,
}

impl Availability {
    /// May somebody reserve it now?
    pub fn is_free(&self, now_ms: i64) -> bool {
        let held = self.current.as_ref().is_some_and(|current| current.expires_ms > now_ms);
        match self.service {
            Service::InService => !held,
            // It leaves as soon as what has run out is taken off.
            Service::New | Service::Leaving { .. } | Service::OutOfService { .. } => false,
        }
    }

    /// Does this key have it?
    pub fn is_held_by(&self, key: &str) -> bool {
        self.current.as_ref().is_some_and(|current| current.key == key)
    }
}
