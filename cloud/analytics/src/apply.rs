//! Taking events in.

use std::sync::Arc;

use chrono_tz::Tz;
use remuda_contracts::figures::{
    CHARGING_COMPLETED, ChargingSession, FIGURES_SCHEMA_VERSION, RIDE_PRICED, RidePriced, TRIP_CORRECTED,
    TripCorrected,
};
use remuda_contracts::trips::{SamplesAt, TRIP_COMPLETED, TRIP_SCHEMA_VERSION, TripCompleted};
use remuda_entities::projection::{Poisoned, Projection, View};
use remuda_eventsourcing::{Event, codec};
use remuda_model::OrganizationId;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::dimension::{Values, name};
use crate::limits::{FINALISED_PER_EVENT, PROVISIONAL_MS};
use crate::{Dimension, Figures, Granularity, bucket_start, keys};

/// Tells a vehicle's model.
pub type ModelOf = Arc<dyn Fn(&OrganizationId, &str) -> Option<String> + Send + Sync>;

/// The projection. Its time zone is part of its data: with another one, rebuild it.
#[derive(Clone)]
pub struct Analytics {
    /// Whose midnight ends a day.
    pub zone: Tz,
    /// Tells a vehicle's model, as it is known when the trip comes.
    pub model_of: ModelOf,
}

/// What is known of a trip. Its parts may come in any order, since they lie in different shards.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Trip {
    driven: Option<Driven>,
    priced: Option<RidePriced>,
    corrected: Option<TripCorrected>,
    settled: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Driven {
    values: Values,
    end_ms: i64,
    distance_m: u64,
    duration_ms: i64,
    energy_wh: Option<i64>,
    samples: Option<SamplesAt>,
}

/// A trip whose samples have not come.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Doubt {
    pub trip: String,
    pub values: Values,
    pub end_ms: i64,
    /// What must come before it is final.
    pub samples: SamplesAt,
}

impl Trip {
    /// What it adds to its cells, now.
    fn contribution(&self) -> Option<(i64, Values, Figures)> {
        let driven = self.driven.as_ref()?;
        let mut values = driven.values.clone();
        let (mut distance_m, mut energy_wh) = (driven.distance_m, driven.energy_wh);
        if let Some(corrected) = &self.corrected {
            distance_m = corrected.distance_m;
            energy_wh = corrected.energy_wh.or(energy_wh);
        }
        if let Some(priced) = &self.priced {
            values.tariff = name(&priced.tariff);
        }
        let figures = Figures {
            trips: 1,
            provisional_trips: i64::from(self.deadline_ms().is_some()),
            unpriced_trips: i64::from(self.priced.is_none()),
            distance_m: i64::try_from(distance_m).unwrap_or(i64::MAX),
            duration_ms: driven.duration_ms,
            energy_wh: energy_wh.unwrap_or(0),
            energy_trips: i64::from(energy_wh.is_some()),
            ..Figures::default()
        };
        Some((driven.end_ms, values, figures.with_revenue(self.priced.as_ref().map(|p| p.net))))
    }

    /// Until when it is in doubt; nothing when it is final.
    fn deadline_ms(&self) -> Option<i64> {
        let driven = self.driven.as_ref()?;
        // Who does not number samples, and who has corrected figures, has nothing to wait for.
        let waits = driven.samples.is_some() && self.corrected.is_none() && !self.settled;
        waits.then(|| driven.end_ms.saturating_add(PROVISIONAL_MS))
    }

    fn doubt(&self, trip: &str) -> Option<(i64, Doubt)> {
        let (deadline_ms, driven) = (self.deadline_ms()?, self.driven.as_ref()?);
        let (values, end_ms) = (driven.values.clone(), driven.end_ms);
        let mut values = values;
        if let Some(priced) = &self.priced {
            values.tariff = name(&priced.tariff);
        }
        Some((deadline_ms, Doubt { trip: trip.to_owned(), values, end_ms, samples: driven.samples? }))
    }
}

fn payload<T: DeserializeOwned>(event: &Event, version: u16) -> Result<T, Poisoned> {
    let stored = &event.event;
    if stored.schema_version != version {
        return Err(codec::unknown(&stored.event_type, stored.schema_version).into());
    }
    Ok(codec::decode(&stored.event_type, stored.schema_version, &stored.payload)?)
}

impl Projection for Analytics {
    const NAME: &'static str = "analytics";
    const VERSION: u32 = 1;
    const READS: &'static [&'static str] = &["trip", "payment", "charging"];

    fn apply(&self, event: &Event, view: &mut View<'_>) -> Result<(), Poisoned> {
        let stored = &event.event;
        let (organization, id) = (stored.stream.organization, stored.stream.aggregate_id.as_str());
        self.settle(&organization, stored.time_ms, view)?;
        match stored.event_type.as_str() {
            TRIP_COMPLETED => {
                let completed: TripCompleted = payload(event, TRIP_SCHEMA_VERSION)?;
                let driven = self.driven(&organization, &completed);
                self.change(&organization, id, view, |trip| trip.driven = Some(driven))
            }
            RIDE_PRICED => {
                let priced: RidePriced = payload(event, FIGURES_SCHEMA_VERSION)?;
                self.change(&organization, id, view, |trip| trip.priced = Some(priced))
            }
            TRIP_CORRECTED => {
                let corrected: TripCorrected = payload(event, FIGURES_SCHEMA_VERSION)?;
                self.change(&organization, id, view, |trip| trip.corrected = Some(corrected))
            }
            CHARGING_COMPLETED => {
                let session: ChargingSession = payload(event, FIGURES_SCHEMA_VERSION)?;
                self.charged(&organization, &session, view)
            }
            _ => Ok(()),
        }
    }
}

impl Analytics {
    fn values(
        &self,
        organization: &OrganizationId,
        vehicle: &str,
        fleet: Option<&String>,
        depot: Option<&String>,
    ) -> Values {
        Values {
            fleet: fleet.map(|f| name(f)).unwrap_or_default(),
            depot: depot.map(|d| name(d)).unwrap_or_default(),
            vehicle: name(vehicle),
            model: (self.model_of)(organization, vehicle).map(|m| name(&m)).unwrap_or_default(),
            tariff: String::new(),
        }
    }

    fn driven(&self, organization: &OrganizationId, trip: &TripCompleted) -> Driven {
        let parties = &trip.parties;
        Driven {
            values: self.values(
                organization,
                &parties.vehicle,
                parties.fleet.as_ref(),
                parties.depot.as_ref(),
            ),
            end_ms: trip.end.time_ms,
            distance_m: trip.distance_m,
            duration_ms: trip.duration_ms.max(0),
            energy_wh: trip.energy_wh,
            samples: trip.end.samples,
        }
    }

    /// Changes what is known of a trip, and its cells by the difference.
    fn change(
        &self,
        organization: &OrganizationId,
        id: &str,
        view: &mut View<'_>,
        change: impl FnOnce(&mut Trip),
    ) -> Result<(), Poisoned> {
        let place = keys::trip(organization, id);
        let before: Trip = view.get(&place)?.unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        if let Some((deadline_ms, _)) = before.doubt(id) {
            view.remove(&keys::doubt(organization, deadline_ms, id));
        }
        if let Some((deadline_ms, doubt)) = after.doubt(id) {
            view.put(&keys::doubt(organization, deadline_ms, id), &doubt)?;
        }
        for (trip, times) in [(&before, -1), (&after, 1)] {
            if let Some((time_ms, values, figures)) = trip.contribution() {
                self.add(organization, time_ms, &values, &figures, times, view)?;
            }
        }
        view.put(&place, &after)
    }

    fn charged(
        &self,
        organization: &OrganizationId,
        session: &ChargingSession,
        view: &mut View<'_>,
    ) -> Result<(), Poisoned> {
        let place = keys::session(organization, &session.session);
        if view.get::<bool>(&place)?.is_some() {
            return Ok(());
        }
        let values =
            self.values(organization, &session.vehicle, session.fleet.as_ref(), session.depot.as_ref());
        let figures = Figures { charging_sessions: 1, charged_wh: session.energy_wh, ..Figures::default() };
        self.add(organization, session.end_ms, &values, &figures, 1, view)?;
        view.put(&place, &true)
    }

    fn add(
        &self,
        organization: &OrganizationId,
        time_ms: i64,
        values: &Values,
        figures: &Figures,
        times: i64,
        view: &mut View<'_>,
    ) -> Result<(), Poisoned> {
        for granularity in Granularity::ALL {
            let start_ms = bucket_start(self.zone, granularity, time_ms);
            for dimension in Dimension::ALL {
                let place = keys::cell(organization, granularity, dimension, start_ms, values.of(dimension));
                let mut sums: Figures = view.get(&place)?.unwrap_or_default();
                sums.add(figures, times);
                if sums.is_zero() {
                    view.remove(&place);
                } else {
                    view.put(&place, &sums)?;
                }
            }
        }
        Ok(())
    }

    /// Trips whose deadline lies before an event of their organisation are final: time is what events say it
    /// is.
    fn settle(
        &self,
        organization: &OrganizationId,
        now_ms: i64,
        view: &mut View<'_>,
    ) -> Result<(), Poisoned> {
        let doubts: Vec<(Vec<u8>, Doubt)> = view.scan(&keys::doubts(organization), FINALISED_PER_EVENT)?;
        for (_, doubt) in doubts {
            if doubt.end_ms.saturating_add(PROVISIONAL_MS) > now_ms {
                break;
            }
            self.change(organization, &doubt.trip, view, |trip| trip.settled = true)?;
        }
        Ok(())
    }
}
