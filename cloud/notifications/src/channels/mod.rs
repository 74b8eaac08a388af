//! The ways to a person.

pub mod email;
pub mod webhook;

use serde::{Deserialize, Serialize};

/// A way to a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Channel {
    /// The inbox of the app.
    InApp,
    /// E-mail.
    Email,
    /// A call to a system of theirs.
    Webhook,
}

impl Channel {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::InApp, Self::Email, Self::Webhook];

    /// Stable name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::InApp => "in-app",
            Self::Email => "email",
            Self::Webhook => "webhook",
        }
    }
}

/// Why one attempt over a channel did not deliver. Its text holds no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Undelivered {
    /// Why.
    pub reason: String,
    /// Would another attempt have a chance?
    pub worth_a_retry: bool,
    /// How long the other side asks us to wait, s.
    pub retry_after_s: Option<u64>,
}

impl Undelivered {
    pub(crate) fn final_(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), worth_a_retry: false, retry_after_s: None }
    }

    pub(crate) fn for_now(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), worth_a_retry: true, retry_after_s: None }
    }
}
