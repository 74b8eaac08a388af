//! What `remuda-agent` does.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use remuda_edge_agent::config::{Config, Enrolled, Source};
use remuda_edge_agent::identity::keep_renewed;
use remuda_edge_agent::outbox::offline;
use remuda_edge_agent::replay::Capture;
use remuda_edge_agent::{
    AgentRunner, Clock, CommandKey, Controls, Credentials, Folder, Identity, Input, LinkSettings, Profile,
    Program, ServerUrl, Stop, Store, ThinMqtt, Token, enroll as enrolment, handles, sources,
};
use remuda_edge_agent_core::{Figures, Policy, Settings};
use remuda_model::Incarnation;
use serde::Serialize;
use tokio::sync::{mpsc, watch};

/// Inputs that may wait for the agent: a second of a busy bus.
const INPUTS_MAX: usize = 4 * 1024;
/// File handles of an agent: segments, sockets, standard streams, the runtime's own.
const HANDLES: u64 = 48;
/// Pause between two lines of progress.
const PROGRESS: Duration = Duration::from_secs(5);

/// Arguments of `replay`.
#[derive(Debug, Args)]
pub struct ReplayArgs {
    /// The configuration.
    #[arg(long)]
    config: PathBuf,
    /// Folder of the capture, laid out like comma2k19.
    #[arg(long)]
    capture: PathBuf,
    /// DBC file that describes its messages.
    #[arg(long)]
    dbc: PathBuf,
    /// Mapping from DBC signals to VSS paths.
    #[arg(long)]
    mapping: PathBuf,
    /// How many times faster than life, or `max`.
    #[arg(long, default_value = "1.0", value_parser = speed)]
    speed: f64,
    /// Print one JSON object on standard output.
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        _ if text == "max" => Ok(f64::INFINITY),
        Ok(speed) if speed > 0.0 => Ok(speed),
        _ => Err(format!("{text} is no speed; say 1.0, 10 or max")),
    }
}

/// What a replay says at its end.
#[derive(Debug, Serialize)]
struct Summary {
    can_frames: usize,
    samples: u64,
    frames: u64,
    /// Bytes of our messages.
    payload_bytes: u64,
    /// Bytes of MQTT packets given to TCP.
    tcp_bytes: u64,
    frames_in_outbox: u64,
    seconds: f64,
}

struct Scene {
    settings: Settings,
    link: ThinMqtt,
    store: Store,
    door: String,
    certificate: Option<Certificate>,
    controls: Controls,
}

/// What renewal needs.
struct Certificate {
    folder: Folder,
    identity: Box<Identity>,
    credentials: Arc<Credentials>,
}

impl Certificate {
    /// Renewed for as long as the runtime lives.
    fn keep_renewed(self) {
        tokio::spawn(keep_renewed(self.folder, *self.identity, self.credentials));
    }
}

fn words(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn prepare(file: &Path) -> Result<(Config, Scene), String> {
    let config = Config::load(file).map_err(words)?;
    let enrolled = config.identity().map_err(words)?;
    handles::reserve(HANDLES).map_err(words)?;
    let store = Store::open(&config.outbox(), Profile::vehicle()).map_err(words)?;
    let settings = Settings {
        outbox_bytes_max: config.outbox_bytes_max,
        reconnect_ms_max: config.reconnect_ms_max,
        policy: config.policy().map_err(words)?,
        follow_policy: config.policy.is_none(),
        machine: machine(),
        ..Settings::new(config.vehicle, Incarnation(rand::random()), rand::random())
    };
    let (door, link, certificate) = match enrolled {
        Enrolled::Certificate { door, folder, identity, credentials } => {
            let link = LinkSettings::over_tls(&door, config.vehicle, Arc::clone(&credentials));
            (door, link, Some(Certificate { folder, identity, credentials }))
        }
        Enrolled::Secret { door, secret } => {
            let link = LinkSettings::new(&door, config.vehicle, secret);
            (door, link, None)
        }
    };
    let controls = controls(&config, certificate.as_ref().and_then(|c| c.identity.command_key()));
    let link = ThinMqtt::new(LinkSettings { keep_alive_s: config.keep_alive_s, ..link });
    Ok((config, Scene { settings, link, store, door, certificate, controls }))
}

/// Commands are obeyed by the program of the configuration, when enrolment gave the key that they are signed with.
fn controls(config: &Config, key: Option<CommandKey>) -> Controls {
    let none = Controls::default();
    Controls {
        verifier: key.map_or(none.verifier, |key| Arc::new(key)),
        actuators: match &config.actuator {
            Some(program) => Arc::new(Program::new(program.clone())),
            None => none.actuators,
        },
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|e| format!("the runtime cannot be started: {e}; check the limits of this process"))
}

/// Sets `stop` at SIGTERM and Ctrl-C.
fn obey_signals(stop: watch::Sender<Stop>) -> Result<(), String> {
    let kind = tokio::signal::unix::SignalKind::terminate();
    let mut terminate = tokio::signal::unix::signal(kind).map_err(words)?;
    tokio::spawn(async move {
        tokio::select! { _ = tokio::signal::ctrl_c() => {}, _ = terminate.recv() => {} }
        stop.send_replace(Stop::Now);
        stop.closed().await;
    });
    Ok(())
}

/// Names this start of the machine: [`Clock::Machine`] is one clock for as long as it is the same. 0 when it cannot be
/// known.
fn machine() -> u64 {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String = id.chars().filter(char::is_ascii_hexdigit).take(16).collect();
    u64::from_str_radix(&digits, 16).unwrap_or(0)
}

/// `run`.
pub fn run(file: &Path) -> Result<ExitCode, String> {
    let (config, scene) = prepare(file)?;
    let runtime = runtime()?;
    let result = runtime.block_on(async {
        // An input that ends is all there is: it is sent, then the agent ends.
        let (stop, stopped) =
            watch::channel(if config.source == Source::Stdin { Stop::Drained } else { Stop::No });
        obey_signals(stop)?;
        let clock = Clock::Machine;
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let idle = match config.source {
            Source::Stdin => {
                sources::stdin(clock, sender);
                None
            }
            Source::None => Some(sender),
        };
        let Scene { settings, link, store, door, certificate, controls } = scene;
        let runner =
            AgentRunner::open(settings, &store, link, clock, inputs, stopped, controls).map_err(words)?;
        eprintln!("remuda-agent: {} runs, its door is {door}", config.vehicle);
        if let Some(certificate) = certificate {
            certificate.keep_renewed();
        }
        let (figures, _) = runner.run().await.map_err(words)?;
        drop(idle);
        store.close().map_err(words)?;
        let Figures { frames_made, frames_acked, .. } = figures;
        eprintln!("remuda-agent: stopped; {frames_made} frames made, {frames_acked} acked since the start");
        Ok(ExitCode::SUCCESS)
    });
    // The thread that reads standard input cannot be woken.
    runtime.shutdown_background();
    result
}

/// `enroll --from`.
pub fn enroll_from(from: &Path, dir: &Path, door: Option<&str>) -> Result<ExitCode, String> {
    let file = enrolment::enroll(from, dir, door).map_err(words)?;
    eprintln!("remuda-agent: enrolled; start it with: remuda-agent run --config {}", file.display());
    eprintln!("remuda-agent: {} holds the secret and is not needed here any more", from.display());
    Ok(ExitCode::SUCCESS)
}

/// `enroll --server`.
pub fn enroll(server: ServerUrl, token: &Token, dir: &Path) -> Result<ExitCode, String> {
    let file = runtime()?.block_on(enrolment::enroll_with_token(server, token, dir)).map_err(words)?;
    let vehicle = token.vehicle();
    eprintln!(
        "remuda-agent: {vehicle} is enrolled; start it with: remuda-agent run --config {}",
        file.display()
    );
    Ok(ExitCode::SUCCESS)
}

/// `replay`.
pub fn replay(args: &ReplayArgs) -> Result<ExitCode, String> {
    let capture = Capture::open(&args.capture, &args.dbc, &args.mapping).map_err(words)?;
    let (config, mut scene) = prepare(&args.config)?;
    scene.settings.policy = Arc::new(Policy::everything());
    scene.settings.follow_policy = false;
    let runtime = runtime()?;
    let summary = runtime.block_on(replay_capture(capture, scene, config.outbox(), args.speed))?;
    if args.json {
        println!("{}", serde_json::to_string(&summary).map_err(words)?);
    } else {
        eprintln!(
            "remuda-agent: {} CAN frames, {} samples in {} frames, {} payload bytes, {:.1} s",
            summary.can_frames, summary.samples, summary.frames, summary.payload_bytes, summary.seconds
        );
    }
    if summary.frames_in_outbox > 0 {
        return Err(format!(
            "{} frames are still in the outbox; run it again to send them",
            summary.frames_in_outbox
        ));
    }
    Ok(ExitCode::SUCCESS)
}

async fn replay_capture(
    capture: Capture,
    scene: Scene,
    outbox: PathBuf,
    speed: f64,
) -> Result<Summary, String> {
    let begun = Instant::now();
    let (stop, stopped) = watch::channel(Stop::Drained);
    obey_signals(stop)?;
    let first = capture.steps().next().map_or(0, |step| step.at_ns);
    // The agent's clock ends where the capture ends: nothing of the replay lies in the future.
    let span = capture.span_ns();
    let clock = Clock::starting_at(first + span - (span as f64 / speed) as u64);
    let (sender, inputs) = mpsc::channel(INPUTS_MAX);
    let (figures, mut watched) = watch::channel(Figures::default());
    let Scene { settings, link, store, certificate, controls, .. } = scene;
    if let Some(certificate) = certificate {
        certificate.keep_renewed();
    }
    let runner =
        AgentRunner::open(settings, &store, link, clock, inputs, stopped, controls).map_err(words)?;
    let running = tokio::spawn(runner.with_figures(figures).run());
    let can_frames = capture.frames();
    let feeding = tokio::spawn(feed(capture, sender, first, speed));
    let telling = tokio::spawn(async move {
        loop {
            tokio::time::sleep(PROGRESS).await;
            let Figures { samples_taken, frames_made, frames_acked, online, .. } =
                *watched.borrow_and_update();
            let state = if online { "online" } else { "offline" };
            eprintln!(
                "remuda-agent: {samples_taken} samples, {frames_made} frames made, {frames_acked} acked, {state}"
            );
        }
    });
    let ended = running.await.map_err(words)?;
    telling.abort();
    feeding.abort();
    let (figures, tcp_bytes) = ended.map_err(words)?;
    store.close().map_err(words)?;
    // From the disk, with what earlier starts left there.
    let books = offline::open(&outbox).map_err(words)?;
    let frames_in_outbox = books.iter().filter_map(|b| b.held).map(|(from, to)| to - from + 1).sum();
    Ok(Summary {
        can_frames,
        samples: figures.samples_taken,
        frames: figures.frames_made,
        payload_bytes: figures.bytes_sent,
        tcp_bytes,
        frames_in_outbox,
        seconds: begun.elapsed().as_secs_f64(),
    })
}

/// Tells each CAN frame when its time has come. Frames due together go without a sleep between them.
async fn feed(capture: Capture, inputs: mpsc::Sender<Input>, first: u64, speed: f64) {
    let begun = tokio::time::Instant::now();
    for step in capture.steps() {
        let due = begun + Duration::from_secs_f64((step.at_ns - first) as f64 / 1e9 / speed);
        if due > tokio::time::Instant::now() {
            tokio::time::sleep_until(due).await;
        }
        if inputs.send(Input::Readings(step.readings)).await.is_err() {
            return;
        }
    }
}
