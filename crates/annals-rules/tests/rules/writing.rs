//! Writing rules, and what is refused; expressions that mean harm among it.

use std::time::{Duration, Instant};

use annals::{Context, ExecuteError, FieldErrors, Metadata, types};
use annals_rules::{Definition, Outcome, RuleRefusal};
use serde_json::json;

use crate::tracker::{IssueEvent, tracker, tracker_with};

fn say() -> Definition {
    Definition::new("Say").on("IssueOpened").then("say", json!({ "text": "hello" }))
}

fn told(errors: &FieldErrors) -> Vec<String> {
    errors.iter().map(|error| format!("{} {}", error.path, error.code)).collect()
}

#[tokio::test]
async fn everything_that_is_wrong_is_told_at_once_and_nothing_is_recorded() {
    let tracker = tracker_with(|rules| rules.triggered_by(types!(IssueEvent)));
    let wrong = Definition::new("Wrong")
        .on("IssueOpened")
        .on("IssueOpend")
        .lookup("issue", "issues", "event.stream_id +")
        .when("actor == 'ada'")
        .then("assign", json!({ "issue": 1 }))
        .then("asign", json!({}))
        .then("say", json!({ "list": [1, { "text": "=now()" }] }));
    let errors = tracker.rules.validate(&wrong).await;
    assert_eq!(
        told(&errors),
        [
            "actions[0].arguments arguments",
            "actions[1].name unknown",
            "actions[2].arguments.list[1].text expression",
            "condition expression",
            "lookups.issue.key expression",
            "lookups.issue.model unknown",
            "triggers[1] unknown",
        ]
    );
    let said = errors.to_string();
    for part in [
        "names actor, which is not there; there are event, metadata, issue",
        "calls now, which is not there",
        "is no expression at 1:",
    ] {
        assert!(said.contains(part), "{said}");
    }
    let refused = tracker.rules.define("wrong", wrong).await.unwrap_err();
    assert!(matches!(refused, ExecuteError::Invalid(_)), "{refused:?}");
    assert!(tracker.log().await.is_empty());
}

#[tokio::test]
async fn sizes_and_names_have_limits() {
    let tracker = tracker();
    let errors = async |definition: Definition| told(&tracker.rules.validate(&definition).await);
    assert!(errors(say()).await.is_empty());
    assert_eq!(
        errors(Definition::new("")).await,
        ["actions length", "name length", "triggers length"]
    );
    assert_eq!(errors(say().description("x".repeat(4097))).await, ["description length"]);
    assert_eq!(
        errors((0..32).fold(say(), |rule, n| rule.on(format!("T{n}")))).await,
        ["triggers length"]
    );
    assert_eq!(
        errors((0..16).fold(say(), |rule, _| rule.then("say", json!({})))).await,
        ["actions length"]
    );
    let large = json!({ "text": "x".repeat(16_384) });
    assert_eq!(errors(say().then("say", large)).await, ["actions[1].arguments length"]);
    assert_eq!(errors(say().on(" x")).await, ["triggers[1] event_type"]);
    for name in ["event", "1st", "a-b", "", "in", "string"] {
        let errors = errors(say().lookup(name, "odd", "1")).await;
        assert!(errors.contains(&format!("lookups.{name} name")), "{errors:?}");
    }
    for id in ["", "a/b", "ä", &"x".repeat(65)] {
        let refused = tracker.rules.define(id, say()).await.unwrap_err();
        assert!(matches!(&refused, ExecuteError::Invalid(errors) if told(errors) == ["id id"]));
    }
}

#[tokio::test]
async fn a_rule_is_defined_once_and_its_history_says_who_changed_it() {
    let tracker = tracker();
    let rules = &tracker.rules;
    let refusal = |refused| match refused {
        Err(ExecuteError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(refusal(rules.change("say", say()).await), RuleRefusal::NotDefined);
    rules.define("say", say()).await.unwrap();
    assert_eq!(refusal(rules.define("say", say()).await), RuleRefusal::Exists);
    let ada = Context::new().actor("ada").reason("it was too loud");
    ada.scope(rules.disable("say")).await.unwrap();
    assert_eq!(rules.disable("say").await.unwrap().get(), 2, "there is nothing to do");
    let [(id, rule)] = &rules.list().await.unwrap()[..] else { panic!("one rule") };
    assert_eq!((&**id, rule.is_enabled), ("say", false));
    rules.remove("say").await.unwrap();
    assert_eq!(refusal(rules.define("say", say()).await), RuleRefusal::Removed);
    assert!(rules.list().await.unwrap().is_empty());

    let log = tracker.log().await;
    let types: Vec<_> = log.iter().map(|event| event.event_type.as_str()).collect();
    assert_eq!(types, ["RuleDefined", "RuleDisabled", "RuleRemoved"]);
    assert_eq!(log[1].metadata.get(Metadata::ACTOR), Some(json!("ada")));
    assert_eq!(log[1].metadata.get(Metadata::REASON), Some(json!("it was too loud")));
}

#[tokio::test]
async fn an_expression_that_is_too_long_or_too_deep_is_refused_and_takes_nothing_down() {
    let tracker = tracker();
    let nested = |open: &str, inside: &str, close: &str, times: usize| {
        format!("{}{inside}{}", open.repeat(times), close.repeat(times))
    };
    let hostile = [
        "1 < 2 ".repeat(400),
        nested("(", "true", ")", 1_000),
        nested("[", "", "]", 1_000),
        nested("{1:", "1", "}", 500),
        nested("event.tags.all(x,", "true", ")", 100),
        nested("true ? false : ", "true", "", 130),
        format!("1{} == 1", "+1".repeat(1_000)),
        format!("event{} == 1", ".a".repeat(1_000)),
        format!("event{} == 1", "[0]".repeat(600)),
        format!("event{}", ".size()".repeat(290)),
        format!("true{}", "&&true".repeat(330)),
        "(".repeat(2_000),
        "'".repeat(1_999),
        "[{(".repeat(600),
        "\u{202e}\u{0}\u{feff}".to_owned(),
        String::new(),
        "event.tags.map(x, y, z, w)".to_owned(),
        "@meter(1, 0)".to_owned(),
        "@result".to_owned(),
        "Nothing{a: 1}".to_owned(),
        "event.data.title.matches('(a*)*b')".to_owned(),
    ];
    for expression in hostile {
        let errors = told(&tracker.rules.validate(&say().when(&expression)).await);
        assert_eq!(errors, ["condition expression"], "{expression}");
    }
}

#[tokio::test]
async fn an_expression_that_takes_too_long_fails_and_holds_up_nobody() {
    let tracker = tracker();
    let hundred = format!("[{}]", ["1"; 100].join(","));
    let text = "event.data.text";
    let doubled = format!("({text})").replace(text, &[text; 60].join("+"));
    let hostile = [
        // Loops in loops.
        format!("{hundred}.all(a, {hundred}.all(b, {hundred}.all(c, true)))"),
        format!("{hundred}.map(a, {hundred}.map(b, {hundred}.map(c, a)))[0][0][0] == 1"),
        format!("{hundred}.exists(a, {hundred}.filter(b, {hundred}.exists_one(c, c == b)) == [])"),
        // What fails inside is passed over by the loop around it.
        format!("{hundred}.exists(a, {hundred}.exists(b, {hundred}.exists(c, c > b))) || true"),
        // Much text, and often.
        format!("size({doubled}) > 0"),
        format!("{hundred}.map(a, {text}).size() == 100"),
        format!("{hundred}.all(a, {text} == {text})"),
        format!("{hundred}.all(a, {text}.contains('b') || true)"),
        format!("{hundred}.map(a, [event, event]).size() == 100"),
    ];
    for (n, condition) in hostile.iter().enumerate() {
        let rule = Definition::new(condition.chars().take(100).collect::<String>());
        let rule = rule.on("CommentAdded").when(condition).then("say", json!({ "text": "x" }));
        tracker.rules.define(&format!("r{n}"), rule).await.unwrap();
    }
    let event = IssueEvent::CommentAdded { text: "a".repeat(200_000) };
    let event = tracker.happens("1", event).await;
    let began = Instant::now();
    tracker.deliver(&event).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());

    let executions = tracker.executions().await;
    for (execution, condition) in executions.iter().zip(&hostile) {
        assert_eq!(execution.outcome, Outcome::Failed, "{condition}");
        assert_eq!(
            execution.error.as_deref(),
            Some(
                "the condition: takes more than the 100000 steps that are allowed; loop over less"
            ),
            "{condition}"
        );
    }
    assert_eq!(executions.len(), hostile.len());
    assert!(tracker.said().is_empty());
}

#[tokio::test]
async fn expressions_can_do_what_is_said_of_them() {
    let tracker = tracker();
    let opened = tracker.opened("7", "urgent").await;
    for condition in [
        "event.data.priority in ['high', 'urgent']",
        "event.type == 'IssueOpened' && event.stream == 'issue-7' && event.stream_id == '7'",
        "event.category == 'issue' && event.version == 1 && event.schema_version == 1",
        "event.recorded_at >= '2000' && event.occurred_at == event.recorded_at",
        "event.data.title.startsWith('It') && event.data.title.endsWith('7')",
        "size(event.data.title) == 14 && event.data.title.contains('smokes')",
        "!has(metadata.actor) && has(event.data.title)",
        "[1, 2, 3].filter(n, n > 1).map(n, n * 2) == [4, 6]",
        "[1, 2].exists_one(n, n == 2) && [1, 2].all(n, n < 3) && ![].exists(n, true)",
        "{'a': 1}['a'] + int('2') == 3 && type(event.version) == int",
        "event.tags == [] ? 'a' < 'b' : false",
        &format!("{}true", "!".repeat(2_000)),
        &format!("1{} == 58", "+1".repeat(57)),
        &format!("{}true{}", "[1].all(x, ".repeat(15), ")".repeat(15)),
        "event.version + 1 > 1.5 && double(event.version) / 2.0 == 0.5",
    ] {
        let would = tracker.rules.dry_run(&say().when(condition), [&opened]).await.unwrap();
        assert_eq!(would[0].outcome, Outcome::Fired, "{condition}: {:?}", would[0].error);
    }
}
