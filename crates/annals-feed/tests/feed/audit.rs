//! Exports: golden files, formulas, and the memory of one page.

use annals_feed::{Audit, CsvOptions, Export, Feed, FeedDefinition, Filter, Order};
use futures_util::TryStreamExt;
use serde_json::json;

use crate::counting::Counting;
use crate::places::{Happened, Place, in_each_place, minute};

in_each_place![
    exports_are_as_in_the_golden_files,
    an_export_of_any_length_reads_page_by_page,
    what_begins_like_a_formula_is_guarded,
];

async fn text(export: Export) -> String {
    let bytes = export.try_fold(Vec::new(), |mut all, bytes| async move {
        all.extend_from_slice(&bytes);
        Ok(all)
    });
    String::from_utf8(bytes.await.unwrap()).unwrap()
}

fn history() -> [Happened; 4] {
    [
        Happened::new("ada", "IssueCreated", "issue-1")
            .moment(minute(0))
            .data(json!({ "title": "Login \"page\",\nbroken" })),
        Happened::new("=HYPERLINK(\"http://evil\")", "IssueClosed", "issue-1")
            .moment(minute(1))
            .context(|context| {
                let batch = json!({ "id": "b1", "description": "spring\tcleaning" });
                context.reason("-done; really").correlation("c1").with("batch", batch)
            }),
        Happened::new("", "IssueClosed", "issue-2").moment(minute(2)),
        Happened::new("ada", "IssueViewed", "issue-1").moment(minute(3)),
    ]
}

/// Ids and the moments of recording are new each time.
fn settled(text: &str, feed: &[annals_feed::Entry]) -> String {
    feed.iter().enumerate().fold(text.to_owned(), |text, (index, entry)| {
        text.replace(&entry.event.to_string(), &format!("<event {}>", index + 1))
            .replace(&entry.recorded_at.to_string(), &format!("<recorded {}>", index + 1))
    })
}

async fn exports_are_as_in_the_golden_files(place: Place) {
    let (feed, running) = place.feed_of(history()).await;
    let entries: Vec<_> = feed.audit().entries().unwrap().try_collect().await.unwrap();
    let csv = settled(&text(feed.audit().csv(CsvOptions::default()).unwrap()).await, &entries);
    assert_eq!(csv.replace("\r\n", "\n"), include_str!("../golden/audit.csv"));
    let lines = settled(&text(feed.audit().json_lines().unwrap()).await, &entries);
    assert_eq!(lines, include_str!("../golden/audit.jsonl"));

    let of_issue_1 = feed
        .audit()
        .resource("issue-1".parse().unwrap())
        .action("IssueCreated".parse().unwrap())
        .action("IssueViewed".parse().unwrap())
        .actor("ada")
        .period(minute(0), minute(3));
    let found: Vec<_> = of_issue_1.entries().unwrap().try_collect().await.unwrap();
    assert_eq!(found, entries[..1]);
    let nothing = feed.audit().filter(Filter::new().by_any([""; 0]));
    assert_eq!(text(nothing.json_lines().unwrap()).await, "");
    running.stop().await;
}

async fn an_export_of_any_length_reads_page_by_page(place: Place) {
    let many = (0..1_001).map(|i| Happened::new("ada", "Counted", "count-1").moment(minute(i / 7)));
    let (feed, running) = place.feed_of(many).await;
    let counting = Counting::new(feed.entries());
    let counted = Feed::of(FeedDefinition::new("activity"), counting.clone(), feed.projector());
    for (audit, order) in [
        (counted.audit(), Order::OldestFirst),
        (counted.audit().newest_first(), Order::NewestFirst),
    ] {
        counting.rows.lock().unwrap().clear();
        let mut export = audit.json_lines().unwrap();
        let first = export.try_next().await.unwrap().unwrap();
        assert_eq!(counting.rows.lock().unwrap().len(), 1, "nothing is read ahead");
        let lines = String::from_utf8(first.to_vec()).unwrap() + &text(export).await;
        let entries: Vec<annals_feed::Entry> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut places: Vec<_> = entries.iter().map(|e| (e.occurred_at, e.position)).collect();
        if order == Order::NewestFirst {
            places.reverse();
        }
        assert_eq!(places.len(), 1_001);
        assert!(places.is_sorted());
        let rows = counting.rows.lock().unwrap().clone();
        assert_eq!(rows, [200, 200, 200, 200, 200, 1]);
        assert!(rows.iter().all(|&rows| rows <= Audit::PAGE_ENTRIES));
    }
    running.stop().await;
}

async fn what_begins_like_a_formula_is_guarded(place: Place) {
    let reasons = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "1=1", "'quoted"];
    let happened = reasons.map(|reason| {
        Happened::new("ada", "Said", "talk-1").context(|context| context.reason(reason))
    });
    let (feed, running) = place.feed_of(happened).await;
    let read = async |options| {
        let text = text(feed.audit().csv(options).unwrap()).await;
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        reader.records().map(|line| line.unwrap()[5].to_owned()).collect::<Vec<_>>()
    };
    let guarded =
        ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\t=1", "'\r=1", "1=1", "'quoted"].map(str::to_owned);
    assert_eq!(read(CsvOptions::default()).await, guarded);
    assert_eq!(read(CsvOptions::default().verbatim()).await, reasons.map(str::to_owned));
    running.stop().await;
}
