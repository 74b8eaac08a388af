//! Group commands, second persons and assistance: their configuration, and how they are joined to the rest.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_business::Business;
use remuda_contracts::assistance::Reports;
use remuda_contracts::commands::CommandDesk;
use remuda_entities::{EntityMetrics, Shards};
use remuda_eventsourcing::{Journal, JournalError};
use remuda_model::OrganizationId;
use remuda_observability::Metrics;
use remuda_operations::{
    Danger, Operations, OperationsMetrics, OperationsSettings, OperationsStartError, TwoPersons,
};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};

/// What one person may not do alone (docs/commands.md).
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CommandsConfig {
    /// Commands that need a second person: `reboot`, `lock`, `unlock`, `unlock-while-driving`, `speed-limit`, `honk`.
    pub two_persons: Vec<String>,
    /// A command to more vehicles than this needs a second person whatever it is, 1 to 10,000.
    pub two_persons_above_vehicles: u32,
    /// Minutes that a request waits for a second person, 1 to 10,080.
    pub approval_minutes: u32,
}

impl Default for CommandsConfig {
    fn default() -> Self {
        let two_persons = [Danger::Reboot, Danger::UnlockWhileDriving];
        Self {
            two_persons: two_persons.map(|danger| danger.as_str().to_owned()).into(),
            two_persons_above_vehicles: 50,
            approval_minutes: 30,
        }
    }
}

impl CommandsConfig {
    /// Checks the section.
    pub(crate) fn check(&self) -> Result<(), ConfigError> {
        self.rule().map(|_| ())
    }

    fn rule(&self) -> Result<TwoPersons, ConfigError> {
        let range = |key, value: String, must| Err(ConfigError::Range { key, value, must });
        let mut kinds = BTreeSet::new();
        for name in &self.two_persons {
            let Some(danger) = Danger::named(name) else {
                let must = "reboot, lock, unlock, unlock-while-driving, speed-limit or honk";
                return range("commands.two_persons", name.clone(), must);
            };
            kinds.insert(danger);
        }
        let above = self.two_persons_above_vehicles;
        if !(1..=10_000).contains(&above) {
            return range("commands.two_persons_above_vehicles", above.to_string(), "1 to 10000");
        }
        if !(1..=10_080).contains(&self.approval_minutes) {
            return range("commands.approval_minutes", self.approval_minutes.to_string(), "1 to 10080");
        }
        Ok(TwoPersons {
            kinds,
            above_vehicles: above as usize,
            wait_ms: i64::from(self.approval_minutes) * 60_000,
        })
    }
}

/// Why group commands do not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The journal.
    #[error("the shards of the business journal cannot be taken: {0}")]
    Journal(#[from] JournalError),
    /// Theirs.
    #[error(transparent)]
    Operations(#[from] OperationsStartError),
}

/// Starts them over the shards of the business, or without one over its journal.
pub(crate) async fn start(
    config: &Config,
    business: Option<&Business>,
    journal: &Arc<dyn Journal>,
    (desk, reports): (Arc<dyn CommandDesk>, Arc<dyn Reports>),
    metrics: &Metrics,
) -> Result<Operations, StartError> {
    let shards = match business {
        Some(business) => Arc::clone(business.shards()),
        None => {
            let own = EntityMetrics::default();
            metrics.register(|registry| own.register(registry));
            Shards::take_all(Arc::clone(journal), own).await?
        }
    };
    let settings = OperationsSettings {
        folder: config.data_dir.join("operations-data"),
        two_persons: config.commands.rule()?,
        clock: Arc::new(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
        }),
        organization: OrganizationId::default(),
    };
    let own = OperationsMetrics::default();
    metrics.register(|registry| own.register(registry));
    Ok(Operations::start(settings, &shards, desk, reports, own).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_is_named() {
        CommandsConfig::default().check().expect("the defaults hold");
        for (wrong, says) in [
            (CommandsConfig { two_persons: vec!["explode".into()], ..Default::default() }, "explode"),
            (CommandsConfig { two_persons_above_vehicles: 0, ..Default::default() }, "above_vehicles"),
            (CommandsConfig { approval_minutes: 0, ..Default::default() }, "approval_minutes"),
        ] {
            let sentence = wrong.check().expect_err("wrong").to_string();
            assert!(sentence.contains(says), "{sentence}");
        }
    }
}
