//! External brokers in processes of their own.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::process::{Process, wait_until, workspace_root};

/// Which broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrokerKind {
    /// Eclipse Mosquitto.
    Mosquitto,
    /// NATS with MQTT.
    Nats,
    /// rumqttd, as `tests/baseline` runs it.
    Rumqttd,
}

/// A broker that can be killed and started again in its place.
#[derive(Debug)]
pub struct Broker {
    program: PathBuf,
    args: Vec<String>,
    folder: PathBuf,
    port: u16,
    process: Option<Process>,
}

impl Broker {
    /// A broker on a free port of this machine where everybody is who they say, and may do everything.
    pub fn open_to_all(kind: BrokerKind, folder: &Path) -> Self {
        let port = free_port();
        match kind {
            BrokerKind::Mosquitto => Self::mosquitto(folder, port, &mosquitto_plain(port, "")),
            BrokerKind::Nats => {
                let store = folder.join("jetstream");
                let config = format!(
                    "server_name: test\nlisten: \"127.0.0.1:{}\"\nmax_payload: 131072\njetstream {{ store_dir: \"{}\" }}\nmqtt {{ listen: \"127.0.0.1:{port}\" }}\n",
                    free_port(),
                    store.display()
                );
                Self::nats(folder, port, &config)
            }
            BrokerKind::Rumqttd => {
                let program = rumqttd().expect("remuda-baseline; see rumqttd()");
                Self { program, args: vec![port.to_string()], folder: folder.into(), port, process: None }
            }
        }
        .started()
    }

    /// A Mosquitto of this machine with these settings besides.
    pub fn mosquitto_with(folder: &Path, settings: &str) -> Self {
        let port = free_port();
        Self::mosquitto(folder, port, &mosquitto_plain(port, settings)).started()
    }

    /// A Mosquitto as documented in `config/brokers`, with the files of its TLS in `tls`.
    ///
    /// # Panics
    /// When the documented files are not what they were.
    pub fn mosquitto_as_documented(folder: &Path, tls: &Path) -> Self {
        let documented = workspace_root().join("config/brokers");
        fs::copy(documented.join("mosquitto.acl"), tls.join("mosquitto.acl")).expect("copied");
        let port = free_port();
        let text = fs::read_to_string(documented.join("mosquitto.conf")).expect("read");
        let config = changed(&text, "listener 8883", &format!("listener {port} 127.0.0.1"));
        let config = changed(&config, "/etc/mosquitto/remuda", &tls.display().to_string());
        Self::mosquitto(folder, port, &config).started()
    }

    /// A NATS server as documented in `config/brokers`, but for its TLS.
    ///
    /// # Panics
    /// When the documented file is not what it was.
    pub fn nats_as_documented(folder: &Path, passwords: &[(&str, &str)]) -> Self {
        let port = free_port();
        let text =
            fs::read_to_string(workspace_root().join("config/brokers/nats-server.conf")).expect("read");
        let text = changed(&text, "0.0.0.0:8883", &format!("127.0.0.1:{port}"));
        let text = changed(&text, "127.0.0.1:4222", &format!("127.0.0.1:{}", free_port()));
        let text = changed(&text, "/var/lib/nats/jetstream", &folder.join("jetstream").display().to_string());
        let (head, rest) = text.split_once("  tls {").expect("a part about TLS");
        let (_, tail) = rest.split_once("  }\n").expect("its end");
        let mut text = format!("{head}{tail}");
        for (variable, password) in passwords {
            text = changed(&text, &format!("\"{variable}\""), &format!("\"{password}\""));
        }
        Self::nats(folder, port, &text).started()
    }

    fn mosquitto(folder: &Path, port: u16, config: &str) -> Self {
        Self::configured("mosquitto", "mosquitto.conf", folder, port, config)
    }

    fn nats(folder: &Path, port: u16, config: &str) -> Self {
        Self::configured("nats-server", "nats-server.conf", folder, port, config)
    }

    fn configured(program: &str, file: &str, folder: &Path, port: u16, config: &str) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let file = folder.join(file);
        fs::write(&file, config).expect("written");
        let args = vec!["-c".to_owned(), file.display().to_string()];
        Self { program: installed(program), args, folder: folder.into(), port, process: None }
    }

    fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts it, or starts it again in the same place.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn start(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        let mut process = Process::start_program(&self.program, &args, &[], &self.folder.join("logs"));
        let address = self.address();
        wait_until("the broker listens", || {
            assert!(process.ended().is_none(), "the broker ended at start-up:\n{}", process.log_end());
            std::net::TcpStream::connect(&address).is_ok()
        });
        self.process = Some(process);
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.kill();
        }
    }

    /// Its process.
    pub fn process(&self) -> Option<&Process> {
        self.process.as_ref()
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

/// rumqttd, if it was built: `cargo xtask test` builds it beside the workspace, since it brings two hundred crates.
pub fn rumqttd() -> Option<PathBuf> {
    let target = workspace_root().join("target/baseline");
    let built = ["debug", "release"].map(|profile| target.join(profile).join("remuda-baseline"));
    let found = built.into_iter().find(|path| path.is_file());
    let required = std::env::var("REMUDA_BASELINE_TEST").is_ok_and(|value| value == "required");
    assert!(found.is_some() || !required, "remuda-baseline was not built in tests/baseline");
    if found.is_none() {
        eprintln!("skipped: rumqttd is not built; cargo xtask test builds it");
    }
    found
}

fn mosquitto_plain(port: u16, settings: &str) -> String {
    // A user of its own would not find the temporary folder.
    format!(
        "listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\nuser root\n{settings}\n"
    )
}

/// Debian puts daemons where only root's path looks.
fn installed(program: &str) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders = std::env::split_paths(&path).chain(["/usr/sbin".into()]);
    folders
        .find_map(|folder| Some(folder.join(program)).filter(|path| path.is_file()))
        .unwrap_or_else(|| panic!("{program} is not installed; cargo xtask install installs it"))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

fn changed(text: &str, what: &str, to: &str) -> String {
    assert!(text.contains(what), "{what} is no longer in the documented file");
    text.replace(what, to)
}
