//! Delivers what is due, a bounded number at once. Its state is the journal's: it may die at any time.

use std::collections::BTreeSet;
use std::time::Duration;

use remuda_model::OrganizationId;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::{Mailbox, Notifications, Open};
use crate::limits::{LOOK_AGAIN, ROUND_MAX, SENDING_MAX};

type Which = (OrganizationId, String);

/// The runner. Once a node.
pub struct Runner {
    notifications: Notifications,
    mailbox: Mailbox,
}

impl Runner {
    /// Over these.
    pub fn new(notifications: Notifications, mailbox: Mailbox) -> Self {
        Self { notifications, mailbox }
    }

    /// Runs until `stop` turns true (or its sender is gone); what is being sent then is still sent.
    pub async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut sending: JoinSet<Which> = JoinSet::new();
        let mut busy: BTreeSet<Which> = BTreeSet::new();
        loop {
            self.start_due(&mut sending, &mut busy);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => break,
                Some(done) = sending.join_next() => match done {
                    Ok(which) => {
                        busy.remove(&which);
                    }
                    Err(error) => {
                        tracing::error!(%error, "a delivery broke; it is tried again after a restart of the runner");
                    }
                },
                () = tokio::time::sleep(self.pause()) => {}
            }
        }
        while sending.join_next().await.is_some() {}
    }

    fn start_due(&self, sending: &mut JoinSet<Which>, busy: &mut BTreeSet<Which>) {
        let open = match self.mailbox.open(ROUND_MAX) {
            Ok(open) => open,
            Err(error) => {
                tracing::warn!(%error, "the messages that are due cannot be read");
                return;
            }
        };
        self.notifications.config.metrics.open(open.len());
        let now_ms = (self.notifications.config.clock)();
        for Open { organization, id, due_ms } in open {
            if due_ms > now_ms || sending.len() >= SENDING_MAX {
                break;
            }
            let which = (organization, id);
            if !busy.insert(which.clone()) {
                continue;
            }
            let notifications = self.notifications.clone();
            sending.spawn(async move {
                if let Err(error) = notifications.drive(&which.0, &which.1).await {
                    tracing::warn!(notification = which.1, %error, "a message cannot be driven; it is tried again");
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
                which
            });
        }
    }

    /// Short while something may have come; the projection tells of new ones within milliseconds.
    fn pause(&self) -> Duration {
        let now_ms = (self.notifications.config.clock)();
        let next = self.mailbox.open(1).ok().and_then(|open| open.first().map(|o| o.due_ms - now_ms));
        let wait = next.map_or(LOOK_AGAIN, |ms| Duration::from_millis(ms.max(0).unsigned_abs()));
        wait.clamp(Duration::from_millis(50), LOOK_AGAIN / 4)
    }
}
