//! The planner: lists the material, delegates one step to each specialist and one to the reviewer, and composes the audit
//! when control is back. It re-plans once where a specialist has failed: the reviewer then checks what there is.

use std::{collections::BTreeMap, path::PathBuf};

use bailiwick_worker::{Answer, Context, HandlerError, from_json, pb, to_json};
use serde_json::{Value, json};

use super::chars_of;
use crate::demo::{
    budget, files,
    finding::{Findings, MOST, estimate},
};

/// Findings of the whole audit at most, so that a result stays below 1 MiB.
const MOST_IN_ALL: usize = 5 * MOST;
const REVIEWER: &str = "reviewer";
const REVIEW: &str = "review";

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    let input = context.input();
    let history = context.lineage().await?;
    let steps: Vec<&pb::LineageEntry> = history.iter().filter(|entry| !entry.step_id.is_empty()).collect();
    if steps.is_empty() {
        return delegate(&context, &input).await;
    }
    let reviewed = steps.iter().rev().find(|entry| entry.agent == REVIEWER);
    let review = reviewed.and_then(|entry| entry.envelope.as_ref()).filter(|envelope| succeeded(envelope));
    let reviews = steps.iter().filter(|entry| entry.agent == REVIEWER).count();
    if review.is_none() && reviews < 2 {
        context.progress("a step has failed: the reviewer checks what there is").await;
        let plan = pb::Plan { steps: vec![review_step(&input, Vec::new(), 0)], ..pb::Plan::default() };
        return Ok(Answer::delegate(plan, None).reason("a step has failed; the review goes on without it"));
    }
    let audit = compose(&steps, review);
    let written = chars_of(&audit);
    context.usage(estimate(written), estimate(written)).await;
    let used: Vec<&str> = steps.iter().map(|entry| entry.id.as_str()).collect();
    let answer = match review {
        Some(envelope) => Answer::success(audit).confidence(envelope.confidence.unwrap_or(0.0)),
        None => Answer::partial(audit, "nobody has checked the findings").confidence(0.0),
    };
    Ok(answer.inputs_used(used))
}

fn succeeded(envelope: &pb::StatusEnvelope) -> bool {
    envelope.status() == pb::Status::Success
}

async fn delegate(context: &Context, input: &Value) -> Result<Answer, HandlerError> {
    let root = input["root"].as_str().ok_or_else(|| HandlerError::failed("the input names no root"))?;
    let root = PathBuf::from(root).canonicalize()?;
    let specialists: Vec<String> = input["specialists"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    if specialists.is_empty() {
        return Err(HandlerError::failed("the input names no specialist"));
    }
    let listing = tokio::task::spawn_blocking(move || (files::list(&root), root)).await?;
    let (listing, root) = listing;
    let count = listing.files.len();
    context.progress(format!("{count} text files, {} bytes", listing.bytes)).await;
    let per_turn = budget::per_turn(&listing, specialists.len());
    let material = json!({"root": root.to_string_lossy(), "files": listing.files});
    let written = chars_of(&material) * specialists.len();
    context.usage(estimate(listing.path_chars), estimate(written)).await;
    let mut steps: Vec<pb::Step> = specialists
        .iter()
        .map(|agent| pb::Step {
            id: agent.clone(),
            agent: agent.clone(),
            input: Some(from_json(material.clone())),
            max_tokens: per_turn,
            ..pb::Step::default()
        })
        .collect();
    steps.push(review_step(input, specialists, per_turn));
    let plan = pb::Plan { steps, ..pb::Plan::default() };
    let cut = if listing.cut { ", the first of more" } else { "" };
    Ok(Answer::delegate(plan, None)
        .confidence(1.0)
        .reason(format!("{count} files{cut}; {} others are no text or too large", listing.left_out)))
}

fn review_step(input: &Value, depends_on: Vec<String>, max_tokens: i64) -> pb::Step {
    pb::Step {
        id: REVIEW.to_owned(),
        agent: REVIEWER.to_owned(),
        input: Some(from_json(json!({"root": input["root"]}))),
        depends_on,
        max_tokens,
        ..pb::Step::default()
    }
}

/// The audit: findings by specialist, the reviewer's verdict, and who could not be heard.
fn compose(steps: &[&pb::LineageEntry], review: Option<&pb::StatusEnvelope>) -> Value {
    let mut findings = Vec::new();
    let mut specialists = BTreeMap::new();
    let mut silent = Vec::new();
    for entry in steps.iter().filter(|entry| entry.agent != REVIEWER) {
        let Some(envelope) = &entry.envelope else { continue };
        let Some(found) = envelope.result.as_ref().and_then(|result| Findings::of(&to_json(result))) else {
            silent.push(json!({"agent": entry.agent, "reason": envelope.reason}));
            continue;
        };
        for mut finding in found.findings.into_iter().take(MOST_IN_ALL - findings.len()) {
            if let Some(fields) = finding.as_object_mut() {
                fields.insert("agent".to_owned(), entry.agent.clone().into());
            }
            findings.push(finding);
        }
        specialists.insert(entry.agent.clone(), json!({"summary": found.summary, "facts": found.facts}));
    }
    let review = review.and_then(|envelope| envelope.result.as_ref()).map(to_json).unwrap_or_default();
    let verdict = review["summary"].as_str().unwrap_or("nobody has checked them");
    let summary = format!("{} findings by {} specialists: {verdict}", findings.len(), specialists.len());
    json!({
        "summary": summary, "specialists": specialists, "findings": findings, "review": review, "silent": silent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(agent: &str, status: pb::Status, result: Option<Value>) -> pb::LineageEntry {
        let envelope =
            pb::StatusEnvelope { status: status.into(), result: result.map(from_json), ..Default::default() };
        pb::LineageEntry {
            id: agent.into(),
            agent: agent.into(),
            step_id: agent.into(),
            envelope: Some(envelope),
            ..Default::default()
        }
    }

    #[test]
    fn the_audit_names_who_found_what_and_who_was_not_heard() {
        let found = json!({"summary": "s", "facts": {"n": 1}, "findings": [{"kind": "size", "path": "a"}]});
        let verdict = json!({"summary": "1 of 1 findings hold against the files", "verified": 1, "total": 1});
        let entries = [
            entry("structure", pb::Status::Success, Some(found)),
            entry("twins", pb::Status::Failed, None),
            entry("reviewer", pb::Status::Success, Some(verdict)),
        ];
        let steps: Vec<_> = entries.iter().collect();
        let audit = compose(&steps, entries[2].envelope.as_ref());
        assert_eq!(audit["summary"], "1 findings by 1 specialists: 1 of 1 findings hold against the files");
        assert_eq!(audit["findings"][0], json!({"agent": "structure", "kind": "size", "path": "a"}));
        assert_eq!(audit["silent"][0]["agent"], "twins");
        assert_eq!(audit["review"]["verified"], 1);
    }
}
