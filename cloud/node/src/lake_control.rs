//! Erasures asked of a running node, over its control socket: a person's request does not wait for the node to stop.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};

use remuda_lake::{Compacted, CompactionSettings, Erasure, ErasureRequest};
use serde::{Deserialize, Serialize};

use crate::erasing::Eraser;
use crate::lake_files::now_ms;
use crate::wiring::chain;

/// What is asked of the lake.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct LakeQuestion {
    /// To be forgotten; none: nothing new.
    pub erase: Option<ErasureRequest>,
    /// Rewrites the files of every erasure at once, and answers when it is done.
    pub now: bool,
}

/// The lake of a running node, and how it is compacted.
#[derive(Clone)]
pub(crate) struct LakeDesk {
    pub eraser: Eraser,
    pub settings: CompactionSettings,
}

impl LakeDesk {
    /// Does it; answers the erasures that were asked for, or all of them.
    pub async fn answer(&self, question: LakeQuestion, stop: &AtomicBool) -> Result<Vec<Erasure>, String> {
        let asked = match question.erase {
            Some(request) => {
                let tombstone = self.eraser.erase(None, request).await.map_err(|e| chain(&e))?;
                Some(tombstone.id)
            }
            None => None,
        };
        if question.now {
            // Readers of this node may be at replaced files: these go after their grace, by the node's own compaction.
            let settings = CompactionSettings { erase_within_ms: 0, ..self.settings.clone() };
            let watch = |_: &Compacted| {
                if stop.load(Ordering::Acquire) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            };
            self.eraser.lake.compact(&settings, now_ms(), &watch).await.map_err(|e| chain(&e))?;
        }
        let erasures = self.eraser.lake.erasures().await.map_err(|e| chain(&e))?;
        Ok(erasures.into_iter().filter(|e| asked.is_none_or(|id| e.tombstone.id == id)).collect())
    }
}
