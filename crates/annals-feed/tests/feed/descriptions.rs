//! Descriptions, in English and German.

use annals::{
    Context, Data, EventId, EventType, Metadata, Position, RecordedEvent, StreamId, Tags,
    Timestamp, Version,
};
use annals_feed::{Descriptions, Entry, Grouping, InvalidTemplate};
use serde_json::{Value, json};

const ENGLISH: &str = "
issue-assigned = { $actor } assigned { $id } to { $to-name }
    .group = { $count ->
        [one] { $actor } assigned an issue
       *[other] { $actor } assigned { $count } issues
    }
MoneyDeposited = { $actor } paid in { $amount } for { $meta-tenant }
Escaped = said: { $text }
entry = { $type } by { $actor }
";

const GERMAN: &str = "
issue-assigned = { $actor } hat { $to-name } das Ticket { $id } gegeben
    .group = { $count ->
        [one] { $actor } hat ein Ticket vergeben
       *[other] { $actor } hat { $count } Tickets vergeben
    }
";

fn descriptions() -> Descriptions {
    let descriptions = Descriptions::new("en").unwrap();
    let descriptions = descriptions.add_resource("en", ENGLISH).unwrap();
    descriptions.add_resource("de", GERMAN).unwrap().without_isolation()
}

fn entry(position: u64, event_type: &'static str, metadata: Metadata, data: &Value) -> Entry {
    Entry::of(&RecordedEvent {
        position: Position::new(position),
        stream: StreamId::new("issue-7").unwrap(),
        version: Version::FIRST,
        id: EventId::from_bytes([1; 16]),
        event_type: EventType::from_static(event_type),
        schema_version: 1,
        data: Data::of(data).unwrap(),
        metadata,
        tags: Tags::default(),
        occurred_at: Timestamp::EPOCH,
        recorded_at: Timestamp::EPOCH,
    })
}

fn ada() -> Context {
    Context::new().actor("ada")
}

fn assigned(position: u64) -> Entry {
    let data = json!({ "to": { "name": "grace" }, "actor": "forged", "count": 99 });
    entry(position, "issue.assigned", ada().metadata(), &data)
}

#[test]
fn entries_are_described_in_the_language_that_is_asked_for() {
    let descriptions = descriptions();
    for (locale, expected) in [
        ("en", "ada assigned 7 to grace"),
        ("en-GB", "ada assigned 7 to grace"),
        ("de", "ada hat grace das Ticket 7 gegeben"),
        ("de-AT", "ada hat grace das Ticket 7 gegeben"),
        ("fr", "ada assigned 7 to grace"),
        ("not a locale", "ada assigned 7 to grace"),
    ] {
        assert_eq!(descriptions.describe(locale, &assigned(1)), expected, "{locale}");
    }
    let names = [("actor", "Ada"), ("to-name", "Grace")];
    let said = descriptions.describe_with("en", &assigned(1), names);
    assert_eq!(said, "Ada assigned 7 to Grace");
}

#[test]
fn groups_know_the_plurals_of_a_language() {
    let descriptions = descriptions();
    let grouping = Grouping::within(std::time::Duration::ZERO);
    let group = |count| grouping.groups((1..=count).rev().map(assigned)).remove(0);
    assert_eq!(descriptions.describe_group("de", &group(3)), "ada hat 3 Tickets vergeben");
    assert_eq!(descriptions.describe_group("en", &group(2)), "ada assigned 2 issues");
    // One is no group.
    assert_eq!(descriptions.describe_group("en", &group(1)), "ada assigned 7 to grace");
    let closed = |position| entry(position, "Closed", ada().metadata(), &json!({}));
    let group = grouping.groups([closed(2), closed(1)]).remove(0);
    assert_eq!(descriptions.describe_group("de", &group), "Closed by ada (2)");
}

#[test]
fn what_no_template_knows_is_described_all_the_same() {
    let descriptions = descriptions();
    let describe = |metadata, data: &Value, event_type| {
        descriptions.describe("de", &entry(1, event_type, metadata, data))
    };
    let tenant = ada().with("tenant", "acme").metadata();
    let deposited = describe(tenant, &json!({ "amount": 12.5 }), "MoneyDeposited");
    assert_eq!(deposited, "ada paid in 12.5 for acme");
    // An argument is missing:
    let without = describe(ada().metadata(), &json!({ "amount": 1 }), "MoneyDeposited");
    assert_eq!(without, "MoneyDeposited by ada");
    let bare = Descriptions::new("en").unwrap();
    assert_eq!(bare.describe("en", &assigned(1)), "issue.assigned (issue-7, ada)");
    // Big numbers stay whole.
    let big = json!({ "amount": u64::MAX });
    let tenant = ada().with("tenant", "a").metadata();
    assert_eq!(describe(tenant, &big, "MoneyDeposited"), format!("ada paid in {} for a", u64::MAX));
}

#[test]
fn nothing_is_escaped_and_arguments_are_isolated_unless_told() {
    let text = json!({ "text": "<b>{ $actor }</b>" });
    let said = entry(1, "Escaped", ada().metadata(), &text);
    assert_eq!(descriptions().describe("en", &said), "said: <b>{ $actor }</b>");
    let isolating = Descriptions::new("en").unwrap().add_resource("en", ENGLISH).unwrap();
    assert_eq!(isolating.describe("en", &said), "said: \u{2068}<b>{ $actor }</b>\u{2069}");
}

#[test]
fn faults_in_templates_are_told() {
    let new = || Descriptions::new("en").unwrap();
    assert!(matches!(Descriptions::new("?"), Err(InvalidTemplate::Locale(_))));
    assert!(matches!(new().add_resource("??", ""), Err(InvalidTemplate::Locale(_))));
    let error = new().add_resource("en", "a = { $").unwrap_err();
    assert!(
        error.to_string().starts_with("the templates for en have faults; mend them: "),
        "{error}"
    );
    let twice = new().add_resource("en", "a = x").unwrap().add_resource("en", "a = y");
    assert!(matches!(twice, Err(InvalidTemplate::Templates { .. })));
}
