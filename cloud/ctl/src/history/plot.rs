//! Samples as lines in the terminal.

mod axes;
mod canvas;

use std::collections::BTreeMap;
use std::io::{self, Write};

use remuda_api::telemetry::v1::{AsOf, HistoryEnd, HistoryKind};

use super::QueryArgs;
use super::columns::{Batch, Column};
use super::query::{Question, Sink};
use crate::error::CtlError;
use canvas::Canvas;

/// Lines that can still be told apart, and whose samples can be held.
const LINES_MAX: usize = 24;
/// A silence that is so many times longer than the usual step, and so many times shorter than the whole, breaks a line.
const GAP_STEPS: i64 = 10;
const GAP_SHARE: i64 = 20;
/// Where no terminal says how wide it is.
const WIDTH: u16 = 100;
/// ANSI colours of lines, in turn: cyan, yellow, green, magenta, blue, red.
const COLOURS: [u8; 6] = [36, 33, 32, 35, 34, 31];

/// Samples of one signal of one vehicle.
#[derive(Debug, Default, Clone, PartialEq)]
struct Line {
    vehicle: String,
    column: usize,
    points: Vec<(i64, f64)>,
}

/// Collects samples and draws them.
pub(crate) struct Plotter {
    from_ns: i64,
    to_ns: i64,
    width: usize,
    height: usize,
    colours: bool,
    ascii: bool,
    columns: Vec<Column>,
    /// By vehicle and column.
    lines: BTreeMap<(String, usize), Vec<(i64, f64)>>,
}

impl Plotter {
    pub fn new(question: &Question, args: &QueryArgs, colours: bool) -> Self {
        let terminal = terminal_size::terminal_size().map(|(width, _)| width.0);
        let said = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
        let width = terminal.or(said).unwrap_or(WIDTH).clamp(40, 400);
        Self {
            from_ns: question.scope.from_ns,
            to_ns: question.scope.to_ns,
            width: usize::from(width),
            height: usize::from(args.height),
            colours,
            ascii: args.ascii,
            columns: Vec::new(),
            lines: BTreeMap::new(),
        }
    }

    /// Samples of a line that are worth asking for: two for each dot.
    pub fn points(&self) -> i32 {
        i32::try_from(self.width * 4).unwrap_or(i32::MAX)
    }

    /// Draws; whether there was anything to draw.
    pub fn draw(&self, out: &mut dyn Write) -> Result<bool, CtlError> {
        let lines: Vec<Line> = self
            .lines
            .iter()
            .map(|((vehicle, column), points)| Line {
                vehicle: vehicle.clone(),
                column: *column,
                points: points.clone(),
            })
            .collect();
        let panels = self.panels(&lines);
        for (n, panel) in panels.iter().enumerate() {
            if n > 0 {
                writeln!(out)?;
            }
            self.panel(out, panel)?;
        }
        Ok(!panels.is_empty())
    }

    /// Lines of one unit share a panel, but only where colours tell them apart.
    fn panels<'a>(&self, lines: &'a [Line]) -> Vec<Vec<&'a Line>> {
        let mut panels: Vec<Vec<&Line>> = Vec::new();
        let mut ordered: Vec<&Line> = lines.iter().collect();
        ordered.sort_by_key(|line| line.column);
        let alike = |a: &Line, b: &Line| {
            let (one, other) = (&self.columns[a.column], &self.columns[b.column]);
            a.column == b.column || (one.signal.unit == other.signal.unit && !one.signal.unit.is_empty())
        };
        for line in ordered {
            let home = panels.iter_mut().find(|panel| {
                self.colours
                    && panel.len() < COLOURS.len()
                    && panel.first().is_some_and(|first| alike(first, line))
            });
            match home {
                Some(panel) => panel.push(line),
                None => panels.push(vec![line]),
            }
        }
        panels
    }

    fn label(&self, line: &Line) -> String {
        format!("{} {}", line.vehicle, self.columns[line.column].title())
    }

    fn panel(&self, out: &mut dyn Write, lines: &[&Line]) -> io::Result<()> {
        let values = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value));
        let (low, high) = values.fold((f64::MAX, f64::MIN), |(low, high), v| (low.min(v), high.max(v)));
        let y = axes::values(low, high, self.height);
        let margin = y.ticks.iter().map(|(_, label)| label.len()).max().unwrap_or_default();
        let columns = self.width.saturating_sub(margin + 2).max(10);
        let mut canvas = Canvas::new(columns, self.height, self.ascii);
        for (n, line) in lines.iter().enumerate() {
            let steps = self.columns[line.column].kind != HistoryKind::Number;
            self.trace(&mut canvas, line, (y.low, y.high), n, steps);
        }
        for (n, line) in lines.iter().enumerate() {
            let mark = if self.ascii { "*" } else { "━" };
            let label = printable(&self.label(line));
            if self.colours {
                writeln!(
                    out,
                    "\x1b[{}m{mark}\x1b[0m {label}{}",
                    COLOURS[n % COLOURS.len()],
                    self.names(line)
                )?;
            } else {
                writeln!(out, "{mark} {label}{}", self.names(line))?;
            }
        }
        let (bar, corner, flat) = if self.ascii { ('|', '+', '-') } else { ('┤', '└', '─') };
        for row in 0..self.height {
            let label = y.ticks.iter().find(|(value, _)| canvas.row_of(*value, y.low, y.high) == row);
            let label = label.map_or("", |(_, label)| label.as_str());
            let body = canvas.row(row, self.colours.then_some(&COLOURS));
            writeln!(out, "{label:>margin$} {bar}{}", body.trim_end())?;
        }
        writeln!(out, "{:margin$} {corner}{}", "", String::from(flat).repeat(columns))?;
        writeln!(out, "{:margin$}  {}", "", axes::times(self.from_ns, self.to_ns, columns))
    }

    /// What the numbers of an enumeration mean.
    fn names(&self, line: &Line) -> String {
        let column = &self.columns[line.column];
        if column.kind != HistoryKind::Enumeration {
            return String::new();
        }
        let mut seen: Vec<i64> = line.points.iter().map(|(_, value)| *value as i64).collect();
        seen.sort_unstable();
        seen.dedup();
        let named: Vec<String> = seen.iter().map(|n| format!("{n} = {}", column.text(*n as f64))).collect();
        printable(&format!(": {}", named.join(", ")))
    }

    fn trace(&self, canvas: &mut Canvas, line: &Line, (low, high): (f64, f64), colour: usize, steps: bool) {
        let gap_ns = gap_ns(&line.points, self.to_ns.saturating_sub(self.from_ns));
        let span = self.to_ns.saturating_sub(self.from_ns).max(1) as f64;
        let at = |(time_ns, value): (i64, f64)| {
            (time_ns.saturating_sub(self.from_ns) as f64 / span, (value - low) / (high - low))
        };
        let mut last: Option<(i64, f64)> = None;
        for point in line.points.iter().copied() {
            match last.filter(|before| point.0.saturating_sub(before.0) <= gap_ns) {
                // What holds until it changes is no slope.
                Some(before) if steps => {
                    canvas.line(at(before), at((point.0, before.1)), colour);
                    canvas.line(at((point.0, before.1)), at(point), colour);
                }
                Some(before) => canvas.line(at(before), at(point), colour),
                None => canvas.line(at(point), at(point), colour),
            }
            last = Some(point);
        }
    }
}

/// What comes from elsewhere must not move a terminal's cursor.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// The silence that breaks a line.
fn gap_ns(points: &[(i64, f64)], span_ns: i64) -> i64 {
    let mut steps: Vec<i64> = points.windows(2).map(|pair| pair[1].0.saturating_sub(pair[0].0)).collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len().saturating_sub(1) / 2).copied().unwrap_or_default();
    usual.saturating_mul(GAP_STEPS).max(span_ns / GAP_SHARE)
}

impl Sink for Plotter {
    fn begin(&mut self, columns: &[Column], _: Option<&AsOf>) -> Result<(), CtlError> {
        self.columns = columns.to_vec();
        Ok(())
    }

    fn batch(&mut self, _: &[Column], batch: &Batch) -> Result<(), CtlError> {
        for (column, cells) in batch.values.iter().enumerate() {
            let present = batch.times.iter().zip(cells).filter_map(|(time, cell)| Some((*time, (*cell)?)));
            let mut present = present.filter(|(_, value)| value.is_finite()).peekable();
            if present.peek().is_none() {
                continue;
            }
            self.lines.entry((batch.vehicle.clone(), column)).or_default().extend(present);
            if self.lines.len() > LINES_MAX {
                return Err(CtlError::Usage(
                    "a plot has at most 24 lines, one for each signal of each vehicle; ask for fewer",
                ));
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &HistoryEnd) -> Result<(), CtlError> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
