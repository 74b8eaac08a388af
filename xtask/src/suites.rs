//! The workspace's test executables, run as many at a time as there are processors.
//!
//! `cargo test` runs one executable after another, and most of ours wait: for sockets, syncs, other processes. Each
//! one's output is shown whole when it has ended, so that two that run beside each other stay readable.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use std::{io, thread};

use serde_json::Value;

use crate::run::{Outcome, command, output, root, target};

/// An executable that takes longer hangs. The slowest takes a tenth of it, a full run's slowest two hours.
const HANGS_AFTER: Duration = Duration::from_hours(1);
const HANGS_AFTER_FULL: Duration = Duration::from_hours(4);

/// Packages whose tests take longest, so that they begin first and none is left alone at the end.
const LONG: &[&str] =
    &["tests/chaos", "tests/e2e", "cloud/business", "cloud/console", "cloud/node", "cloud/ctl"];

/// A test executable.
struct Suite {
    /// `package tests/name.rs`, as a reader looks for it.
    name: String,
    executable: PathBuf,
    /// Where its package is; tests run there.
    folder: PathBuf,
    /// Its place among [`LONG`].
    rank: usize,
}

/// Builds the executables with `build` (a `cargo test`) and runs them all to the end, `environment` set: one failure must
/// not hide another.
///
/// # Errors
/// When the build fails, or with the names of the executables that failed.
pub fn run_all(build: &mut Command, environment: &[(&str, &str)], full: bool) -> Outcome {
    let listed = output(build.args(["--no-run", "--message-format=json-render-diagnostics"]))?;
    let mut suites: Vec<Suite> = listed.lines().filter_map(suite).collect();
    suites.sort_by_key(|suite| suite.rank);
    let count = suites.len();
    let logs = target().join("test-output");
    fs::create_dir_all(&logs).map_err(|e| format!("cannot make {}: {e}", logs.display()))?;
    let waiting = Mutex::new(VecDeque::from(suites));
    let failed = Mutex::new(Vec::new());
    let at_once = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for worker in 0..at_once {
            let log = logs.join(format!("{worker}.txt"));
            let (waiting, failed) = (&waiting, &failed);
            scope.spawn(move || {
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(suite) = next else { return };
                    let begun = Instant::now();
                    let outcome =
                        suite.run(&log, environment, if full { HANGS_AFTER_FULL } else { HANGS_AFTER });
                    let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                    eprintln!("     Running {} ({:.0} s)", suite.name, begun.elapsed().as_secs_f64());
                    show(&log);
                    if let Err(error) = outcome {
                        eprintln!("{} failed: {error}", suite.name);
                        failed.push(suite.name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("{} of {count} failed: {}", failed.len(), failed.join(", ")))
    }
}

impl Suite {
    fn run(&self, log: &Path, environment: &[(&str, &str)], hangs_after: Duration) -> Result<(), String> {
        let start = || -> io::Result<Child> {
            let out = File::create(log)?;
            let mut suite = command(&self.executable);
            suite.current_dir(&self.folder).env("CARGO_MANIFEST_DIR", &self.folder);
            suite.envs(environment.iter().copied()).stderr(out.try_clone()?).stdout(Stdio::from(out)).spawn()
        };
        let mut child = start().map_err(|e| format!("it could not be started: {e}"))?;
        let begun = Instant::now();
        loop {
            match child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(status.to_string()),
                Ok(None) if begun.elapsed() > hangs_after => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("it did not end within {} s", hangs_after.as_secs()));
                }
                Ok(None) => thread::sleep(Duration::from_millis(50)),
                Err(e) => return Err(format!("it cannot be waited for: {e}")),
            }
        }
    }
}

/// The executable that a line of cargo's messages tells of.
fn suite(line: &str) -> Option<Suite> {
    let message: Value = serde_json::from_str(line).ok()?;
    if message["reason"] != "compiler-artifact" || message["profile"]["test"] != true {
        return None;
    }
    let executable = PathBuf::from(message["executable"].as_str()?);
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
    let source = Path::new(message["target"]["src_path"].as_str()?);
    let name = source.strip_prefix(root()).unwrap_or(source).display().to_string();
    let rank = LONG.iter().position(|long| folder.ends_with(long)).unwrap_or(LONG.len());
    Some(Suite { name, executable, folder, rank })
}

fn show(log: &Path) {
    let copied = File::open(log).and_then(|mut log| io::copy(&mut log, &mut io::stdout().lock()));
    if let Err(error) = copied {
        eprintln!("what it said cannot be shown: {error}");
    }
}
