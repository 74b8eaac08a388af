//! Renewal: a new key and certificate when a third of the present one's validity is left.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use rand::Rng;

use super::certificate::Validity;
use super::client::{EnrolFault, Enroller, new_key};
use super::faults::date;
use super::folder::{Folder, FolderError, Identity};
use super::tls::{Credentials, IdentityError, now};

/// Longest time between two looks at clock and files: the clock may be set, and somebody may enrol by hand.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// Shortest and longest pause after a renewal that failed, s.
const RETRY_S: (i64, i64) = (1, 6 * 3_600);
/// Pause after a renewal that the server will refuse again, and between two complaints of an expired certificate, s.
const COMPLAIN_S: i64 = 3_600;

/// Why a renewal failed.
#[derive(Debug, thiserror::Error)]
enum RenewalError {
    #[error(transparent)]
    Enrol(#[from] EnrolFault),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Renews an identity for as long as it is polled, and takes over one that somebody enrolled by hand. Never ends.
pub async fn keep_renewed(folder: Folder, identity: Identity, credentials: Arc<Credentials>) {
    let present = folder.present().ok().flatten();
    let mut renewal = Renewal { folder, present, identity, credentials, due: 0 };
    renewal.plan();
    loop {
        let now = renewal.now();
        if renewal.due <= now {
            renewal.act().await;
        }
        let wait = u64::try_from(renewal.due.saturating_sub(renewal.now())).unwrap_or(0);
        // At least a little: a due time in the past must not spin.
        let wait = Duration::from_secs(wait).clamp(Duration::from_millis(200), LOOK_EVERY);
        tokio::time::sleep(wait).await;
        renewal.look();
    }
}

struct Renewal {
    folder: Folder,
    present: Option<PathBuf>,
    identity: Identity,
    credentials: Arc<Credentials>,
    /// When to act next, s since 1970 UTC.
    due: i64,
}

impl Renewal {
    fn validity(&self) -> Validity {
        self.credentials.validity()
    }

    fn now(&self) -> i64 {
        now(self.validity().not_before)
    }

    /// A fleet that was enrolled in one night does not renew in one minute.
    fn plan(&mut self) {
        let validity = self.validity();
        let spread = (validity.not_after - validity.renew_at()) / 4;
        self.due = validity.renew_at() + rand::rng().random_range(0..=spread.max(0));
    }

    /// Takes over what somebody else put into the folder.
    fn look(&mut self) {
        let present = self.folder.present();
        if present.as_ref().is_ok_and(|present| *present == self.present) {
            return;
        }
        let taken = present.map_err(RenewalError::from).and_then(|present| {
            let Some(identity) = self.folder.load()? else { return Ok(()) };
            if identity.vehicle != self.identity.vehicle {
                tracing::error!(
                    vehicle_id = %identity.vehicle,
                    "another vehicle was enrolled in this agent's directory; restart the agent"
                );
            } else {
                self.credentials.replace(&identity)?;
                tracing::info!("a new identity was found and is used from the next connection on");
                self.identity = identity;
            }
            self.present = present;
            Ok(())
        });
        match taken {
            Ok(()) => self.plan(),
            Err(error) => {
                tracing::warn!(%error, "the identity in the agent's directory cannot be taken over")
            }
        }
    }

    async fn act(&mut self) {
        let left = self.validity().left(self.now());
        if left <= 0 {
            tracing::error!(
                expired = date(self.validity().not_after),
                "this vehicle's certificate has expired; what it senses stays in its outbox; enrol again with \
                 remuda-agent enroll and a new token"
            );
            self.due = self.now() + COMPLAIN_S;
            return;
        }
        match self.renew().await {
            Ok(()) => {
                let until = date(self.validity().not_after);
                tracing::info!(until, "the certificate was renewed");
                self.plan();
            }
            Err(error) => {
                let lasting = matches!(&error, RenewalError::Enrol(fault) if fault.is_lasting());
                let pause = pause(left, lasting);
                self.due = self.now() + pause;
                tracing::warn!(
                    %error,
                    valid_for = span(left),
                    again_in = span(pause),
                    "the certificate could not be renewed; when it has expired, this vehicle must be enrolled again"
                );
            }
        }
    }

    async fn renew(&mut self) -> Result<(), RenewalError> {
        let key = new_key().map_err(EnrolFault::Key)?;
        let enroller = Enroller::new(self.identity.server.clone());
        let renewed = enroller.renew(self.identity.vehicle, &self.credentials, &key).await?;
        // Durable first: a connection with a certificate that the disk does not know could be the last one.
        self.folder.replace(&renewed)?;
        self.credentials.replace(&renewed)?;
        self.present = self.folder.present()?;
        self.identity = renewed;
        Ok(())
    }
}

/// A tenth of what is left: a day's outage costs little, and towards the end it tries often.
fn pause(left: i64, lasting: bool) -> i64 {
    let (least, most) = RETRY_S;
    let pause = (left / 10).clamp(least, most);
    let pause = if lasting { pause.max(COMPLAIN_S.min(left)) } else { pause };
    rand::rng().random_range(pause - pause / 2..=pause).max(1)
}

/// A span for people.
fn span(seconds: i64) -> String {
    match seconds {
        172_800.. => format!("{} days", seconds / 86_400),
        7_200.. => format!("{} hours", seconds / 3_600),
        120.. => format!("{} minutes", seconds / 60),
        _ => format!("{seconds} s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_shrink_with_what_is_left_and_never_reach_past_it() {
        for left in [1, 9, 60, 3_600, 86_400, 30 * 86_400] {
            for lasting in [false, true] {
                for _ in 0..100 {
                    let pause = pause(left, lasting);
                    assert!((1..=left.min(RETRY_S.1)).contains(&pause), "{pause} of {left}");
                }
            }
        }
    }

    #[test]
    fn a_third_of_the_validity_is_kept_for_renewing() {
        let validity = Validity { not_before: 1_000, not_after: 10_000 };
        assert_eq!((validity.renew_at(), validity.left(4_000)), (7_000, 6_000));
    }
}
