//! Questions about history: what a request must say, and its page tokens.

use std::sync::Arc;

use prost_types::Timestamp;
use remuda_api::telemetry::v1 as api;
use remuda_contracts::fleet::FleetView;
use remuda_contracts::history::{HistoryMode, HistoryPlace};
use remuda_model::signal::{self, SignalId};
use remuda_model::{VehicleId, shard};

use crate::limits;
use crate::refusal::Refusal;
use crate::scope::{Scope, field};
use crate::sight::{Sight, Wanted};
use crate::time::now_ms;

/// Vehicles by name or by filter.
pub(super) fn vehicles(
    scope: &Scope,
    view: &Arc<dyn FleetView>,
    names: &[String],
    filter: &str,
    sight: Sight,
) -> Result<Vec<VehicleId>, Refusal> {
    match (names.is_empty(), filter.trim().is_empty()) {
        (true, true) => Err(field("vehicles", "name vehicles here, or give a filter; `vehicle = *` are all")),
        (false, false) => Err(field("vehicles", "name vehicles here or give a filter, not both")),
        (false, true) if names.len() > limits::HISTORY_VEHICLES_NAMED_MAX => {
            let max = limits::HISTORY_VEHICLES_NAMED_MAX;
            Err(field("vehicles", format!("at most {max} are named; ask several times, or give a filter")))
        }
        (false, true) => names.iter().map(|name| scope.vehicle(name, "vehicles")).collect(),
        (true, false) => {
            let filter = Wanted::parse(filter, sight)?;
            let (now_ms, max) = (now_ms(), limits::HISTORY_VEHICLES_MAX);
            let found =
                view.list(&scope.organization, None, max + 1, &|vehicle| filter.matches(vehicle, now_ms));
            if found.len() > max {
                return Err(field(
                    "filter",
                    format!("more than {max} vehicles match; ask for fewer at once"),
                ));
            }
            Ok(found.iter().map(|line| line.vehicle).collect())
        }
    }
}

/// Signals by path, each once.
pub(super) fn signals(paths: &[String]) -> Result<Vec<SignalId>, Refusal> {
    let max = limits::HISTORY_SIGNALS_MAX;
    if paths.is_empty() || paths.len() > max {
        return Err(field("signals", format!("1 to {max} are wanted, and {} were given", paths.len())));
    }
    let mut found: Vec<SignalId> = Vec::with_capacity(paths.len());
    for path in paths {
        let unknown = || {
            let hint = "VSS paths such as `Vehicle.Speed`, or `signal-N` for a customer's own number N";
            field("signals", format!("there is no signal `{path}`; {hint}"))
        };
        let id = signal_of(path).ok_or_else(unknown)?;
        if found.contains(&id) {
            return Err(field("signals", format!("`{path}` is named twice")));
        }
        found.push(id);
    }
    Ok(found)
}

fn signal_of(path: &str) -> Option<SignalId> {
    if let Some(known) = signal::by_path(path) {
        return Some(known.id);
    }
    let id = SignalId(path.strip_prefix("signal-")?.parse().ok()?);
    // A built-in one has its path as its name.
    signal::by_id(id).is_none().then_some(id)
}

/// A time, ns since 1970 UTC.
pub(super) fn instant(at: Option<Timestamp>, of: &'static str) -> Result<i64, Refusal> {
    let at = at.ok_or_else(|| field(of, "it is required"))?;
    let wrong = || field(of, "it is not a time between the years 1678 and 2262");
    let nanos =
        if (0..1_000_000_000).contains(&at.nanos) { i64::from(at.nanos) } else { return Err(wrong()) };
    at.seconds.checked_mul(1_000_000_000).and_then(|ns| ns.checked_add(nanos)).ok_or_else(wrong)
}

/// From when, and until before when, ns since 1970 UTC.
pub(super) fn range(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<(i64, i64), Refusal> {
    let (from_ns, until_ns) = (instant(start, "start_time")?, instant(end, "end_time")?);
    if from_ns >= until_ns {
        return Err(field("end_time", "it must lie after start_time"));
    }
    Ok((from_ns, until_ns))
}

/// What to make of the samples.
pub(super) fn mode(asked: Option<&api::query_history_request::Mode>) -> Result<HistoryMode, Refusal> {
    use api::query_history_request::Mode;
    match asked {
        None | Some(Mode::Raw(_)) => Ok(HistoryMode::Raw),
        Some(Mode::Buckets(buckets)) => {
            let max = limits::HISTORY_BUCKET_MS_MAX;
            if !(1..=max).contains(&buckets.bucket_ms) {
                return Err(field("buckets.bucket_ms", format!("it is from 1 to {max}")));
            }
            Ok(HistoryMode::Buckets(buckets.bucket_ms * 1_000_000))
        }
        Some(Mode::Plot(plot)) => {
            let max = limits::HISTORY_PLOT_POINTS_MAX;
            match usize::try_from(plot.points) {
                Ok(points) if (2..=max).contains(&points) => Ok(HistoryMode::Plot(points)),
                _ => Err(field("plot.points", format!("it is from 2 to {max}"))),
            }
        }
    }
}

/// Rows at most; none for 0.
pub(super) fn limit(limit: i64) -> Result<Option<u64>, Refusal> {
    let limit = u64::try_from(limit).map_err(|_| field("limit", "it is below 0"))?;
    Ok((limit > 0).then_some(limit))
}

/// What a page token is bound to: all of the question but the page.
pub(super) fn fingerprint(parts: &[&str], times: (i64, i64)) -> u64 {
    shard::fnv1a_64(format!("{}\n{}\n{}", parts.join("\n"), times.0, times.1).as_bytes())
}

/// Where raw samples go on.
pub(super) fn write_place(place: &HistoryPlace, print: u64) -> String {
    format!("h1.{print:016x}.{}.{}.{}", place.time_ns, place.rows, place.vehicle)
}

/// Reads what [`write_place`] wrote; none for an empty token.
pub(super) fn read_place(token: &str, print: u64) -> Result<Option<HistoryPlace>, Refusal> {
    let Some([time, rows, vehicle]) = read_token(token, "h1", print)? else { return Ok(None) };
    let place = || {
        let vehicle = VehicleId::new(vehicle).ok()?;
        Some(HistoryPlace { vehicle, time_ns: time.parse().ok()?, rows: rows.parse().ok()? })
    };
    place().map(Some).ok_or_else(foreign)
}

/// Where journeys go on: after this one.
pub(super) fn write_journey(vehicle: &VehicleId, start_ns: i64, print: u64) -> String {
    format!("j1.{print:016x}.{start_ns}.0.{vehicle}")
}

/// Reads what [`write_journey`] wrote; none for an empty token.
pub(super) fn read_journey(token: &str, print: u64) -> Result<Option<(VehicleId, i64)>, Refusal> {
    let Some([start, _, vehicle]) = read_token(token, "j1", print)? else { return Ok(None) };
    let place = || Some((VehicleId::new(vehicle).ok()?, start.parse().ok()?));
    place().map(Some).ok_or_else(foreign)
}

fn foreign() -> Refusal {
    field("page_token", "this is not a token that this method gave out")
}

fn read_token<'t>(token: &'t str, kind: &str, print: u64) -> Result<Option<[&'t str; 3]>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let parts: Vec<&str> = token.splitn(5, '.').collect();
    let [is, of, first, second, third] = parts.as_slice() else { return Err(foreign()) };
    if *is != kind {
        return Err(foreign());
    }
    if u64::from_str_radix(of, 16) != Ok(print) {
        return Err(field("page_token", "it was given out for another question"));
    }
    Ok(Some([first, second, third]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_bound_to_their_question() {
        let vehicle = VehicleId::new("V7").expect("an id");
        let place = HistoryPlace { vehicle, time_ns: -7, rows: 3 };
        let token = write_place(&place, 9);
        assert_eq!(read_place(&token, 9), Ok(Some(place)));
        assert_eq!(read_place("", 9), Ok(None));
        assert!(read_place(&token, 8).is_err() && read_journey(&token, 9).is_err());
        assert_eq!(read_journey(&write_journey(&vehicle, 5, 9), 9), Ok(Some((vehicle, 5))));
        for text in [
            "x",
            "h1",
            "h1.9",
            "h1.0000000000000009.1.2",
            "h1.0000000000000009.x.2.V",
            "h1.0000000000000009.1.2.",
        ] {
            assert!(read_place(text, 9).is_err(), "{text}");
        }
    }

    #[test]
    fn signals_have_one_name() {
        assert_eq!(signal_of("Vehicle.Speed"), Some(signal::SPEED));
        assert_eq!(signal_of("signal-32770"), Some(SignalId(32_770)));
        for text in ["signal-1", "signal-99999", "signal-", "Vehicle", ""] {
            assert_eq!(signal_of(text), None, "{text}");
        }
    }

    #[test]
    fn times_that_do_not_fit_are_refused() {
        let at = |seconds, nanos| instant(Some(Timestamp { seconds, nanos }), "start_time");
        assert_eq!(at(-1, 5), Ok(-999_999_995));
        assert!(at(i64::MAX, 0).is_err() && at(0, -1).is_err() && at(0, 1_000_000_000).is_err());
        assert!(instant(None, "start_time").is_err());
    }
}
