//! The ride business of a node: its configuration, its journal, and how it is joined to the rest.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use remuda_backup::JournalPart;
use remuda_billing::invoices::Seller;
use remuda_business::on_call::OnCall;
use remuda_business::{Business, BusinessError, BusinessMetrics, BusinessSettings};
use remuda_contracts::alerts::AlertDesk;
use remuda_contracts::fleet::FleetView;
use remuda_contracts::marks::TripMarks;
use remuda_eventsourcing::{Journal, JournalError, JournalMetrics, SledJournal};
use remuda_model::OrganizationId;
use remuda_notifications::channels::email::{MailConfig, Mailer};
use remuda_observability::Metrics;
use remuda_roads::RoadNetwork;
use remuda_webhooks::Sender;
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};
use crate::journal::Which;
use crate::on_call::{OnCallConfig, people};

/// The ride business.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BusinessConfig {
    /// Whether this node has a ride business at all: bookings, users, money. Without it, it has vehicles only.
    pub enabled: bool,
    /// Who stands on invoices: name.
    pub seller: String,
    /// Street, town and country of the seller, a line each.
    pub seller_address: Vec<String>,
    /// Tax number of the seller, as the law wants it shown.
    pub seller_tax_id: String,
    /// The relay for e-mails to riders; none: they are told in the app only. Give the password as
    /// `REMUDA__BUSINESS__MAIL__PASSWORD`.
    #[serde(skip_serializing)]
    pub mail: Option<MailConfig>,
    /// Who is told of vehicles' alerts.
    #[serde(skip_serializing)]
    pub on_call: Vec<OnCallConfig>,
}

impl Default for BusinessConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            seller: "Remuda".into(),
            seller_address: Vec::new(),
            seller_tax_id: "none".into(),
            mail: None,
            on_call: Vec::new(),
        }
    }
}

impl BusinessConfig {
    /// Checks the section.
    pub(crate) fn check(&self, plain_http: bool) -> Result<(), ConfigError> {
        let range = |key, value: String, must| Err(ConfigError::Range { key, value, must });
        // As invoices want it: a text that is not there would stop every bill.
        for (key, text) in
            [("business.seller", &self.seller), ("business.seller_tax_id", &self.seller_tax_id)]
        {
            if text.is_empty() || text.len() > 256 {
                return range(key, format!("{} bytes long", text.len()), "1 to 256 bytes long");
            }
        }
        if let Some(line) = self.seller_address.iter().find(|line| line.is_empty() || line.len() > 256) {
            let value = format!("{} bytes long in a line", line.len());
            return range("business.seller_address", value, "1 to 256 bytes long in each line");
        }
        if let Some(Err(error)) = self.mail.as_ref().map(Mailer::new) {
            return range("business.mail", error.to_string(), "a relay that can be used");
        }
        if !self.enabled && !self.on_call.is_empty() {
            let must = "empty without a ride business, which sends the messages: set business.enabled = true";
            return range("business.on_call", format!("{} people", self.on_call.len()), must);
        }
        match people(&self.on_call, plain_http, self.mail.is_some()) {
            Err(error) => range("business.on_call", error, "people who can be told of alerts"),
            Ok(_) => Ok(()),
        }
    }
}

/// The journal of the business, open, and what backups and lookers need of it.
pub(crate) struct Ledgered {
    pub journal: Arc<dyn Journal>,
    pub part: JournalPart,
    pub which: Which,
}

/// Opens the journal of the business: without a business, group commands and approvals stand in it all the same.
pub(crate) fn open_journal(config: &Config, metrics: &JournalMetrics) -> Result<Ledgered, JournalError> {
    let journal = Arc::new(SledJournal::open(&config.data_dir.join("business"), metrics.clone())?);
    let part = JournalPart { name: "business", source: Arc::clone(&journal) as _ };
    Ok(Ledgered { journal, part, which: Which::Business })
}

/// What the business asks of the vehicles.
pub(crate) struct Vehicles {
    pub view: Arc<dyn FleetView>,
    pub marks: Arc<dyn TripMarks>,
    pub alerts: Arc<dyn AlertDesk>,
}

/// Starts the business over its journal.
pub(crate) async fn start(
    config: &Config,
    journal: Arc<dyn Journal>,
    Vehicles { view, marks, alerts }: Vehicles,
    roads: Option<Arc<RoadNetwork>>,
    webhooks: Sender,
    metrics: &Metrics,
) -> Result<Business, BusinessError> {
    let business_metrics = BusinessMetrics::default();
    metrics.register(|registry| business_metrics.register(registry));
    let section = &config.business;
    let settings = BusinessSettings {
        folder: config.data_dir.join("business-data"),
        organization: OrganizationId::default(),
        roads,
        marks: Some(marks),
        // Checked with the configuration.
        mailer: section.mail.as_ref().and_then(|mail| Mailer::new(mail).ok()),
        on_call: Some(OnCall {
            alerts,
            people: people(&section.on_call, config.feeds.reaches_private(), section.mail.is_some())
                .unwrap_or_default(),
            webhooks: Some(webhooks),
        }),
        services: Vec::new(),
        wrap_provider: None,
        seller: Seller {
            name: section.seller.clone(),
            address: section.seller_address.clone(),
            tax_id: section.seller_tax_id.clone(),
        },
        clock: Arc::new(|| {
            SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
        }),
    };
    Business::start(settings, journal, view, business_metrics).await
}
