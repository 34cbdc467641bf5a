//! How databases answer what is asked: from the index that is meant, without sorting more than a
//! page of each key.

use annals::Timestamp;
use annals_scratch::Database;
use rusqlite::Connection;
use sqlx_core::query::query_with;
use sqlx_core::row::Row as _;
use sqlx_core::sql_str::AssertSqlSafe;
use sqlx_postgres::{PgArguments, PgPool};

use super::{Bound, Dialect, Found, Statement};
use crate::{Filter, Order, Slice};

const FIRST_PAGE: Slice = Slice { order: Order::NewestFirst, after: None, limit: 21 };

/// What is asked, and the column that the index begins with.
fn feeds() -> Vec<(&'static str, Filter, &'static str)> {
    let all = Filter::new;
    let issue = || all().in_stream("issue-7".parse().expect("a stream"));
    let closed = || "Type-3".parse().expect("a type");
    let moment = Timestamp::from_micros(5_000_000_000);
    vec![
        ("everything", all(), "occurred_at"),
        ("a period", all().since(moment).before(moment), "occurred_at"),
        ("an actor", all().by("actor-7"), "actor"),
        ("a team", all().by_any(["actor-7", "actor-8"]), "actor"),
        ("an actor's type", all().by("actor-7").of_type(closed()), "actor"),
        ("a stream", issue(), "stream"),
        ("an actor in a stream", issue().by("actor-7"), "stream"),
        ("a category", all().in_category("issue".parse().expect("a category")), "category"),
        ("a type", all().of_type(closed()), "type"),
        ("a batch", all().in_batch("batch-7"), "batch"),
        ("a conversation", all().in_correlation("correlation-7"), "correlation"),
    ]
}

fn slices() -> [Slice; 2] {
    let place = (Timestamp::from_micros(9_000_000_000), annals::Position::new(9_000), 0);
    [FIRST_PAGE, Slice { after: Some(place), ..FIRST_PAGE }]
}

#[test]
fn sqlite_walks_the_index_that_is_meant() {
    let connection = Connection::open_in_memory().unwrap();
    let create = crate::sqlite::CREATE.replace("{feed}", "activity");
    connection.execute_batch(&create).unwrap();
    let words = crate::sqlite::CREATE_WORDS.replace("{feed_words}", "activity_words");
    connection.execute_batch(&words).unwrap();
    for (what, filter, column) in feeds() {
        for slice in slices() {
            let statement =
                Statement::slice(Dialect::Sqlite, "activity", &filter, Found::Few, slice);
            let plan = explain_sqlite(&connection, &statement).join("\n");
            let index =
                format!("activity_by_{}", if column == "occurred_at" { "time" } else { column });
            assert!(plan.contains(&index), "{what}:\n{plan}\n{}", statement.text);
            assert!(!plan.contains("SCAN e\n") && !plan.ends_with("SCAN e"), "{what}:\n{plan}");
            // A team's pages are put in order; nothing else is.
            let sorts = plan.contains("USE TEMP B-TREE FOR ORDER BY");
            assert_eq!(sorts, what == "a team", "{what}:\n{plan}");
        }
    }
    let search = Filter::new().search("login page");
    for found in [Found::Few, Found::Many] {
        let statement = Statement::slice(Dialect::Sqlite, "activity", &search, found, FIRST_PAGE);
        let plan = explain_sqlite(&connection, &statement).join("\n");
        assert!(plan.contains("VIRTUAL TABLE INDEX"), "{plan}");
        // Many are walked in order, and each is looked up by its row.
        assert_eq!(plan.contains("activity_by_time"), found == Found::Many, "{plan}");
        assert_eq!(plan.contains("TEMP B-TREE FOR ORDER BY"), found == Found::Few, "{plan}");
        assert_eq!(plan.contains("INDEX 0:=M"), found == Found::Many, "{plan}");
    }
}

fn explain_sqlite(connection: &Connection, statement: &Statement) -> Vec<String> {
    let mut explain = connection
        .prepare(&format!("EXPLAIN QUERY PLAN {}", statement.text))
        .expect("SQLite explains it");
    let lines = explain.raw_query().mapped(|row| row.get(3)).collect::<Result<_, _>>();
    lines.expect("SQLite explains it")
}

#[tokio::test]
async fn postgres_walks_the_index_that_is_meant() {
    let database = Database::create().await;
    let pool = PgPool::connect(database.url()).await.unwrap();
    let create = crate::postgres::CREATE.replace("{feed}", "activity");
    let fill = "INSERT INTO activity SELECT n, 0, '', 'issue-' || n % 1000,
            CASE n % 200 WHEN 0 THEN 'issue' ELSE 'order' END, 'Type-' || n % 200,
            'actor-' || n % 500, NULL, 'batch-' || n % 2000, NULL, 'correlation-' || n % 5000,
            n::bigint * 1000000, 0, '{}', '{}', array_to_tsvector(ARRAY['w' || n, 'login', 'p' || n % 9])
        FROM generate_series(1, 30000) n;
        VACUUM ANALYZE activity;";
    for statement in create.split_inclusive(';').chain(fill.split_inclusive(';')) {
        let statement = AssertSqlSafe(statement.to_owned());
        query_with(statement, PgArguments::default()).execute(&pool).await.unwrap();
    }
    for (what, filter, column) in feeds() {
        for slice in slices() {
            let statement =
                Statement::slice(Dialect::Postgres, "activity", &filter, Found::Few, slice);
            let plan = explain_postgres(&pool, statement).await.join("\n");
            let index = if column == "occurred_at" {
                "activity_occurred_at_position_part_idx".to_owned()
            } else {
                format!("activity_{column}_occurred_at_position_part_idx")
            };
            assert!(plan.contains(&index), "{what}:\n{plan}");
            assert!(!plan.contains("Seq Scan"), "{what}:\n{plan}");
            // A few entries may be cheaper to sort than to walk in order, never the whole table.
            let few = ["a team", "a stream", "a batch", "a conversation", "an actor"];
            let is_few = few.iter().any(|few| what.starts_with(few));
            assert!(is_few || !plan.contains("Sort"), "{what}:\n{plan}");
        }
    }
    for (text, found, index) in [
        ("w4711 login", Found::Few, "activity_words_idx"),
        ("login", Found::Many, "activity_occurred_at_position_part_idx"),
    ] {
        let search = Filter::new().search(text);
        let statement = Statement::slice(Dialect::Postgres, "activity", &search, found, FIRST_PAGE);
        let plan = explain_postgres(&pool, statement).await.join("\n");
        assert!(plan.contains(index), "{text}:\n{plan}");
    }
}

async fn explain_postgres(pool: &PgPool, statement: Statement) -> Vec<String> {
    use sqlx_core::arguments::Arguments as _;
    let mut arguments = PgArguments::default();
    for value in statement.values {
        match value {
            Bound::Number(number) => arguments.add(number),
            Bound::Text(text) => arguments.add(text),
            Bound::Texts(texts) => arguments.add(texts),
        }
        .expect("PostgreSQL explains it");
    }
    let explain = AssertSqlSafe(format!("EXPLAIN {}", statement.text));
    let lines =
        query_with(explain, arguments).fetch_all(pool).await.expect("PostgreSQL explains it");
    lines.iter().map(|line| line.get(0)).collect()
}
