//! Mileage, consumption and revenue, as people ask for them.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};

use super::BusinessError;
use crate::money::Money;

/// A question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiguresQuery {
    /// `hour`, `day` or `month`.
    pub granularity: String,
    /// `organization`, `fleet`, `depot`, `vehicle`, `model` or `tariff`.
    pub dimension: String,
    /// This value only, such as a vehicle's id.
    pub value: Option<String>,
    /// Only what these vehicles did, by `organization` or `vehicle`; all of it when it is absent.
    pub vehicles: Option<Arc<HashSet<VehicleId>>>,
    /// From the bucket that holds this moment, ms since 1970 UTC.
    pub from_ms: i64,
    /// To before this moment, ms since 1970 UTC.
    pub to_ms: i64,
    /// Rows at most.
    pub limit: usize,
}

/// Sums of a bucket and a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FiguresRow {
    /// When the bucket began, ms since 1970 UTC.
    pub start_ms: i64,
    /// The dimension's value.
    pub value: String,
    /// Trips.
    pub trips: i64,
    /// Of them: those whose samples have not come and whose deadline has not passed.
    pub provisional_trips: i64,
    /// Of them: those without a price.
    pub unpriced_trips: i64,
    /// Driven, m.
    pub distance_m: i64,
    /// Under way, ms.
    pub duration_ms: i64,
    /// Used, Wh, by the trips that tell it.
    pub energy_wh: i64,
    /// Trips that tell what they used.
    pub energy_trips: i64,
    /// Charging sessions.
    pub charging_sessions: i64,
    /// Charged, Wh.
    pub charged_wh: i64,
    /// Revenue without tax, by currency.
    pub revenue: Vec<Money>,
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FiguresAnswer {
    /// By time, then value.
    pub rows: Vec<FiguresRow>,
    /// Ask again from this moment for the rest.
    pub next_from_ms: Option<i64>,
    /// IANA name of the zone whose midnight ends a day.
    pub time_zone: &'static str,
}

/// Figures, as people ask for them.
#[async_trait]
pub trait AnalyticsDesk: Send + Sync + 'static {
    /// Sums by time bucket and dimension.
    async fn figures(
        &self,
        organization: &OrganizationId,
        query: FiguresQuery,
    ) -> Result<FiguresAnswer, BusinessError>;
}
