//! Made-up crews of kinds that the recordings do not have: healthy ones run to their end under the defaults, sick ones are
//! stopped. Never here: recorded runs.

use super::{
    replay::{BacktestTerms, Stop, replay},
    trace::{RunOutcome, StepKind, StepRole, Trace, TraceStep},
};

/// A run in the making.
#[derive(Default)]
struct Crew(Vec<TraceStep>);

impl Crew {
    fn step(&mut self, agent: &str, role: StepRole, kind: StepKind, text: &str) -> &mut TraceStep {
        self.0.push(TraceStep {
            i: self.0.len() as u64,
            agent: agent.to_owned(),
            role,
            kind,
            tool: (kind != StepKind::Message).then(|| "tool".to_owned()),
            text: text.to_owned(),
            call: None,
            templated: false,
            prompt_tokens: Some(9),
            completion_tokens: Some(1),
        });
        self.0.last_mut().expect("it was put there")
    }

    fn says(&mut self, agent: &str, text: impl AsRef<str>) -> &mut Self {
        self.step(agent, StepRole::Assistant, StepKind::Message, text.as_ref());
        self
    }

    fn person(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.step("person", StepRole::User, StepKind::Message, text.as_ref());
        self
    }

    fn calls(&mut self, agent: &str, call: impl AsRef<str>) -> &mut Self {
        self.step(agent, StepRole::Assistant, StepKind::ToolCall, call.as_ref()).call =
            Some(call.as_ref().to_owned());
        self
    }

    fn gets(&mut self, text: impl AsRef<str>) -> &mut Self {
        self.step("tool", StepRole::Tool, StepKind::ToolResult, text.as_ref());
        self
    }

    fn stop(&self) -> Option<Stop> {
        let trace = Trace {
            trace_id: "made-up".to_owned(),
            dataset: "strangers".to_owned(),
            topology: String::new(),
            outcome: RunOutcome::Unknown,
            outcome_fixed_at: None,
            steps: self.0.clone(),
        };
        replay(&trace, &BacktestTerms::default()).stop
    }

    #[track_caller]
    fn is_healthy(&self) {
        assert_eq!(self.stop(), None);
    }

    /// Stopped, and after so many steps at most.
    #[track_caller]
    fn is_stopped_within(&self, steps: usize) {
        let stop = self.stop().expect("it should have been stopped");
        assert!(stop.step_index < steps, "{stop:?}");
    }
}

/// Names, so that texts differ by a word and not by a figure.
const NAMES: [&str; 12] = [
    "harbour",
    "orchard",
    "station",
    "library",
    "foundry",
    "theatre",
    "mountain",
    "village",
    "brewery",
    "garden",
    "cathedral",
    "bridge",
];

fn name(n: usize) -> &'static str {
    NAMES[n % NAMES.len()]
}

#[test]
fn a_coder_that_pages_edits_and_tests_again() {
    let mut crew = Crew::default();
    for page in 0..12 {
        crew.says("coder", "Let me see more of it.")
            .calls("coder", "scroll_down()")
            .gets(format!("lines of the {}", name(page)));
    }
    for edit in 0..8 {
        crew.says("coder", "I will change it and run the tests again.");
        crew.calls("coder", format!("edit(calc.py, {})", name(edit))).gets("File has been changed.");
        crew.calls("coder", "pytest tests/test_calc.py")
            .gets("1 failed, 11 passed: assert total == 12 in test_total");
    }
    crew.is_healthy();
}

#[test]
fn a_coder_whose_results_were_not_recorded() {
    let mut crew = Crew::default();
    for _ in 0..10 {
        crew.says("coder", "Next page, please, I have not found it yet.").calls("coder", "next_page()");
    }
    crew.is_healthy();
    let mut crew = Crew::default();
    for _ in 0..2 {
        crew.says(
            "coder",
            "```python\ncontents = browser.open_the_next_page_of_results()\nbrowser.remember(contents)\n```",
        );
    }
    crew.is_healthy();
}

#[test]
fn a_hand_that_moves_by_equal_steps() {
    let mut crew = Crew::default();
    for _ in 0..9 {
        crew.calls("hand", "move_forward()").gets("ok");
    }
    crew.calls("hand", "commit()").gets("");
    crew.calls("hand", "commit()").gets("").calls("hand", "commit()").gets("");
    crew.is_healthy();
}

#[test]
fn a_search_that_finds_nothing_for_many_queries() {
    let mut crew = Crew::default();
    for query in NAMES {
        crew.calls("finder", format!("search({query})")).gets("No results were found for this query.");
        crew.says("finder", "Nothing there. I will try another word.");
    }
    crew.is_healthy();
}

#[test]
fn a_debate_that_holds_its_positions_while_arguments_are_new() {
    let arguments = [
        "Rivers freeze before lakes of that depth ever would, so the first reading cannot hold.",
        "The old maps put the mill upstream, which no one here has yet explained.",
        "Merchants wrote of open water in those winters; their letters were dated by others.",
        "Even so, the stones of that bridge show marks that only ice would have left.",
    ];
    let question = "Please state your position on the question again, in the light of what the others have said so far, and give \
         your reason for it in a few sentences. Remember that the panel decides by majority once all have spoken.";
    let mut crew = Crew::default();
    for (round, argument) in arguments.iter().enumerate() {
        crew.says("moderator", question);
        crew.says("left", format!("{argument} Final answer: yes"));
        crew.says(
            "right",
            format!("I do not agree. {} Final answer: no", arguments[(round + 1) % 4].to_lowercase()),
        );
    }
    crew.is_healthy();
}

#[test]
fn a_vote_by_short_words() {
    let mut crew = Crew::default();
    crew.says("chair", "The draft is before you: shall we adopt it as it stands?");
    for member in ["one", "two", "three", "four", "five"] {
        crew.says(member, "I agree.");
    }
    crew.is_healthy();
}

#[test]
fn a_planner_that_posts_its_ledger_each_turn() {
    let mut crew = Crew::default();
    for done in 0..=6 {
        let line = |at: usize| {
            format!("- [{}] write the part about the {}", if at < done { "x" } else { " " }, name(at))
        };
        let ledger: Vec<String> = (0..6).map(line).collect();
        crew.says(
            "planner",
            format!("Where we stand, and what is left to be done by the crew:\n{}", ledger.join("\n")),
        );
        crew.says("writer", "This part is written and stored with the others.");
    }
    crew.is_healthy();
}

#[test]
fn envelopes_with_the_same_keys() {
    let mut crew = Crew::default();
    for at in 0..10 {
        let next = ["writer", "checker"][at % 2];
        crew.says(
            "planner",
            format!("{{\"is_done\": false, \"in_a_loop\": false, \"next\": \"{next}\", \"page\": {at}}}"),
        );
        crew.calls(next, format!("open({})", name(at))).gets(format!("page {at} of 10: the {}", name(at)));
        crew.says(next, format!("{{\"state\": \"in progress\", \"part\": \"{}\"}}", name(at)));
    }
    let ledger = "{\"is_done\": false, \"in_a_loop\": false, \"next\": \"writer\"}";
    crew.says("planner", ledger).says("writer", "It is on its way.").says("planner", ledger);
    crew.is_healthy();
}

#[test]
fn a_polite_desk_with_a_person_at_the_other_end() {
    let mut crew = Crew::default();
    for at in 0..8 {
        crew.person(format!("I would like to see the {}.", name(at)));
        crew.says("desk", "Thank you! Is there anything else I can help you with today?");
    }
    crew.is_healthy();
    // The same with the person played by an agent, in few words.
    let mut crew = Crew::default();
    for at in 0..12 {
        crew.says("caller", format!("The {}.", name(at)));
        crew.says("desk", "Thank you! Is there anything else I can help you with today?");
    }
    crew.is_healthy();
}

#[test]
fn a_chat_in_a_script_without_spaces() {
    let lines = [
        "今天我们讨论河流的历史和它的起源",
        "我认为北方的森林保存得比较完整",
        "那里的村庄靠捕鱼和编织维持生活",
        "冬天的道路经常被大雪完全封闭",
        "商人们因此改走南边的山谷",
        "桥梁是后来由石匠们重新建造的",
        "教堂的钟声可以传到很远的地方",
        "孩子们在学校里学习天文和音乐",
        "秋天的果园里挂满了红色的苹果",
        "老人们记得洪水淹没田野的年份",
        "图书馆收藏着许多旧地图和信件",
        "旅行者把这些故事带到了海边",
        "渔夫说那片海域从来没有平静过",
        "医生每个月骑马去一次偏远农场",
        "最后大家决定把结果写成报告",
    ];
    let mut crew = Crew::default();
    crew.says("甲", "Final answer: 7");
    for (at, line) in lines.iter().enumerate() {
        crew.says(["甲", "乙"][at % 2], line);
    }
    crew.is_healthy();
}

#[test]
fn short_turns_of_talk_after_an_answer() {
    let mut crew = Crew::default();
    crew.says("cook", "Final answer: soup");
    for (at, one) in NAMES.iter().enumerate() {
        let text =
            format!("What about people who come from the {one}, would they rather {}?", NAMES[(at + 5) % 12]);
        crew.says(["guest", "cook"][at % 2], text);
    }
    crew.says("guest", "Nobody there likes vegetables anyway.")
        .says("cook", "Bread, perhaps, with butter or cheese?");
    crew.is_healthy();
}

#[test]
fn a_figure_that_was_looked_up_by_itself_confirms_nothing() {
    let mut crew = Crew::default();
    crew.says("clerk", "Final answer: 4711").calls("clerk", "order(4711)").gets("order 4711: two lamps");
    crew.says("clerk", "{\"page\": 2}").gets("page 2 of 9");
    crew.says("clerk", "Final answer: 3")
        .says("clerk", "Now to the stock of lamps.")
        .gets("3 lamps, 5 shades");
    crew.is_healthy();
}

#[test]
fn huge_and_empty_steps() {
    let mut crew = Crew::default();
    for at in 0..6 {
        let huge: String =
            (0..20_000).map(|word| format!("{}{} ", name(word), (word * 7 + at) % 1_000)).collect();
        crew.says("reader", huge).says("reader", "").gets("").calls("reader", "");
    }
    crew.is_healthy();
}

#[test]
fn code_that_was_cut_off_by_the_recording() {
    let mut crew = Crew::default();
    for at in 0..2 {
        crew.says(
            "coder",
            "```python\ndef area(width, height):\n    total = width * height\n    return total",
        );
        crew.says("tester", format!("{} ok", name(at)));
    }
    crew.is_healthy();
}

#[test]
fn equal_answers_that_each_invoke_the_next_agent() {
    let mut crew = Crew::default();
    for at in 0..58 {
        crew.says(&format!("agent-{at}"), "The plan is ready. Passing it on.");
    }
    crew.is_stopped_within(3);
}

#[test]
fn loops_of_one_two_and_four() {
    for crew_size in [1_usize, 2, 4] {
        let mut crew = Crew::default();
        crew.says("person", "Please see to the roof before winter comes.");
        for at in 0..40 {
            let place = at % crew_size;
            crew.says(
                &format!("agent-{place}"),
                format!("I would rather that the {} looked at it first.", name(place)),
            );
        }
        crew.is_stopped_within(1 + 3 * crew_size);
    }
}

#[test]
fn a_tool_that_is_called_again_and_again_for_nothing() {
    let mut crew = Crew::default();
    for _ in 0..20 {
        crew.says("finder", "Let me search once more.");
        crew.calls("finder", "search(roof)").gets("No results were found for this query.");
    }
    crew.is_stopped_within(9);
    let mut crew = Crew::default();
    for _ in 0..40 {
        crew.calls("poller", "status()").gets("pending");
    }
    crew.is_stopped_within(60);
}

#[test]
fn apologies_in_changing_words() {
    let sorry = ["sadly", "regrettably", "unfortunately", "alas", "again", "still"];
    let mut crew = Crew::default();
    for at in 0..30 {
        let word = sorry[at % sorry.len()];
        crew.says(
            "clerk",
            format!(
                "I am very sorry, but {word} I am not able to finish this task with the tools that I have been given, and I \
                 would kindly ask you to tell me how you want me to go on from here."
            ),
        );
    }
    crew.is_stopped_within(6);
    let mut crew = Crew::default();
    for at in 0..30 {
        let (word, other) = (sorry[at % sorry.len()], sorry[(at + 2) % sorry.len()]);
        crew.says(
            "one",
            format!("I am sorry, {word} I cannot go on before you have told me which of the files you mean."),
        );
        crew.says(
            "two",
            format!(
                "Pardon me, {other} I do not know which of the files you are speaking of, so please tell me."
            ),
        );
    }
    crew.is_stopped_within(12);
}

#[test]
fn thanks_without_end() {
    let thanks = [
        "Great work, everyone!",
        "Thank you, it was a pleasure to work with you.",
        "The pleasure was mine. Goodbye!",
        "Goodbye, and thank you again, everyone.",
        "Take care, it was great.",
        "You too. Goodbye!",
    ];
    let mut crew = Crew::default();
    crew.says("solver", "Final answer: 12");
    for at in 0..30 {
        crew.says(["solver", "checker"][at % 2], thanks[(at * at + at / 6) % thanks.len()]);
    }
    crew.is_stopped_within(20);
}

#[test]
fn an_answer_stated_again_to_people_who_only_nod() {
    let mut crew = Crew::default();
    crew.says("solver", "It comes to \\boxed{12}, as far as I can see.").says("checker", "Fine.");
    crew.says("solver", "So the answer to give is \\boxed{12}.").says("checker", "Fine, fine.");
    crew.is_stopped_within(3);
}
