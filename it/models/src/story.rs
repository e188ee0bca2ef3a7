//! The shortest way into a state that breaks a promise, in sentences.

use stateright::{Checker as _, HasDiscoveries, Model};

/// A model whose steps can be told.
pub trait Tell: Model<State: Clone + PartialEq, Action: Clone + PartialEq> {
    /// What happened between two states.
    fn step(&self, before: &Self::State, action: &Self::Action, after: &Self::State) -> String;

    /// What there is in the end, a line each.
    fn ending(&self, state: &Self::State) -> Vec<String>;
}

/// A counterexample.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Story {
    /// The promise that is broken.
    pub promise: &'static str,
    /// The steps, in order.
    pub steps: Vec<String>,
    /// What there is in the end.
    pub ending: Vec<String>,
}

/// The shortest counterexample of a model that checks one promise alone, or `None` if the promise holds in every state.
///
/// The search goes breadth first, on one thread, and ends at the first state that breaks the promise: its result is the
/// same at every run.
pub fn shortest<M>(model: M) -> Option<Story>
where
    M: Tell + Clone + Send + Sync + 'static,
    M::State: std::hash::Hash + Send + Sync,
{
    let teller = model.clone();
    let searched = model.checker().threads(1).finish_when(HasDiscoveries::Any).spawn_bfs().join();
    let (promise, path) = searched.discoveries().into_iter().next()?;
    let states = path.into_vec();
    let steps = states
        .windows(2)
        .filter_map(|pair| match pair {
            [(before, Some(action)), (after, _)] => Some(teller.step(before, action, after)),
            _ => None,
        })
        .collect();
    let ending = states.last().map(|(state, _)| teller.ending(state)).unwrap_or_default();
    Some(Story { promise, steps, ending })
}

impl Story {
    /// As Markdown: numbered steps, then what there is in the end.
    #[must_use]
    pub fn markdown(&self) -> String {
        let steps = (1..).zip(&self.steps).map(|(number, step)| format!("{number}. {step}\n"));
        let ending = self.ending.iter().map(|line| format!("- {line}\n"));
        format!("Broken: **{}**.\n\n{}\nIn the end:\n\n{}", self.promise, steps.collect::<String>(), ending.collect::<String>())
    }
}
