//! Processes for the benches: a cloud, brokers, generators; all on loopback, stopped by process id.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::run::target;

/// Vehicles that one file of `remudactl vehicles provision` may have.
const PROVISIONED_AT_ONCE: usize = 10_000;
/// How long a process may take to be there.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder for the run's data, removed at its end.
pub struct Scene {
    /// The folder.
    pub folder: PathBuf,
    /// Seconds each load runs.
    pub seconds: u64,
    /// Whether history is to be large.
    pub billion: bool,
}

/// A child that is killed when dropped.
pub struct Running {
    child: Child,
    out: PathBuf,
}

/// A cloud that serves.
pub struct Cloud {
    process: Running,
    /// Address of its door for plain TCP.
    pub door: String,
    /// Address of its door for TLS.
    pub tls_door: String,
    /// Its HTTPS port for vehicles.
    enrolment: String,
    /// Address of its console.
    pub console: String,
    /// What opens it.
    pub token: String,
    /// Its data.
    pub data: PathBuf,
}

impl Scene {
    /// A fresh folder below `target/`, on the same disk as the build.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn new(seconds: u64, billion: bool) -> Result<Self, String> {
        let folder = target().join(format!("bench-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|e| format!("cannot make {}: {e}", folder.display()))?;
        Ok(Self { folder, seconds, billion })
    }

    /// A release binary.
    pub fn binary(name: &str) -> PathBuf {
        target().join("release").join(name)
    }

    /// Starts a program; its output goes to files.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(&self, name: &str, command: &mut Command) -> Result<Running, String> {
        let out = self.folder.join(format!("{name}.out"));
        let log = self.folder.join(format!("{name}.log"));
        let file =
            |path: &Path| File::create(path).map_err(|e| format!("cannot write {}: {e}", path.display()));
        let child = command.stdin(Stdio::null()).stdout(file(&out)?).stderr(file(&log)?).spawn();
        let child = child.map_err(|e| format!("{name} could not be started: {e}"))?;
        Ok(Running { child, out })
    }

    /// Starts a cloud with fresh data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn cloud(&self, name: &str) -> Result<Cloud, String> {
        self.cloud_with(name, &[])
    }

    /// Starts a cloud with these settings, on the data that an earlier one of the same name left.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn cloud_with(&self, name: &str, settings: &[(&str, &str)]) -> Result<Cloud, String> {
        let data = self.folder.join(name);
        let mut command = Command::new(Self::binary("remuda"));
        command.args(["serve", "--json", "--data"]).arg(&data);
        for port in ["DOOR__LISTEN", "DOOR__PLAIN_LISTEN", "ENROLMENT__LISTEN", "CONSOLE__LISTEN"] {
            command.env(format!("REMUDA__{port}"), "127.0.0.1:0");
        }
        command.env("REMUDA__DOOR__IDENTITY", "trust-loopback").env("REMUDA__LOG__FILTER", "warn");
        command.envs(settings.iter().copied());
        let mut process = self.start(name, &mut command)?;
        let begun = Instant::now();
        let announced: serde_json::Value = loop {
            if let Ok(value) = serde_json::from_str(&process.out()) {
                break value;
            }
            if begun.elapsed() > PATIENCE || process.ended() {
                return Err(format!("{name} does not come up; see {}", self.folder.display()));
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = |key: &str| announced[key].as_str().unwrap_or_default().to_owned();
        let console = text("console").trim_start_matches("http://").to_owned();
        let (door, tls_door, enrolment) = (text("plain_door"), text("door"), text("enrolment"));
        Ok(Cloud { process, door, tls_door, enrolment, console, token: text("token"), data })
    }

    /// Runs a program to its end and reads the one JSON object on its standard output.
    ///
    /// # Errors
    /// When it fails or prints something else.
    pub fn json(&self, name: &str, command: &mut Command) -> Result<serde_json::Value, String> {
        let mut running = self.start(name, command)?;
        let status = running.child.wait().map_err(|e| format!("{name} cannot be waited for: {e}"))?;
        let out = running.out();
        if !status.success() {
            return Err(format!("{name} failed ({status}); see {}", self.folder.display()));
        }
        serde_json::from_str(&out).map_err(|e| format!("{name} printed no JSON object ({e}): {out}"))
    }

    /// Waits until something listens.
    ///
    /// # Errors
    /// When nothing does.
    pub fn wait_port(address: &str) -> Result<(), String> {
        let begun = Instant::now();
        while TcpStream::connect(address).is_err() {
            if begun.elapsed() > PATIENCE {
                return Err(format!("nothing listens on {address}"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// A port that was free a moment ago.
    ///
    /// # Errors
    /// When there is none.
    pub fn free_port() -> Result<u16, String> {
        let listener = TcpListener::bind("127.0.0.1:0").map_err(|e| format!("no free port: {e}"))?;
        listener.local_addr().map(|a| a.port()).map_err(|e| format!("no free port: {e}"))
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

impl Running {
    /// What it printed so far.
    pub fn out(&self) -> String {
        fs::read_to_string(&self.out).unwrap_or_default()
    }

    /// What it said on its standard error so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.out.with_extension("log")).unwrap_or_default()
    }

    /// Bytes that it has caused to be written to storage so far, block by block (`write_bytes` in `/proc/PID/io`).
    pub fn bytes_written(&self) -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{}/io", self.child.id())).ok()?;
        text.lines().find_map(|line| line.strip_prefix("write_bytes: ")?.trim().parse().ok())
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }

    /// Waits for its end.
    pub fn wait(&mut self) {
        let _ = self.child.wait();
    }

    /// SIGTERM by process id, then waits.
    pub fn stop(&mut self) {
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let begun = Instant::now();
        while !self.ended() && begun.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Cloud {
    /// Its whole metrics page.
    pub fn metrics(&self) -> String {
        let Self { console, token, .. } = self;
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(console)?;
            let head = "GET /metrics HTTP/1.1\r\nConnection: close\r\n";
            stream.write_all(
                format!("{head}Host: {console}\r\nAuthorization: Bearer {token}\r\n\r\n").as_bytes(),
            )?;
            let mut text = String::new();
            stream.read_to_string(&mut text)?;
            Ok(text)
        };
        ask().unwrap_or_default()
    }

    /// A metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let text = self.metrics();
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|value| value.trim().parse().ok()).unwrap_or(0.0)
    }

    /// Arguments by which so many vehicles of the load generator reach its door; for TLS they are registered here, and
    /// will enrol.
    ///
    /// # Errors
    /// When they cannot be registered.
    pub fn way_in(&self, tls: bool, vehicles: u32) -> Result<Vec<String>, String> {
        if !tls {
            return Ok(vec!["--door".into(), self.door.clone()]);
        }
        self.enrolling((1..=vehicles).map(|number| format!("LOAD{number:06}")).collect())
    }

    /// The same for these vehicles, over TLS.
    ///
    /// # Errors
    /// When they cannot be registered.
    pub fn enrolling(&self, vehicles: Vec<String>) -> Result<Vec<String>, String> {
        let mut all = String::new();
        for (part, vehicles) in vehicles.chunks(PROVISIONED_AT_ONCE).enumerate() {
            let list = self.data.with_extension(format!("vehicles-{part}.csv"));
            let tokens = self.data.with_extension(format!("tokens-{part}.csv"));
            let lines: String = vehicles.iter().map(|vehicle| format!("{vehicle}\n")).collect();
            fs::write(&list, lines).map_err(|e| format!("cannot write {}: {e}", list.display()))?;
            let mut provision = Command::new(Scene::binary("remudactl"));
            provision.args(["vehicles", "provision", "--timeout", "600", "--csv"]).arg(&list).arg("--out");
            provision.arg(&tokens).env("REMUDA_SERVER", format!("http://{}", self.console));
            provision.env("REMUDA_TOKEN", &self.token).stdout(Stdio::null());
            crate::run::run(&mut provision)?;
            let text = fs::read_to_string(&tokens).map_err(|e| format!("no tokens were written: {e}"))?;
            // One head line is enough.
            text.lines().skip(usize::from(part > 0)).for_each(|line| all.extend([line, "\n"]));
        }
        let tokens = self.data.with_extension("tokens.csv");
        fs::write(&tokens, all).map_err(|e| format!("cannot write {}: {e}", tokens.display()))?;
        let tokens = tokens.to_string_lossy().into_owned();
        let words = ["--door", &self.tls_door, "--enrolment", &self.enrolment, "--tokens", &tokens];
        Ok(words.map(str::to_owned).to_vec())
    }

    /// SIGKILL, as if the machine had failed.
    pub fn kill(self) {
        drop(self);
    }

    /// Stops it cleanly.
    pub fn stop(mut self) -> PathBuf {
        self.process.stop();
        self.data.clone()
    }
}
