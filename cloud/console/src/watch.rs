//! One watcher's stream: what changed since the last response, merged, at a pace the reader keeps.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use remuda_api::VehicleName;
use remuda_api::vehicles::v1::{VehicleEncoding, WatchVehiclesResponse};
use remuda_contracts::fleet::VehicleSummary;
use remuda_model::{OrganizationId, VehicleId};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tonic::Status;

use crate::columns::Rows;
use crate::convert::{timestamp_of, vehicle_of};
use crate::limits;
use crate::metrics::ConsoleMetrics;
use crate::mirror::{Line, Mark, Mirror};
use crate::precision::Precision;
use crate::refusal::Refusal;
use crate::sight::Wanted;
use crate::time::now_ms;

pub(crate) type Sender = mpsc::Sender<Result<WatchVehiclesResponse, Status>>;

/// What a watcher asked for.
pub(crate) struct Watch {
    pub mirror: Arc<Mirror>,
    pub metrics: ConsoleMetrics,
    pub organization: OrganizationId,
    pub filter: Wanted,
    pub encoding: VehicleEncoding,
    pub precision: Precision,
    pub interval: Duration,
    pub since: Option<Mark>,
    pub stopping: watch::Receiver<bool>,
}

/// The reader has gone.
struct Gone;

/// Between two responses.
struct Progress {
    rows: Rows,
    /// Numbers of the vehicles that the reader was told match; only with a filter.
    members: HashSet<u32>,
    /// Everything up to here was sent.
    sent: u64,
    /// The next response is (part of) the full state.
    full: bool,
    /// The next response goes on where another stream ended: whom the reader knows is not known here.
    resumes: bool,
}

/// Changes gathered for a response.
struct Gathered {
    /// With the mirror's number of each.
    vehicles: Vec<(u32, Arc<VehicleSummary>)>,
    removed: Vec<VehicleId>,
    mark: Mark,
}

impl Watch {
    /// Sends until the reader goes or the node stops.
    pub async fn run(mut self, to: Sender) {
        let now = self.mirror.mark();
        let since = self.since.filter(|since| since.instance == now.instance && since.change <= now.change);
        // Vehicles that came to match by time alone left no change behind to resume from.
        let since = since.filter(|_| !self.filter.depends_on_time());
        let mut progress = Progress {
            rows: Rows::default(),
            members: HashSet::new(),
            sent: since.map_or(0, |mark| mark.change),
            full: since.is_none(),
            resumes: since.is_some(),
        };
        let mut changed = self.mirror.subscribe();
        let mut first = true;
        let mut last = Instant::now();
        loop {
            if !first {
                let wait = self.wait(&mut changed, last, &to);
                match wait.await {
                    Wake::Look => {}
                    Wake::Gone => return,
                    Wake::Stop => {
                        let _ = to.send(Err(Refusal::Stopping.into())).await;
                        return;
                    }
                }
            }
            let lagged = to.capacity() == 0;
            // A place first, then the state: what a slow reader gets is new when it gets it.
            let Ok(place) = to.reserve().await else { return };
            drop(place);
            changed.mark_unchanged();
            let gathered = self.gather(&mut progress);
            let quiet = gathered.vehicles.is_empty() && gathered.removed.is_empty();
            if !first && quiet && last.elapsed() < limits::WATCH_HEARTBEAT {
                continue;
            }
            first = false;
            last = Instant::now();
            if self.send(&mut progress, gathered, lagged, &to).await.is_err() {
                return;
            }
        }
    }

    /// Until there may be something to send, and the interval has passed.
    async fn wait(&mut self, changed: &mut watch::Receiver<u64>, last: Instant, to: &Sender) -> Wake {
        let step =
            if self.filter.depends_on_time() { limits::WATCH_TIME_STEP } else { limits::WATCH_HEARTBEAT };
        let something = async {
            tokio::select! {
                _ = changed.changed() => {}
                () = sleep(step) => {}
            }
            sleep_until(last + self.interval).await;
        };
        tokio::select! {
            () = something => Wake::Look,
            () = to.closed() => Wake::Gone,
            () = stopped(&mut self.stopping) => Wake::Stop,
        }
    }

    fn gather(&self, progress: &mut Progress) -> Gathered {
        let now_ms = now_ms();
        let mut vehicles = Vec::new();
        let mut removed = Vec::new();
        let (sent, full, resumes) = (progress.sent, progress.full, progress.resumes);
        let members = &mut progress.members;
        let mark = self.mirror.visit(|Line { change, number, vehicle }| {
            let new = full || *change > sent;
            if self.filter.is_all() {
                if new {
                    vehicles.push((*number, Arc::clone(vehicle)));
                }
                return;
            }
            // What did not change still matches, or not, unless time decides.
            if !new && !resumes && !self.filter.depends_on_time() {
                return;
            }
            if self.filter.matches(vehicle, now_ms) {
                let joined = members.insert(*number);
                if new || (joined && !resumes) {
                    vehicles.push((*number, Arc::clone(vehicle)));
                }
            } else if members.remove(number) || (new && resumes) {
                removed.push(vehicle.vehicle);
            }
        });
        progress.sent = mark.change;
        Gathered { vehicles, removed, mark }
    }

    async fn send(
        &self,
        progress: &mut Progress,
        gathered: Gathered,
        lagged: bool,
        to: &Sender,
    ) -> Result<(), Gone> {
        let at_once = match self.encoding {
            VehicleEncoding::Columns => limits::WATCH_ROWS_MAX,
            VehicleEncoding::Messages | VehicleEncoding::Unspecified => limits::WATCH_LINES_MAX,
        };
        self.metrics.sent(gathered.vehicles.len(), lagged);
        let now_ms = now_ms();
        let total = self.filter.total(&self.mirror, self.mirror.len());
        let parts = gathered.vehicles.len().div_ceil(at_once).max(1);
        let mut removed = gathered.removed.iter().map(|vehicle| self.name_of(vehicle)).collect();
        for part in 0..parts {
            let from = part * at_once;
            let vehicles = &gathered.vehicles[from..gathered.vehicles.len().min(from + at_once)];
            let is_last = part + 1 == parts;
            let mut response = WatchVehiclesResponse {
                removed: std::mem::take(&mut removed),
                resume_token: if is_last { gathered.mark.to_token() } else { String::new() },
                full_state: progress.full,
                lagged,
                total_size: total,
                server_time: timestamp_of(now_ms),
                ..WatchVehiclesResponse::default()
            };
            match self.encoding {
                VehicleEncoding::Columns => {
                    response.columns = Some(progress.rows.pack(vehicles, now_ms, self.precision))
                }
                VehicleEncoding::Messages | VehicleEncoding::Unspecified => {
                    response.vehicles =
                        vehicles.iter().map(|(_, vehicle)| vehicle_of(vehicle, self.precision)).collect();
                }
            }
            to.send(Ok(response)).await.map_err(|_| Gone)?;
        }
        progress.full = false;
        progress.resumes = false;
        Ok(())
    }

    fn name_of(&self, vehicle: &VehicleId) -> String {
        VehicleName { organization: self.organization.to_string(), vehicle: vehicle.to_string() }.to_string()
    }
}

enum Wake {
    Look,
    Gone,
    Stop,
}

/// Until the node stops.
pub(crate) async fn stopped(stopping: &mut watch::Receiver<bool>) {
    // An error means that the console was dropped, which is a stop too.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}
