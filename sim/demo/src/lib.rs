//! The demo: a world of vehicles, their agents, a cloud and the ledger, in one process.
//!
//! Owns: the main job's order of things, its progress line and its report. Deliberately absent: how a node is started,
//! which is a closure handed in (`remuda-node` depends on this crate, not the other way round).

mod args;
mod questions;
mod report;
mod riders;

use std::collections::HashMap;
use std::future::Future;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use args::DemoArgs;
use remuda_edge_agent::ServerUrl;
use remuda_fleet::{Certificates, Fleet, FleetHandle, FleetSettings};
use remuda_ledger::Ledger;
use remuda_model::VehicleId;
use remuda_roads::RoadNetwork;
use remuda_world::{Vehicle, World};
use report::Report;
use riders::Demand;
pub use riders::{Degrees, Ride, RideCounts, RideFigures, Rides};
use tokio::sync::watch;

type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// What the demo asks of a node.
pub struct NodeRequest {
    /// Its data folder.
    pub data: PathBuf,
    /// Where the console should listen; none: any free port.
    pub console: Option<SocketAddr>,
    /// Roads to draw, GeoJSON.
    pub roads: String,
    /// The same roads, to find ways on.
    pub network: Arc<RoadNetwork>,
    /// How many vehicles will connect.
    pub vehicles: usize,
}

/// A node's figures for the progress line.
#[derive(Debug, Clone, Copy, Default)]
pub struct NodeFigures {
    /// Vehicles greeted on a living connection.
    pub online: u64,
    /// Frames that became durable.
    pub frames_durable: u64,
    /// Bytes received and not durable yet.
    pub in_flight_bytes: u64,
    /// From the door's read to durable, median, ms.
    pub ack_p50_ms: f64,
    /// The same, 95th percentile.
    pub ack_p95_ms: f64,
    /// Resident memory of the process, 1e6 bytes.
    pub rss_mb: f64,
}

/// Makes one-time tokens, by vehicle.
pub type MakeTokens = dyn Fn(&[VehicleId]) -> Result<HashMap<VehicleId, String>, String> + Send + Sync;

/// A node that serves.
pub struct RunningNode {
    /// Address of the vehicles' door; it speaks TLS.
    pub door: String,
    /// Address of the vehicles' HTTPS port, where they enrol.
    pub enrolment: String,
    /// Makes a one-time token for each of these vehicles.
    pub tokens: Box<MakeTokens>,
    /// The console's address with its token.
    pub console_url: String,
    /// Its ride business.
    pub rides: Arc<dyn Rides>,
    /// Its figures.
    pub figures: Box<dyn Fn() -> NodeFigures + Send + Sync>,
    /// Drains and stops it when awaited.
    pub stop: BoxFuture<Result<(), String>>,
}

/// How often the progress line is written.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);

/// Runs the demo until `interrupted` or its time is over; answers whether the ledger balances.
///
/// # Errors
/// One sentence about what could not be started or counted.
pub async fn run(
    args: DemoArgs,
    start_node: impl FnOnce(NodeRequest) -> BoxFuture<Result<RunningNode, String>>,
    interrupted: impl Future<Output = ()>,
) -> Result<bool, String> {
    args.check()?;
    // Both ends of every connection are in this process.
    remuda_fleet::sockets::reserve(args.vehicles, 2).map_err(|e| e.to_string())?;
    let begun = Instant::now();
    let place = Place::new(args.data.as_deref())?;
    let network = Arc::new(load_map(&args)?);
    let world = World::new(Arc::clone(&network), args.vehicles, args.seed);
    let request = NodeRequest {
        data: place.folder.join("cloud"),
        console: args.console,
        roads: network.geojson(),
        network: Arc::clone(&network),
        vehicles: args.vehicles,
    };
    let node = start_node(request).await?;
    eprintln!("console: {}", node.console_url);
    let data = place.folder.join("vehicles");
    let certificates = Some(enrol(&world, &data, &node).await?);
    let settings = FleetSettings { door: node.door.clone(), data, rate_hz: args.rate, certificates };
    let ids: Vec<VehicleId> = world.vehicles().iter().map(Vehicle::id).collect();
    let fleet = Arc::new(Fleet::start(settings, world).await.map_err(|e| e.to_string())?);
    let rides = Arc::clone(&node.rides);
    let demand = Demand::new(Arc::clone(&rides), network, args.vehicles, args.seed, run_name());
    rides.open(&ids, demand.riders()).await?;
    let (stop_riding, stops_riding) = watch::channel(false);
    let counts = demand.counts();
    let run = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
    let asking = questions::ask(Arc::clone(&fleet), ids, (args.seed, run), stops_riding.clone());
    let asking = tokio::spawn(asking);
    let riding = tokio::spawn(demand.run(Arc::clone(&fleet), stops_riding));
    eprintln!(
        "{} vehicles set off {:.1} s after the start; Ctrl-C stops",
        args.vehicles,
        begun.elapsed().as_secs_f64()
    );

    watch(&args, &fleet, (&node, &counts), interrupted).await;

    eprintln!("\nstopping: vehicles hand over what they have, then the cloud commits its last round");
    let rss_mb = (node.figures)().rss_mb;
    stop_riding.send_replace(true);
    let counts = riding.await.map_err(|e| format!("the riders' task failed: {e}"))?;
    asking.await.map_err(|e| format!("the task of the vehicles' questions failed: {e}"))?;
    let business = rides.settle().await?;
    // The business reads vehicles' twins: with it, the node's files would stay open.
    drop((rides, node.rides));
    let fleet = Arc::into_inner(fleet).ok_or("somebody still drives")?;
    let figures = fleet.stop().await.map_err(|e| e.to_string())?;
    node.stop.await?;
    let ledger = remuda_ledger::count(&place.folder.join("cloud"), &[place.folder.join("vehicles")]).await;
    let ledger = ledger.map_err(|e| e.to_string())?;
    let report = Report::new(args.vehicles, &figures, &ledger, rss_mb).with_rides(counts, business);
    finish(&args, &report, &ledger);
    let RideFigures { sagas_stuck, reactors_stopped, ledger_sum_minor_units, .. } = business;
    let settled = sagas_stuck == 0 && reactors_stopped == 0 && ledger_sum_minor_units == 0;
    if !settled {
        eprintln!(
            "{sagas_stuck} sagas are stuck, charging stands still in {reactors_stopped} places, the ledgers sum to \
             {ledger_sum_minor_units} instead of 0"
        );
    }
    Ok(ledger.balances() && settled)
}

/// Names this run's bookings apart from those of a run before over the same data.
fn run_name() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("demo-{}", since.as_millis())
}

/// Each vehicle makes a key and shows a one-time token, as a real one does. Those that kept their certificates need not.
async fn enrol(world: &World, data: &Path, node: &RunningNode) -> Result<Certificates, String> {
    let ids: Vec<VehicleId> = world.vehicles().iter().map(Vehicle::id).collect();
    let server: ServerUrl = node.enrolment.parse().map_err(|must| format!("the HTTPS port {must}"))?;
    let begun = Instant::now();
    let mut enrolled = 0;
    let tokens = async |wanting: Vec<VehicleId>| (node.tokens)(&wanting);
    let certificates = remuda_fleet::enrol(&ids, data, &server, tokens, |done, all| {
        enrolled = done;
        eprint!("\r{done}/{all} vehicles enrolled   ");
    });
    let certificates = certificates.await.map_err(|e| e.to_string())?;
    match enrolled {
        0 => eprintln!("{} vehicles kept their certificates", ids.len()),
        _ => eprintln!("in {:.1} s, each with a key of its own", begun.elapsed().as_secs_f64()),
    }
    Ok(certificates)
}

/// Where the demo keeps its data: a named folder stays, a temporary one goes with it.
struct Place {
    folder: PathBuf,
    _temporary: Option<tempfile::TempDir>,
}

impl Place {
    fn new(named: Option<&Path>) -> Result<Self, String> {
        if let Some(folder) = named {
            std::fs::create_dir_all(folder)
                .map_err(|e| format!("--data {} cannot be used: {e}", folder.display()))?;
            return Ok(Self { folder: folder.to_path_buf(), _temporary: None });
        }
        let temporary = tempfile::Builder::new().prefix("remuda-demo-").tempdir();
        let temporary =
            temporary.map_err(|e| format!("no temporary folder can be made: {e}; name one with --data"))?;
        Ok(Self { folder: temporary.path().to_path_buf(), _temporary: Some(temporary) })
    }
}

fn load_map(args: &DemoArgs) -> Result<RoadNetwork, String> {
    match &args.map {
        Some(file) => {
            let network = RoadNetwork::load(file).map_err(|e| e.to_string())?;
            eprintln!("map: {} ({:.0} km of road)", file.display(), network.length_m() / 1_000.0);
            Ok(network)
        }
        None => RoadNetwork::generate(args.seed).map_err(|e| e.to_string()),
    }
}

/// Writes the progress line until the time is over or somebody interrupts.
async fn watch(
    args: &DemoArgs,
    fleet: &FleetHandle,
    (node, counts): (&RunningNode, &watch::Receiver<RideCounts>),
    interrupted: impl Future<Output = ()>,
) {
    let mut interrupted = std::pin::pin!(interrupted);
    let over = async {
        match args.duration {
            Some(duration) => tokio::time::sleep(duration).await,
            None => std::future::pending().await,
        }
    };
    let mut over = std::pin::pin!(over);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    let mut durable_before = 0;
    loop {
        tokio::select! {
            () = &mut interrupted => return,
            () = &mut over => return,
            _ = ticks.tick() => {
                let vehicles = fleet.figures();
                let cloud = (node.figures)();
                let trips = *counts.borrow();
                let rate = cloud.frames_durable.saturating_sub(durable_before);
                durable_before = cloud.frames_durable;
                eprint!(
                    "\r{:5.0} s  {}/{} online  {} frames made  {} acked  {rate}/s  lag {}  ack p50 {:.0} ms p95 {:.0} ms  trips {}/{}   ",
                    vehicles.seconds, cloud.online, vehicles.vehicles, vehicles.frames_made, vehicles.frames_acked,
                    vehicles.backlog, vehicles.ack_p50_ms, vehicles.ack_p95_ms, trips.completed, trips.requested,
                );
            }
        }
    }
}

fn finish(args: &DemoArgs, report: &Report, ledger: &Ledger) {
    eprint!("{ledger}");
    eprintln!(
        "  (a power cut at a vehicle costs at most what its sensors said since its last group commit: 1 s)"
    );
    if args.json {
        println!("{}", serde_json::to_string(report).unwrap_or_default());
    }
    if let Some(folder) = &args.data {
        eprintln!("the data stays in {}; run again with the same --data to go on", folder.display());
    }
}
