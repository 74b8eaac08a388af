//! A provider that keeps its own books and, from a seed, fails, hangs, answers late and twice, and loses
//! answers.

use std::collections::HashMap;
use std::future::pending;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::{PaymentProvider, ProviderAnswer, ProviderError, ProviderRequest, StatementLine};
use crate::money::{Currency, Money};
use crate::payment::OperationKind;

/// How often each fault happens, in thousandths of the calls.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Faults {
    /// Says no to holds and captures.
    pub decline: u16,
    /// Not available; nothing is done.
    pub fail: u16,
    /// Never answers; half of the time it does what was asked.
    pub hang: u16,
    /// Answers only after a while.
    pub late: u16,
    /// Answers, and the same again by itself later.
    pub twice: u16,
    /// Does it, and the answer is lost.
    pub lose: u16,
    /// The longest while of a late answer.
    pub late_at_most: Duration,
}

impl Faults {
    /// All of them, often.
    pub fn all(late_at_most: Duration) -> Self {
        Self { decline: 50, fail: 100, hang: 50, late: 100, twice: 150, lose: 100, late_at_most }
    }
}

#[derive(Debug)]
struct Hold {
    key: String,
    amount: Money,
    open: bool,
}

#[derive(Debug, Default)]
struct Books {
    answers: HashMap<String, ProviderAnswer>,
    holds: HashMap<String, Hold>,
    /// Captured and refunded, minor units, by the payment.
    payments: HashMap<String, (i64, i64)>,
    /// Holds that were let go before they came.
    barred: Vec<String>,
    echoes: Vec<(String, ProviderAnswer)>,
    statement: Vec<StatementLine>,
    calls: u64,
    named: u64,
}

/// The fake. Its books are its own: what they say is compared with ours.
#[derive(Debug)]
pub struct FakeProvider {
    faults: Faults,
    rng: Mutex<StdRng>,
    books: Mutex<Books>,
}

impl FakeProvider {
    /// With faults, from a seed.
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self { faults, rng: Mutex::new(StdRng::seed_from_u64(seed)), books: Mutex::default() }
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls so far, repetitions among them.
    pub fn calls(&self) -> u64 {
        self.books().calls
    }

    /// Holds that are still set aside.
    pub fn open_holds(&self) -> usize {
        self.books().holds.values().filter(|hold| hold.open).count()
    }

    /// What it has taken, less what it gave back, minor units.
    pub fn net_minor(&self, currency: Currency) -> i64 {
        let books = self.books();
        let ours = books.statement.iter().filter(|line| line.amount.currency == currency);
        ours.map(|line| line.amount.minor_units).sum()
    }

    fn draw(&self) -> (u16, bool, u64) {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        let longest = u64::try_from(self.faults.late_at_most.as_millis()).unwrap_or(u64::MAX);
        (rng.random_range(0..1_000), rng.random(), rng.random_range(0..=longest))
    }

    fn declines(&self) -> bool {
        let mut rng = self.rng.lock().unwrap_or_else(PoisonError::into_inner);
        rng.random_range(0..1_000) < self.faults.decline
    }

    fn execute(&self, request: &ProviderRequest) -> ProviderAnswer {
        if let Some(known) = self.books().answers.get(&request.key) {
            return known.clone();
        }
        let may_decline = matches!(request.kind, OperationKind::Hold | OperationKind::Capture);
        let answer = if may_decline && self.declines() {
            ProviderAnswer::Declined { code: "insufficient-funds".into() }
        } else {
            self.books().execute(request)
        };
        self.books().answers.insert(request.key.clone(), answer.clone());
        answer
    }
}

impl Books {
    fn name(&mut self, what: &str) -> String {
        self.named += 1;
        format!("{what}_{:06}", self.named)
    }

    fn execute(&mut self, request: &ProviderRequest) -> ProviderAnswer {
        let declined = |code: &str| ProviderAnswer::Declined { code: code.into() };
        match (request.kind, request.amount) {
            (OperationKind::Hold, Some(amount)) => {
                if self.barred.contains(&request.key) {
                    return declined("hold-was-voided");
                }
                let reference = self.name("hold");
                let hold = Hold { key: request.key.clone(), amount, open: true };
                self.holds.insert(reference.clone(), hold);
                ProviderAnswer::Done { reference }
            }
            (OperationKind::Capture, Some(amount)) => self.capture(request, amount),
            (OperationKind::Refund, Some(amount)) => {
                let entry = self.payments.entry(request.payment.clone()).or_default();
                if amount.minor_units > entry.0 - entry.1 {
                    return declined("refund-exceeds-captured");
                }
                entry.1 += amount.minor_units;
                let reference = self.name("refund");
                self.line(request, &reference, Money { minor_units: -amount.minor_units, ..amount });
                ProviderAnswer::Done { reference }
            }
            (OperationKind::Void, _) => {
                let named = request.reference.clone();
                let by_key = || {
                    let key = request.on_key.as_ref()?;
                    self.holds.iter().find(|(_, hold)| hold.key == *key).map(|(name, _)| name.clone())
                };
                if let Some(hold) = named.or_else(by_key).and_then(|name| self.holds.get_mut(&name)) {
                    hold.open = false;
                }
                self.barred.extend(request.on_key.clone());
                ProviderAnswer::Done { reference: self.name("void") }
            }
            _ => declined("no-amount"),
        }
    }

    fn capture(&mut self, request: &ProviderRequest, amount: Money) -> ProviderAnswer {
        let hold = request.reference.as_ref().and_then(|name| self.holds.get_mut(name));
        if let Some(hold) = hold {
            if !hold.open || amount.minor_units > hold.amount.minor_units {
                return ProviderAnswer::Declined { code: "capture-exceeds-hold".into() };
            }
            // What is not captured is released, as card networks do.
            hold.open = false;
        }
        self.payments.entry(request.payment.clone()).or_default().0 += amount.minor_units;
        let reference = self.name("capture");
        self.line(request, &reference, amount);
        ProviderAnswer::Done { reference }
    }

    fn line(&mut self, request: &ProviderRequest, reference: &str, amount: Money) {
        self.statement.push(StatementLine {
            reference: reference.to_owned(),
            payment: Some(request.payment.clone()),
            amount,
            time_ms: request.now_ms,
        });
    }
}

#[async_trait]
impl PaymentProvider for FakeProvider {
    async fn call(&self, request: &ProviderRequest) -> Result<ProviderAnswer, ProviderError> {
        self.books().calls += 1;
        let (drawn, coin, while_ms) = self.draw();
        let mut below = 0;
        let mut hits = |share: u16| {
            below += share;
            drawn < below
        };
        let Faults { fail, hang, late, twice, lose, .. } = self.faults;
        if hits(fail) {
            return Err(ProviderError::Unavailable("503".into()));
        }
        if hits(hang) {
            if coin {
                self.execute(request);
            }
            return pending().await;
        }
        if hits(late) {
            // Done first, said later: whoever stops waiting does not know.
            let answer = self.execute(request);
            tokio::time::sleep(Duration::from_millis(while_ms)).await;
            return Ok(answer);
        }
        let answer = self.execute(request);
        if hits(twice) {
            self.books().echoes.push((request.key.clone(), answer.clone()));
        }
        if hits(lose) { Err(ProviderError::Lost("connection reset".into())) } else { Ok(answer) }
    }

    async fn late_answers(&self) -> Vec<(String, ProviderAnswer)> {
        std::mem::take(&mut self.books().echoes)
    }

    async fn statement(&self, from_ms: i64, to_ms: i64) -> Result<Vec<StatementLine>, ProviderError> {
        let books = self.books();
        Ok(books.statement.iter().filter(|l| (from_ms..to_ms).contains(&l.time_ms)).cloned().collect())
    }
}
