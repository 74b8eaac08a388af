//! What a watcher of vehicles is sent.

use std::sync::Arc;

use remuda_api::VehicleName;
use remuda_api::vehicles::v1::{VehicleEncoding, WatchVehiclesResponse};
use remuda_contracts::fleet::VehicleSummary;
use remuda_model::OrganizationId;
use tokio::sync::watch;

use crate::columns::Rows;
use crate::convert::{timestamp_of, vehicle_of};
use crate::follow::{Followed, Line, Part, Point};
use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::mirror::{self, Mark, Mirror};
use crate::precision::Precision;
use crate::sight::Wanted;

/// What a watcher asked for.
pub(crate) struct Watch {
    pub mirror: Arc<Mirror>,
    pub metrics: ConsoleMetrics,
    pub organization: OrganizationId,
    pub filter: Wanted,
    pub encoding: VehicleEncoding,
    pub precision: Precision,
    /// Rows of the columns that were introduced.
    pub rows: Rows,
    /// Vehicles that match, as of the last response.
    pub total: i32,
}

impl Watch {
    /// Vehicles in one message.
    pub const fn lines_max(&self) -> usize {
        match self.encoding {
            VehicleEncoding::Columns => limits::WATCH_ROWS_MAX,
            VehicleEncoding::Messages | VehicleEncoding::Unspecified => limits::WATCH_LINES_MAX,
        }
    }
}

/// Vehicles never leave the mirror.
const fn point(mark: Mark) -> Point {
    Point { mark, dropped_to: 0 }
}

impl Followed for Watch {
    type Item = VehicleSummary;
    type Response = WatchVehiclesResponse;

    fn changed(&self) -> watch::Receiver<u64> {
        self.mirror.subscribe()
    }

    fn point(&self) -> Point {
        point(self.mirror.mark())
    }

    fn visit(&self, mut each: impl FnMut(Line<'_, VehicleSummary>) + Send) -> Point {
        self.filter.look();
        let mark = self.mirror.visit(|mirror::Line { change, number, vehicle }| {
            each(Line { change: *change, number: *number, item: vehicle });
        });
        point(mark)
    }

    fn is_all(&self) -> bool {
        self.filter.is_all()
    }

    fn depends_on_time(&self) -> bool {
        self.filter.depends_on_time()
    }

    fn matches(&self, vehicle: &VehicleSummary, now_ms: i64) -> bool {
        self.filter.matches(vehicle, now_ms)
    }

    fn name(&self, vehicle: &VehicleSummary) -> String {
        let (organization, vehicle) = (self.organization.to_string(), vehicle.vehicle.to_string());
        VehicleName { organization, vehicle }.to_string()
    }

    fn sending(&mut self, vehicles: usize, lagged: bool) {
        self.metrics.sent(vehicles, lagged);
        self.total = self.filter.total(&self.mirror, self.mirror.len());
    }

    fn response(&mut self, part: Part<'_, VehicleSummary>) -> WatchVehiclesResponse {
        let Part { items, removed, resume_token, full, lagged, now_ms } = part;
        let mut response = WatchVehiclesResponse {
            removed,
            resume_token,
            full_state: full,
            lagged,
            total_size: self.total,
            server_time: timestamp_of(now_ms),
            ..WatchVehiclesResponse::default()
        };
        match self.encoding {
            VehicleEncoding::Columns => {
                response.columns = Some(self.rows.pack(items, now_ms, self.precision));
            }
            VehicleEncoding::Messages | VehicleEncoding::Unspecified => {
                response.vehicles =
                    items.iter().map(|(_, vehicle)| vehicle_of(vehicle, self.precision)).collect();
            }
        }
        response
    }
}

/// Until the node stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the console was dropped, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
