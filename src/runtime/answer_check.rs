//! The checks that an answer needs before it is decided, made off the shards: the contract's schema and rules, the output
//! schema of the agent itself, the input schemas of the agents that a directive gives something to. Findings are words for
//! the agent that answered. Never here: what follows from them.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::{
    acceptance::{Rules, Subject},
    hands::Hands,
    registry::Registry,
    schema::Schemas,
};
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

/// Answers that are held against rules at once: a few threads, of the many that may block.
const RULE_TURNS: usize = 8;

/// What the checks need.
#[derive(Clone)]
pub(super) struct AnswerCheck {
    schemas: Arc<Schemas>,
    registry: Arc<Registry>,
    rules: Arc<Rules>,
    /// How many answers are held against rules at once.
    rule_turns: Arc<Semaphore>,
    hands: Hands,
}

impl AnswerCheck {
    pub(super) fn new(registry: Arc<Registry>, hands: Hands) -> Self {
        let rule_turns = Arc::new(Semaphore::new(RULE_TURNS));
        let schemas = Arc::new(Schemas::new(hands.clone()));
        Self { schemas, registry, rules: Arc::default(), rule_turns, hands }
    }

    /// What is found against an answer, if that can be told without a wait. Most answers are of this kind.
    pub(super) fn at_once(&self, checks: &AnswerChecks, answer: &Answer) -> Option<Findings> {
        let Answer::Envelope(envelope) = answer else { return None };
        let is_plain = checks.contract.acceptance.is_empty() && envelope.directive.is_none();
        if !is_plain || self.registry.output_schema(&checks.agent).is_some() {
            return None;
        }
        let schema = checks.contract.result_schema.as_ref().filter(|_| checks.is_final);
        let result = match (schema, &envelope.result) {
            (Some(schema), Some(result)) => self.schemas.check_at_once(schema, result, "the result")?,
            _ => Vec::new(),
        };
        Some(Findings { result, ..Findings::default() })
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
        let mut found = match (schema, answer.result()) {
            (Some(schema), Some(result)) => self.schemas.check(schema.clone(), result, "the result").await?,
            _ => Vec::new(),
        };
        if let Answer::Envelope(envelope) = answer {
            found.extend(self.against_rules(checks, envelope).await?);
        }
        Ok(found)
    }

    /// Rules speak about what may succeed, and about what is kept on the way as the best so far.
    async fn against_rules(
        &self,
        checks: &AnswerChecks,
        envelope: &Envelope,
    ) -> Result<Vec<String>, StoreError> {
        let is_candidate = envelope.status == Status::Success && envelope.directive.is_none();
        if checks.contract.acceptance.is_empty() || !(is_candidate || envelope.result.is_some()) {
            return Ok(Vec::new());
        }
        // One rule too costly must not keep the server from everything else that blocks. The turn is the work's, not that of
        // whoever waits for it: they may go away, and it still runs.
        let turn = Arc::clone(&self.rule_turns).acquire_owned().await;
        let (rules, checks, envelope) = (Arc::clone(&self.rules), checks.clone(), envelope.clone());
        let work = move || {
            let _turn = turn;
            rules.findings(&checks.contract.acceptance, &Subject::of(&checks, &envelope))
        };
        self.hands.run(work).await
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

    /// Whether one of a contract's first agents has declared what it takes.
    pub(super) fn has_input_schema(&self, contract: &Contract) -> bool {
        let has = |agent: &AgentName| self.registry.input_schema(agent).is_some();
        match &contract.start {
            Start::FirstAgent(agent) => has(agent),
            Start::Plan(plan) => plan.steps.iter().any(|step| has(&step.agent)),
        }
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
