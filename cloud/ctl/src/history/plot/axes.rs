//! Round numbers and round times beside a plot.

use chrono::DateTime;
use remuda_exports::number;

/// Lines between two labels of values.
const LINES_PER_LABEL: usize = 3;

/// An axis of values.
pub(super) struct Values {
    pub low: f64,
    pub high: f64,
    /// Values and how they are written, ascending.
    pub ticks: Vec<(f64, String)>,
}

/// An axis from one round value to another that holds both.
pub(super) fn values(low: f64, high: f64, height: usize) -> Values {
    // What is constant lies in the middle.
    let spread = if high > low { high - low } else { low.abs().max(1.0) * 0.1 };
    let (low, high) = if high > low { (low, high) } else { (low - spread / 2.0, high + spread / 2.0) };
    let labels = (height / LINES_PER_LABEL).max(1);
    let step = round_step(spread / labels as f64);
    let (first, last) = ((low / step).floor() as i64, (high / step).ceil() as i64);
    let decimals = (-step.log10().floor()).clamp(0.0, 12.0) as u8;
    let tick = |n: i64| {
        let value = n as f64 * step;
        (value, number(value, Some(decimals)).unwrap_or_default())
    };
    Values { low: first as f64 * step, high: last as f64 * step, ticks: (first..=last).map(tick).collect() }
}

/// The smallest of 1, 2, 5, 10, 20, 50, ... that is not below.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= least * 0.999_999);
    times.unwrap_or(10.0) * power
}

const MS: i64 = 1_000_000;
const S: i64 = 1_000 * MS;
const M: i64 = 60 * S;
const H: i64 = 60 * M;
const D: i64 = 24 * H;

/// Steps between two labels of time, ns.
const STEPS: &[i64] = &[
    MS,
    2 * MS,
    5 * MS,
    10 * MS,
    20 * MS,
    50 * MS,
    100 * MS,
    200 * MS,
    500 * MS,
    S,
    2 * S,
    5 * S,
    10 * S,
    15 * S,
    30 * S,
    M,
    2 * M,
    5 * M,
    10 * M,
    15 * M,
    30 * M,
    H,
    2 * H,
    3 * H,
    6 * H,
    12 * H,
    D,
    2 * D,
    7 * D,
    14 * D,
    30 * D,
    91 * D,
    365 * D,
];

/// A line with times under their places, in UTC. The first says the date.
pub(super) fn times(from_ns: i64, to_ns: i64, columns: usize) -> String {
    let span = to_ns.saturating_sub(from_ns).max(1);
    let form = |step: i64| match step {
        step if step < S => "%H:%M:%S%.3f",
        step if step < M => "%H:%M:%S",
        step if step < D => "%H:%M",
        _ => "%Y-%m-%d",
    };
    let text = |ns: i64, form: &str| DateTime::from_timestamp_nanos(ns).format(form).to_string();
    // So many labels that two blanks are left between them.
    let fits = |step: &&i64| (span / **step) as usize * (text(0, form(**step)).len() + 2) <= columns;
    let step = STEPS.iter().find(fits).copied().unwrap_or(365 * D);
    let mut line = String::new();
    let begin = text(from_ns, "%Y-%m-%d %H:%M UTC");
    if step < D {
        line.push_str(&begin);
    }
    let mut tick = from_ns - from_ns.rem_euclid(step);
    while tick <= to_ns {
        let place = (tick.saturating_sub(from_ns) as f64 / span as f64 * (columns - 1) as f64).round();
        let label = text(tick, form(step));
        // Its middle stands under its time, but at the ends.
        let start = (place as usize).saturating_sub(label.len() / 2).min(columns.saturating_sub(label.len()));
        let free = if line.is_empty() { 0 } else { line.len() + 2 };
        if tick >= from_ns && start >= free {
            line.push_str(&" ".repeat(start - line.len()));
            line.push_str(&label);
        }
        let Some(next) = tick.checked_add(step) else { break };
        tick = next;
    }
    line
}
