//! What happened, a line each.

use std::fmt::{self, Write};

/// The lines of a run, or only a digest of them.
#[derive(Debug)]
pub(crate) struct Trace {
    text: Option<String>,
    digest: u64,
    lines: u64,
    line: String,
}

impl Trace {
    /// Empty; keeps the text only when somebody wants to read it.
    pub fn new(keep: bool) -> Self {
        Self { text: keep.then(String::new), digest: 0xcbf2_9ce4_8422_2325, lines: 0, line: String::new() }
    }

    /// Adds a line.
    pub fn note(&mut self, now_ms: u64, what: fmt::Arguments<'_>) {
        self.line.clear();
        // A String takes what it is given.
        let _ = writeln!(self.line, "{:>4}.{:03} {what}", now_ms / 1_000, now_ms % 1_000);
        for byte in self.line.bytes() {
            self.digest = (self.digest ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if let Some(text) = &mut self.text {
            text.push_str(&self.line);
        }
    }

    /// FNV-1a of every line so far.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// Lines so far.
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// The lines, if they were kept.
    pub fn take_text(&mut self) -> String {
        self.text.take().unwrap_or_default()
    }
}
