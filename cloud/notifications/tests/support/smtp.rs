//! A real SMTP server of another language, for tests.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::Value;

/// The SMTP server; ends with its standard input.
pub struct Smtp {
    child: Child,
    lines: BufReader<std::process::ChildStdout>,
    pub port: u16,
}

impl Smtp {
    /// Nothing when Python or aiosmtpd is not there.
    pub fn start(arguments: &[PathBuf]) -> Option<Self> {
        // Tests of other crates read this file too, all two folders deep.
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let python = root.join("target/venv/bin/python");
        let known = Command::new(&python).args(["-c", "import aiosmtpd"]).output();
        if !known.is_ok_and(|out| out.status.success()) {
            eprintln!("skipped: no Python environment with aiosmtpd; `cargo xtask install` makes it");
            return None;
        }
        let mut child = Command::new(&python)
            .arg(root.join("cloud/notifications/tests/smtp_server.py"))
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python runs");
        let mut lines = BufReader::new(child.stdout.take().expect("its output"));
        let port = read(&mut lines)["port"].as_u64().expect("a port");
        Some(Self { child, lines, port: port.try_into().expect("a port") })
    }

    /// The next mail that comes.
    pub fn mail(&mut self) -> Value {
        read(&mut self.lines)
    }
}

impl Drop for Smtp {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

fn read(lines: &mut impl BufRead) -> Value {
    let mut line = String::new();
    lines.read_line(&mut line).expect("a line");
    serde_json::from_str(&line).unwrap_or_else(|e| panic!("{line:?}: {e}"))
}
