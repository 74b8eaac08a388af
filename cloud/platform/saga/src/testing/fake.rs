//! A world in memory for any definition: each action takes one of something, each undo gives it back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::World;
use crate::definition::Definition;
use crate::service::{ActionSpec, Service, Services, StepContext, StepError};

/// What a step is in a fake service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// Done.
    Taken(Value),
    /// Refused: the same key is refused again.
    Refused,
    /// Undone, or barred before it came.
    Returned,
}

/// Steps by `{saga}/{step}`, and how much is left of what each action takes.
#[derive(Debug, Default)]
struct Book {
    held: BTreeMap<String, Held>,
    left: BTreeMap<String, u32>,
}

/// Services made from a definition. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct FakeWorld {
    book: Arc<Mutex<Book>>,
    services: Services,
    scarce: Option<String>,
}

struct FakeService {
    name: &'static str,
    actions: &'static [ActionSpec],
    book: Arc<Mutex<Book>>,
}

/// Names live as long as the tests do.
fn leaked(text: &str) -> &'static str {
    Box::leak(text.to_owned().into_boxed_str())
}

impl FakeWorld {
    /// Services that offer what the definition names.
    pub fn of(definition: &Definition) -> Self {
        let mut offered: BTreeMap<&str, BTreeMap<&str, Option<&str>>> = BTreeMap::new();
        for call in definition.steps.iter().filter_map(|step| step.call()) {
            let actions = offered.entry(&call.service).or_default();
            actions.insert(&call.action, call.compensate.as_deref());
            if let Some(compensate) = &call.compensate {
                actions.entry(compensate).or_default();
            }
        }
        let book = Arc::new(Mutex::new(Book::default()));
        let services = offered.into_iter().map(|(name, actions)| {
            let specs: Vec<ActionSpec> = actions
                .into_iter()
                .map(|(name, undone_by)| ActionSpec { name: leaked(name), undone_by: undone_by.map(leaked) })
                .collect();
            let service = FakeService { name: leaked(name), actions: specs.leak(), book: Arc::clone(&book) };
            Arc::new(service) as Arc<dyn Service>
        });
        Self { services: Services::new(services), book, scarce: None }
    }

    /// Only one saga can take this action once [`World::only_one_left`] is asked for.
    #[must_use]
    pub fn scarce(mut self, action: &str) -> Self {
        self.scarce = Some(action.to_owned());
        self
    }

    /// All steps ever asked for.
    pub fn book(&self) -> BTreeMap<String, Held> {
        self.book.lock().held.clone()
    }
}

#[async_trait]
impl World for FakeWorld {
    fn services(&self) -> Services {
        self.services.clone()
    }

    fn input(&self, n: u32) -> Value {
        json!({ "rider": format!("rider-{n}") })
    }

    async fn held(&self) -> String {
        let book = self.book.lock();
        let held = book.held.iter().filter(|(_, held)| matches!(held, Held::Taken(_)));
        held.map(|(step, _)| step.as_str()).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" ")
    }

    fn only_one_left(&self) -> bool {
        let Some(action) = &self.scarce else { return false };
        self.book.lock().left.insert(action.clone(), 1);
        true
    }
}

#[async_trait]
impl Service for FakeService {
    fn name(&self) -> &'static str {
        self.name
    }

    fn actions(&self) -> &'static [ActionSpec] {
        self.actions
    }

    async fn call(&self, action: &str, key: &str, context: &StepContext) -> Result<Value, StepError> {
        // As long as a real one: others get their turn.
        tokio::task::yield_now().await;
        let mut book = self.book.lock();
        let Book { held, left } = &mut *book;
        if let Some(step) = key.strip_suffix("/undo") {
            let before = held.insert(step.to_owned(), Held::Returned);
            let taken = matches!(before, Some(Held::Taken(_)));
            for undone in self.actions.iter().filter(|spec| taken && spec.undone_by == Some(action)) {
                left.entry(undone.name.to_owned()).and_modify(|left| *left += 1);
            }
            return Ok(Value::Null);
        }
        let step = key.trim_end_matches("/do");
        match held.get(step) {
            Some(Held::Taken(answer)) => return Ok(answer.clone()),
            Some(Held::Refused) => return Err(StepError::refused("none-left", "as before")),
            Some(Held::Returned) => return Err(StepError::refused("undone-already", "it comes too late")),
            None => {}
        }
        if let Some(left) = left.get_mut(action) {
            if *left == 0 {
                held.insert(step.to_owned(), Held::Refused);
                return Err(StepError::refused("none-left", "the last one is taken"));
            }
            *left -= 1;
        }
        let answer = json!({ "action": action, "for": context.data["rider"] });
        held.insert(step.to_owned(), Held::Taken(answer.clone()));
        Ok(answer)
    }
}
