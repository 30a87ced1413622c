//! The examples in `workers-examples/patterns/`: each contract played by its crew against a real server, to the outcome that
//! its comments promise. In Rust always; in Python where its worker has been set up.

#[path = "patterns/stage.rs"]
#[allow(unreachable_pub)]
mod stage;

use serde_json::json;
use stage::{Played, Stage};

/// A plan, a fallback and an optional step.
async fn orchestrator_worker(stage: &Stage) {
    let played = stage.play("orchestrator-worker.yaml").await;
    assert_eq!(played.ended, "SUCCEEDED by GATE for COMPLETED", "{played:#?}");
    let result = &played.result;
    assert_eq!((&result["price"], &result["without"]), (&json!(190 + 3 * 95), &json!(["tips"])));
    assert_eq!(result["lines"]["travel"]["by"], "rail", "the fallback took the airline's step");
    assert_eq!(played.steps(), ["bed: SUCCESS", "tips: FAILED?", "total: SUCCESS", "travel: SUCCESS"]);
    assert_eq!((played.hops, played.replans, played.turns), (0, 0, 7));
}

/// Control goes from agent to agent, and the server counts.
async fn hand_off(stage: &Stage) {
    let played = stage.play("hand-off.yaml").await;
    assert_eq!(played.ended, "SUCCEEDED by GATE for COMPLETED", "{played:#?}");
    assert_eq!(played.result, json!({"answer": "You get 190 euros back.", "refund": 190}));
    assert_eq!(played.agents, ["desk", "refunds", "bookings", "refunds"]);
    assert_eq!(played.hops, 3);
}

/// The same letter under a cap that is too low: the owner decides, not one agent more.
async fn hand_off_over_the_cap(stage: &Stage) {
    let played = stage.play_with("hand-off.yaml", |text| text.replace("max_hops: 4", "max_hops: 2")).await;
    assert_eq!(played.ended, "PARTIAL by OWNER for HOPS", "{played:#?}");
    assert_eq!(played.agents, ["desk", "refunds", "bookings", "agency"]);
    assert_eq!(played.hops, 2);
}

/// A manager that never says "enough" is ended by the server when rounds no longer pay, and its best draft passes the gate.
async fn adaptive(stage: &Stage) {
    let played = stage.play("adaptive.yaml").await;
    assert_eq!(played.ended, "SUCCEEDED by GATE for CONVERGED", "{played:#?}");
    assert_eq!(played.result, json!({"sights": ["walls", "museum", "tower"], "worth": 88}));
    assert_eq!(played.rounds, 4, "of ten: the fourth draft is the third again");
}

/// Where the contract does not say when rounds stop paying, the cap ends them, and the owner takes the best draft.
async fn adaptive_over_the_cap(stage: &Stage) {
    let capped = |text: &str| text.replace("max_rounds: 10", "max_rounds: 2");
    let played = stage.play_with("adaptive.yaml", capped).await;
    assert_eq!(played.ended, "PARTIAL by OWNER for NOT_CONVERGED", "{played:#?}");
    assert_eq!(played.result, json!({"sights": ["walls", "museum"], "worth": 64}));
    assert_eq!(played.rounds, 2);
}

/// All of it in one task.
async fn mixed(stage: &Stage) {
    let played = stage.play("mixed.yaml").await;
    assert_eq!(played.ended, "SUCCEEDED by GATE for COMPLETED", "{played:#?}");
    let letter = "You go to Matera by rail and sleep at Ostello della Stazione, for 295 euros.";
    assert_eq!(played.result, json!({"letter": letter, "price": 295}));
    assert_eq!((played.hops, played.replans), (2, 1), "one hop inside a step, one of the task");
    assert_eq!(played.steps(), ["bed: FAILED", "bed: SUCCESS", "travel: SUCCESS"]);
    assert_eq!(played.agents.last().map(String::as_str), Some("writer"));
}

async fn every_pattern(stage: Stage) {
    orchestrator_worker(&stage).await;
    hand_off(&stage).await;
    hand_off_over_the_cap(&stage).await;
    adaptive(&stage).await;
    adaptive_over_the_cap(&stage).await;
    mixed(&stage).await;
    stage.stop().await;
}

#[tokio::test]
async fn the_rust_crew_plays_every_pattern() {
    every_pattern(Stage::with_rust().await).await;
}

#[tokio::test]
async fn the_python_crew_plays_every_pattern() {
    match Stage::with_python().await {
        Ok(stage) => every_pattern(stage).await,
        Err(why) => eprintln!("skipped: {why}"),
    }
}

impl Played {
    /// How every step ended, sorted, with "?" where the plan went on without it.
    fn steps(&self) -> Vec<String> {
        let mut steps = self.step_ends.clone();
        steps.sort();
        steps
    }
}

#[test]
fn every_contract_of_the_patterns_is_played_here() {
    let files = std::fs::read_dir(stage::folder()).expect("the folder is there");
    let mut names: Vec<_> = files
        .filter_map(|file| file.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(".yaml"))
        .collect();
    names.sort();
    assert_eq!(names, ["adaptive.yaml", "hand-off.yaml", "mixed.yaml", "orchestrator-worker.yaml"]);
}
