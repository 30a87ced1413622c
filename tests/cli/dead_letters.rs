//! Dead letters from the command line.

use bailiwick::pb::{self, TaskState};

use crate::{
    ask,
    fake::{Fake, TASK, letter_id},
};

fn dead(letters: usize) -> Fake {
    let fake = Fake::in_state(TaskState::DeadLettered);
    fake.0.lock().unwrap().letters = letters;
    fake
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_what_each_died_of_and_what_a_redrive_would_do() {
    let fake = dead(3);
    let addr = fake.serve().await;
    let listed = ask(addr, &["dead-letters", "--label", "team=a", "--cause", "no-worker"]).await.exits(0);
    let listed = listed.says("ATTEMPTS_EXHAUSTED: turn 1 used up its 3 attempts").says("3 attempts");
    let listed =
        listed.says("turn 1 attempt 3, greeter on w7: lease expired: not heard for 30s [1,200 tokens]");
    listed.says(&format!("bailiwick redrive {}", letter_id(2)));
    let asked = fake.0.lock().unwrap().letter_pages.pop().unwrap();
    let filter = asked.filter.unwrap();
    assert_eq!(
        (filter.labels["team"].as_str(), filter.causes.as_slice()),
        ("a", &[pb::Cause::NoWorker as i32][..])
    );
    assert_eq!(asked.states, [pb::DeadLetterState::Open as i32]);

    let json = ask(addr, &["dead-letters", "--state", "any", "--json", "--limit", "2"]).await.exits(0);
    assert_eq!(json.json().len(), 2);
    assert!(json.err.contains("--page-token 2"), "{json:?}");
    assert!(fake.0.lock().unwrap().letter_pages.pop().unwrap().all_states);
    let none = Fake::in_state(TaskState::Running).serve().await;
    ask(none, &["dead-letters"]).await.exits(0).says("no dead letters");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_is_shown_with_its_whole_story() {
    let addr = dead(1).serve().await;
    let shown = ask(addr, &["dead-letters", TASK]).await.exits(0);
    for part in
        ["contract", "owner: greeter", "attempts", "lease expired: not heard for 30s", "open: nothing"]
    {
        assert!(shown.out.contains(part), "{part} in {shown:?}");
    }
    ask(addr, &["dead-letters", TASK, "--agent", "a"]).await.exits(2);
    ask(addr, &["dead-letters", "nobody"]).await.exits(4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redrive_changes_limits_by_flag_and_by_field() {
    let fake = dead(1);
    let addr = fake.serve().await;
    let args = ["redrive", TASK, "--max-tokens", "50000", "--deadline", "10m", "--max-hops", "0"];
    let sets = ["--set", "owner=writer", "--set", "labels={team: b}", "--set", "limits.max_turns="];
    let args: Vec<_> = args.into_iter().chain(sets).chain(["--note", "fixed"]).collect();
    ask(addr, &args).await.exits(0).says("redriven as 91890000").says("1 dead letter redriven");
    let asked = fake.0.lock().unwrap().redrives.pop().unwrap();
    let terms = asked.terms.unwrap();
    let changes = terms.changes.unwrap();
    assert_eq!((changes.owner.as_str(), changes.labels["team"].as_str()), ("writer", "b"));
    assert_eq!(changes.budget.unwrap().max_tokens, 50_000);
    let limits = changes.limits.unwrap();
    assert_eq!((limits.max_hops, limits.deadline.unwrap().seconds), (Some(0), 600));
    let paths =
        ["budget.max_tokens", "limits.deadline", "limits.max_hops", "owner", "labels", "limits.max_turns"];
    assert_eq!(terms.change_mask.unwrap().paths, paths);
    assert_eq!((terms.by.as_str(), terms.note.as_str()), ("tester", "fixed"));
    for bad in ["limits.max_hop=3", "limits.max_hops", "limits.max_hops=many"] {
        ask(addr, &["redrive", TASK, "--set", bad]).await.exits(2);
    }
    ask(addr, &["redrive", TASK, "--set", "limits.max_hops=3", "--max-hops", "4"])
        .await
        .exits(2)
        .says("twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn many_are_done_page_by_page_and_one_refusal_stops_none() {
    let fake = dead(70);
    let addr = fake.serve().await;
    let done = ask(addr, &["redrive", "--agent", "greeter", "--namespace", "batch"]).await.exits(6);
    assert_eq!(done.out.lines().filter(|line| line.contains(" redriven as ")).count(), 69);
    done.says("refused: the owner is unknown").says("69 dead letters redriven, 1 refused");
    let pages = std::mem::take(&mut fake.0.lock().unwrap().redrive_pages);
    assert_eq!(pages.iter().map(|page| page.page_token.as_str()).collect::<Vec<_>>(), ["", "50"]);
    let asked = |page: &pb::RedriveDeadLettersRequest| page.filter.clone().unwrap_or_default();
    assert!(pages.iter().all(|page| asked(page).agent == "greeter" && !page.dry_run));
    assert!(pages.iter().all(|page| asked(page).namespace == "batch"));

    let would = ask(addr, &["discard", "--all", "--dry-run", "--json"]).await.exits(0);
    assert_eq!(would.json().len(), 70);
    assert!(fake.0.lock().unwrap().discard_pages.iter().all(|page| page.dry_run));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_to_what_was_not_named() {
    let addr = dead(1).serve().await;
    for command in ["redrive", "discard"] {
        ask(addr, &[command]).await.exits(2).says("which dead letters?").says("--all");
        ask(addr, &[command, "--all", "--agent", "a"]).await.exits(2);
        ask(addr, &[command, TASK, "--all"]).await.exits(2);
        ask(addr, &[command, "nobody"]).await.exits(4);
        // One of several does not stop the other.
        ask(addr, &[command, "nobody", TASK]).await.exits(6).says("1 refused");
    }
    ask(addr, &["discard", TASK]).await.exits(0).says("discarded (done before)");
}
