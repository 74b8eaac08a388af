//! Figures.

use remuda_access::Permission;
use remuda_api::analytics::v1::analytics_service_server::AnalyticsService;
use remuda_api::analytics::v1::{FiguresRow, QueryFiguresRequest, QueryFiguresResponse, Revenue};
use remuda_contracts::business::analytics::{FiguresQuery, FiguresRow as Row};
use tonic::{Request, Response, Status};

use super::{Business, convert, page};
use crate::page::PageToken;
use crate::refusal::Refusal;
use crate::scope::{field, sight};
use crate::sight::{Seen, Sight};

/// Dimensions by which nothing is summed of some vehicles alone.
const OF_THE_WHOLE: [&str; 4] = ["fleet", "depot", "model", "tariff"];

fn row(row: Row) -> FiguresRow {
    let revenue = row
        .revenue
        .into_iter()
        .map(|sum| Revenue { currency_code: sum.currency.to_string(), minor_units: sum.minor_units });
    FiguresRow {
        start_time: convert::some_time(row.start_ms),
        value: row.value,
        trips: row.trips,
        provisional_trips: row.provisional_trips,
        unpriced_trips: row.unpriced_trips,
        distance_m: row.distance_m,
        duration_ms: row.duration_ms,
        energy_wh: row.energy_wh,
        energy_trips: row.energy_trips,
        charging_sessions: row.charging_sessions,
        charged_wh: row.charged_wh,
        revenue: revenue.collect(),
    }
}

impl Business {
    async fn figures(
        &self,
        request: QueryFiguresRequest,
        sight: &Sight,
    ) -> Result<QueryFiguresResponse, Refusal> {
        self.scope.parent(&request.parent)?;
        let from = convert::needed_time("from_time", request.from_time.as_ref())?;
        let to = convert::needed_time("to_time", request.to_time.as_ref())?;
        let dimension = match request.dimension.as_str() {
            "" => "organization",
            named => named,
        };
        let vehicles = match sight.seen()? {
            Seen::All => None,
            Seen::These(_) if OF_THE_WHOLE.contains(&dimension) => {
                return Err(Refusal::GrantTooNarrow(Permission::AnalyticsRead.as_str()));
            }
            Seen::These(these) => Some(these),
        };
        let of = format!("figures {} {dimension} {} {from} {to}", request.granularity, request.value);
        let (limit, after) = page(request.page_size, &request.page_token, &of)?;
        // The page before said from which moment on the rest is.
        let bad = || field("page_token", "this is not a token that this method gave out");
        let from_ms = after.map(|after| after.parse::<i64>().map_err(|_| bad()));
        let from_ms = from_ms.transpose()?.unwrap_or(from);
        let query = FiguresQuery {
            granularity: request.granularity,
            dimension: dimension.to_owned(),
            value: Some(request.value).filter(|value| !value.is_empty()),
            vehicles,
            from_ms,
            to_ms: to,
            limit,
        };
        let answer = self.desk.figures(&self.scope.organization, query).await.map_err(Refusal::business)?;
        let next = answer.next_from_ms.map(|ms: i64| PageToken::write_text(&ms.to_string(), &of));
        Ok(QueryFiguresResponse {
            rows: answer.rows.into_iter().map(row).collect(),
            next_page_token: next.unwrap_or_default(),
            time_zone: answer.time_zone.to_owned(),
        })
    }
}

#[tonic::async_trait]
impl AnalyticsService for Business {
    async fn query_figures(
        &self,
        request: Request<QueryFiguresRequest>,
    ) -> Result<Response<QueryFiguresResponse>, Status> {
        let sight = sight(&request);
        self.scope.measured("QueryFigures", self.figures(request.into_inner(), &sight)).await
    }
}
