//! The span of a plan: from its acceptance to its end, under the root beside the turns of its steps, which carry its
//! number. Not under the planner's turn: that has ended when the plan begins.

use super::Projector;
use crate::{
    engine::event::{Event, StepRef},
    telemetry::{
        semconv,
        span::{Attributes, Events},
    },
    types::{ids::StepId, time::Timestamp, trace_ids::SpanOf},
};

/// A plan that has not ended.
#[derive(Debug)]
pub(super) struct OpenPlan {
    start: Timestamp,
    steps: Vec<StepId>,
    attributes: Attributes,
    events: Events,
}

impl Projector {
    pub(super) fn start_plan(&mut self, event: &Event, at: Timestamp) {
        let Event::PlanStarted { number, planner_turn, plan, held, kind } = event else { return };
        let steps: Vec<StepId> = plan.steps.iter().map(|step| step.id.clone()).collect();
        let attributes = Attributes::new()
            .number(semconv::PLAN_NUMBER, *number)
            .word(semconv::PLAN_KIND, kind)
            .list(semconv::PLAN_STEPS, steps.iter().map(StepId::as_str))
            .number_if_any(semconv::PLAN_PLANNER_TURN, *planner_turn)
            .number(semconv::PLAN_HELD, *held);
        let open = OpenPlan { start: at, steps, attributes, events: Events::default() };
        self.plans.insert(*number, open);
        if let Some(root) = &mut self.root {
            root.plans += 1;
        }
    }

    /// The name of a step of a plan that runs.
    pub(super) fn step_name(&self, step: StepRef) -> Option<&StepId> {
        self.plans.get(&step.plan).and_then(|plan| plan.steps.get(step.step))
    }

    pub(super) fn end_step(&mut self, event: &Event, at: Timestamp) {
        let Event::StepEnded { plan, step: _, id, end, reason, optional } = event else { return };
        let Some(plan) = self.plans.get_mut(plan) else { return };
        let mut attributes = Attributes::new()
            .text(semconv::STEP_ID, id.as_str())
            .word(semconv::STEP_END, end)
            .text_if_any(semconv::REASON, reason);
        if *optional {
            attributes = attributes.flag(semconv::STEP_OPTIONAL, true);
        }
        plan.events.push(semconv::STEP_ENDED, at, attributes);
    }

    pub(super) fn end_plan(&mut self, number: u32, succeeded: bool, at: Timestamp) {
        let (Some(trace), Some(plan)) = (&self.trace, self.plans.remove(&number)) else { return };
        let name = format!("{} {number}", semconv::PLAN);
        let mut span = trace.span(SpanOf::Plan(number), Some(SpanOf::Task), name, plan.start, at);
        span.attributes.0.extend(plan.attributes.0);
        span.attributes = span.attributes.flag(semconv::PLAN_SUCCEEDED, succeeded);
        if !succeeded {
            span.attributes = span.attributes.text(semconv::ERROR_TYPE, "PLAN_FAILED");
            span.error = Some("a step of the plan did not go well".to_owned());
        }
        span.events = plan.events;
        self.finished.push(span);
    }
}
