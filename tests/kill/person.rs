//! People at the inbox: two of them answer the same questions at once, over every restart, and write down what was taken.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use bailiwick::pb::{
    AnswerEscalationRequest, Approve, Extension, ListEscalationsRequest, answer_escalation_request::What,
    operator_service_client::OperatorServiceClient,
};
use tonic::{Code, transport::Endpoint};

/// Who was told that their answer counts, by question.
#[derive(Default)]
pub(crate) struct Answered(Mutex<BTreeMap<String, String>>);

impl Answered {
    fn note(&self, question: &str, by: &str) {
        let mut answered = self.0.lock().expect("nobody panics");
        let before = answered.insert(question.to_owned(), by.to_owned());
        assert!(
            before.is_none_or(|before| before == by),
            "two people were told that they answered {question}"
        );
    }

    /// The person of a question.
    pub(crate) fn by(&self, question: &str) -> Option<String> {
        self.0.lock().expect("nobody panics").get(question).cloned()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().expect("nobody panics").len()
    }
}

/// Answers what is open, for ever. Even people approve, odd ones extend.
pub(crate) async fn answer_all(uri: String, number: usize, answered: Arc<Answered>) {
    let endpoint = Endpoint::from_shared(uri).expect("a URI").connect_timeout(Duration::from_secs(2));
    let mut client = OperatorServiceClient::new(endpoint.connect_lazy());
    let by = format!("person-{number}");
    loop {
        tokio::time::sleep(Duration::from_millis(25)).await;
        let Ok(page) = client.list_escalations(ListEscalationsRequest::default()).await else { continue };
        for question in page.into_inner().escalations {
            let what = match number % 2 {
                0 => What::Approve(Approve {}),
                _ => What::Extend(Extension { tokens: 1_000, ..Extension::default() }),
            };
            let request = AnswerEscalationRequest {
                escalation_id: question.escalation_id.clone(),
                answered_by: by.clone(),
                what: Some(what),
                ..AnswerEscalationRequest::default()
            };
            match client.answer_escalation(request).await {
                Ok(_) => answered.note(&question.escalation_id, &by),
                // It stays in the list, if it is open still.
                Err(status) => {
                    assert_ne!(status.code(), Code::InvalidArgument, "{status:?}");
                    assert_ne!(status.code(), Code::NotFound, "{status:?}");
                }
            }
        }
    }
}
