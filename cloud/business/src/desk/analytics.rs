//! Figures, for people.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use remuda_analytics::limits::ROWS_MAX;
use remuda_analytics::{Dimension, Granularity, Query, QueryError, Row};
use remuda_contracts::business::BusinessError;
use remuda_contracts::business::analytics::{AnalyticsDesk, FiguresAnswer, FiguresQuery, FiguresRow};
use remuda_contracts::fleet::SamplesSeen;
use remuda_contracts::money::Money;
use remuda_model::{OrganizationId, VehicleId};
use tokio::runtime::Handle;

use super::{Desk, refused};

fn row(row: Row) -> FiguresRow {
    let figures = row.figures;
    let revenue = figures.revenue_minor.into_iter();
    FiguresRow {
        start_ms: row.start_ms,
        value: row.value,
        trips: figures.trips,
        provisional_trips: figures.provisional_trips,
        unpriced_trips: figures.unpriced_trips,
        distance_m: figures.distance_m,
        duration_ms: figures.duration_ms,
        energy_wh: figures.energy_wh,
        energy_trips: figures.energy_trips,
        charging_sessions: figures.charging_sessions,
        charged_wh: figures.charged_wh,
        revenue: revenue.map(|(currency, minor_units)| Money { minor_units, currency }).collect(),
    }
}

fn query_error(error: QueryError) -> BusinessError {
    let code = match &error {
        QueryError::Range { .. } => "bad-range",
        QueryError::Limit(_) => "bad-limit",
        QueryError::OfVehicles(_) => "bad-dimension",
        QueryError::TooWide(_) => "bucket-too-wide",
        QueryError::TooMuch => "too-much",
        QueryError::Store(_) => return BusinessError::Unavailable(error.to_string()),
    };
    refused(code, error.to_string())
}

#[async_trait]
impl AnalyticsDesk for Desk {
    async fn figures(
        &self,
        organization: &OrganizationId,
        query: FiguresQuery,
    ) -> Result<FiguresAnswer, BusinessError> {
        self.check(organization)?;
        let granularity = Granularity::ALL.into_iter().find(|g| g.name() == query.granularity);
        let granularity = granularity
            .ok_or_else(|| refused("bad-granularity", "a bucket is an `hour`, a `day` or a `month`"))?;
        let dimension = Dimension::ALL.into_iter().find(|d| d.name() == query.dimension);
        let dimension = dimension.ok_or_else(|| {
            let known = Dimension::ALL.map(Dimension::name).join(", ");
            refused("bad-dimension", format!("figures are grouped by one of {known}"))
        })?;
        let asked = Query {
            granularity,
            dimension,
            value: query.value,
            from_ms: query.from_ms,
            to_ms: query.to_ms,
            limit: query.limit.min(ROWS_MAX),
        };
        let (parts, organization, vehicles) = (Arc::clone(&self.0), *organization, query.vehicles);
        let runtime = Handle::current();
        // Up to 100,000 cells are looked at.
        let answer = tokio::task::spawn_blocking(move || {
            let seen: Mutex<HashMap<String, Vec<SamplesSeen>>> = Mutex::default();
            // Each vehicle is looked at once, and only those whose rides are in doubt.
            let reached = |vehicle: &str, incarnation: u64| {
                let mut seen = seen.lock();
                let samples = seen.entry(vehicle.to_owned()).or_insert_with(|| {
                    let id = VehicleId::new(vehicle).ok();
                    let twin = id.and_then(|id| runtime.block_on(parts.view.twin(&organization, &id)));
                    twin.map(|twin| twin.detail.samples).unwrap_or_default()
                });
                let of = samples.iter().find(|samples| samples.incarnation.0 == incarnation);
                of.map(|samples| samples.durable)
            };
            let Some(vehicles) = vehicles else {
                return parts.figures.ask(&organization, &asked, Some(&reached));
            };
            let are_of = |vehicle: &str| VehicleId::new(vehicle).is_ok_and(|id| vehicles.contains(&id));
            parts.figures.ask_of(&organization, &asked, Some(&reached), &are_of)
        });
        let answer = answer.await.map_err(super::unavailable)?.map_err(query_error)?;
        Ok(FiguresAnswer {
            rows: answer.rows.into_iter().map(row).collect(),
            next_from_ms: answer.next_from_ms,
            time_zone: answer.time_zone,
        })
    }
}
