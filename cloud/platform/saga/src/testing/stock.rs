//! The stock tests.

use std::sync::Arc;

use remuda_model::OrganizationId;
use serde_json::Value;

use super::World;
use super::crash::{DyingHost, Moment};
use super::faults::{Fault, Faults};
use crate::aggregate::{State, StepStatus};
use crate::definition::{Definition, Definitions};
use crate::host::{SagaHost, SagaId};
use crate::memory::MemoryHost;
use crate::metrics::SagaMetrics;
use crate::runner::{Requester, Sagas, Settings, Status, Summary};
use crate::service::{Services, StepContext, StepError, do_key, undo_key};

/// What was run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Sagas run to their end.
    pub sagas: u32,
    /// Crashes among them.
    pub crashes: u32,
}

/// A saga's tests over worlds that `make` makes.
struct Stock<'a, W> {
    definition: Definition,
    make: &'a (dyn Fn() -> W + Sync),
    report: Report,
}

/// One world with a runner over it.
struct Scene<W> {
    world: W,
    faults: Faults,
    host: Arc<MemoryHost>,
    definitions: Definitions,
}

/// Runs every stock test on a definition. Pauses between tries are shortened.
///
/// # Errors
/// The first thing that is not as it must be: which test, which step, what.
pub async fn all<W: World>(definition: &Definition, make: &(dyn Fn() -> W + Sync)) -> Result<Report, String> {
    let definition = definition.clone().with_back_off(1, 2);
    let mut stock = Stock { definition, make, report: Report::default() };
    stock.completes().await?;
    stock.each_call_twice_is_once().await?;
    stock.an_undo_bars_its_do().await?;
    stock.failures_unwind().await?;
    stock.one_failure_is_got_over().await?;
    stock.undos_that_fail().await?;
    stock.crashes().await?;
    stock.the_last_one_goes_to_one().await?;
    Ok(stock.report)
}

const BY: &str = "user/test";

fn id(n: u32) -> SagaId {
    SagaId::new(OrganizationId::default(), format!("saga-{n}"))
}

fn requester(what: &str) -> Requester {
    Requester { actor: BY.to_owned(), request_id: what.to_owned() }
}

fn same(what: &str, found: &str, expected: &str) -> Result<(), String> {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: the services hold [{found}] where they should hold [{expected}]"))
    }
}

impl<W: World> Scene<W> {
    fn new(world: W, definition: &Definition) -> Result<Self, String> {
        let mut definitions = Definitions::default();
        definitions.add(definition.clone()).map_err(|e| e.to_string())?;
        Ok(Self { world, faults: Faults::none(), host: Arc::new(MemoryHost::new()), definitions })
    }

    fn sagas(&self, host: Arc<dyn SagaHost>) -> Result<Sagas, String> {
        let services = self.faults.wrap(&self.world.services());
        let (settings, metrics) = (Settings::default(), SagaMetrics::default());
        Sagas::new(host, services, self.definitions.clone(), settings, metrics, Arc::new(wall_clock_ms))
            .map_err(|e| e.to_string())
    }

    async fn run(&self, sagas: &Sagas, definition: &str, n: u32) -> Result<Summary, String> {
        let started =
            sagas.start(&id(n), definition, self.world.input(n), &requester(&format!("start-{n}"))).await;
        started.map_err(|e| e.to_string())?;
        sagas.wait(&id(n)).await.map_err(|e| e.to_string())
    }
}

/// The clock of the machine, ms since 1970 UTC.
fn wall_clock_ms() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn expect(what: &str, summary: &Summary, status: Status) -> Result<(), String> {
    if summary.status == status {
        Ok(())
    } else {
        Err(format!("{what}: the saga is {:?} ({}), not {status:?}", summary.status, summary.reason))
    }
}

impl<W: World> Stock<'_, W> {
    fn scene(&self) -> Result<Scene<W>, String> {
        Scene::new((self.make)(), &self.definition)
    }

    fn step_names(&self) -> Vec<String> {
        self.definition.steps.iter().filter(|s| s.call().is_some()).map(|s| s.name.clone()).collect()
    }

    /// What the services hold before, and after a saga that met no fault.
    async fn held_around(&mut self) -> Result<(String, String), String> {
        let scene = self.scene()?;
        let before = scene.world.held().await;
        let sagas = scene.sagas(scene.host.clone())?;
        let summary = scene.run(&sagas, &self.definition.name, 1).await?;
        expect("without faults", &summary, Status::Completed)?;
        self.report.sagas += 1;
        Ok((before, scene.world.held().await))
    }

    async fn completes(&mut self) -> Result<(), String> {
        self.held_around().await.map(|_| ())
    }

    /// Called with the same key again, an action and an undo answer the same and change nothing more.
    async fn each_call_twice_is_once(&self) -> Result<(), String> {
        let world = (self.make)();
        let mut hands = Hands::new(&self.definition, world.services(), world.input(1));
        let clean = world.held().await;
        for step in self.step_names() {
            let first = hands.act(&step).await.map_err(|e| format!("{step}: {e}"))?;
            let held = world.held().await;
            let second = hands.act(&step).await.map_err(|e| format!("{step}, called twice: {e}"))?;
            same(&format!("{step}, called twice"), &world.held().await, &held)?;
            if first != second {
                return Err(format!("{step}, called twice: it answered {first}, then {second}"));
            }
        }
        for step in self.step_names().into_iter().rev() {
            hands.undo(&step).await.map_err(|e| format!("undo of {step}: {e}"))?;
            let held = world.held().await;
            hands.undo(&step).await.map_err(|e| format!("undo of {step}, called twice: {e}"))?;
            same(&format!("undo of {step}, called twice"), &world.held().await, &held)?;
        }
        self.clean_but_for_what_stays("after all undos", &world, &clean).await
    }

    /// With a step that has no undo, what it did may stay.
    async fn clean_but_for_what_stays(&self, what: &str, world: &W, clean: &str) -> Result<(), String> {
        let stays = self.definition.steps.iter().any(|step| step.call().is_some() && !step.has_undo());
        if stays { Ok(()) } else { same(what, &world.held().await, clean) }
    }

    /// An undo whose do never came succeeds, changes nothing, and the do that comes later does nothing.
    async fn an_undo_bars_its_do(&self) -> Result<(), String> {
        for (place, barred) in self.definition.steps.iter().enumerate() {
            if !barred.has_undo() {
                continue;
            }
            let world = (self.make)();
            let mut hands = Hands::new(&self.definition, world.services(), world.input(1));
            for step in
                self.definition.steps[..place].iter().filter(|s| s.stage < barred.stage && s.call().is_some())
            {
                hands.act(&step.name).await.map_err(|e| format!("{}: {e}", step.name))?;
            }
            let held = world.held().await;
            let name = &barred.name;
            hands.undo(name).await.map_err(|e| format!("undo of {name}, which was never done: {e}"))?;
            same(&format!("undo of {name}, which was never done"), &world.held().await, &held)?;
            let late = hands.act(name).await;
            same(&format!("{name}, coming after its undo (answered {late:?})"), &world.held().await, &held)?;
        }
        Ok(())
    }

    /// A step that fails for good leads back to a clean slate, whatever the caller knows of it.
    async fn failures_unwind(&mut self) -> Result<(), String> {
        let faults = [Fault::Refuse, Fault::Transient, Fault::LostRequest, Fault::LostAnswer, Fault::Late];
        for step in self.step_names() {
            for fault in faults {
                let what = format!("{step} fails for good ({fault:?})");
                let scene = self.scene()?;
                let clean = scene.world.held().await;
                let failing = do_key(&id(1).id, &step);
                scene.faults.choose(move |key, _| (key == failing).then_some(fault));
                let sagas = scene.sagas(scene.host.clone())?;
                let summary =
                    scene.run(&sagas, &self.definition.name, 1).await.map_err(|e| format!("{what}: {e}"))?;
                expect(&what, &summary, Status::Compensated)?;
                self.clean_but_for_what_stays(&what, &scene.world, &clean).await?;
                scene.faults.deliver_late().await;
                self.clean_but_for_what_stays(&format!("{what}, then arrives"), &scene.world, &clean).await?;
                self.report.sagas += 1;
            }
        }
        Ok(())
    }

    /// A step that fails once is tried again, and the saga ends as if nothing had been.
    async fn one_failure_is_got_over(&mut self) -> Result<(), String> {
        let (_, complete) = self.held_around().await?;
        for step in self.step_names() {
            let tries =
                self.definition.step_named(&step).and_then(|(_, s)| s.call()).map_or(1, |c| c.doing.tries);
            for fault in [Fault::Transient, Fault::LostRequest, Fault::LostAnswer, Fault::Late] {
                if tries < 2 {
                    continue;
                }
                let what = format!("{step} fails once ({fault:?})");
                let scene = self.scene()?;
                let failing = do_key(&id(1).id, &step);
                scene.faults.choose(move |key, tries| (key == failing && tries == 1).then_some(fault));
                let sagas = scene.sagas(scene.host.clone())?;
                let summary =
                    scene.run(&sagas, &self.definition.name, 1).await.map_err(|e| format!("{what}: {e}"))?;
                expect(&what, &summary, Status::Completed)?;
                scene.faults.deliver_late().await;
                same(&what, &scene.world.held().await, &complete)?;
                self.report.sagas += 1;
            }
        }
        Ok(())
    }

    /// An undo that fails once is tried again; one that fails for good leaves the saga visibly stuck until an operator
    /// has it tried again, or takes it off.
    async fn undos_that_fail(&mut self) -> Result<(), String> {
        let Some(last) = self.step_names().pop() else { return Ok(()) };
        for step in self.definition.steps.clone().iter().filter(|step| step.has_undo()) {
            for (fault, once) in [
                (Fault::Transient, true),
                (Fault::LostAnswer, true),
                (Fault::Transient, false),
                (Fault::LostAnswer, false),
                (Fault::Refuse, false),
            ] {
                let name = &step.name;
                let tries = step.call().map_or(1, |call| call.undoing.tries);
                if once && tries < 2 {
                    continue;
                }
                let what = format!(
                    "the undo of {name} fails {} ({fault:?})",
                    if once { "once" } else { "for good" }
                );
                let scene = self.scene()?;
                let clean = scene.world.held().await;
                // The last step fails so that nobody knows whether it was done: then every step is undone.
                let (trigger, failing) = (do_key(&id(1).id, &last), undo_key(&id(1).id, name));
                scene.faults.choose(move |key, tries| {
                    let undo = key == failing && (tries == 1 || !once);
                    if undo { Some(fault) } else { (key == trigger).then_some(Fault::LostAnswer) }
                });
                let sagas = scene.sagas(scene.host.clone())?;
                let mut summary =
                    scene.run(&sagas, &self.definition.name, 1).await.map_err(|e| format!("{what}: {e}"))?;
                if !once {
                    expect(&what, &summary, Status::Stuck)?;
                    scene.faults.lift();
                    let asked = sagas.retry(&id(1), "mended", &requester("retry")).await;
                    asked.map_err(|e| format!("{what}, then retried: {e}"))?;
                    summary = sagas.wait(&id(1)).await.map_err(|e| e.to_string())?;
                }
                expect(&what, &summary, Status::Compensated)?;
                self.clean_but_for_what_stays(&what, &scene.world, &clean).await?;
                self.report.sagas += 1;
            }
        }
        Ok(())
    }

    /// The process dies before and after every write, on the way there and on the way back; another goes on.
    async fn crashes(&mut self) -> Result<(), String> {
        let (_, complete) = self.held_around().await?;
        let last = self.step_names().pop().unwrap_or_default();
        for back in [false, true] {
            for moment in [Moment::Before, Moment::After] {
                for at in 1.. {
                    if !self.crash(at, moment, back.then_some(&last), &complete).await? {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    /// False when the saga ends before the `at`-th write.
    async fn crash(
        &mut self,
        at: u64,
        moment: Moment,
        failing: Option<&String>,
        complete: &str,
    ) -> Result<bool, String> {
        let way = if failing.is_some() { "on the way back" } else { "on the way there" };
        let what = format!("a crash {moment:?} write {at}, {way}").to_lowercase();
        let scene = self.scene()?;
        let clean = scene.world.held().await;
        if let Some(step) = failing {
            let trigger = do_key(&id(1).id, step);
            scene.faults.choose(move |key, _| (key == trigger).then_some(Fault::LostAnswer));
        }
        let dying = Arc::new(DyingHost::new(scene.host.clone(), at, moment));
        let first = scene.sagas(dying.clone())?;
        let ended = tokio::select! {
            ended = scene.run(&first, &self.definition.name, 1) => Some(ended?),
            () = dying.died() => None,
        };
        first.kill();
        if ended.is_some() {
            return Ok(false);
        }
        let second = scene.sagas(scene.host.clone())?;
        second.resume().await.map_err(|e| e.to_string())?;
        // Whoever had started it heard nothing, and asks again.
        let summary =
            scene.run(&second, &self.definition.name, 1).await.map_err(|e| format!("{what}: {e}"))?;
        if failing.is_some() {
            expect(&what, &summary, Status::Compensated)?;
            self.clean_but_for_what_stays(&what, &scene.world, &clean).await?;
        } else {
            expect(&what, &summary, Status::Completed)?;
            same(&what, &scene.world.held().await, complete)?;
        }
        self.report.sagas += 1;
        self.report.crashes += 1;
        Ok(true)
    }

    /// Two want the last one: one gets it, the other is undone.
    async fn the_last_one_goes_to_one(&mut self) -> Result<(), String> {
        let scene = self.scene()?;
        if !scene.world.only_one_left() {
            return Ok(());
        }
        let what = "two sagas for the last one";
        let sagas = scene.sagas(scene.host.clone())?;
        let name = &self.definition.name;
        let (one, two) = tokio::join!(scene.run(&sagas, name, 1), scene.run(&sagas, name, 2));
        let (one, two) = (one?, two?);
        let mut ends = [one.status, two.status];
        ends.sort_unstable();
        if ends != [Status::Completed, Status::Compensated] {
            return Err(format!("{what}: they ended {:?} and {:?}", one.status, two.status));
        }
        let loser = if one.status == Status::Compensated { one.id } else { two.id };
        let state = scene.host.state(&loser).await.map_err(|e| e.to_string())?;
        self.report.sagas += 2;
        undone(what, &state)
    }
}

/// No step of this saga stands.
fn undone(what: &str, state: &State) -> Result<(), String> {
    match state.each().find(|(_, step, s)| step.has_undo() && s.status == StepStatus::Succeeded) {
        Some((_, step, _)) => Err(format!("{what}: the loser's step {} was not undone", step.name)),
        None => Ok(()),
    }
}

/// Calls services as a saga would, step by step.
struct Hands<'a> {
    definition: &'a Definition,
    services: Services,
    data: Value,
}

impl<'a> Hands<'a> {
    fn new(definition: &'a Definition, services: Services, input: Value) -> Self {
        Self { definition, services, data: input }
    }

    async fn act(&mut self, step: &str) -> Result<Value, StepError> {
        let Some(call) = self.definition.step_named(step).and_then(|(_, s)| s.call()) else {
            return Ok(Value::Null);
        };
        let answer = self.call(&call.service, &call.action, &do_key(&id(1).id, step), step).await?;
        self.data[step] = answer.clone();
        Ok(answer)
    }

    async fn undo(&self, step: &str) -> Result<(), StepError> {
        let Some(call) = self.definition.step_named(step).and_then(|(_, s)| s.call()) else { return Ok(()) };
        let Some(compensate) = &call.compensate else { return Ok(()) };
        self.call(&call.service, compensate, &undo_key(&id(1).id, step), step).await.map(|_| ())
    }

    async fn call(&self, service: &str, action: &str, key: &str, step: &str) -> Result<Value, StepError> {
        let context = StepContext {
            organization: OrganizationId::default(),
            saga_id: id(1).id,
            saga: self.definition.name.clone(),
            step: step.to_owned(),
            attempt: 1,
            deadline_ms: wall_clock_ms() + 10_000,
            data: self.data.clone(),
        };
        match self.services.offering(service, action) {
            Some(found) => found.call(action, key, &context).await,
            None => Err(StepError::refused("no-service", format!("no service {service} offers {action}"))),
        }
    }
}
