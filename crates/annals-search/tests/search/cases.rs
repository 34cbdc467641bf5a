//! What every index does: each case gets an empty one.

use annals_core::Position;
use annals_search::{Edit, EventEdits, Fields, Search, SearchError, SearchIndex};
use serde_json::{Value, json};

/// The fields of every index under test.
pub(crate) fn fields() -> Fields {
    Fields::new().text("name").text("notes").exact("category").exact("size")
}

/// An event at this position that changes one document.
pub(crate) fn event(position: u64, edit: Edit) -> EventEdits {
    EventEdits { position: Position::new(position), edits: vec![edit] }
}

pub(crate) async fn apply(index: &dyn SearchIndex, events: &[EventEdits]) {
    index.apply(events).await.expect("the edits can be applied");
}

/// The ids that are found, sorted.
async fn found(index: &dyn SearchIndex, search: &Search) -> Vec<String> {
    index.refresh().await.expect("the index is there");
    let hits = index.search(search).await.expect("the search can be made");
    let mut ids: Vec<String> = hits.hits.into_iter().map(|hit| hit.id).collect();
    ids.sort_unstable();
    ids
}

async fn document(index: &dyn SearchIndex, id: &str) -> Option<Value> {
    index.document(id).await.expect("the index is there")
}

/// Makes one test of each case for an index, which `$open` opens empty.
macro_rules! cases {
    ($module:ident, $open:path) => {
        mod $module {
            crate::cases::cases!(@each $open:
                what_is_indexed_is_there_and_found
                an_update_changes_its_fields_only
                an_update_makes_no_document
                what_is_deleted_is_gone
                edits_of_one_event_follow_each_other
                an_older_edit_is_passed_over
                a_late_edit_does_not_bring_back_what_was_deleted
                an_update_that_comes_first_waits_for_its_document
                words_are_found_in_any_order_and_case
                the_beginning_of_the_last_word_is_enough_if_wanted
                searches_ask_for_exact_values
                hits_come_in_pages_with_the_best_first
                what_users_type_is_words_and_nothing_else
                odd_texts_can_be_indexed
                a_refused_document_stops_no_other
                a_search_beyond_its_limits_is_refused
                a_cleared_index_begins_again
                racing_writers_come_to_the_same
            );
        }
    };
    (@each $open:path: $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            let (index, _keeps) = $open().await;
            crate::cases::$case(&index).await;
        }
    )*};
}
pub(crate) use cases;

pub(crate) async fn what_is_indexed_is_there_and_found(index: &dyn SearchIndex) {
    let shoe = json!({"name": "Red shoe", "price": 80, "tags": ["a", {"b": null}]});
    apply(index, &[event(1, Edit::index("1", shoe.clone()))]).await;
    assert_eq!(document(index, "1").await, Some(shoe.clone()));
    assert_eq!(document(index, "2").await, None);
    index.refresh().await.expect("the index is there");
    let hits = index.search(&Search::new("shoe")).await.expect("the index is there");
    assert_eq!(hits.hits.len(), 1);
    assert_eq!((&*hits.hits[0].id, &hits.hits[0].document), ("1", &shoe));
    assert!(!hits.more);
}

pub(crate) async fn an_update_changes_its_fields_only(index: &dyn SearchIndex) {
    let shoe = json!({"name": "Red shoe", "price": 80, "maker": {"name": "A", "city": "B"}});
    apply(index, &[event(1, Edit::index("1", shoe))]).await;
    let fields = json!({"name": "Blue shoe", "maker": {"name": "C"}, "sold": null});
    apply(index, &[event(2, Edit::update("1", fields))]).await;
    assert_eq!(
        document(index, "1").await,
        Some(json!({"name": "Blue shoe", "price": 80, "maker": {"name": "C"}, "sold": null}))
    );
    assert_eq!(found(index, &Search::new("blue")).await, ["1"]);
    assert!(found(index, &Search::new("red")).await.is_empty());
}

pub(crate) async fn an_update_makes_no_document(index: &dyn SearchIndex) {
    apply(index, &[event(1, Edit::update("1", json!({"name": "ghost"})))]).await;
    assert_eq!(document(index, "1").await, None);
    assert!(found(index, &Search::new("ghost")).await.is_empty());
    assert!(found(index, &Search::everything()).await.is_empty());
    // Nor do its fields come into one that is indexed later.
    apply(index, &[event(2, Edit::index("1", json!({"price": 1})))]).await;
    assert_eq!(document(index, "1").await, Some(json!({"price": 1})));
}

pub(crate) async fn what_is_deleted_is_gone(index: &dyn SearchIndex) {
    let shoe = json!({"name": "Red shoe", "category": "shoes"});
    apply(index, &[event(1, Edit::index("1", shoe)), event(2, Edit::delete("1"))]).await;
    apply(index, &[event(3, Edit::delete("never there"))]).await;
    assert_eq!(document(index, "1").await, None);
    assert!(found(index, &Search::new("shoe")).await.is_empty());
    assert!(found(index, &Search::everything().having("category", "shoes")).await.is_empty());
    apply(index, &[event(4, Edit::index("1", json!({"name": "Boot"})))]).await;
    assert_eq!(found(index, &Search::new("boot")).await, ["1"]);
}

pub(crate) async fn edits_of_one_event_follow_each_other(index: &dyn SearchIndex) {
    let edits = vec![
        Edit::index("1", json!({"name": "a", "price": 1})),
        Edit::index("2", json!({"name": "b"})),
        Edit::update("1", json!({"price": 2})),
        Edit::delete("2"),
        Edit::index("3", json!({"name": "c"})),
        Edit::delete("3"),
        Edit::update("3", json!({"name": "d"})),
        Edit::index("3", json!({"price": 3})),
    ];
    apply(index, &[EventEdits { position: Position::new(1), edits }]).await;
    assert_eq!(document(index, "1").await, Some(json!({"name": "a", "price": 2})));
    assert_eq!(document(index, "2").await, None);
    assert_eq!(document(index, "3").await, Some(json!({"price": 3})));
    let edits = vec![Edit::delete("1"), Edit::update("1", json!({"name": "gone"}))];
    apply(index, &[EventEdits { position: Position::new(2), edits }]).await;
    assert_eq!(document(index, "1").await, None);
}

pub(crate) async fn an_older_edit_is_passed_over(index: &dyn SearchIndex) {
    apply(index, &[event(5, Edit::index("1", json!({"name": "new", "price": 5})))]).await;
    for edit in [
        Edit::index("1", json!({"name": "old", "old": true})),
        Edit::update("1", json!({"name": "old", "old": true})),
        Edit::delete("1"),
    ] {
        apply(index, &[event(4, edit.clone())]).await;
        apply(index, &[event(5, edit)]).await;
        assert_eq!(document(index, "1").await, Some(json!({"name": "new", "price": 5})));
    }
}

pub(crate) async fn a_late_edit_does_not_bring_back_what_was_deleted(index: &dyn SearchIndex) {
    apply(index, &[event(5, Edit::delete("1"))]).await;
    apply(index, &[event(3, Edit::index("1", json!({"name": "late"})))]).await;
    assert_eq!(document(index, "1").await, None);
    assert!(found(index, &Search::new("late")).await.is_empty());
}

pub(crate) async fn an_update_that_comes_first_waits_for_its_document(index: &dyn SearchIndex) {
    apply(index, &[event(5, Edit::update("1", json!({"price": 5})))]).await;
    apply(index, &[event(7, Edit::update("1", json!({"category": "late"})))]).await;
    apply(index, &[event(3, Edit::index("1", json!({"name": "shoe", "price": 3})))]).await;
    let whole = json!({"name": "shoe", "price": 5, "category": "late"});
    assert_eq!(document(index, "1").await, Some(whole));
    apply(index, &[event(6, Edit::index("1", json!({"name": "boot"})))]).await;
    assert_eq!(document(index, "1").await, Some(json!({"name": "boot", "category": "late"})));
    assert_eq!(found(index, &Search::new("boot").having("category", "late")).await, ["1"]);
}

async fn catalogue(index: &dyn SearchIndex) {
    let products = [
        json!({"name": "Red running shoe", "notes": ["light", "for Winter"], "category": "shoes",
               "size": 42}),
        json!({"name": "Blue shoe", "notes": "warm", "category": "shoes", "size": [41, 42]}),
        json!({"name": "Winter coat, red", "category": "coats", "size": "XL"}),
        json!({"name": "Überschuh 42", "category": "it's \"odd\" \\ %_*"}),
    ];
    let events = (1..).zip(products);
    let events: Vec<_> = events.map(|(n, p)| event(n, Edit::index(n.to_string(), p))).collect();
    apply(index, &events).await;
}

pub(crate) async fn words_are_found_in_any_order_and_case(index: &dyn SearchIndex) {
    catalogue(index).await;
    for (text, ids) in [
        ("shoe", &["1", "2"][..]),
        ("SHOE red", &["1"]),
        ("winter", &["1", "3"]),
        ("winter red", &["1", "3"]),
        ("winter shoe", &["1"]),
        ("überschuh", &["4"]),
        ("sho", &[]),
        ("shoe nothing", &[]),
        ("", &["1", "2", "3", "4"]),
    ] {
        assert_eq!(found(index, &Search::new(text)).await, ids, "{text:?}");
    }
}

pub(crate) async fn the_beginning_of_the_last_word_is_enough_if_wanted(index: &dyn SearchIndex) {
    catalogue(index).await;
    for (text, ids) in [
        ("sho", &["1", "2"][..]),
        ("s", &["1", "2"]),
        ("red sh", &["1"]),
        ("re shoe", &[]),
        ("wint", &["1", "3"]),
        ("hoe", &[]),
        ("über", &["4"]),
    ] {
        assert_eq!(found(index, &Search::new(text).prefix()).await, ids, "{text:?}");
    }
}

pub(crate) async fn searches_ask_for_exact_values(index: &dyn SearchIndex) {
    catalogue(index).await;
    let shoes = Search::everything().having("category", "shoes");
    assert_eq!(found(index, &shoes).await, ["1", "2"]);
    assert_eq!(found(index, &shoes.clone().having("size", 41)).await, ["2"]);
    assert_eq!(
        found(index, &shoes.having("category", "shoes").having("size", 42)).await,
        ["1", "2"]
    );
    let odd = Search::new("42").having("category", "it's \"odd\" \\ %_*");
    assert_eq!(found(index, &odd).await, ["4"]);
    for (field, value) in [
        ("category", json!("sho")),
        ("category", json!("SHOES")),
        ("name", json!("Blue shoe")),
        ("nothing", json!("x")),
        ("size", json!({"a": 1})),
        ("size", json!(null)),
    ] {
        let search = Search::everything().having(field, value.clone());
        assert!(found(index, &search).await.is_empty(), "{field} {value}");
    }
}

pub(crate) async fn hits_come_in_pages_with_the_best_first(index: &dyn SearchIndex) {
    let mut events: Vec<_> = (1..=9)
        .map(|n| event(n, Edit::index(n.to_string(), json!({"name": "a common shoe"}))))
        .collect();
    let best = json!({"name": "shoe, shoe and shoe"});
    events.push(event(10, Edit::index("best", best)));
    apply(index, &events).await;
    index.refresh().await.expect("the index is there");
    let mut ids = Vec::new();
    for (skip, more) in [(0, true), (4, true), (8, false), (12, false)] {
        let page = index
            .search(&Search::new("shoe").skip(skip).take(4))
            .await
            .expect("the index is there");
        assert_eq!(page.more, more, "behind {skip}");
        assert!(page.hits.windows(2).all(|pair| pair[0].score >= pair[1].score));
        ids.extend(page.hits.into_iter().map(|hit| hit.id));
    }
    assert_eq!(ids, ["best", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
    assert!(
        index
            .search(&Search::new("shoe").take(0))
            .await
            .expect("the index is there")
            .hits
            .is_empty()
    );
}

pub(crate) async fn what_users_type_is_words_and_nothing_else(index: &dyn SearchIndex) {
    catalogue(index).await;
    // Operators of FTS5, of tsquery, of web searches and of Elasticsearch.
    for (text, ids) in [
        ("-red shoe", &["1"][..]),
        ("shoe OR coat", &[]),
        ("shoe AND NOT red", &[]),
        ("NEAR(red shoe)", &[]),
        ("name:red", &[]),
        ("\"shoe red\"", &["1"]),
        ("red' & 'shoe", &["1"]),
        ("red | !shoe", &["1"]),
        ("sho*", &[]),
        ("+red +shoe", &["1"]),
        ("(red) ^shoe", &["1"]),
        ("'", &[]),
        ("\"", &[]),
        ("*", &[]),
        (" :* ", &[]),
        ("red\\", &["1", "3"]),
        ("red\0shoe", &["1"]),
        ("'; DROP TABLE products_documents; --", &[]),
    ] {
        assert_eq!(found(index, &Search::new(text)).await, ids, "{text:?}");
    }
    let prefix = Search::new("red s*").prefix();
    assert_eq!(found(index, &prefix).await, ["1"]);
}

pub(crate) async fn odd_texts_can_be_indexed(index: &dyn SearchIndex) {
    let odd = "it's \"x\" \\ {a,b} \0 \u{1F600} $1 %s ] ' : * & | ! ( ) <-> zebra\u{301}";
    let document = json!({"name": odd, "notes": [null, "deep"], "category": odd,
                          "size": [true, 4.5, null]});
    let id = "it's \"1\" \\ / % ?#&\u{1F600}";
    apply(index, &[event(1, Edit::index(id, document.clone()))]).await;
    assert_eq!(self::document(index, id).await, Some(document));
    assert_eq!(found(index, &Search::new("x deep")).await, [id]);
    assert_eq!(found(index, &Search::everything().having("category", odd)).await, [id]);
    assert_eq!(found(index, &Search::everything().having("size", true)).await, [id]);
}

pub(crate) async fn a_refused_document_stops_no_other(index: &dyn SearchIndex) {
    let large = "x".repeat(annals_search::DOCUMENT_BYTES_MAX);
    let events = [
        event(1, Edit::index("good", json!({"name": "good"}))),
        event(2, Edit::index("list", json!(["no object"]))),
        event(3, Edit::index("", json!({"name": "nameless"}))),
        event(4, Edit::index("large", json!({"name": large}))),
        event(5, Edit::update("taken", json!({"annals": 1}))),
        event(6, Edit::index("better", json!({"name": "good"}))),
    ];
    let error = index.apply(&events).await.expect_err("that is refused");
    let SearchError::Refused(refusals) = &error else { panic!("{error:?}") };
    let named: Vec<_> = refusals.iter().map(|r| (&*r.id, r.position.get())).collect();
    assert_eq!(named, [("list", 2), ("", 3), ("large", 4), ("taken", 5)]);
    assert_eq!(
        annals_core::error::Chain(&error).to_string(),
        "the index refuses documents; park their events, or change what makes documents of them: \
         3 others and document \"list\" of the event at position 2: reading it; it must be a JSON \
         object"
    );
    assert_eq!(found(index, &Search::new("good")).await, ["better", "good"]);
}

pub(crate) async fn a_search_beyond_its_limits_is_refused(index: &dyn SearchIndex) {
    let long = "x".repeat(annals_search::SEARCH_BYTES_MAX + 1);
    let many = "x ".repeat(annals_search::SEARCH_WORDS_MAX + 1);
    let mut filters = Search::everything();
    for value in 0..=annals_search::SEARCH_FILTERS_MAX {
        filters = filters.having("size", value);
    }
    for (search, limit) in [
        (Search::new(long), "search_bytes"),
        (Search::new(many), "search_words"),
        (filters, "search_filters"),
        (Search::new("x").take(annals_search::HITS_MAX + 1), "hits"),
        (Search::new("x").skip(annals_search::WINDOW_MAX), "window"),
    ] {
        let error = index.search(&search).await.expect_err("that is refused");
        assert!(matches!(error, SearchError::Invalid(_)), "{error:?}");
        assert!(error.to_string().contains(&format!("{limit} = ")), "{error}");
    }
}

pub(crate) async fn a_cleared_index_begins_again(index: &dyn SearchIndex) {
    apply(index, &[event(5, Edit::index("1", json!({"name": "shoe"})))]).await;
    apply(index, &[event(6, Edit::delete("2"))]).await;
    index.clear().await.expect("the index is there");
    assert_eq!(document(index, "1").await, None);
    assert!(found(index, &Search::new("shoe")).await.is_empty());
    apply(index, &[event(1, Edit::index("1", json!({"name": "boot"})))]).await;
    apply(index, &[event(2, Edit::index("2", json!({"name": "boot"})))]).await;
    assert_eq!(found(index, &Search::new("boot")).await, ["1", "2"]);
}

pub(crate) async fn racing_writers_come_to_the_same(index: &dyn SearchIndex) {
    let events: Vec<EventEdits> = (1..=40)
        .map(|n| {
            let id = (n % 4).to_string();
            match n % 5 {
                0 => event(n, Edit::index(id, json!({"name": format!("n{n}")}))),
                3 if n < 20 => event(n, Edit::delete(id)),
                field => event(n, Edit::update(id, json!({format!("field{field}"): n}))),
            }
        })
        .collect();
    let in_order = annals_search::MemoryIndex::new(fields());
    apply(&in_order, &events).await;
    let backwards: Vec<EventEdits> = events.iter().rev().cloned().collect();
    let writer = |events: Vec<EventEdits>| async move {
        for some in events.chunks(3) {
            apply(index, some).await;
        }
    };
    tokio::join!(writer(events.clone()), writer(backwards), writer(events));
    for id in ["0", "1", "2", "3"] {
        assert_eq!(document(index, id).await, document(&in_order, id).await, "{id}");
    }
}
