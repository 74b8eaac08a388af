//! In-app, e-mail and webhook messages.
//!
//! Owns: one message to one recipient over one channel as an aggregate ([`notification`]), texts with
//! languages ([`templates`]), what people want and when they sleep ([`preferences`]), the channels
//! ([`channels`]) and the runner that delivers at least once ([`Notifications`], [`Runner`]). Deliberately
//! absent: addresses and names in the journal: they live with the user and are asked for when a message is
//! sent ([`Directory`]).

pub mod channels;
pub mod desk;
pub mod limits;
pub mod metrics;
pub mod notification;
pub mod preferences;
pub mod templates;

pub use desk::{
    Ask, Contact, Directory, Mailbox, MailboxProjection, NotificationService, Notifications,
    NotificationsConfig, Runner, StaticDirectory,
};
