//! What riders say of their trips. Their words are sealed before they go anywhere, and opened for the answer only.

use async_trait::async_trait;
use remuda_contracts::business::feedback::{FeedbackDesk, FeedbackView, GiveFeedback, Words};
use remuda_contracts::business::{Asker, BusinessError};
use remuda_contracts::sealed::Sealed;
use remuda_model::OrganizationId;
use remuda_trips::TripCommand;
use remuda_trips::state::{Rating, TripPhase};
use remuda_users::privacy::{KeyError, Opened, UserRef, Vault, VaultError};

use super::notifications::{hex, unhex};
use super::{Desk, refused, unavailable};
use crate::convert::ask_error;

/// Under which name the words about a trip are sealed: those of one trip cannot stand with another.
fn comment_field(trip: &str) -> String {
    format!("trip/{trip}/comment")
}

fn vault_error(error: VaultError) -> BusinessError {
    match error {
        VaultError::Length { bytes, .. } => {
            refused("bad-comment", format!("a comment has at most 512 bytes, this one has {bytes}"))
        }
        VaultError::Key(KeyError::Erased) => refused("user-erased", "the rider was erased"),
        other => unavailable(other),
    }
}

/// A rating whose words are still sealed.
struct Said {
    trip: String,
    rider: String,
    vehicle: String,
    rating: Rating,
}

fn opened(vault: &Vault, organization: OrganizationId, said: Said) -> FeedbackView {
    let Said { trip, rider, vehicle, rating } = said;
    let comment = rating.comment.as_ref().map(|sealed| {
        let user = UserRef::new(organization, &rider).map_err(str::to_owned)?;
        vault.open(&user, &comment_field(&trip), sealed).map_err(|error| error.to_string())
    });
    let (comment, comment_erased) = match comment {
        None => (None, false),
        Some(Ok(Opened::Text(text))) => (Some(Words(text)), false),
        Some(Ok(Opened::Erased)) => (None, true),
        Some(Err(error)) => {
            // One that is damaged must not hide the others.
            tracing::error!(trip_id = trip, error, "the words of a rider cannot be opened");
            (None, true)
        }
    };
    FeedbackView {
        trip,
        rider,
        vehicle,
        stars: rating.stars,
        comment,
        comment_erased,
        rated_ms: rating.rated_ms,
        changed_ms: rating.changed_ms,
    }
}

impl Desk {
    /// Opens words where one may wait for a disk.
    async fn opened(
        &self,
        organization: &OrganizationId,
        said: Vec<Said>,
    ) -> Result<Vec<FeedbackView>, BusinessError> {
        let (vault, organization) = (self.0.directory.vault.clone(), *organization);
        let open = move || said.into_iter().map(|said| opened(&vault, organization, said)).collect();
        tokio::task::spawn_blocking(open).await.map_err(unavailable)
    }

    async fn sealed(
        &self,
        organization: &OrganizationId,
        wish: &GiveFeedback,
    ) -> Result<Option<Sealed>, BusinessError> {
        let Some(Words(text)) = wish.comment.clone() else { return Ok(None) };
        let user = UserRef::new(*organization, &wish.rider).map_err(|text| refused("bad-user-id", text))?;
        let (vault, field) = (self.0.directory.vault.clone(), comment_field(&wish.trip));
        let sealed = tokio::task::spawn_blocking(move || vault.seal(&user, &field, &text)).await;
        sealed.map_err(unavailable)?.map(Some).map_err(vault_error)
    }
}

#[async_trait]
impl FeedbackDesk for Desk {
    async fn give_feedback(
        &self,
        organization: &OrganizationId,
        wish: GiveFeedback,
        asker: Asker,
    ) -> Result<FeedbackView, BusinessError> {
        let trip = self.known_trip(organization, &wish.trip).await?;
        // Nobody else's words are sealed: a key would be made for whoever is named.
        let comment = match trip.phase {
            TripPhase::Completed if trip.parties.rider == wish.rider => {
                self.sealed(organization, &wish).await?
            }
            _ => None,
        };
        let context = self.context(&asker, "rate", &wish.trip);
        let command = TripCommand::Rate { rider: wish.rider, stars: wish.stars, comment };
        self.0.trips.entities().ask(organization, &wish.trip, command, context).await.map_err(ask_error)?;
        self.feedback(organization, &wish.trip).await
    }

    async fn feedback(
        &self,
        organization: &OrganizationId,
        trip: &str,
    ) -> Result<FeedbackView, BusinessError> {
        let known = self.known_trip(organization, trip).await?;
        let none = || BusinessError::NotFound { what: "feedback", id: trip.to_owned() };
        let said = Said {
            trip: trip.to_owned(),
            rider: known.parties.rider,
            vehicle: known.parties.vehicle,
            rating: known.rating.ok_or_else(none)?,
        };
        self.opened(organization, vec![said]).await?.pop().ok_or_else(none)
    }

    async fn feedback_list(
        &self,
        organization: &OrganizationId,
        stars: Option<u8>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<FeedbackView>, Option<String>), BusinessError> {
        self.check(organization)?;
        if stars.is_some_and(|stars| !(1..=5).contains(&stars)) {
            return Err(refused("bad-stars", "a rating has 1 to 5 stars"));
        }
        let after = after.map(unhex).transpose()?;
        // One more than wanted tells whether there is another page.
        let found = self.0.lists.rated(organization, stars, after.as_deref(), limit + 1);
        let mut found = found.map_err(unavailable)?;
        let more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| more).map(|(place, _)| hex(place));
        let said = found.into_iter().filter_map(|(_, line)| {
            Some(Said { trip: line.trip, rider: line.rider, vehicle: line.vehicle, rating: line.rating? })
        });
        Ok((self.opened(organization, said.collect()).await?, next))
    }
}
