//! `remuda demo`: hands the demo a way to start a node.

use std::collections::HashMap;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, stream};
use remuda_business::Business;
use remuda_contracts::business::{Asker, BookTrip, BusinessError, Place, TripView};
use remuda_contracts::money::{Currency, Money};
use remuda_demo::{Degrees, DemoArgs, NodeFigures, NodeRequest, Ride, RideFigures, Rides, RunningNode};
use remuda_identity::{NewVehicle, Who};
use remuda_model::{OrganizationId, VehicleId};
use remuda_observability::{LogFormat, init_logs, process};

use crate::cli::{runtime, wait_for_stop};
use crate::config::Config;
use crate::wiring::{self, Drawing, Node};

/// Runs it to its end; exit code 1 when anything was lost or doubled.
pub fn run(args: DemoArgs) -> Result<ExitCode, String> {
    init_logs(LogFormat::Text, &args.log)?;
    runtime()?.block_on(async {
        let balanced = remuda_demo::run(args, |request| Box::pin(start(request)), wait_for_stop()).await?;
        Ok(if balanced { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    })
}

async fn start(request: NodeRequest) -> Result<RunningNode, String> {
    let mut config = Config { data_dir: request.data, ..Config::default() };
    config.door.listen.set_port(0);
    config.enrolment.listen.set_port(0);
    config.door.connections_max = request.vehicles + 64;
    if let Some(console) = request.console {
        config.console.listen = console;
    } else {
        config.console.listen.set_port(0);
    }
    config.check().map_err(|e| e.to_string())?;
    let node = wiring::start(config, Drawing::Roads(request.roads, request.network))
        .await
        .map_err(|e| e.to_string())?;
    let figures = node.figures();
    Ok(RunningNode {
        door: node.door.clone(),
        enrolment: node.enrolment.clone(),
        tokens: Box::new(make_tokens(&node)),
        console_url: node.console_url(),
        rides: Arc::new(NodeRides(node.business().ok_or("the demo's node has no business")?)),
        figures: Box::new(move || {
            let now = figures();
            NodeFigures {
                online: now.vehicles_online,
                frames_durable: now.frames_durable,
                in_flight_bytes: now.in_flight_bytes,
                ack_p50_ms: now.ack_p50_ms,
                ack_p95_ms: now.ack_p95_ms,
                rss_mb: process::resident_bytes() as f64 / 1e6,
            }
        }),
        stop: Box::pin(async move { node.stop().await.map_err(|e| e.to_string()) }),
    })
}

/// The node's business, as the demo's riders and drivers see it.
struct NodeRides(Arc<Business>);

/// Vehicles that are put in service, and riders who register, at once.
const AT_ONCE: usize = 64;
/// How long what follows from all rides may take.
const SETTLE: Duration = Duration::from_secs(60);
/// What a rider begins with, minor units.
const CREDITS: i64 = 1_000_000;

fn asker(request_id: impl Into<String>) -> Asker {
    Asker { who: "demo".to_owned(), request_id: request_id.into() }
}

fn ride_of(trip: TripView) -> Ride {
    Ride { id: trip.id, state: trip.state.to_owned(), vehicle: trip.vehicle }
}

/// It is so already: from a run before over the same data.
fn or_so_already<T>(done: Result<T, BusinessError>) -> Result<(), String> {
    match done {
        Ok(_) | Err(BusinessError::Refused { .. }) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

impl NodeRides {
    async fn call_off_leftovers(&self) -> Result<(), String> {
        let (desk, organization) = (self.0.desk(), OrganizationId::default());
        for state in ["requested", "assigned", "arriving", "boarding", "under-way"] {
            let left = desk.trips(&organization, Some(state), None, 10_000).await;
            for trip in left.map_err(|e| e.to_string())? {
                let wish = asker(format!("leftover-{}", trip.id));
                or_so_already(
                    desk.cancel(&organization, &trip.id, "left behind by a run before", wish).await,
                )?;
            }
        }
        Ok(())
    }
}

impl Rides for NodeRides {
    fn open<'a>(&'a self, vehicles: &'a [VehicleId], riders: usize) -> Answer<'a, ()> {
        Box::pin(async move {
            let (desk, organization) = (self.0.desk(), OrganizationId::default());
            self.call_off_leftovers().await?;
            let serving: Vec<_> = vehicles
                .iter()
                .map(|vehicle| {
                    let (desk, wish) = (&desk, asker(format!("in-service-{vehicle}")));
                    async move {
                        or_so_already(
                            desk.set_in_service(&organization, vehicle.as_str(), true, "", wish).await,
                        )
                    }
                })
                .collect();
            // One after the other would each wait for a sync of the disk; together they share them.
            let mut serving = stream::iter(serving).buffer_unordered(AT_ONCE);
            while let Some(served) = serving.next().await {
                served?;
            }
            let amount = Money { minor_units: CREDITS, currency: Currency::EUR };
            let registered: Vec<_> = (0..riders)
                .map(|number| {
                    let (desk, id) = (&desk, format!("rider-{number}"));
                    let (name, wish) = (format!("Rider {number}"), asker(format!("register-{number}")));
                    async move {
                        or_so_already(desk.register_rider(&organization, &id, name, None, wish).await)?;
                        let wish = asker(format!("credits-{number}"));
                        or_so_already(desk.top_up(&organization, &id, amount, wish).await)
                    }
                })
                .collect();
            let mut registered = stream::iter(registered).buffer_unordered(AT_ONCE);
            while let Some(done) = registered.next().await {
                done?;
            }
            self.0.settle(SETTLE).await.map_err(|e| e.to_string())
        })
    }

    fn book<'a>(&'a self, rider: usize, id: &'a str, from: Degrees, to: Degrees) -> Answer<'a, Option<Ride>> {
        let place = |(latitude, longitude): Degrees| Place {
            latitude_e7: (latitude * 1e7).round() as i32,
            longitude_e7: (longitude * 1e7).round() as i32,
        };
        let trip = BookTrip {
            rider: format!("rider-{rider}"),
            stops: vec![place(from), place(to)],
            vehicles: Vec::new(),
        };
        Box::pin(async move {
            let booked = self.0.desk().book(&OrganizationId::default(), trip, asker(id)).await;
            match booked {
                Ok(trip) => Ok(Some(ride_of(trip))),
                Err(BusinessError::Refused { .. }) => Ok(None),
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn ride<'a>(&'a self, id: &'a str) -> Answer<'a, Ride> {
        Box::pin(async move {
            let trip = self.0.desk().trip(&OrganizationId::default(), id).await;
            trip.map(ride_of).map_err(|e| e.to_string())
        })
    }

    fn cancel<'a>(&'a self, id: &'a str, reason: &'a str) -> Answer<'a, Ride> {
        Box::pin(async move {
            let (desk, organization) = (self.0.desk(), OrganizationId::default());
            let wish = asker(format!("cancel-{id}"));
            match desk.cancel(&organization, id, reason, wish).await {
                Ok(trip) => Ok(ride_of(trip)),
                // It has ended meanwhile.
                Err(BusinessError::Refused { .. }) => self.ride(id).await,
                Err(error) => Err(error.to_string()),
            }
        })
    }

    fn settle(&self) -> Answer<'_, RideFigures> {
        Box::pin(async move {
            let settled = self.0.settle(SETTLE).await;
            let figures = self.0.figures();
            if let Err(error) = settled {
                // One that stopped is counted below; one that is slow is a fault of its own.
                if figures.reactors_stopped == 0 {
                    return Err(error.to_string());
                }
                tracing::error!(%error, "not everything that follows from the rides was done");
            }
            Ok(RideFigures {
                sagas_running: figures.sagas_running,
                sagas_stuck: figures.sagas_stuck,
                reactors_stopped: figures.reactors_stopped,
                ledger_sum_minor_units: figures.ledger_sum_minor_units,
            })
        })
    }
}

type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, String>> + Send + 'a>>;

/// Vehicles of one decision of the register.
const BATCH: usize = 5_000;
/// The demo enrols its vehicles at once.
const TOKEN_VALID_MS: i64 = 3_600_000;

/// Registers vehicles that are new, and gives every one a token.
fn make_tokens(node: &Node) -> impl Fn(&[VehicleId]) -> Result<HashMap<VehicleId, String>, String> + 'static {
    let (register, authority) = node.identities();
    let organization = OrganizationId::default();
    move |vehicles| {
        let at_ms = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64);
        let who = Who { by: "demo".to_owned(), at_ms };
        let fingerprint = authority.fingerprint();
        let (known, new): (Vec<VehicleId>, Vec<_>) =
            vehicles.iter().partition(|vehicle| register.contains(vehicle));
        let mut tokens = Vec::new();
        for batch in new.chunks(BATCH) {
            let batch: Vec<_> =
                batch.iter().map(|vehicle| NewVehicle { vehicle: *vehicle, display_name: None }).collect();
            let made = register.create(organization, &batch, TOKEN_VALID_MS, fingerprint, &who);
            tokens.extend(made.map_err(|e| e.to_string())?);
        }
        for vehicle in known {
            let made = register.new_token(organization, vehicle, TOKEN_VALID_MS, fingerprint, &who);
            tokens.push(made.map_err(|e| e.to_string())?);
        }
        Ok(tokens.into_iter().map(|new| (new.token.vehicle(), new.token.reveal())).collect())
    }
}
