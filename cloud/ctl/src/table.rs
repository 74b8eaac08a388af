//! Columns that are as wide as their widest cell.

use std::io::{self, Write};

/// Colours of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tint {
    Plain,
    Good,
    Warn,
    Faint,
}

impl Tint {
    fn codes(self) -> (&'static str, &'static str) {
        match self {
            Self::Plain => ("", ""),
            Self::Good => ("\x1b[32m", "\x1b[0m"),
            Self::Warn => ("\x1b[33m", "\x1b[0m"),
            Self::Faint => ("\x1b[2m", "\x1b[0m"),
        }
    }
}

/// A cell.
#[derive(Debug, Clone)]
pub(crate) struct Cell {
    pub text: String,
    pub tint: Tint,
    pub right: bool,
}

pub(crate) fn cell(text: impl Into<String>) -> Cell {
    Cell { text: printable(&text.into()), tint: Tint::Plain, right: false }
}

impl Cell {
    pub fn right(mut self) -> Self {
        self.right = true;
        self
    }

    pub fn tint(mut self, tint: Tint) -> Self {
        self.tint = tint;
        self
    }
}

/// What comes from elsewhere must not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// Writes rows under their heads. `widths` keeps columns steady over several calls.
pub(crate) fn write(
    out: &mut dyn Write,
    heads: Option<&[&str]>,
    rows: &[Vec<Cell>],
    widths: &mut Vec<usize>,
    colours: bool,
) -> io::Result<()> {
    let heads: Option<Vec<Cell>> = heads.map(|heads| heads.iter().map(|h| cell(*h)).collect());
    for row in heads.iter().chain(rows) {
        widths.resize(widths.len().max(row.len()), 0);
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.text.chars().count());
        }
    }
    // A head stands where its column's values do.
    let heads = heads.map(|heads| {
        let alike = |(n, head): (usize, Cell)| match rows.first().and_then(|row| row.get(n)) {
            Some(below) if below.right => head.right(),
            _ => head,
        };
        heads.into_iter().enumerate().map(alike).collect::<Vec<_>>()
    });
    for row in heads.iter().chain(rows) {
        let mut line = String::new();
        for (n, (cell, width)) in row.iter().zip(widths.iter()).enumerate() {
            let gap = " ".repeat(width.saturating_sub(cell.text.chars().count()));
            let (on, off) = if colours { cell.tint.codes() } else { ("", "") };
            if n > 0 {
                line.push_str("  ");
            }
            if cell.right {
                line.push_str(&gap);
            }
            line.push_str(on);
            line.push_str(&cell.text);
            line.push_str(off);
            if !cell.right {
                line.push_str(&gap);
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(colours: bool) -> String {
        let rows = [
            vec![cell("V1").tint(Tint::Good), cell("5").right()],
            vec![cell("V\x1b[2J2000"), cell("1234").right()],
        ];
        let mut out = Vec::new();
        write(&mut out, Some(&["VEHICLE", "SPEED"]), &rows, &mut Vec::new(), colours).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn columns_line_up_and_control_characters_do_not_get_through() {
        let expected = "VEHICLE    SPEED\nV1             5\nV\u{fffd}[2J2000   1234\n";
        assert_eq!(written(false), expected);
    }

    #[test]
    fn colours_do_not_count_as_width() {
        assert_eq!(written(true).replace("\x1b[32m", "").replace("\x1b[0m", ""), written(false));
    }
}
