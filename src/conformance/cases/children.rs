//! Cases about children: tasks that a handler submits under its lease and waits for.

use serde_json::{Value, json};

use super::turns::{result, same, status};
use crate::{
    conformance::{
        stage::{Event, Failure, PATIENCE, Stage, Verdict, require},
        tasks::Welcome,
    },
    pb::{self, contract::Start},
};

fn script() -> Value {
    let child = json!({"agent": "helper", "goal": "Help with it", "input": {"part": 1}});
    json!({"actions": [{"child": child}]})
}

/// What comes of a script with a child: everything submitted, and the answer.
async fn play(stage: &mut Stage, assignment: pb::Assignment) -> Result<(Vec<String>, Value), Failure> {
    let lease = stage.send(assignment);
    let mut traces = Vec::new();
    let mut wrong = None;
    let complete = stage
        .wait("send Complete", PATIENCE, |seen| match &seen.event {
            Event::Submitted(submitted) => {
                traces.push(submitted.traceparent.clone());
                let contract = &submitted.contract;
                let starts = contract.start == Some(Start::FirstAgent("helper".into()));
                if submitted.lease != lease {
                    wrong = Some(format!("parent_lease is {:?}, not that of the attempt", submitted.lease));
                } else if !starts || contract.owner != "helper" || contract.goal != "Help with it" {
                    wrong = Some(format!("the contract is not the one that was scripted: {contract:?}"));
                }
                None
            }
            Event::Complete(_, complete) if complete.lease == lease => Some(complete.clone()),
            _ => None,
        })
        .await?;
    require(wrong.is_none(), || wrong.unwrap_or_default())?;
    let Some(pb::complete::Answer::Envelope(envelope)) = complete.answer else {
        return Err(Failure("a work turn wants an envelope".into()));
    };
    status(&envelope, pb::Status::Success)?;
    Ok((traces, result(&envelope)))
}

pub(super) async fn child(stage: &mut Stage) -> Verdict {
    stage.child_book().set(Welcome::LostOnce);
    let assignment = stage.assignment(script());
    let trace = assignment.traceparent[3..35].to_owned();
    let (traces, result) = play(stage, assignment).await?;
    let ended = json!([{"state": "TASK_STATE_SUCCEEDED", "result": {"of": "the child"}}]);
    same("children", &result["children"], &ended)?;
    require(traces.len() == 2, || {
        format!("submitted {} times: once more, and only once, after UNAVAILABLE", traces.len())
    })?;
    require(traces.iter().all(|header| header.get(3..35) == Some(&trace)), || {
        format!("SubmitTask must carry the attempt's trace {trace} as traceparent; it carried {traces:?}")
    })?;
    Ok("submitted under the lease, again after UNAVAILABLE, waited for until its outcome".into())
}

pub(super) async fn child_refused(stage: &mut Stage) -> Verdict {
    stage.child_book().set(Welcome::Refused);
    let assignment = stage.assignment(script());
    let (submitted, result) = play(stage, assignment).await?;
    stage.child_book().set(Welcome::Taken);
    let code = tonic::Code::FailedPrecondition as i32;
    same("children", &result["children"], &json!([{ "refused": code }]))?;
    require(submitted.len() == 1, || format!("submitted {} times although it was refused", submitted.len()))?;
    Ok("the handler met the refusal, once, and went on".into())
}

pub(super) async fn child_cancel(stage: &mut Stage) -> Verdict {
    // A child that is never heard of again: the cancel must end the wait for it.
    stage.child_book().set(Welcome::Endless);
    let lease = stage.assign(script());
    stage
        .wait("submit its child", PATIENCE, |seen| {
            matches!(&seen.event, Event::Submitted(s) if s.lease == lease).then_some(())
        })
        .await?;
    stage.cancel(&lease, pb::Cause::Cancelled);
    stage.child_book().set(Welcome::Taken);
    stage.settle().await?;
    Ok("the cancel ended the wait: no answer, the slot back".into())
}
