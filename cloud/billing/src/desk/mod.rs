//! Billing at work: charges what ended, and drives each payment to its rest, whatever fails in between.
//!
//! [`Billing::calculate`] is durable and exactly once by the event's id; everything after it follows from the
//! payment's state ([`crate::payment::plan`]), so [`Billing::drive`] may be called again after any crash, by
//! anyone, at any time.

mod calculate;
mod drive;
mod feed;
mod saga;

use std::collections::BTreeMap;
use std::sync::Arc;

use remuda_entities::{AskError, Entities, Outcome, Settings, Shards};
use remuda_eventsourcing::{Aggregate, Context};
use remuda_model::OrganizationId;

pub use calculate::{CalculateError, Calculated};
pub use drive::{DriveError, Driven};
pub use feed::{BillTrips, DrivePayments, FeedError};
pub use saga::BillingService;

use crate::fare::{FareError, Measured};
use crate::invoices::{Invoices, Seller};
use crate::ledger::{Ledger, LedgerCommand, Posting, Transaction, posting};
use crate::money::Money;
use crate::payment::{Method, Payment, PaymentCommand};
use crate::provider::Gateway;
use crate::quote::{Quote, QuoteCommand, Quotes, quote};
use crate::tariff::Tariffs;

/// Now, ms since 1970 UTC.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// What billing is told at start-up.
#[derive(Clone)]
pub struct BillingSettings {
    /// Tariffs, all versions.
    pub tariffs: Tariffs,
    /// The tariff of rides that were not quoted.
    pub tariff: String,
    /// How riders pay who have no hold.
    pub method: Method,
    /// Who stands on the invoices.
    pub seller: Seller,
    /// Offset of the seller's local time from UTC in winter, minutes: says in which year a document belongs.
    pub utc_offset_min: i32,
}

/// Billing. Cheap to clone.
#[derive(Clone)]
pub struct Billing {
    inner: Arc<Inner>,
}

struct Inner {
    payments: Entities<Payment>,
    ledgers: Entities<Ledger>,
    books: Entities<Invoices>,
    quotes: Entities<Quotes>,
    gateways: BTreeMap<Method, Gateway>,
    settings: BillingSettings,
    clock: Clock,
}

/// Billing cannot start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SetupError {
    /// No tariff of that name.
    #[error("billing's tariff {0:?} is not among the tariffs")]
    UnknownTariff(String),
    /// No way to pay by default.
    #[error("nobody takes payments by {0}; configure a provider for it or another default method")]
    NoProvider(&'static str),
    /// An offset beyond any in use.
    #[error("an offset of {0} minutes from UTC is not in use; write -720 to 840")]
    Offset(i32),
    /// The entities do not start.
    #[error("billing cannot start: {0}")]
    Entities(String),
}

/// Why a quote was not given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuoteError {
    /// No tariff of that name holds now.
    #[error("there is no tariff {0:?} now")]
    UnknownTariff(String),
    /// Not a ride that can be priced.
    #[error(transparent)]
    Fare(#[from] FareError),
    /// Refused, or not known.
    #[error(transparent)]
    Ask(#[from] AskError),
}

impl Billing {
    /// Starts its entities.
    ///
    /// # Errors
    /// [`SetupError`].
    pub async fn start(
        shards: &Arc<Shards>,
        gateways: BTreeMap<Method, Gateway>,
        settings: BillingSettings,
        clock: Clock,
    ) -> Result<Self, SetupError> {
        if !settings.tariffs.iter().any(|t| t.code == settings.tariff) {
            return Err(SetupError::UnknownTariff(settings.tariff));
        }
        if !gateways.contains_key(&settings.method) {
            return Err(SetupError::NoProvider(settings.method.name()));
        }
        if !(-720..=840).contains(&settings.utc_offset_min) {
            return Err(SetupError::Offset(settings.utc_offset_min));
        }
        let inner = Inner {
            payments: Entities::start(shards, Settings::default()).await.map_err(SetupError::Entities)?,
            ledgers: Entities::start(shards, Settings::default()).await.map_err(SetupError::Entities)?,
            books: Entities::start(shards, Settings::default()).await.map_err(SetupError::Entities)?,
            quotes: Entities::start(shards, Settings::default()).await.map_err(SetupError::Entities)?,
            gateways,
            settings,
            clock,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// All payments.
    pub fn payments(&self) -> &Entities<Payment> {
        &self.inner.payments
    }

    /// All ledgers.
    pub fn ledgers(&self) -> &Entities<Ledger> {
        &self.inner.ledgers
    }

    /// All books of invoices.
    pub fn books(&self) -> &Entities<Invoices> {
        &self.inner.books
    }

    /// All quotes.
    pub fn quotes(&self) -> &Entities<Quotes> {
        &self.inner.quotes
    }

    /// Prices a planned ride and promises it. The same id answers the same quote.
    ///
    /// # Errors
    /// [`QuoteError`].
    pub async fn give_quote(
        &self,
        organization: &OrganizationId,
        quote_id: &str,
        rider: &str,
        planned: Measured,
        surge_percent: u32,
    ) -> Result<Quote, QuoteError> {
        let Inner { quotes, settings, clock, .. } = &*self.inner;
        if let Some(known) = quotes.read(organization, quote_id).await?.state.quote {
            return Ok(known);
        }
        let now_ms = clock();
        let tariff = settings.tariffs.at(&settings.tariff, now_ms);
        let tariff = tariff.ok_or_else(|| QuoteError::UnknownTariff(settings.tariff.clone()))?;
        let quote = quote(tariff, rider, planned, surge_percent, now_ms)?;
        let context = self.context("give", &format!("user/{rider}"), quote_id);
        quotes.ask(organization, quote_id, QuoteCommand::Give(quote.clone()), context).await?;
        Ok(quote)
    }

    /// Books a ride at a quote.
    ///
    /// # Errors
    /// Refused when it has expired or another ride has it; else [`AskError`].
    pub async fn accept_quote(
        &self,
        organization: &OrganizationId,
        quote_id: &str,
        trip: &str,
    ) -> Result<(), AskError> {
        let context = self.context(&format!("accept/{trip}"), &format!("trip/{trip}"), trip);
        let command = QuoteCommand::Accept { trip: trip.to_owned() };
        self.inner.quotes.ask(organization, quote_id, command, context).await.map(|_| ())
    }

    /// Sets money aside for a ride, then drives it. Look at the payment's status for the provider's answer.
    ///
    /// # Errors
    /// [`AskError`]; [`Driven`] says how far it came.
    pub async fn hold(
        &self,
        organization: &OrganizationId,
        payment: &str,
        payer: &str,
        method: Method,
        amount: Money,
        command_id: &str,
    ) -> Result<Driven, DriveError> {
        let command = PaymentCommand::Hold { payer: payer.to_owned(), method, amount };
        self.pay(organization, payment, command, command_id, payer).await?;
        self.drive(organization, payment).await
    }

    /// Lets the hold of a ride go, then drives it.
    ///
    /// # Errors
    /// [`AskError`].
    pub async fn void(
        &self,
        organization: &OrganizationId,
        payment: &str,
        reason: &str,
        command_id: &str,
    ) -> Result<Driven, DriveError> {
        let command = PaymentCommand::Void { reason: reason.to_owned() };
        self.pay(organization, payment, command, command_id, "billing").await?;
        self.drive(organization, payment).await
    }

    /// Gives back, then drives it.
    ///
    /// # Errors
    /// [`AskError`]: never more than was captured.
    pub async fn refund(
        &self,
        organization: &OrganizationId,
        payment: &str,
        refund_id: &str,
        amount: Money,
        reason: &str,
        actor: &str,
    ) -> Result<Driven, DriveError> {
        let command =
            PaymentCommand::Refund { refund_id: refund_id.to_owned(), amount, reason: reason.to_owned() };
        // Not the refund's name: a refusal for now (an operation is pending) must not be remembered for it.
        let seen = self.inner.payments.read(organization, payment).await?;
        let command_id = format!("refund/{refund_id}/{}", seen.version);
        self.pay(organization, payment, command, &command_id, actor).await?;
        self.drive(organization, payment).await
    }

    /// Asks the provider again for a price that was declined too often, then drives it.
    ///
    /// # Errors
    /// [`AskError`]; refused when nothing needs it.
    pub async fn try_again(
        &self,
        organization: &OrganizationId,
        payment: &str,
        reason: &str,
        request_id: &str,
        actor: &str,
    ) -> Result<Driven, DriveError> {
        let command = PaymentCommand::TryAgain { reason: reason.to_owned() };
        self.pay(organization, payment, command, &format!("try-again/{request_id}"), actor).await?;
        self.drive(organization, payment).await
    }

    /// Gives a price up that was declined too often, then posts that.
    ///
    /// # Errors
    /// [`AskError`]; refused when nothing needs it.
    pub async fn write_off(
        &self,
        organization: &OrganizationId,
        payment: &str,
        reason: &str,
        request_id: &str,
        actor: &str,
    ) -> Result<Driven, DriveError> {
        let command = PaymentCommand::WriteOff { reason: reason.to_owned() };
        self.pay(organization, payment, command, &format!("write-off/{request_id}"), actor).await?;
        self.drive(organization, payment).await
    }

    /// Posts what happened to a payer's credits. `key` names it: the same again is posted once.
    ///
    /// # Errors
    /// [`DriveError`].
    pub async fn post_credits(
        &self,
        organization: &OrganizationId,
        payer: &str,
        key: &str,
        what: Posting,
        reference: Option<String>,
    ) -> Result<(), DriveError> {
        let memo = match what {
            Posting::CreditsForfeited(_) => "credits given up",
            _ => "credits bought",
        };
        let transaction = Transaction { reference, ..posting(key, memo, what)? };
        let context = self.context(&format!("post/{key}"), "billing", payer);
        let command = LedgerCommand::Post(transaction);
        ask(&self.inner.ledgers, organization, payer, command, context).await?;
        Ok(())
    }

    async fn pay(
        &self,
        organization: &OrganizationId,
        payment: &str,
        command: PaymentCommand,
        command_id: &str,
        actor: &str,
    ) -> Result<Outcome<Payment>, AskError> {
        let context = self.context(command_id, actor, payment);
        ask(&self.inner.payments, organization, payment, command, context).await
    }

    fn context(&self, command_id: &str, actor: &str, correlation_id: &str) -> Context {
        let actor = if actor.contains('/') { actor.to_owned() } else { format!("policy/{actor}") };
        Context {
            now_ms: (self.inner.clock)(),
            command_id: command_id.to_owned(),
            actor,
            correlation_id: correlation_id.to_owned(),
        }
    }
}

/// Asks again a few times where the outcome is not known: the same command id, so it happens once.
async fn ask<A: Aggregate>(
    entities: &Entities<A>,
    organization: &OrganizationId,
    id: &str,
    command: A::Command,
    context: Context,
) -> Result<Outcome<A>, AskError> {
    let mut last = None;
    for _ in 0..3 {
        match entities.ask(organization, id, command.clone(), context.clone()).await {
            Err(error) if error.is_transient() => last = Some(error),
            outcome => return outcome,
        }
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    Err(last.unwrap_or(AskError::Overloaded { what: "the entity" }))
}
