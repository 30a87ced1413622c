//! The guards together, as the engine uses them.

use super::*;
use crate::types::guards::{FinishedTerms, RepetitionTerms};

/// A script of observations under some terms.
struct Script {
    guards: Guards,
    terms: GuardTerms,
    turn: u32,
}

/// Only repetition, so that nothing else trips first.
fn repetition() -> Script {
    let finished = FinishedTerms { on: false, ..FinishedTerms::default() };
    Script::under(GuardTerms { finished, ..GuardTerms::default() })
}

/// Only "already finished".
fn finished() -> Script {
    let repetition = RepetitionTerms { on: false, ..RepetitionTerms::default() };
    Script::under(GuardTerms { repetition, ..GuardTerms::default() })
}

impl Script {
    fn under(terms: GuardTerms) -> Self {
        Self { guards: Guards::new(), terms, turn: 0 }
    }

    fn see(&mut self, agent: &str, kind: Observed, tool: &str, content: &str) -> &mut Self {
        let (turn, fingerprint, concurrent) = (self.turn, false, false);
        let o = Observation { turn, agent, kind, tool, content, fingerprint, concurrent };
        self.guards.observe(&self.terms, &o);
        self
    }

    /// The answer to a turn of its own.
    fn answers(&mut self, agent: &str, result: &str) -> &mut Self {
        self.turn += 1;
        self.see(agent, Observed::Answer, "", result)
    }

    /// A message that is a turn of its own.
    fn says(&mut self, agent: &str, text: &str) -> &mut Self {
        self.turn += 1;
        self.see(agent, Observed::Message, "", text)
    }

    /// A tool step inside the running turn.
    fn uses(&mut self, agent: &str, call: &str, result: &str) -> &mut Self {
        self.see(agent, Observed::ToolCall, "search", call).see(agent, Observed::ToolResult, "search", result)
    }

    fn tripped(&self) -> Vec<GuardKind> {
        self.guards.trips().iter().map(|trip| trip.guard).collect()
    }

    fn only(&self) -> &GuardTrip {
        assert_eq!(self.guards.trips().len(), 1, "{:?}", self.guards.trips());
        &self.guards.trips()[0]
    }
}

#[test]
fn equal_answers_that_each_invoke_the_next_agent_trip_at_the_third() {
    let mut script = repetition();
    for (times, agent) in (1..).zip(["planner", "writer", "critic"]) {
        script.answers(agent, "{\"text\":\"the same plan again\"}");
        assert_eq!(script.tripped().is_empty(), times < 3);
    }
    let trip = script.only();
    assert_eq!((trip.guard, trip.times, trip.cycle), (GuardKind::Repetition, 3, 1));
    assert_eq!((trip.agent.as_deref(), trip.in_turn, trip.turns.as_slice()), (None, None, &[1, 2, 3][..]));
    assert!(trip.evidence().contains("3 times in a row (turns 1, 2, 3)"), "{}", trip.evidence());
}

#[test]
fn one_agent_that_says_the_same_at_length_trips_though_others_talk_in_between() {
    let mut script = repetition();
    let plan =
        "We should first of all collect every figure that the three departments have sent in. ".repeat(3);
    for other in ["the sea is calm", "no wind today at all", "rain is to be expected", "snow came", "fog"] {
        assert_eq!(script.tripped(), [], "in spite of news it counts half");
        script.answers("manager", &plan).answers("worker", other);
    }
    let trip = script.only();
    assert_eq!((trip.guard, trip.agent.as_deref(), trip.times), (GuardKind::Repetition, Some("manager"), 5));
}

#[test]
fn a_reviewer_who_passes_three_different_drafts_does_not_loop() {
    let mut script = repetition();
    for draft in ["a first draft of the text", "a second one, longer", "the third and last of them"] {
        script.answers("writer", draft).answers("reviewer", "\"no remarks\"");
    }
    assert_eq!(script.tripped(), []);
}

#[test]
fn cycles_of_two_to_six_trip_when_they_come_round_the_third_time() {
    for length in 2..=6_u32 {
        let mut script = repetition();
        for item in 0..3 * length {
            assert_eq!(script.tripped(), [], "cycle of {length}, item {item}");
            let agent = format!("agent-{}", item % length);
            script.answers(&agent, &format!("\"step {} of the work\"", item % length));
        }
        let trip = script.only();
        assert_eq!((trip.guard, trip.times, trip.cycle), (GuardKind::Cycle, 3, length));
    }
}

#[test]
fn paging_never_trips_and_the_same_page_three_times_does() {
    let mut script = repetition();
    script.turn = 1;
    for page in 0..200 {
        script.uses("reader", "next_page()", &format!("contents of page {page}"));
    }
    assert_eq!(script.tripped(), []);
    for _ in 0..3 {
        script.uses("reader", "next_page()", "no more pages");
    }
    let trip = script.only();
    assert_eq!(
        (trip.guard, trip.in_turn, trip.agent.as_deref()),
        (GuardKind::Repetition, Some(1), Some("reader"))
    );
}

#[test]
fn a_call_alone_never_counts() {
    let mut script = Script::under(GuardTerms { max_steps: Some(1), ..GuardTerms::default() });
    for _ in 0..50 {
        script.see("reader", Observed::ToolCall, "search", "next_page()");
    }
    assert_eq!(script.tripped(), []);
    assert!(script.guards.turns[&0].pending.len() <= MAX_PENDING);
}

#[test]
fn results_find_their_calls_however_they_come_back() {
    let mut script = repetition();
    for _ in 0..3 {
        let call = |script: &mut Script, tool: &str| _ = script.see("a", Observed::ToolCall, tool, tool);
        let result = |script: &mut Script, tool: &str| {
            _ = script.see("a", Observed::ToolResult, tool, "nothing was found")
        };
        call(&mut script, "left");
        call(&mut script, "right");
        result(&mut script, "right");
        result(&mut script, "left");
    }
    assert_eq!(script.only().cycle, 2);
}

#[test]
fn a_result_without_a_recorded_call_repeats_only_with_what_led_to_it() {
    let mut script = repetition();
    for attempt in ["one way to compute it", "another way to compute it", "a third way to compute it"] {
        script.says("solver", attempt).see("tool", Observed::ToolResult, "python", "42");
    }
    assert_eq!(script.tripped(), []);
}

#[test]
fn parallel_steps_that_agree_are_no_repetition() {
    let mut script = repetition();
    for (turn, agent) in (1..).zip(["one", "two", "three", "four"]) {
        let o = Observation {
            turn,
            agent,
            kind: Observed::Answer,
            tool: "",
            content: "{\"verdict\":\"yes, it is\"}",
            fingerprint: false,
            concurrent: true,
        };
        script.guards.observe(&script.terms, &o);
    }
    assert_eq!(script.tripped(), []);
}

#[test]
fn interleaved_turns_are_followed_apart() {
    let mut script = repetition();
    for number in 0..3 {
        for (turn, agent) in [(1, "left"), (2, "right")] {
            script.turn = turn;
            let content = if turn == 1 {
                "I shall look at it once more".to_owned()
            } else {
                format!("and now to number {number} of them")
            };
            script.see(agent, Observed::Message, "", &content);
        }
    }
    let trip = script.only();
    assert_eq!((trip.in_turn, trip.agent.as_deref()), (Some(1), Some("left")));
    script.guards.end_turn(1);
    assert_eq!(script.tripped(), []);
}

#[test]
fn nearly_the_same_prose_trips_and_a_changed_figure_does_not() {
    let text = |word: &str| {
        format!(
            "Having gone through all of the material once again, {word} I cannot see how the request could be met with \
             what we have been given, and I would ask for further instructions before going on."
        )
    };
    let mut script = repetition();
    for word in ["sadly", "regrettably", "unfortunately", "alas"] {
        script.says("clerk", &text(word));
    }
    assert_eq!(script.tripped(), [], "likeness counts half");
    script.says("clerk", &text("again"));
    let trip = script.only();
    assert_eq!(trip.times, 5);
    assert_eq!(trip.guard, GuardKind::NearRepetition);
    assert!((700..1_000).contains(&trip.similarity_permille), "{trip:?}");
    let mut script = repetition();
    for number in 0..20 {
        script.says("clerk", &text(&format!("as of item {number}")));
    }
    assert_eq!(script.tripped(), []);
}

#[test]
fn a_growing_document_is_not_a_repetition_until_it_stops_growing() {
    let mut script = repetition();
    let mut document = String::new();
    for section in 0..60_u8 {
        let letters = [b'a' + section / 26, b'a' + section % 26];
        let name = String::from_utf8_lossy(&letters);
        document.push_str(&format!(
            "\n\nOn {name}x. It was then {name}y who went to see {name}z about the {name}w."
        ));
        script.answers("writer", &serde_json::json!({ "text": document }).to_string());
        assert_eq!(script.tripped(), [], "section {section}");
    }
    let same = serde_json::json!({ "text": document }).to_string();
    script.answers("writer", &same).answers("writer", &same);
    assert_eq!(script.only().guard, GuardKind::Repetition);
}

#[test]
fn fingerprints_are_compared_exactly_and_only_so() {
    let mut script = repetition();
    for (turn, content) in (1..).zip(["sha256:aa", "sha256:ab", "sha256:ab", "sha256:ab"]) {
        assert_eq!(script.tripped(), []);
        let (agent, kind, tool, fingerprint) = ("private", Observed::Message, "", true);
        let o = Observation { turn, agent, kind, tool, content, fingerprint, concurrent: false };
        script.guards.observe(&script.terms, &o);
    }
    assert_eq!((script.only().times, script.only().repeated.as_str()), (3, "sha256:ab"));
}

#[test]
fn single_words_that_are_streamed_are_no_loop_for_long() {
    let mut script = repetition();
    for _ in 0..20 {
        script.says("one", "Agreed.").says("two", "Agreed.");
    }
    assert_eq!(script.tripped(), [GuardKind::Repetition], "in the end they are");
    let mut script = repetition();
    script.says("one", "Python").says("two", "Python").says("one", "Python").says("two", "Python");
    assert_eq!(script.tripped(), []);
    script.answers("one", "\"ok\"").answers("two", "\"ok\"").answers("one", "\"ok\"");
    assert_eq!(script.tripped(), [GuardKind::Repetition], "answers count whatever their length");
}

#[test]
fn after_settling_only_what_comes_after_counts() {
    let mut script = Script::under(GuardTerms { max_steps: Some(5), ..repetition().terms });
    script.answers("a", "\"x\"").answers("b", "\"x\"").answers("a", "\"x\"");
    assert_eq!(script.tripped(), [GuardKind::Repetition]);
    script.guards.settle();
    assert_eq!(script.tripped(), []);
    script.answers("b", "\"x\"");
    assert_eq!(script.tripped(), [], "the fourth in all is the first again");
    script.answers("a", "\"x\"");
    assert_eq!(script.tripped(), [GuardKind::Steps], "steps are counted over the whole task");
    assert_eq!(script.guards.levels().steps, 5);
}

#[test]
fn an_answer_restated_with_nothing_said_against_it_is_finished() {
    let program =
        "```python\ndef double(number):\n    return number + number + 0 * number\n\n```\nThat is it.";
    let mut script = finished();
    script
        .says("coder", program)
        .says("reviewer", "<OK> Finished")
        .says("coder", &program.replace("\n\n", "\n"));
    let trip = script.only();
    assert_eq!((trip.guard, trip.turns.as_slice()), (GuardKind::Restated, &[1, 3][..]));

    let mut script = finished();
    script.says("coder", program).says("reviewer", "This fails for words: what is the double of one?");
    script.says("coder", program);
    assert_eq!(script.tripped(), [], "an objection is not answered by saying it again");
    script.says("reviewer", "This fails for words: what is the double of one?").says("coder", program);
    assert_eq!(script.tripped(), [GuardKind::Restated], "the same objection again is nothing new");
}

#[test]
fn an_answer_sent_back_is_contested() {
    let mut script = finished();
    script.answers("writer", "{\"text\":\"so be it\"}");
    script.see("gate", Observed::Input, "", "the result has no title, and it must have one");
    script.answers("writer", "{\"text\":\"so be it\"}");
    assert_eq!(script.tripped(), []);
}

#[test]
fn agreeing_agents_are_not_one_agent_that_restates() {
    let mut script = finished();
    script.answers("one", "{\"sum\":12}").answers("two", "{\"sum\":12}").answers("three", "{\"sum\":12}");
    assert_eq!(script.tripped(), []);
    script.answers("one", "{ \"sum\": 12 }");
    assert_eq!(script.only().guard, GuardKind::Restated);
}

#[test]
fn a_tool_that_gives_what_was_answered_confirms_it() {
    let mut script = finished();
    script.says("solver", "Let us see:\n```python\nprint(84 / 2)\n```\nIt should be \\boxed{42}.");
    script.see("tool", Observed::ToolResult, "python", "exitcode: 0\nCode output: 42.0\n");
    let trip = script.only();
    assert_eq!((trip.guard, trip.turns.as_slice()), (GuardKind::Confirmed, &[1][..]));

    let mut script = finished();
    script.says("solver", "It should be \\boxed{42}.");
    script.see("tool", Observed::ToolResult, "python", "41");
    assert_eq!(script.tripped(), []);
}

#[test]
fn talk_that_adds_nothing_to_a_result_is_finished() {
    let mut script = finished();
    script.says("one", "Final answer: 2250");
    for round in 1..=12 {
        assert_eq!(script.tripped(), [], "round {round}");
        script
            .says(if round % 2 == 0 { "one" } else { "two" }, "Great work, I am ready for the next problem!");
    }
    assert_eq!((script.only().guard, script.only().times), (GuardKind::Idle, 12));
}

#[test]
fn each_guard_can_be_switched_off() {
    let off = GuardTerms {
        repetition: RepetitionTerms { on: false, ..RepetitionTerms::default() },
        finished: FinishedTerms { on: false, ..FinishedTerms::default() },
        ..GuardTerms::default()
    };
    let mut script = Script::under(off);
    for _ in 0..30 {
        script
            .answers("a", "{\"n\":42}")
            .uses("a", "f()", "42")
            .says("a", "nothing new to say here, I am afraid");
    }
    assert_eq!(script.tripped(), []);
    assert!(script.guards.levels().steps >= 90, "they still count");
}

#[test]
fn several_trips_at_once_come_in_a_fixed_order_and_once_each() {
    let mut script = Script::under(GuardTerms { max_steps: Some(3), ..GuardTerms::default() });
    for _ in 0..5 {
        script.answers("a", "{\"n\":42}").says("b", "Fine.");
    }
    assert_eq!(script.tripped(), [GuardKind::Cycle, GuardKind::Restated, GuardKind::Steps]);
}

proptest::proptest! {
    #[test]
    fn the_same_observations_give_the_same_trips_in_bounded_memory(
        picks in proptest::collection::vec((0_u32..400, 0_usize..90, 0_usize..5, 0_usize..8), 0..600),
    ) {
        let contents = ["", "yes", "\\boxed{", "{\"a\":1}", "```\n", "ünïcödé 1/0 -,.", "a longer sentence of nine words in all, or ten", "```x\nfn main() { run_the_whole_thing_at_once(); }\n```"];
        let kinds = [Observed::Message, Observed::ToolCall, Observed::ToolResult, Observed::Answer, Observed::Input];
        let (mut one, mut other) = (Guards::new(), Guards::new());
        let terms = GuardTerms::default();
        for (turn, agent, kind, content) in picks {
            let agent = format!("agent-{agent}");
            let (kind, content) = (kinds[kind], contents[content]);
            let o = Observation { turn, agent: &agent, kind, tool: "t", content, fingerprint: turn % 7 == 0, concurrent: turn % 5 == 0 };
            one.observe(&terms, &o);
            other.observe(&terms, &o);
            proptest::prop_assert_eq!(one.trips(), other.trips());
        }
        proptest::prop_assert!(one.agents.len() <= MAX_AGENTS);
        proptest::prop_assert!(one.turns.len() <= MAX_OPEN_TURNS);
        proptest::prop_assert!(one.seen.len() <= REMEMBERED);
    }
}
