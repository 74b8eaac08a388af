//! `remudactl policies`.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use remuda_api::policies::v1::policy_service_client::PolicyServiceClient;
use remuda_api::policies::v1::{
    AssignPolicyRequest, DeletePolicyRequest, GetPolicyRequest, GetPolicyStatusRequest, Impact,
    ListPoliciesRequest, Policy, PolicyStatus, SetPolicyRequest, Target, UnassignPolicyRequest, Vehicles,
    target,
};
use remuda_api::{MESSAGE_BYTES_MAX, OrganizationName, PolicyName};
use serde_json::{Value, json};
use tonic::Request;

use crate::args::{Global, OutputFormat};
use crate::client::{Service, open};
use crate::error::CtlError;
use crate::table::{Cell, cell, write};
use crate::text::{age_of, id, now_ms, rfc3339};

/// What can be done with policies.
#[derive(Debug, Subcommand)]
pub enum PoliciesCommand {
    /// Lists policies and whom they are meant for.
    List,
    /// Shows one policy with its document.
    Get {
        /// Its name.
        policy: String,
    },
    /// Makes a policy, or gives it another document.
    Set {
        /// Its name: lower-case letters, digits and hyphens.
        policy: String,
        /// The document, JSON; `-` reads standard input.
        #[arg(long)]
        file: PathBuf,
        /// Only if this is the present etag, as `get` shows it; 0 when it must be new.
        #[arg(long)]
        etag: Option<String>,
        /// Check it and say how many vehicles it would touch; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Says whom a policy is meant for; what these had before is replaced.
    Assign {
        /// Its name.
        policy: String,
        /// Whom.
        #[command(flatten)]
        target: TargetArgs,
        /// Say how many vehicles it would touch; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Takes an assignment away; vehicles without any go back to their built-in policy.
    Unassign {
        /// Whom.
        #[command(flatten)]
        target: TargetArgs,
        /// Say how many vehicles it would touch; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Removes a policy that is assigned to nobody.
    Delete {
        /// Its name.
        policy: String,
        /// Only if this is the present etag.
        #[arg(long)]
        etag: Option<String>,
        /// Say whether it could be removed; change nothing.
        #[arg(long)]
        dry_run: bool,
    },
    /// Says how many vehicles follow a policy, have refused it, or have not answered yet.
    Status {
        /// Its name.
        policy: String,
    },
}

/// Whom a policy is meant for.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct TargetArgs {
    /// Every vehicle.
    #[arg(long)]
    all: bool,
    /// Vehicles whose id begins so.
    #[arg(long)]
    prefix: Option<String>,
    /// These vehicles; may be repeated, or separated by commas.
    #[arg(long, value_delimiter = ',')]
    vehicle: Vec<String>,
}

impl TargetArgs {
    fn message(self) -> Target {
        let target = match self.prefix {
            Some(prefix) => target::Target::Prefix(prefix),
            None if self.all => target::Target::All(true),
            None => target::Target::Vehicles(Vehicles { ids: self.vehicle }),
        };
        Target { target: Some(target) }
    }
}

struct Session<'a> {
    client: PolicyServiceClient<Service>,
    global: Global,
    out: &'a mut dyn Write,
    colours: bool,
}

/// Runs one of them.
pub(crate) async fn run(
    command: PoliciesCommand,
    global: Global,
    out: &mut dyn Write,
    colours: bool,
) -> Result<(), CtlError> {
    // Read and checked before anything is sent, by the parser that vehicles have.
    let document = match &command {
        PoliciesCommand::Set { file, .. } => Some(read(file)?),
        _ => None,
    };
    let client = PolicyServiceClient::new(open(&global).await?).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let mut session = Session { client, global, out, colours };
    match command {
        PoliciesCommand::List => session.list().await,
        PoliciesCommand::Get { policy } => session.get(&policy).await,
        PoliciesCommand::Set { policy, etag, dry_run, .. } => {
            session.set(&policy, document.unwrap_or_default(), etag, dry_run).await
        }
        PoliciesCommand::Assign { policy, target, dry_run } => session.assign(&policy, target, dry_run).await,
        PoliciesCommand::Unassign { target, dry_run } => session.unassign(target, dry_run).await,
        PoliciesCommand::Delete { policy, etag, dry_run } => session.delete(&policy, etag, dry_run).await,
        PoliciesCommand::Status { policy } => session.status(&policy).await,
    }?;
    session.out.flush()?;
    Ok(())
}

fn read(file: &PathBuf) -> Result<String, CtlError> {
    let failed = |source| CtlError::File { file: file.display().to_string(), source };
    let document = if file.as_os_str() == "-" {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(failed)?
    };
    remuda_policy::Policy::parse(&document)
        .map_err(|e| CtlError::Document { file: file.display().to_string(), problem: e.to_string() })?;
    Ok(document)
}

impl Session<'_> {
    fn parent(&self) -> String {
        OrganizationName { organization: self.global.organization.clone() }.to_string()
    }

    fn name(&self, policy: &str) -> String {
        if policy.contains('/') {
            return policy.to_owned();
        }
        PolicyName { organization: self.global.organization.clone(), policy: policy.to_owned() }.to_string()
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(Duration::from_secs(self.global.timeout));
        request
    }

    async fn list(&mut self) -> Result<(), CtlError> {
        let request = self.request(ListPoliciesRequest { parent: self.parent() });
        let policies = self.client.list_policies(request).await?.into_inner().policies;
        match self.global.output {
            OutputFormat::Json => {
                let documents: Vec<Value> = policies.iter().map(policy_json).collect();
                writeln!(self.out, "{:#}", json!({ "policies": documents }))?;
            }
            OutputFormat::Name => {
                for policy in &policies {
                    writeln!(self.out, "{}", policy.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                if policies.is_empty() {
                    eprintln!("no policy yet; vehicles follow their built-in one");
                }
                let rows: Vec<Vec<Cell>> = policies.iter().map(row).collect();
                let heads = ["POLICY", "REVISION", "SET", "BY", "FOR"];
                write(self.out, Some(&heads), &rows, &mut Vec::new(), self.colours)?;
            }
        }
        Ok(())
    }

    async fn get(&mut self, policy: &str) -> Result<(), CtlError> {
        let request = self.request(GetPolicyRequest { name: self.name(policy) });
        let policy = self.client.get_policy(request).await?.into_inner();
        self.show(&policy)
    }

    fn show(&mut self, policy: &Policy) -> Result<(), CtlError> {
        match self.global.output {
            OutputFormat::Json => writeln!(self.out, "{:#}", policy_json(policy))?,
            OutputFormat::Name => writeln!(self.out, "{}", policy.name)?,
            OutputFormat::Table | OutputFormat::Wide => {
                let heads = ["POLICY", "REVISION", "SET", "BY", "FOR"];
                write(self.out, Some(&heads), &[row(policy)], &mut Vec::new(), self.colours)?;
                writeln!(self.out, "\n{}", policy.document.trim_end())?;
            }
        }
        Ok(())
    }

    async fn set(
        &mut self,
        policy: &str,
        document: String,
        etag: Option<String>,
        dry_run: bool,
    ) -> Result<(), CtlError> {
        let request = self.request(SetPolicyRequest {
            name: self.name(policy),
            document,
            etag: etag.unwrap_or_default(),
            validate_only: dry_run,
        });
        let answer = self.client.set_policy(request).await?.into_inner();
        self.changed(answer.policy.as_ref(), answer.impact, dry_run)
    }

    async fn assign(&mut self, policy: &str, target: TargetArgs, dry_run: bool) -> Result<(), CtlError> {
        let name = self.name(policy);
        let target = Some(target.message());
        let request = self.request(AssignPolicyRequest { name, target, validate_only: dry_run });
        let answer = self.client.assign_policy(request).await?.into_inner();
        self.changed(answer.policy.as_ref(), answer.impact, dry_run)
    }

    async fn unassign(&mut self, target: TargetArgs, dry_run: bool) -> Result<(), CtlError> {
        let (parent, target) = (self.parent(), Some(target.message()));
        let request = self.request(UnassignPolicyRequest { parent, target, validate_only: dry_run });
        let answer = self.client.unassign_policy(request).await?.into_inner();
        self.changed(None, answer.impact, dry_run)
    }

    async fn delete(&mut self, policy: &str, etag: Option<String>, dry_run: bool) -> Result<(), CtlError> {
        let request = self.request(DeletePolicyRequest {
            name: self.name(policy),
            etag: etag.unwrap_or_default(),
            validate_only: dry_run,
        });
        self.client.delete_policy(request).await?;
        self.changed(None, Some(Impact::default()), dry_run)
    }

    /// Says what a change did, or would do.
    fn changed(
        &mut self,
        policy: Option<&Policy>,
        impact: Option<Impact>,
        dry_run: bool,
    ) -> Result<(), CtlError> {
        let Impact { vehicles, online } = impact.unwrap_or_default();
        match self.global.output {
            OutputFormat::Json => {
                let document = json!({
                    "policy": policy.map(policy_json),
                    "impact": { "vehicles": vehicles, "online": online },
                    "dryRun": dry_run,
                });
                writeln!(self.out, "{document:#}")?;
            }
            OutputFormat::Name => {
                if let Some(policy) = policy {
                    writeln!(self.out, "{}", policy.name)?;
                }
            }
            OutputFormat::Table | OutputFormat::Wide => {
                let does = if dry_run { "would touch" } else { "touches" };
                let s = if vehicles == 1 { "" } else { "s" };
                writeln!(self.out, "{does} {vehicles} vehicle{s}, {online} of them online now")?;
            }
        }
        Ok(())
    }

    async fn status(&mut self, policy: &str) -> Result<(), CtlError> {
        let request = self.request(GetPolicyStatusRequest { name: self.name(policy) });
        let status = self.client.get_policy_status(request).await?.into_inner();
        match self.global.output {
            OutputFormat::Json => writeln!(self.out, "{:#}", status_json(&status))?,
            OutputFormat::Name => writeln!(self.out, "{}", status.name)?,
            OutputFormat::Table | OutputFormat::Wide => {
                let count = |n: i64| cell(n.to_string()).right();
                let line = vec![
                    cell(id(&status.name)),
                    cell(status.revision.to_string()).right(),
                    count(status.desired),
                    count(status.applied),
                    count(status.refused),
                    count(status.pending),
                ];
                let heads = ["POLICY", "REVISION", "DESIRED", "APPLIED", "REFUSED", "PENDING"];
                write(self.out, Some(&heads), &[line], &mut Vec::new(), self.colours)?;
                for refusal in &status.refusals {
                    writeln!(self.out, "refused by {}: {}", refusal.vehicle, refusal.reason)?;
                }
                if !status.pending_vehicles.is_empty() {
                    writeln!(self.out, "waiting for {}", status.pending_vehicles.join(", "))?;
                }
            }
        }
        Ok(())
    }
}

fn targets(policy: &Policy) -> Vec<String> {
    let of = |target: &Target| match &target.target {
        Some(target::Target::All(_)) => "all".to_owned(),
        Some(target::Target::Prefix(prefix)) => format!("{prefix}*"),
        Some(target::Target::Vehicles(vehicles)) => match vehicles.ids.as_slice() {
            [one] => one.clone(),
            ids => format!("{} vehicles", ids.len()),
        },
        None => "?".to_owned(),
    };
    policy.targets.iter().map(of).collect()
}

fn row(policy: &Policy) -> Vec<Cell> {
    let targets = targets(policy);
    vec![
        cell(id(&policy.name)),
        cell(policy.revision.to_string()).right(),
        cell(age_of(policy.update_time.as_ref(), now_ms())).right(),
        cell(policy.updated_by.clone()),
        cell(if targets.is_empty() { "-".to_owned() } else { targets.join(", ") }),
    ]
}

fn policy_json(policy: &Policy) -> Value {
    let targets: Vec<Value> = policy
        .targets
        .iter()
        .map(|target| match &target.target {
            Some(target::Target::Prefix(prefix)) => json!({ "prefix": prefix }),
            Some(target::Target::Vehicles(vehicles)) => json!({ "vehicles": { "ids": vehicles.ids } }),
            Some(target::Target::All(_)) | None => json!({ "all": true }),
        })
        .collect();
    json!({
        "name": policy.name,
        "etag": policy.etag,
        "revision": policy.revision,
        "document": policy.document,
        "updateTime": policy.update_time.as_ref().map(rfc3339),
        "updatedBy": policy.updated_by,
        "targets": targets,
    })
}

fn status_json(status: &PolicyStatus) -> Value {
    let refusals: Vec<Value> =
        status.refusals.iter().map(|r| json!({ "vehicle": r.vehicle, "reason": r.reason })).collect();
    json!({
        "name": status.name,
        "revision": status.revision,
        "desired": status.desired,
        "applied": status.applied,
        "refused": status.refused,
        "pending": status.pending,
        "refusals": refusals,
        "pendingVehicles": status.pending_vehicles,
    })
}
