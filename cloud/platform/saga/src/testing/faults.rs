//! Services that fail on demand, and a record of what they were asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::Value;

use crate::service::{ActionSpec, Service, Services, StepContext, StepError};

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The service says no.
    Refuse,
    /// It does not work this time.
    Transient,
    /// The request is lost: unknown to the caller, not done.
    LostRequest,
    /// The answer is lost: unknown to the caller, done.
    LostAnswer,
    /// The request arrives after everything else: unknown to the caller, done at [`Faults::deliver_late`].
    Late,
    /// No answer, ever; not done. Only for tests under virtual time: it takes the step's whole deadline.
    Hang,
}

/// A call that arrives late.
type Call = (Arc<dyn Service>, String, String, StepContext);

/// A call as it was made, and what the caller saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Key.
    pub key: String,
    /// The service did it, or had done it.
    pub done: bool,
    /// The caller was told so.
    pub told: bool,
}

type Chooser = Box<dyn Fn(&str, u32) -> Option<Fault> + Send + Sync>;

/// Decides which calls fail, and remembers all of them. Cheap to clone; all clones are one.
#[derive(Clone, Default)]
pub struct Faults {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    chooser: Option<Chooser>,
    tries: BTreeMap<String, u32>,
    seen: Vec<Seen>,
    late: Vec<Call>,
}

impl Faults {
    /// None, until told.
    pub fn none() -> Self {
        Self::default()
    }

    /// From now on, `choose(key, try)` says what goes wrong; tries count from 1 per key.
    pub fn choose(&self, choose: impl Fn(&str, u32) -> Option<Fault> + Send + Sync + 'static) {
        self.inner.lock().chooser = Some(Box::new(choose));
    }

    /// From now on nothing goes wrong.
    pub fn lift(&self) {
        self.inner.lock().chooser = None;
    }

    /// All calls so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().seen.clone()
    }

    /// Lets calls arrive that were delayed.
    pub async fn deliver_late(&self) {
        let late = std::mem::take(&mut self.inner.lock().late);
        for (service, action, key, context) in late {
            // Nobody waits for the answer.
            let _ = service.call(&action, &key, &context).await;
        }
    }

    /// These services, failing as told.
    pub fn wrap(&self, services: &Services) -> Services {
        Services::new(services.iter().map(|service| {
            let faulty = Faulty { service: Arc::clone(service), faults: self.clone() };
            Arc::new(faulty) as Arc<dyn Service>
        }))
    }

    fn fault(&self, key: &str) -> Option<Fault> {
        let mut inner = self.inner.lock();
        let tries = inner.tries.entry(key.to_owned()).or_default();
        *tries += 1;
        let tries = *tries;
        inner.chooser.as_ref().and_then(|choose| choose(key, tries))
    }

    fn record(&self, key: &str, done: bool, told: bool) {
        self.inner.lock().seen.push(Seen { key: key.to_owned(), done, told });
    }
}

struct Faulty {
    service: Arc<dyn Service>,
    faults: Faults,
}

#[async_trait]
impl Service for Faulty {
    fn name(&self) -> &'static str {
        self.service.name()
    }

    fn actions(&self) -> &'static [ActionSpec] {
        self.service.actions()
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        match self.faults.fault(key) {
            None => {
                let answer = self.service.call(action, key, context).await;
                self.faults.record(key, answer.is_ok(), answer.is_ok());
                answer
            }
            Some(Fault::LostAnswer) => {
                let done = self.service.call(action, key, context).await.is_ok();
                self.faults.record(key, done, false);
                Err(StepError::Unknown("the answer was lost".to_owned()))
            }
            Some(Fault::Late) => {
                let call = (Arc::clone(&self.service), action.to_owned(), key.to_owned(), context.clone());
                self.faults.inner.lock().late.push(call);
                self.faults.record(key, false, false);
                Err(StepError::Unknown("the request is on its way".to_owned()))
            }
            Some(fault) => {
                self.faults.record(key, false, false);
                match fault {
                    Fault::Refuse => Err(StepError::refused("told-to-refuse", "")),
                    Fault::Transient => Err(StepError::Transient("told to fail".to_owned())),
                    Fault::Hang => std::future::pending().await,
                    _ => Err(StepError::Unknown("the request was lost".to_owned())),
                }
            }
        }
    }
}
