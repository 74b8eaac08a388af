//! `remuda.system.v1.SystemService`: how the node is, and what of it somebody should look at.

use std::sync::Arc;

use remuda_api::system::v1::system_service_server::SystemService;
use remuda_api::system::v1::{Component, GetSystemRequest, Health, Process, System};
use remuda_contracts::business::BusinessDesk;
use remuda_contracts::system::{DiskSpace, ProcessFigures};
use remuda_feeds::{FeedView, Feeds, Phase};
use tonic::{Request, Response, Status};

use crate::convert::timestamp_of;
use crate::fleet_status::fleet_status;
use crate::limits;
use crate::mirror::Mirror;
use crate::pages::Readiness;
use crate::refusal::Refusal;
use crate::scope::{Scope, field};
use crate::sight::Seen;
use crate::time::now_ms;

/// What the process uses, read when it is asked for.
pub type ProcessSource = Arc<dyn Fn() -> ProcessFigures + Send + Sync>;

/// The service, over what else the console shows.
pub(crate) struct Systems {
    pub scope: Scope,
    pub mirror: Arc<Mirror>,
    pub ready: Readiness,
    pub process: ProcessSource,
    pub feeds: Option<Feeds>,
    pub business: Option<Arc<dyn BusinessDesk>>,
}

impl Systems {
    async fn get(&self, request: GetSystemRequest) -> Result<System, Refusal> {
        let organization =
            request.name.strip_prefix("organizations/").and_then(|name| name.strip_suffix("/system"));
        self.scope.check(
            organization.ok_or_else(|| field("name", "it is `organizations/{organization}/system`"))?,
        )?;
        let figures = (self.process)();
        let mut components = vec![self.node(&figures), self.vehicles()];
        components.extend(figures.disk.as_ref().map(disk));
        if let Some(feeds) = &self.feeds {
            components.push(feeds_component(feeds.list(&self.scope.organization).await));
        }
        if let Some(business) = &self.business {
            components.push(self.reactors(business).await);
            components.push(self.sagas(business).await);
        }
        let worst = components.iter().map(|component| component.health).max().unwrap_or_default();
        Ok(System {
            name: request.name,
            version: env!("CARGO_PKG_VERSION").into(),
            start_time: timestamp_of(figures.started_ms),
            read_time: timestamp_of(now_ms()),
            health: worst,
            components,
            process: Some(process_of(&figures)),
        })
    }

    fn node(&self, figures: &ProcessFigures) -> Component {
        match (self.ready)() {
            Err(why) => component("node", Health::Down, why),
            Ok(Some(warning)) => component("node", Health::Degraded, warning),
            Ok(None) if figures.open_files * 10 > figures.open_files_max * 9 => component(
                "node",
                Health::Degraded,
                format!(
                    "{} of {} file handles are open: raise the limit (ulimit -n), or let fewer vehicles in",
                    figures.open_files, figures.open_files_max
                ),
            ),
            Ok(None) => component("node", Health::Ok, "ready".into()),
        }
    }

    fn vehicles(&self) -> Component {
        let fleet = fleet_status(&self.mirror, &Seen::All, now_ms());
        let detail =
            format!("{} known, {} online, {} with an alert", fleet.total, fleet.online, fleet.with_alerts);
        component("vehicles", Health::Ok, detail)
    }

    async fn reactors(&self, business: &Arc<dyn BusinessDesk>) -> Component {
        let readers = match business.reactors(&self.scope.organization).await {
            Ok(readers) => readers,
            Err(error) => return component("reactors", Health::Down, error.to_string()),
        };
        let names = |stands: &dyn Fn(&&remuda_contracts::business::reactors::ReactorView) -> bool| {
            readers.iter().filter(stands).map(|reader| reader.name).collect::<Vec<_>>().join(", ")
        };
        let (stopped, retrying) =
            (names(&|reader| !reader.stopped.is_empty()), names(&|reader| reader.retrying > 0));
        let lag: u64 = readers.iter().map(|reader| reader.lag_events).sum();
        if !stopped.is_empty() {
            let advice = "see `remudactl reactors get`, then retry or skip";
            return component(
                "reactors",
                Health::Degraded,
                format!("stopped at an event: {stopped}; {advice}"),
            );
        }
        if !retrying.is_empty() {
            return component("reactors", Health::Degraded, format!("an event is tried again: {retrying}"));
        }
        component("reactors", Health::Ok, format!("{}, {lag} events behind", readers.len()))
    }

    async fn sagas(&self, business: &Arc<dyn BusinessDesk>) -> Component {
        let stuck = business.sagas(&self.scope.organization, Some("stuck"), None, limits::PAGE_DEFAULT).await;
        match stuck {
            Err(error) => component("sagas", Health::Down, error.to_string()),
            Ok((stuck, _)) if stuck.is_empty() => component("sagas", Health::Ok, "none is stuck".into()),
            Ok((stuck, more)) => {
                let count = format!("{}{}", stuck.len(), if more.is_some() { " or more" } else { "" });
                let advice = "see `remudactl sagas list --state stuck`, then retry, skip or compensate";
                component("sagas", Health::Degraded, format!("{count} stuck; {advice}"))
            }
        }
    }
}

fn component(name: &str, health: Health, detail: String) -> Component {
    Component { component: name.into(), health: health.into(), detail }
}

fn disk(space: &DiskSpace) -> Component {
    let DiskSpace { free, total } = *space;
    let figures = format!("{} MB of {} MB are free", free / 1_000_000, total / 1_000_000);
    if free < limits::DISK_FREE_BYTES_MIN || free < total / limits::DISK_FREE_SHARE_MIN {
        let advice =
            "make room or shorten retention before nothing can be stored and vehicles are told to wait";
        return component("disk", Health::Degraded, format!("only {figures}: {advice}"));
    }
    component("disk", Health::Ok, figures)
}

fn feeds_component<E: std::fmt::Display>(feeds: Result<Vec<FeedView>, E>) -> Component {
    let feeds = match feeds {
        Ok(feeds) => feeds,
        Err(error) => return component("feeds", Health::Down, error.to_string()),
    };
    let troubled: Vec<String> = feeds.iter().filter_map(trouble).collect();
    if troubled.is_empty() {
        return component("feeds", Health::Ok, format!("{} registered", feeds.len()));
    }
    component("feeds", Health::Degraded, troubled.join("; "))
}

/// What is wrong with a feed. One that somebody paused is as they want it.
fn trouble(feed: &FeedView) -> Option<String> {
    let name = &feed.spec.name;
    match feed.status.phase {
        Phase::Blocked => Some(format!("{name} is blocked by dead letters: send them again or delete them")),
        Phase::Retrying => {
            let why = feed.status.last_error.as_ref().map_or("it failed", |(_, why)| why);
            Some(format!("{name} is tried again: {why}"))
        }
        Phase::Running | Phase::Paused if feed.dead_letters > 0 => {
            Some(format!("{name} has {} dead letters", feed.dead_letters))
        }
        Phase::Running | Phase::Paused => None,
    }
}

fn process_of(figures: &ProcessFigures) -> Process {
    let whole = |figure: u64| i64::try_from(figure).unwrap_or(i64::MAX);
    let disk = figures.disk.unwrap_or(DiskSpace { free: 0, total: 0 });
    Process {
        memory_bytes: whole(figures.memory_bytes),
        memory_peak_bytes: whole(figures.memory_peak_bytes),
        open_files: whole(figures.open_files),
        open_files_max: whole(figures.open_files_max),
        cpu_seconds: figures.cpu_seconds,
        disk_free_bytes: whole(disk.free),
        disk_total_bytes: whole(disk.total),
    }
}

#[tonic::async_trait]
impl SystemService for Systems {
    async fn get_system(&self, request: Request<GetSystemRequest>) -> Result<Response<System>, Status> {
        self.scope.measured("GetSystem", self.get(request.into_inner())).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_space_is_said_before_there_is_none() {
        let health = |free, total| disk(&DiskSpace { free, total }).health;
        const GB: u64 = 1_000_000_000;
        assert_eq!(health(60 * GB, 100 * GB), i32::from(Health::Ok));
        assert_eq!(health(4 * GB, 100 * GB), i32::from(Health::Degraded), "under a twentieth");
        assert_eq!(health(GB / 2, 2 * GB), i32::from(Health::Degraded), "under a gigabyte");
    }
}
