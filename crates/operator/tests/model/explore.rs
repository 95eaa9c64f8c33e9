//! Every state once.

use common::conditions;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use common::api::ConditionType;

use super::Case;
use super::action::{Action, actions, wants_suspension};
use super::key::key;
use super::state::State;
use super::step::step;

/// What was found.
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) steps: usize,
    /// States in which nothing can happen by itself.
    pub(crate) ends: usize,
    /// What was wrong first, and how it came to that.
    pub(crate) wrong: Option<String>,
}

struct Graph {
    numbers: HashMap<(u64, u64), u32>,
    /// How each state was first come to.
    parents: Vec<(u32, Action)>,
    /// Steps that happen by themselves.
    progress: Vec<(u32, u32)>,
}

/// Walks through all that can happen.
pub(crate) fn explore(case: &Case, first: State) -> Explored {
    let mut graph = Graph {
        numbers: HashMap::new(),
        parents: Vec::new(),
        progress: Vec::new(),
    };
    graph.number(&first, 0, &Action::Pass);
    let mut open = vec![(0, first)];
    let (mut steps, mut ends) = (0, 0);
    let found = |graph: &Graph, steps, ends, wrong| Explored {
        states: graph.parents.len(),
        steps,
        ends,
        wrong,
    };
    while let Some((number, state)) = open.pop() {
        let able = actions(&state, case);
        if !able.iter().any(Action::is_progress) {
            ends += 1;
            if let Some(wrong) = wrong_end(&state) {
                let wrong = format!("{wrong}\n{}", graph.way_to(number, &state));
                return found(&graph, steps, ends, Some(wrong));
            }
        }
        for action in able {
            steps += 1;
            let next = match catch_unwind(AssertUnwindSafe(|| step(&state, case, &action))) {
                Ok(next) => next,
                Err(panic) => {
                    let text = panic.downcast_ref::<String>().cloned();
                    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|t| (*t).to_owned()));
                    let way = graph.way_to(number, &state);
                    let wrong = format!("{}\n{way}\n  then {action:?}", text.unwrap_or_default());
                    return found(&graph, steps, ends, Some(wrong));
                }
            };
            let (to, new) = graph.number(&next, number, &action);
            if action.is_progress() {
                graph.progress.push((number, to));
            }
            if new {
                open.push((to, next));
            }
        }
    }
    let wrong = graph
        .circle()
        .map(|number| format!("it goes round in circles from:\n{}", graph.told(number)));
    found(&graph, steps, ends, wrong)
}

/// Why a job must not stay as it is.
fn wrong_end(state: &State) -> Option<String> {
    let world = &state.world;
    let Some(_) = &world.job else { return None };
    let stored = world.status();
    let is_stable = wants_suspension(world)
        && conditions::is_true(&stored, ConditionType::Suspended)
        && world.pods.is_empty()
        && world.batch_jobs.is_empty();
    (!conditions::is_finished(&stored) && !is_stable)
        .then(|| format!("stuck: {}; {stored:?}", world.describe()))
}

impl Graph {
    fn number(&mut self, state: &State, from: u32, by: &Action) -> (u32, bool) {
        let next = u32::try_from(self.parents.len()).unwrap();
        let number = *self.numbers.entry(key(state)).or_insert(next);
        if number == next {
            self.parents.push((from, by.clone()));
        }
        (number, number == next)
    }

    fn told(&self, number: u32) -> String {
        let mut way = Vec::new();
        let mut at = number;
        while at != 0 {
            let (from, action) = &self.parents[at as usize];
            way.push(format!("  {action:?}"));
            at = *from;
        }
        way.reverse();
        way.join("\n")
    }

    fn way_to(&self, number: u32, state: &State) -> String {
        let status = serde_json::to_string(&state.world.status()).unwrap();
        format!(
            "{}\n  pods: {}\n  status: {status}",
            self.told(number),
            state.world.describe()
        )
    }

    /// A state that can be come to from itself by progress alone: what is left when again and again all are taken away
    /// that lead nowhere else.
    fn circle(&self) -> Option<u32> {
        let mut leads_to = vec![0_u32; self.parents.len()];
        let mut from: Vec<Vec<u32>> = vec![Vec::new(); self.parents.len()];
        for (a, b) in &self.progress {
            leads_to[*a as usize] += 1;
            from[*b as usize].push(*a);
        }
        let ends = (0..).zip(&leads_to).filter(|(_, n)| **n == 0).map(|(at, _)| at);
        let mut open: Vec<u32> = ends.collect();
        while let Some(at) = open.pop() {
            for before in std::mem::take(&mut from[at as usize]) {
                let left = &mut leads_to[before as usize];
                *left -= 1;
                if *left == 0 {
                    open.push(before);
                }
            }
        }
        let left = leads_to.iter().position(|n| *n > 0)?;
        u32::try_from(left).ok()
    }
}
