//! A `remuda serve` process and what can be asked of it from outside.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::process::{PATIENCE, Process};

/// A cloud in a process of its own.
#[derive(Debug)]
pub struct Cloud {
    /// The process.
    pub process: Process,
    /// Address of the vehicles' door for plain TCP.
    pub door: String,
    /// Address of the vehicles' door for TLS.
    pub tls_door: String,
    /// The vehicles' HTTPS port: `https://host:port`.
    pub enrolment: String,
    /// Address of the console, without scheme.
    pub console: String,
    /// The console's token.
    pub token: String,
}

/// Where a cloud keeps its data and listens; survives its process.
#[derive(Debug, Clone)]
pub struct CloudPlace {
    folder: PathBuf,
    door: String,
    tls_door: String,
    enrolment: String,
    console: String,
    settings: Vec<(String, String)>,
}

impl CloudPlace {
    /// A place below `folder`, with ports still to be found.
    pub fn new(folder: &Path) -> Self {
        let any = || "127.0.0.1:0".to_owned();
        Self {
            folder: folder.to_path_buf(),
            door: any(),
            tls_door: any(),
            enrolment: any(),
            console: any(),
            settings: Vec::new(),
        }
    }

    /// Sets a configuration value, such as `LAKE__ROUND_INTERVAL_MS`.
    #[must_use]
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.settings.push((format!("REMUDA__{key}"), value.to_owned()));
        self
    }

    /// Sets a variable of the process as it is, such as `AWS_ACCESS_KEY_ID`.
    #[must_use]
    pub fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// What is set for the process beside where it listens.
    pub fn variables(&self) -> &[(String, String)] {
        &self.settings
    }

    /// Its data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.join("cloud")
    }

    /// Starts a cloud here; from the first start on, the ports stay the same.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(&mut self, failpoints: &str) -> Cloud {
        let mut process = self.launch(failpoints);
        let mut announced = None;
        let begun = std::time::Instant::now();
        while announced.is_none() {
            announced = serde_json::from_str::<serde_json::Value>(&process.out()).ok();
            if let Some(status) = process.ended() {
                panic!("the cloud ended at start-up ({status}):\n{}", process.log_end());
            }
            assert!(begun.elapsed() < PATIENCE, "the cloud does not come up:\n{}", process.log_end());
            std::thread::sleep(Duration::from_millis(10));
        }
        self.remember(process, &announced.expect("the loop ends with one"))
    }

    /// Starts the process without waiting for it to serve: with crash points it may never.
    pub fn launch(&self, failpoints: &str) -> Process {
        let data = self.data();
        let mut env: Vec<(&str, &str)> = vec![
            ("REMUDA__DOOR__LISTEN", &self.tls_door),
            ("REMUDA__DOOR__PLAIN_LISTEN", &self.door),
            ("REMUDA__ENROLMENT__LISTEN", &self.enrolment),
            ("REMUDA__DOOR__IDENTITY", "trust-loopback"),
            ("REMUDA__CONSOLE__LISTEN", &self.console),
            ("FAILPOINTS", failpoints),
        ];
        env.extend(self.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())));
        let data = data.to_string_lossy().into_owned();
        Process::start("remuda", &["serve", "--json", "--data", &data], &env, &self.folder.join("logs"))
    }

    fn remember(&mut self, process: Process, announced: &serde_json::Value) -> Cloud {
        let text = |key: &str| announced[key].as_str().unwrap_or_default().to_owned();
        let console = text("console").trim_start_matches("http://").trim_start_matches("https://").to_owned();
        let enrolment = text("enrolment");
        // A cloud behind a broker has no door of its own.
        if let Some(door) = announced["plain_door"].as_str() {
            self.door = door.to_owned();
            self.tls_door = text("door");
        }
        self.enrolment = enrolment.trim_start_matches("https://").to_owned();
        self.console.clone_from(&console);
        let (door, tls_door) = (text("plain_door"), text("door"));
        Cloud { process, door, tls_door, enrolment, console, token: text("token") }
    }
}

impl Cloud {
    /// GETs a path of the console; answers status and body.
    pub fn get(&self, path: &str) -> Option<(u16, String)> {
        let mut stream = TcpStream::connect(&self.console).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).ok()?;
        let Self { console, token, .. } = self;
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {console}\r\nAuthorization: Bearer {token}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).ok()?;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n")?;
        let status = head.split_whitespace().nth(1)?.parse().ok()?;
        Some((status, body.to_owned()))
    }

    /// The sum of a metric over all its labels that contain `label`; 0 when it is not there.
    pub fn metric(&self, name: &str, label: &str) -> f64 {
        let Some((_, text)) = self.get("/metrics") else { return 0.0 };
        let lines = text.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])) && line.contains(label)
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}
