//! Messages to people, as operators ask for them. Texts are not kept: they may hold names.

use async_trait::async_trait;
use remuda_model::OrganizationId;

use super::{Asker, BusinessError};

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotificationView {
    /// Its id.
    pub id: String,
    /// To whom: a user's id.
    pub recipient: String,
    /// `in-app`, `email` or `webhook`.
    pub channel: &'static str,
    /// What kind, such as `booking-confirmed`.
    pub kind: String,
    /// `requested`, `rendered`, `failed`, `sent`, `dead-letter`, `read`, `acknowledged`, `cancelled`.
    pub state: &'static str,
    /// When it was asked for, ms since 1970 UTC.
    pub requested_ms: i64,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
    /// Why the last attempt failed; empty when none did.
    pub failure: String,
}

/// When not to be disturbed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuietView {
    /// Minute of the local day it begins at, 0 to 1,439.
    pub from_minute: u16,
    /// Minute of the local day it ends at.
    pub to_minute: u16,
    /// Minutes that the local time is ahead of UTC.
    pub utc_offset_minutes: i16,
}

/// How somebody wants to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreferencesView {
    /// BCP 47, such as `de-AT`.
    pub locale: String,
    /// `in-app`, `email`, `webhook`.
    pub channels: Vec<String>,
    /// When not.
    pub quiet: Option<QuietView>,
}

/// Which messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotificationFilter<'a> {
    /// All, the newest first.
    All,
    /// Those to one user, the newest first.
    Recipient(&'a str),
    /// Those that were given up, by id.
    DeadLetters,
}

/// A page of messages, and the token for the next one.
pub type NotificationPage = (Vec<NotificationView>, Option<String>);

/// Messages to people.
#[async_trait]
pub trait NotificationDesk: Send + Sync + 'static {
    /// One message.
    async fn notification(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<NotificationView, BusinessError>;

    /// A page of messages; `after` is the token of the page before.
    async fn notifications(
        &self,
        organization: &OrganizationId,
        filter: NotificationFilter<'_>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<NotificationPage, BusinessError>;

    /// Gives a dead letter another life. Refused when it is none.
    async fn resend(
        &self,
        organization: &OrganizationId,
        id: &str,
        asker: Asker,
    ) -> Result<NotificationView, BusinessError>;

    /// How a user wants to be told.
    async fn preferences(
        &self,
        organization: &OrganizationId,
        user: &str,
    ) -> Result<PreferencesView, BusinessError>;

    /// Changes that.
    async fn set_preferences(
        &self,
        organization: &OrganizationId,
        user: &str,
        wishes: PreferencesView,
        asker: Asker,
    ) -> Result<PreferencesView, BusinessError>;
}
