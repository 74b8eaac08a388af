//! Erasures: asked for over the console, told to the vehicles' twins, and their proof written into the audit log.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use remuda_audit::{AuditLog, What};
use remuda_contracts::erasures::{ErasureAsk, ErasureDesk, ErasureError, ErasurePreview, ErasureView};
use remuda_lake::{CompactionSettings, Erasure, ErasureId, ErasureRequest, Lake, LakeError, Tombstone};
use remuda_model::{OrganizationId, shard};
use remuda_vehicles::Forgetting;
use serde_json::json;

use crate::lake_files::now_ms;
use crate::wiring::chain;

/// A preview looks at files for this long: a call has 30 s.
const PREVIEW: Duration = Duration::from_secs(15);

/// Erasures of a running node.
#[derive(Clone)]
pub(crate) struct Eraser {
    pub lake: Arc<Lake>,
    /// How long files may wait to be rewritten, ms.
    pub within_ms: i64,
    /// Set once the vehicles run.
    pub forgetting: Arc<OnceLock<Forgetting>>,
}

impl Eraser {
    pub fn new(lake: &Arc<Lake>, settings: &CompactionSettings) -> Self {
        Self { lake: Arc::clone(lake), within_ms: settings.erase_within_ms, forgetting: Arc::default() }
    }

    /// Asks for it, and has the vehicles' twins forget.
    ///
    /// # Errors
    /// When it is refused, or was not made durable.
    pub async fn erase(
        &self,
        id: Option<ErasureId>,
        request: ErasureRequest,
    ) -> Result<Tombstone, LakeError> {
        let tombstone = match id {
            Some(id) => self.lake.erase_once(id, request, now_ms()).await?,
            None => self.lake.erase(request, now_ms()).await?,
        };
        if let Some(forgetting) = self.forgetting.get() {
            let vehicles = forgetting.forget(tombstone.vehicle).await?;
            tracing::info!(id = %tombstone.id, vehicles, "vehicles' twins have forgotten what is to be erased");
        }
        Ok(tombstone)
    }

    fn view(&self, erasure: Erasure) -> ErasureView {
        let Erasure { tombstone, rows, blanked, files, rewritten_at_ms, finished_at_ms } = erasure;
        let (_, until_ns) = tombstone.range_ns();
        let ask = ErasureAsk {
            organization: tombstone.organization,
            vehicle: tombstone.vehicle,
            from_ns: tombstone.from_ns,
            until_ns: Some(until_ns),
            classes: tombstone.classes.into_iter().collect(),
            by: tombstone.requested_by,
            reason: tombstone.reason,
            request_id: String::new(),
        };
        ErasureView {
            id: tombstone.id.to_string(),
            ask,
            requested_ms: tombstone.requested_at_ms,
            due_ms: tombstone.requested_at_ms.saturating_add(self.within_ms),
            rows,
            blanked,
            files: files.len() as u64,
            rewritten_ms: rewritten_at_ms,
            finished_ms: finished_at_ms,
        }
    }
}

fn request_of(ask: ErasureAsk) -> (Option<ErasureId>, ErasureRequest) {
    let id = (!ask.request_id.is_empty()).then(|| {
        // The asker's own, so that a repeated call is the same erasure.
        ErasureId(shard::fnv1a_64(format!("{}\n{}\n{}", ask.organization, ask.by, ask.request_id).as_bytes()))
    });
    let request = ErasureRequest {
        organization: ask.organization,
        vehicle: ask.vehicle,
        from_ns: ask.from_ns,
        until_ns: ask.until_ns,
        classes: ask.classes.into_iter().collect(),
        requested_by: ask.by,
        reason: ask.reason,
    };
    (id, request)
}

fn refusal(error: LakeError) -> ErasureError {
    match error {
        LakeError::Erasure(sentence) => ErasureError::Refused(sentence),
        error => {
            tracing::error!(error = chain(&error), "an erasure could not be taken");
            ErasureError::Unavailable
        }
    }
}

#[async_trait]
impl ErasureDesk for Eraser {
    async fn preview(&self, ask: ErasureAsk) -> Result<ErasurePreview, ErasureError> {
        let (_, request) = request_of(ask);
        let found = self.lake.preview_erasure(request, now_ms(), PREVIEW).await.map_err(refusal)?;
        Ok(ErasurePreview {
            files: found.files,
            rows: found.rows,
            blanked: found.blanked,
            files_not_looked_at: found.files_to_look_at - found.files_looked_at,
        })
    }

    async fn erase(&self, ask: ErasureAsk) -> Result<ErasureView, ErasureError> {
        let (id, request) = request_of(ask);
        let tombstone = self.erase(id, request).await.map_err(refusal)?;
        let erasures = self.lake.erasures().await.map_err(refusal)?;
        let found = erasures.into_iter().find(|erasure| erasure.tombstone.id == tombstone.id);
        found.map(|erasure| self.view(erasure)).ok_or(ErasureError::Unavailable)
    }

    async fn list(&self, organization: OrganizationId) -> Result<Vec<ErasureView>, ErasureError> {
        let mut erasures = self.lake.erasures().await.map_err(refusal)?;
        erasures.retain(|erasure| erasure.tombstone.organization == organization);
        Ok(erasures.into_iter().map(|erasure| self.view(erasure)).collect())
    }
}

/// Writes the proof of each finished erasure into the audit log, durably; what was written is noted in the lake's trail.
pub(crate) async fn prove(lake: &Lake, audit: &Arc<AuditLog>) -> Result<usize, String> {
    let erasures = lake.erasures_to_tell().await.map_err(|e| chain(&e))?;
    for erasure in &erasures {
        let (log, what) = (Arc::clone(audit), proof(erasure));
        let written = tokio::task::spawn_blocking(move || {
            let begun = log.begin(what.clone(), now_ms())?;
            log.end(begun, what, "OK", now_ms())
        });
        written.await.map_err(|e| e.to_string())?.map_err(|e| chain(&e))?;
        lake.erasure_told(erasure).await.map_err(|e| chain(&e))?;
    }
    Ok(erasures.len())
}

/// What was asked, and what became of it.
fn proof(erasure: &Erasure) -> What {
    let Erasure { tombstone, rows, blanked, files, rewritten_at_ms, finished_at_ms } = erasure;
    let detail = json!({
        "before": {
            "vehicle": tombstone.vehicle, "fromNs": tombstone.from_ns, "untilNs": tombstone.range_ns().1,
            "classes": tombstone.classes, "requestedAtMs": tombstone.requested_at_ms,
        },
        "after": {
            "rows": rows, "blankedRows": blanked, "files": files.len(), "rewrittenAtMs": rewritten_at_ms,
            "finishedAtMs": finished_at_ms,
        },
    });
    What {
        who: tombstone.requested_by.clone(),
        from: "node".to_owned(),
        via: "node".to_owned(),
        method: "lake/ErasureFinished".to_owned(),
        reason: tombstone.reason.clone(),
        resource: format!("organizations/{}/erasures/{}", tombstone.organization, tombstone.id),
        detail: detail.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use remuda_audit::Query;
    use remuda_eventsourcing::{Journal, MemoryJournal};
    use remuda_lake::LakeSettings;
    use remuda_model::VehicleId;

    #[tokio::test(flavor = "multi_thread")]
    async fn the_proof_of_an_erasure_stands_in_the_audit_log_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let journal: Arc<dyn Journal> = Arc::new(MemoryJournal::new());
        let lake = Lake::open(LakeSettings::new(folder.path().join("lake")), journal).await.expect("opened");
        let lake = Arc::new(lake);
        let audit = Arc::new(AuditLog::open(&folder.path().join("audit")).expect("opened"));
        let settings =
            CompactionSettings { erase_within_ms: 0, grace_ms: 0, ..CompactionSettings::default() };
        let eraser = Eraser::new(&lake, &settings);
        let ask = ErasureAsk {
            organization: OrganizationId::default(),
            vehicle: Some(VehicleId::new("V1").expect("an id")),
            from_ns: None,
            until_ns: None,
            classes: Vec::new(),
            by: "ada".into(),
            reason: "request 12".into(),
            request_id: "r1".into(),
        };
        let view = ErasureDesk::erase(&eraser, ask.clone()).await.expect("asked");
        assert_eq!(
            ErasureDesk::erase(&eraser, ask.clone()).await.expect("asked").id,
            view.id,
            "the same again"
        );
        let other = ErasureAsk { vehicle: None, ..ask.clone() };
        assert!(matches!(ErasureDesk::erase(&eraser, other).await, Err(ErasureError::Refused(_))));
        assert_eq!(eraser.list(ask.organization).await.expect("read").len(), 1);
        assert_eq!(prove(&lake, &audit).await, Ok(0), "it is not finished");
        let go_on = |_: &remuda_lake::Compacted| std::ops::ControlFlow::Continue(());
        for _ in 0..2 {
            lake.compact(&settings, now_ms() + 1_000, &go_on).await.expect("compacted");
        }
        assert!(eraser.list(ask.organization).await.expect("read")[0].finished_ms.is_some());
        assert_eq!((prove(&lake, &audit).await, prove(&lake, &audit).await), (Ok(1), Ok(0)));
        let query = Query { before: 0, who: None, method: None, resource: None, limit: 10 };
        let page = query.page(&folder.path().join("audit")).expect("read");
        let [ended, begun] = page.entries.as_slice() else { panic!("{:?}", page.entries) };
        assert_eq!((begun.what.who.as_str(), begun.what.reason.as_str()), ("ada", "request 12"));
        assert!(begun.what.resource.ends_with(&format!("erasures/{}", view.id)));
        assert!(begun.what.detail.contains("\"rows\":0") && ended.what.resource == begun.what.resource);
    }
}
