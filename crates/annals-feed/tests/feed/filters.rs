//! Filters find what a plain reading of them finds.

use annals::{Category, Position, StreamId};
use annals_feed::{Entry, Filter};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::json;

use crate::places::{Happened, Place, in_each_place, in_pages, minute, positions};

in_each_place![
    filters_find_what_a_plain_reading_finds,
    no_text_is_syntax,
    words_that_many_entries_have_are_found_as_others_are,
];

const ACTORS: [&str; 4] = ["ada", "grace", "", "\u{1f600} o'hara"];
const STREAMS: [&str; 5] = ["issue-1", "issue-2", "order-1", "order-1-2", "lonely"];
const TYPES: [&str; 3] = ["Opened", "Closed", "Commented"];
const WORDS: [&str; 5] = ["login", "Grün", "page", "42", "été"];

/// What happened, as numbers.
#[derive(Clone, Debug)]
struct Fact {
    actor: usize,
    stream: usize,
    event_type: usize,
    minute: i64,
    words: Vec<usize>,
    batch: Option<u8>,
    correlation: u8,
}

fn fact() -> impl Strategy<Value = Fact> {
    let words = prop::collection::vec(0..WORDS.len(), 0..3);
    let batch = prop::option::of(0..2_u8);
    (0..ACTORS.len(), 0..STREAMS.len(), 0..TYPES.len(), -3..3_i64, words, batch, 0..2_u8).prop_map(
        |(actor, stream, event_type, minute, words, batch, correlation)| Fact {
            actor,
            stream,
            event_type,
            minute,
            words,
            batch,
            correlation,
        },
    )
}

impl Fact {
    fn happened(&self) -> Happened {
        let words: Vec<_> = self.words.iter().map(|&word| WORDS[word]).collect();
        let actor = ACTORS[self.actor];
        Happened::new(actor, TYPES[self.event_type], STREAMS[self.stream])
            .moment(minute(self.minute))
            .data(json!({ "text": words.join(", "), "nested": [{ "n": self.minute }] }))
            .context(|context| {
                let context = context.correlation(self.correlation);
                match self.batch {
                    Some(id) => context.with("batch", json!({ "id": format!("b{id}") })),
                    None => context,
                }
            })
    }
}

/// What is asked, as numbers.
#[derive(Clone, Debug)]
struct Asked {
    actors: Option<Vec<usize>>,
    streams: Option<Vec<usize>>,
    category: Option<usize>,
    types: Option<Vec<usize>>,
    since: Option<i64>,
    before: Option<i64>,
    words: Vec<usize>,
    batch: Option<u8>,
    correlation: Option<u8>,
}

fn some_of(count: usize) -> impl Strategy<Value = Option<Vec<usize>>> {
    prop::option::weighted(0.4, prop::collection::vec(0..count, 0..4))
}

fn asked() -> impl Strategy<Value = Asked> {
    let period = (prop::option::of(-3..3_i64), prop::option::of(-3..4_i64));
    let words = prop_oneof![
        2 => Just(vec![]),
        1 => prop::collection::vec(0..WORDS.len(), 1..3),
    ];
    let belongs = (prop::option::weighted(0.2, 0..2_u8), prop::option::weighted(0.2, 0..2_u8));
    let category = prop::option::weighted(0.3, 0..STREAMS.len());
    let sets = (some_of(ACTORS.len()), some_of(STREAMS.len()), some_of(TYPES.len()));
    (sets, category, period, words, belongs).prop_map(
        |((actors, streams, types), category, (since, before), words, (batch, correlation))| {
            Asked { actors, streams, category, types, since, before, words, batch, correlation }
        },
    )
}

impl Asked {
    fn filter(&self) -> Filter {
        let mut filter = Filter::new();
        if let Some(actors) = &self.actors {
            filter = filter.by_any(actors.iter().map(|&actor| ACTORS[actor]));
        }
        if let Some(streams) = &self.streams {
            filter = filter.in_streams(streams.iter().map(|&s| STREAMS[s].parse().unwrap()));
        }
        if let Some(category) = self.category {
            filter = filter.in_category(category_of(category));
        }
        if let Some(types) = &self.types {
            filter = filter.of_types(types.iter().map(|&t| TYPES[t].parse().unwrap()));
        }
        if let Some(since) = self.since {
            filter = filter.since(minute(since));
        }
        if let Some(before) = self.before {
            filter = filter.before(minute(before));
        }
        if let Some(batch) = self.batch {
            filter = filter.in_batch(format!("b{batch}"));
        }
        if let Some(correlation) = self.correlation {
            filter = filter.in_correlation(correlation.to_string());
        }
        let words: Vec<_> = self.words.iter().map(|&word| WORDS[word].to_uppercase()).collect();
        filter.search(words.join(" \" "))
    }

    fn means(&self, fact: &Fact) -> bool {
        let any = |asked: &Option<Vec<usize>>, is| asked.as_ref().is_none_or(|a| a.contains(&is));
        any(&self.actors, fact.actor)
            && (self.actors.is_none() || !ACTORS[fact.actor].is_empty())
            && any(&self.streams, fact.stream)
            && self.category.is_none_or(|asked| category_of(asked) == category_of(fact.stream))
            && any(&self.types, fact.event_type)
            && self.since.is_none_or(|since| fact.minute >= since)
            && self.before.is_none_or(|before| fact.minute < before)
            && (self.batch.is_none() || self.batch == fact.batch)
            && self.correlation.is_none_or(|asked| asked == fact.correlation)
            && self.words.iter().all(|word| fact.words.contains(word))
    }
}

fn category_of(stream: usize) -> Category {
    StreamId::new(STREAMS[stream]).unwrap().category()
}

async fn filters_find_what_a_plain_reading_finds(place: Place) {
    let mut runner = TestRunner::deterministic();
    let mut some = |count: usize| -> Vec<Fact> {
        (0..count).map(|_| fact().new_tree(&mut runner).unwrap().current()).collect()
    };
    let facts = some(150);
    let (feed, running) = place.feed_of(facts.iter().map(Fact::happened)).await;
    let all = in_pages(&feed, &Filter::new(), 200).await;
    let mut stored = positions(&all);
    stored.sort_unstable();
    let mut meant: Vec<(i64, Position, &Fact)> = stored
        .into_iter()
        .zip(&facts)
        .map(|(position, fact)| (fact.minute, position, fact))
        .collect();
    assert_eq!(meant.len(), facts.len());
    meant.sort_unstable_by_key(|(minute, position, _)| std::cmp::Reverse((*minute, *position)));

    let mut runner = TestRunner::deterministic();
    let mut found_some = 0;
    for round in 0..250 {
        let asked = asked().new_tree(&mut runner).unwrap().current();
        let expected: Vec<_> = meant.iter().filter(|(_, _, fact)| asked.means(fact)).collect();
        let expected: Vec<_> = expected.into_iter().map(|(_, position, _)| *position).collect();
        let found = in_pages(&feed, &asked.filter(), 1 + round % 40).await;
        assert_eq!(positions(&found), expected, "{asked:?}");
        let matched = all.iter().filter(|entry| asked.filter().matches(entry)).cloned();
        assert_eq!(positions(&matched.collect::<Vec<Entry>>()), expected, "{asked:?}");
        found_some += usize::from(!expected.is_empty());
    }
    assert!(found_some > 60, "only {found_some} filters found anything");
    running.stop().await;
}

async fn no_text_is_syntax(place: Place) {
    let happened = [
        Happened::new("a", "Said", "talk-1")
            .data(json!({ "text": "OR NEAR and plain* \"quoted\"" })),
        Happened::new("b", "Said", "talk-1").data(json!({ "text": "it's 100% x:y \\ a\u{0}b" })),
        Happened::new("c", "Said", "talk-1").data(json!({ "words": "nothing of the kind" })),
    ];
    let (feed, running) = place.feed_of(happened).await;
    for (text, actors) in [
        ("or", "a"),
        ("near plain", "a"),
        ("\"quoted", "a"),
        ("plain OR it", ""),
        ("NOT plain", ""),
        ("NEAR(plain quoted, 2)", ""),
        ("words:nothing", ""),
        ("text:plain", ""),
        ("pla*", ""),
        ("^plain", "a"),
        ("'); DROP TABLE activity; --", ""),
        ("it's", "b"),
        ("it' & 's':*", "b"),
        ("it | nothing", ""),
        ("100%", "b"),
        ("a\0b", "b"),
        ("\\", ""),
        ("\"", ""),
        ("- - -", ""),
        ("!plain", "a"),
        ("{words} : nothing", ""),
        ("", "cba"),
        (" \t", "cba"),
    ] {
        let page = feed.activity(Filter::new().search(text)).page().await.unwrap();
        let found: String = page.entries.into_iter().filter_map(|entry| entry.actor).collect();
        let (mut found, mut actors) = (found.into_bytes(), actors.as_bytes().to_vec());
        found.sort_unstable();
        actors.sort_unstable();
        assert_eq!(found, actors, "{text:?}");
    }
    for actor in ["' OR '1'='1", "a\0", "[\"a\"]", "%", "x\u{0}y"] {
        let page = feed.activity(Filter::new().by_any([actor, "nobody"])).page().await.unwrap();
        assert_eq!(page.entries, [], "{actor:?}");
    }
    running.stop().await;
}

async fn words_that_many_entries_have_are_found_as_others_are(place: Place) {
    // More than are collected: what is walked instead finds the same.
    let many = (0..5_100).map(|n| {
        let actor = if n % 100 == 0 { "ada" } else { "eve" };
        let text = if n % 1_000 == 0 { "rare and common" } else { "common" };
        Happened::new(actor, "Said", "talk-1").moment(minute(n / 3)).data(json!({ "text": text }))
    });
    let (feed, running) = place.feed_of(many).await;
    let common = || Filter::new().search("common");
    let newest = feed.activity(common()).limit(2).page().await.unwrap();
    assert_eq!(newest.entries.len(), 2);
    assert_eq!(newest.entries, in_pages(&feed, &Filter::new(), 200).await[..2]);
    assert_eq!(in_pages(&feed, &common().by("ada"), 7).await.len(), 51);
    assert_eq!(in_pages(&feed, &common().by_any(["ada", "nobody"]), 20).await.len(), 51);
    assert_eq!(in_pages(&feed, &common().search("rare common"), 4).await.len(), 6);
    assert_eq!(feed.statistics(common()).total().await.unwrap(), 5_100);
    running.stop().await;
}
