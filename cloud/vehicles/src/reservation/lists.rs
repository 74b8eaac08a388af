//! Who has which vehicle, read off the events: what a dispatcher chooses from.

use remuda_entities::projection::{Poisoned, Projected, Projection, View, fact, key};
use remuda_eventsourcing::Event;
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize};

use super::state::Service;
use super::{ReservationEvent, Reservations};

/// A vehicle in the list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailabilityLine {
    /// Which.
    pub vehicle: String,
    /// Is it to be had at all?
    pub service: Service,
    /// Key of who has it.
    pub key: Option<String>,
    /// What for.
    pub holder: Option<String>,
    /// When that ends by itself, ms since 1970 UTC.
    pub expires_ms: i64,
}

impl AvailabilityLine {
    fn take(&mut self, event: &ReservationEvent) {
        use ReservationEvent as E;
        match event {
            E::PutInService(_) => self.service = Service::InService,
            E::TakenOutOfService(e) => self.service = Service::OutOfService { reason: e.reason.clone() },
            E::WithdrawalOrdered(e) => self.service = Service::Leaving { reason: e.reason.clone() },
            E::Reserved(e) => {
                self.key = Some(e.key.clone());
                self.holder = Some(e.holder.clone());
                self.expires_ms = e.expires_ms;
            }
            E::Extended(e) => self.expires_ms = e.expires_ms,
            E::Released(e) | E::Expired(e) => {
                if self.key.as_ref() == Some(&e.key) {
                    self.key = None;
                    self.holder = None;
                    self.expires_ms = 0;
                }
            }
        }
    }

    fn is_free(&self) -> bool {
        self.service == Service::InService && self.key.is_none()
    }
}

/// The projection.
#[derive(Debug, Clone, Copy)]
pub struct AvailabilityLists;

impl Projection for AvailabilityLists {
    const NAME: &'static str = "vehicle-availability";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["vehicle-reservation"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let Some(fact) = fact::<Reservations>(event)? else { return Ok(()) };
        let stream = &event.event.stream;
        let (organization, vehicle) = (stream.organization.as_str(), &stream.aggregate_id);
        let place = key(&["vehicle", organization, vehicle]);
        let mut line: AvailabilityLine = view
            .get(&place)?
            .unwrap_or_else(|| AvailabilityLine { vehicle: vehicle.clone(), ..AvailabilityLine::default() });
        line.take(&fact);
        let free = key(&["free", organization, vehicle]);
        if line.is_free() {
            view.put(&free, &line)?;
        } else {
            view.remove(&free);
        }
        view.put(&place, &line)
    }
}

/// Reads the list.
#[derive(Clone)]
pub struct AvailabilityDirectory(Projected<AvailabilityLists>);

impl AvailabilityDirectory {
    /// Over a running projection.
    pub const fn new(lists: Projected<AvailabilityLists>) -> Self {
        Self(lists)
    }

    /// The projection beneath.
    pub const fn projected(&self) -> &Projected<AvailabilityLists> {
        &self.0
    }

    /// One vehicle.
    ///
    /// # Errors
    /// When nothing serves yet, or the store fails.
    pub fn vehicle(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
    ) -> Result<Option<AvailabilityLine>, Poisoned> {
        self.0.get(&key(&["vehicle", organization.as_str(), vehicle]))
    }

    /// Vehicles in service that nobody has, by id, after `after`, at most `limit`. What the list says may be over when it is
    /// read; the vehicle itself decides.
    ///
    /// # Errors
    /// As [`AvailabilityDirectory::vehicle`].
    pub fn free(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<AvailabilityLine>, Poisoned> {
        let after = after.map(|after| key(&["free", organization.as_str(), after]));
        let lines = self.0.scan(&key(&["free", organization.as_str()]), after.as_deref(), limit)?;
        Ok(lines.into_iter().map(|(_, line)| line).collect())
    }
}
