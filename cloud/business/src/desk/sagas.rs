//! Lists of sagas: those under way from the runner's memory, those that ended from the index.

use std::collections::HashMap;

use remuda_contracts::business::{BusinessError, SagaView};
use remuda_saga::aggregate::Phase;
use remuda_saga::index::Ended;
use remuda_saga::{Filter, Status};

use super::{Desk, refused, unavailable};
use crate::convert::{saga_view, status_name};

/// Where the next page begins.
#[derive(Debug, PartialEq, Eq)]
enum Cursor {
    /// After this one of those under way.
    UnderWay { started_ms: i64, id: String },
    /// After this place of those that ended; with the first when it is empty.
    Ended(Vec<u8>),
}

impl Cursor {
    fn read(text: &str) -> Option<Self> {
        match text.split_at_checked(1)? {
            ("u", rest) => {
                let (started_ms, id) = rest.split_once(' ')?;
                Some(Self::UnderWay { started_ms: started_ms.parse().ok()?, id: id.to_owned() })
            }
            ("e", hex) => {
                let bytes = hex.as_bytes().chunks(2);
                let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                Some(Self::Ended(bytes.map(byte).collect::<Option<_>>()?))
            }
            _ => None,
        }
    }

    fn write(&self) -> String {
        match self {
            Self::UnderWay { started_ms, id } => format!("u{started_ms} {id}"),
            Self::Ended(place) => {
                let hex: String = place.iter().map(|byte| format!("{byte:02x}")).collect();
                format!("e{hex}")
            }
        }
    }
}

fn statuses(state: Option<&str>) -> Result<Vec<Status>, BusinessError> {
    Ok(match state {
        None => Vec::new(),
        Some("running") => vec![Status::Loading, Status::Running],
        Some("unwinding") => vec![Status::Unwinding],
        Some("stuck") => vec![Status::Stuck],
        Some("completed") => vec![Status::Completed],
        Some("compensated") => vec![Status::Compensated],
        Some(other) => {
            let text = format!(
                "there is no state `{other}`; there are running, unwinding, stuck, completed, compensated"
            );
            return Err(refused("bad-state", text));
        }
    })
}

fn ended_view(ended: Ended) -> SagaView {
    let status = if ended.phase == Phase::Completed { Status::Completed } else { Status::Compensated };
    SagaView {
        id: ended.begun.id,
        definition: ended.begun.saga,
        version: ended.begun.version,
        state: status_name(status),
        detail: String::new(),
        started_ms: ended.begun.started_ms,
        ended_ms: Some(ended.ended_ms),
        steps: Vec::new(),
    }
}

impl Desk {
    pub(super) async fn list_sagas(
        &self,
        state: Option<&str>,
        after: Option<&str>,
        limit: usize,
    ) -> Result<(Vec<SagaView>, Option<String>), BusinessError> {
        let wanted = statuses(state)?;
        let bad = || refused("bad-page-token", "the token is not one of a page before");
        let cursor = after.map(|text| Cursor::read(text).ok_or_else(bad)).transpose()?;
        let organization = self.0.organization;
        // Before those under way are looked at: one that ends meanwhile shows twice rather than not at all.
        self.0.host.index().caught_up().await.map_err(unavailable)?;
        let all = self.0.sagas.list(organization, &Filter { limit: usize::MAX, ..Filter::default() });
        let mut found = Vec::new();
        let mut place = None;
        match cursor {
            Some(Cursor::Ended(from)) => place = Some(from).filter(|from| !from.is_empty()),
            begun => {
                let under_way = all.iter().filter(|saga| !saga.status.is_ended());
                let under_way = under_way.filter(|saga| match &begun {
                    Some(Cursor::UnderWay { started_ms, id }) => {
                        (saga.started_ms, &saga.id.id) < (*started_ms, id)
                    }
                    _ => true,
                });
                let mut fits = under_way.filter(|saga| wanted.is_empty() || wanted.contains(&saga.status));
                found.extend(fits.by_ref().take(limit).map(saga_view));
                if fits.next().is_some() {
                    let last = found.last().map(|last| (last.started_ms, last.id.clone()));
                    let (started_ms, id) = last.unwrap_or_default();
                    return Ok((found, Some(Cursor::UnderWay { started_ms, id }.write())));
                }
            }
        }
        let wants_ended = wanted.is_empty() || wanted.iter().any(|status| status.is_ended());
        if !wants_ended {
            return Ok((found, None));
        }
        // The runner remembers the last that ended with all they came to.
        let remembered: HashMap<&str, &remuda_saga::Summary> = all
            .iter()
            .filter(|saga| saga.status.is_ended())
            .map(|saga| (saga.id.id.as_str(), saga))
            .collect();
        loop {
            if found.len() >= limit {
                return Ok((found, Some(Cursor::Ended(place.unwrap_or_default()).write())));
            }
            let page = self.0.host.ended(organization, place.as_deref(), limit).map_err(unavailable)?;
            if page.is_empty() {
                return Ok((found, None));
            }
            for (at, ended) in page {
                if found.len() >= limit {
                    break;
                }
                place = Some(at);
                let view = match remembered.get(ended.begun.id.as_str()) {
                    Some(summary) => saga_view(summary),
                    None => ended_view(ended),
                };
                let fits = |status: &Status| status_name(*status) == view.state;
                if wanted.is_empty() || wanted.iter().any(fits) {
                    found.push(view);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back() {
        let under_way = Cursor::UnderWay { started_ms: -5, id: "a b".into() };
        for cursor in [under_way, Cursor::Ended(vec![]), Cursor::Ended(vec![0, 255, 16])] {
            assert_eq!(Cursor::read(&cursor.write()), Some(cursor));
        }
        for wrong in ["", "x", "u5", "ux a", "e0g", "é"] {
            assert_eq!(Cursor::read(wrong), None, "{wrong}");
        }
    }
}
