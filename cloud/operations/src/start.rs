//! Everything started and joined: what runs groups, what carries approvals out, and the way to ask.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use remuda_contracts::assistance::{AssistanceDesk, Reports};
use remuda_contracts::commands::CommandDesk;
use remuda_entities::projection::{Place, project};
use remuda_entities::{AskError, Entities, Settings as EntitySettings, Shards};
use remuda_eventsourcing::{Context, JournalError};
use remuda_model::OrganizationId;
use remuda_wire::CommandKind;
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;

use crate::approvals::lists::{ApprovalDirectory, ApprovalLine, ApprovalLists};
use crate::approvals::{ApprovalCommand, ApprovalPhase, Approvals, Content};
use crate::assistance::lists::{AssistanceDirectory, AssistanceLists};
use crate::assistance::runner::{self, Cursor, Helping};
use crate::assistance::{self, Requests};
use crate::groups::lists::{GroupDirectory, GroupLists};
use crate::groups::runner::{Means, run, stopped};
use crate::groups::{GroupCommand, Groups};
use crate::limits;
use crate::metrics::OperationsMetrics;

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What one person may not do alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Danger {
    /// Restart an agent.
    Reboot,
    /// Lock doors.
    Lock,
    /// Unlock doors.
    Unlock,
    /// Unlock doors of a vehicle that drives.
    UnlockWhileDriving,
    /// Limit the speed.
    SpeedLimit,
    /// Sound the horn.
    Honk,
}

impl Danger {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Reboot, Self::Lock, Self::Unlock, Self::UnlockWhileDriving, Self::SpeedLimit, Self::Honk];

    /// Its name in configurations.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Reboot => "reboot",
            Self::Lock => "lock",
            Self::Unlock => "unlock",
            Self::UnlockWhileDriving => "unlock-while-driving",
            Self::SpeedLimit => "speed-limit",
            Self::Honk => "honk",
        }
    }

    /// The one of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|danger| danger.as_str() == name)
    }

    /// Whether a command is this.
    const fn is(self, kind: &CommandKind, moving: bool) -> bool {
        match (self, kind) {
            (Self::Reboot, CommandKind::Reboot)
            | (Self::Lock, CommandKind::Lock(true))
            | (Self::Unlock, CommandKind::Lock(false))
            | (Self::SpeedLimit, CommandKind::SpeedLimit(_))
            | (Self::Honk, CommandKind::Honk) => true,
            (Self::UnlockWhileDriving, CommandKind::Lock(false)) => moving,
            _ => false,
        }
    }
}

/// When a second person must agree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoPersons {
    /// For these, always.
    pub kinds: BTreeSet<Danger>,
    /// For any command to more vehicles than this.
    pub above_vehicles: usize,
    /// How long a request waits for them, ms.
    pub wait_ms: i64,
}

impl TwoPersons {
    /// Why a second person must agree; none when one is enough.
    pub fn because(&self, kind: &CommandKind, vehicles: usize, moving: bool) -> Option<String> {
        if let Some(danger) = self.kinds.iter().find(|danger| danger.is(kind, moving)) {
            return Some(format!("{} needs a second person", danger.as_str()));
        }
        (vehicles > self.above_vehicles).then(|| {
            format!("{vehicles} vehicles are more than {}, which need a second person", self.above_vehicles)
        })
    }
}

/// What it needs.
pub struct OperationsSettings {
    /// Where lists are kept; they can be made anew.
    pub folder: PathBuf,
    /// When a second person must agree.
    pub two_persons: TwoPersons,
    /// Now.
    pub clock: Clock,
    /// Whose vehicles these are.
    pub organization: OrganizationId,
}

/// Why it does not start.
#[derive(Debug, thiserror::Error)]
pub enum OperationsStartError {
    /// A list.
    #[error("a list of group commands, approvals or requests for assistance cannot be opened: {0}")]
    Lists(#[from] JournalError),
    /// Entities.
    #[error("{0}")]
    Entities(String),
}

/// How to wake a group's runner, and its task.
type Running = (Arc<Notify>, JoinHandle<()>);

pub(crate) struct Parts {
    pub groups: Entities<Groups>,
    pub group_lists: GroupDirectory,
    pub approvals: Entities<Approvals>,
    pub approval_lists: ApprovalDirectory,
    pub desk: Arc<dyn CommandDesk>,
    pub two_persons: TwoPersons,
    pub clock: Clock,
    pub metrics: OperationsMetrics,
    means: Means,
    running: Mutex<HashMap<(OrganizationId, String), Running>>,
    sweep: Notify,
}

/// Group commands, approvals and requests for assistance of a node.
pub struct Operations {
    pub(crate) parts: Arc<Parts>,
    helping: Arc<Helping>,
    stopping: watch::Sender<bool>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Operations {
    /// Starts over these shards, and goes on with what had not ended.
    ///
    /// # Errors
    /// One sentence about the first part that does not start.
    pub async fn start(
        settings: OperationsSettings,
        shards: &Arc<Shards>,
        desk: Arc<dyn CommandDesk>,
        reports: Arc<dyn Reports>,
        metrics: OperationsMetrics,
    ) -> Result<Self, OperationsStartError> {
        let place = Place::folder(settings.folder.join("views"));
        // Who asks again is told again: each wish has a name of its own.
        let entities = || EntitySettings { durable_refusals: false, ..EntitySettings::default() };
        // A large group's state is more than a snapshot may be; its events are few and small.
        let whole = EntitySettings { snapshot_every: 1_000_000, ..entities() };
        let groups = Entities::<Groups>::start(shards, whole).await;
        let groups = groups.map_err(OperationsStartError::Entities)?;
        let approvals = Entities::<Approvals>::start(shards, entities()).await;
        let approvals = approvals.map_err(OperationsStartError::Entities)?;
        let group_lists = GroupDirectory::new(project(shards, &place, GroupLists).await?);
        let approval_lists = ApprovalDirectory::new(project(shards, &place, ApprovalLists).await?);
        let requests = Entities::<Requests>::start(shards, entities()).await;
        let helping = Arc::new(Helping {
            requests: requests.map_err(OperationsStartError::Entities)?,
            lists: AssistanceDirectory::new(project(shards, &place, AssistanceLists).await?),
            desk: Arc::clone(&desk),
            clock: Arc::clone(&settings.clock),
            metrics: metrics.clone(),
            organization: settings.organization,
            changed: watch::Sender::new(0),
            sweep: Notify::new(),
        });
        let (stopping, stops) = watch::channel(false);
        let means = Means {
            groups: groups.clone(),
            desk: Arc::clone(&desk),
            clock: Arc::clone(&settings.clock),
            metrics: metrics.clone(),
            stopping: stops.clone(),
        };
        let parts = Arc::new(Parts {
            groups,
            group_lists,
            approvals,
            approval_lists,
            desk,
            two_persons: settings.two_persons,
            clock: settings.clock,
            metrics,
            means,
            running: Mutex::default(),
            sweep: Notify::new(),
        });
        let cursor = Cursor::new(&settings.folder);
        let tasks = vec![
            tokio::spawn(sweep(Arc::clone(&parts), stops.clone())),
            tokio::spawn(runner::sweep(Arc::clone(&helping), stops.clone())),
            tokio::spawn(runner::read_reports(Arc::clone(&helping), reports, cursor, stops)),
        ];
        Ok(Self { parts, helping, stopping, tasks: Mutex::new(tasks) })
    }

    /// The way to ask.
    pub fn desk(&self) -> Arc<dyn remuda_contracts::operations::OperationsDesk> {
        Arc::new(crate::desk::Desk(Arc::clone(&self.parts)))
    }

    /// The way to ask about what vehicles ask.
    pub fn assistance(&self) -> Arc<dyn AssistanceDesk> {
        Arc::new(assistance::desk::Desk(Arc::clone(&self.helping)))
    }

    /// Ends; what has not ended goes on at the next start.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let tasks: Vec<_> = self.tasks.lock().drain(..).collect();
        for task in tasks {
            // It panicked, which was reported, or it is done.
            let _ = task.await;
        }
        let running: Vec<_> = self.parts.running.lock().drain().collect();
        for (_, (_, task)) in running {
            let _ = task.await;
        }
        self.parts.group_lists.projected().stop().await;
        self.parts.approval_lists.projected().stop().await;
        self.helping.lists.projected().stop().await;
        self.parts.groups.drain().await;
        self.parts.approvals.drain().await;
        self.helping.requests.drain().await;
    }
}

impl Parts {
    /// Has a group run, or look at what has changed.
    pub fn wake(&self, organization: OrganizationId, id: &str) {
        let mut running = self.running.lock();
        running.retain(|_, (_, task)| !task.is_finished());
        let (wake, _) = running.entry((organization, id.to_owned())).or_insert_with(|| {
            let wake = Arc::new(Notify::new());
            let task = run(self.means.clone(), organization, id.to_owned(), Arc::clone(&wake));
            (wake, tokio::spawn(task))
        });
        wake.notify_one();
        self.metrics.groups(running.len());
    }

    /// Whether another group command may begin.
    pub fn has_room(&self) -> bool {
        let mut running = self.running.lock();
        running.retain(|_, (_, task)| !task.is_finished());
        running.len() < limits::GROUPS_ACTIVE_MAX
    }

    /// Has approvals looked at now.
    pub fn look(&self) {
        self.sweep.notify_one();
    }

    pub fn context(&self, actor: &str, command_id: String, about: &str) -> Context {
        Context {
            now_ms: (self.clock)(),
            command_id,
            actor: actor.to_owned(),
            correlation_id: about.to_owned(),
        }
    }

    /// Expires what nobody decided, carries out what somebody did.
    pub async fn advance(&self, organization: &OrganizationId, id: &str) -> Result<(), AskError> {
        let mut approval = self.approvals.read(organization, id).await?.state;
        let Some(asked) = approval.asked.clone() else { return Ok(()) };
        if approval.phase == ApprovalPhase::Pending {
            if (self.clock)() < asked.expires_ms {
                return Ok(());
            }
            let context = self.context("policy/approval", "expire".into(), id);
            let expired = self.approvals.ask(organization, id, ApprovalCommand::Expire, context).await?;
            if !expired.events.is_empty() && !expired.repeated {
                self.metrics.approval("expired");
            }
            approval = self.approvals.read(organization, id).await?.state;
        }
        if approval.result.is_some() {
            return Ok(());
        }
        let result = match (&approval.phase, &asked.content) {
            (ApprovalPhase::New | ApprovalPhase::Pending, _) => return Ok(()),
            (ApprovalPhase::Approved(decided), Content::Group { digest, .. }) => {
                let by = decided.by.subject.clone();
                let start = GroupCommand::Start { by, digest: *digest };
                self.tell_group(organization, id, start, "the group command runs").await?
            }
            (ApprovalPhase::Approved(_), content @ Content::Command { .. }) => {
                self.give_approved(organization, content, &asked.by.subject).await?
            }
            (ApprovalPhase::Denied(decided), Content::Group { .. }) => {
                let (by, reason) = (decided.by.subject.clone(), decided.reason.clone());
                self.tell_group(organization, id, GroupCommand::Deny { by, reason }, "nothing is given")
                    .await?
            }
            (ApprovalPhase::Expired, Content::Group { .. }) => {
                let reason = "no second person agreed in time".to_owned();
                let deny = GroupCommand::Deny { by: "policy/approval".into(), reason };
                self.tell_group(organization, id, deny, "nothing is given").await?
            }
            (ApprovalPhase::Denied(_) | ApprovalPhase::Expired, Content::Command { .. }) => {
                "nothing is given".to_owned()
            }
        };
        let context = self.context("policy/approval", "conclude".into(), id);
        self.approvals.ask(organization, id, ApprovalCommand::Conclude { result }, context).await?;
        Ok(())
    }

    async fn tell_group(
        &self,
        organization: &OrganizationId,
        id: &str,
        command: GroupCommand,
        result: &str,
    ) -> Result<String, AskError> {
        let context = self.context("policy/approval", "approval".into(), id);
        match self.groups.ask(organization, id, command, context).await {
            Ok(_) => {
                self.wake(*organization, id);
                Ok(result.to_owned())
            }
            // Called off meanwhile, for instance.
            Err(AskError::Refused { text, .. }) => Ok(text),
            Err(error) => Err(error),
        }
    }

    async fn give_approved(
        &self,
        organization: &OrganizationId,
        content: &Content,
        by: &str,
    ) -> Result<String, AskError> {
        use remuda_contracts::commands::{CommandError, CommandRequest};
        let Content::Command { vehicle, kind, reason, request_id, ttl_ms } = content else {
            return Ok(String::new());
        };
        let request = CommandRequest {
            request_id: request_id.clone(),
            kind: kind.clone(),
            reason: reason.clone(),
            requested_by: by.to_owned(),
            ttl_ms: *ttl_ms,
            validate_only: false,
        };
        match self.desk.queue(organization, vehicle, request).await {
            Ok(_) => Ok("the command was given".into()),
            Err(CommandError::Unavailable(why)) => Err(AskError::Unavailable { reason: why.into() }),
            Err(error) => Ok(error.to_string()),
        }
    }

    /// Approvals that somebody must still do something about; none while the list is not there.
    fn open_approvals(&self) -> Vec<ApprovalLine> {
        self.approval_lists.open(limits::APPROVALS_PENDING_MAX * 2).unwrap_or_else(|error| {
            tracing::warn!(%error, "open approvals cannot be listed");
            Vec::new()
        })
    }

    /// How many wait for a second person.
    pub fn pending(&self) -> usize {
        let pending = |line: &ApprovalLine| line.approval.phase == ApprovalPhase::Pending;
        self.open_approvals().into_iter().filter(pending).count()
    }
}

/// Goes on with groups that had not ended, then looks at approvals until the node stops.
async fn sweep(parts: Arc<Parts>, mut stops: watch::Receiver<bool>) {
    let caught_up = parts.group_lists.projected().caught_up();
    if let Err(error) = caught_up.await {
        tracing::error!(%error, "group commands that had not ended may not go on");
    }
    for (organization, id) in parts.group_lists.open(limits::GROUPS_ACTIVE_MAX).unwrap_or_default() {
        if let Ok(organization) = OrganizationId::new(&organization) {
            parts.wake(organization, &id);
        }
    }
    loop {
        // What was decided a moment ago must be in the list.
        let _ = parts.approval_lists.projected().caught_up().await;
        let open = parts.open_approvals();
        let pending = |line: &&ApprovalLine| line.approval.phase == ApprovalPhase::Pending;
        parts.metrics.pending(open.iter().filter(pending).count());
        let now_ms = (parts.clock)();
        for ApprovalLine { organization, id, approval } in open {
            let waits = approval.phase == ApprovalPhase::Pending
                && approval.asked.is_some_and(|asked| now_ms < asked.expires_ms);
            let Ok(organization) = OrganizationId::new(&organization) else { continue };
            if waits {
                continue;
            }
            if let Err(error) = parts.advance(&organization, &id).await {
                tracing::warn!(approval = id, %error, "an approval is carried out later");
            }
        }
        tokio::select! {
            () = stopped(&mut stops) => return,
            () = parts.sweep.notified() => {}
            () = tokio::time::sleep(limits::SWEEP) => {}
        }
    }
}
