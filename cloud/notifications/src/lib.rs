//! Notifications: in-app, e-mail and webhooks.
