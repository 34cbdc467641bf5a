//! The pages, over HTTP.

use annals::EventId;
use http_body_util::BodyExt;
use hyper::Method;
use tokio::time::timeout;

use crate::client::DEADLINE;
use crate::served::{Served, directory, settings};

#[tokio::test]
async fn an_issue_goes_its_way_from_creation_to_reopening() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let created = ada.post("/issues", &[("title", "It smokes"), ("description", "A lot")]).await;
    let id = created.issue();
    // The page shows at once what was just done.
    ada.get(&created.location()).await.is(200).has("It smokes").has("ada created “It smokes”");
    let path = |what: &str| format!("/issues/{id}/{what}");
    ada.send(&path("assign"), &[("to", "grace")]).await.has("ada assigned “It smokes” to grace");
    let grace = served.client.of("grace");
    grace.send(&path("comment"), &[("text", "I see <smoke>")]).await.has("I see &lt;smoke&gt;");
    grace.send(&path("status"), &[("status", "in_progress")]).await.has("open to in progress");
    grace.send(&path("status"), &[("status", "resolved")]).await.has("in progress to resolved");
    ada.send(&path("status"), &[("status", "closed")]).await.has("ada closed");
    ada.get("/issues?status=closed").await.has("It smokes");
    ada.send(&path("status"), &[("status", "open")]).await.has("ada reopened");
    ada.get("/issues?status=closed").await.is(200).lacks("It smokes");
    let types = served.types(&id).await;
    let happened: Vec<_> = types.iter().filter(|one| *one != "IssueViewed").collect();
    assert_eq!(
        happened,
        [
            "IssueCreated",
            "IssueAssigned",
            "IssueCommented",
            "StatusChanged",
            "StatusChanged",
            "IssueClosed",
            "IssueReopened"
        ]
    );
    served.stop().await;
}

#[tokio::test]
async fn what_cannot_be_done_is_said_on_a_page_and_changes_nothing() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    let before = served.types(&id).await;
    let status = format!("/issues/{id}/status");
    let assign = format!("/issues/{id}/assign");
    let refused = ada.post(&status, &[("status", "closed")]).await.is(409);
    refused.has("<html").has("Open cannot become Closed; it can become InProgress");
    ada.post(&assign, &[("to", "eve")]).await.is(409).has("nobody is called &quot;eve&quot;");
    ada.post("/issues", &[("title", " "), ("description", "")]).await.is(422).has("title");
    let nobody = served.client.post(&status, &[("status", "in_progress")]).await;
    nobody.is(403).has("say who you are first");
    ada.post("/issues/0badf00d/comment", &[("text", "?")]).await.is(404);
    ada.get("/issues/0badf00d").await.is(404);
    ada.get("/issues/..%2F7").await.is(404);
    ada.get("/nowhere").await.is(404).has("there is no such page");
    ada.get("/metrics?zone=Nowhere").await.is(400);
    ada.get("/audit?cursor=x").await.is(400);
    assert_eq!(served.types(&id).await, before);
    served.stop().await;
}

#[tokio::test]
async fn a_form_that_is_sent_twice_is_done_once() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let key = EventId::generate().to_string();
    let form = [("key", &*key), ("title", "Once"), ("description", "")];
    let first = ada.try_post("/issues", &form).await.expect("an answer");
    let second = ada.try_post("/issues", &form).await.expect("an answer");
    assert_eq!(first.location(), second.location());
    assert_eq!(served.types(&first.issue()).await, ["IssueCreated"]);
    served.stop().await;
}

#[tokio::test]
async fn somebody_views_an_issue_once_in_five_minutes() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let id = served.client.of("ada").create("It smokes").await;
    let page = format!("/issues/{id}");
    for _ in 0..3 {
        served.client.of("ada").get(&page).await.is(200);
        served.client.of("grace").get(&page).await.is(200);
        served.client.get(&page).await.is(200);
    }
    assert_eq!(served.types(&id).await, ["IssueCreated", "IssueViewed", "IssueViewed"]);
    let history = served.history(&id).await;
    let viewers: Vec<_> = history[1..].iter().map(tracker::read_models::actor).collect();
    assert_eq!(viewers, ["ada", "grace"]);
    served.stop().await;
}

#[tokio::test]
async fn feeds_are_grouped_and_stand_under_their_days() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    let comment = format!("/issues/{id}/comment");
    let mut location = String::new();
    for text in ["one", "two", "three"] {
        location = ada.post(&comment, &[("text", text)]).await.location();
    }
    ada.get(&location).await.is(200).has("one").has("three");
    let today = served.history(&id).await[0].occurred_at.to_string()[..10].to_owned();
    let day = format!("data-date=\"{today}\"");
    let issue = ada.get(&format!("/issues/{id}")).await.is(200);
    assert_eq!(issue.text.matches(&day).count(), 1, "{}", issue.text);
    for page in ["/people/ada", "/teams/engines"] {
        let feed = ada.get(page).await.is(200).has("ada created “It smokes”");
        feed.has("ada wrote 3 comments on “It smokes”");
    }
    let german = ada.with("accept-language", "de-AT,de;q=0.9").get("/people/ada").await;
    german.has("ada hat “It smokes” 3-mal kommentiert");
    ada.get("/people/grace").await.is(200).has("Nothing yet");
    served.stop().await;
}

#[tokio::test]
async fn the_audit_log_is_filtered_and_downloaded() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let (ada, grace) = (served.client.of("ada"), served.client.of("grace"));
    let first = ada.create("=1+1").await;
    ada.send(&format!("/issues/{first}/comment"), &[("text", "a \"quoted\", line\nbreak")]).await;
    grace.create("Another").await;
    let comments = ada.get("/audit?action=IssueCommented").await.is(200);
    comments.has("ada commented on “=1+1”").lacks("ada created");
    ada.get("/audit?actor=grace").await.is(200).has("grace created").lacks("ada created");
    ada.get("/audit?until=2001-01-01").await.is(200).has("Nothing was found");
    ada.get("/audit?search=quoted").await.is(200).has("ada commented").lacks("ada created");
    let csv = ada.get(&format!("/audit.csv?issue={first}&action=IssueCommented")).await.is(200);
    assert_eq!(csv.headers["content-type"], "text/csv; charset=utf-8");
    let lines: Vec<_> = csv.text.trim_end().split("\r\n").collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].starts_with("occurred_at,actor,type,stream"), "{lines:?}");
    assert!(lines[1].contains(&format!(",ada,IssueCommented,issue-{first},issue,")), "{lines:?}");
    served.stop().await;
}

#[tokio::test]
async fn metrics_count_in_a_time_zone() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    let at = served.history(&id).await[0].occurred_at;
    for zone in ["UTC", "Asia/Kathmandu", "Pacific/Kiritimati"] {
        let moment = jiff::Timestamp::from_microsecond(at.as_micros()).expect("a moment");
        let there = moment.in_tz(zone).expect("a zone");
        let page = ada.get(&format!("/metrics?zone={zone}")).await.is(200);
        let day = format!("<td>{}</td><td class=\"number\">1</td>", there.date());
        let page = page.has(&day).has(&format!("{:02}:00 to", there.hour()));
        page.has("<td>ada</td><td><meter min=\"0\" max=\"1\" value=\"1\">");
    }
    served.stop().await;
}

#[tokio::test]
async fn hostile_text_stays_text_and_pages_forbid_scripts() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let title = "</title><script>alert(1)</script>\"'><img src=x>";
    let id = ada.create(title).await;
    ada.send(&format!("/issues/{id}/comment"), &[("text", title)]).await;
    for page in ["/issues", &format!("/issues/{id}"), "/people/ada", "/audit"] {
        let answer = ada.get(page).await.is(200).lacks("<script>").lacks("<img");
        let answer = answer.has("&lt;script&gt;alert(1)");
        let policy = answer.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
    }
    let asked = ada.get("/audit?search=%22%3E%3Cscript%3E&issue=%3Cb%3E").await;
    asked.lacks("<script>").lacks("<b>");
    served.stop().await;
}

#[tokio::test]
async fn forms_and_pages_of_strangers_are_refused() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    ada.with("host", "tracker.evil.example").get("/issues").await.is(403);
    let stranger = ada.with("origin", "http://evil.example");
    stranger.post("/issues", &[("title", "Spam"), ("description", "")]).await.is(403);
    let cookie = served.client.post("/who", &[("id", "ada")]).await;
    let cookie = cookie.headers["set-cookie"].to_str().expect("text");
    assert!(cookie.starts_with("who=ada;") && cookie.contains("SameSite=Strict"), "{cookie}");
    served.client.post("/who", &[("id", "ada; Domain=x")]).await.is(404);
    served.stop().await;
}

#[tokio::test]
async fn an_issues_page_is_told_of_what_happens_meanwhile() {
    let directory = directory();
    let served = Served::with_people(settings(&directory)).await;
    let ada = served.client.of("ada");
    let id = ada.create("It smokes").await;
    let other = ada.create("Another").await;
    let page = ada.get(&format!("/issues/{id}")).await;
    let (_, live) = page.text.split_once("data-live=\"").expect("it says where");
    let live = live.split('"').next().expect("an address").replace("&amp;", "&");
    let answer = served.client.open(Method::GET, &live, String::new()).await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut body = answer.into_body();
    let grace = served.client.of("grace");
    grace.send(&format!("/issues/{other}/comment"), &[("text", "not here")]).await;
    grace.send(&format!("/issues/{id}/comment"), &[("text", "<b>live</b>")]).await;
    let mut told = String::new();
    while !told.contains("live</b>") {
        let frame = timeout(DEADLINE, body.frame()).await.expect("news in time");
        let frame = frame.expect("it goes on").expect("it does not break");
        told.push_str(std::str::from_utf8(frame.data_ref().expect("data")).expect("text"));
    }
    assert!(told.contains("\"text\":\"grace commented on “It smokes”\""), "{told}");
    assert!(!told.contains("not here"), "{told}");
    // It ends when the program does, though nobody has hung up.
    served.stop().await;
}
