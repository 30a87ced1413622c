//! The owner of every task of the demo. When a guard has tripped it concludes with what there is; it never starts over.

use bailiwick_worker::{Answer, Context, HandlerError, pb};

use crate::demo::finding::estimate;

pub(super) async fn handle(context: Context) -> Result<Answer, HandlerError> {
    if !context.is_decide() {
        return Ok(Answer::failed("the lead only decides: give work to another agent"));
    }
    let assignment = context.assignment();
    let why: Vec<&str> = assignment.trips.iter().map(|trip| trip.evidence.as_str()).collect();
    let why = why.join("; ");
    context.usage(estimate(assignment.goal.chars().count() + why.chars().count()), estimate(80)).await;
    if assignment.best_result.is_none() {
        let reason = format!("nothing was found that could be kept: {why}");
        return Ok(Answer::decide(pb::decision::Decision::Abort(pb::AbortDecision { reason })));
    }
    Ok(Answer::complete_partial(None, "concluded with the best result so far"))
}
