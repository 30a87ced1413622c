//! Plans, both ways. The shape of a plan (ids, dependencies, cycles, bounds) is the engine's intake's to check.

use crate::{
    engine::intake,
    pb,
    types::plan::{OnStepFailure, Plan, PlanDraft, Step, StepDraft},
};

use super::{enums, faults::Faults, int64, value::value};

/// A wire plan as a draft. Faults that the draft cannot carry go to `faults`, with `path` before the field.
pub(crate) fn plan_draft(wire: pb::Plan, path: &str, faults: &mut Faults) -> PlanDraft {
    let pb::Plan { steps, on_step_failure, result_step } = wire;
    let what = faults.one_of(
        &format!("{path}.on_step_failure"),
        on_step_failure,
        enums::on_step_failure_in(on_step_failure),
        "ON_STEP_FAILURE_WAIT or ON_STEP_FAILURE_CANCEL",
    );
    PlanDraft {
        steps: steps
            .into_iter()
            .enumerate()
            .map(|(index, step)| step_draft(step, &format!("{path}.steps[{index}]"), faults))
            .collect(),
        on_step_failure: what.unwrap_or(OnStepFailure::Wait),
        result_step,
    }
}

fn step_draft(wire: pb::Step, path: &str, faults: &mut Faults) -> StepDraft {
    let pb::Step { id, agent, input, depends_on, max_tokens, fallback_agents, optional } = wire;
    StepDraft {
        id,
        agent,
        input: faults.payload(&format!("{path}.input"), input.as_ref()),
        depends_on,
        max_tokens,
        fallback_agents,
        optional,
    }
}

/// A plan that an agent sent, or the reasons why it is none: those go back to the agent as a correction, not to the
/// worker as an error, because it was the model that wrote the plan.
pub(crate) fn agents_plan(wire: Option<pb::Plan>, path: &str) -> Result<Plan, Vec<String>> {
    let Some(wire) = wire else {
        return Err(vec![format!("{path}: is required: send a plan with at least one step")]);
    };
    let mut faults = Faults::default();
    let draft = plan_draft(wire, path, &mut faults);
    let plan = intake::plan(&draft, path).map_err(|others| faults.merge(others)).ok();
    faults.finish(plan).map_err(|violations| {
        violations.into_iter().map(|v| format!("{}: {}", v.field, v.description)).collect()
    })
}

/// A plan for the wire.
pub(crate) fn plan_out(plan: &Plan) -> pb::Plan {
    let Plan { steps, on_step_failure, result_step } = plan;
    let id_of = |index: &usize| steps.get(*index).map(|step| step.id.to_string()).unwrap_or_default();
    pb::Plan {
        steps: steps
            .iter()
            .map(|step| {
                let Step { id, agent, input, depends_on, max_tokens, fallback_agents, optional } = step;
                pb::Step {
                    id: id.to_string(),
                    agent: agent.to_string(),
                    input: input.as_ref().map(value),
                    depends_on: depends_on.iter().map(id_of).collect(),
                    max_tokens: int64(max_tokens.unwrap_or(0)),
                    fallback_agents: fallback_agents.iter().map(ToString::to_string).collect(),
                    optional: *optional,
                }
            })
            .collect(),
        on_step_failure: enums::on_step_failure(*on_step_failure) as i32,
        result_step: result_step.as_ref().map(id_of).unwrap_or_default(),
    }
}
