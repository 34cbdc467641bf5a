//! Rules that people define on a page.

use crate::client::eventually;
use crate::served::{Served, directory, settings};

const URGENT: [(&str, &str); 6] = [
    ("id", "on_call"),
    ("name", "Urgent goes to grace"),
    ("trigger", "IssueCreated"),
    ("condition", "event.data.title.contains('urgent')"),
    ("action", "assign"),
    ("argument", "grace"),
];

#[tokio::test]
async fn a_rule_acts_once_and_only_while_it_is_in_force() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    ada.post("/rules", &URGENT).await.location();
    ada.get("/rules").await.has("Urgent goes to grace").has("Disable");
    let calm = ada.create("calm").await;
    let urgent = ada.create("urgent: smoke").await;
    let assigned = async || {
        let types = served.types(&urgent).await;
        types.contains(&"IssueAssigned".to_owned()).then_some(())
    };
    eventually("the assignment", assigned).await;
    let done = async || ada.get("/rules").await.text.contains("<td>fired</td>").then_some(());
    eventually("the record of what the rule did", done).await;
    let by_rule = &served.history(&urgent).await[1];
    assert_eq!(tracker::read_models::actor(by_rule), "rule:on_call");

    ada.post("/rules/on_call", &[("tell", "disable")]).await.location();
    let later = ada.create("urgent: too late").await;
    let last = served.history(&later).await[0].position;
    // What the inbox has read, it has dealt with once nothing is due.
    let read = async || {
        let status = served.tracker.inboxes().status().await.expect("the queue answers");
        let rules = status.iter().find(|one| one.inbox.as_str() == "rules").expect("it runs");
        let is_idle = rules.waiting + rules.retrying + rules.taken == 0;
        (rules.position >= last && is_idle).then_some(())
    };
    eventually("the rules' reading of the log", read).await;
    assert_eq!(served.types(&urgent).await, ["IssueCreated", "IssueAssigned"]);
    assert_eq!(served.types(&calm).await, ["IssueCreated"]);
    assert_eq!(served.types(&later).await, ["IssueCreated"]);
    served.stop().await;
}

#[tokio::test]
async fn what_is_wrong_with_a_rule_is_said() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let with = |key: &str, value: &'static str| {
        URGENT.map(|(name, said)| (name, if name == key { value } else { said }))
    };
    ada.post("/rules", &with("condition", "event.(")).await.is(422).has("condition");
    ada.post("/rules", &with("trigger", "NoSuchThing")).await.is(422).has("triggers[0]");
    ada.post("/rules", &with("action", "explode")).await.is(400);
    served.client.post("/rules", &URGENT).await.is(403);
    ada.get("/rules").await.is(200).has("There are none yet");
    served.stop().await;
}
