//! The program: its sudden death, and a second one beside it.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::Duration;

use annals::EventId;
use tokio::time::sleep;

use crate::client::{Client, eventually};
use crate::served::directory;
use crate::sinks::{MailSink, WebSink};

/// The program while it serves; killed when the test is done with it.
struct Running {
    child: Child,
    client: Client,
    /// Kept open, so that it can write.
    _stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(directory: &Path, more: &[&str]) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_tracker"))
            .env_remove("TRACKER_DIRECTORY")
            .env_remove("TRACKER_CHAT")
            .env_remove("TRACKER_LOG")
            .args(["--listen", "127.0.0.1:0", "--directory"])
            .arg(directory)
            .args(more)
            .stderr(Stdio::piped())
            .spawn()
            .expect("the binary was built with this test");
        let mut stderr = BufReader::new(child.stderr.take().expect("it is piped"));
        let mut welcome = String::new();
        while !welcome.contains("stops it.") {
            assert_ne!(stderr.read_line(&mut welcome).expect("text"), 0, "it ended: {welcome}");
        }
        let (_, address) = welcome.split_once(" at http://").expect("it says where");
        let address = address.lines().next().expect("a line").parse().expect("an address");
        Self { child, client: Client::new(address), _stderr: stderr }
    }

    fn kill(&mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it has ended");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_was_acknowledged_is_lost_when_it_is_killed() {
    let (directory, mails) = (directory(), MailSink::start().await);
    let service = WebSink::start().await;
    let (smtp, sync) = (mails.address.to_string(), service.url("/").to_string());
    let more = ["--smtp", &*smtp, "--sync", &*sync];
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let mut running = Running::start(directory.path(), &more);
        if round == 0 {
            running.client.join("ada", "engines").await;
            running.client.join("grace", "engines").await;
        }
        let ada = running.client.of("ada");
        let working = tokio::spawn(async move { work(&ada).await });
        // Somewhere in the middle of it all.
        sleep(Duration::from_millis(300 + 150 * round)).await;
        running.kill();
        acknowledged.extend(working.await.expect("it does not panic"));
    }
    assert!(!acknowledged.is_empty(), "it was killed before it did anything");

    let running = Running::start(directory.path(), &more);
    let ada = running.client.of("ada");
    for issue in &acknowledged {
        let there = async || {
            let page = ada.get(&format!("/issues/{issue}")).await;
            (page.status == 200 && page.text.contains("to grace")).then_some(())
        };
        eventually(&format!("showing {issue}"), there).await;
        let mailed = async || {
            let reference = format!("<issue-{issue}@tracker.localhost>");
            let mails = mails.mails();
            mails.iter().any(|mail| mail.header("References") == reference).then_some(())
        };
        eventually(&format!("the mail about {issue}"), mailed).await;
        let synced = async || {
            let what = format!("PUT /issues/{issue}");
            service.kept().iter().any(|kept| kept.what == what).then_some(())
        };
        eventually(&format!("the syncing of {issue}"), synced).await;
    }
    // What came twice has the same id.
    let mails = mails.mails();
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail.header("Message-ID")).collect();
    let about: BTreeSet<_> = mails.iter().map(|mail| mail.header("References")).collect();
    assert_eq!(ids.len(), about.len(), "each issue was assigned once");
}

/// Creates issues and assigns them, until the server goes away; those of which both was
/// acknowledged.
async fn work(ada: &Client) -> Vec<String> {
    let mut acknowledged = Vec::new();
    loop {
        let [first, second] = [(); 2].map(|()| EventId::generate().to_string());
        let create = [("key", &*first), ("title", "It smokes"), ("description", "")];
        let Some(created) = ada.try_post("/issues", &create).await else { break };
        let issue = created.issue();
        let assign = [("key", &*second), ("to", "grace")];
        let Some(assigned) = ada.try_post(&format!("/issues/{issue}/assign"), &assign).await else {
            break;
        };
        assigned.location();
        acknowledged.push(issue);
    }
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn two_programs_share_a_directory() {
    let directory = directory();
    let first = Running::start(directory.path(), &["--demo"]);
    let second = Running::start(directory.path(), &["--demo"]);
    let id = first.client.of("ada").create("Seen by both").await;
    let there =
        async || (second.client.get(&format!("/issues/{id}")).await.status == 200).then_some(());
    eventually("the other's issue", there).await;
    let page =
        second.client.of("grace").send(&format!("/issues/{id}/comment"), &[("text", "Yes")]).await;
    page.has("grace commented");
}

#[test]
fn it_listens_and_mails_on_loopback_only() {
    for arguments in [["--listen", "0.0.0.0:0"], ["--smtp", "192.0.2.1:25"]] {
        let ended = Command::new(env!("CARGO_BIN_EXE_tracker")).args(arguments).output();
        let ended = ended.expect("the binary was built with this test");
        assert_eq!(ended.status.code(), Some(2));
        assert!(String::from_utf8_lossy(&ended.stderr).contains("this machine"), "{ended:?}");
    }
}
