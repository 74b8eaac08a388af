//! Breadth-first search over all states of a model, with shortest traces.

use std::collections::HashMap;
use std::fmt::{self, Debug};
use std::hash::Hash;

/// A step a model can take.
#[derive(Debug, Clone)]
pub struct Step<S> {
    /// What happens, in words.
    pub what: String,
    /// Something breaks; not needed to make progress.
    pub fault: bool,
    /// The state afterwards.
    pub next: S,
}

/// A small world with rules.
pub trait Model {
    /// Everything that matters.
    type State: Clone + Eq + Hash + Debug;

    /// Where it begins.
    fn initial(&self) -> Self::State;
    /// Everything that can happen next.
    fn steps(&self, state: &Self::State) -> Vec<Step<Self::State>>;
    /// What must never be, in words.
    fn broken(&self, state: &Self::State) -> Option<String>;
    /// Nothing is left to do.
    fn done(&self, state: &Self::State) -> bool;
}

/// A trace that breaks a rule.
#[derive(Debug, Clone)]
pub struct Counterexample {
    /// What is broken.
    pub why: String,
    /// The shortest way there.
    pub trace: Vec<String>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}:", self.why)?;
        self.trace.iter().enumerate().try_for_each(|(i, what)| writeln!(f, "  {:2}. {what}", i + 1))
    }
}

/// All states, if nothing is wrong with any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Explored {
    /// How many states there are.
    pub states: usize,
    /// How many of them are the end.
    pub ends: usize,
}

struct Search<S> {
    states: Vec<S>,
    /// Whence each state was first reached, and by what.
    parents: Vec<(usize, String)>,
    /// Steps that are no faults, backwards: to, from.
    progress: Vec<(u32, u32)>,
}

impl<S> Search<S> {
    fn trace(&self, mut at: usize) -> Vec<String> {
        let mut trace = Vec::new();
        while at != 0 {
            let (parent, what) = &self.parents[at];
            trace.push(what.clone());
            at = *parent;
        }
        trace.reverse();
        trace
    }
}

/// Visits every state. From each of them the end must be in reach without further faults.
///
/// # Errors
/// The shortest trace to a state that is broken, or from which the end is out of reach.
///
/// # Panics
/// When there are more than `states_max`: the model's bounds are too wide for a test.
pub fn explore<M: Model>(model: &M, states_max: usize) -> Result<Explored, Counterexample> {
    let initial = model.initial();
    let mut numbers = HashMap::from([(initial.clone(), 0_usize)]);
    let mut search =
        Search { states: vec![initial], parents: vec![(0, String::new())], progress: Vec::new() };
    let mut at = 0;
    while at < search.states.len() {
        if let Some(why) = model.broken(&search.states[at]) {
            return Err(Counterexample { why, trace: search.trace(at) });
        }
        for Step { what, fault, next } in model.steps(&search.states[at]) {
            let to = *numbers.entry(next.clone()).or_insert_with(|| {
                search.states.push(next);
                search.parents.push((at, what));
                search.states.len() - 1
            });
            if !fault {
                search.progress.push((to as u32, at as u32));
            }
        }
        assert!(
            search.states.len() <= states_max,
            "more than {states_max} states: narrow the model's bounds"
        );
        at += 1;
    }
    drop(numbers);
    reach_the_end(model, search)
}

/// Walks backwards from the ends along steps that are no faults; whatever is not met is stuck.
fn reach_the_end<M: Model>(model: &M, mut search: Search<M::State>) -> Result<Explored, Counterexample> {
    search.progress.sort_unstable();
    let mut met: Vec<bool> = search.states.iter().map(|state| model.done(state)).collect();
    let mut open: Vec<u32> = (0..met.len() as u32).filter(|at| met[*at as usize]).collect();
    let ends = open.len();
    while let Some(to) = open.pop() {
        let first = search.progress.partition_point(|(t, _)| *t < to);
        for (_, from) in search.progress[first..].iter().take_while(|(t, _)| *t == to) {
            if !std::mem::replace(&mut met[*from as usize], true) {
                open.push(*from);
            }
        }
    }
    match met.iter().position(|met| !met) {
        // States are numbered breadth first, so this is one of the shortest traces.
        Some(at) => {
            let why = format!("stuck, the end is out of reach in {:?}", search.states[at]);
            Err(Counterexample { why, trace: search.trace(at) })
        }
        None => Ok(Explored { states: search.states.len(), ends }),
    }
}
