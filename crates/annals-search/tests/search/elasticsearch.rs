//! What a cluster is sent, and what is made of its answers.

use std::path::Path;
use std::time::Duration;

use annals_core::Position;
use annals_core::error::Chain;
use annals_search::{
    Edit, Elasticsearch, ElasticsearchIndex, ElasticsearchOptions, EventEdits, Fields, IndexName,
    Search, SearchError, SearchIndex,
};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::cases::{apply, cases, event, fields};
use crate::cluster::Cluster;
use crate::converge::converges;

async fn open() -> (ElasticsearchIndex, Cluster) {
    let cluster = Cluster::start().await;
    (cluster.open(cluster.options()).await, cluster)
}

cases!(in_elasticsearch, super::open);

#[test]
fn in_elasticsearch_any_order_comes_to_the_same() {
    let runtime = Runtime::new().unwrap();
    let (index, _cluster) = runtime.block_on(open());
    converges(&index, 32, &runtime);
}

/// Compares with a golden file; `ANNALS_GOLDEN=write` writes it.
fn golden(name: &str, found: &[String]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    let found = found.join("\n");
    if std::env::var("ANNALS_GOLDEN").is_ok_and(|how| how == "write") {
        std::fs::write(&path, &found).expect("the folder is there");
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(found, expected, "{name}: what is sent has changed");
}

async fn error_of(index: &dyn SearchIndex, events: &[EventEdits]) -> String {
    let error = index.apply(events).await.expect_err("that fails");
    assert!(matches!(error, SearchError::Unavailable(_)), "{error:?}");
    Chain(&error).to_string()
}

fn shoe(position: u64, id: &str) -> EventEdits {
    event(position, Edit::index(id, json!({"name": "shoe"})))
}

#[tokio::test]
async fn documents_are_read_and_written_on_condition() {
    let (index, cluster) = open().await;
    let shoe = json!({"name": "Red shoe", "price": 80});
    apply(&index, &[event(1, Edit::index("1", shoe)), event(2, Edit::delete("2"))]).await;
    apply(
        &index,
        &[
            event(3, Edit::update("1", json!({"price": 60}))),
            event(4, Edit::update("3", json!({"price": 1}))),
        ],
    )
    .await;
    // Nothing is written of what is there already.
    apply(&index, &[event(1, Edit::delete("1")), event(3, Edit::update("1", json!({})))]).await;
    golden("apply.txt", &cluster.asked());
}

#[tokio::test]
async fn a_search_is_sent_as_words_and_terms() {
    let (index, cluster) = open().await;
    let search = Search::new("red \"sho*").prefix().having("category", "shoes").skip(20).take(10);
    index.search(&search).await.unwrap();
    index.search(&Search::everything()).await.unwrap();
    index.search(&Search::new("***")).await.unwrap();
    golden("search.txt", &cluster.asked());
}

#[tokio::test]
async fn a_generation_is_built_beside_the_other_and_takes_its_place() {
    let cluster = Cluster::start().await;
    let elasticsearch = Elasticsearch::new(cluster.options()).unwrap();
    let name = |name: &str| IndexName::new(name).unwrap();
    let products = elasticsearch.index(name("products"), fields());
    for (generation, found) in [("products-1", "1"), ("products-2", "2")] {
        let index = elasticsearch.index(name(generation), fields());
        index.create().await.unwrap();
        index.create().await.unwrap();
        apply(&index, &[shoe(1, found)]).await;
        elasticsearch.point(&name("products"), &name(generation)).await.unwrap();
        elasticsearch.point(&name("products"), &name(generation)).await.unwrap();
        let hits = products.search(&Search::new("shoe")).await.unwrap().hits;
        assert_eq!(hits.iter().map(|hit| &*hit.id).collect::<Vec<_>>(), [found]);
    }
    elasticsearch.remove(&name("products-1")).await.unwrap();
    elasticsearch.remove(&name("products-1")).await.unwrap();
    golden("generations.txt", &cluster.asked());

    let other = elasticsearch.index(name("products-2"), Fields::new().text("title"));
    let error = other.create().await.unwrap_err();
    assert!(matches!(error, SearchError::OtherFields { .. }), "{error:?}");
    let error = elasticsearch.point(&name("products"), &name("products-9")).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("404"), "{error:?}");
}

/// Of the manual's example of a bulk that fails in parts, with other failures.
const PARTIAL: &str = r#"{"took": 486, "errors": true, "items": [
    {"create": {"_index": "products-1", "_id": "1", "_version": 1, "result": "created",
        "_shards": {"total": 2, "successful": 1, "failed": 0}, "status": 201, "_seq_no": 0,
        "_primary_term": 1}},
    {"create": {"_index": "products-1", "_id": "2", "status": 400, "error": {
        "type": "document_parsing_exception", "reason": "[1:9] failed to parse field [price]",
        "caused_by": {"type": "number_format_exception", "reason": "For input string: \"x\""}}}},
    {"create": {"_index": "products-1", "_id": "3", "status": 429, "error": {
        "type": "es_rejected_execution_exception", "reason": "rejected execution of coordinating operation"}}},
    {"create": {"_index": "products-1", "_id": "4", "status": 409, "error": {
        "type": "version_conflict_engine_exception",
        "reason": "[4]: version conflict, document already exists (current version [1])",
        "index_uuid": "aAsFqTI0Tc2W0LCWgPNrOA", "shard": "0", "index": "products-1"}}},
    {"create": {"_index": "products-1", "_id": "5", "status": 503, "error": {
        "type": "unavailable_shards_exception", "reason": "[products-1][0] primary shard is not active"}}}
]}"#;

#[tokio::test]
async fn a_bulk_that_fails_in_parts_is_repeated_in_parts() {
    let (index, cluster) = open().await;
    cluster.answer_instead("_bulk", 200, PARTIAL);
    let events: Vec<_> = (1..=5).map(|n| shoe(n, &n.to_string())).collect();
    let error = index.apply(&events).await.unwrap_err();
    assert_eq!(
        Chain(&error).to_string(),
        "the index refuses documents; park their events, or change what makes documents of them: \
         document \"2\" of the event at position 2: writing it: the cluster answers 400: \
         document_parsing_exception: [1:9] failed to parse field [price]: For input string: \"x\""
    );
    let asked = cluster.asked();
    let sent: Vec<&str> = asked
        .iter()
        .filter(|asked| asked.contains("_mget"))
        .map(|asked| asked.lines().last().expect("a body"))
        .collect();
    assert_eq!(sent, [r#"{"ids":["1","2","3","4","5"]}"#, r#"{"ids":["4","3","5"]}"#]);
    for id in ["3", "4", "5"] {
        assert!(index.document(id).await.unwrap().is_some(), "{id}");
    }
}

#[tokio::test]
async fn what_somebody_else_wrote_meanwhile_is_kept() {
    let (index, cluster) = open().await;
    apply(&index, &[event(1, Edit::index("1", json!({"name": "shoe", "price": 1})))]).await;
    // What was read is not what is there when it is written.
    let read = cluster.asked().len();
    assert_eq!(read, 2);
    let old = json!({"docs": [{"_index": "products-1", "_id": "1", "found": false}]});
    cluster.answer_instead("_mget", 200, &old.to_string());
    apply(&index, &[event(2, Edit::update("1", json!({"price": 2})))]).await;
    assert_eq!(index.document("1").await.unwrap(), Some(json!({"name": "shoe", "price": 2})));
}

#[tokio::test]
async fn documents_that_others_write_all_the_time_are_given_up() {
    let (index, cluster) = open().await;
    let conflict = r#"{"took": 1, "errors": true, "items": [{"create": {"_id": "1", "status": 409,
        "error": {"type": "version_conflict_engine_exception", "reason": "again"}}}]}"#;
    for _ in 0..100 {
        cluster.answer_instead("_bulk", 200, conflict);
    }
    let error = error_of(&index, &[shoe(1, "1")]).await;
    assert!(error.ends_with("others write the same ones all the time"), "{error}");
}

#[tokio::test]
async fn a_cluster_without_room_is_asked_again_and_at_last_reported() {
    let (index, cluster) = open().await;
    let full = r#"{"error": {"root_cause": [], "type": "es_rejected_execution_exception",
        "reason": "rejected execution of coordinating operation"}, "status": 429}"#;
    cluster.answer_instead("_mget", 503, "no body that is JSON");
    cluster.answer_instead("_bulk", 429, full);
    cluster.answer_instead("_bulk", 502, "");
    apply(&index, &[shoe(1, "1")]).await;
    assert!(index.document("1").await.unwrap().is_some());
    for _ in 0..4 {
        cluster.answer_instead("_bulk", 429, full);
    }
    let error = error_of(&index, &[shoe(2, "2")]).await;
    assert!(error.contains("the cluster answers 429: es_rejected_execution_exception"), "{error}");
}

#[tokio::test]
async fn what_asking_again_does_not_mend_is_reported_at_once() {
    let (index, cluster) = open().await;
    cluster.answer_instead(
        "_mget",
        403,
        r#"{"error": {"type": "security_exception", "reason": "no"}}"#,
    );
    let error = error_of(&index, &[shoe(1, "1")]).await;
    assert!(error.ends_with("check the credentials and what they allow"), "{error}");
    let blocked = r#"{"took": 1, "errors": true, "items": [{"create": {"_id": "1", "status": 403,
        "error": {"type": "cluster_block_exception",
                  "reason": "index [products-1] blocked by: [FORBIDDEN/8/index write (api)]"}}}]}"#;
    cluster.answer_instead("_bulk", 200, blocked);
    let error = error_of(&index, &[shoe(1, "1")]).await;
    assert!(error.contains("cluster_block_exception"), "{error}");
    assert_eq!(cluster.asked().len(), 3);

    let elasticsearch = Elasticsearch::new(cluster.options()).unwrap();
    let missing = elasticsearch.index(IndexName::new("products-9").unwrap(), fields());
    let error = error_of(&missing, &[shoe(1, "1")]).await;
    assert!(error.contains("create it first"), "{error}");
    assert_eq!(cluster.asked().len(), 1);

    let nobody = Elasticsearch::new(ElasticsearchOptions::new(&cluster.url)).unwrap();
    let nobody = nobody.index(IndexName::new("products-1").unwrap(), fields());
    let error = error_of(&nobody, &[shoe(1, "1")]).await;
    assert!(error.contains("401") && error.contains("check the credentials"), "{error}");
}

#[tokio::test]
async fn a_bulk_that_is_too_large_comes_in_halves() {
    let (index, cluster) = open().await;
    cluster.answer_instead("_bulk", 413, "");
    cluster.answer_instead("_bulk", 413, "");
    let events: Vec<_> = (1..=4).map(|n| shoe(n, &n.to_string())).collect();
    apply(&index, &events).await;
    let sizes: Vec<usize> = bulks(&cluster);
    assert_eq!(sizes, [4, 2, 1, 1, 2]);

    cluster.answer_instead("_bulk", 413, "");
    let error = index.apply(&[shoe(9, "9")]).await.unwrap_err();
    let SearchError::Refused(refusals) = &error else { panic!("{error:?}") };
    assert_eq!(refusals.iter().next().map(|r| (&*r.id, r.position)), Some(("9", Position::new(9))));
}

/// How many documents each bulk had.
fn bulks(cluster: &Cluster) -> Vec<usize> {
    let asked = cluster.asked();
    let bulks = asked.iter().filter(|asked| asked.contains("/_bulk\napplication/x-ndjson\n"));
    bulks.map(|bulk| (bulk.lines().count() - 2) / 2).collect()
}

#[tokio::test]
async fn bulks_are_bounded_in_bytes_and_in_documents() {
    let cluster = Cluster::start().await;
    let events: Vec<_> = (1..=6).map(|n| shoe(n, &n.to_string())).collect();
    let index = cluster.open(cluster.options().documents_at_once(4)).await;
    apply(&index, &events).await;
    assert_eq!(bulks(&cluster), [4, 2]);
    index.clear().await.unwrap();
    let index = cluster.open(cluster.options().bulk_bytes_max(350)).await;
    apply(&index, &events).await;
    assert_eq!(bulks(&cluster), [2, 2, 2]);
    index.clear().await.unwrap();
    let index = cluster.open(cluster.options().bulk_bytes_max(1)).await;
    apply(&index, &events).await;
    assert_eq!(bulks(&cluster), [1; 6]);
}

#[tokio::test]
async fn a_document_without_bookkeeping_is_damage() {
    let (index, cluster) = open().await;
    cluster.put("1", json!({"name": "by hand"}));
    let error = index.apply(&[shoe(1, "1")]).await.unwrap_err();
    assert!(matches!(error, SearchError::Corrupt(_)), "{error:?}");
}

#[tokio::test]
async fn an_answer_in_parts_or_out_of_time_is_no_answer() {
    let (index, cluster) = open().await;
    cluster.answer_instead(
        "_search",
        200,
        r#"{"took": 1, "timed_out": true, "hits": {"hits": []}}"#,
    );
    let error = index.search(&Search::new("shoe")).await.unwrap_err();
    assert!(matches!(error, SearchError::Unavailable(_)), "{error:?}");
    cluster.answer_instead("_mget", 200, r#"{"docs": []}"#);
    let error = error_of(&index, &[shoe(1, "1")]).await;
    assert!(error.contains("1 were asked for, 0 came"), "{error}");
}

#[tokio::test]
async fn a_cluster_that_does_not_answer_is_not_waited_for_for_ever() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = ElasticsearchOptions::new(format!("http://{}", silent.local_addr().unwrap()))
        .timeout(Duration::from_millis(50))
        .attempts(2, Duration::from_millis(1));
    let cluster = Elasticsearch::new(options).unwrap();
    let index = cluster.index(IndexName::new("products").unwrap(), fields());
    let error = error_of(&index, &[shoe(1, "1")]).await;
    assert!(error.contains("no answer in 50ms"), "{error}");
}
