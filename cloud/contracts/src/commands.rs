//! Commands to vehicles: what operators ask for, and what became of it (docs/uplink.md section 7).

use async_trait::async_trait;
use remuda_model::{OrganizationId, VehicleId};
use remuda_wire::CommandKind;
use tokio::sync::broadcast;

/// A command as somebody gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRequest {
    /// Makes a repetition recognisable: the same id, asked again, answers with the first command. 1 to 64 bytes.
    pub request_id: String,
    /// What to do.
    pub kind: CommandKind,
    /// Why, 1 to 256 bytes.
    pub reason: String,
    /// Who wants it.
    pub requested_by: String,
    /// How long it may wait for the vehicle, ms from now, 1 s to 7 days.
    pub ttl_ms: i64,
    /// Only say whether it would be taken.
    pub validate_only: bool,
}

/// How far a command is. From `Done` on nothing changes any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandState {
    /// It waits for the vehicle.
    Queued,
    /// It went out.
    Sent,
    /// The vehicle has begun.
    Accepted,
    /// The vehicle did it.
    Done,
    /// The vehicle tried in vain.
    Failed,
    /// Its time ran out.
    Expired,
    /// The vehicle did not obey.
    Refused,
    /// Nobody will know what became of it.
    Unknown,
    /// Taken back before it was sent.
    Cancelled,
}

impl CommandState {
    /// Whether nothing changes any more.
    pub const fn is_final(self) -> bool {
        !matches!(self, Self::Queued | Self::Sent | Self::Accepted)
    }
}

/// A command and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandView {
    /// 32 hexadecimal digits.
    pub id: String,
    /// For whom.
    pub vehicle: VehicleId,
    /// What.
    pub kind: CommandKind,
    /// Why.
    pub reason: String,
    /// Who wanted it.
    pub requested_by: String,
    /// The request's own name for itself.
    pub request_id: String,
    /// When it was taken, ms since 1970 UTC.
    pub queued_ms: i64,
    /// Never obeyed after this, ms since 1970 UTC.
    pub expires_ms: i64,
    /// How far it is.
    pub state: CommandState,
    /// The vehicle's own words for `Failed` and `Refused`; else empty.
    pub detail: String,
    /// When it got there, ms since 1970 UTC.
    pub changed_ms: i64,
    /// How often it was sent.
    pub sends: u32,
}

/// Why a command cannot be given, or taken back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The domain says no.
    #[error("{sentence}")]
    Refused {
        /// Stable code.
        code: &'static str,
        /// One sentence that says what to do.
        sentence: String,
    },
    /// No such command.
    #[error("this vehicle has no such command; list its commands to see which there are")]
    NoSuchCommand,
    /// No such vehicle.
    #[error("there is no such vehicle")]
    NoSuchVehicle,
    /// Not now. It is not known whether it was done: ask again with the same request id.
    #[error("the vehicle's commands cannot be reached now: {0}; try again with the same request id")]
    Unavailable(&'static str),
}

/// The vehicle domain's side of commands.
#[async_trait]
pub trait CommandDesk: Send + Sync + 'static {
    /// Takes a command, durably; it goes out when the vehicle is there.
    async fn queue(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        request: CommandRequest,
    ) -> Result<CommandView, CommandError>;

    /// Takes a command back that was not sent yet.
    async fn cancel(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
        id: &str,
        by: &str,
        reason: &str,
    ) -> Result<CommandView, CommandError>;

    /// A vehicle's commands, newest first: the open ones, and the last that ended.
    async fn list(
        &self,
        organization: &OrganizationId,
        vehicle: &VehicleId,
    ) -> Result<Vec<CommandView>, CommandError>;

    /// Every change from now on, after it is durable. A slow reader gets `Lagged` and must ask again.
    fn changes(&self) -> broadcast::Receiver<CommandView>;
}
