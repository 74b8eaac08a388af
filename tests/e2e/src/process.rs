//! One child process.

use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// How long a condition may take before a test gives up. Generous: the machine may be busy.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(25);

/// The repository's root.
pub fn workspace_root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Real input beside the repository, when it is there; otherwise prints why the test is skipped.
pub fn shared_data(below: &str) -> Option<PathBuf> {
    let path = workspace_root().join("../shared/data").join(below);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: the real input ../shared/data/{below} is not here");
    None
}

/// A binary of this workspace, of the same profile as the test.
///
/// # Panics
/// When it was not built.
pub fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a test has a path");
    let profile = test.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join(name);
    assert!(path.is_file(), "{} is not there; build it with: cargo xtask test tests", path.display());
    path
}

/// An example of this workspace, of the same profile as the test.
///
/// # Panics
/// When it was not built.
pub fn example(name: &str) -> PathBuf {
    let here = std::env::current_exe().expect("a test has a path");
    let profile = here.ancestors().nth(2).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(name);
    assert!(path.is_file(), "{} is not there; build it with: cargo xtask test tests", path.display());
    path
}

/// Waits for a condition; `what` is told when it does not come.
///
/// # Panics
/// When it does not come within [`PATIENCE`].
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < PATIENCE, "gave up waiting until {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    out: PathBuf,
}

impl Process {
    /// Starts a binary of this workspace; its output goes to files in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, args: &[&str], env: &[(&str, &str)], folder: &Path) -> Self {
        Self::start_program(&binary(name), args, env, folder)
    }

    /// As [`Process::start`], and what [`Process::say`] says comes in by its standard input.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_fed(name: &str, args: &[&str], folder: &Path) -> Self {
        Self::launch(&binary(name), args, &[], folder, Stdio::piped())
    }

    /// Starts any program; its output goes to files in `folder`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start_program(program: &Path, args: &[&str], env: &[(&str, &str)], folder: &Path) -> Self {
        Self::launch(program, args, env, folder, Stdio::null())
    }

    fn launch(program: &Path, args: &[&str], env: &[(&str, &str)], folder: &Path, input: Stdio) -> Self {
        std::fs::create_dir_all(folder).expect("a folder for logs");
        let name = program.file_name().and_then(|n| n.to_str()).unwrap_or("program");
        let unique =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let log = folder.join(format!("{name}-{unique}.log"));
        let out = folder.join(format!("{name}-{unique}.out"));
        let child = Command::new(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(input)
            .stdout(File::create(&out).expect("a file for output"))
            .stderr(File::create(&log).expect("a file for logs"))
            .spawn()
            .expect("the binary starts");
        Self { name: name.to_owned(), child, log, out }
    }

    /// Writes a line to its standard input.
    ///
    /// # Panics
    /// When it was not started with [`Process::start_fed`], or does not listen.
    pub fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().expect("it is fed");
        input.write_all(format!("{line}\n").as_bytes()).expect("it listens");
    }

    /// What it wrote to standard error so far.
    pub fn log(&self) -> String {
        read(&self.log)
    }

    /// What it wrote to standard output so far.
    pub fn out(&self) -> String {
        read(&self.out)
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has ended.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// SIGKILL, and waits for the end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// SIGTERM.
    pub fn terminate(&self) {
        self.signal(libc::SIGTERM);
    }

    /// SIGSTOP: it stands still and its connections stay open.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    #[allow(unsafe_code)]
    fn signal(&self, signal: libc::c_int) {
        let id = libc::pid_t::try_from(self.child.id()).unwrap_or(0);
        if id > 0 {
            // SAFETY: the child was not waited for yet, so the id is its own.
            unsafe { libc::kill(id, signal) };
        }
    }

    /// Waits for the end and answers how it ended.
    ///
    /// # Panics
    /// When it does not end.
    pub fn wait(&mut self) -> ExitStatus {
        let mut status = None;
        let begun = Instant::now();
        while status.is_none() {
            status = self.ended();
            if begun.elapsed() >= PATIENCE {
                panic!("{} does not end; its log:\n{}", self.name, self.log_end());
            }
            std::thread::sleep(LOOK_EVERY);
        }
        status.expect("the loop ends with one")
    }

    /// SIGTERM, then waits; answers whether it ended well.
    pub fn stop(&mut self) -> bool {
        self.terminate();
        self.wait().success()
    }

    /// The last part of its log, for messages.
    pub fn log_end(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read(path: &Path) -> String {
    let mut text = String::new();
    if let Ok(mut file) = File::open(path) {
        let _ = file.read_to_string(&mut text);
    }
    text
}
