//! A product catalogue behind a checkpoint: run, rebuilt, stopped by poison.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::{
    Activation, Annals, Enrol, Event, EventStoreExt, ExpectedVersion, Generation, MemoryReadSide,
    MemoryStore, OnNewVersion, OnPoison, Position, Projector, RecordedEvent, StreamId, Timestamp,
    WaitError,
};
use annals_core::CheckpointStore;
use annals_scratch::Database;
use annals_search::{
    Edit, Elasticsearch, ElasticsearchGenerations, Fields, Generations, IndexName,
    MemoryGenerations, PostgresGenerations, Search, SearchError, SearchIndex, SearchModel,
    SearchProjection, SqliteGenerations,
};
use async_trait::async_trait;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::cluster::Cluster;

const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Debug, Event)]
#[expect(clippy::enum_variant_names, reason = "they are the names of the events")]
enum ProductEvent {
    ProductAdded { product_id: String, name: String, price: u64 },
    ProductPriceChanged { product_id: String, new_price: u64 },
    ProductRemoved { product_id: String },
}
use ProductEvent::*;

/// The catalogue, and one that also finds products by whether they are cheap.
struct Catalog<const VERSION: u32>;

impl<const VERSION: u32> SearchProjection for Catalog<VERSION> {
    type Event = ProductEvent;
    const NAME: &'static str = "products";
    const VERSION: u32 = VERSION;

    fn edits(&self, event: &ProductEvent, _: &RecordedEvent) -> Vec<Edit> {
        let cheap = |price: &u64| (VERSION > 1).then_some(*price < 50);
        vec![match event {
            ProductAdded { product_id, name, price } => Edit::index(
                product_id,
                json!({"name": name, "price": price, "cheap": cheap(price)}),
            ),
            ProductPriceChanged { product_id, new_price } => {
                Edit::update(product_id, json!({"price": new_price, "cheap": cheap(new_price)}))
            }
            ProductRemoved { product_id } => Edit::delete(product_id),
        }]
    }
}

fn fields(version: u32) -> Fields {
    let name = Fields::new().text("name");
    if version > 1 { name.exact("cheap") } else { name }
}

fn added(id: &str, price: u64) -> ProductEvent {
    ProductAdded { product_id: id.to_owned(), name: format!("Shoe {id}"), price }
}

async fn append(store: &MemoryStore, stream: &str, events: &[ProductEvent]) -> Position {
    let events: Vec<_> = events.iter().map(|event| event.encode().expect("it encodes")).collect();
    let stream = StreamId::new(stream).expect("a valid stream");
    let appended = store.append_to(stream, ExpectedVersion::Any, events).await;
    appended.expect("a store in memory stores").last_position
}

/// Ids and documents that are found.
async fn found<const VERSION: u32>(
    model: &SearchModel<Catalog<VERSION>>,
    search: &Search,
) -> Vec<(String, Value)> {
    let index = model.index().await.expect("the index is there").expect("it ran");
    index.refresh().await.expect("the index is there");
    let hits = model.search(search).await.expect("the search can be made").hits;
    let mut found: Vec<_> = hits.into_iter().map(|hit| (hit.id, hit.document)).collect();
    found.sort_by(|one, other| one.0.cmp(&other.0));
    found
}

/// Prices and removals stand in other streams than the products, and the parts work at once.
async fn runs_and_is_rebuilt<G: Generations + 'static>(open: impl Fn(Fields) -> G) {
    let store = MemoryStore::new();
    let read_side = MemoryReadSide::new();
    let shop = Annals::new(store.clone());
    let model = SearchModel::new(Catalog::<1>, open(fields(1)), read_side.clone());
    assert!(model.search(&Search::everything()).await.expect("it is there").hits.is_empty());
    let running = shop.project(model.clone()).partitions(4).events_max(5).start();
    for id in 0..30 {
        append(&store, &format!("product-{id}"), &[added(&id.to_string(), 80)]).await;
        let price = ProductPriceChanged { product_id: id.to_string(), new_price: 40 + id };
        append(&store, &format!("price-{id}"), &[price]).await;
        if id % 3 > 0 {
            let removed = ProductRemoved { product_id: id.to_string() };
            append(&store, &format!("removal-{}", id % 7), &[removed]).await;
        }
    }
    let last = append(&store, "product-x", &[added("x", 1)]).await;
    running.wait_for(last, PATIENCE).await.expect("it is there");
    let shoes = found(&model, &Search::new("shoe").take(100)).await;
    let ids: Vec<&str> = shoes.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["0", "12", "15", "18", "21", "24", "27", "3", "6", "9", "x"]);
    assert_eq!(shoes[1].1, json!({"name": "Shoe 12", "price": 52, "cheap": null}));
    running.stop().await;
    let info = read_side.subscriber(&"products".parse().expect("a name")).await;
    let info = info.expect("it is in memory").expect("it ran");
    assert!(info.active().is_some_and(|active| active.position() >= last), "{info:?}");

    // The next version searches the older one's index until its own is ready.
    let next = SearchModel::new(Catalog::<2>, open(fields(2)), read_side.clone());
    assert_eq!(found(&next, &Search::new("shoe").take(100)).await.len(), 11);
    let running = shop.project(next.clone()).rebuilding_new_versions().start();
    tokio::time::timeout(PATIENCE, until_active(&read_side, 2)).await.expect("it is rebuilt");
    let cheap = found(&next, &Search::new("shoe").having("cheap", true)).await;
    let ids: Vec<&str> = cheap.iter().map(|(id, _)| &**id).collect();
    assert_eq!(ids, ["0", "3", "6", "9", "x"]);
    let last = append(&store, "product-y", &[added("y", 1)]).await;
    running.wait_for(last, PATIENCE).await.expect("it is there");
    assert_eq!(found(&next, &Search::new("y")).await.len(), 1);
    running.stop().await;
}

/// A rebuild begins somewhat after its projection is started.
async fn until_active(read_side: &MemoryReadSide, version: u32) {
    let products = "products".parse().expect("a valid name");
    loop {
        let info = read_side.subscriber(&products).await.expect("it is in memory");
        let active = info.as_ref().and_then(|info| info.active());
        if active.map(|active| active.version) == Some(version) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn name() -> IndexName {
    IndexName::new("products").expect("a valid name")
}

#[tokio::test]
async fn a_catalogue_in_memory_runs_and_is_rebuilt() {
    let generations = MemoryGenerations::new(fields(2));
    runs_and_is_rebuilt(|_| generations.clone()).await;
}

#[tokio::test]
async fn a_catalogue_in_sqlite_runs_and_is_rebuilt() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("search.db");
    runs_and_is_rebuilt(|fields| SqliteGenerations::new(&path, name(), fields)).await;
    let tables: Vec<String> = rusqlite::Connection::open(&path)
        .unwrap()
        .prepare("SELECT name FROM sqlite_schema WHERE name LIKE '%_documents'")
        .unwrap()
        .query_map((), |row| row.get(0))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    assert_eq!(tables, ["products-2_documents"]);
}

#[tokio::test]
async fn a_catalogue_in_postgres_runs_and_is_rebuilt() {
    let database = Database::create().await;
    let pool = sqlx_postgres::PgPool::connect(database.url()).await.unwrap();
    runs_and_is_rebuilt(|fields| PostgresGenerations::new(pool.clone(), name(), fields)).await;
    let tables =
        "SELECT relname::text FROM pg_class WHERE relname LIKE 'products%' AND relkind = 'r'
                  ORDER BY 1";
    let tables: Vec<String> =
        sqlx_core::query_scalar::query_scalar(tables).fetch_all(&pool).await.unwrap();
    assert_eq!(tables, ["products-2_documents", "products-2_fields"]);
    pool.close().await;
}

#[tokio::test]
async fn a_catalogue_in_elasticsearch_runs_and_is_rebuilt() {
    let cluster = Cluster::start().await;
    let elasticsearch = Elasticsearch::new(cluster.options()).unwrap();
    runs_and_is_rebuilt(|fields| {
        ElasticsearchGenerations::new(elasticsearch.clone(), name(), fields)
    })
    .await;
    // The alias is for whoever searches by other means.
    assert_eq!(cluster.names(), ["products -> products-2", "products-2"]);
}

/// In memory, and remembers which of them others were told to search.
#[derive(Clone, Debug)]
struct Pointing {
    generations: MemoryGenerations,
    pointed: Arc<Mutex<Vec<u32>>>,
}

#[async_trait]
impl Generations for Pointing {
    async fn open(&self, generation: Generation) -> Result<Arc<dyn SearchIndex>, SearchError> {
        self.generations.open(generation).await
    }

    async fn point(&self, generation: Generation) -> Result<(), SearchError> {
        self.pointed.lock().expect("no test panics while pointing").push(generation.get());
        Ok(())
    }

    async fn remove(&self, generation: Generation) -> Result<(), SearchError> {
        self.generations.remove(generation).await
    }
}

#[tokio::test]
async fn others_are_told_to_search_what_is_active() {
    let (store, read_side) = (MemoryStore::new(), MemoryReadSide::new());
    let shop = Annals::new(store.clone());
    let pointed = Arc::default();
    let generations = MemoryGenerations::new(fields(2));
    let generations = Pointing { generations, pointed: Arc::clone(&pointed) };
    let pointed = || {
        let mut pointed = Vec::clone(&pointed.lock().unwrap());
        // Whoever begins to work does it once more.
        pointed.dedup();
        pointed
    };
    let model = SearchModel::new(Catalog::<1>, generations.clone(), read_side.clone());
    let running = shop.project(model).start();
    let last = append(&store, "product-1", &[added("1", 80)]).await;
    running.wait_for(last, PATIENCE).await.unwrap();
    running.stop().await;
    assert_eq!(pointed(), [1]);

    let next = SearchModel::new(Catalog::<2>, generations, read_side.clone());
    let enrol = Enrol {
        subscriber: next.name().clone(),
        version: 2,
        partitions: 1,
        after: Position::START,
        on_new_version: OnNewVersion::Rebuild,
        now: Timestamp::EPOCH,
    };
    let info = read_side.enrol(enrol).await.unwrap();
    let second = info.building().unwrap().generation;
    next.prepare(second).await.unwrap();
    assert_eq!(next.activate(second, Timestamp::EPOCH).await.unwrap(), Activation::Behind);
    assert_eq!(pointed(), [1], "nobody is sent to what is behind");

    let running = shop.project(next).start();
    tokio::time::timeout(PATIENCE, until_active(&read_side, 2)).await.expect("it is rebuilt");
    let last = append(&store, "product-2", &[added("2", 80)]).await;
    running.wait_for(last, PATIENCE).await.unwrap();
    running.stop().await;
    assert_eq!(pointed(), [1, 2]);
}

#[tokio::test]
async fn a_document_that_is_refused_is_poison_of_its_event() {
    let store = MemoryStore::new();
    let shop = Annals::new(store.clone());
    let read_side = MemoryReadSide::new();
    let model =
        SearchModel::new(Catalog::<1>, MemoryGenerations::new(fields(1)), read_side.clone());
    append(&store, "product-1", &[added("1", 80)]).await;
    let poison = append(&store, "product-2", &[added("\n", 80)]).await;
    let last = append(&store, "product-3", &[added("3", 80)]).await;

    let running = shop.project(model.clone()).start();
    let stopped = running.wait_for(last, PATIENCE).await.unwrap_err();
    let WaitError::Failed { failure, .. } = &stopped else { panic!("{stopped:?}") };
    assert_eq!(failure.event.map(|(position, _)| position), Some(poison));
    assert!(failure.error.contains("document \"\\n\" of the event at position"), "{failure:?}");
    running.stop().await;

    let running = shop.project(model.clone()).on_poison(OnPoison::Park).start();
    running.resume().await.unwrap();
    running.wait_for(last, PATIENCE).await.unwrap();
    let parked = read_side.parked(running.name(), 10).await.unwrap();
    assert_eq!(parked.iter().map(|parked| parked.position).collect::<Vec<_>>(), [poison]);
    assert_eq!(found(&model, &Search::new("shoe")).await.len(), 2);
    running.stop().await;
}

#[tokio::test]
async fn a_cluster_that_is_not_there_delays_and_loses_nothing() {
    let cluster = Cluster::start().await;
    let elasticsearch = Elasticsearch::new(cluster.options()).unwrap();
    let generations = ElasticsearchGenerations::new(elasticsearch, name(), fields(1));
    let store = MemoryStore::new();
    let model = SearchModel::new(Catalog::<1>, generations, MemoryReadSide::new());
    for _ in 0..6 {
        cluster.answer_instead("_bulk", 503, "");
    }
    let last = append(&store, "product-1", &[added("1", 80)]).await;
    let running = Annals::new(store).project(model.clone()).start();
    running.wait_for(last, PATIENCE).await.unwrap();
    assert_eq!(found(&model, &Search::new("shoe")).await.len(), 1);
    running.stop().await;
}
