//! Mail, chat, the other service and webhooks: what arrives, and what happens when one is dead.

use tracker::inboxes::Secluded;

use crate::client::{Client, eventually};
use crate::served::{Served, directory, settings};
use crate::sinks::{MailSink, WebSink};

/// How a page shows so many dead letters.
async fn is_dead(client: &Client, inbox: &str) -> Option<String> {
    let page = client.get("/inboxes").await.is(200).text;
    let (_, letters) = page.split_once("<h2>Dead letters</h2>").expect("it has them");
    let (letters, _) = letters.split_once("<h2>").expect("and more");
    letters.contains(&format!("<td>{inbox}</td>")).then(|| letters.to_owned())
}

#[tokio::test]
async fn subscribers_get_mail_of_what_others_did() {
    let (directory, mails) = (directory(), MailSink::start().await);
    let mut settings = settings(&directory);
    settings.smtp = Some(mails.address);
    let served = Served::with_people(settings).await;
    let (ada, grace) = (served.client.of("ada"), served.client.of("grace"));
    let id = ada.create("Smoke é").await;
    // Nobody else subscribes yet: no mail. Then grace does, who is told; then ada is.
    ada.send(&format!("/issues/{id}/comment"), &[("text", "Hm")]).await;
    ada.send(&format!("/issues/{id}/assign"), &[("to", "grace")]).await;
    mails.wait_for(1).await;
    grace.send(&format!("/issues/{id}/status"), &[("status", "in_progress")]).await;
    let got = mails.wait_for(2).await;
    assert_eq!(got[0].to, ["grace@example.org"]);
    assert!(got[0].text.contains("ada assigned it to grace."), "{got:?}");
    assert_eq!(got[1].to, ["ada@example.org"]);
    assert!(got[1].text.contains("grace changed it from open to in progress."), "{got:?}");
    let history = served.history(&id).await;
    let assigned = history.iter().find(|event| event.event_type.as_str() == "IssueAssigned");
    let event = assigned.expect("it was assigned").id;
    assert_eq!(got[0].header("Message-ID"), format!("<email.{event}@tracker.localhost>"));
    assert_eq!(got[0].header("References"), format!("<issue-{id}@tracker.localhost>"));
    assert_eq!(mails.mails().len(), 2);
    served.stop().await;
}

#[tokio::test]
async fn a_dead_mail_server_holds_up_nobody_else_and_retrying_delivers() {
    let (directory, mails) = (directory(), MailSink::start().await);
    let (chat, service) = (WebSink::start().await, WebSink::start().await);
    let mut settings = settings(&directory);
    settings.smtp = Some(mails.address);
    settings.chat = Some(Secluded(chat.url("/room")));
    settings.sync = Some(service.url("/api"));
    let served = Served::with_people(settings).await;
    mails.die();
    let ada = served.client.of("ada");
    let first = ada.create("It smokes").await;
    ada.send(&format!("/issues/{first}/assign"), &[("to", "grace")]).await;
    let letters = eventually("the dead letter", async || is_dead(&ada, "email").await).await;
    assert!(letters.contains(&format!("issue-{first}")) && letters.contains("3."), "{letters}");

    // The others go on, with other issues too.
    let second = ada.create("It burns").await;
    let told = chat.wait_for(3).await;
    assert_eq!(told[0].body["text"], format!("ada created: [{first}] It smokes"));
    let synced = service.wait_for(2).await;
    assert_eq!(synced[1].what, format!("PUT /api/issues/{second}"));
    assert!(mails.mails().is_empty());

    mails.live();
    let (_, id) = letters.split_once("name=\"id\" value=\"").expect("a form");
    let id = id.split('"').next().expect("an id");
    ada.post("/deliveries", &[("id", id), ("settle", "retry")]).await.location();
    let got = mails.wait_for(1).await;
    assert_eq!(
        got[0].header("Message-ID"),
        format!("<{}@tracker.localhost>", id.replace('/', "."))
    );
    let gone = async || is_dead(&ada, "email").await.is_none().then_some(());
    eventually("the end of the dead letter", gone).await;
    served.stop().await;
}

#[tokio::test]
async fn a_dead_letter_is_skipped_and_what_waited_behind_it_goes_on() {
    let (directory, service) = (directory(), WebSink::start().await);
    let mut settings = settings(&directory);
    settings.sync = Some(service.url("/"));
    service.answer([422]);
    let served = Served::with_people(settings).await;
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    // 422 is for good: one attempt.
    let letters = eventually("the dead letter", async || is_dead(&ada, "sync").await).await;
    assert!(letters.contains("422") && !letters.contains("2. "), "{letters}");
    ada.send(&format!("/issues/{id}/status"), &[("status", "in_progress")]).await;
    assert!(service.kept().is_empty());
    let (_, delivery) = letters.split_once("name=\"id\" value=\"").expect("a form");
    let delivery = delivery.split('"').next().expect("an id");
    let skip = [("id", delivery), ("settle", "skip"), ("reason", "known there")];
    ada.post("/deliveries", &skip).await.location();
    let kept = service.wait_for(1).await;
    assert_eq!(kept[0].body["status"], "in_progress");
    served.stop().await;
}

#[tokio::test]
async fn the_other_service_hears_of_each_issue_in_order_in_spite_of_failures() {
    let (directory, service) = (directory(), WebSink::start().await);
    let mut settings = settings(&directory);
    settings.sync = Some(service.url("/"));
    let served = Served::with_people(settings).await;
    service.answer([503, 500]);
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    for status in ["in_progress", "resolved", "closed"] {
        ada.send(&format!("/issues/{id}/status"), &[("status", status)]).await;
    }
    let kept = service.wait_for(4).await;
    let statuses: Vec<_> = kept.iter().map(|kept| &kept.body["status"]).collect();
    assert_eq!(statuses, ["open", "in_progress", "resolved", "closed"]);
    assert!(kept.iter().all(|kept| kept.key.starts_with("sync/")), "{kept:?}");
    served.stop().await;
}

#[tokio::test]
async fn a_paused_inbox_tells_nothing_until_it_is_resumed() {
    let (directory, chat) = (directory(), WebSink::start().await);
    let mut settings = settings(&directory);
    settings.chat = Some(Secluded(chat.url("/room")));
    settings.sync = Some(chat.url("/"));
    let served = Served::with_people(settings).await;
    let ada = served.client.of("ada");
    ada.post("/inboxes/chat", &[("tell", "pause")]).await.location();
    ada.create("<!here> smoke").await;
    // The other inbox has been through it.
    chat.wait_for(1).await;
    ada.get("/inboxes").await.has("paused");
    assert!(chat.kept().iter().all(|kept| kept.what != "POST /room"));
    ada.post("/inboxes/chat", &[("tell", "resume")]).await.location();
    let kept = chat.wait_for(2).await;
    let text = kept[1].body["text"].as_str().expect("text");
    assert!(text.ends_with("&lt;!here&gt; smoke"), "{text}");
    ada.post("/inboxes/nothing", &[("tell", "pause")]).await.is(404);
    served.stop().await;
}

#[tokio::test]
async fn a_webhook_gets_signed_messages_of_issues() {
    let (directory, receiver) = (directory(), WebSink::start().await);
    let mut settings = settings(&directory);
    settings.loopback_webhooks = true;
    let served = Served::with_people(settings).await;
    let ada = served.client.of("ada");
    let url = receiver.url("/hook");
    let form = [("url", url.as_str()), ("action", "IssueCreated")];
    ada.post("/webhooks", &form).await.is(200).has("whsec_");
    let id = ada.create("It smokes").await;
    let kept = receiver.wait_for(1).await;
    assert_eq!(kept[0].body["stream"], format!("issue-{id}"));
    assert!(kept[0].headers.contains_key("webhook-signature"), "{kept:?}");
    ada.get("/webhooks").await.is(200).has("/hook").lacks("whsec_");
    served.stop().await;
}

#[tokio::test]
async fn a_webhook_to_this_machine_is_refused_unless_it_is_allowed() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let form = [("url", "http://127.0.0.1:9/hook"), ("action", "")];
    ada.post("/webhooks", &form).await.is(422);
    ada.get("/webhooks").await.is(200).has("There are none yet");
    served.stop().await;
}
