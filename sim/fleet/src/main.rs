//! `remuda-sim`: fleets and load.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use remuda_edge_agent::ServerUrl;
use remuda_fleet::broker::{self, PublishSettings};
use remuda_fleet::limits::PROGRESS_EVERY;
use remuda_fleet::{
    BacklogSettings, Certificates, Fleet, FleetSettings, LoadKind, LoadSettings, backlog, enrol, ingest,
    reconnect, sockets, synthetic, tokens_in,
};
use remuda_model::VehicleId;
use remuda_roads::RoadNetwork;
use remuda_world::World;
use serde::Serialize;
use tokio::sync::watch;

/// Connections that the baseline's sink is ready for.
const SINK_CONNECTIONS: usize = 10_000;

/// Simulated vehicles for Remuda.
#[derive(Debug, Parser)]
#[command(name = "remuda-sim", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Drives a world of vehicles against a running cloud.
    Fleet(FleetArgs),
    /// Prints the ids of the vehicles of the other commands, one a line, for `remudactl vehicles provision`.
    Ids(IdsArgs),
    /// Load for a running cloud: real agents and outboxes, cheap values.
    Ingest(IngestArgs),
    /// Vehicles with a backlog come back: how long the cloud takes to have it all.
    Backlog(BacklogArgs),
    /// A connected fleet whose cloud goes away and comes back: how long until everybody is welcome again.
    Reconnect(IngestArgs),
    /// The baseline's sender: payloads made beforehand, to a bare MQTT broker.
    Publish(PublishArgs),
    /// The baseline's other end: reads and forgets whatever connections say.
    Sink(SinkArgs),
    /// The baseline's subscriber: counts what a bare MQTT broker relays.
    Count(CountArgs),
}

/// How vehicles get certificates for a TLS door.
#[derive(Debug, Args)]
struct TlsArgs {
    /// The door speaks TLS. Address of the vehicles' HTTPS port, such as `https://127.0.0.1:8884`, where each vehicle
    /// enrols with a key of its own; certificates are kept in the folder of the outboxes.
    #[arg(long)]
    enrolment: Option<ServerUrl>,
    /// One-time tokens, in whatever `remudactl vehicles provision` wrote; a vehicle that has its certificate needs none.
    #[arg(long, requires = "enrolment")]
    tokens: Option<PathBuf>,
}

impl TlsArgs {
    async fn certificates(
        &self,
        data: &std::path::Path,
        ids: &[VehicleId],
    ) -> Result<Option<Certificates>, String> {
        let Some(server) = &self.enrolment else { return Ok(None) };
        let tokens = async |_: Vec<VehicleId>| {
            let file = self.tokens.as_ref().ok_or(
                "some have no certificate yet; name a file with their tokens by --tokens, which remudactl vehicles \
                 provision makes",
            )?;
            let text = std::fs::read_to_string(file);
            let text = text.map_err(|e| format!("{} cannot be read: {e}", file.display()))?;
            tokens_in(&text).map_err(|e| format!("{} {e}", file.display()))
        };
        let begun = std::time::Instant::now();
        let mut enrolled = 0;
        let certificates = enrol(ids, data, server, tokens, |done, all| {
            enrolled = done;
            if done % 1_000 == 0 || done == all {
                eprintln!("{done} of {all} vehicles enrolled");
            }
        });
        let certificates = certificates.await.map_err(|e| e.to_string())?;
        if enrolled > 0 {
            eprintln!("{enrolled} vehicles enrolled in {:.1} s", begun.elapsed().as_secs_f64());
        }
        Ok(Some(certificates))
    }
}

#[derive(Debug, Args)]
struct FleetArgs {
    /// Vehicles.
    #[arg(long, default_value_t = 100)]
    vehicles: usize,
    /// Sensor readings per second and vehicle.
    #[arg(long, default_value_t = 10.0)]
    rate: f64,
    /// Address of the cloud's door, such as 127.0.0.1:1883.
    #[arg(long)]
    door: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Folder of the outboxes; run again with the same one to go on.
    #[arg(long)]
    data: PathBuf,
    /// An OpenStreetMap extract (.osm.pbf, .osm, .osm.gz); without one a town is generated from the seed.
    #[arg(long)]
    map: Option<PathBuf>,
    /// Seed of the world.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long to drive, such as 60s; without it until Ctrl-C.
    #[arg(long = "for", value_parser = duration)]
    duration: Option<Duration>,
    /// Print one JSON object on standard output at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IngestArgs {
    /// Vehicles.
    #[arg(long, default_value_t = 2_000)]
    vehicles: usize,
    /// Frames per second over all vehicles; 0 is as fast as the cloud acknowledges.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Signals per frame.
    #[arg(long, default_value_t = 10)]
    signals: usize,
    /// Number of the first vehicle, so that two loads can share a cloud.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Makes events, each told at once, instead of frames of samples.
    #[arg(long)]
    events: bool,
    /// How long to make frames, such as 60s.
    #[arg(long = "for", value_parser = duration, default_value = "60s")]
    duration: Duration,
    /// Address of the cloud's door.
    #[arg(long)]
    door: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Folder of the outboxes.
    #[arg(long)]
    data: PathBuf,
    /// Print one JSON object on standard output at the end.
    #[arg(long)]
    json: bool,
}

impl IngestArgs {
    async fn load(&self) -> Result<LoadSettings, String> {
        let ids: Vec<_> = (self.first..self.first + self.vehicles).map(synthetic::vehicle_id).collect();
        Ok(LoadSettings {
            door: self.door.clone(),
            data: self.data.clone(),
            first: self.first,
            vehicles: self.vehicles,
            rate: self.rate,
            signals: self.signals.min(synthetic::signals_max()),
            kind: if self.events { LoadKind::Events } else { LoadKind::Samples },
            duration: self.duration,
            certificates: self.tls.certificates(&self.data, &ids).await?,
        })
    }
}

#[derive(Debug, Args)]
struct BacklogArgs {
    /// Vehicles that come back at once.
    #[arg(long, default_value_t = 1)]
    vehicles: usize,
    /// Frames each has made by then, one a second of driving: 28,800 are eight hours.
    #[arg(long, default_value_t = 28_800)]
    frames: u64,
    /// Signals per frame.
    #[arg(long, default_value_t = 10)]
    signals: usize,
    /// How long the drain may take, such as 10m.
    #[arg(long = "for", value_parser = duration, default_value = "10m")]
    patience: Duration,
    /// Address of the cloud's door.
    #[arg(long)]
    door: String,
    #[command(flatten)]
    tls: TlsArgs,
    /// Folder of the outboxes.
    #[arg(long)]
    data: PathBuf,
    /// Print one JSON object on standard output at the end.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PublishArgs {
    /// Connections.
    #[arg(long, default_value_t = 2_000)]
    vehicles: usize,
    /// Payloads per second and connection; 0 is as fast as the broker takes them.
    #[arg(long, default_value_t = 0.0)]
    rate: f64,
    /// Signals per frame.
    #[arg(long, default_value_t = 10)]
    signals: usize,
    /// Frames per payload.
    #[arg(long, default_value_t = 1)]
    frames: usize,
    /// How long to send, such as 60s.
    #[arg(long = "for", value_parser = duration, default_value = "60s")]
    duration: Duration,
    /// Address of the broker.
    #[arg(long)]
    broker: String,
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct IdsArgs {
    /// Vehicles.
    #[arg(long, default_value_t = 100)]
    vehicles: usize,
    /// Number of the first vehicle.
    #[arg(long, default_value_t = 0)]
    first: usize,
    /// Those of `fleet`, not of the loads.
    #[arg(long)]
    world: bool,
}

#[derive(Debug, Args)]
struct SinkArgs {
    /// Where to listen.
    #[arg(long)]
    listen: std::net::SocketAddr,
}

#[derive(Debug, Args)]
struct CountArgs {
    /// Address of the broker.
    #[arg(long)]
    broker: String,
    /// Frames per payload, as the sender was told.
    #[arg(long, default_value_t = 1)]
    frames: usize,
    /// How long to count after the first arrival, such as 60s.
    #[arg(long = "for", value_parser = duration, default_value = "60s")]
    duration: Duration,
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = text.split_at(text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len()));
    let number: f64 = number.parse().map_err(|_| format!("{text} is no duration; say 60s, 5m or 2h"))?;
    let seconds = match unit {
        "ms" => number / 1_000.0,
        "" | "s" => number,
        "m" => number * 60.0,
        "h" => number * 3_600.0,
        _ => return Err(format!("{text} is no duration; say 60s, 5m or 2h")),
    };
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("{text} is no duration; say 60s, 5m or 2h"))
}

/// True once Ctrl-C or SIGTERM came.
fn stop_signal() -> watch::Receiver<bool> {
    let (sender, receiver) = watch::channel(false);
    tokio::spawn(async move {
        let terminate = async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Ok(mut signal) => signal.recv().await.map_or((), |()| ()),
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, () = terminate => {} }
        let _ = sender.send(true);
        // Kept alive for whoever asks later.
        sender.closed().await;
    });
    receiver
}

fn print<R: Serialize + std::fmt::Debug>(report: &R, json: bool) -> Result<(), String> {
    if json {
        println!("{}", serde_json::to_string(report).map_err(|e| e.to_string())?);
    } else {
        eprintln!("{report:#?}");
    }
    Ok(())
}

async fn run(cli: Cli) -> Result<(), String> {
    let stop = stop_signal();
    match cli.command {
        Command::Fleet(args) => fleet(args, stop).await,
        Command::Ids(args) => {
            let id = if args.world { remuda_world::vehicle_id } else { synthetic::vehicle_id };
            let lines = (args.first..args.first + args.vehicles).map(|n| format!("{}\n", id(n)));
            // A closed pipe is the reader's choice.
            let _ = std::io::stdout().write_all(lines.collect::<String>().as_bytes());
            Ok(())
        }
        Command::Ingest(args) => {
            let figures = ingest(&args.load().await?, stop, |figures| eprintln!("{}", figures.line())).await;
            print(&figures.map_err(|e| e.to_string())?, args.json)
        }
        Command::Reconnect(args) => {
            let storm = reconnect(&args.load().await?, stop, |figures| eprintln!("{}", figures.line())).await;
            print(&storm.map_err(|e| e.to_string())?, args.json)
        }
        Command::Backlog(args) => {
            let ids: Vec<_> = (0..args.vehicles).map(synthetic::vehicle_id).collect();
            let settings = BacklogSettings {
                certificates: args.tls.certificates(&args.data, &ids).await?,
                door: args.door,
                data: args.data,
                vehicles: args.vehicles,
                frames: args.frames,
                signals: args.signals.min(synthetic::signals_max()),
                patience: args.patience,
            };
            let drained = backlog(&settings, stop, |figures| eprintln!("{}", figures.line())).await;
            print(&drained.map_err(|e| e.to_string())?, args.json)
        }
        Command::Publish(args) => {
            sockets::reserve(args.vehicles, 1).map_err(|e| e.to_string())?;
            let settings = PublishSettings {
                broker: args.broker.clone(),
                vehicles: args.vehicles,
                rate: args.rate,
                signals: args.signals.min(synthetic::signals_max()),
                frames: args.frames,
                duration: args.duration,
            };
            let published = broker::publish(settings, stop).await;
            print(&published.map_err(|e| at(&args.broker, &e))?, args.json)
        }
        Command::Sink(args) => {
            sockets::reserve(SINK_CONNECTIONS, 1).map_err(|e| e.to_string())?;
            let listener = tokio::net::TcpListener::bind(args.listen).await;
            let listener = listener.map_err(|e| format!("nobody can listen on {}: {e}", args.listen))?;
            let bytes = broker::sink(listener, stop).await.map_err(|e| format!("the sink fails: {e}"))?;
            eprintln!("{bytes} bytes read");
            Ok(())
        }
        Command::Count(args) => {
            let counted = broker::count(&args.broker, args.frames, args.duration, stop).await;
            print(&counted.map_err(|e| at(&args.broker, &e))?, args.json)
        }
    }
}

async fn fleet(args: FleetArgs, mut stop: watch::Receiver<bool>) -> Result<(), String> {
    let network = match &args.map {
        Some(path) => RoadNetwork::load(path),
        None => RoadNetwork::generate(args.seed),
    };
    let network = Arc::new(network.map_err(|e| e.to_string())?);
    if !network.attribution().is_empty() {
        eprintln!("{}", network.attribution());
    }
    let world = World::new(network, args.vehicles, args.seed);
    let ids: Vec<_> = world.vehicles().iter().map(remuda_world::Vehicle::id).collect();
    let certificates = args.tls.certificates(&args.data, &ids).await?;
    let settings = FleetSettings { door: args.door, data: args.data, rate_hz: args.rate, certificates };
    let handle = Fleet::start(settings, world).await.map_err(|e| e.to_string())?;
    let end = args.duration.map(|d| tokio::time::Instant::now() + d);
    let mut ticks = tokio::time::interval(PROGRESS_EVERY);
    loop {
        let over = async {
            match end {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => break,
            () = over => break,
            _ = ticks.tick() => {
                eprintln!("{}", handle.figures().line());
                if handle.has_failed() {
                    break;
                }
            }
        }
    }
    eprintln!("stopping: what was made is sent and acknowledged first");
    let figures = handle.stop().await.map_err(|e| e.to_string())?;
    eprintln!("{}", figures.line());
    print(&figures, args.json)
}

fn at(broker: &str, error: &std::io::Error) -> String {
    format!("the broker at {broker} fails: {error}; check the address and that it runs")
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("remuda-sim: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    let result = runtime.block_on(run(cli));
    runtime.shutdown_timeout(Duration::from_secs(1));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("remuda-sim: {sentence}");
            ExitCode::FAILURE
        }
    }
}
