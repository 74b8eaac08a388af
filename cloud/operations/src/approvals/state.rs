//! What is known of something that needs a second person.

use serde::{Deserialize, Serialize};

use super::event::{Asked, Decided};

/// How far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApprovalPhase {
    /// Nobody asked.
    #[default]
    New,
    /// It waits.
    Pending,
    /// Somebody agreed.
    Approved(Decided),
    /// Somebody said no.
    Denied(Decided),
    /// Nobody said anything in time.
    Expired,
}

/// Something that needs a second person.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Approval {
    /// What was asked; none before.
    pub asked: Option<Asked>,
    /// How far it is.
    pub phase: ApprovalPhase,
    /// What came of it when it was carried out.
    pub result: Option<String>,
    /// When it last changed, ms since 1970 UTC.
    pub changed_ms: i64,
}

impl Approval {
    /// Somebody must still do something: a second person, or whoever carries it out.
    pub fn is_open(&self) -> bool {
        match self.phase {
            ApprovalPhase::Pending => true,
            ApprovalPhase::Approved(_) | ApprovalPhase::Denied(_) | ApprovalPhase::Expired => {
                self.result.is_none()
            }
            ApprovalPhase::New => false,
        }
    }
}
