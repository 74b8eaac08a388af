//! A trip was called off for nothing: the rider's credits go back. What a driven or a charged trip costs is billing's.

use async_trait::async_trait;
use remuda_contracts::trips::{CancellationFee, TRIP_CANCELLED, TRIP_NO_SHOW, TripCancelled};
use remuda_entities::AskError;
use remuda_entities::reactor::{ReactError, Reactor, reaction};
use remuda_eventsourcing::{Event, codec};

use crate::service::Clock;
use crate::{UserCommand, Users};

/// The reactor.
pub struct ReturnCredits {
    /// Whose credits.
    pub users: remuda_entities::Entities<Users>,
    /// Now.
    pub clock: Clock,
}

#[async_trait]
impl Reactor for ReturnCredits {
    const NAME: &'static str = "return-credits";
    const READS: &'static [&'static str] = &["trip"];

    async fn react(&self, event: &Event) -> Result<(), ReactError> {
        let stored = &event.event;
        let kind = stored.event_type.as_str();
        if kind != TRIP_CANCELLED && kind != TRIP_NO_SHOW {
            return Ok(());
        }
        let ended: TripCancelled = codec::decode(kind, stored.schema_version, &stored.payload)?;
        let Some(key) = ended.hold_key.filter(|_| ended.fee == CancellationFee::None && ended.driven_m == 0)
        else {
            return Ok(());
        };
        let context = reaction::<Self>(event, "return-credits", (self.clock)());
        let organization = &stored.stream.organization;
        match self.users.ask(organization, &ended.parties.rider, UserCommand::Release { key }, context).await
        {
            // Somebody was paid from it: that is not ours to undo.
            Err(AskError::Refused { code, .. }) if code == "hold-captured" => Ok(()),
            Err(error) => Err(error.into()),
            Ok(_) => Ok(()),
        }
    }
}
