//! What rules are refused for and what they find. Never here: a rule that takes real time to try, but for the limits' own test.

use serde_json::{Value, json};

use super::{
    rule::{Fault, Rule},
    sample, *,
};
use crate::types::{
    contract::{BudgetDraft, ContractDraft, LimitsDraft, TerminationDraft},
    limits::Ceilings,
};

fn contract(schema: Option<&Value>, rules: &[&str]) -> Contract {
    let draft = ContractDraft {
        goal: "write a report".to_owned(),
        first_agent: Some("writer".to_owned()),
        owner: "owner".to_owned(),
        budget: Some(BudgetDraft { max_tokens: 100_000, ..BudgetDraft::default() }),
        limits: Some(LimitsDraft { deadline: Some(600_000_000), ..LimitsDraft::default() }),
        termination: Some(TerminationDraft {
            result_schema: schema.map(Payload::from_json),
            acceptance: rules.iter().map(|rule| (*rule).to_owned()).collect(),
            ..TerminationDraft::default()
        }),
        ..ContractDraft::default()
    };
    crate::engine::intake::complete(&draft, &Ceilings::default(), &|_| true).expect("a valid contract")
}

fn report() -> Value {
    json!({
        "type": "object",
        "required": ["summary", "items"],
        "properties": {
            "summary": {"type": "string", "minLength": 3},
            "score": {"type": "number", "minimum": 0, "maximum": 10},
            "items": {"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/item"}},
            "open": {}
        },
        "$defs": {"item": {
            "type": "object",
            "additionalProperties": false,
            "properties": {"name": {"type": "string"}, "price": {"type": ["number", "null"]}}
        }}
    })
}

/// The report without the field that the schema says nothing of.
fn closed() -> Value {
    let mut schema = report();
    schema["properties"].as_object_mut().expect("an object").remove("open");
    schema
}

fn fault(schema: Option<&Value>, rule: &str) -> String {
    tried(&contract(schema, &[rule])).pop().map(|(_, fault)| fault).unwrap_or_default()
}

#[test]
fn good_rules_pass_the_trial() {
    let schema = closed();
    for rule in [
        "size(result.summary) > 0",
        "result.score >= 0.5 && result.score <= 10",
        "result.items.all(i, has(i.price) && i.price > 0)",
        "result.items.exists(i, i.name.startsWith('a') || i.name == task.goal)",
        "result.items.map(i, i.name).filter(n, n != '').size() == size(result.items)",
        "confidence > 0.8 && usage.total_tokens < 10000",
        "task.turn == 1 && task.owner == 'owner' && !('secret' in task.labels)",
        "result.summary.matches('^[a-z]+$')",
        "int(result.score) % 2 == 1 ? true : size(result.summary) == 4",
        "type(result.score) == double",
    ] {
        assert_eq!(fault(Some(&schema), rule), "", "{rule}");
        assert_eq!(fault(None, rule), "", "without a schema: {rule}");
    }
}

#[test]
fn what_cannot_work_is_named_with_its_place_and_what_to_write() {
    let schema = closed();
    for (rule, part) in [
        ("result.summary ==", "line 1, character"),
        (
            "resutl.summary == 'x'",
            "at character 1, \"resutl.summary == 'x'\": resutl is not a name here: write one of result",
        ),
        ("len(result.summary) > 0", "len is no function: there are bool, bytes"),
        ("result.summary", "yields a value of type string, and a rule yields true or false"),
        ("result.items.map(i, i.name)", "yields a value of type list"),
        ("result.sumary != ''", "sumary. Declare it there, or ask first with has()"),
        ("result.items.all(i, i.cost > 0)", "cost"),
        ("result.summary + 1 == 'x'", "cannot run on a result made from result_schema"),
        ("Thing{a: 1} == Thing{a: 1}", "makes a message"),
        ("result.items.all(a, result.items.all(b, result.items.all(c, a == c)))", "more than 2 loops"),
        (&"(".repeat(200), "nests deeper than 24"),
        (&format!("{}true", "!".repeat(500)), "nests deeper than 24"),
        (&format!("{}true{}", "[".repeat(40), "]".repeat(40)), "nests deeper"),
        (&format!("1{} == 1", "+1".repeat(480)), "levels deep"),
        (&format!("result{} == 1", ".a".repeat(480)), "levels deep"),
        ("'unclosed", "line 1"),
        ("result.summary.matches('(a')", "is no pattern"),
        ("result.summary.matches('(a{1000}){1000}')", "the pattern is too large"),
        ("result.score.matches('a')", "cannot run on a result made from result_schema"),
        ("\u{0}\u{1}\u{feff}", "line 1"),
    ] {
        let found = fault(Some(&schema), rule);
        assert!(found.contains(part), "{rule}: {found:?} does not say {part:?}");
    }
}

#[test]
fn nesting_that_a_raw_string_hides_is_refused_by_the_parser() {
    let hidden = format!(r"r'\' == {}1{}", "(".repeat(300), ")".repeat(300));
    assert_ne!(fault(None, &hidden), "");
}

#[test]
fn where_the_schema_leaves_holes_only_what_is_surely_wrong_counts() {
    let open = report();
    assert_eq!(fault(Some(&open), "result.open.deep == 1"), "");
    assert_eq!(fault(Some(&open), "result.anything == 1"), "");
    assert_eq!(fault(None, "result.summary == 'x'"), "");
    assert!(fault(None, "summary == 'x'").contains("summary is not a name here"));
    assert!(fault(None, "1 + 1").contains("yields a value of type int"));
    assert_eq!(fault(Some(&json!({"oneOf": [{"type": "string"}, {"type": "object"}]})), "result.a == 1"), "");
}

#[test]
fn samples_have_the_shape_of_their_schema() {
    let made = sample::of(Some(&closed()));
    assert!(made.is_whole);
    let expected = json!({"summary": "text", "score": 1.0, "items": [{"name": "text", "price": 1.0}]});
    assert_eq!(made.value, expected);
    assert!(!sample::of(Some(&report())).is_whole);
    let check = |schema: Value, value: Value| assert_eq!(sample::of(Some(&schema)).value, value, "{schema}");
    check(json!({"enum": [null, "a"]}), json!("a"));
    check(json!({"const": 7}), json!(7));
    check(json!({"type": "string", "minLength": 6}), json!("textxx"));
    check(json!({"type": "string", "maxLength": 2}), json!("te"));
    check(json!({"type": "integer", "exclusiveMinimum": 4}), json!(5.0));
    check(json!({"anyOf": [{"type": "null"}, {"type": "boolean"}]}), json!(true));
    check(
        json!({"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]}),
        json!({"a": 1, "b": 2}),
    );
    // A schema that refers to itself ends.
    let endless = json!({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {"n": {"$ref": "#/$defs/n"}}}}});
    assert!(!sample::of(Some(&endless)).is_whole);
    let wide = json!({"$ref": "#/$defs/n", "$defs": {"n": {"properties": {
        "a": {"$ref": "#/$defs/n"}, "b": {"$ref": "#/$defs/n"}, "c": {"$ref": "#/$defs/n"}}}}});
    assert!(!sample::of(Some(&wide)).is_whole);
    let large = json!({"prefixItems": vec![json!({"$ref": "#/$defs/n"}); 900], "$defs": {"n": {"const": "x".repeat(40_000)}}});
    let made = sample::of(Some(&large));
    assert!(!made.is_whole && made.value.to_string().len() < 200_000);
}

fn over(result: &Value) -> Subject {
    Subject::sample(&contract(None, &["true"]), result)
}

#[test]
fn a_rule_that_fails_on_a_result_is_a_finding_that_names_it() {
    let rules = Rules::default();
    let texts =
        ["size(result.summary) > 3".to_owned(), "result.score > 0.5".to_owned(), "result.n == 3".to_owned()];
    assert_eq!(
        rules.findings(&texts, &over(&json!({"summary": "long", "score": 1, "n": 3}))),
        Vec::<String>::new()
    );
    let found = rules.findings(&texts, &over(&json!({"summary": "no", "n": 4})));
    assert_eq!(found.len(), 3, "{found:?}");
    assert!(
        found[0].contains("size(result.summary) > 3 (termination.acceptance[0]) does not hold"),
        "{found:?}"
    );
    assert!(
        found[1].contains("termination.acceptance[1]) could not be evaluated: No such key: score"),
        "{found:?}"
    );
    assert!(found[2].ends_with("does not hold"), "{found:?}");
    let odd = rules.findings(&["result.x".to_owned()], &over(&json!({"x": 5})));
    assert!(odd[0].contains("yields a value of type"), "{odd:?}");
}

#[test]
fn loops_and_growth_run_into_their_limits_whatever_hides_them() {
    let numbers: Vec<u32> = (0..4_000).collect();
    let subject = over(&json!({"n": numbers, "text": "x".repeat(200_000)}));
    let wall = Duration::from_millis(50);
    for rule in [
        "result.n.all(a, !result.n.exists(b, a + b < 0.0))",
        "result.n.exists(a, result.n.all(b, a + b >= 0.0) && false) || true",
        "result.n.map(a, result.n.map(b, b)).size() > 0",
        "result.n.filter(a, result.n.filter(b, b == a).size() == 2).size() == 0",
        "result.n.map(a, result.text + result.text).size() > 0",
        "result.n.map(a, result).size() > 0",
        "result.n.exists_one(a, result.n.exists_one(b, a == b))",
    ] {
        let rule = Rule::compile(rule).unwrap_or_else(|fault| panic!("{rule}: {fault}"));
        assert_eq!(rule.holds(&subject, wall), Err(Fault::TooCostly), "{rule:?}");
    }
    // Longer than the rule may take in all, were it begun.
    let long = over(&json!({"text": "ab".repeat(1 << 19)}));
    let refused = Rule::compile("result.text.matches('a(?:[ab]{300}){30}[0-9]')").expect("a rule");
    let fault =
        refused.holds(&long, Duration::from_secs(3_600)).expect_err("too large a pattern for the text");
    assert!(fault.to_string().contains("too large for a text of 1048576 bytes"), "{fault}");
    let many = Rule::compile(&format!("[{}].size() == 0", vec!["result"; 100].join(", "))).expect("a rule");
    assert_eq!(many.holds(&long, Duration::from_secs(60)), Ok(false));
    // What is within its limits is not touched by them.
    let cheap =
        Rule::compile("result.n.filter(a, a < 3.0).map(a, a + 1.0) == [1.0, 2.0, 3.0]").expect("a rule");
    assert_eq!(cheap.holds(&subject, Duration::from_secs(60)), Ok(true));
}
