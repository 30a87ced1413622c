//! The checks that an answer needs before it is decided, made off the shards: the contract's schema and rules, the output
//! schema of the agent itself, the input schemas of the agents that a directive gives something to. Findings are words for
//! the agent that answered. Never here: what follows from them.

use std::sync::Arc;

use super::{registry::Registry, schema::Schemas};
use crate::{
    engine::{answer_checks::AnswerChecks, command::Findings, event::TurnKind},
    store::StoreError,
    types::{
        contract::{Contract, Start},
        envelope::{Answer, Decision, Directive, Envelope, HandOff, Status},
        ids::AgentName,
        payload::Payload,
        plan::Plan,
    },
};

/// Findings against the inputs of one directive, at most.
const MAX_INPUT_FINDINGS: usize = 20;

/// What the checks need.
#[derive(Clone)]
pub(super) struct AnswerCheck {
    schemas: Arc<Schemas>,
    registry: Arc<Registry>,
}

impl AnswerCheck {
    pub(super) const fn new(schemas: Arc<Schemas>, registry: Arc<Registry>) -> Self {
        Self { schemas, registry }
    }

    /// What is found against an answer.
    ///
    /// # Errors
    /// A check was broken off.
    pub(super) async fn findings(
        &self,
        checks: &AnswerChecks,
        answer: &Answer,
    ) -> Result<Findings, StoreError> {
        let mut findings = Findings::default();
        if checks.is_final {
            findings.result = self.against_contract(checks, answer).await?;
        }
        match answer {
            Answer::Envelope(envelope) if checks.kind == TurnKind::Work => {
                findings.output = self.against_output(&checks.agent, envelope).await?;
                findings.inputs = match &envelope.directive {
                    Some(Directive::HandOff(to)) => self.against_hand_off(to).await?,
                    Some(Directive::Delegate(plan)) => self.against_plan(plan).await?,
                    Some(Directive::InvalidPlan(_) | Directive::AskHuman(_)) | None => Vec::new(),
                };
            }
            Answer::Decision { decision: Decision::ReplanTo(to), .. } => {
                findings.inputs = self.against_hand_off(to).await?;
            }
            Answer::Decision { decision: Decision::ReplanWith(plan), .. } => {
                findings.inputs = self.against_plan(plan).await?;
            }
            Answer::Envelope(_) | Answer::Decision { .. } | Answer::Verdict(_) => {}
        }
        Ok(findings)
    }

    async fn against_contract(
        &self,
        checks: &AnswerChecks,
        answer: &Answer,
    ) -> Result<Vec<String>, StoreError> {
        let schema = checks.contract.result_schema.as_ref();
        match (schema, answer.result()) {
            (Some(schema), Some(result)) => self.schemas.check(schema.clone(), result, "the result").await,
            _ => Ok(Vec::new()),
        }
    }

    async fn against_output(
        &self,
        agent: &AgentName,
        envelope: &Envelope,
    ) -> Result<Vec<String>, StoreError> {
        if envelope.status != Status::Success || envelope.directive.is_some() {
            return Ok(Vec::new());
        }
        let Some(schema) = self.registry.output_schema(agent) else { return Ok(Vec::new()) };
        let Some(result) = &envelope.result else {
            return Ok(vec![format!("there is no result, and {agent} declares an output_schema")]);
        };
        let found = self.schemas.check(schema, result, "the result").await?;
        Ok(found.into_iter().map(|f| format!("by the output_schema of {agent}: {f}")).collect())
    }

    async fn against_hand_off(&self, to: &HandOff) -> Result<Vec<String>, StoreError> {
        let found = self.against_input(&to.agent, to.input.as_ref()).await?;
        Ok(found.into_iter().map(|f| format!("hand-off to {}: {f}", to.agent)).collect())
    }

    async fn against_plan(&self, plan: &Plan) -> Result<Vec<String>, StoreError> {
        let mut findings = Vec::new();
        for step in &plan.steps {
            if findings.len() >= MAX_INPUT_FINDINGS {
                break;
            }
            let found = self.against_input(&step.agent, step.input.as_ref()).await?;
            findings.extend(found.into_iter().map(|f| format!("step {}: {f}", step.id)));
        }
        findings.truncate(MAX_INPUT_FINDINGS);
        Ok(findings)
    }

    /// What an agent is given, against what it declared to take. Nothing given is null.
    async fn against_input(
        &self,
        agent: &AgentName,
        input: Option<&Payload>,
    ) -> Result<Vec<String>, StoreError> {
        let Some(schema) = self.registry.input_schema(agent) else { return Ok(Vec::new()) };
        let null = Payload::from_json(&serde_json::Value::Null);
        let found = self.schemas.check(schema, input.unwrap_or(&null), "the input").await?;
        Ok(found.into_iter().map(|f| format!("does not fit the input_schema of {agent}: {f}")).collect())
    }

    /// What a contract gives its first agents, against what they declared to take: field and fault.
    ///
    /// # Errors
    /// A check was broken off.
    pub(super) async fn inputs_of(&self, contract: &Contract) -> Result<Vec<(String, String)>, StoreError> {
        let mut faults = Vec::new();
        match &contract.start {
            Start::FirstAgent(agent) => {
                let found = self.against_input(agent, contract.input.as_ref()).await?;
                faults.extend(found.into_iter().map(|fault| ("input".to_owned(), fault)));
            }
            Start::Plan(plan) => {
                for (index, step) in plan.steps.iter().enumerate() {
                    let found = self.against_input(&step.agent, step.input.as_ref()).await?;
                    let field = format!("plan.steps[{index}].input");
                    faults.extend(found.into_iter().map(|fault| (field.clone(), fault)));
                }
            }
        }
        Ok(faults)
    }
}
