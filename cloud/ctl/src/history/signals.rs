//! Signals as people type them.

use remuda_model::signal::{REGISTRY, by_path};
use tonic::Code;

use crate::error::CtlError;

/// So many names are suggested at most.
const SUGGESTED: usize = 3;

/// The whole path of what was typed: a path, or its end (`speed`, `StateOfCharge.Current`) when only one signal ends so. What
/// is in nobody's list here goes to the server, which may know more.
pub(crate) fn resolve(text: &str) -> Result<String, CtlError> {
    if by_path(text).is_some() {
        return Ok(text.to_owned());
    }
    let wanted = text.to_lowercase();
    let ends_so = |path: &str| {
        let path = path.to_lowercase();
        path.strip_suffix(&wanted).is_some_and(|before| before.is_empty() || before.ends_with('.'))
    };
    let found: Vec<&str> = REGISTRY.iter().map(|signal| signal.path).filter(|path| ends_so(path)).collect();
    match found.as_slice() {
        [one] => Ok((*one).to_owned()),
        [] => Ok(text.to_owned()),
        // `Vehicle.Speed` is what everybody means, though wheels have a speed too.
        several if several.iter().any(|path| path.matches('.').count() == 1) => Ok(several
            .iter()
            .min_by_key(|path| path.len())
            .map_or_else(|| text.to_owned(), |p| (*p).to_owned())),
        several => Err(CtlError::Signal(format!(
            "{text} may be {}; say more of the path",
            list(several.iter().take(2 * SUGGESTED).copied(), several.len())
        ))),
    }
}

fn list<'a>(names: impl Iterator<Item = &'a str>, all: usize) -> String {
    let names: Vec<&str> = names.collect();
    let more = all.saturating_sub(names.len());
    let names = names.join(", ");
    if more == 0 { names } else { format!("{names} or {more} others") }
}

/// Adds what may have been meant when the server does not know a signal.
pub(crate) fn explain(error: CtlError, asked: &[String]) -> CtlError {
    let CtlError::Refused(status) = &error else { return error };
    let unknown = |path: &&String| by_path(path).is_none() && !path.starts_with("signal-");
    let Some(unknown) = asked.iter().find(unknown).filter(|_| status.code() == Code::InvalidArgument) else {
        return error;
    };
    let close = similar(unknown);
    // The server may have said it already.
    if close.is_empty() || status.message().contains("did you mean") {
        return error;
    }
    CtlError::Signal(format!("{}; did you mean {}?", status.message(), close.join(" or ")))
}

/// Signals that are written much like this, the closest first.
fn similar(text: &str) -> Vec<&'static str> {
    let wanted = text.to_lowercase();
    let last = |path: &str, parts: usize| {
        let from = path.rmatch_indices('.').nth(parts.saturating_sub(1)).map_or(0, |(at, _)| at + 1);
        path[from..].to_owned()
    };
    let parts = wanted.matches('.').count() + 1;
    let mut close: Vec<(usize, &'static str)> = REGISTRY
        .iter()
        .filter_map(|signal| {
            let path = signal.path.to_lowercase();
            let whole = strsim::damerau_levenshtein(&path, &wanted);
            let end = strsim::damerau_levenshtein(&last(&path, parts), &wanted);
            let distance = whole.min(end);
            (distance <= (wanted.len() / 5).clamp(1, 5)).then_some((distance, signal.path))
        })
        .collect();
    close.sort_unstable_by_key(|(distance, path)| (*distance, path.len(), *path));
    let closest = close.first().map(|(distance, _)| *distance);
    let close = close.into_iter().filter(|(distance, _)| Some(*distance) == closest);
    close.take(SUGGESTED).map(|(_, path)| path).collect()
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::*;

    #[test]
    fn the_end_of_a_path_is_enough_when_it_is_the_only_one() {
        assert_eq!(resolve("Vehicle.Speed").unwrap(), "Vehicle.Speed");
        assert_eq!(resolve("speed").unwrap(), "Vehicle.Speed");
        assert_eq!(resolve("currentlocation.altitude").unwrap(), "Vehicle.CurrentLocation.Altitude");
        assert_eq!(resolve("signal-40000").unwrap(), "signal-40000");
        assert_eq!(resolve("Vehicle.Unheard.Of").unwrap(), "Vehicle.Unheard.Of");
        let several = resolve("islocked").unwrap_err();
        assert!(several.to_string().contains("Row1.DriverSide.IsLocked"), "{several}");
        assert_eq!(several.exit_code(), 2);
    }

    #[test]
    fn what_may_have_been_meant_is_said() {
        let refused = |message: &str| CtlError::from(Status::invalid_argument(message));
        let asked = ["Vehicle.Speed".to_owned(), "Vehicle.CurrentLocation.Lattitude".to_owned()];
        let said = explain(refused("no such signal"), &asked).to_string();
        assert_eq!(said, "no such signal; did you mean Vehicle.CurrentLocation.Latitude?");
        let said = explain(refused("no such signal"), &["sped".to_owned()]).to_string();
        assert!(said.contains("mean Vehicle.Speed or "), "{said}");
        // Nothing is near, or the server has said it, or it is about something else.
        let untouched =
            |message: &str, asked: &str| explain(refused(message), &[asked.to_owned()]).to_string();
        assert_eq!(untouched("no", "Vehicle.Qwertyuiop"), "no");
        assert_eq!(untouched("no; did you mean this?", "Vehicle.Spee"), "no; did you mean this?");
        assert_eq!(untouched("a bucket is too long", "Vehicle.Speed"), "a bucket is too long");
    }
}
