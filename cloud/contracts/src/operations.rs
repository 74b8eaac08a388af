//! What operators do with many vehicles at once, and what one person may not do alone. Answers are durable when they
//! come. Times are ms since 1970 UTC.

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
use remuda_wire::CommandKind;
use tokio::sync::watch;

use crate::commands::{CommandError, CommandRequest, CommandView};

/// Who does something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Party {
    /// Stands in journals, such as `ada@example.com`.
    pub subject: String,
    /// What stays the same of them, whatever their tokens call them.
    pub identity: String,
}

/// When a group command pauses by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FailureThreshold {
    /// Of the vehicles that have answered, so many percent failed, 1 to 100.
    pub percent: u8,
    /// Not before so many have answered, 1 or more.
    pub after_vehicles: u32,
}

/// A command for many vehicles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRequest {
    /// Makes a repetition recognisable, 1 to 64 bytes; the group's id follows from it.
    pub request_id: String,
    /// What to do.
    pub kind: CommandKind,
    /// Why, 1 to 256 bytes.
    pub reason: String,
    /// The filter that found the vehicles, for people.
    pub filter: String,
    /// Which vehicles, ascending, each once.
    pub vehicles: Vec<VehicleId>,
    /// How many of the filter's were left out.
    pub excluded: u32,
    /// Vehicles begun in 1,000 seconds, 1 or more.
    pub vehicles_per_1000_s: u32,
    /// Vehicles whose command is under way at once; one that waits for its vehicle to return does not count.
    pub under_way_max: u32,
    /// How long each command may wait for its vehicle, ms.
    pub ttl_ms: i64,
    /// When it pauses by itself.
    pub threshold: Option<FailureThreshold>,
    /// One of the vehicles drives.
    pub moving: bool,
}

/// How far a group command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupPhase {
    /// It waits for a second person.
    AwaitingApproval,
    /// It gives commands.
    Running,
    /// It gives no more until somebody lets it go on.
    Paused,
    /// It gives no more at all; commands under way still end.
    Aborting,
    /// Every vehicle's command has ended.
    Completed,
    /// Called off, and everything that was under way has ended.
    Aborted,
    /// No second person agreed in time, or one said no. Nothing was given.
    Denied,
}

/// What became of one vehicle's command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupOutcome {
    /// Not its turn yet.
    Waiting,
    /// Given, and not ended.
    Given,
    /// The vehicle did it.
    Done,
    /// The vehicle tried in vain.
    Failed,
    /// Its time ran out before the vehicle returned.
    Expired,
    /// The vehicle did not obey.
    Refused,
    /// Nobody will know.
    Unknown,
    /// Taken back before it was sent.
    Cancelled,
    /// It could not be given.
    Rejected,
}

/// How many vehicles are where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCounts {
    /// All.
    pub vehicles: u32,
    /// See [`GroupOutcome::Waiting`]; those a called off group will never reach count here too.
    pub waiting: u32,
    /// See [`GroupOutcome::Given`].
    pub given: u32,
    /// See [`GroupOutcome::Done`].
    pub done: u32,
    /// See [`GroupOutcome::Failed`].
    pub failed: u32,
    /// See [`GroupOutcome::Expired`].
    pub expired: u32,
    /// See [`GroupOutcome::Refused`].
    pub refused: u32,
    /// See [`GroupOutcome::Unknown`].
    pub unknown: u32,
    /// See [`GroupOutcome::Cancelled`].
    pub cancelled: u32,
    /// See [`GroupOutcome::Rejected`].
    pub rejected: u32,
}

/// A group command without its vehicles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// 32 hexadecimal digits.
    pub id: String,
    /// What.
    pub kind: CommandKind,
    /// Why.
    pub reason: String,
    /// Which vehicles were asked for.
    pub filter: String,
    /// Who wanted it.
    pub requested_by: String,
    /// The request's own name for itself.
    pub request_id: String,
    /// See [`GroupRequest::vehicles_per_1000_s`].
    pub vehicles_per_1000_s: u32,
    /// See [`GroupRequest::under_way_max`].
    pub under_way_max: u32,
    /// See [`GroupRequest::ttl_ms`].
    pub ttl_ms: i64,
    /// See [`GroupRequest::threshold`].
    pub threshold: Option<FailureThreshold>,
    /// How many were left out.
    pub excluded: u32,
    /// How far it is.
    pub phase: GroupPhase,
    /// Who brought it there, and why.
    pub phase_by: String,
    /// See `phase_by`.
    pub phase_reason: String,
    /// How many vehicles are where.
    pub counts: GroupCounts,
    /// When it was taken.
    pub created_ms: i64,
    /// When it last changed.
    pub changed_ms: i64,
    /// Grows with every change.
    pub version: u64,
    /// Grows with every change of what is shown.
    pub progress: u64,
}

/// One vehicle of a group command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupVehicle {
    /// Which.
    pub vehicle: VehicleId,
    /// What became of its command.
    pub outcome: GroupOutcome,
    /// Its words, or why it could not be given.
    pub detail: String,
    /// The group's `progress` at which this came.
    pub progress: u64,
}

/// What somebody does to a group command under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Steering {
    /// Give no more for now.
    Pause,
    /// Go on.
    Resume,
    /// Give no more at all, and take back what was not sent.
    Abort,
}

/// How far an approval is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalPhase {
    /// It waits for a second person.
    Pending,
    /// A second person agreed.
    Approved,
    /// A second person said no.
    Denied,
    /// Nobody said anything in time.
    Expired,
}

/// What waits for a second person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApprovalView {
    /// 32 hexadecimal digits: those of the command, or of the group command.
    pub id: String,
    /// The vehicle, for a single command.
    pub vehicle: Option<VehicleId>,
    /// How many vehicles.
    pub vehicles: u32,
    /// What.
    pub kind: CommandKind,
    /// Why it is wanted.
    pub reason: String,
    /// Why it needs a second person.
    pub because: String,
    /// Who wants it.
    pub requested_by: String,
    /// The request's own name for itself.
    pub request_id: String,
    /// How long a command may wait for its vehicle, ms from the approval.
    pub ttl_ms: i64,
    /// SHA-256 of everything that is approved, 64 hexadecimal digits.
    pub content_hash: String,
    /// How far it is.
    pub phase: ApprovalPhase,
    /// Who decided; empty while nobody has.
    pub decided_by: String,
    /// What they said.
    pub decision_reason: String,
    /// What came of it when it was carried out; empty before.
    pub result: String,
    /// When it was asked for.
    pub requested_ms: i64,
    /// When it ends by itself.
    pub expires_ms: i64,
    /// When it last changed.
    pub changed_ms: i64,
}

/// What became of a wish to command one vehicle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// It was taken.
    Command(CommandView),
    /// It waits for a second person, or did in vain.
    Approval(ApprovalView),
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OperationsError {
    /// The domain says no.
    #[error("{text}")]
    Refused {
        /// Stable, kebab-case.
        code: String,
        /// For people.
        text: String,
    },
    /// There is no such thing.
    #[error("there is no {what} `{id}`")]
    NotFound {
        /// `command-group`, `approval`.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// It has changed since it was read.
    #[error("it has changed meanwhile; read it again and use the new etag")]
    Changed,
    /// The vehicle domain says no.
    #[error("{0}")]
    Command(CommandError),
    /// Not now; the same request again is safe.
    #[error("this cannot be answered at the moment ({0}); try again with the same request id")]
    Unavailable(String),
}

/// Commands to groups, and second persons.
#[async_trait]
pub trait OperationsDesk: Send + Sync + 'static {
    /// Why a second person must agree to this; none when one is enough.
    fn needs_second(&self, kind: &CommandKind, vehicles: usize, moving: bool) -> Option<String>;

    /// Commands one vehicle, or has it wait for a second person. `moving`: it drives.
    async fn give(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
        by: Party,
        moving: bool,
    ) -> Result<Given, OperationsError>;

    /// Takes a group command, durably; it begins at once, or when a second person agrees.
    async fn create_group(
        &self,
        organization: &OrganizationId,
        request: GroupRequest,
        by: Party,
    ) -> Result<GroupView, OperationsError>;

    /// One group command, with its vehicles.
    async fn group(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<(GroupView, Vec<GroupVehicle>), OperationsError>;

    /// Group commands, the newest first, after the one with the id `after`.
    async fn groups(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<GroupView>, OperationsError>;

    /// Pauses, resumes or aborts, if the group is at version `expected` (when said).
    async fn steer(
        &self,
        organization: &OrganizationId,
        id: &str,
        steering: Steering,
        reason: &str,
        expected: Option<u64>,
        by: Party,
    ) -> Result<GroupView, OperationsError>;

    /// One approval.
    async fn approval(
        &self,
        organization: &OrganizationId,
        id: &str,
    ) -> Result<ApprovalView, OperationsError>;

    /// Approvals, the newest first, after the one with the id `after`.
    async fn approvals(
        &self,
        organization: &OrganizationId,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ApprovalView>, OperationsError>;

    /// Agrees to what has this hash, and carries it out.
    async fn approve(
        &self,
        organization: &OrganizationId,
        id: &str,
        content_hash: &str,
        reason: &str,
        by: Party,
    ) -> Result<ApprovalView, OperationsError>;

    /// Says no. Whoever asked may also take it back this way.
    async fn deny(
        &self,
        organization: &OrganizationId,
        id: &str,
        reason: &str,
        by: Party,
    ) -> Result<ApprovalView, OperationsError>;

    /// Tells that something may have changed; what is watched is only a count.
    fn changes(&self) -> watch::Receiver<u64>;
}
