//! The shape of a plan: ids, dependencies, bounds, no cycle. Whether its agents are known and its sum can be funded is
//! decided against the task.

use std::collections::BTreeMap;

use super::Violation;
use crate::types::{
    ids::{AgentName, StepId},
    limits::fixed,
    plan::{Plan, PlanDraft, Step, StepDraft},
};

/// Checks a plan's shape. `path` is the field it stands in, for the faults.
pub fn plan(draft: &PlanDraft, path: &str) -> Result<Plan, Vec<Violation>> {
    let mut faults = Faults { path, found: Vec::new() };
    if draft.steps.is_empty() || draft.steps.len() > fixed::MAX_STEPS {
        faults.note("steps", format!("has {} entries: write 1 to {}", draft.steps.len(), fixed::MAX_STEPS));
        return Err(faults.found);
    }
    let mut places = BTreeMap::new();
    for (index, step) in draft.steps.iter().enumerate() {
        if let Some(first) = places.insert(step.id.as_str(), index) {
            faults.note(
                &format!("steps[{index}].id"),
                format!("{:?} is the id of steps[{first}] too: ids are unique", step.id),
            );
        }
    }
    let steps: Vec<_> = draft
        .steps
        .iter()
        .enumerate()
        .filter_map(|(index, step)| faults.step(index, step, &places))
        .collect();
    let result_step = faults.result_step(draft, &places);
    if faults.found.is_empty()
        && let Some(cycle) = cycle(&steps)
    {
        faults.note("steps", format!("depend on each other in a cycle: {cycle}; break it"));
    }
    if faults.found.is_empty() {
        Ok(Plan { steps, on_step_failure: draft.on_step_failure, result_step })
    } else {
        Err(faults.found)
    }
}

struct Faults<'a> {
    path: &'a str,
    found: Vec<Violation>,
}

impl Faults<'_> {
    fn note(&mut self, field: &str, description: impl Into<String>) {
        self.found
            .push(Violation { field: format!("{}.{field}", self.path), description: description.into() });
    }

    fn step(&mut self, index: usize, draft: &StepDraft, places: &BTreeMap<&str, usize>) -> Option<Step> {
        let before = self.found.len();
        let at = format!("steps[{index}]");
        let id = self.name::<StepId>(&format!("{at}.id"), &draft.id);
        let agent = self.name::<AgentName>(&format!("{at}.agent"), &draft.agent);
        let mut depends_on = Vec::with_capacity(draft.depends_on.len());
        for name in &draft.depends_on {
            match places.get(name.as_str()) {
                Some(&place) if place == index => {
                    self.note(&format!("{at}.depends_on"), "names the step itself");
                }
                Some(&place) if depends_on.contains(&place) => {}
                Some(&place) => depends_on.push(place),
                None => self.note(
                    &format!("{at}.depends_on"),
                    format!("names {name:?}, which is no step of the plan"),
                ),
            }
        }
        let fallback_agents = self.fallbacks(&at, draft);
        if draft.max_tokens < 0 {
            self.note(
                &format!("{at}.max_tokens"),
                format!("is {}: write tokens, at least 1", draft.max_tokens),
            );
        }
        if let Some(input) = &draft.input
            && input.as_str().len() > fixed::MAX_PAYLOAD_BYTES
        {
            self.note(&format!("{at}.input"), format!("is larger than {} bytes", fixed::MAX_PAYLOAD_BYTES));
        }
        if self.found.len() > before {
            return None;
        }
        let max_tokens = u64::try_from(draft.max_tokens).ok().filter(|&tokens| tokens > 0);
        Some(Step {
            id: id?,
            agent: agent?,
            input: draft.input.clone(),
            depends_on,
            max_tokens,
            fallback_agents,
            optional: draft.optional,
        })
    }

    /// The agents a step falls back to. None may have the step twice: a failed envelope is never blindly retried.
    fn fallbacks(&mut self, at: &str, draft: &StepDraft) -> Vec<AgentName> {
        let field = format!("{at}.fallback_agents");
        let most = fixed::MAX_FALLBACKS;
        if draft.fallback_agents.len() > most {
            self.note(&field, format!("has {} entries: write at most {most}", draft.fallback_agents.len()));
            return Vec::new();
        }
        let mut agents = Vec::with_capacity(draft.fallback_agents.len());
        for (index, name) in draft.fallback_agents.iter().enumerate() {
            let at = format!("{field}[{index}]");
            let Some(agent) = self.name::<AgentName>(&at, name) else { continue };
            if *name == draft.agent || agents.contains(&agent) {
                self.note(&at, format!("names {agent} again: no agent gets the same step twice"));
            } else {
                agents.push(agent);
            }
        }
        agents
    }

    fn name<T: std::str::FromStr<Err: std::fmt::Display>>(&mut self, field: &str, text: &str) -> Option<T> {
        text.parse().map_err(|error: T::Err| self.note(field, error.to_string())).ok()
    }

    fn result_step(&mut self, draft: &PlanDraft, places: &BTreeMap<&str, usize>) -> Option<usize> {
        if draft.result_step.is_empty() {
            return None;
        }
        let place = places.get(draft.result_step.as_str()).copied();
        if place.is_none() {
            self.note("result_step", format!("names {:?}, which is no step of the plan", draft.result_step));
        }
        place
    }
}

/// The steps that form a cycle, or `None`: Kahn's algorithm leaves exactly the steps that wait for one.
fn cycle(steps: &[Step]) -> Option<String> {
    let mut missing: Vec<_> = steps.iter().map(|step| step.depends_on.len()).collect();
    let mut dependents = vec![Vec::new(); steps.len()];
    for (index, step) in steps.iter().enumerate() {
        for &needed in &step.depends_on {
            dependents[needed].push(index);
        }
    }
    let mut free: Vec<_> = (0..steps.len()).filter(|&i| missing[i] == 0).collect();
    while let Some(done) = free.pop() {
        for &dependent in &dependents[done] {
            missing[dependent] -= 1;
            if missing[dependent] == 0 {
                free.push(dependent);
            }
        }
    }
    let stuck: Vec<_> = steps
        .iter()
        .zip(&missing)
        .filter(|(_, m)| **m > 0)
        .map(|(step, _)| step.id.as_str())
        .take(8)
        .collect();
    if stuck.is_empty() { None } else { Some(stuck.join(", ")) }
}
