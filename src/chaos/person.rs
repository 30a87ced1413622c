//! A simulated person, who answers what the run's own tasks ask: mostly yes, sometimes no, sometimes otherwise, sometimes
//! too late.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::{sleep, timeout};

use super::{
    clients::{CALL, Clients, is_passing},
    log::Log,
    shapes::{self, wire},
};
use crate::{
    pb::{self, answer_escalation_request::What},
    types::dice::Dice,
};

/// How often the inbox is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// Who answers.
const NAME: &str = "chaos";

/// Answers every question of the run until it is dropped.
pub(super) async fn answer(clients: Arc<Clients>, log: Arc<Log>, run: String, seed: u64) {
    let mut seen = BTreeSet::new();
    loop {
        let request = pb::ListEscalationsRequest {
            labels: [(shapes::RUN_LABEL.to_owned(), run.clone())].into(),
            page_size: 200,
            ..pb::ListEscalationsRequest::default()
        };
        if let Ok(Ok(listed)) = timeout(CALL, clients.operator().list_escalations(request)).await {
            for question in listed.into_inner().escalations {
                if seen.contains(&question.escalation_id) {
                    continue;
                }
                if one(&clients, &log, &question, seed).await {
                    seen.insert(question.escalation_id);
                }
            }
        }
        sleep(LOOK).await;
    }
}

/// Answers a question, or decides not to. False: the server was away.
async fn one(clients: &Clients, log: &Log, question: &pb::Escalation, seed: u64) -> bool {
    let mut dice = Dice::of(seed, &question.escalation_id);
    let what = match dice.between(1, 100) {
        1..=75 => What::Approve(pb::Approve {}),
        76..=83 => What::Abort(pb::Abort {}),
        84..=90 => What::Extend(pb::Extension { tokens: 1_000, ..pb::Extension::default() }),
        91..=95 => What::Amend(pb::Amend { result: Some(wire(&json!({"done": "by hand"}))) }),
        _ => return true, // Nobody answers: the default does.
    };
    let request = pb::AnswerEscalationRequest {
        escalation_id: question.escalation_id.clone(),
        answered_by: NAME.to_owned(),
        note: "go on".to_owned(),
        what: Some(what),
        ..pb::AnswerEscalationRequest::default()
    };
    match timeout(CALL, clients.operator().answer_escalation(request)).await {
        Ok(Ok(_)) => {
            log.answered();
            true
        }
        Ok(Err(status)) => !is_passing(&status),
        Err(_) => false,
    }
}
